"""This module reads and writes the plain claims of a record: what a recipient must know to handle it lawfully.

    iss            the organisation that says it         record_id   a random UUID, stable over versions
    iat, exp?      unix seconds                          version     1, 2, 3, …
    kind           finding, incident, evaluation         supersedes? digest of the previous version
    schema         tocsin.v1                             status      issued, corrected, …
    tlp, pap?      markings                              permitted_use?, relay?, retention_until?
    downgrade_at?  [{"at": …, "tlp": …}, …]              when the marking becomes less restrictive, step by step

None of them may be hidden in a disclosure (RFC 9901 section 9.7). A value of
no known vocabulary is refused, since an unknown marking cannot be obeyed;
a claim of an unknown name is kept and means nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tocsin.encoding import JSON, MAX_INTEGER
from tocsin.errors import MalformedName, MalformedRecord
from tocsin.identity.names import OrgId, RecordId, parse_org, parse_record_id
from tocsin.schema.check import is_time, unix_seconds
from tocsin.schema.contract import KINDS, PAPS, PERMITTED_USES, RELAYS, SCHEMA, STATUSES, TLPS

REQUIRED = ("iss", "iat", "record_id", "version", "kind", "schema", "status", "tlp", "_sd_alg", "content")
PLAIN = frozenset(
    (*REQUIRED, "exp", "nbf", "supersedes", "pap", "permitted_use", "relay", "retention_until", "downgrade_at")
)

NO_RELAY = "none"
"""The default, and therefore never written."""
MAY_RELAY = "community"
"""With it a member may pass the record on to others."""

MAX_VERSION = 2**32 - 1
"""The contract counts versions in 32 bits."""

DIGEST = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class Downgrade(NamedTuple):
    """A step by which a marking is lowered: the moment as RFC 3339 text, and the marking from then on."""

    at: str
    tlp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The plain claims; times in unix seconds, `retention_until` as RFC 3339 text, what is absent empty.

    `tlp` is the marking as it was signed; `marking_at` is the one that holds.
    """

    issuer: OrgId
    issued_at: int
    expires_at: int | None
    record_id: RecordId
    version: int
    supersedes: str
    kind: str
    status: str
    tlp: str
    pap: str
    permitted_use: tuple[str, ...]
    relay: str
    retention_until: str
    downgrade_at: tuple[Downgrade, ...]

    def marking_at(self, now: int) -> str:
        """Return the marking that holds at a time (unix seconds), by the schedule that the origin signed."""
        marking = self.tlp
        for step in self.downgrade_at:
            if unix_seconds(step.at) > now:
                break
            marking = step.tlp
        return marking


def dump_envelope(envelope: Envelope) -> dict[str, JSON]:
    """Return the claims, without those that would say nothing."""
    claims: dict[str, JSON] = {
        "iss": envelope.issuer,
        "iat": envelope.issued_at,
        "exp": envelope.expires_at,
        "record_id": envelope.record_id,
        "version": envelope.version,
        "supersedes": envelope.supersedes,
        "kind": envelope.kind,
        "schema": SCHEMA,
        "status": envelope.status,
        "tlp": envelope.tlp,
        "pap": envelope.pap,
        "permitted_use": list(envelope.permitted_use),
        "relay": "" if envelope.relay == NO_RELAY else envelope.relay,
        "retention_until": envelope.retention_until,
        "downgrade_at": [{"at": step.at, "tlp": step.tlp} for step in envelope.downgrade_at],
    }
    return {name: value for name, value in claims.items() if value not in (None, "", [])}


