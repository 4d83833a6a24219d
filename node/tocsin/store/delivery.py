"""This module says what the floors above need of the shelves on which the exchange with peers lies.

What goes out to each, what came in from each, and what both sides signed for;
`tocsin.store.protocol` says what holds for every shelf.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from tocsin.identity.names import OrgId
from tocsin.store.evidence import AnswerRow, CheckpointRow, EvidenceRow, LoggedRow, LogRow, PageRow, ReceiptRow
from tocsin.store.model import (
    Dealings,
    Feed,
    FeedEntry,
    NewEntry,
    Position,
    Refusal,
    Taken,
    Verdict,
    Waiting,
    WithheldPath,
)


class Feeds(Protocol):
    """Keep what goes out to each partner."""

    def queue(self, partner: str, digest: str, *, now: int) -> bool:
        """Make a record a candidate for a partner's feed; False where it is one already.

        A candidate is a reason to look again, not a promise to send: policy
        decides when the page is made.
        """

    def queue_for(self, partners: Iterable[str], digest: str, *, now: int) -> None:
        """Make a record a candidate for the feeds of some partners."""

    def queue_all(self, partner: str, *, now: int, relayed: bool = False) -> None:
        """Make every current own record a candidate for a partner's feed; `relayed`: and what others let us pass on."""

    def queue_held(self, partner: str, *, now: int) -> None:
        """Make every record that a partner holds a candidate for its feed: it may have to be told that one is over."""

    def candidates(self, partner: str, *, after: str = "", limit: int) -> tuple[str, ...]:
        """Return digests of candidates behind one of them, in the order in which their records were stored."""

    def drop(self, partner: str, digests: Iterable[str]) -> None:
        """Take candidates off the queue."""

    def waiting(self, partner: str) -> int:
        """Count the candidates."""

    def deliveries(self, partner: str, *, digest: str = "", after: str, limit: int) -> tuple[Waiting, ...]:
        """Return what is on its way to a partner (empty: to all), of one record or all, by partner and then by record.

        Candidates, what is due, entries that are not acknowledged, entries that
        were refused. `after` is the last one returned, as `partner digest
        sequence due_at`; empty: from the beginning.
        """

    def oldest_waiting(self, partner: str) -> int | None:
        """Return since when the oldest candidate has waited; None: there is none."""

    def holders(self, issuer: str, record_id: str) -> frozenset[OrgId]:
        """Return the partners that were ever sent a version of a record, or are known to hold one."""

    def note_holder(self, partner: str, digest: str) -> None:
        """Keep that a partner holds a record, of which no entry of its feed tells."""

    def get(self, partner: str) -> Feed | None:
        """Return the feed of a partner; None before the first entry was made."""

    def open(self, partner: str, *, feed_id: str, now: int) -> Feed:
        """Return the feed of a partner, making it with this id where there is none."""

    def append(self, partner: str, entries: Sequence[NewEntry], *, after: int, now: int) -> None:
        """Give entries the numbers behind the last one; a record entry makes the partner a holder.

        RuntimeError where the last number is another one than `after`.
        """

    def renew(self, partner: str, *, feed_id: str, now: int) -> None:
        """Begin the feed of a partner anew, under another name: every current record is a candidate for it again."""

    def position(self, partner: str, sequence: int) -> Position | None:
        """Return the position behind an entry, with its tag; None where there is no such entry. 0: before the first."""

    def entries(self, partner: str, *, after: int, limit: int) -> tuple[FeedEntry, ...]:
        """Return numbered entries behind a number."""

    def narrow(self, partner: str, sequence: int, *, disclosed: frozenset[str]) -> None:
        """Keep that an entry went again with fewer fields."""

    def void(self, partner: str, sequence: int) -> None:
        """Keep that an entry carries nothing any more."""

    def dealings(self, partner: str, digest: str) -> Dealings:
        """Return what there is between us and a partner about a record, which need not be held."""

    def sent(self, partner: str, digest: str) -> frozenset[str] | None:
        """Return the field paths of a record that went to a partner; None where the record never went, or is void."""

    def told(self, partner: str, issuer: str, record_id: str) -> frozenset[str]:
        """Return the digests of the retractions of a record that went to a partner."""

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

    def note_taken(self, peer: str, *, entries: int, size: int, now: int) -> None:
        """Count what came from a peer, whatever became of it."""

    def taken_within(self, peer: str, seconds: int, *, now: int) -> Taken:
        """Count what came from a peer in so many seconds until now, again what came again; entries without void ones.

        What is dated later came before a clock was put back, and counts no more.
        """

    def refusals(self, peer: str, *, limit: int = 50) -> tuple[Refusal, ...]:
        """Return the refused entries of a peer, newest first."""

    def note_withheld(self, peer: str, digest: str, withheld: Iterable[WithheldPath]) -> None:
        """Keep what a peer said it withheld of a record, in place of what it said before."""

    def withheld(self, digest: str) -> tuple[WithheldPath, ...]:
        """Return what senders said they withheld of a record, by path."""


