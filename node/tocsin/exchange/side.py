"""This module is our side of every exchange: what the node brings to it, whoever dials.

The service that peers call and the client that calls peers end in the same
steps: make a page, keep an acknowledgement, take a page in, keep what was asked
for, note how it went. All of them work on the disk, and belong off the event loop.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tocsin.errors import IdentityOutdated, NotPermitted, TocsinError
from tocsin.exchange import outbox
from tocsin.exchange.cursor import format_cursor
from tocsin.exchange.directory import Directory, KnownPeer
from tocsin.exchange.outbox import LIMITS
from tocsin.exchange.receive import Received, accept_page
from tocsin.exchange.request import keep_request
from tocsin.identity.certificate import TlsKeys
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.release.office import Office
from tocsin.store.model import PeerRole, Position
from tocsin.store.protocol import Store
from tocsin.v1 import exchange_service_pb2 as v1


@dataclass(frozen=True, slots=True)
class Side:
    """Who we are to our peers."""

    office: Office
    delivery_signer: Signer
    keys: TlsKeys
    directory: Directory
    clock: Callable[[], int]

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
        now = self.clock()
        page = outbox.next_page(self.office, partner, cursor, signer=self.delivery_signer, now=now, limits=limits)
        if page is not None:
            self.store.peers.note_sent(partner, now=now)
        return page

    def acknowledge(self, partner: OrgId, cursor: str) -> None:
        """Keep how far a partner has stored its feed."""
        outbox.acknowledge(self.store, partner, cursor, now=self.clock())

    def acknowledged(self, partner: OrgId) -> str:
        """Return the cursor up to which a partner has stored its feed."""
        feed = self.store.feeds.get(partner)
        return format_cursor(Position(feed.feed_id, feed.acknowledged)) if feed else ""

    def accept(self, org: OrgId, page: v1.Page) -> Received:
        """Take in a page of a peer's feed; see `receive.accept_page`.

        The peer is looked up when its page is there: it may have been stopped
        while the page was on its way.

        Raises NotFound and NotPermitted as well.
        """
        peer = self.directory.get(org)
        now = self.clock()
        verify_exchanging(peer, now=now)
        if peer.role != PeerRole.MEMBER:
            raise NotPermitted(f"{org} is a reader: nothing is taken from it")
        policy = self.office.policies().policies.get(org)
        accept = policy.accept if policy else None
        return accept_page(
            self.store, page, sender=peer.organisation, ours=self.organisation.org, accept=accept, now=now
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

    def note_contact(self, peer: OrgId) -> None:
        """Keep that a peer answers again after something had gone wrong."""
        if self.store.peers.get(peer).last_error_reason:
            self.store.peers.note_received(peer, now=self.clock())

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
