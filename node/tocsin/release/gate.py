"""This module says whether what policy lets go may go now, or what it still waits for.

It is asked in the transaction that signs the page, after policy, and believes
nothing that the store says about approvals. One counts by these steps:

1. the proposal is open or released, and its id is the hash of its text
2. its recipients and floor are today's, and what it says of the partner is
   what the partner would get today, by the same rule of the same file
3. the statement verifies under the person's key, approves, and is on that id
4. the decision log says so as well, under the node's seal
5. the person is active and may release today
6. it is neither the author of the record nor one who proposed the release
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tocsin.audit.entry import Event
from tocsin.audit.log import BATCH, verify_entry
from tocsin.errors import AuditInconsistent, Malformed, NotFound, RecordRefused
from tocsin.identity.names import OrgId
from tocsin.people.act import Act, verify_act
from tocsin.people.person import Role
from tocsin.policy.decide import Decision
from tocsin.records.record import VerifiedRecord
from tocsin.release.office import Office
from tocsin.release.terms import item_of, read_terms
from tocsin.store.model import AuditFilter, AuditRow, Opinion, Proposal, ReviewState

LIVE = frozenset({ReviewState.OPEN, ReviewState.RELEASED})
"""In these states approvals of a proposal count."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a partner's copy of a record still waits for.

    `not_before` 0: no time; `needed` is how many approvals are missing;
    `review` the proposal that they are to be given to, empty where there is none.
    """

    not_before: int
    needed: int
    approved_by: tuple[str, ...]
    review: str
    why: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """Who has agreed to what a partner would get today, and to which proposal they did."""

    review: str = ""
    approved_by: tuple[str, ...] = ()


def wait_of(office: Office, record: VerifiedRecord, decision: Decision, *, partner: OrgId, now: int) -> Wait | None:
    """Return what a partner's copy of a record waits for; None: it may go now.

    The decision must be today's, and deliver (RuntimeError).
    """
    if not decision.delivered:
        raise RuntimeError("what is denied waits for nothing")
    not_before = decision.not_before if decision.not_before > now else 0
    agreement = agreement_on(office, record, decision, partner=partner)
    needed = max(0, decision.approvals - len(agreement.approved_by))
    if not not_before and not needed:
        return None
    return Wait(not_before, needed, agreement.approved_by, agreement.review, _why(not_before, needed))


def agreement_on(office: Office, record: VerifiedRecord, decision: Decision, *, partner: OrgId) -> Agreement:
    """Return the proposal of exactly what the partner would get that most people have agreed to, and those people."""
    best = Agreement()
    if not decision.approvals:
        return best
    proposals = [one for one in office.store.reviews.of(record.digest) if one.state in LIVE]  # 1.
    if not proposals:
        return best
    policies = office.policies()
    floor = policies.floor.digest if policies.floor else ""
    recipients = tuple(sorted(office.store.records.recipients(record.digest)))
    wanted = item_of(record, decision, partner=partner, policies=policies)
    for proposal in proposals:
        terms = read_terms(proposal)
        if (terms.digest, terms.recipients, terms.floor) != (record.digest, recipients, floor):  # 2.
            continue
        if terms.item_for(partner) != wanted:
            continue
        people = approved_by(office, proposal)
        if not best.review or len(people) > len(best.approved_by):
            best = Agreement(proposal.id, people)
    return best


def approved_by(office: Office, proposal: Proposal) -> tuple[str, ...]:
    """Return whose approvals of a proposal count today (steps 3 to 6)."""
    barred = may_not_approve(office, proposal)
    opinions = office.store.reviews.opinions(proposal.id)
    names = [one.person for one in opinions if one.person not in barred and _counts(office, one, proposal)]
    return tuple(dict.fromkeys(names))


def may_not_approve(office: Office, proposal: Proposal) -> frozenset[str]:
    """Return who proposed a release or wrote the record: further people are wanted."""
    author = office.store.records.get(proposal.digest).author
    posted = _logged(office, Event.POSTED, proposal.digest)
    return frozenset({*proposal.proposed_by, author, *(row.person for row in posted)}) - {""}


def revealed_by(office: Office, digest: str, *, partners: Iterable[str]) -> tuple[str, ...]:
    """Return who revealed fields of a record to one of these partners since something of it went there.

    The decision log knows them also where nobody had to agree when they did it.
    """
    revealed = _logged(office, Event.REVEALED, digest)
    sent = {row.partner: row.sequence for row in reversed(_logged(office, Event.SENT, digest))}
    since = {partner: sent.get(partner, 0) for partner in partners}
    return tuple(row.person for row in revealed if row.partner in since and row.sequence > since[row.partner])


def _counts(office: Office, opinion: Opinion, proposal: Proposal) -> bool:
    """Verify an approval anew (steps 3 to 5)."""
    if not opinion.approves:
        return False
    try:
        person = office.store.people.get(opinion.person)
        act = verify_act(opinion.statement, org=office.organisation.org, person=person)
        is_logged = _is_logged(office, opinion, proposal)
    except (Malformed, RecordRefused, NotFound, AuditInconsistent):
        return False
    may = person.may({Role.RELEASER}, strict=office.strict)
    return act.act is Act.APPROVE and act.on == proposal.id and is_logged and may


def _is_logged(office: Office, opinion: Opinion, proposal: Proposal) -> bool:
    """Say whether the node has seen this person approve. Raises AuditInconsistent where its log does not hold."""
    rows = _logged(office, Event.APPROVED, proposal.digest, person=opinion.person)
    details = (verify_entry(office.store, row, organisation=office.organisation) for row in rows)
    return any(one.get("review") == proposal.id for one in details)


def _logged(office: Office, event: Event, digest: str, *, person: str = "") -> tuple[AuditRow, ...]:
    """Return what the decision log says of a record, the newest first."""
    where = AuditFilter(digest=digest, act=event, person=person)
    return office.store.audit.list(where, limit=BATCH, newest_first=True)


def _why(not_before: int, needed: int) -> str:
    """Say all of it in one sentence."""
    parts = []
    if needed:
        parts.append(f"{needed} further {'person' if needed == 1 else 'people'} must agree")
    if not_before:
        parts.append(f"it is held until {datetime.fromtimestamp(not_before, UTC):%Y-%m-%dT%H:%M:%SZ}")
    return ", and ".join(parts)
