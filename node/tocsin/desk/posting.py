"""This module posts: it checks drafts, signs them, stores the records and queues them for partners.

Each draft of a batch succeeds or fails alone, and what became of it is told in
its own result. A dry run goes the same way, signs with a key that is thrown
away, and ends before the store.

Storing, queueing and remembering the idempotency key are one transaction: a
record that was reported as posted is there after a crash, exactly once.
"""

from collections.abc import Iterable, Iterator

from tocsin.desk.drafts import Order, parse_draft
from tocsin.desk.messages import VERIFIED, listed_message, seen_message, stored_message
from tocsin.desk.room import Room
from tocsin.errors import Malformed, MalformedRequest, StateConflict, TocsinError
from tocsin.exchange.publish import publish
from tocsin.identity.keys import generate_ed25519
from tocsin.identity.names import OrgId
from tocsin.identity.signer import FileSigner, Signer
from tocsin.policy.decide import Decision, decide
from tocsin.records.record import VerifiedRecord, issue
from tocsin.store.model import PeerState
from tocsin.v1 import desk_service_pb2 as v1

MOST_DRAFTS = 200
"""As the contract says: a batch answers within seconds, and a client sends many of them."""


class Posting:
    """Says something new in the organisation's name."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def post_records(self, request: v1.PostRecordsRequest) -> v1.PostRecordsResponse:
        """Sign, store and queue records, and tell whom something waits for.

        Raises MalformedRequest for too large a batch, and whatever is wrong
        with this node rather than with a draft.
        """
        if len(request.drafts) > MOST_DRAFTS:
            raise MalformedRequest(f"{len(request.drafts)} drafts at once; at most {MOST_DRAFTS} are allowed")
        results = [self._try(draft, dry_run=request.dry_run) for draft in request.drafts]
        queued = {OrgId(partner) for result in results for partner in result.queued_for}
        if queued and not request.dry_run:
            self._room.events.queued(queued)
        return v1.PostRecordsResponse(results=results)

    def _try(self, message: v1.Draft, *, dry_run: bool) -> v1.PostedRecord:
        """Post one draft, or say why it was refused."""
        try:
            return self._rehearse(message) if dry_run else self._post(message)
        except (Malformed, StateConflict) as error:
            return v1.PostedRecord(error_reason=error.reason, error_details=_lines(error))

    def _post(self, message: v1.Draft) -> v1.PostedRecord:
        """Post one draft for good."""
        home, now = self._room.home, self._room.clock()
        with home.store.transaction():
            earlier = self._earlier(message.idempotency_key)
            if earlier is not None:
                return earlier
            order = self._read(message)
            record = self._issue(order, signer=home.record_signer, now=now)
            queued = publish(
                home.store,
                record,
                policies=home.policies,
                partners=self._partners(),
                recipients=order.recipients,
                now=now,
            )
            if message.idempotency_key:
                home.store.records.remember_key(message.idempotency_key, record.digest, now=now)
        stored = stored_message(home.store.records.get(record.digest), home.store, signature=VERIFIED, with_token=False)
        notices = self._notices(record, order.recipients, queued=queued, now=now)
        return v1.PostedRecord(record=stored, queued_for=sorted(queued), notices=notices)

    def _rehearse(self, message: v1.Draft) -> v1.PostedRecord:
        """Do the same with a key that nobody keeps, and store nothing."""
        earlier = self._earlier(message.idempotency_key)
        if earlier is not None:
            return earlier
        order, now = self._read(message), self._room.clock()
        record = self._issue(order, signer=FileSigner(generate_ed25519(self._room.random)), now=now)
        queued = [
            partner
            for partner in self._partners()
            if self._decide(record, partner, order.recipients, now=now).delivered
        ]
        seen = seen_message(record)
        seen.own = True
        seen.recipients.extend(sorted(order.recipients))
        for name in ("digest", "key_id", "signature", "versions"):
            seen.ClearField(name)
        seen.envelope.ClearField("record_id")
        notices = self._notices(record, order.recipients, queued=queued, now=now)
        return v1.PostedRecord(record=seen, queued_for=sorted(queued), notices=notices)

    def _earlier(self, key: str) -> v1.PostedRecord | None:
        """Return what was posted under an idempotency key before."""
        store = self._room.home.store
        digest = store.records.by_key(key) if key else None
        if digest is None:
            return None
        return v1.PostedRecord(record=listed_message(store.records.get(digest), store), existed=True)

    def _read(self, message: v1.Draft) -> Order:
        home = self._room.home
        return parse_draft(message, store=home.store, ours=home.organisation.org, random=self._room.random)

    def _issue(self, order: Order, *, signer: Signer, now: int) -> VerifiedRecord:
        issuer = self._room.home.organisation.org
        return issue(order.draft, order.content, issuer=issuer, signer=signer, now=now, random=self._room.random)

    def _partners(self) -> tuple[OrgId, ...]:
        """Return whom anything is sent to at all."""
        peers = self._room.home.store.peers.list()
        return tuple(peer.org for peer in peers if peer.state is PeerState.ACTIVE)

    def _decide(self, record: VerifiedRecord, partner: OrgId, recipients: frozenset[OrgId], *, now: int) -> Decision:
        policies = self._room.home.policies
        return decide(
            record,
            partner=partner,
            policy=policies.policies.get(partner),
            floor=policies.floor,
            recipients=recipients,
            granted=frozenset(),
            now=now,
        )

    def _notices(
        self, record: VerifiedRecord, recipients: frozenset[OrgId], *, queued: Iterable[OrgId], now: int
    ) -> Iterator[str]:
        """Say which recipients named do not get the record, and why; or that nobody gets it."""
        reached = frozenset(queued)
        active = frozenset(self._partners())
        for partner in sorted(recipients - reached):
            if partner not in active:
                yield f"partner {partner} is named but its peering is not active, so nothing is sent to it"
            else:
                why = self._decide(record, partner, recipients, now=now).why
                yield f"partner {partner} is named but no policy lets the record reach it: {why}"
        if not recipients and not reached:
            yield "no policy lets the record reach any partner"


def _lines(error: TocsinError) -> tuple[str, ...]:
    """Return what is wrong, one line a problem."""
    lines = error.details or (str(error),)
    return (*lines, error.hint) if error.hint else lines
