"""This module says what the floors above need of a store; `tocsin.store.sqlite` is the one there is.

A store is a row of shelves behind one lock for writers:

    records       what is said: versions, holdings, search, recipients, idempotency keys
    retractions   what is over: tombstones, which outlive what they are about
    feeds         what goes out: candidates, numbered entries, grants
    intake        what came in: cursors, verdicts, withheld paths
    receipts      what was signed for, by partners and by us
    recoveries    whom to ask for what a restored store has lost
    peers         who is out there
    people        our own: who they are, and what they may do
    reviews       what waits for somebody's decision: proposed releases, and what partners ask for
    dues          what is to be done at a time
    policies      the sets of policy files that were put in force
    audit         the rows of the decision log, which nothing changes

Every method that writes is a transaction of its own, or joins the one around
it:

    with store.transaction():       # all of it, or nothing
        store.records.add(record, now=now)
        store.feeds.queue(partner, record.digest, now=now)

Methods may be called from any thread. Writers wait for one another; readers
wait for nobody and see the last commit, or, inside `transaction()`, what it
has written so far. What a method returned is not a promise about the next
call unless both stand in one transaction.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord
from tocsin.records.retraction import VerifiedRetraction
from tocsin.store.damage import Examined
from tocsin.store.decisions import Audit, Dues, People, Policies, Reviews
from tocsin.store.delivery import Feeds, Intake, Logs, Receipts, Recoveries
from tocsin.store.evidence import RetractionRow
from tocsin.store.model import (
    Added,
    PeerCounts,
    PeerRole,
    PeerRow,
    PeerState,
    RecordCounts,
    RecordFilter,
    RecordList,
    StoredRecord,
)


class Records(Protocol):
    """Keep what is said."""

    def add(self, record: VerifiedRecord, *, received_from: str = "", author: str = "", now: int) -> Added:
        """Keep a verified record; empty `received_from`: an own one, by this author.

        One that was retracted stays so: RETRACTED, and under a purge nothing
        but its row is kept. A digest held before grows to the disclosures of `record`, which must
        hold all of the earlier ones (RuntimeError). A second digest for one
        issuer, record id and version is kept as evidence and neither is
        current from then on.
        """

    def get(self, digest: str) -> StoredRecord:
        """Return the version with this digest. Raises NotFound."""

    def find(self, name: str, *, version: int = 0) -> StoredRecord:
        """Return a record by digest, record id, or a prefix of it that is unique here; version 0: the newest held.

        Raises NotFound; Conflict where the prefix is ambiguous (the hint lists
        the candidates), or EQUIVOCATION where the version stands twice.
        """

    def tokens(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the text held for each of these digests; what is not held is left out."""
        ...

    def token(self, digest: str) -> str | None:
        """Return the SD-JWT text held for a digest; None where nothing is, or nothing any more."""

    def versions(self, issuer: str, record_id: str) -> tuple[int, ...]:
        """Return the versions that are held, ascending."""

    def list(self, where: RecordFilter, *, page_size: int = 0, page_token: str = "") -> RecordList:
        """List current records, newest first; page_size 0: 50, more than 500 is cut to 500.

        Raises MalformedRequest for a token that is not of this listing.
        """

    def search(self, text: str, *, limit: int = 0) -> tuple[StoredRecord, ...]:
        """Return current records that contain every word of the text, best first; nothing in it is an operator."""

    def own_current(self) -> Iterator[str]:
        """Yield the digest of each current record of this organisation's own making that is held, oldest first."""

    def own_versions(self) -> Iterator[tuple[str, int, str]]:
        """Yield record id, version and digest of everything that we issued, oldest first, whatever became of it."""

    def relayable(self) -> Iterator[str]:
        """Yield the digest of each current record of others that is held and that its origin lets us pass on."""

    def equivocations(self) -> tuple[tuple[str, str, int, tuple[str, ...]], ...]:
        """Return each issuer, record id and version that stands for several digests."""

    def counts(self) -> RecordCounts:
        """Count the current records."""

    def narrow(self, digest: str, recipients: Iterable[str]) -> None:
        """Keep whom the poster named; further calls add."""

    def recipients(self, digest: str) -> frozenset[OrgId]:
        """Return whom the poster named; empty: not narrowed."""

    def remark(self, digest: str, marking: str) -> None:
        """Keep the marking that counts from now on, as the origin's signed schedule says."""

    def newest(self, issuer: str, record_id: str, *, until: int) -> StoredRecord | None:
        """Return the newest version held of a record up to one; None where there is none."""

    def history(self, issuer: str, record_id: str) -> tuple[StoredRecord, ...]:
        """Return every version held of a record, whatever its standing, oldest first."""

    def issued(self, issuer: str, *, after: str, limit: int) -> tuple[StoredRecord, ...]:
        """Return what is held of an issuer's records (empty: of everybody's), by digest, behind one."""

    def passed_on(self, peer: str, *, after: str, limit: int) -> tuple[StoredRecord, ...]:
        """Return what a peer passed on of others' records and is held, by digest, behind one; for `Recover`."""

    def erase(self, digest: str) -> None:
        """Delete what is held of a record (token, content, search); the row with its plain claims stays.

        Nobody waits for it from then on: it is no candidate, and nothing about
        it is due. What comes of it again is not kept. The bytes are gone from
        the disk after the next `Store.scrub`.
        """

    def remember_key(self, key: str, digest: str, *, now: int) -> None:
        """Keep an idempotency key. Raises Conflict where it stands for another record."""

    def by_key(self, key: str) -> str | None:
        """Return the digest that an idempotency key was used for."""


