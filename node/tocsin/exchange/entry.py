"""This module says what an entry of a page is, and what the page's statement says of it.

    kind          carries                                   `sd_hash` covers
    record        the presentation of a version             the presentation (RFC 9901 section 4.3.1)
    disclosures   further disclosures of one sent before    `<digest>~<disclosure>~…~`
    retraction    the retraction as its origin signed it    the retraction
    void          nothing any more                          –

The claim of an entry in the statement:

    {"seq": 41, "tag": "…", "kind": "record", "digest": …, "sd_hash": …, "disclosed": ["subjects", "subjects.name"],
     "withheld": [{"path": "steps", "reason": "infohazard", "until": 1800000000}], "origin": "lab-c.example",
     "proof_hash": …}

`tag` ends the cursor behind the entry; those from before there were tags have
none. `disclosed` are the field paths of the disclosures that went, groups and
lists as well, in order. `withheld` names what the policy allows naming;
`reason` and `until`, in unix seconds, are left out where they are not told.
`origin` stands where the record is not the sender's own. Beside a record and a
retraction lies the proof that its origin's log has it (C2SP tlog-proof);
`proof_hash` is the base64url SHA-256 of it. It is of the log as it was when the
page was made: the same entry on another page comes with another one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from tocsin.encoding import JSON, encode_base64url
from tocsin.errors import MalformedName, PeerMisbehaved
from tocsin.exchange.cursor import TAG
from tocsin.identity.names import OrgId, parse_org
from tocsin.records.disclosure import digest_of
from tocsin.records.envelope import DIGEST
from tocsin.records.fieldpath import field_path
from tocsin.records.record import VerifiedRecord, sd_hash
from tocsin.store.model import EntryKind, WithheldPath
from tocsin.v1 import exchange_service_pb2 as v1

MAX_PATHS = 512  # named of one entry; the largest kind has about a hundred fields, and groups around them
MAX_UNTIL = 253_402_300_799  # the end of the year 9999, after which neither dates nor timestamps go on

_PATH = re.compile(r"[a-z][a-z0-9_]*(?:\[\*\])?(?:\.[a-z][a-z0-9_]*(?:\[\*\])?)*", re.ASCII)
_MAX_PATH = 200
_REASON = re.compile(r"[a-z_]{0,40}", re.ASCII)  # not a closed list: a newer sender may have further reasons

_KINDS: Mapping[int, EntryKind] = {
    v1.ENTRY_KIND_RECORD: EntryKind.RECORD,
    v1.ENTRY_KIND_DISCLOSURES: EntryKind.DISCLOSURES,
    v1.ENTRY_KIND_VOID: EntryKind.VOID,
    v1.ENTRY_KIND_RETRACTION: EntryKind.RETRACTION,
}
_NUMBERS = {kind: v1.EntryKind.ValueType(number) for number, kind in _KINDS.items()}
# Whether an entry of the kind has a digest, a presentation, disclosures, and a retraction.
_CARRIES: Mapping[EntryKind, tuple[bool, bool, bool, bool]] = {
    EntryKind.RECORD: (True, True, False, False),
    EntryKind.DISCLOSURES: (True, False, True, False),
    EntryKind.RETRACTION: (True, False, False, True),
    EntryKind.VOID: (False, False, False, False),
}
_OF_FIELDS = frozenset({EntryKind.RECORD, EntryKind.DISCLOSURES})
"""In these kinds an entry says which fields went, and which did not."""
_LOGGED = frozenset({EntryKind.RECORD, EntryKind.RETRACTION})
"""With these kinds a proof comes along."""


@dataclass(frozen=True, slots=True)
class PageEntry:
    """One entry of a page; a void one has nothing but its place. `origin` is empty where that is the sender."""

    sequence: int
    kind: EntryKind
    digest: str = ""
    presentation: str = ""
    disclosures: tuple[str, ...] = ()
    retraction: str = ""
    disclosed: tuple[str, ...] = ()
    withheld: tuple[WithheldPath, ...] = ()
    origin: str = ""
    tag: str = ""
    proof: str = ""

    @property
    def text(self) -> str:
        """Return the exact text that `sd_hash` covers."""
        if self.kind is EntryKind.DISCLOSURES:
            return "~".join((self.digest, *self.disclosures, ""))
        return self.presentation or self.retraction

    def to_claim(self) -> dict[str, JSON]:
        """Return what the statement says of the entry."""
        claim: dict[str, JSON] = {"seq": self.sequence, "kind": self.kind.value}
        if self.tag:
            claim["tag"] = self.tag
        if self.kind is not EntryKind.VOID:
            claim |= {"digest": self.digest, "sd_hash": sd_hash(self.text)}
        if self.kind in _OF_FIELDS:
            claim["disclosed"] = [*self.disclosed]
        if self.withheld:
            claim["withheld"] = [_withheld_claim(note) for note in self.withheld]
        if self.origin:
            claim["origin"] = self.origin
        if self.proof:
            claim["proof_hash"] = encode_base64url(sha256(self.proof.encode()).digest())
        return claim

    def to_message(self) -> v1.Entry:
        """Return what lies beside the statement."""
        return v1.Entry(
            sequence=self.sequence,
            kind=_NUMBERS[self.kind],
            digest=self.digest,
            presentation=self.presentation,
            disclosures=self.disclosures,
            retraction=self.retraction,
            proof=self.proof,
        )

    def size(self) -> int:
        """Return about how many bytes the entry takes in a page, never too few."""
        claim = 380 + len(self.origin) + sum(len(path) + 3 for path in self.disclosed)
        claim += sum(len(note.path) + len(note.reason) + 48 for note in self.withheld)
        entry = 128 + len(self.presentation) + len(self.retraction) + len(self.proof)
        entry += sum(len(disclosure) + 8 for disclosure in self.disclosures)
        return entry + claim * 4 // 3


def disclosed_paths(record: VerifiedRecord, disclosures: Iterable[str]) -> tuple[str, ...]:
    """Return the field paths of some disclosures of a record, in order: what a statement says of them."""
    went = frozenset(disclosures)
    return tuple(sorted({field_path(path) for encoded, path, _ in record.disclosures if encoded in went}))


def read_entry(entry: v1.Entry, claim: JSON, sender: OrgId) -> PageEntry:
    """Return an entry that is of its form, and is what the statement says of it.

    That `disclosed` is what its disclosures disclose shows when the record is verified.

    Raises PeerMisbehaved.
    """
    where = f"entry {entry.sequence}"
    kind = _KINDS.get(entry.kind)
    if kind is None or not isinstance(claim, dict):
        raise broken(f"{where} is of no known kind", sender)
    read = PageEntry(
        sequence=entry.sequence,
        kind=kind,
        digest=entry.digest,
        presentation=entry.presentation,
        disclosures=tuple(entry.disclosures),
        retraction=entry.retraction,
        disclosed=_read_disclosed(claim.get("disclosed", []), where, sender),
        withheld=_read_withheld(claim.get("withheld", []), where, sender),
        origin=_read_origin(claim.get("origin", ""), where, sender),
        tag=_read_tag(claim.get("tag", ""), where, sender),
        proof=entry.proof,
    )
    if not _is_well_formed(read):
        raise broken(f"{where} does not carry what its kind carries", sender)
    expected = {"proof_hash": None, **read.to_claim()}
    if any(claim.get(name) != value for name, value in expected.items()):
        raise broken(f"{where} is not what the statement says", sender)
    return read


def broken(what: str, sender: str = "") -> PeerMisbehaved:
    """Return the error that a page is not what its sender should have made."""
    hint = "nothing of it was stored; tell the people who run that node"
    return PeerMisbehaved(f"the page is not good: {what}", where=sender, hint=hint)


def _is_well_formed(entry: PageEntry) -> bool:
    """Say whether an entry carries what its kind carries, and nothing else, under the digest of its record."""
    carries = (bool(entry.digest), bool(entry.presentation), bool(entry.disclosures), bool(entry.retraction))
    if carries != _CARRIES[entry.kind] or not entry.text.isascii():
        return False
    if entry.kind not in _OF_FIELDS and (entry.withheld or entry.disclosed):
        return False
    if entry.proof and entry.kind not in _LOGGED:
        return False
    if entry.kind is EntryKind.VOID:
        return not entry.origin
    if entry.kind is EntryKind.RECORD:
        return entry.digest == digest_of(entry.presentation.partition("~")[0])
    return DIGEST.fullmatch(entry.digest) is not None


def _read_disclosed(value: JSON, where: str, sender: OrgId) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_PATHS:
        raise broken(f"{where} does not list what is disclosed", sender)
    paths = tuple([path for path in value if isinstance(path, str) and _is_path(path)])
    if len(paths) != len(value) or list(paths) != sorted(set(paths)):
        raise broken(f"{where} does not list what is disclosed by its paths, in order", sender)
    return paths


def _read_withheld(value: JSON, where: str, sender: OrgId) -> tuple[WithheldPath, ...]:
    """Return the paths that the sender says it withheld."""
    notes = []
    if not isinstance(value, list) or len(value) > MAX_PATHS:
        raise broken(f"{where} does not list what is withheld", sender)
    for item in value:
        members: dict[str, JSON] = item if isinstance(item, dict) else {}
        path, reason, until = members.get("path"), members.get("reason", ""), members.get("until", 0)
        if not isinstance(path, str) or not isinstance(reason, str) or type(until) is not int:
            raise broken(f"{where} does not list what is withheld", sender)
        if not 0 <= until <= MAX_UNTIL:
            raise broken(f"{where} names no moment until when it is withheld", sender)
        if not _is_path(path) or not _REASON.fullmatch(reason):
            raise broken(f"{where} names a withheld path that is none", sender)
        notes.append(WithheldPath(path, reason, until))
    return tuple(notes)


def _read_origin(value: JSON, where: str, sender: OrgId) -> str:
    try:
        origin = parse_org(value) if isinstance(value, str) and value else ""
    except MalformedName:
        origin = sender
    if not isinstance(value, str) or origin == sender:
        raise broken(f"{where} names an origin that is none", sender)
    return origin


def _read_tag(value: JSON, where: str, sender: OrgId) -> str:
    if not isinstance(value, str) or (value and not TAG.fullmatch(value)):
        raise broken(f"{where} has a tag that no node makes", sender)
    return value


def _is_path(path: str) -> bool:
    return len(path) <= _MAX_PATH and _has_form(path)


@lru_cache(MAX_PATHS)  # they are the same in every record of a kind
def _has_form(path: str) -> bool:
    return _PATH.fullmatch(path) is not None


def _withheld_claim(note: WithheldPath) -> dict[str, JSON]:
    """Return what the statement says of a withheld path."""
    claim: dict[str, JSON] = {"path": note.path, "reason": note.reason, "until": note.until}
    return {name: value for name, value in claim.items() if value}
