"""This module remembers decisions, and what conditions said on the way to them.

Both are forgotten when there are too many, the least used first: a memory is
never more than a shorter way to the same answer. It may be used from several
threads, since `lru_cache` may: each key has a slot there, which is filled later.
"""

from functools import lru_cache
from typing import Final

from tocsin.identity.names import OrgId
from tocsin.policy.decide import Decision
from tocsin.policy.facts import Facts
from tocsin.records.record import VerifiedRecord

MOST_DECISIONS: Final = 16_384
"""Eight hundred records for twenty partners: some 25 MiB."""
MOST_RECORDS: Final = 256
"""Records whose conditions are remembered: partners are asked about one record after the other, so a few are enough."""

Key = tuple[str, OrgId, frozenset[OrgId], frozenset[str]]
"""Digest of the record, partner, recipients, granted fields."""


class Memory:
    """What was decided by one set of policy files."""

    def __init__(self) -> None:
        self._decisions = lru_cache(MOST_DECISIONS)(_decision_slot)

    def recall(self, key: Key, *, now: int) -> Decision | None:
        """Return what was decided, where that still holds."""
        for since, decision in self._decisions(key):
            if since <= now and (decision.valid_until is None or now < decision.valid_until):
                return decision
        return None

    def keep(self, key: Key, decision: Decision, *, now: int) -> None:
        """Remember a decision, instead of an earlier one for the same key."""
        self._decisions(key)[:] = [(now, decision)]


def facts_of(record: VerifiedRecord, *, now: int) -> Facts:
    """Return what conditions say of an own record, as far as they were asked, by whichever set of files."""
    marking = record.marking_at(now)
    slot = _facts_slot(record.digest, marking)
    if not slot:
        slot[:] = [Facts(record, marking=marking, own=True)]
    return slot[0]


def _decision_slot(_key: Key) -> list[tuple[int, Decision]]:
    """Return an empty place for a decision and the moment it was taken."""
    return []


@lru_cache(MOST_RECORDS)
def _facts_slot(_digest: str, _marking: str) -> list[Facts]:
    """Return an empty place for the facts of a record."""
    return []
