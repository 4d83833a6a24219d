"""This module measures whether a node that takes in very many records goes on with the memory that it began with.

A node follows the feed of another one that has all its records still to send
to it; both are processes as people start them. The most memory that each has
ever had, when all records have come, is set against that after a tenth of them.
"""

import time
from collections.abc import Iterator
from contextlib import closing

from tests.support.processes import Shelf, serving

from benchmarks.figures import Figure, Scale, spread
from benchmarks.progress import Steps
from benchmarks.scale import LARGE, LARGEST
from benchmarks.stock import stocked
from benchmarks.usage import peak
from benchmarks.world import UNLIMITED

TITLE = "Memory"
ABOUT = (
    "Peak memory (VmHWM) of a node that takes in records, and of the one that makes the pages for it, at the end to "
    "that after a tenth of the records. One run: what a process has ever had depends little on what else runs. "
    "Whoever sends remembers what it verified, up to a bound, and so has no target."
)
RECORDS = 50_000  # of those that the sender has; with --full, all of a million
TENTH = 10
TAKES_IN = "takes in"
FLAT = 1.2
LOOK_SECONDS = 0.1
LONGEST_SECONDS = 600.0  # without a further record; before the first one, the log of them all is read
MIB = 1024 * 1024


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    stock = stocked(LARGEST if scale.full else LARGE, steps)
    records = LARGEST if scale.full else RECORDS
    log = stock.newcomer.root.with_suffix(".log")
    with (
        serving(stock.place, log=stock.place.root.with_suffix(".log"), **UNLIMITED) as sender,
        serving(stock.newcomer, log=log, **UNLIMITED) as receiver,
        closing(Shelf(stock.newcomer)) as shelf,
        steps.counting(f"take in {records:,} records", records) as count,
    ):
        begun = time.monotonic()
        pids = {TAKES_IN: receiver.pid, "sends": sender.pid}
        early: dict[str, int] = {}
        for held in _growing(shelf, until=records):
            count(held - count.done)
            if not early and held >= records // TENTH:
                early = {what: peak(pid) for what, pid in pids.items()}
        rate = records / (time.monotonic() - begun)
        for what, pid in pids.items():
            most = peak(pid)
            yield Figure(
                f"peak memory of a node that {what} {records:,} records",
                spread([most / early[what]]),
                of=f"its peak after {records // TENTH:,}",
                at_most=FLAT if what == TAKES_IN else None,
                size=records,
                plain=f"{most / MIB:,.0f} MiB after {early[what] / MIB:,.0f}, at {rate:,.0f} records a second",
            )


def _growing(shelf: Shelf, *, until: int) -> Iterator[int]:
    """Yield how many records are held whenever there are more, until there are so many."""
    held, since = 0, time.monotonic()
    while held < until:
        if (now := shelf.count()) > held:
            held, since = now, time.monotonic()
            yield min(held, until)
        elif time.monotonic() - since > LONGEST_SECONDS:
            raise RuntimeError(f"{held:,} records came, and no more within {LONGEST_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
