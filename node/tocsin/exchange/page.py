"""This module makes and reads the signed page, the one form in which anything moves between two organisations.

The entries lie beside a statement that covers them, a JWS of type
`tocsin-page+jwt` by one of the sender's delivery keys:

    {
      "iss": "lab-a.example", "aud": "aisi.example", "iat": 1790000000,
      "feed": "<16 random bytes, base64url>", "first": 41, "last": 43,
      "entries": [
        {"seq": 41, "kind": "record", "digest": …, "sd_hash": …,
         "withheld": [{"path": "steps", "reason": "infohazard", "until": 1800000000}]},
        {"seq": 42, "kind": "disclosures", "digest": …, "sd_hash": …},
        {"seq": 43, "kind": "void"}
      ]
    }

`digest` names the record; `sd_hash` covers the exact bytes that went (RFC 9901
section 4.3.1): of a record entry the presentation, of a disclosures entry
`<digest>~<disclosure>~…~`. `withheld` names what the policy allows naming;
`reason` and `until`, in unix seconds, are left out where they are not told. So one signature proves what was sent,
to whom, and when.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tocsin.encoding import JSON, dump_json
from tocsin.errors import Malformed, PeerMisbehaved, RecordRefused
from tocsin.exchange.cursor import FEED_ID, format_cursor
from tocsin.identity.details import RecordKey
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.records.disclosure import digest_of
from tocsin.records.jws import CLOCK_SKEW, parse_jws, sign, verify_jws
from tocsin.records.record import sd_hash
from tocsin.store.model import EntryKind, Position, WithheldPath
from tocsin.v1 import exchange_service_pb2 as v1

PAGE_TYPE = "tocsin-page+jwt"
MAX_ENTRIES = 256
MAX_BYTES = 3 * 1024 * 1024  # a message is at most 4 MiB, and the largest record 1 MiB
MAX_WITHHELD = 256  # paths named for one entry; the largest kind has about a hundred fields
MAX_UNTIL = 253_402_300_799  # the end of the year 9999, after which neither dates nor timestamps go on

_CLAIMS = frozenset({"iss", "aud", "iat", "feed", "first", "last", "entries"})
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_PATH = re.compile(r"[a-z][a-z0-9_]*(?:\[\*\])?(?:\.[a-z][a-z0-9_]*(?:\[\*\])?)*", re.ASCII)
_MAX_PATH = 200
_REASON = re.compile(r"[a-z_]{0,40}", re.ASCII)  # not a closed list: a newer sender may have further reasons

_KINDS: Mapping[int, EntryKind] = {
    v1.ENTRY_KIND_RECORD: EntryKind.RECORD,
    v1.ENTRY_KIND_DISCLOSURES: EntryKind.DISCLOSURES,
    v1.ENTRY_KIND_VOID: EntryKind.VOID,
}
# Whether an entry of the kind has a digest, a presentation, and disclosures.
_CARRIES: Mapping[EntryKind, tuple[bool, bool, bool]] = {
    EntryKind.RECORD: (True, True, False),
    EntryKind.DISCLOSURES: (True, False, True),
    EntryKind.VOID: (False, False, False),
}
_NUMBERS = {kind: v1.EntryKind.ValueType(number) for number, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class PageEntry:
    """One entry of a page; a void one has nothing but its number."""

    sequence: int
    kind: EntryKind
    digest: str = ""
    presentation: str = ""
    disclosures: tuple[str, ...] = ()
    withheld: tuple[WithheldPath, ...] = ()

    @property
    def text(self) -> str:
        """Return the exact text that `sd_hash` covers."""
        if self.kind is EntryKind.RECORD:
            return self.presentation
        return "~".join((self.digest, *self.disclosures, ""))

    def to_claim(self) -> dict[str, JSON]:
        """Return what the statement says of the entry."""
        claim: dict[str, JSON] = {"seq": self.sequence, "kind": self.kind.value}
        if self.kind is not EntryKind.VOID:
            claim |= {"digest": self.digest, "sd_hash": sd_hash(self.text)}
        if self.withheld:
            claim["withheld"] = [_withheld_claim(note) for note in self.withheld]
        return claim

    def size(self) -> int:
        """Return about how many bytes the entry takes in a page, never too few."""
        claim = 256 + sum(len(note.path) + len(note.reason) + 48 for note in self.withheld)
        entry = 128 + len(self.presentation) + sum(len(disclosure) + 8 for disclosure in self.disclosures)
        return entry + claim * 4 // 3


@dataclass(frozen=True, slots=True)
class VerifiedPage:
    """A page that its sender signed for us. Nothing is said yet about the records in it."""

    sender: OrgId
    feed_id: str
    entries: tuple[PageEntry, ...]


def build_page(
    entries: Sequence[PageEntry], *, feed_id: str, sender: OrgId, audience: OrgId, signer: Signer, now: int, more: bool
) -> v1.Page:
    """Sign entries as a page; their numbers must be consecutive."""
    first, last = entries[0].sequence, entries[-1].sequence
    if [entry.sequence for entry in entries] != list(range(first, last + 1)):
        raise RuntimeError("the entries of a page are not consecutive")
    claims = {
        "iss": sender,
        "aud": audience,
        "iat": now,
        "feed": feed_id,
        "first": first,
        "last": last,
        "entries": [entry.to_claim() for entry in entries],
    }
    return v1.Page(
        statement=sign(dump_json(claims), typ=PAGE_TYPE, signer=signer),
        entries=[
            v1.Entry(
                sequence=entry.sequence,
                kind=_NUMBERS[entry.kind],
                digest=entry.digest,
                presentation=entry.presentation,
                disclosures=entry.disclosures,
            )
            for entry in entries
        ],
        cursor=format_cursor(Position(feed_id, last)),
        more=more,
    )


def parse_page(page: v1.Page, *, sender: Organisation, audience: OrgId, now: int) -> VerifiedPage:
    """Verify that a sender signed a page for us, and that its entries are those signed.

      1. count and bytes are within the limits
      2. the statement is a `tocsin-page+jwt` of exactly our header        RFC 7515 4.1, RFC 8725 3.11
      3. its key is one of the sender's delivery keys, and it verifies     RFC 7515 5.2
      4. issuer, audience and time are as expected, the key was valid then  RFC 7519 4.1
      5. the numbers are consecutive, and as many as there are entries
      6. each entry is of its form, and its bytes are those stated         RFC 9901 4.3.1
      7. the cursor points behind the last entry

    The caller MUST still check that the page follows what it has stored, and
    verify every record in it.

    Raises PeerMisbehaved, whatever it is that does not hold.
    """
    _check_size(page)  # 1
    try:
        claims, key = _verify_statement(page.statement, sender=sender)  # 2, 3
    except (Malformed, RecordRefused) as error:
        raise _broken(f"its statement is refused: {error.message} ({error.reason})", sender.org) from error
    _check_parties(claims, key, sender=sender, audience=audience, now=now)  # 4
    stated = _stated_entries(claims, page, sender.org)  # 5
    entries = tuple(_read_entry(entry, claim, sender.org) for entry, claim in zip(page.entries, stated, strict=True))
    feed_id = str(claims["feed"])
    if page.cursor != format_cursor(Position(feed_id, entries[-1].sequence)):  # 7
        raise _broken("its cursor does not point behind its last entry", sender.org)
    return VerifiedPage(sender=sender.org, feed_id=feed_id, entries=entries)


def _check_size(page: v1.Page) -> None:
    if not 1 <= len(page.entries) <= MAX_ENTRIES:
        raise _broken(f"it has {len(page.entries)} entries, not 1 to {MAX_ENTRIES}")
    if page.ByteSize() > MAX_BYTES + MAX_ENTRIES * 64:  # the sender's estimate leaves the framing to chance
        raise _broken(f"it has more than {MAX_BYTES} bytes")


def _verify_statement(statement: str, *, sender: Organisation) -> tuple[dict[str, JSON], RecordKey]:
    """Return the claims and the delivery key that signed them."""
    jws = parse_jws(statement, typ=PAGE_TYPE)
    key = sender.delivery_keys.get(jws.key_id)
    if key is None:
        raise _broken("its statement is signed by a key that is not one of the sender's delivery keys", sender.org)
    return verify_jws(jws, public_key=key.public_key), key


def _check_parties(
    claims: Mapping[str, JSON], key: RecordKey, *, sender: Organisation, audience: OrgId, now: int
) -> None:
    if not claims.keys() >= _CLAIMS:
        raise _broken("its statement lacks " + ", ".join(sorted(_CLAIMS - claims.keys())), sender.org)
    if claims["iss"] != sender.org:
        raise _broken("its statement is of another issuer", sender.org)
    if claims["aud"] != audience:
        raise _broken("its statement is made for another audience", sender.org)
    issued_at = claims["iat"]
    if not _is_number(issued_at) or _number(issued_at) > now + CLOCK_SKEW:
        raise _broken("its statement has no time, or one in the future", sender.org)
    if not key.is_valid_at(_number(issued_at)):
        raise _broken("its statement is signed by a key that was not valid then", sender.org)
    if not isinstance(claims["feed"], str) or not FEED_ID.fullmatch(claims["feed"]):
        raise _broken("its statement names no feed", sender.org)


def _stated_entries(claims: Mapping[str, JSON], page: v1.Page, sender: OrgId) -> list[JSON]:
    """Return what the statement says of each entry."""
    stated, first, last = claims["entries"], claims["first"], claims["last"]
    if not isinstance(stated, list) or not _is_number(first) or not _is_number(last) or _number(first) < 1:
        raise _broken("its statement does not list its entries", sender)
    numbers = range(_number(first), _number(last) + 1)
    if not len(stated) == len(page.entries) == len(numbers):
        raise _broken("it does not have as many entries as its statement lists", sender)
    if [entry.sequence for entry in page.entries] != list(numbers):
        raise _broken("its entries are not consecutive", sender)
    return stated


def _read_entry(entry: v1.Entry, claim: JSON, sender: OrgId) -> PageEntry:
    """Return an entry whose claim holds (step 6)."""
    where = f"entry {entry.sequence}"
    kind = _KINDS.get(entry.kind)
    if kind is None or not isinstance(claim, dict):
        raise _broken(f"{where} is of no known kind", sender)
    read = PageEntry(
        sequence=entry.sequence,
        kind=kind,
        digest=entry.digest,
        presentation=entry.presentation,
        disclosures=tuple(entry.disclosures),
        withheld=_read_withheld(claim.get("withheld", []), where, sender),
    )
    if not _is_well_formed(read):
        raise _broken(f"{where} does not carry what its kind carries", sender)
    expected = read.to_claim()
    if any(claim.get(name) != value for name, value in expected.items()):
        raise _broken(f"{where} is not what the statement says", sender)
    return read


def _is_well_formed(entry: PageEntry) -> bool:
    """Say whether an entry carries what its kind carries, and nothing else, under the digest of its record."""
    carries = (bool(entry.digest), bool(entry.presentation), bool(entry.disclosures))
    if carries != _CARRIES[entry.kind] or not entry.text.isascii():
        return False
    if entry.kind is EntryKind.VOID:
        return not entry.withheld
    if entry.kind is EntryKind.RECORD:
        return entry.digest == digest_of(entry.presentation.partition("~")[0])
    return _DIGEST.fullmatch(entry.digest) is not None


def _read_withheld(value: JSON, where: str, sender: OrgId) -> tuple[WithheldPath, ...]:
    """Return the paths that the sender says it withheld."""
    notes = []
    if not isinstance(value, list) or len(value) > MAX_WITHHELD:
        raise _broken(f"{where} does not list what is withheld", sender)
    for item in value:
        members: dict[str, JSON] = item if isinstance(item, dict) else {}
        path, reason, until = members.get("path"), members.get("reason", ""), members.get("until", 0)
        if not isinstance(path, str) or not isinstance(reason, str) or not _is_number(until):
            raise _broken(f"{where} does not list what is withheld", sender)
        if not 0 <= _number(until) <= MAX_UNTIL:
            raise _broken(f"{where} names no moment until when it is withheld", sender)
        if len(path) > _MAX_PATH or not _PATH.fullmatch(path) or not _REASON.fullmatch(reason):
            raise _broken(f"{where} names a withheld path that is none", sender)
        notes.append(WithheldPath(path, reason, _number(until)))
    return tuple(notes)


def _withheld_claim(note: WithheldPath) -> dict[str, JSON]:
    """Return what the statement says of a withheld path."""
    claim: dict[str, JSON] = {"path": note.path, "reason": note.reason, "until": note.until}
    return {name: value for name, value in claim.items() if value}


def _is_number(value: JSON) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: JSON) -> int:
    """Return a number that was checked to be one."""
    if not isinstance(value, int):
        raise TypeError("not a number")
    return value


def _broken(what: str, sender: str = "") -> PeerMisbehaved:
    hint = "nothing of it was stored; tell the people who run that node"
    return PeerMisbehaved(f"the page is not good: {what}", where=sender, hint=hint)
