"""This module shows what waits for somebody's decision, and takes it: proposed releases, and what partners ask for.

A release is shown with the exact presentations, made anew and compared with
what the proposal names: a person who agrees has seen what will go. What a
partner asks for is answered by a reveal (`desk.policies`) or declined here.
Asking another origin for fields of its record belongs here as well.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from tocsin.audit.entry import Entry, Event
from tocsin.desk.lookup import find_peer, load_record, origin_of
from tocsin.desk.messages import claim_value, preview_message
from tocsin.desk.room import Requester, Room
from tocsin.desk.title import name_of
from tocsin.encoding import JSON
from tocsin.errors import Conflict, MalformedName, MalformedRequest, NotFound, NotPermitted
from tocsin.exchange.request import LONGEST_WHY, MOST_PATHS
from tocsin.identity.names import OrgId
from tocsin.people.person import Person
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import approved_by
from tocsin.release.presentation import presentation
from tocsin.release.review import decide_review
from tocsin.release.terms import Item, item_of, read_terms
from tocsin.schema.contract import ELEMENT, KINDS
from tocsin.store.model import DisclosureRequest, PeerState, Proposal, ReviewState
from tocsin.v1 import desk_service_pb2 as v1

_STATES: Mapping[ReviewState, v1.ReviewState.ValueType] = MappingProxyType(
    {
        ReviewState.OPEN: v1.REVIEW_STATE_OPEN,
        ReviewState.RELEASED: v1.REVIEW_STATE_RELEASED,
        ReviewState.REJECTED: v1.REVIEW_STATE_REJECTED,
        ReviewState.VOID: v1.REVIEW_STATE_VOID,
    }
)


class Reviewing:
    """Asks people, and is asked by partners."""

    def __init__(self, room: Room, requester: Requester) -> None:
        self._room = room
        self._home = room.home
        self._store = room.home.store
        self._request = requester

    def list_reviews(self, request: v1.ListReviewsRequest) -> v1.ListReviewsResponse:
        """List what waits for somebody's decision, oldest first, or all that ever did."""
        reviews = self._store.reviews.list(open_only=not request.all)
        return v1.ListReviewsResponse(reviews=[self._message(review) for review in reviews])

    def get_review(self, request: v1.GetReviewRequest) -> v1.GetReviewResponse:
        """Return one review, a release with its presentations. Raises NotFound and Conflict."""
        return v1.GetReviewResponse(review=self._whole(self._store.reviews.get(request.id)))

    def decide_review(self, request: v1.DecideReviewRequest, caller: Person) -> v1.DecideReviewResponse:
        """Approve or reject a release, or decline what a partner asks for.

        Raises what `release.review.decide_review` raises, and
        MalformedRequest where a request would be approved.
        """
        review = self._store.reviews.get(request.id)
        if isinstance(review, DisclosureRequest):
            return v1.DecideReviewResponse(review=self._message(self._decline(review, request, caller)))
        decided = decide_review(
            self._room.office,
            review.id,
            person=caller,
            approve=request.approve,
            statement=request.statement,
            now=self._room.clock(),
        )
        if decided.queued:
            self._room.events.queued(decided.queued)
        self._room.events.due_changed()
        return v1.DecideReviewResponse(review=self._message(decided.proposal), queued_for=sorted(decided.queued))

    async def request_fields(self, request: v1.RequestFieldsRequest, caller: Person) -> v1.RequestFieldsResponse:
        """Ask the origin of a record for fields of it.

        Raises NotFound and Conflict for the record, MalformedRequest and
        MalformedName for what cannot be asked, NotPermitted for an own record
        and for an origin with which nothing is exchanged, and whatever the
        other node answers.
        """
        origin, digest, paths = await asyncio.to_thread(self._asking, request)
        state = await self._request(origin, digest=digest, paths=paths, why=request.why.strip())
        entry = Entry(
            Event.REQUESTED, person=caller.name, partner=origin, digest=digest, details={"paths": list(paths)}
        )
        await asyncio.to_thread(self._home.log.append, entry, now=self._room.clock())
        return v1.RequestFieldsResponse(origin=origin, state=state)

    def _asking(self, request: v1.RequestFieldsRequest) -> tuple[OrgId, str, tuple[str, ...]]:
        """Return whom to ask for what of which record."""
        stored = self._store.records.find(request.id)
        if stored.own:
            raise NotPermitted("the record is this organisation's own", hint=f"read it with: tocsin show {request.id}")
        paths = tuple(dict.fromkeys(request.paths))
        if not 0 < len(paths) <= MOST_PATHS:
            raise MalformedRequest(f"{len(paths)} fields are named", hint=f"name 1 to {MOST_PATHS}, such as steps")
        if not 0 < len(request.why.strip()) <= LONGEST_WHY:
            hint = f"the origin's people read it; at most {LONGEST_WHY} characters"
            raise MalformedRequest("it is not said in one short text what the fields are wanted for", hint=hint)
        _verify_paths(stored.kind, paths)
        peer = find_peer(self._store, stored.issuer)
        if peer.state is not PeerState.ACTIVE:
            raise NotPermitted(f"the peering with {peer.org} is {peer.state}, so nothing is asked of it")
        return peer.org, stored.digest, paths

    def _decline(self, asked: DisclosureRequest, request: v1.DecideReviewRequest, caller: Person) -> DisclosureRequest:
        """Say no to a partner. Raises MalformedRequest for a yes, Conflict where it is answered already."""
        if request.approve:
            hint = f"tocsin reveal {asked.digest[:12]} {' '.join(asked.paths)} --to {asked.peer}"
            raise MalformedRequest("what a partner asks for is answered by revealing it", hint=hint)
        with self._store.transaction():
            state = self._store.reviews.get(asked.id).state
            if state is not ReviewState.OPEN:
                raise Conflict(f"it is {state} already", reason="CONFLICT")
            self._store.reviews.set_state(asked.id, ReviewState.REJECTED)
            details: dict[str, JSON] = {"review": asked.id, "paths": [*asked.paths]}
            entry = Entry(Event.DECLINED, person=caller.name, partner=asked.peer, digest=asked.digest, details=details)
            self._home.log.append(entry, now=self._room.clock())
        return replace(asked, state=ReviewState.REJECTED)

    def _message(self, review: Proposal | DisclosureRequest) -> v1.Review:
        """Return a review as it stands in a list."""
        stored = self._store.records.get(review.digest)
        message = v1.Review(
            id=review.id,
            state=_STATES[review.state],
            digest=review.digest,
            record_id=stored.record_id,
            title=name_of(stored),
            tlp=claim_value("Tlp", stored.marking),
        )
        if isinstance(review, DisclosureRequest):
            message.kind = v1.REVIEW_KIND_REQUEST
            message.opened_at.FromSeconds(review.asked_at)
            message.by.append(review.peer)
            message.paths.extend(review.paths)
            message.why = review.why
        else:
            self._write_proposal(message, review)
        return message

    def _write_proposal(self, message: v1.Review, proposal: Proposal) -> None:
        """Write what is proposed, by whom, and what people said of it."""
        message.kind = v1.REVIEW_KIND_RELEASE
        message.opened_at.FromSeconds(proposal.proposed_at)
        message.by.extend(proposal.proposed_by)
        message.body = proposal.body
        message.approvals_needed = proposal.approvals_needed
        message.approved_by.extend(approved_by(self._room.office, proposal))
        opinions = self._store.reviews.opinions(proposal.id)
        message.rejected_by = next((one.person for one in opinions if not one.approves), "")
        for item in read_terms(proposal).items:
            message.items.add(
                partner=item.partner,
                sd_hash=item.sd_hash,
                policy_digest=item.policy,
                rule=item.rule,
                approvals=item.approvals,
            )

    def _whole(self, review: Proposal | DisclosureRequest) -> v1.Review:
        """Return a review with the presentations that it names, as far as they are what would go today."""
        message = self._message(review)
        if isinstance(review, DisclosureRequest):
            return message
        try:
            record = load_record(self._home, self._store.records.get(review.digest))
        except NotFound:
            return message  # its retention has ended: there is nothing to show
        for item, shown in zip(read_terms(review).items, message.items, strict=True):
            self._present(record, item, shown)
        return message

    def _present(self, record: VerifiedRecord, item: Item, shown: v1.ReviewItem) -> None:
        """Make what a partner would get; where it is not what was proposed, it is not shown as if it were."""
        now = self._room.clock()
        office = self._room.office
        decision = office.decide(record, partner=item.partner, now=now)
        if not decision.delivered:
            return
        if decision.not_before > now:
            shown.not_before.FromSeconds(decision.not_before)
        if item_of(record, decision, partner=item.partner, policies=office.policies()) != item:
            return
        shown.presentation = presentation(record, decision)
        origin, ours = origin_of(self._home, record.issuer), self._home.organisation.org
        shown.record.CopyFrom(preview_message(record, decision, origin=origin, sender=ours, now=now))


def _verify_paths(kind: str, paths: Iterable[str]) -> None:
    """Refuse fields that no such record can have. Raises MalformedName."""
    for path in paths:
        if path.removesuffix(ELEMENT) not in KINDS[kind].paths():  # a list is its elements
            raise MalformedName(f"no {kind} has a field {path!r}", hint=f"see what it has with: tocsin template {kind}")
