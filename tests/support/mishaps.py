"""This module makes up how a store of lab-a's is put back by mistake, unmarked, and meets somebody who saw more of it.

That is no attack: lab-a issues nothing and shows nothing until everybody has
said how much of its log it saw, takes back what was lost, and goes on behind
it. Nobody stops it, then or later.
"""

import random
from pathlib import Path

from tests.support.faces import Stage
from tests.support.histories import SIZES
from tests.support.simulator import AISI, LAB_A, LAB_B, PRESS, UNIVERSITY
from tocsin.identity.names import OrgId
from tocsin.release.ledger import PUT_BACK
from tocsin.tlog.entry import ENTRY_BYTES

OTHERS = (LAB_B, AISI, UNIVERSITY, PRESS)


class Mishap:
    """One seed's worth of bad luck."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self._rng = random.Random(f"{seed} mishap")  # noqa: S311 -- plays, guards nothing
        self.stage = Stage(folder, seed=seed, honest=(LAB_A, *OTHERS))
        self._lab_a = self.stage.honest[LAB_A]

    def play(self) -> None:
        """Let it happen. Raises AssertionError where something is lost, or somebody is accused."""
        self.stage.run(self._play())

    async def _play(self) -> None:
        self._issue(self._rng.choice(SIZES))
        for org in self._some(0):
            await self._meet(org, calls=True)
        copy = self._disk()
        self._issue(self._rng.choice(SIZES[1:]))
        seen = self._some(1)
        for org in seen:
            await self._meet(org, calls=True)
        issued = self._lab_a.entries()
        self._disk(copy)
        await self._meet(self._rng.choice(seen))
        assert self._lab_a.store.logs.get(LAB_A).stopped == PUT_BACK
        assert self._lab_a.entries() == issued
        for org in self._rng.sample(OTHERS, len(OTHERS)):
            assert self._lab_a.may_issue == (not self._lab_a.store.logs.awaited())
            await self._meet(org)
        assert self._lab_a.may_issue
        self._issue(3)
        for org in self._rng.sample(OTHERS, len(OTHERS)):
            await self._meet(org, calls=True)
            assert self.stage.honest[org].entries() == self._lab_a.entries()
        assert self._lab_a.entries()[: len(issued)] == issued

    def _some(self, least: int) -> list[OrgId]:
        return self._rng.sample(OTHERS, self._rng.randint(least, len(OTHERS)))

    def _issue(self, count: int) -> None:
        if count:
            with self._lab_a.store.transaction():
                entries = [self._rng.randbytes(ENTRY_BYTES) for _ in range(count)]
                self._lab_a.office.tlog.issue(*entries, now=self._lab_a.now())

    def _disk(self, content: bytes = b"") -> bytes:
        """Return what the disk of lab-a holds; or put something in its place."""
        self._lab_a.kill()
        if content:
            self._lab_a.path.write_bytes(content)
        content = self._lab_a.path.read_bytes()
        self._lab_a.start()
        return content

    async def _meet(self, org: OrgId, *, calls: bool = False) -> None:
        """Let somebody and lab-a compare, whoever of the two calls; only who calls reads on."""
        if calls or org == UNIVERSITY or self._rng.random() < 0.5:
            await self.stage.meet(org, LAB_A)
        else:
            await self.stage.meet(LAB_A, org)
        for node in self.stage.honest.values():
            assert not node.store.logs.evidence(), f"{node.org} accuses somebody"
            held = [row.origin for row in node.store.logs.list() if row.stopped and row.origin != node.org]
            assert not held, f"{node.org} has stopped {held}"
