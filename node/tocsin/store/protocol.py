"""This module says what the floors above need of a store; `tocsin.store.sqlite` is the one there is.

A store is a row of shelves behind one lock for writers:

    records       what is said: versions, holdings, search, recipients, idempotency keys
    feeds         what goes out: candidates, numbered entries, grants
    intake        what came in: cursors, verdicts, withheld paths
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

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord
from tocsin.store.decisions import Audit, Dues, People, Policies, Reviews
from tocsin.store.model import (
    Added,
    EntryKind,
    Feed,
    FeedEntry,
    PeerCounts,
    PeerRole,
    PeerRow,
    PeerState,
    Position,
    RecordCounts,
    RecordFilter,
    RecordList,
    Refusal,
    StoredRecord,
    Verdict,
    WithheldPath,
)


class Records(Protocol):
    """Keep what is said."""

    def add(self, record: VerifiedRecord, *, received_from: str = "", author: str = "", now: int) -> Added:
        """Keep a verified record; empty `received_from`: an own one, by this author.

        A digest held before grows to the disclosures of `record`, which must
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


class Feeds(Protocol):
    """Keep what goes out to each partner."""

    def queue(self, partner: str, digest: str, *, now: int) -> bool:
        """Make a record a candidate for a partner's feed; False where it is one already.

        A candidate is a reason to look again, not a promise to send: policy
        decides when the page is made.
        """

    def queue_all(self, partner: str, *, now: int) -> None:
        """Make every current own record a candidate for a partner's feed."""

    def candidates(self, partner: str, *, limit: int) -> tuple[str, ...]:
        """Return digests of candidates, in the order in which their records were stored."""

    def drop(self, partner: str, digests: Iterable[str]) -> None:
        """Take candidates off the queue."""

    def waiting(self, partner: str) -> int:
        """Count the candidates."""

    def get(self, partner: str) -> Feed | None:
        """Return the feed of a partner; None before the first entry was made."""

    def open(self, partner: str, *, feed_id: str, now: int) -> Feed:
        """Return the feed of a partner, making it with this id where there is none."""

    def append(self, partner: str, *, kind: EntryKind, digest: str, disclosed: frozenset[str], now: int) -> int:
        """Give an entry the next number, and return it."""

    def entries(self, partner: str, *, after: int, limit: int) -> tuple[FeedEntry, ...]:
        """Return numbered entries behind a number."""

    def narrow(self, partner: str, sequence: int, *, disclosed: frozenset[str]) -> None:
        """Keep that an entry went again with fewer fields."""

    def void(self, partner: str, sequence: int) -> None:
        """Keep that an entry carries nothing any more."""

    def sent(self, partner: str, digest: str) -> frozenset[str] | None:
        """Return the field paths of a record that went to a partner; None where the record never went, or is void."""

    def holds(self, partner: str, digest: str, *, before: int) -> bool:
        """Say whether an entry below this number still carries the record itself."""

    def acknowledge(self, partner: str, sequence: int, *, now: int) -> None:
        """Keep how far the partner has stored its feed; never goes back."""

    def grant(self, partner: str, digest: str, paths: Iterable[str], *, now: int) -> None:
        """Keep that fields of a record were revealed to a partner by name."""

    def granted(self, partner: str, digest: str) -> frozenset[str]:
        """Return the field paths that were revealed by name."""

    def grants(self) -> Mapping[tuple[str, str], frozenset[str]]:
        """Return everything that was revealed by name, by partner and digest: for whoever looks at all records."""

    def withdraw_grants(self, partner: str) -> None:
        """Forget every field that was revealed to a partner by name; what was sent stays in the decision log."""


class Intake(Protocol):
    """Keep what came in from each peer."""

    def cursor(self, peer: str) -> Position | None:
        """Return how far a peer's feed is stored; None: nothing of it."""

    def move(self, peer: str, position: Position, verdicts: Iterable[Verdict], *, now: int) -> None:
        """Move the cursor and keep what became of the entries up to it."""

    def forget(self, peer: str) -> None:
        """Start again at the beginning of a peer's feed; what is held stays, and is recognised when it comes again."""

    def taken_since(self, peer: str, since: int) -> int:
        """Count the entries that came from a peer at this time or later, again those that came again; no void ones."""

    def refusals(self, peer: str, *, limit: int = 50) -> tuple[Refusal, ...]:
        """Return the refused entries of a peer, newest first."""

    def note_withheld(self, peer: str, digest: str, withheld: Iterable[WithheldPath]) -> None:
        """Keep what a peer said it withheld of a record, in place of what it said before."""

    def withheld(self, digest: str) -> tuple[WithheldPath, ...]:
        """Return what senders said they withheld of a record, by path."""


class Peers(Protocol):
    """Keep who is out there."""

    def add(self, org: str, *, document: bytes, role: PeerRole, state: PeerState, now: int) -> PeerRow:
        """Register an organisation, or register a removed one again. Raises Conflict where it is a peer."""

    def get(self, org: str) -> PeerRow:
        """Return an organisation that is known, removed ones too. Raises NotFound."""

    def list(self) -> tuple[PeerRow, ...]:
        """Return the peers by organisation id, without the removed ones."""

    def set_state(self, org: str, state: PeerState) -> PeerRow:
        """Change where a peering stands. Raises NotFound. Which changes are legal is not the store's to say."""

    def set_role(self, org: str, role: PeerRole) -> PeerRow:
        """Change what a peer may do. Raises NotFound."""

    def set_document(self, org: str, document: bytes) -> PeerRow:
        """Replace the identity document. Raises NotFound."""

    def note_received(self, org: str, *, now: int) -> None:
        """Keep that something came from a peer; clears its last error."""

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

    def scrub(self) -> None:
        """Overwrite on the disk what was erased; not inside a transaction, and once for many records."""

    def size(self) -> int:
        """Return the bytes that the store takes on disk."""

    def close(self) -> None:
        """Close every connection; further calls raise RuntimeError."""
