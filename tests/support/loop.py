"""This module runs asyncio code deterministically: time is virtual, and nothing happens but what the code does.

    loop = VirtualLoop(pause=lambda: 0.001)
    loop.run_until_complete(main())          # an hour of sleeping takes no time

When everything waits, the clock goes on to the next timer. What would go to a
thread runs on the loop, all of it at one moment, after the pause that the
caller draws: other tasks come in between, in an order that follows from the
pauses alone. Nothing is ready from outside, since there are no sockets.
"""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

MOST_STEPS = 2_000_000
"""Turns of one loop, after which it goes in a circle: the longest schedules take a tenth."""


class Stuck(RuntimeError):
    """Everybody waits, and nothing is left that could happen."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, signals and threads; see the module's text."""

    def __init__(self, *, pause: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self._now = 0.0
        self._pause = pause
        self._steps = 0
        self._clock_resolution = 1e-6
        # What BaseEventLoop asks of a selector is only how long it may wait.
        self._selector = self

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was made."""
        return self._now

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """Run a function on the loop a little later, in one piece."""
        future = self.create_future()
        # Its own context: what runs is not run by whoever waits for it.
        self.call_later(self._pause(), self._run, future, func, args, context=contextvars.copy_context())
        return future

    def select(self, timeout: float | None) -> list[object]:
        """Let the time pass for which nothing happens; asked by `BaseEventLoop._run_once`."""
        self._steps += 1
        if timeout is None:
            raise Stuck("everybody waits, and nothing is left that could happen")
        if self._steps > MOST_STEPS:
            raise Stuck("the loop goes in a circle")
        self._now += timeout
        return []

    def _process_events(self, event_list: object) -> None:
        """Do nothing: there are no events from outside."""

    def _write_to_self(self) -> None:
        """Do nothing: nobody calls from another thread."""

    @staticmethod
    def _run(future: "asyncio.Future[Any]", func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if future.cancelled():  # a pool does not begin what was given up while it waited
            return
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 -- it is the waiting task's, as with a pool
            future.set_exception(error)
        else:
            future.set_result(result)
