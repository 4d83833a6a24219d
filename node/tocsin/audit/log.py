"""This module writes the decision log, seals it, and verifies it, in a store or in a file.

The last entry of each append carries a seal, a JWS of type `tocsin-audit+jwt`
by the delivery key:

    {"iss": "lab-a.example", "seq": 7, "hash": "<hash of entry 7>", "iat": 1790000000}

Each hash covers the one before it, so a seal covers everything up to it. What
it cannot show is an end that was cut off behind a seal: whoever writes down
number and hash of the last entry somewhere else can.

As a file the log is JSON Lines: the rows as they lie in the store, one a line.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Final, NamedTuple, Protocol

from tocsin.audit.entry import Entry, Event, chain, inconsistent, verify_chained
from tocsin.encoding import JSON, dump_json, parse_json
from tocsin.errors import Malformed, MalformedRequest, RecordRefused
from tocsin.identity.details import RecordKey
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.records.jws import parse_jws, sign, verify_jws
from tocsin.store.model import AuditFilter, AuditRow
from tocsin.store.protocol import Store

SEAL_TYPE: Final = "tocsin-audit+jwt"
BATCH: Final = 500  # rows read at once when walking over the log


class Writer(Protocol):
    """Whoever takes entries of the decision log."""

    def append(self, *entries: Entry, now: int) -> None:
        """Write entries, in the caller's transaction where there is one."""


class Gathered:
    """Take entries of one transaction, to be written together at its end: one seal covers them all."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, *entries: Entry, now: int) -> None:
        """Take entries."""
        self.entries += entries


class Log:
    """Write the decision log of an organisation."""

    def __init__(self, store: Store, *, org: OrgId, signer: Signer) -> None:
        """Take the store that keeps the log, and the delivery key that seals it."""
        self._store = store
        self._org = org
        self._signer = signer

    def append(self, *entries: Entry, now: int) -> None:
        """Write entries and seal the last one, in the caller's transaction where there is one.

        Raises AuditInconsistent where the log ends without a seal: sealing
        on top would cover what this node did not write.
        """
        with self._store.joined():
            head = self._store.audit.head()
            if head is not None and not head.seal:
                raise inconsistent(head.sequence, "is the last one and has no seal")
            self._write(entries, after=head, now=now)

    def seal_tail(self, *, now: int) -> None:
        """Seal what an earlier version kept without a chain, where that is all there is.

        Raises AuditInconsistent where the log ends without a seal and holds
        anything else.
        """
        with self._store.transaction():
            head = self._store.audit.head()
            if head is None or head.seal:
                return
            verify_unsealed(self.rows(), head=head)
            entry = Entry(Event.SEALED, details={"entries": head.sequence})
            self._write((entry,), after=head, now=now)

    def rows(self) -> Iterator[AuditRow]:
        """Yield every row, oldest first."""
        return rows_of(self._store)

    def _write(self, entries: Iterable[Entry], *, after: AuditRow | None, now: int) -> None:
        rows: list[AuditRow] = []
        for entry in entries:
            after = chain(entry, after=after, now=now)
            rows.append(after)
        if rows:
            rows[-1] = replace(rows[-1], seal=self._seal(rows[-1]))
            self._store.audit.append(rows)

    def _seal(self, row: AuditRow) -> str:
        return sign(dump_json(_claims(row, org=self._org)), typ=SEAL_TYPE, signer=self._signer)


def rows_of(store: Store) -> Iterator[AuditRow]:
    """Yield every row of the log in a store, oldest first."""
    after = 0
    while batch := store.audit.list(AuditFilter(), after=after, limit=BATCH):
        yield from batch
        after = batch[-1].sequence


def verify_unsealed(rows: Iterable[AuditRow], *, head: AuditRow) -> None:
    """Verify a log that ends without a seal: it is what an earlier version kept without a chain, and nothing else.

    The node seals it when it is started. Raises AuditInconsistent.
    """
    before = None
    for row in rows:
        details = verify_chained(row, after=before)
        if row.seal or row.person or details.get("unchained") is not True:
            raise inconsistent(head.sequence, "is the last one and has no seal")
        before = row


@dataclass(frozen=True, slots=True)
class Verified:
    """Say what was verified: how many entries, the hash of the last one, and when it was written."""

    entries: int
    head: str  # empty for a log without entries
    at: int


def verify_log(rows: Iterable[AuditRow], *, organisation: Organisation) -> Verified:
    """Verify a whole log, from its first entry to its last.

    1. Every row follows the one before it (`verify_chained`).
    2. Every seal is this organisation's: signed with one of its delivery
       keys, over the place, hash and time of its row.
    3. The last row has a seal, by a key that was valid then and is not
       revoked. It covers what stands before, under whichever key.

    The caller must still compare `entries` and `head` with what was written
    down before: a log that was cut off at a seal verifies.

    Raises AuditInconsistent, which names the first entry that is wrong.
    """
    last: AuditRow | None = None
    key: RecordKey | None = None
    for row in rows:
        verify_chained(row, after=last)  # 1
        key = _verify_seal(row, organisation=organisation) if row.seal else None  # 2
        last = row
    if last is None:
        return Verified(0, "", 0)
    if key is None:  # 3
        raise inconsistent(last.sequence, "is the last one and has no seal")
    if not key.is_valid_at(last.at):
        raise inconsistent(last.sequence, "is the last one and is sealed with a key that does not count")
    return Verified(last.sequence, last.hash, last.at)


class Place(NamedTuple):
    """A row of the log, the first of `rows`, with what shows that this node wrote it: those behind it up to a seal."""

    rows: tuple[AuditRow, ...]
    before: AuditRow | None


def place_of(store: Store, row: AuditRow) -> Place:
    """Return a row in its place, which is still to be verified."""
    before = store.audit.list(AuditFilter(), after=row.sequence - 2, before=row.sequence, limit=1)
    rows = [row]
    while not rows[-1].seal and (behind := store.audit.list(AuditFilter(), after=rows[-1].sequence, limit=1)):
        rows += behind
    return Place(tuple(rows), before[0] if before else None)


def verify_place(place: Place, *, organisation: Organisation) -> dict[str, JSON]:
    """Verify that a row stands in the log as this node wrote it, and return its details.

    It hangs on the row before it, and the next seal, its own or one behind it,
    covers it: nobody without the delivery key can have put it there. What
    stands further away is for `verify_log`.

    Raises AuditInconsistent.
    """
    last, *behind = place.rows
    details = verify_chained(last, after=place.before)
    for row in behind:
        verify_chained(row, after=last)
        last = row
    if not last.seal:
        raise inconsistent(last.sequence, "is the last one and has no seal")
    _verify_seal(last, organisation=organisation)
    return details


def verify_entry(store: Store, row: AuditRow, *, organisation: Organisation) -> dict[str, JSON]:
    """Verify a row of the log in its place; see `verify_place`."""
    return verify_place(place_of(store, row), organisation=organisation)


def dump_row(row: AuditRow) -> str:
    """Return a row as a line of a file, without the line's end."""
    return dump_json(asdict(row)).decode()