def parse_envelope(claims: Mapping[str, JSON]) -> Envelope:
    """Read the plain claims of a payload as it was signed, before anything is put into it.

    Raises MalformedRecord (MISSING_CLAIM, BAD_CLAIM).
    """
    for name in REQUIRED:
        if name not in claims:
            raise MalformedRecord(f"{name} is missing, or hidden where it must be plain", reason="MISSING_CLAIM")
    if claims["schema"] != SCHEMA:
        raise _bad("schema", f"not {SCHEMA}")
    version = integer(claims, "version", least=1, most=MAX_VERSION)
    tlp = choice(claims, "tlp", TLPS)
    return Envelope(
        issuer=parse_issuer(claims),
        issued_at=integer(claims, "iat"),
        expires_at=integer(claims, "exp") if "exp" in claims else None,
        record_id=record_id_of(claims["record_id"]),
        version=version,
        supersedes=_supersedes(claims.get("supersedes", ""), version=version),
        kind=choice(claims, "kind", tuple(KINDS)),
        status=choice(claims, "status", STATUSES),
        tlp=tlp,
        pap=choice(claims, "pap", PAPS) if "pap" in claims else "",
        permitted_use=_permitted_use(claims.get("permitted_use", [])),
        relay=choice(claims, "relay", RELAYS) if "relay" in claims else NO_RELAY,
        retention_until=_time(claims, "retention_until") if "retention_until" in claims else "",
        downgrade_at=_downgrades(claims.get("downgrade_at", []), tlp=tlp),
    )


def parse_issuer(claims: Mapping[str, JSON]) -> OrgId:
    """Read the one claim that is needed to look up a key; raises MalformedRecord."""
    issuer = claims.get("iss")
    if issuer is None:
        raise MalformedRecord("iss is missing, or hidden where it must be plain", reason="MISSING_CLAIM")
    if not isinstance(issuer, str):
        raise _bad("iss", "not a text")
    try:
        return parse_org(issuer)
    except MalformedName as error:
        raise _bad("iss", error.message) from error


def integer(claims: Mapping[str, JSON], name: str, *, least: int = 0, most: int = MAX_INTEGER) -> int:
    """Return a claim that is an integer; raises MalformedRecord."""
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _bad(name, f"not an integer from {least} to {most}")
    return value


def choice(claims: Mapping[str, JSON], name: str, vocabulary: tuple[str, ...]) -> str:
    """Return a claim that is one of a vocabulary; raises MalformedRecord."""
    value = claims[name]
    if not isinstance(value, str) or value not in vocabulary:
        raise _bad(name, f"none of {', '.join(vocabulary)}")
    return value


def record_id_of(value: JSON) -> RecordId:
    """Return a claim as the id of a record; raises MalformedRecord."""
    try:
        return parse_record_id(value if isinstance(value, str) else "")
    except MalformedName as error:
        raise _bad("record_id", "not a UUID of version 4") from error


def _supersedes(value: JSON, *, version: int) -> str:
    if not isinstance(value, str) or (version > 1) != bool(value):
        raise _bad("supersedes", "there for version 1, or missing for a later one")
    if value and not DIGEST.fullmatch(value):
        raise _bad("supersedes", "not the digest of a record")
    return value


def _permitted_use(value: JSON) -> tuple[str, ...]:
    uses = tuple(use for use in value if isinstance(use, str)) if isinstance(value, list) else ()
    if not isinstance(value, list) or len(uses) != len(value) or len(set(uses)) != len(uses):
        raise _bad("permitted_use", "not a list of different uses")
    if not set(uses) <= set(PERMITTED_USES):
        raise _bad("permitted_use", f"one of them is none of {', '.join(PERMITTED_USES)}")
    return uses


def _time(claims: Mapping[str, JSON], name: str) -> str:
    value = claims[name]
    if isinstance(value, str) and is_time(value):
        return value
    raise _bad(name, "not a time in UTC such as 2026-03-01T12:00:00Z")


def _downgrades(value: JSON, *, tlp: str) -> tuple[Downgrade, ...]:
    """Read the schedule: each step is later than the one before it, and its marking less restrictive."""
    if not isinstance(value, list):
        raise _bad("downgrade_at", "not a list")
    steps: list[Downgrade] = []
    for one in value:
        if not isinstance(one, dict) or one.keys() != {"at", "tlp"}:
            raise _bad("downgrade_at", "not a list of steps with a time and a marking each")
        step = Downgrade(_time(one, "at"), choice(one, "tlp", TLPS))
        if TLPS.index(step.tlp) >= TLPS.index(steps[-1].tlp if steps else tlp):
            raise _bad("downgrade_at", "not a list of descending markings, the first below that of the record")
        if steps and unix_seconds(step.at) <= unix_seconds(steps[-1].at):
            raise _bad("downgrade_at", "not a list of ascending times")
        steps.append(step)
    return tuple(steps)


def _bad(name: str, problem: str) -> MalformedRecord:
    return MalformedRecord(f"{name} is {problem}", reason="BAD_CLAIM")
