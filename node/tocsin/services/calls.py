"""This module keeps the calls that are running, so that a peer's or a person's can be ended at once.

gRPC checks a caller when a connection or a call begins and then never again:
without this register, a removed peer's live stream would go on for as long as
both sides stay up.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tocsin.errors import TocsinError

# A reader that is there takes what lies in front of it in one round trip; a stopped peer gets no longer than this.
LAST_WRITE_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Call:
    """A call that was let in, and may be ended before it is done."""

    task: "asyncio.Task[Any]"
    method: str
    streaming: bool
    pin: str = ""
    ended: bool = False
    ended_by: TocsinError | None = None
    _writing: "asyncio.Future[None] | None" = None

    def end(self, error: TocsinError | None) -> None:
        """End the call now, with an error, or for a stream that is simply over without one."""
        self.ended, self.ended_by = True, error
        self.task.cancel()

    async def write(self, answer: Coroutine[Any, Any, None]) -> None:
        """Wait for an answer to be written; a write that has begun is not torn when the call is ended."""
        self._writing = asyncio.ensure_future(answer)
        try:
            await asyncio.shield(self._writing)
        except asyncio.CancelledError:
            if not self.ended:
                self._writing.cancel()
            raise

    async def settle(self) -> bool:
        """Let the write that has begun come to its end; False where its reader does not take it.

        gRPC takes a status only after the answer before it is written.
        """
        if self._writing is None:
            return True
        await asyncio.wait({self._writing}, timeout=LAST_WRITE_SECONDS)
        return self._writing.done() or not self._writing.cancel()


class Calls:
    """The running calls of each caller, by its name; belongs to the event loop of its listener."""

    def __init__(self) -> None:
        self._running: defaultdict[str, set[Call]] = defaultdict(set)

    @contextmanager
    def running(self, caller: str, call: Call) -> Iterator[None]:
        """Keep a call for as long as it runs."""
        self._running[caller].add(call)
        try:
            yield
        finally:
            self._running[caller].discard(call)
            if not self._running[caller]:
                del self._running[caller]

    def of(self, caller: str) -> tuple[Call, ...]:
        """Return the running calls of a caller."""
        return tuple(self._running.get(caller, ()))

    def all(self) -> tuple[Call, ...]:
        """Return every running call."""
        return tuple(call for calls in self._running.values() for call in calls)
