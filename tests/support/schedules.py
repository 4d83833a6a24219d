"""This module makes up what happens to a federation, from one seed, and says whether all is well.

    posts, amendments, retractions, revealed fields, policies applied      what people do
    cuts both ways and one way, resets, calls lost or doubled, slow links  what networks do
    kills, clocks that jump, backups that are put back                     what machines do

After every step: nobody holds a field that no policy ever let it have, what was
taken back stays so, numbers are dense and in order. When the network is mended
and the clocks agree, everybody comes to hold what policy says, and both sides
hold the same receipts.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.policy import holdings
from tests.support.judge import Judge, Said
from tests.support.simulator import AISI, ANALYST, EVERYBODY, LAB_A, LAB_B, MEMBERS, PRESS, Federation, Node
from tocsin.exchange.publish import amend, publish, queue_partners, weigh_queued
from tocsin.exchange.retract import retract
from tocsin.exchange.reveal import reveal
from tocsin.exchange.rollback import FEED_SECONDS
from tocsin.identity.names import OrgId, new_record_id
from tocsin.policy.clauses import Accept, Policy
from tocsin.records.record import Draft, VerifiedRecord, issue
from tocsin.records.retraction import Action, sign_retraction
from tocsin.schema.contract import TLPS, Disclosure

STEPS = 24
CLOCKS_JUMP_SECONDS = (-7200, -900, 400, 86_400)
CONVERGED_SECONDS = FEED_SECONDS + 1800
"""A feed that was begun within the hour is not begun anew for a partner who says that it must be."""

ALWAYS_SAID: dict[str, Any] = {
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "model", "name": "M", "version": "3"}],
}
CONTENT: dict[str, Any] = {
    "summary": "what happened",
    "details": "at length",
    "hazard_category": ["cyber"],
    "prompts": ["one", "two"],
    "poc": "print()",
    "infohazard_detail": "never",
}
NAMED = ("prompts", "poc")

OPEN: dict[str, Any] = {"max_tlp": "RED", "classes": Disclosure.PARTNER, "reveal": frozenset(NAMED)}
NARROW: dict[str, Any] = {"max_tlp": "AMBER", "classes": Disclosure.COMMUNITY, "withhold": frozenset({"summary"})}
LEAST: dict[str, Any] = {"max_tlp": "GREEN", "classes": Disclosure.ALWAYS}
HELD: dict[str, Any] = OPEN | {"hold": 300}
PASSED_ON: dict[str, Any] = {"max_tlp": "GREEN", "classes": Disclosure.COMMUNITY, "relayed": True}
TEXTS: tuple[tuple[dict[str, Any], ...], ...] = (
    (OPEN,),
    (OPEN, PASSED_ON),
    (NARROW,),
    (NARROW, PASSED_ON),
    (LEAST, OPEN),
    (HELD, PASSED_ON),
    (),
)
_TEXTS_OF = {repr(texts): texts for texts in TEXTS}


class Schedule:
    """One seed's worth of trouble."""

    def __init__(self, folder: Path, *, seed: int, steps: int = STEPS) -> None:
        self.federation = Federation(folder, seed=seed)
        self._rng = random.Random(f"{seed} schedule")  # noqa: S311 -- plays, guards nothing
        self._steps = steps
        self._judge = Judge(self.federation)
        self._latest = 0

    def play(self, script: Iterable[Callable[["Schedule"], None]] = ()) -> None:
        """Let it happen, by a script or by chance. Raises AssertionError where something is not well."""
        actions = tuple(script) or self._rng.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()), k=self._steps)
        self.federation.run(self._play(actions))

    async def _play(self, actions: Iterable[Callable[["Schedule"], None]]) -> None:
        for node in self._nodes():
            node.set_policies([self._policy(node.org, other) for other in _others(node.org)])
        for action in actions:
            await asyncio.sleep(self._rng.choice((0.01, 0.2, 3, 30)))
            self.federation.note(f"--- {action.__name__}")
            action(self)
            self._judge.verify_moment()
        self._mend()
        await self._converge()

    def _nodes(self) -> list[Node]:
        return list(self.federation.nodes.values())

    def _living(self, orgs: tuple[OrgId, ...] = EVERYBODY) -> Node | None:
        """Return some node that runs, and whose clock says about what those of the others say."""
        nodes = [self.federation.nodes[org] for org in orgs]
        alive = [node for node in nodes if node.alive and abs(node.skew) <= max(CLOCKS_JUMP_SECONDS) * 2]
        return self._rng.choice(alive) if alive else None

    # -- what people do

    def _policy(self, org: OrgId, partner: OrgId) -> Policy:
        """Draw a policy for a partner, and tell the judge."""
        texts = () if org == PRESS else self._rng.choice(TEXTS)
        self._judge.note_applied(org, partner, texts)
        shares = [holdings.share(**text) for text in texts]
        accept = Accept(holdings.EVERYTHING, 2000, relayed=True, legal_hold=org == AISI)
        return holdings.policy(*shares, partner=partner, file=f"{partner}.toml", digest=repr(texts), accept=accept)

    def apply(self) -> None:
        """Somebody puts a policy in force."""
        if node := self._living(MEMBERS):
            partner = self._rng.choice(_others(node.org))
            node.set_policies([self._policy(node.org, partner)])
            now = node.now()
            weigh_queued(node.office, queue_partners(node.office, (partner,), now=now), now=now)
            self._tell(node, (partner,))

    def post(self) -> None:
        """Somebody posts some records."""
        node = self._living(MEMBERS)
        for _ in range(self._rng.choice((1, 1, 2, 5)) if node and node.may_issue else 0):
            assert node is not None
            to = self._rng.choice(((), (), (), (LAB_A,), (LAB_B, PRESS)))
            to = tuple(org for org in to if org != node.org)
            record = self._issue(node, new_record_id(node.random), version=1)
            self._judge.note_said(record, to)
            others = _others(node.org)
            done = publish(node.office, record, author=ANALYST, partners=others, recipients=to, now=node.now())
            self._tell(node, done.queued)

    def amend(self) -> None:
        """Somebody issues the next version of a record."""
        node, said = self._standing_record()
        if node is None or said is None:
            return
        before = said.versions[-1]
        record = self._issue(
            node, before.record_id, version=before.version + 1, supersedes=before.digest, relay=before.relay
        )
        correction = sign_retraction(
            issuer=node.org,
            record_id=before.record_id,
            version=before.version,
            action=Action.CORRECT,
            tlp=max(before.tlp, record.tlp, key=TLPS.index),
            successor=record.digest,
            signer=node.founded.record,
            now=node.now(),
        )
        self._judge.note_said(record)
        done = amend(
            node.office,
            record,
            correction,
            author=ANALYST,
            partners=_others(node.org),
            recipients=said.recipients,
            now=node.now(),
        )
        self._tell(node, (*done.queued, *done.told))

    def take_back(self) -> None:
        """Somebody withdraws a record, or has it deleted everywhere."""
        node, said = self._standing_record(also_over=True)
        if node is None or said is None:
            return
        action = self._rng.choice((Action.WITHDRAW, Action.PURGE))
        if said.over is not None and action.rank <= said.over.rank:
            return
        done = retract(
            node.office,
            said.versions[-1].digest,
            action=action,
            reason="error",
            person=ANALYST,
            signer=node.founded.record,
            now=node.now(),
        )
        said.over = action
        self._tell(node, done.told)

    def reveal(self) -> None:
        """Somebody reveals a field of a record to a partner."""
        node, said = self._standing_record()
        if node is None or said is None:
            return
        record, partner, name = said.versions[-1], self._rng.choice(_others(node.org)), self._rng.choice(NAMED)
        if node.now() < record.issued_at or name not in record.paths:  # nothing is decided by a clock that is behind
            return
        if self._judge.note_revealed(record, partner, name):
            reveal(node.office, record, partner=partner, paths=[name], person=ANALYST, now=node.now())
            self._tell(node, (partner,))

    def _tell(self, node: Node, queued: Iterable[OrgId]) -> None:
        """Wake whom the desk would wake."""
        node.bell.ring(queued)
        node.timekeeper.wake()

    def _standing_record(self, *, also_over: bool = False) -> tuple[Node | None, Said | None]:
        """Return some record whose origin runs, and which is not taken back."""
        found = [
            said
            for said in self._judge.said.values()
            if self.federation.nodes[said.issuer].alive
            and self.federation.nodes[said.issuer].may_issue
            and (also_over or said.over is None)
            and self._judge.is_known(said)
        ]
        said = self._rng.choice(found) if found else None
        return (self.federation.nodes[said.issuer], said) if said else (None, None)

    def _issue(self, node: Node, record_id: Any, **draft: Any) -> VerifiedRecord:
        tlp = self._rng.choice(("CLEAR", "GREEN", "GREEN", "AMBER", "AMBER+STRICT"))
        names = self._rng.sample(sorted(CONTENT), self._rng.randint(2, len(CONTENT)))
        content = {"title": f"of {node.org}"} | ALWAYS_SAID | {name: CONTENT[name] for name in names}
        draft = {"relay": self._rng.choice(("none", "community"))} | draft
        return issue(
            Draft(record_id=record_id, kind="finding", tlp=tlp, **draft),
            content,
            issuer=node.org,
            signer=node.founded.record,
            now=node.now(),
            random=node.random,
        )

    # -- what networks and machines do

    def cut(self) -> None:
        """A link fails, one way or both."""
        one, other = self._rng.sample(EVERYBODY, 2)
        self.federation.network.cut(one, other)
        if self._rng.random() < 0.5:
            self.federation.network.cut(other, one)

    def mend(self) -> None:
        """Everything gets through again."""
        self.federation.network.mend()

    def reset(self) -> None:
        """Connections between two organisations end."""
        self.federation.network.reset(*self._rng.sample(EVERYBODY, 2))

    def change_weather(self) -> None:
        """Calls get lost and doubled, or do not; links are slow, or are not."""
        weather = self.federation.network.weather
        weather.failing, weather.slowest = self._rng.choice(((0, 0.05), (0.3, 0.5), (0.1, 8), (0.6, 0.1)))

    def kill(self) -> None:
        """A node dies, and perhaps is back at once."""
        if node := self._living():
            node.kill()
            if self._rng.random() < 0.5:
                node.start()

    def start(self) -> None:
        """Nodes that are down start again."""
        for node in self._nodes():
            if not node.alive:
                node.start()

    def set_clock(self) -> None:
        """A clock jumps."""
        node = self._rng.choice(self._nodes())
        node.skew += self._rng.choice(CLOCKS_JUMP_SECONDS)
        self._latest = max(self._latest, node.skew)

    def keep_copy(self) -> None:
        """Somebody makes a backup."""
        if node := self._living():
            node.keep_copy()

    def put_back(self) -> None:
        """A disk is lost, and the last backup is put in its place."""
        nodes = self._nodes()
        self._rng.shuffle(nodes)
        node = next((node for node in nodes if node.put_back()), None)
        for partner, policy in node.policies.policies.items() if node else ():
            self._judge.note_applied(node.org, partner, _TEXTS_OF[policy.digest])

    def wait(self) -> None:
        """Nothing happens for a while: long enough to find out that a stream is dead."""

    def _mend(self) -> None:
        """Let the network be good, the clocks agree, and everybody run."""
        self.federation.note("--- mended")
        self.federation.network.weather.failing, self.federation.network.weather.slowest = 0.0, 0.05
        self.federation.network.mend()
        for node in self._nodes():
            node.skew = self._latest  # what was signed ahead of its time is not from the future any more
        self.start()

    async def _converge(self) -> None:
        """Wait until everybody holds what policy says. Raises AssertionError where it takes too long."""
        faults: list[str] = []
        end = self.federation.loop.time() + CONVERGED_SECONDS
        while self.federation.loop.time() < end:
            await asyncio.sleep(30 if self.federation.loop.time() < end - CONVERGED_SECONDS * 0.9 else 300)
            self._judge.verify_moment()
            faults = list(self._judge.faults())
            if not faults:
                self._judge.verify_stores()
                return
        raise AssertionError("not converged:\n" + "\n".join(faults))


def _others(org: OrgId) -> list[OrgId]:
    return [other for other in EVERYBODY if other != org]


WEIGHTS: dict[Callable[[Schedule], None], int] = {
    Schedule.post: 7,
    Schedule.amend: 3,
    Schedule.take_back: 3,
    Schedule.reveal: 2,
    Schedule.apply: 3,
    Schedule.cut: 3,
    Schedule.mend: 1,
    Schedule.reset: 1,
    Schedule.change_weather: 2,
    Schedule.kill: 3,
    Schedule.start: 2,
    Schedule.set_clock: 1,
    Schedule.keep_copy: 2,
    Schedule.put_back: 2,
    Schedule.wait: 2,
}