class Receipts(Protocol):
    """Keep what was signed for: receipts that partners gave us, and that we gave them."""

    def keep_page(self, partner: str, page: PageRow) -> None:
        """Keep the statement of a page that was made for a partner.

        Of those without a receipt only the last 64 of a partner are kept: a
        partner that asks and never acknowledges costs no more.
        """

    def page(self, partner: str, digest: str) -> PageRow | None:
        """Return a page that was made for a partner, by the digest of its statement."""

    def count_of(self, partner: str, digest: str) -> int:
        """Count the receipts of a partner for one page, by the digest of its statement."""

    def hold(self, receipt: ReceiptRow, verdicts: Iterable[Verdict], *, now: int) -> None:
        """Keep a receipt that a partner gave, and what it says of each entry of the page."""

    def give(self, receipt: ReceiptRow) -> None:
        """Keep a receipt that we gave a peer; it is pending until it was taken."""

    def last(self, peer: str, *, given: bool) -> ReceiptRow | None:
        """Return the last receipt of a direction, in whatever chain; None: there is none."""

    def numbered(self, peer: str, chain: str, number: int) -> ReceiptRow | None:
        """Return the receipt that a peer gave with this place in a chain; None: there is none."""

    def pending(self, peer: str, *, limit: int) -> tuple[ReceiptRow, ...]:
        """Return receipts that we gave and that the peer may not have, in the order of their numbers."""

    def taken(self, peer: str, digest: str) -> None:
        """Keep that a peer has a receipt, and so those before it."""

    def drop_pending(self, peer: str) -> tuple[ReceiptRow, ...]:
        """Forget the pending receipts and return them, to be signed again in another chain."""

    def list(
        self, *, given: bool, peer: str = "", digest: str = "", page_size: int = 0, page_token: str = ""
    ) -> tuple[tuple[ReceiptRow, ...], str]:
        """Return receipts by peer and then in their order, those about one record only, and the next page's token."""

    def answers(self, digest: str) -> tuple[AnswerRow, ...]:
        """Return what partners said of the entries about a record, oldest first."""


class Recoveries(Protocol):
    """Keep whom to ask for what a store that was put back to an earlier state has lost."""

    def begin(self, peer: str, *, now: int) -> bool:
        """Ask a peer from the beginning; False where it is being asked already."""

    def open(self) -> Mapping[str, str]:
        """Return the peers that are to be asked, each with where to go on."""

    def advance(self, peer: str, after: str) -> None:
        """Keep how far a peer has answered; empty: it is done."""


class Logs(Protocol):
    """Keep transparency logs: our own, and what was read of those that we follow. An origin is an organisation."""

    def get(self, origin: str) -> LogRow:
        """Return where a log stands; one that nothing is held of is empty."""

    def list(self) -> tuple[LogRow, ...]:
        """Return the logs that something is held of, by origin."""

    def append(
        self,
        origin: str,
        entries: Sequence[bytes],
        nodes: Sequence[tuple[tuple[int, int], bytes]],
        *,
        size: int,
        now: int,
    ) -> int:
        """Append entries to a log of this size, with the nodes (level, number) that become complete by them.

        Return its new size. RuntimeError where the log has another size by now.
        """

    def nodes(self, origin: str, wanted: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return the hashes of nodes (level, number), in order. Raises StoreCorrupt where one is missing."""

    def entries(self, origin: str, *, start: int, limit: int) -> tuple[bytes, ...]:
        """Return entries in their order, from a number on."""

    def named(self, origin: str, *names: bytes) -> tuple[LoggedRow, ...]:
        """Return the entries with one of some id halves, oldest first; two of one half are two histories."""

    def set_checkpoint(self, origin: str, text: str, *, signed: int, now: int) -> None:
        """Keep the newest checkpoint of a log, and of how many entries it is."""

    def note_cosigned(self, origin: str, size: int, root: bytes, *, now: int) -> None:
        """Keep that we cosign a tree, before we do. RuntimeError for less, or earlier, than the last."""

    def keep_checkpoint(self, origin: str, text: str, *, size: int, signatures: int, now: int) -> None:
        """Keep a checkpoint that was cosigned; of each minute the last, or the one with more signatures, stays."""

    def checkpoints(self, origin: str, *, least: int = 0) -> tuple[CheckpointRow, ...]:
        """Return the cosigned checkpoints that are kept, of so many entries at least, smallest first."""

    def newest_checkpoints(self, origin: str, *, limit: int) -> tuple[CheckpointRow, ...]:
        """Return some of the cosigned checkpoints that are kept, largest first."""

    def fullest_checkpoints(self, origin: str, least: int) -> Iterator[CheckpointRow]:
        """Yield the cosigned checkpoints of so many entries at least, those with the most signatures first."""

    def stop(self, origin: str, why: str, *, now: int) -> None:
        """Keep why nothing is taken from an origin, or why we issue nothing."""

    def resume(self, origin: str, *, now: int) -> None:
        """Go on with an origin that was stopped: what it showed until now is known."""

    def cut(self, origin: str, size: int) -> None:
        """Forget what is held of a log behind the first entries; what we cosigned, and why it is stopped, stay."""

    def repeated(self, origin: str, *, since: int) -> tuple[bytes, ...]:
        """Return the id halves of entries, from a number on, that an earlier entry has with another digest."""

    def await_word(self, peers: Iterable[str]) -> None:
        """Keep whom our own log waits for, in a home that was put back to an earlier state."""

    def has_said(self, peer: str) -> bool:
        """Keep that a peer has said how much of our log it has seen; False where it was not waited for."""

    def awaited(self) -> tuple[str, ...]:
        """Return whom our own log waits for."""

    def add_evidence(self, row: EvidenceRow) -> bool:
        """Keep evidence; False where it is held already."""

    def evidence(self, origin: str = "") -> tuple[EvidenceRow, ...]:
        """Return what is held against an origin (empty: against anybody), oldest first."""
