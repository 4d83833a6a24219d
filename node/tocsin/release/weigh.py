"""This module weighs a record for a partner: it goes now, it goes later, or there is nothing to go.

    policy says no, and will not say more      NOTHING
    policy says no, or may say more, later     the moment is noted; what may go goes on below
    the partner holds all that it may have     NOTHING
    a hold, or approvals that are missing      WAITING, and the end of the hold is noted
    else                                       QUEUED

What was noted is weighed again when its time has come (`tocsin.release.due`).
Nothing is promised by any of it: policy and gate are asked again for the page.
"""

from enum import StrEnum

from tocsin.identity.names import OrgId
from tocsin.policy.decide import Denial
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import wait_of
from tocsin.release.office import Office
from tocsin.release.presentation import missing
from tocsin.store.model import Due, DueKind


class Weighed(StrEnum):
    """What became of a record for a partner."""

    QUEUED = "queued"
    WAITING = "waiting"
    NOTHING = "nothing"


def weigh(office: Office, record: VerifiedRecord, *, partner: OrgId, now: int) -> Weighed:
    """Queue a record for an active partner, or note when to look again.

    After the last partner the caller MUST call `proposal.refresh`, once for
    the record, so that what waits for people is proposed to them.
    """
    feeds, dues = office.store.feeds, office.store.dues
    decision = office.decide(record, partner=partner, now=now)
    if decision.denial is Denial.CLOCK:  # nobody knows when it is right again: the queue is looked at often
        feeds.queue(partner, record.digest, now=now)
        return Weighed.WAITING
    if decision.wider_at is not None:
        dues.add(Due(DueKind.EMBARGO, record.digest, partner, decision.wider_at))
    if not decision.delivered:
        return Weighed.NOTHING if decision.wider_at is None else Weighed.WAITING
    if not missing(record, decision, held=feeds.sent(partner, record.digest)):
        return Weighed.NOTHING
    wait = wait_of(office, record, decision, partner=partner, now=now)
    if wait is None:
        feeds.queue(partner, record.digest, now=now)
        return Weighed.QUEUED
    if wait.not_before:
        dues.add(Due(DueKind.HOLD, record.digest, partner, wait.not_before))
    return Weighed.WAITING
