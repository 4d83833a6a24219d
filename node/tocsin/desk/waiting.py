"""This module says what a partner's copy of a record waits for: people, or a time.

What policy denies today and may allow at a known time, such as the end of an
embargo, waits as well: policy is asked as of that time.
"""

from dataclasses import replace
from typing import Final

from tocsin.identity.names import OrgId
from tocsin.policy.decide import Decision
from tocsin.policy.model import PolicySet
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import Wait, wait_of
from tocsin.release.office import Office

MOST_STEPS: Final = 8
"""Times that are looked at for one partner: the steps of a marking, and an embargo, a date and a hold."""


def find_wait(
    office: Office,
    record: VerifiedRecord,
    decision: Decision,
    *,
    policies: PolicySet,
    partner: OrgId,
    recipients: frozenset[OrgId],
    granted: frozenset[str] = frozenset(),
    now: int,
) -> Wait | None:
    """Return what a record waits for that goes later; None where it goes now, or not at all as far as one can see."""
    if decision.delivered:
        return wait_of(office, record, decision, partner=partner, now=now)
    own = record.issuer == office.organisation.org
    for _ in range(MOST_STEPS):
        moment = decision.wider_at
        if moment is None:
            return None
        decision = policies.decide(record, partner=partner, recipients=recipients, granted=granted, now=moment, own=own)
        if decision.delivered:
            later = replace(decision, not_before=max(moment, decision.not_before))
            return wait_of(office, record, later, partner=partner, now=now)
    return None
