"""This module knows the moments in a record's life at which policy comes to say something else about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tocsin.records.jws import CLOCK_SKEW
from tocsin.records.record import VerifiedRecord
from tocsin.schema.check import unix_seconds

_OVER = frozenset({"lifted", "broken"})


@dataclass(frozen=True, slots=True)
class Moments:
    """Unix seconds; None where there is no such moment.

    Before `earliest` the clock is missing or wrong, since the record was
    signed after it. At `embargo_end` an embargo that is still on ends, and
    from `retention_end` on the record may not be kept.
    """

    earliest: int
    embargo_end: int | None
    retention_end: int | None
    downgrades: tuple[int, ...]

    def all(self) -> tuple[int | None, ...]:
        """Return all of them."""
        return (self.earliest, self.embargo_end, self.retention_end, *self.downgrades)


def moments_of(record: VerifiedRecord) -> Moments:
    """Read the moments of a record."""
    return Moments(
        earliest=record.issued_at - CLOCK_SKEW,
        embargo_end=_embargo_end(record.content.get("embargo")),
        retention_end=unix_seconds(record.retention_until) if record.retention_until else None,
        downgrades=tuple(unix_seconds(step.at) for step in record.downgrade_at),
    )


def first_after(now: int, moments: Iterable[int | None]) -> int | None:
    """Return the first of some moments that has not come yet."""
    first: int | None = None
    for moment in moments:  # asked twice for every decision: `min` over a generator takes three times as long
        if moment is not None and moment > now and (first is None or moment < first):
            first = moment
    return first


def moment_text(moment: int) -> str:
    """Return a moment as people and policies write it: `2027-06-30T00:00:00Z`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _embargo_end(embargo: object) -> int | None:
    """Return when an embargo ends; None where there is none, or it is over by its state."""
    if not isinstance(embargo, dict) or embargo.get("state") in _OVER:
        return None
    until = embargo.get("until")
    return unix_seconds(until) if isinstance(until, str) else None
