"""This module makes the coarse value of an exact one: the month of a time, the band of a number.

The contract says which field is the coarse twin of which, and where the bands
begin (`Coarse` in record.proto). A number that stands on a bound belongs to
the band that begins there:

    [1, 10]           of a number                            <1   1-10   >=10
    [1, 2, 11]        of an integer that cannot be negative   0   1   2-10   >10
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from tocsin.v1 import record_pb2

_MONTH = "[0-9]{4}-(0[1-9]|1[0-2])"
_MONTH_LENGTH = len("2026-03")


@dataclass(frozen=True, slots=True)
class Coarse:
    """How a twin follows from the field `of` of its own group; without bands it is the month of a time.

    Where `per` is not empty, the number is first divided by the field of that name.
    """

    of: str
    per: str
    bounds: tuple[float, ...]
    bands: tuple[str, ...]

    @property
    def pattern(self) -> str:
        """Return what every value of the twin matches."""
        return "|".join(map(re.escape, self.bands)) or _MONTH

    def derive(self, members: Mapping[str, object]) -> str | None:
        """Return the coarse value for a group; None where the exact one, or its divisor, is not there.

        The caller MUST have checked the group against the contract.
        """
        exact = members.get(self.of)
        if isinstance(exact, str):
            return exact[:_MONTH_LENGTH]
        divisor = members.get(self.per) if self.per else 1
        if not isinstance(exact, int | float) or not isinstance(divisor, int | float) or not divisor:
            return None
        return self.bands[bisect_right(self.bounds, exact / divisor if self.per else exact)]


def read_coarse(stated: record_pb2.Coarse, *, integer: bool) -> Coarse:
    """Read what the contract states; `integer` says that the banded number is one, and never negative."""
    bounds = tuple(stated.bounds)
    bands = tuple(_integer_bands(bounds) if integer else _number_bands(bounds)) if bounds else ()
    return Coarse(of=stated.of, per=stated.per, bounds=bounds, bands=bands)


def _number_bands(bounds: tuple[float, ...]) -> list[str]:
    between = [f"{low:g}-{high:g}" for low, high in pairwise(bounds)]
    return [f"<{bounds[0]:g}", *between, f">={bounds[-1]:g}"]


def _integer_bands(bounds: tuple[float, ...]) -> list[str]:
    starts = [0, *map(int, bounds)]
    between = [f"{low}" if high == low + 1 else f"{low}-{high - 1}" for low, high in pairwise(starts)]
    return [*between, f">{starts[-1] - 1}"]
