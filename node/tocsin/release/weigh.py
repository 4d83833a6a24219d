"""This module weighs a record for a partner: it goes now, it goes later, or there is nothing to go.

    policy says no, and will not say more      NOTHING
    policy says no, or may say more, later     the moment is noted; what may go goes on below
    the partner holds all that it may have     NOTHING
    a hold, or approvals that are missing      WAITING, and the end of the hold is noted
    else                                       QUEUED

What was noted is weighed again when its time has come (`tocsin.release.due`).
Nothing is promised by any of it: policy and gate are asked again for the page.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from tocsin.identity.names import OrgId
from tocsin.policy.decide import Denial
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import wait_of
from tocsin.release.office import Office
from tocsin.release.presentation import missing
from tocsin.store.model import Dealings, Due, DueKind


class Weighed(StrEnum):
    """What became of a record for a partner."""

    QUEUED = "queued"
    WAITING = "waiting"
    NOTHING = "nothing"


def weigh(
    office: Office,
    record: VerifiedRecord,
    *,
    partners: Iterable[OrgId],
    now: int,
    dealings: Dealings | None = None,
) -> dict[OrgId, Weighed]:
    """Queue a record for some active partners, or note when to look again.

    `dealings` are those with each of them, where they are known to be the
    same: of a record that is new there are none. After the last partner the
    caller MUST call `proposal.refresh`, once for the record, so that what waits
    for people is proposed to them.
    """
    looks = {partner: _look(office, record, partner=partner, now=now, dealings=dealings) for partner in partners}
    if queued := [partner for partner, look in looks.items() if look.queues]:
        office.store.feeds.queue_for(queued, record.digest, now=now)
    return {partner: look.outcome for partner, look in looks.items()}


class _Look(NamedTuple):
    """What becomes of a record for a partner, and whether the partner's feed is to be looked at for it."""

    outcome: Weighed
    queues: bool = False


def _look(office: Office, record: VerifiedRecord, *, partner: OrgId, now: int, dealings: Dealings | None) -> _Look:
    """Follow the lines above, and note when to look again."""
    dealings = dealings or office.store.feeds.dealings(partner, record.digest)
    decision = office.decide(record, partner=partner, now=now, dealings=dealings)
    if decision.denial is Denial.CLOCK:  # nobody knows when it is right again: the queue is looked at often
        return _Look(Weighed.WAITING, queues=True)
    if decision.wider_at is not None:
        office.store.dues.add(Due(DueKind.EMBARGO, record.digest, partner, decision.wider_at))
    if not decision.delivered:
        return _Look(Weighed.NOTHING if decision.wider_at is None else Weighed.WAITING)
    if not missing(record, decision, held=dealings.sent):
        return _Look(Weighed.NOTHING)
    wait = wait_of(office, record, decision, partner=partner, now=now)
    if wait is None:
        return _Look(Weighed.QUEUED, queues=True)
    if wait.not_before:
        office.store.dues.add(Due(DueKind.HOLD, record.digest, partner, wait.not_before))
    return _Look(Weighed.WAITING)
