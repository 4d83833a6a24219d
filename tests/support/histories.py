"""This module makes up how lab-a shows two histories of its log, from one seed, and says who has to find out when.

    fork        two stores go on from a common beginning, each in its own way, and are shown to different people, or to
                the same; one of them may stand still
    rollback    a store is shown, and then an earlier copy of it, with or without new entries, and nothing else again

`tests.support.equivocations` does it inside one log, which is shown to all.

The book says of everybody what it was shown last of lab-a's log: the entries,
and the time at which lab-a said that these are all. Two views contradict one
another

    where neither is the beginning of the other,
    or the shorter one was said at a later time than the longer one;

and one contradicts itself that has two things under one id half. Whoever is
shown a view that contradicts itself or its own is to stop lab-a in that very
contact; so are both of an honest pair, in the first contact in which their
views contradict one another, whoever of the two has called; and so is everybody
who was shown anything, in the first contact with somebody who has stopped it.
Nobody may stop it before, or anybody else, ever, and nobody who has stopped it
knows more of its log from then on. A view goes on: whoever calls somebody who
was shown more, of the same history, was shown that.

A view that was shown in between is no view any more: where lab-a shows a store
that stands still to one, and one that grows to another, in turns, the first is
told late; lab-a is caught as soon as it says so once more after the two have met.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from tests.support.faces import Face, Stage
from tests.support.simulator import AISI, LAB_A, LAB_B, PRESS, UNIVERSITY, founded
from tocsin.identity.names import OrgId
from tocsin.tlog.entry import ENTRY_BYTES, HALF_BYTES
from tocsin.tlog.evidence import Kind, parse_evidence, verify_evidence

Step = Callable[[], Awaitable[None]]

SIZES = (0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 64, 65, 100, 127, 128, 200, 256, 257, 300)
PAUSES = (0.0, 0.0, 0.3, 2.0, 100.0, 4000.0)
ALWAYS_LATER = 2.0
"""Seconds, of which a time on the wire has whole ones."""


@dataclass(frozen=True, slots=True)
class View:
    """What somebody was shown: entries, and when lab-a last said that these are all."""

    entries: tuple[bytes, ...]
    dated: int

    def contradicts(self, other: "View") -> bool:
        """Say whether nobody honest can have shown both."""
        shorter, longer = sorted((self, other), key=lambda view: len(view.entries))
        size = len(shorter.entries)
        return longer.entries[:size] != shorter.entries or (size < len(longer.entries) and longer.dated < shorter.dated)

    def contradicts_itself(self) -> bool:
        """Say whether two things stand under one id half."""
        return len({entry[:HALF_BYTES] for entry in self.entries}) < len(set(self.entries))

    def after(self, other: "View | None") -> "View":
        """Return what somebody knows who is shown this, and knew another that does not contradict it."""
        if other is None or len(other.entries) < len(self.entries):
            return self
        return View(other.entries, max(self.dated, other.dated)) if self.entries == other.entries else other


@dataclass(slots=True)
class Book:
    """Who was shown what, and who has to have stopped lab-a; those who are `silent` have no evidence that travels."""

    views: dict[OrgId, View] = field(default_factory=dict)
    caught: set[OrgId] = field(default_factory=set)
    silent: set[OrgId] = field(default_factory=set)

    def note_shown(self, view: View, to: OrgId) -> None:
        """Keep what lab-a has shown to somebody."""
        held = self.views.get(to)
        if to in self.caught:
            return
        if held is not None and held.contradicts(view):
            self.caught.add(to)
            return
        self.views[to] = view.after(held)
        if self.views[to].contradicts_itself():
            self.caught.add(to)

    def note_met(self, caller: OrgId, called: OrgId) -> None:
        """Keep what becomes of two who compare: whoever calls learns more, and tells it where nobody can call it."""
        one, other = self.views.get(caller), self.views.get(called)
        telling = self.caught - self.silent
        if caller in telling:
            self.caught.add(called)
        elif called in telling and one is not None:
            self.caught.add(caller)
        elif one is not None and other is not None and not {caller, called} & self.caught and one.contradicts(other):
            self.caught |= {caller, called}
        if one is None:
            return
        if caller not in self.caught and other is not None:
            self.views[caller] = other.after(one)
        is_as_long = one.entries == (other.entries if other else ())  # that a log is empty is known at once
        if called not in self.caught and (caller == UNIVERSITY or is_as_long):
            self.views[called] = one.after(other)


class Case:
    """One seed's worth of hostility."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self._rng = random.Random(f"{seed} {type(self).__name__}")  # noqa: S311 -- plays, guards nothing
        everybody = [LAB_B, AISI, UNIVERSITY, PRESS]
        self.honest = tuple(self._rng.sample(everybody, self._rng.choice((2, 2, 3, 3, 4))))
        self.stage = Stage(folder, seed=seed, honest=self.honest)
        self.book = Book()
        self._proved: set[bytes] = set()

    def play(self) -> None:
        """Let it happen. Raises AssertionError where somebody does not find out, or finds what is not there."""
        self.stage.run(self._play())

    async def _play(self) -> None:
        raise NotImplementedError

    async def _find_out(self, *shown: OrgId) -> None:
        """Let every pair meet, and then again; lab-a has shown some of them two histories, and tries to go on."""
        for one, other in self._pairs():
            await self._meet(one, other)
        assert self.book.caught >= set(shown), f"{shown} were shown two histories"
        for one, other in self._pairs():
            if not self.book.caught >= {one, other}:
                await self._meet(one, other)
        assert self.book.caught >= self.book.views.keys(), "somebody was shown something, and takes it"
        await self._show(self._rng.choice(self.stage.faces), self._rng.choice(shown))

    async def _mix(self, *courses: list[Step]) -> None:
        """Take the steps of several courses, each in its order, with pauses in between."""
        left = [course for course in courses if course]
        while left:
            course = self._rng.choice(left)
            await self._pause(self._rng.choice(PAUSES))
            await course.pop(0)()
            left = [course for course in left if course]

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _write(self, face: Face, count: int) -> None:
        face.log(*(self._rng.randbytes(ENTRY_BYTES) for _ in range(count)))

    async def _show(self, face: Face, to: OrgId) -> None:
        was_caught = to in self.book.caught
        dials = to != UNIVERSITY and self._rng.random() < 0.4
        self.stage.note(f"--- {face.path.stem} {'calls' if dials else 'is called by'} {to}")
        shown, was_refused = await self.stage.show(face, to, dials=dials)
        self._note_shown(face, shown, to)
        assert was_refused or dials or not was_caught, f"{to} takes what lab-a shows"
        self._verify()

    def _note_shown(self, face: Face, dated: int, to: OrgId) -> None:
        self.book.note_shown(View(face.entries(), dated), to)

    async def _meet(self, one: OrgId, other: OrgId) -> None:
        self.stage.note(f"--- {one} calls {other}")
        await self.stage.meet(one, other)
        self.book.note_met(one, other)
        self._verify()

    def _pairs(self) -> list[tuple[OrgId, OrgId]]:
        """Return every pair of the honest in some order, and who calls whom."""
        pairs = [tuple(self._rng.sample(pair, 2)) for pair in combinations(self.honest, 2)]
        self._rng.shuffle(pairs)
        return [(one, other) if other != UNIVERSITY else (other, one) for one, other in pairs]

    def _verify(self) -> None:
        """Look whether everybody knows what the book says, and holds evidence against whom it has stopped."""
        for org, node in self.stage.honest.items():
            view = self.book.views.get(org)
            assert node.entries() == (view.entries if view else ()), f"{org} has read something else of lab-a's log"
            stopped = {row.origin for row in node.store.logs.list() if row.stopped}
            assert stopped == ({LAB_A} if org in self.book.caught else set()), f"{org} has stopped {stopped}"
            bundles = [row.bundle for row in node.store.logs.evidence(LAB_A)]
            assert bool(bundles) == (org in self.book.caught), f"{org} holds {len(bundles)} bundles"
            for bundle in set(bundles) - self._proved:
                verify_offline(bundle)
                self._proved.add(bundle)
            assert len(node.store.logs.evidence()) == len(bundles), f"{org} accuses somebody honest"


