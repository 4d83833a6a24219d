"""This module says what of a delivered record stays, why, and until when.

A reason is for the partner, where its policy names what is withheld; the words
why are for us. A moment is told only where everything that keeps the field
ends: then nothing else stands in its way.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tocsin.policy.clauses import Never, Share
from tocsin.policy.reach import Cause, leaves, secret
from tocsin.records.record import VerifiedRecord


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
    """The rules that keep fields of a record at a moment; `named` are the NAMED leaves that could go to the partner."""

    share: Share
    nevers: tuple[Never, ...]
    named: frozenset[str]
    now: int

    def of(self, record: VerifiedRecord, going: frozenset[str]) -> tuple[Withheld, ...]:
        """Name what stays, each wholly hidden group once, so that hiding it hides the names inside it."""
        contract = leaves(record.kind)
        found: dict[str, Withheld] = {}
        for path in sorted((record.paths & contract.keys()) - going - secret(record.kind)):
            outer = next((box for box in contract[path].containers if box not in going), path)
            one = self._field(path, record.kind, outer)
            before = found.get(outer, one)
            found[outer] = one if before == one else _of_both(before, one)
        return tuple(found.values())

    def taken_by(self, path: str, kind: str) -> Never | None:
        """Return the first rule of the floor that takes a leaf."""
        return next((never for never in self.nevers if path in never.taken[kind]), None)

    def cause(self, path: str, kind: str) -> Cause | None:
        """Return why the share rule keeps a leaf, if it does."""
        return self.share.reach(kind, now=self.now).closed.get(path)

    def until(self, path: str, kind: str) -> int:
        """Return when the last of what keeps a leaf ends; 0 where something does not."""
        ends = tuple(self._ends(path, kind))
        return 0 if None in ends else max((end for end in ends if end is not None), default=0)

    def _field(self, path: str, kind: str, outer: str) -> Withheld:
        """Say why a leaf stays; the floor is named before the rule."""
        never = self.taken_by(path, kind)
        if never is not None:
            return Withheld(outer, never.reason or self.share.reason, Cause.FLOOR, self.until(path, kind))
        cause = self.share.reach(kind, now=self.now).closed[path]
        return Withheld(outer, self.share.reason, cause, self.until(path, kind))

    def _ends(self, path: str, kind: str) -> Iterator[int | None]:
        """Yield when each of what keeps a leaf ends; None for what does not."""
        yield from (never.until for never in self.nevers if path in never.taken[kind])
        if path not in self.share.unbound[kind].open and path not in self.named:
            yield None
        elif self.cause(path, kind) is Cause.LISTED:
            yield self.share.withhold_until


def _of_both(one: Withheld, other: Withheld) -> Withheld:
    """Say of a group only what holds for all of it."""
    reason = one.reason if one.reason == other.reason else ""
    until = one.until if one.until == other.until else 0
    return Withheld(one.path, reason, "nothing inside it goes", until)
