"""This module shows how far a run is: bars on a terminal, a line for each step anywhere else."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

T = TypeVar("T")
LINE_SECONDS = 10.0  # between two lines about the same step, where there is no terminal


class Steps:
    """Tell people what is being done, on standard error: the figures alone go to standard output."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._begun = time.monotonic()

    def __enter__(self) -> "Steps":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def each(self, items: Sequence[T] | range, what: str) -> Iterator[T]:
        """Yield the items, and show how many are done."""
        with self.counting(what, len(items)) as count:
            for item in items:
                yield item
                count(1)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator["Counter"]:
        """Show how much of something is done; call what is yielded with how many more there are."""
        counter = Counter(self._bars, what, total, say=self.say)
        try:
            yield counter
        finally:
            counter.close()

    def say(self, text: str) -> None:
        """Print a line about the run."""
        seconds = int(time.monotonic() - self._begun)
        line = f"{seconds // 60:3d}:{seconds % 60:02d}  {text}"
        if self._console.is_terminal:
            self._bars.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)


class Counter:
    """One step that is being counted."""

    def __init__(self, bars: Progress, what: str, total: int, *, say: Callable[[str], None]) -> None:
        self._bars, self._what, self._total, self._say = bars, what, total, say
        self._bar = bars.add_task(what, total=total)
        self._done = 0
        self._told = 0.0

    @property
    def done(self) -> int:
        """Return how many there were."""
        return self._done

    def __call__(self, more: int = 1) -> None:
        self._done += more
        self._bars.advance(self._bar, more)
        if self._bars.disable and time.monotonic() - self._told > LINE_SECONDS:
            self._told = time.monotonic()
            self._say(f"{self._what}: {self._done:,} of {self._total:,}")

    def close(self) -> None:
        self._bars.remove_task(self._bar)


def batches(total: int, size: int) -> Iterable[range]:
    """Return the numbers below a total, so many at a time."""
    return (range(first, min(first + size, total)) for first in range(0, total, size))