def parse_row(line: str) -> AuditRow:
    """Read a line of a file. Raises MalformedRequest; nothing in the row is verified."""
    try:
        values = parse_json(line.strip().encode())
    except (Malformed, UnicodeEncodeError):
        values = None
    types = {each.name: int if each.name in ("sequence", "at") else str for each in fields(AuditRow)}
    if (
        not isinstance(values, dict)
        or values.keys() != types.keys()
        or any(type(values[name]) is not kind for name, kind in types.items())
    ):
        raise MalformedRequest(
            "a line is not an entry of a decision log", hint="such files are made by `tocsin audit export`"
        )
    return AuditRow(**values)  # type: ignore[arg-type]


def _verify_seal(row: AuditRow, *, organisation: Organisation) -> RecordKey:
    """Return the key that sealed a row. Raises AuditInconsistent where it is not the organisation's."""
    try:
        jws = parse_jws(row.seal, typ=SEAL_TYPE)
        key = organisation.delivery_keys.get(jws.key_id)
        if key is None:
            raise inconsistent(row.sequence, "is sealed with a key that is not the organisation's")
        claims = verify_jws(jws, public_key=key.public_key)
    except (Malformed, RecordRefused):
        raise inconsistent(row.sequence, "has a seal that does not verify") from None
    if claims != _claims(row, org=organisation.org):
        raise inconsistent(row.sequence, "has a seal that was made for something else")
    return key


def _claims(row: AuditRow, *, org: OrgId) -> dict[str, str | int]:
    """Return what a seal says of its row."""
    return {"iss": org, "seq": row.sequence, "hash": row.hash, "iat": row.at}
