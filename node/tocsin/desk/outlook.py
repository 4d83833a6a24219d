"""This module says what becomes of a record that is posted: who gets it, who gets it later, and who was named in vain.

A dry run and posting itself are told by the same words, from the same
decisions of policy and gate.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tocsin.audit.entry import Entry, Event
from tocsin.desk.linting import Linted
from tocsin.desk.messages import listed_message, own_message, waiting_message
from tocsin.desk.waiting import find_wait
from tocsin.encoding import JSON
from tocsin.errors import TocsinError
from tocsin.identity.names import OrgId
from tocsin.people.person import Person
from tocsin.policy.decide import Decision
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import Wait
from tocsin.release.office import Office
from tocsin.store.protocol import Store
from tocsin.v1 import desk_service_pb2 as v1


@dataclass(frozen=True, slots=True)
class Chance:
    """What policy says of a record for a partner, and what its copy would wait for."""

    decision: Decision
    wait: Wait | None

    @property
    def goes(self) -> bool:
        """Say whether the partner gets it now."""
        return self.decision.delivered and self.wait is None


Outlook = Mapping[OrgId, Chance]
"""What each active partner may expect."""


def look_ahead(
    office: Office, record: VerifiedRecord, *, partners: Iterable[OrgId], recipients: frozenset[OrgId], now: int
) -> Outlook:
    """Ask policy and gate about an own record that is new for these active partners, stored or not."""
    return {partner: chance_of(office, record, partner=partner, recipients=recipients, now=now) for partner in partners}


def chance_of(
    office: Office, record: VerifiedRecord, *, partner: OrgId, recipients: frozenset[OrgId], now: int
) -> Chance:
    """Ask policy and gate about an own record that is new for a partner, stored or not."""
    policies = office.policies()
    decision = policies.decide(record, partner=partner, recipients=recipients, granted=frozenset(), now=now)
    wait = find_wait(office, record, decision, policies=policies, partner=partner, recipients=recipients, now=now)
    return Chance(decision, wait)


def posted_message(
    message: v1.Record, outlook: Outlook, *, recipients: frozenset[OrgId], linted: Linted, queued: Collection[OrgId]
) -> v1.PostedRecord:
    """Say what became of a draft, and of each partner."""
    waiting = {org: one.wait for org, one in outlook.items() if one.wait is not None and org not in queued}
    return v1.PostedRecord(
        record=message,
        queued_for=sorted(queued),
        waiting=[waiting_message(org, wait) for org, wait in sorted(waiting.items())],
        notices=_notices(recipients, outlook, reached={*queued, *waiting}),
        lint=linted.messages(),
    )


def rehearsed_message(record: VerifiedRecord, *, recipients: frozenset[OrgId], now: int) -> v1.Record:
    """Return a record that was signed with a key nobody keeps, without what will be another value."""
    seen = own_message(record, author="", recipients=recipients, now=now)
    for name in ("digest", "key_id", "signature", "stored_at", "versions"):
        seen.ClearField(name)
    seen.envelope.ClearField("record_id")
    return seen


def earlier_message(store: Store, key: str) -> v1.PostedRecord | None:
    """Return what was posted under an idempotency key before."""
    digest = store.records.by_key(key) if key else None
    if digest is None:
        return None
    return v1.PostedRecord(record=listed_message(store.records.get(digest), store), existed=True)


def refused_message(error: TocsinError, *, linted: Linted | None = None) -> v1.PostedRecord:
    """Return why a draft was refused, with what the linter found where that is why."""
    lint = linted.messages() if linted else ()
    return v1.PostedRecord(error_reason=error.reason, error_details=_lines(error), lint=lint)


def overridden(record: VerifiedRecord, linted: Linted, caller: Person) -> Entry:
    """Return what the decision log keeps of the findings that the poster took upon itself."""
    found: list[JSON] = [{"rule": finding.rule, "path": finding.path} for finding in linted.overridden]
    return Entry(Event.OVERRIDDEN, person=caller.name, digest=record.digest, details={"findings": found})


def _notices(recipients: frozenset[OrgId], outlook: Outlook, *, reached: Collection[str]) -> Iterator[str]:
    """Say which recipients named do not get the record, and why; or that nobody gets it."""
    for partner in sorted(recipients.difference(reached)):
        if partner not in outlook:
            yield f"partner {partner} is named but its peering is not active, so nothing is sent to it"
        else:
            why = outlook[partner].decision.why
            yield f"partner {partner} is named but no policy lets the record reach it: {why}"
    if not recipients and not reached:
        yield "no policy lets the record reach any partner"


def _lines(error: TocsinError) -> tuple[str, ...]:
    """Return what is wrong, one line a problem."""
    lines = error.details or (str(error),)
    return (*lines, error.hint) if error.hint else lines
