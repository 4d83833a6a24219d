"""This module limits how much of its feed a partner may ask for again.

A page is made and signed anew for whoever asks, and its records are verified
again. A partner that lost everything reads its feed from the beginning: within
an hour that is paid for once, and some more for pages that got lost on the
way. It is counted in memory, since nothing is lost where it is forgotten.
"""

import threading

from tocsin.errors import QuotaExceeded
from tocsin.exchange.status import RETRY_AFTER
from tocsin.identity.names import OrgId

REREAD_SECONDS = 3600
MOST_BESIDE = 10_000
"""Entries in an hour beside the whole feed: what a connection that breaks all the time asks for again."""


class Rereading:
    """Count the entries that went before and went again; safe to use from any thread."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._lock = threading.Lock()
        self._counts: dict[OrgId, tuple[int, int]] = {}  # the hour's beginning, and the entries since

    def verify(self, partner: OrgId, *, head: int, now: int) -> None:
        """Refuse a partner that has read as much again as it may; `head` is how far its feed goes.

        Raises QuotaExceeded.
        """
        begun, count = self._count(partner, now)
        if count >= head + MOST_BESIDE:
            raise QuotaExceeded(
                "as much was sent again as is sent again in an hour",
                hint="acknowledge what was stored: then nothing is sent again",
                metadata={RETRY_AFTER: str(max(1, begun + REREAD_SECONDS - now))},
            )

    def count(self, partner: OrgId, entries: int, *, now: int) -> None:
        """Count entries that went again."""
        with self._lock:
            begun, count = self._count(partner, now)
            self._counts[partner] = (begun, count + entries)

    def counted(self, partner: OrgId) -> int:
        """Return how many entries were counted since the hour of a partner began."""
        return self._counts.get(partner, (0, 0))[1]

    def _count(self, partner: OrgId, now: int) -> tuple[int, int]:
        begun, count = self._counts.get(partner, (now, 0))
        # A clock that was set back begins another hour.
        return (begun, count) if 0 <= now - begun < REREAD_SECONDS else (now, 0)
