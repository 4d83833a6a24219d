"""This module says what other policy files would change for one record and partner.

It decides under both sets of files and tells the difference. What would go
after less waiting counts as released, and what would wait for more as stopped:
a plan is read by people who want to know what becomes easier, and what harder.
Who holds a field already is not known here: nothing is sent to them again.
"""

from dataclasses import dataclass

from tocsin.identity.names import OrgId
from tocsin.policy.decide import Decision
from tocsin.policy.model import PolicySet
from tocsin.policy.reach import withholdable
from tocsin.records.record import VerifiedRecord


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a record for a partner: field paths that hold a value, and the decision under each set."""

    released: frozenset[str]
    stopped: frozenset[str]
    before: Decision
    after: Decision

    @property
    def whole(self) -> bool:
        """Say whether it is the record that comes or goes, and not only some of its fields."""
        return self.before.delivered is not self.after.delivered


def compare(
    record: VerifiedRecord,
    *,
    before: PolicySet,
    after: PolicySet,
    partner: OrgId,
    recipients: frozenset[OrgId],
    granted: frozenset[str],
    now: int,
    own: bool = True,
) -> Change | None:
    """Decide under both sets, and return what is different for the partner; None: nothing is."""
    old = before.decide_once(record, partner=partner, recipients=recipients, granted=granted, now=now, own=own)
    new = after.decide_once(record, partner=partner, recipients=recipients, granted=granted, now=now, own=own)
    hidden = withholdable(record.kind)
    went, goes = old.disclosed & hidden, new.disclosed & hidden
    released = goes if _waits_more(old, new, now) else goes - went
    stopped = went if _waits_more(new, old, now) else went - goes
    return Change(released, stopped, old, new) if released or stopped else None


def is_same_for(partner: OrgId, *, before: PolicySet, after: PolicySet) -> bool:
    """Say whether two sets say the same to a partner, byte for byte: then no record need be weighed."""
    return _digests(before, partner) == _digests(after, partner)


def _digests(policies: PolicySet, partner: OrgId) -> tuple[str, str]:
    """Return the digests of the floor and of the partner's file, empty where there is none in order."""
    policy, floor = policies.policies.get(partner), policies.floor
    return (floor.digest if floor else "", policy.digest if policy else "")


def _waits_more(one: Decision, other: Decision, now: int) -> bool:
    """Say whether what goes under both waits longer, or for more people, under the first."""
    if not (one.delivered and other.delivered):
        return False
    return max(one.not_before, now) > max(other.not_before, now) or one.approvals > other.approvals