class Retractions(Protocol):
    """Keep what is over. A tombstone outlives what it is about, and holds whatever comes later."""

    def add(self, retraction: VerifiedRetraction, *, received_from: str = "", person: str = "", now: int) -> bool:
        """Keep a verified retraction and let it count; False where as much was said already: it is not kept.

        Versions held get the standing that the strongest one gives them, in
        whatever order things came, and the stricter marking. A purge deletes
        nothing by itself: the caller erases what it does not have to keep
        (`Records.erase`), and calls `Store.scrub` afterwards.
        """

    def of(self, issuer: str, record_id: str) -> tuple[RetractionRow, ...]:
        """Return the retractions of a record, strongest first."""

    def list(self, *, page_size: int = 0, page_token: str = "") -> tuple[tuple[RetractionRow, ...], str]:
        """Return retractions, newest first, corrections left out, and the token of the next page."""

    def issued(self, issuer: str, *, after: str = "") -> Iterator[RetractionRow]:
        """Yield every retraction of an issuer (empty: of everybody), by digest, behind one."""


class Peers(Protocol):
    """Keep who is out there."""

    def add(self, org: str, *, document: bytes, role: PeerRole, state: PeerState, now: int) -> PeerRow:
        """Register an organisation, or register a removed one again. Raises Conflict where it is a peer."""

    def get(self, org: str) -> PeerRow:
        """Return an organisation that is known, removed ones too. Raises NotFound."""

    def list(self) -> tuple[PeerRow, ...]:
        """Return the peers by organisation id, without the removed ones."""

    def active(self) -> tuple[OrgId, ...]:
        """Return the organisations with which something is exchanged, by id."""

    def set_state(self, org: str, state: PeerState) -> PeerRow:
        """Change where a peering stands. Raises NotFound. Which changes are legal is not the store's to say."""

    def set_role(self, org: str, role: PeerRole) -> PeerRow:
        """Change what a peer may do. Raises NotFound."""

    def set_document(self, org: str, document: bytes) -> PeerRow:
        """Replace the identity document. Raises NotFound."""

    def note_received(self, org: str, *, now: int) -> None:
        """Keep that something came from a peer; clears its last error."""

    def note_contact(self, org: str) -> None:
        """Clear the last error of a peer that answers again. Raises NotFound."""

    def note_sent(self, org: str, *, now: int) -> None:
        """Keep that something went to a peer."""

    def note_error(self, org: str, *, reason: str, message: str, now: int) -> None:
        """Keep what went wrong with a peer last."""

    def counts(self, org: str) -> PeerCounts:
        """Count what went to and came from a peer."""


class Store(Protocol):
    """Keep everything that a node must not forget."""

    @property
    def records(self) -> Records:
        """What is said."""

    @property
    def retractions(self) -> Retractions:
        """What is over."""

    @property
    def receipts(self) -> Receipts:
        """What was signed for."""

    @property
    def recoveries(self) -> Recoveries:
        """Whom to ask for what was lost."""

    @property
    def logs(self) -> Logs:
        """What was issued, provably."""

    @property
    def feeds(self) -> Feeds:
        """What goes out."""

    @property
    def intake(self) -> Intake:
        """What came in."""

    @property
    def peers(self) -> Peers:
        """Who is out there."""

    @property
    def people(self) -> People:
        """Who our own people are."""

    @property
    def reviews(self) -> Reviews:
        """What waits for a decision."""

    @property
    def dues(self) -> Dues:
        """What is to be done at a time."""

    @property
    def policies(self) -> Policies:
        """What is in force."""

    @property
    def audit(self) -> Audit:
        """The rows of the decision log."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit everything inside together, durably, or nothing of it.

        Transactions nest: an inner one that fails takes back its own part
        only, and the outer one decides about the rest.
        """

    def joined(self) -> AbstractContextManager[None]:
        """Join the transaction around it, or be one: what fails inside MUST end that, or a part of it.

        For what happens often, and need not fail by itself: a part costs what it writes, and more.
        """

    def scrub(self, *, unless_within: float = 0.0) -> None:
        """Overwrite on the disk what was erased; not inside a transaction, and once for many records.

        Nobody else writes meanwhile: what others have erased is left for the
        next time where it was done within so many seconds, or for the end.
        """

    examined: Examined | None
    """What the last `examine` found since the store was opened."""

    def verify_whole(self) -> None:
        """Verify that nobody has met any damage since the store was opened: from then on nobody reads or writes it.

        Raises StoreCorrupt.
        """

    def examine(self, *, now: int) -> Examined | None:
        """Read everything while the store is in use, and return what does not fit together; None: it was stopped."""

    def stop_examining(self) -> None:
        """End an `examine` that is under way in another thread."""

    def problems(self) -> Iterator[str]:
        """Yield what does not fit together in the store itself; also in its indexes, for which writers wait.

        It reads everything. Nothing is repaired.
        """

    def snapshot(self, path: Path) -> None:
        """Write a copy of the store as it is at one moment to a new file, without what was deleted."""

    def note_restored(self, *, now: int) -> None:
        """Keep that this store was put back from a backup: feeds begin anew, and peers are asked for what is lost."""

    def size(self) -> int:
        """Return the bytes that the store takes on disk."""

    def close(self) -> None:
        """Close every connection; further calls raise RuntimeError."""