class Histories(Case):
    """Two stores that were one."""

    async def _play(self) -> None:
        begun = self.stage.faces[0]
        await self._write(begun, self._rng.choice(SIZES))
        for org in self.honest:
            if self._rng.random() < 0.5:
                await self._show(begun, org)
        copy = self.stage.copy(begun)
        first, second = self._rng.sample(self.honest, 2)
        if self._rng.random() < 0.4:
            await self._roll_back(begun, copy, first, second)
        else:
            await self._fork(begun, copy, first, second)
        await self._find_out(first, second)

    async def _roll_back(self, begun: Face, copy: Face, first: OrgId, second: OrgId) -> None:
        """Show a store, and then the copy of what it was."""
        others = [org for org in self.honest if org != second]
        await self._mix(self._growing(begun, self._rng.choice(SIZES[1:]), others))
        await self._show(begun, first)
        await self._pause(ALWAYS_LATER)
        await self._write(copy, self._rng.choice((0, 0, *SIZES)))
        await self._show(copy, second)

    async def _fork(self, begun: Face, copy: Face, first: OrgId, second: OrgId) -> None:
        """Show two stores to different people, in turns."""
        one, other = self._rng.choice(SIZES[1:]), self._rng.choice(SIZES)
        to_one, to_other = ([*self._rng.sample(self.honest, self._rng.randint(0, len(self.honest)))] for _ in "12")
        met: list[Step] = [lambda pair=pair: self._meet(*pair) for pair in self._pairs() if self._rng.random() < 0.3]
        await self._mix(self._growing(begun, one, to_one), self._growing(copy, other, to_other), met)
        await self._show(begun, first)
        await self._pause(ALWAYS_LATER)
        await self._show(copy, second)

    def _growing(self, face: Face, count: int, to: Sequence[OrgId]) -> list[Step]:
        """Return the steps by which a face logs some entries, in up to three portions, and shows itself in between."""
        cuts = sorted(self._rng.choices(range(count + 1), k=self._rng.choice((0, 1, 2))))
        portions = [end - start for start, end in zip([0, *cuts], [*cuts, count], strict=True)]
        steps: list[Step] = [lambda portion=portion: self._write(face, portion) for portion in portions]
        for org in to:
            steps.insert(self._rng.randint(0, len(steps)), lambda org=org: self._show(face, org))
        return steps


def verify_offline(bundle: bytes) -> Kind:
    """Verify evidence with nothing but lab-a's identity document, and with nothing at all; return what it proves."""
    evidence, lab_a = parse_evidence(bundle), founded(LAB_A).organisation
    known, alone = verify_evidence(evidence, known=lab_a), verify_evidence(evidence)
    assert known.origin == lab_a
    assert alone.origin.fingerprint == lab_a.fingerprint
    assert known.finding == alone.finding
    return known.kind
