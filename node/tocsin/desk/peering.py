"""This module registers other organisations, and begins, stops and ends the exchange with them.

    (unknown) --add--> pending --add with the fingerprint--> active <--resume/suspend--> suspended
    (unknown), pending --add as known, with the fingerprint--> known --add with the fingerprint--> active
    pending, active, suspended, known --remove--> removed (unknown again)

A peer becomes active, or known, only by the fingerprint that people compared.
From then on its newer documents prove themselves: each is signed by the keys of
the last. With one that is known nothing is exchanged: its keys are trusted for
what others pass on of it.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from tocsin.audit.entry import Entry, Event
from tocsin.desk.inforce import adopt_starter
from tocsin.desk.lookup import find_peer
from tocsin.desk.messages import organisation_message, peer_message, write_contact
from tocsin.desk.policyfiles import write_starter
from tocsin.desk.room import Room
from tocsin.encoding import JSON
from tocsin.errors import Conflict, MalformedRequest
from tocsin.exchange.circuit import Contacts
from tocsin.exchange.directory import known_organisation
from tocsin.exchange.publish import queue_partners, weigh_queued
from tocsin.exchange.receive import read_again
from tocsin.identity.fingerprint import verify_fingerprint
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation, parse_identity, update_identity
from tocsin.people.person import Person
from tocsin.release.proposal import refresh_all
from tocsin.store.model import PeerRole, PeerRow, PeerState
from tocsin.v1 import desk_service_pb2 as v1

_ROLES: Mapping[int, PeerRole] = MappingProxyType(
    {v1.PEER_ROLE_MEMBER: PeerRole.MEMBER, v1.PEER_ROLE_READER: PeerRole.READER}
)

_NEXT: Mapping[tuple[PeerState, str], PeerState] = MappingProxyType(
    {
        (PeerState.PENDING, "confirm"): PeerState.ACTIVE,
        (PeerState.PENDING, "being known only"): PeerState.KNOWN,
        (PeerState.PENDING, "remove"): PeerState.REMOVED,
        (PeerState.ACTIVE, "confirm"): PeerState.ACTIVE,
        (PeerState.ACTIVE, "suspend"): PeerState.SUSPENDED,
        (PeerState.ACTIVE, "resume"): PeerState.ACTIVE,
        (PeerState.ACTIVE, "remove"): PeerState.REMOVED,
        (PeerState.SUSPENDED, "confirm"): PeerState.SUSPENDED,
        (PeerState.SUSPENDED, "suspend"): PeerState.SUSPENDED,
        (PeerState.SUSPENDED, "resume"): PeerState.ACTIVE,
        (PeerState.SUSPENDED, "remove"): PeerState.REMOVED,
        (PeerState.KNOWN, "confirm"): PeerState.ACTIVE,
        (PeerState.KNOWN, "being known only"): PeerState.KNOWN,
        (PeerState.KNOWN, "remove"): PeerState.REMOVED,
    }
)
"""What each event makes of each state; what is not here is refused. Saying the same twice changes nothing."""


class Peering:
    """Keeps the list of those with whom the organisation exchanges."""

    def __init__(self, room: Room, contacts: Contacts) -> None:
        self._room = room
        self._store = room.home.store
        self._contacts = contacts

    def get_identity(self, request: v1.GetIdentityRequest) -> v1.GetIdentityResponse:
        """Return the organisation's own identity, for people and as the document that peers add."""
        organisation = self._room.home.organisation
        return v1.GetIdentityResponse(organisation=organisation_message(organisation), document=organisation.document)

    def list_peers(self, request: v1.ListPeersRequest) -> v1.ListPeersResponse:
        """List the organisations that the node knows, by organisation id."""
        return v1.ListPeersResponse(peers=[self._message(row) for row in self._store.peers.list()])

    def get_peer(self, request: v1.GetPeerRequest) -> v1.GetPeerResponse:
        """Return one organisation that the node knows; raises MalformedName and NotFound."""
        peer = self._message(find_peer(self._store, request.org))
        for refusal in self._store.intake.refusals(peer.organisation.org):
            told = peer.refusals.add(sequence=refusal.sequence, digest=refusal.digest, reason=refusal.reason)
            told.refused_at.FromSeconds(refusal.at)
        return v1.GetPeerResponse(peer=peer)

    def add_peer(self, request: v1.AddPeerRequest, caller: Person) -> v1.AddPeerResponse:
        """Register an organisation, confirm a pending one, or take its newer document.

        For a new one the starter policy comes in force, and is written as a
        draft where there is none; it shares nothing. A policy that is in force
        from an earlier peering stays. Who is only known needs none.

        Raises MalformedIdentity (FINGERPRINT_MISMATCH too) and IdentityOutdated
        for the document, MalformedRequest for our own, for an unknown role, or
        for one to be known whose fingerprint nobody compared, Conflict where
        something is exchanged with who is to be known only, HomeDamaged where
        the policy file cannot be written.
        """
        now = self._room.clock()
        given = parse_identity(request.document, now=now)
        if given.org == self._room.home.organisation.org:
            hint = "add the document of another organisation"
            raise MalformedRequest("this is the organisation's own identity document", hint=hint)
        if request.fingerprint:
            verify_fingerprint(request.fingerprint, expected=given.fingerprint)
        with self._store.transaction():
            known = {row.org: row for row in self._store.peers.list()}.get(given.org)
            if known is None:
                changes: tuple[str, ...] = ()
                row = self._register(given, request, now=now)
                self._log(Event.PEER_ADDED, row, caller, now=now)
            else:
                row, changes = self._renew(known, given, request, now=now)
                if row != known:
                    self._log(Event.PEER_CHANGED, row, caller, now=now)
            marked: Collection[OrgId] = ()
            if row.state is not PeerState.KNOWN:
                adopt_starter(self._store, row.org, now=now)
                write_starter(self._room.home.layout, row.org)
            if known is None or known.state is not row.state:
                marked = self._catch_up(row, now=now)
            partners = self._room.office.partners() if known is None or changes else ()
            again = [org for org in partners if read_again(self._store, org)]
        self._tell(row, weigh_queued(self._room.office, marked, now=now))
        for org in again:
            self._room.events.peer_changed(org)
        policy = self._room.home.policies.policies.get(row.org)
        shares = policy is not None and bool(policy.shares)
        return v1.AddPeerResponse(peer=self._message(row), changes=changes, shares=shares)

    def _register(self, given: Organisation, request: v1.AddPeerRequest, *, now: int) -> PeerRow:
        return self._store.peers.add(
            given.org,
            document=given.document,
            role=_role(request, otherwise=PeerRole.MEMBER),
            state=_first_state(request),
            now=now,
        )

    def _renew(
        self, known: PeerRow, given: Organisation, request: v1.AddPeerRequest, *, now: int
    ) -> tuple[PeerRow, tuple[str, ...]]:
        """Take what is new about a peer: its document, its role, its confirmation."""
        peers = self._store.peers
        held = known_organisation(known.document)
        changes: tuple[str, ...]
        if request.known and known.state is PeerState.PENDING and not request.fingerprint:
            raise _not_compared()
        if known.state is PeerState.PENDING and held.fingerprint != given.fingerprint:
            held, changes = given, (f"identity: {held.fingerprint} was never confirmed, now {given.fingerprint}",)
        else:
            held, changes = update_identity(held, given.document, now=now)
        row = known
        if held.document != known.document:
            row = peers.set_document(known.org, held.document)
        role = _role(request, otherwise=known.role)
        if role is not known.role:
            row = peers.set_role(known.org, role)
            changes = (*changes, f"role: {known.role}, now {role}")
        if request.fingerprint or request.known:
            row = self._advance(row, "being known only" if request.known else "confirm")
        return row, changes

    def suspend_peer(self, request: v1.SuspendPeerRequest, caller: Person) -> v1.SuspendPeerResponse:
        """Stop exchanging with a peer until it is resumed."""
        return v1.SuspendPeerResponse(peer=self._message(self._move(request.org, "suspend", caller)))

    def resume_peer(self, request: v1.ResumePeerRequest, caller: Person) -> v1.ResumePeerResponse:
        """Take up the exchange with a suspended peer again."""
        return v1.ResumePeerResponse(peer=self._message(self._move(request.org, "resume", caller)))

    def remove_peer(self, request: v1.RemovePeerRequest, caller: Person) -> v1.RemovePeerResponse:
        """End the exchange with a peer; what it sent, and its policy file, stay.

        What was revealed to it by name counts no more: whoever is added under
        that name later begins anew.
        """
        return v1.RemovePeerResponse(peer=self._message(self._move(request.org, "remove", caller)))

    def _move(self, org: str, event: str, caller: Person) -> PeerRow:
        now = self._room.clock()
        with self._store.transaction():
            before = find_peer(self._store, org)
            row = self._advance(before, event)
            marked: Collection[OrgId] = ()
            if row.state is not before.state:
                self._log(Event.PEER_CHANGED, row, caller, now=now)
                marked = self._catch_up(row, now=now)
            if row.state is PeerState.REMOVED:
                self._store.feeds.withdraw_grants(row.org)
        self._tell(row, weigh_queued(self._room.office, marked, now=now))
        return row

    def _log(self, event: Event, row: PeerRow, caller: Person, *, now: int) -> None:
        """Keep what a peer is from now on."""
        organisation = known_organisation(row.document)
        details: dict[str, JSON] = {
            "state": row.state.value,
            "role": row.role.value,
            "fingerprint": organisation.fingerprint,
            "version": organisation.version,
        }
        self._room.home.log.append(Entry(event, person=caller.name, partner=row.org, details=details), now=now)

    def _catch_up(self, row: PeerRow, *, now: int) -> Collection[OrgId]:
        """Queue for a peer that has just become active what was posted or retracted meanwhile; else void what waits."""
        if row.state is PeerState.ACTIVE:
            self._store.feeds.queue_held(row.org, now=now)
            return queue_partners(self._room.office, (row.org,), now=now)
        refresh_all(self._room.office, now=now)
        return ()

    def _tell(self, row: PeerRow, queued: Collection[OrgId]) -> None:
        self._room.events.peer_changed(row.org)
        self._room.events.due_changed()
        if queued:
            self._room.events.queued(queued)

    def _advance(self, row: PeerRow, event: str) -> PeerRow:
        """Follow the table above. Raises Conflict where the event does not fit the state."""
        to = _NEXT.get((row.state, event))
        if to is None:
            raise Conflict(
                f"{row.org} is {row.state}: {event} is not possible", reason="CONFLICT", hint=_hint(row, event)
            )
        return row if to is row.state else self._store.peers.set_state(row.org, to)

    def _message(self, row: PeerRow) -> v1.Peer:
        message = peer_message(row, known_organisation(row.document), self._store.peers.counts(row.org))
        write_contact(message, self._contacts)
        oldest, feed = self._store.feeds.oldest_waiting(row.org), self._store.feeds.get(row.org)
        if oldest is not None:
            message.oldest_waiting_at.FromSeconds(oldest)
        if feed is not None and feed.acknowledged_at is not None:
            message.last_acknowledged_at.FromSeconds(feed.acknowledged_at)
        return message


def _first_state(request: v1.AddPeerRequest) -> PeerState:
    """Return where a new peering begins. Raises MalformedRequest."""
    if not request.known:
        return PeerState.ACTIVE if request.fingerprint else PeerState.PENDING
    if not request.fingerprint:
        raise _not_compared()
    return PeerState.KNOWN


def _not_compared() -> MalformedRequest:
    hint = "compare it with its people: tocsin peer add FILE --known --fingerprint F"
    return MalformedRequest("keys are trusted only by the fingerprint that people compared", hint=hint)


def _hint(row: PeerRow, event: str) -> str:
    """Say what can be done where an event does not fit the state."""
    if event == "being known only":
        return f"end the exchange with it first: tocsin peer remove {row.org}"
    return f"confirm its fingerprint with: tocsin peer add FILE --fingerprint F, or remove {row.org}"


def _role(request: v1.AddPeerRequest, *, otherwise: PeerRole) -> PeerRole:
    """Return the role that is asked for. Raises MalformedRequest for one that this version does not know."""
    if request.role not in (v1.PEER_ROLE_UNSPECIFIED, *_ROLES):
        raise MalformedRequest(f"there is no role {request.role}", hint="a peer is a member or a reader")
    return _ROLES.get(request.role, otherwise)
