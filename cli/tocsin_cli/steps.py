"""This module takes the steps of a verification one after the other, and keeps how each came out.

    1  ok          the proof is of its form                     C2SP tlog-proof, Format
    2  FAILED      the record is of its form                    RFC 9901 section 7.1, steps 1 and 2a
    3  not tried   the issuer signed it                         RFC 9901 section 7.1, steps 2b to 6

All steps are planned before the first one is taken, so that whoever reads sees
what was not looked at as well.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from tocsin.errors import Malformed, RecordRefused

Found = TypeVar("Found")


class Outcome(StrEnum):
    """How a step came out."""

    OK = "ok"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Planned:
    """What a step looks at, and the document that says how."""

    what: str
    document: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was taken, or was not."""

    number: int
    planned: Planned
    outcome: Outcome

    def to_json(self) -> dict[str, object]:
        """Return it as it stands in an answer."""
        return {
            "step": self.number,
            "what": self.planned.what,
            "document": self.planned.document,
            "outcome": self.outcome.value,
        }


class Walk:
    """The way through the steps of one file."""

    def __init__(self, plan: Sequence[Planned]) -> None:
        """Plan every step."""
        self._plan = tuple(plan)
        self._done = 0
        self._failed = False

    def take(self, look: Callable[[], Found]) -> Found:
        """Take the next step, and return what it finds; what it refuses is said to be of this step.

        Raises what the look raises.
        """
        planned = self._plan[self._done]
        try:
            found = look()
        except (RecordRefused, Malformed) as error:
            self._failed = True
            place = f"step {self._done + 1}, {planned.what}"
            error.where = f"{place}: {error.where}" if error.where else place
            raise
        self._done += 1
        return found

    def __iter__(self) -> Iterator[Step]:
        for number, planned in enumerate(self._plan, start=1):
            outcome = Outcome.OK if number <= self._done else Outcome.NOT_TRIED
            if self._failed and number == self._done + 1:
                outcome = Outcome.FAILED
            yield Step(number, planned, outcome)
