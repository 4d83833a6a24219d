"""This module looks after the store of a node that runs: it reads all of it now and then, and says when it is damaged.

A store that is as it was left is opened without reading it all, so that a node
with a million records starts as soon as one with ten. What nobody has read
since may have gone bad on the disk: a minute after the start, and each day
from then on, everything is read beside what the node does. Damage that
anybody meets, here or in a call, ends the node (docs/decisions/0035).
"""

import asyncio
import logging
from collections.abc import Callable

from tocsin.errors import TocsinError
from tocsin.failure import trace
from tocsin.store.protocol import Store

_log = logging.getLogger(__name__)

FIRST_SECONDS = 60.0
"""After the start, when the node has caught up with its peers."""
EVERY_SECONDS = 86_400.0
"""A minute's work at most for a million records: a day's reading, not an hour's."""
LOOK_SECONDS = 5.0
"""Between two looks whether anybody has met damage: who meets it is refused at once, and so is everybody after."""


class Caretaker:
    """The one task that looks after the store; belongs to one event loop."""

    def __init__(self, store: Store, *, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look after the store from now on."""
        self._task = asyncio.create_task(self._stay(), name="caretaker")

    async def met_damage(self) -> None:
        """Wait until somebody meets damage."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        """End, in the middle of a reading too."""
        if self._task is not None:
            self._task.cancel()
            self._store.stop_examining()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _stay(self) -> None:
        time = asyncio.get_running_loop().time
        next_at = time() + FIRST_SECONDS
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if time() >= next_at:
                next_at += EVERY_SECONDS
                await asyncio.to_thread(self._read)
            self._store.verify_whole()

    def _read(self) -> None:
        try:
            found = self._store.examine(now=self._clock())
        except TocsinError as error:  # a disk that fails may come back; damage is met again by whoever looks
            _log.error("the store could not be read: %s", error.reason)
            return
        except Exception as error:  # noqa: BLE001 -- a bug in reading is none in what is read: the node goes on
            _log.error("the store could not be read: %s", trace(error))
            return
        for problem in found.problems if found else ():
            _log.error("the store: %s", problem)
