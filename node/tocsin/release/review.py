"""This module takes what a person decides about a proposed release, under the person's signature.

Whoever decides must see what would go today: a proposal that is not that any
more is made void first, and the decision on it refused.
"""

from dataclasses import dataclass, replace

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.errors import Conflict, MalformedRequest, NotFound, NotPermitted
from tocsin.identity.names import OrgId
from tocsin.people.act import Act, verify_act
from tocsin.people.person import Person, Role
from tocsin.release.gate import approved_by, may_not_approve
from tocsin.release.office import Office
from tocsin.release.proposal import refresh, withdraw
from tocsin.release.terms import read_terms
from tocsin.release.weigh import Weighed, weigh
from tocsin.store.model import Opinion, Proposal, ReviewState


@dataclass(frozen=True, slots=True)
class Decided:
    """Hold a proposal after somebody decided, and the partners that the record is queued for by it."""

    proposal: Proposal
    queued: tuple[OrgId, ...]


def decide_review(office: Office, review: str, *, person: Person, approve: bool, statement: str, now: int) -> Decided:
    """Take a person's decision on a proposal, and release what enough people agree to.

    `review` is the id or its beginning; `statement` the signature of the
    person over the whole id.

    Raises NotFound, NotPermitted for who may not release and for who proposed
    or wrote it, Conflict where it is decided already or is not what would go
    today, MalformedRequest for a statement on something else, and what
    `verify_act` raises.
    """
    proposal = _proposal(office, review)
    with office.store.transaction():  # apart: what became void stays so where the decision is refused
        record = office.load(proposal.digest, now=now)
        if record is None:
            withdraw(office, proposal.digest, now=now)
        else:
            refresh(office, record, partners=office.partners(), now=now)
    with office.store.transaction():
        office = office.at_once()
        proposal = _proposal(office, proposal.id)
        _verify_decision(office, proposal, person=person, approve=approve, statement=statement)
        if record is None or proposal.state is not ReviewState.OPEN:
            raise _decided_already(proposal)
        office.store.reviews.decide(proposal.id, Opinion(person.name, approve, statement, now))
        act = Event.APPROVED if approve else Event.REJECTED
        said = Entry(act, person=person.name, digest=proposal.digest, details={"review": proposal.id})
        office.log.append(said, now=now)
        if not approve:
            return Decided(_move(office, proposal, ReviewState.REJECTED), ())
        proposal = _release(office, proposal, now=now)
        active = office.partners()
        partners = [item.partner for item in read_terms(proposal).items if item.partner in active]
        weighed = weigh(office, record, partners=partners, now=now)
        queued = tuple(partner for partner, outcome in weighed.items() if outcome is Weighed.QUEUED)
    return Decided(proposal, queued)


def _proposal(office: Office, review: str) -> Proposal:
    found = office.store.reviews.get(review)
    if not isinstance(found, Proposal):
        raise NotFound("this is a partner's request, not a proposed release", hint="answer it with: tocsin reveal")
    return found


def _verify_decision(office: Office, proposal: Proposal, *, person: Person, approve: bool, statement: str) -> None:
    """Refuse who may not decide, and a signature that is on something else."""
    if not person.may({Role.RELEASER}, strict=office.strict):
        raise NotPermitted(f"{person.name} may not release")
    if approve and person.name in may_not_approve(office, proposal):
        raise NotPermitted(
            f"{person.name} wrote the record or proposed its release, and another person must agree",
            hint="ask somebody else who may release to look at it",
        )
    act = verify_act(statement, org=office.organisation.org, person=person)
    if act.on != proposal.id or act.act is not (Act.APPROVE if approve else Act.REJECT):
        raise MalformedRequest("what was signed is not this decision on this release")


def _release(office: Office, proposal: Proposal, *, now: int) -> Proposal:
    """Call a proposal released where everybody that it needs has agreed."""
    if len(approved_by(office, proposal)) < proposal.approvals_needed:
        return proposal
    partners: list[JSON] = [item.partner for item in read_terms(proposal).items]
    details: dict[str, JSON] = {"review": proposal.id, "partners": partners}
    office.log.append(Entry(Event.RELEASED, digest=proposal.digest, details=details), now=now)
    return _move(office, proposal, ReviewState.RELEASED)


def _move(office: Office, proposal: Proposal, state: ReviewState) -> Proposal:
    office.store.reviews.set_state(proposal.id, state)
    return replace(proposal, state=state)


def _decided_already(proposal: Proposal) -> Conflict:
    if proposal.state is ReviewState.OPEN:
        return Conflict("the record is not sent any more", reason="CONFLICT")
    if proposal.state is ReviewState.VOID:
        return Conflict(
            "what was proposed is not what would go today",
            reason="CONFLICT",
            hint="look at what is proposed now: tocsin review list",
        )
    return Conflict(f"it is {proposal.state} already", reason="CONFLICT")
