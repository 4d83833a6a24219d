"""This module is what a chapter measures with: pieces of work that take turns, and the ratios between them.

    found = take_turns(5, {"ours": verify_ours, "raw": verify_raw})     seconds that each took, turn by turn
    Figure("verify", ratio_of(found, "raw", "ours"), at_least=0.7)       its rate as a part of the raw rate

In every turn each piece runs once, and who begins changes from turn to turn: what
slows the machine for a while slows all of them. A ratio is taken within a
turn, and the figure is the median over the turns.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Seconds = float
Work = Callable[[], Seconds | None]
"""A piece of work: it says itself how long it took, or the time around it counts."""


class Scale(NamedTuple):
    """How much is measured: `full` asks for the large sizes, `runs` for so many turns of whatever alternates."""

    full: bool = False
    runs: int = 5


class Ratio(NamedTuple):
    """The median of some ratios, the least and the greatest of them, and how many there were."""

    median: float
    least: float
    most: float
    count: int


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the results.

    `ratio` is what counts, of the rate or the time that `of` names; `at_least`
    or `at_most` is the target; where both are None it is for information.
    `size` is the number of records or partners where the figure is one of a row
    that grows, and `series` the curve of the plot it belongs to. `plain` says
    the same in absolute terms, of this machine at this hour.
    """

    name: str
    ratio: Ratio
    of: str
    at_least: float | None = None
    at_most: float | None = None
    size: int = 0
    series: str = ""
    plain: str = ""
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Say whether the target is met; None where there is none."""
        if self.at_least is not None:
            return self.ratio.median >= self.at_least
        if self.at_most is not None:
            return self.ratio.median <= self.at_most
        return None


def take_turns(runs: int, works: Mapping[str, Work], *, step: Callable[[], object] = lambda: None) -> "Found":
    """Let each piece of work take its turn so many times, and return the seconds; `step` is called after each."""
    names = list(works)
    found: Found = {name: [] for name in names}
    for turn in range(runs):
        for at in range(len(names)):
            name = names[(turn + at) % len(names)]
            found[name].append(timed(works[name]))
            step()
    return found


Found = dict[str, list[Seconds]]


def timed(work: Work) -> Seconds:
    """Return the seconds that a piece of work took."""
    started = time.perf_counter()
    said = work()
    return time.perf_counter() - started if said is None else said


def ratio_of(found: Mapping[str, Sequence[Seconds]], one: str, other: str, *, times: float = 1.0) -> Ratio:
    """Return how many times as long the one took as the other, which is the ratio of the rates the other way round.

    `times` is how many times as much the other did.
    """
    return spread([times * a / b for a, b in zip(found[one], found[other], strict=True)])


def spread(ratios: Sequence[float]) -> Ratio:
    """Return the median of ratios, and how far they lie apart."""
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), len(ratios))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
