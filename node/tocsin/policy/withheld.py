"""This module says what of a delivered record stays, why, and until when.

A reason is for the partner, where its policy names what is withheld; the words
why are for us. A moment is told only where everything that keeps the field
ends: then nothing else stands in its way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tocsin.policy.clauses import Never, Share
from tocsin.policy.reach import Cause, leaves, withholdable


@dataclass(frozen=True, slots=True)
class Withheld:
    """A field that the record has and the partner does not get.

    `reason` is for the partner, `why` for us; `until` in unix seconds, 0 where
    it stays for good.
    """

    path: str
    reason: str
    why: str
    until: int = 0


@dataclass(frozen=True, slots=True)
class Withholding:
    """What keeps fields of a delivered record at a moment: what of it is held here, and goes; the rules that apply.

    `named` are the NAMED leaves that could go to the partner. What stays is
    worked out when somebody asks: most decisions are only looked at for what goes.
    """

    kind: str
    held: frozenset[str]
    going: frozenset[str]
    share: Share
    nevers: tuple[Never, ...]
    named: frozenset[str]
    now: int

    def withheld(self) -> tuple[Withheld, ...]:
        """Name what stays, each wholly hidden group once, so that hiding it hides the names inside it."""
        contract, found = leaves(self.kind), dict[str, Withheld]()
        for path in sorted(self.held & withholdable(self.kind) - self.going):
            outer = next((box for box in contract[path].containers if box not in self.going), path)
            never, until = self.taken_by(path), self.until(path)
            if never is None:
                one = Withheld(outer, self.share.reason, self.causes[path], until)
            else:
                one = Withheld(outer, never.reason or self.share.reason, Cause.FLOOR, until)
            before = found.setdefault(outer, one)
            if before != one:
                found[outer] = _of_both(before, one)
        return tuple(found.values())

    @property
    def causes(self) -> Mapping[str, Cause]:
        """Return why the share rule keeps the leaves that it keeps."""
        return self.share.reach(self.kind, now=self.now).closed

    def taken_by(self, path: str) -> Never | None:
        """Return the first rule of the floor that takes a leaf."""
        return next((never for never in self.nevers if path in never.taken[self.kind]), None)

    def until(self, path: str) -> int:
        """Return when the last of what keeps a leaf ends; 0 where something does not."""
        ends = tuple(self._ends(path))
        return 0 if None in ends else max((end for end in ends if end is not None), default=0)

    def _ends(self, path: str) -> Iterator[int | None]:
        """Yield when each of what keeps a leaf ends; None for what does not."""
        yield from (never.until for never in self.nevers if path in never.taken[self.kind])
        if path not in self.share.unbound[self.kind].open and path not in self.named:
            yield None
        elif self.causes.get(path) is Cause.LISTED:
            yield self.share.withhold_until


def _of_both(one: Withheld, other: Withheld) -> Withheld:
    """Say of a group only what holds for all of it."""
    reason = one.reason if one.reason == other.reason else ""
    until = one.until if one.until == other.until else 0
    return Withheld(one.path, reason, "nothing inside it goes", until)
