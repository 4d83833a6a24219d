"""This module does what is due when its time has come, for as long as a node runs.

At the start it does what fell due while the node was down, and says how late
it is. Then it sleeps until the next thing is due, or until it is woken because
something earlier was noted; and no longer than a minute, since a clock may be
set meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from tocsin.errors import TocsinError
from tocsin.exchange.bell import heard_within
from tocsin.failure import trace
from tocsin.identity.names import OrgId
from tocsin.release.due import Acted, act_on_due
from tocsin.release.office import Office

_log = logging.getLogger(__name__)

LONGEST_SLEEP_SECONDS = 60.0
# What fails (a full disk, say) is tried again, and not in a circle.
SHORTEST_SLEEP_SECONDS = 1.0


class Timekeeper:
    """The one task that acts on dates; belongs to one event loop."""

    def __init__(self, office: Office, *, clock: Callable[[], int], queued: Callable[[Iterable[OrgId]], None]) -> None:
        """Take what to work with; `queued` hears of the partners that something was queued for."""
        self._office = office
        self._clock = clock
        self._queued = queued
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Do what is due already, and stay at it from then on."""
        await self._act()
        self._task = asyncio.create_task(self._stay(), name="timekeeper")

    def wake(self) -> None:
        """Look again when the next thing is due: something was noted."""
        self._woken.set()

    async def stop(self) -> None:
        """End; what is not done yet is done at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _stay(self) -> None:
        while True:
            self._woken.clear()  # before looking: what is noted from here on wakes
            await heard_within(self._woken, await asyncio.to_thread(self._pause))
            await self._act()

    def _pause(self) -> float:
        """Return how long to sleep."""
        try:
            due_at = self._office.store.dues.next_at()
        except TocsinError:  # what keeps it from being read is met again by the act, which says so
            return LONGEST_SLEEP_SECONDS
        if due_at is None:
            return LONGEST_SLEEP_SECONDS
        left = due_at - self._clock()
        if left < 0:  # it was due at the last look, and has failed
            return LONGEST_SLEEP_SECONDS
        return max(SHORTEST_SLEEP_SECONDS, min(LONGEST_SLEEP_SECONDS, left))

    async def _act(self) -> None:
        try:
            acted = await asyncio.to_thread(lambda: act_on_due(self._office, now=self._clock()))
        except Exception as error:  # noqa: BLE001 -- outermost: what fails now is due at the next look as well
            _log.error("what is due could not be done: %s", trace(error))
            return
        if acted:
            _tell(acted)
        partners = {partner for one in acted for partner in one.queued}
        if partners:
            self._queued(partners)


def _tell(acted: tuple[Acted, ...]) -> None:
    late = max(one.late for one in acted)
    level = logging.WARNING if late > LONGEST_SLEEP_SECONDS else logging.INFO
    _log.log(level, "what was due is done (%d), up to %d seconds late", len(acted), late)
