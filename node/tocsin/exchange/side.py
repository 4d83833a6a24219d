"""This module is our side of every exchange: what the node brings to it, whoever dials.

The service that peers call and the client that calls peers end in the same
steps: make a page, take receipts for it, take a page in, hand over receipts
for that, keep what was asked for, note how it went. All of them work on the
disk, and belong off the event loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tocsin.errors import IdentityOutdated, NotPermitted, TocsinError
from tocsin.exchange import chain, outbox
from tocsin.exchange.acknowledge import last_held, take_receipts
from tocsin.exchange.circuit import Contacts
from tocsin.exchange.client import Dial
from tocsin.exchange.cursor import acknowledged_cursor, format_cursor, parse_cursor
from tocsin.exchange.directory import Directory, KnownPeer
from tocsin.exchange.introduction import take_identity
from tocsin.exchange.outbox import LIMITS
from tocsin.exchange.quota import Budget, Inflow
from tocsin.exchange.receive import Received, accept_page
from tocsin.exchange.recovery import keep_recovered, what_is_held
from tocsin.exchange.request import keep_request
from tocsin.exchange.reread import Rereading
from tocsin.exchange.rounds import Rounds
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.records.disclosure import digest_of
from tocsin.release.office import Office, vouched_organisation
from tocsin.store.model import PeerRole
from tocsin.store.protocol import Store
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1 import log_service_pb2
from tocsin.watch.comparison import Comparison, Heard
from tocsin.watch.cosigning import add_checkpoint
from tocsin.watch.growth import Growth
from tocsin.watch.library import Library

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Side:
    """Who we are to our peers; `contacts` and `rereading` are what was seen of them since the node started.

    `changed` hears of a peer that has shown a newer identity document.
    """

    office: Office
    delivery_signer: Signer
    directory: Directory
    clock: Callable[[], int]
    dial: Dial
    budget: Budget
    contacts: Contacts = field(default_factory=Contacts)
    rereading: Rereading = field(default_factory=Rereading)
    inflow: Inflow = field(default_factory=Inflow)
    rounds: Rounds = field(default_factory=Rounds)
    changed: Callable[[OrgId], None] = lambda _: None

    @property
    def organisation(self) -> Organisation:
        """Return our own organisation."""
        return self.office.organisation

    @property
    def store(self) -> Store:
        """Return where everything rests."""
        return self.office.store

    def next_page(self, partner: OrgId, cursor: str, *, max_entries: int = 0) -> v1.Page | None:
        """Return the page of a partner's feed that follows a cursor; see `outbox.next_page`."""
        limits = replace(LIMITS, entries=min(max_entries or LIMITS.entries, LIMITS.entries))
        return outbox.next_page(
            self.office,
            partner,
            cursor,
            signer=self.delivery_signer,
            now=self.clock(),
            limits=limits,
            reread=self.rereading,
            rounds=self.rounds,
        )

    def has_queued(self, partner: OrgId) -> bool:
        """Say whether anything is queued for a partner; perhaps nothing of it goes."""
        return bool(self.store.feeds.candidates(partner, limit=1))

    def acknowledge(self, partner: OrgId, receipts: Sequence[str]) -> None:
        """Take what a partner says became of our pages; see `acknowledge.take_receipts`."""
        with self.budget.spending(partner):
            take_receipts(self.office, self.directory.get(partner), receipts, now=self.clock())

    def acknowledged(self, partner: OrgId) -> str:
        """Return the cursor up to which a partner has stored its feed."""
        return acknowledged_cursor(self.store.feeds.get(partner), self.store.feeds)

    def beginning(self, partner: OrgId, cursor: str) -> str:
        """Return where a stream to a partner begins: where it says, but not behind what it gave no receipt for.

        Receipts are handed over before a stream is asked for: those that are
        not here then were lost with an earlier state of this store.
        """
        feeds = self.store.feeds
        feed, position = feeds.get(partner), parse_cursor(cursor)
        if feed is None or position is None or feed.acknowledged >= position.sequence:
            return cursor
        is_ours = feeds.position(partner, position.sequence) == position
        return acknowledged_cursor(feed, feeds) if is_ours else cursor

    def before_last(self, partner: OrgId) -> str:
        """Return the cursor before the last entry that a partner has stored."""
        feed = self.store.feeds.get(partner)
        if feed is not None and feed.acknowledged:
            feed = replace(feed, acknowledged=feed.acknowledged - 1)
        return acknowledged_cursor(feed, self.store.feeds)

    def last_held(self, partner: OrgId) -> str:
        """Return the digest of the last receipt of a partner; empty: there is none."""
        return last_held(self.store, partner)

    def accept(
        self,
        org: OrgId,
        page: v1.Page,
        *,
        pushed: bool = False,
        last_receipt: str = "",
    ) -> Received:
        """Take in a page of a peer's feed; see `receive.accept_page`.

        The peer is looked up when its page is there: it may have been stopped
        while the page was on its way. `pushed` says that we did not ask for it,
        and `last_receipt` is then the last of our receipts that the peer holds.

        Raises NotFound and NotPermitted as well.
        """
        peer = self.directory.get(org)
        now = self.clock()
        verify_exchanging(peer, now=now)
        if peer.role != PeerRole.MEMBER:
            raise NotPermitted(f"{org} is a reader: nothing is taken from it")
        policies = self.office.policies().policies
        policy = policies.get(org)
        active = self.office.partners()
        return accept_page(
            self.office,
            page,
            sender=peer.organisation,
            accept=policy.accept if policy else None,
            onward=[partner for partner in active if partner in policies and policies[partner].relays],
            origins=self.origin,
            signer=self.delivery_signer,
            budget=self.budget,
            now=now,
            pushed=pushed,
            lacks_receipt=not pushed or self._lacks_receipt(org, last_receipt),
        )

    def _lacks_receipt(self, org: OrgId, last: str) -> bool:
        """Say whether our last receipt is none that a peer says it holds."""
        given = self.store.receipts.last(org, given=True)
        return given is not None and given.digest != last

    def origin(self, org: OrgId) -> Organisation | None:
        """Return an organisation whose keys count here, for what others pass on; None where they do not."""
        return self.organisation if org == self.organisation.org else vouched_organisation(self.store, org)

    def comparison(self) -> Comparison:
        """Return what we know of everybody's log now, to be compared with what a peer knows."""
        return Comparison(self.office, self.origin, now=self.clock())

    def take_identity(self, peer: OrgId, document: bytes) -> None:
        """Take the newer identity document of a peer; see `introduction.take_identity`."""
        with self.budget.spending(peer):
            is_new = take_identity(self.office, peer, document, now=self.clock())
        if is_new:
            self.directory.refresh()
            self.changed(peer)

    def compare(self, peer: OrgId, request: log_service_pb2.CompareRequest) -> log_service_pb2.CompareResponse:
        """Answer a peer that compares logs; see `comparison.Comparison.answer`."""
        if request.identity:
            self.take_identity(peer, request.identity)
        with self.budget.spending(peer):
            return self.comparison().answer(peer, request)

    def hear(self, peer: OrgId, answer: log_service_pb2.CompareResponse) -> Heard:
        """Hear what a peer answers to a comparison; see `comparison.Comparison.hear`."""
        if answer.identity:
            self.take_identity(peer, answer.identity)
        with self.budget.spending(peer):
            return self.comparison().hear(peer, answer)

    def extend(self, peer: OrgId, origin: OrgId, growth: Growth, *, given: bool = False) -> int:
        """Take over entries of a log that a peer has; see `Comparison.extend`. Raises QuotaExceeded as well."""
        if origin != self.organisation.org:
            self.inflow.verify(peer)
        before = self.store.logs.get(origin).size
        with self.budget.spending(peer):
            size = self.comparison().extend(peer, origin, growth, given=given)
        self.inflow.count(peer, max(0, size - before))
        return size

    def growth(self, peer: OrgId, origin: OrgId, start: int) -> Growth | None:
        """Return how a log goes on, for a peer; see `comparison.Comparison.growth`."""
        with self.budget.spending(peer):
            return self.comparison().growth(origin, start)

    def look_up(self, peer: OrgId, ask: Callable[[Library], T]) -> T:
        """Return what a peer asks of the logs that are held; whoever writes to them, it is one state of them."""
        with self.budget.spending(peer), self.store.transaction():
            return ask(Library(self.office, self.origin, now=self.clock()))

    def witness(self, peer: OrgId, request: str) -> str:
        """Cosign a checkpoint that a peer hands over; see `cosigning.add_checkpoint`."""
        with self.budget.spending(peer):
            return add_checkpoint(self.office, self.origin, request, now=self.clock())

    def receipts(self, peer: OrgId) -> tuple[str, ...]:
        """Return the receipts that a peer may not have yet, in order, as many as one message holds."""
        return chain.pending(self.store, peer)

    def leaves_receipts(self, peer: OrgId, last: str) -> bool:
        """Say whether a peer that holds this receipt has left so many behind it that it is given those first."""
        return chain.leaves_receipts(self.store, peer, last)

    def receipts_behind(self, peer: OrgId, last: str) -> tuple[str, ...]:
        """Return the receipts that go on from the last one that a peer says it holds."""
        with self.budget.spending(peer):
            return chain.pending_behind(
                self.store, peer, last, signer=self.delivery_signer, random=self.office.random, now=self.clock()
            )

    def handed_over(self, peer: OrgId, receipts: Sequence[str]) -> None:
        """Keep that a peer has taken receipts."""
        if receipts:
            self.store.receipts.taken(peer, digest_of(receipts[-1]))

    def sign_again(self, peer: OrgId, *, but: str = "") -> None:
        """Sign what a peer did not take in another chain, without the receipt that it never takes."""
        chain.begin_chain(
            self.store, peer, but=but, signer=self.delivery_signer, random=self.office.random, now=self.clock()
        )

    def keep_request(self, peer: OrgId, request: v1.RequestDisclosureRequest) -> v1.RequestState.ValueType:
        """Keep what a peer asks for; see `request.keep_request`."""
        return keep_request(self.office, peer, request, now=self.clock())

    def stored(self, peer: OrgId) -> str:
        """Return the cursor up to which a peer's feed is stored here."""
        return format_cursor(self.store.intake.cursor(peer))

    def begin_again(self, peer: OrgId) -> None:
        """Forget how far a peer's feed is stored, because the peer has another one now."""
        self.store.intake.forget(peer)

    def to_recover(self, peer: OrgId) -> str | None:
        """Return where to go on asking a peer for what our store has lost; None: it is not to be asked."""
        return self.store.recoveries.open().get(peer)

    def what_is_held(self, caller: OrgId, after: str) -> v1.RecoverResponse:
        """Return what a peer has signed and we hold; see `recovery.what_is_held`."""
        with self.budget.spending(caller):
            return what_is_held(self.store, caller, after)

    def keep_recovered(self, peer: OrgId, answer: v1.RecoverResponse | v1.GiveBackRequest) -> None:
        """Keep what a peer gave back of ours; see `recovery.keep_recovered`."""
        with self.budget.spending(peer):
            keep_recovered(self.office, peer, answer, now=self.clock())

    def keep_given_back(self, peer: OrgId, given: v1.GiveBackRequest) -> bool:
        """Keep what a peer gives back by itself, if it is to be asked; False where it is not."""
        if self.to_recover(peer) is None:
            return False
        self.keep_recovered(peer, given)
        return True

    def note_contact(self, peer: OrgId) -> None:
        """Keep that a peer answers again after something had gone wrong."""
        if self.store.peers.get(peer).last_error_reason:
            self.store.peers.note_contact(peer)

    def note_clock(self, peer: OrgId, now: int) -> None:
        """Keep what a peer says its clock is."""
        self.contacts.note_clock(peer, theirs=now, ours=self.clock())

    def note_error(self, peer: OrgId, error: TocsinError) -> None:
        """Keep what went wrong with a peer."""
        self.store.peers.note_error(peer, reason=error.reason, message=error.message, now=self.clock())


def verify_exchanging(peer: KnownPeer, *, now: int) -> None:
    """Refuse a peer with which nothing is exchanged today.

    Raises NotPermitted and IdentityOutdated.
    """
    if not peer.active:
        raise NotPermitted(f"the peering with {peer.org} is {peer.state}")
    if peer.organisation.expires <= now:
        hint = "get its current document, then: tocsin peer add FILE"
        raise IdentityOutdated(f"the identity document of {peer.org} has expired", hint=hint)
