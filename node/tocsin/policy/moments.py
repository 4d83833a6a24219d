"""This module knows the moments in a record's life at which policy comes to say something else about it."""

from collections.abc import Iterable

from tocsin.records.jws import CLOCK_SKEW
from tocsin.records.record import VerifiedRecord
from tocsin.schema.check import unix_seconds

_OVER = frozenset({"lifted", "broken"})


def earliest(record: VerifiedRecord) -> int:
    """Return the moment before which the clock is missing or wrong, since the record was signed after it."""
    return record.issued_at - CLOCK_SKEW


def embargo_end(record: VerifiedRecord) -> int | None:
    """Return when the embargo of a record ends; None where there is none, or it is over by its state."""
    embargo = record.content.get("embargo")
    if not isinstance(embargo, dict) or embargo.get("state") in _OVER:
        return None
    until = embargo.get("until")
    return unix_seconds(until) if isinstance(until, str) else None


def retention_end(record: VerifiedRecord) -> int | None:
    """Return from when on a record may not be kept."""
    return unix_seconds(record.retention_until) if record.retention_until else None


def downgrades(record: VerifiedRecord) -> tuple[int, ...]:
    """Return when the marking of a record is lowered."""
    return tuple(unix_seconds(step.at) for step in record.downgrade_at)


def first_after(now: int, moments: Iterable[int | None]) -> int | None:
    """Return the first of some moments that has not come yet."""
    return min((moment for moment in moments if moment is not None and moment > now), default=None)
