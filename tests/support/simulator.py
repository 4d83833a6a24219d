"""This module runs the nodes of a federation in one process: real stores, real sides, real workers and services.

    with Federation(folder, seed=7) as federation:
        federation.run(main())

Time is virtual (`tests.support.loop`), the network fails as it is told to
(`tests.support.chaos`), and every other chance follows from the seed: the same
seed plays the same again, to the last byte. A node lives until it is killed:
everything in memory is gone, what was committed stays, and it can be started
again. Each has its own clock.
"""

import asyncio
import contextvars
import hashlib
import logging
import random
import tempfile
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.support.chaos import Network, Port
from tests.support.loop import VirtualLoop
from tests.support.organisations import NOW, Founded, found, private_pem
from tests.support.people import colleague
from tocsin.audit.log import Log
from tocsin.exchange.bell import Bell
from tocsin.exchange.directory import Directory
from tocsin.exchange.quota import Budget
from tocsin.exchange.side import Side
from tocsin.exchange.timekeeper import Timekeeper
from tocsin.exchange.worker import Pace, Workers
from tocsin.identity.certificate import TlsKeys, certificate_pem
from tocsin.identity.names import OrgId
from tocsin.people.person import Role
from tocsin.policy.clauses import Floor, Policy
from tocsin.policy.model import PolicySet
from tocsin.release.ledger import note_restored
from tocsin.release.office import Office
from tocsin.services.calls import Calls
from tocsin.services.doorkeeper import PeerDoor, Quota
from tocsin.services.exchange import ExchangeService
from tocsin.services.log import LogService
from tocsin.store.model import PeerRole, PeerState
from tocsin.store.sqlite import SqliteStore, open_store
from tocsin.tlog.log import OwnLog

LAB_A, LAB_B, AISI = OrgId("lab-a.example"), OrgId("lab-b.example"), OrgId("aisi.example")
UNIVERSITY = OrgId("university.example")
"""Behind a firewall: it dials, and nobody can dial it."""
PRESS = OrgId("press.example")
"""A reader: it is sent records, and nothing is taken from it."""
MEMBERS = (LAB_A, LAB_B, AISI, UNIVERSITY)
EVERYBODY = (*MEMBERS, PRESS)

ANALYST = "analyst-1"
BEGINNING = NOW + 86_400
"""A day after everybody's keys are valid: a clock may be put back."""
HEARTBEAT_SECONDS = 20.0
RETRY_CAP_SECONDS = 60.0
VERIFY_SECONDS = 20.0
QUOTA = Quota(calls_per_minute=600, streams=8)
FLOOR = Floor((), "floor.toml", "", ())

_life: contextvars.ContextVar["Life | None"] = contextvars.ContextVar("life", default=None)


@cache
def founded(org: OrgId) -> Founded:
    """Return an organisation, founded once."""
    return found(org, endpoints=() if org == UNIVERSITY else (f"{org}:7443",))


@cache
def blank(org: OrgId) -> bytes:
    """Return the store of an organisation that knows everybody and has said nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blank.db"
        with open_store(path, create=True) as store:
            store.people.add(colleague(ANALYST, org).person(Role.ANALYST, Role.RELEASER))
            for other in EVERYBODY:
                role = PeerRole.READER if other == PRESS else PeerRole.MEMBER
                if other != org:
                    document = founded(other).document
                    store.peers.add(other, document=document, role=role, state=PeerState.ACTIVE, now=NOW)
        return path.read_bytes()


@dataclass(eq=False)
class Life:
    """One life of a node: what is in memory, and the tasks that keep it moving."""

    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    tasks: "dict[asyncio.Task[Any], None]" = field(default_factory=dict)

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start a task that belongs to this life, as do those that it starts."""
        context = self.context.copy()
        context.run(_life.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def end(self) -> None:
        """End all of it at once."""
        for task in list(self.tasks):
            task.cancel()


class Node:
    """A node of the federation, and the disk it has; `now` is what its clock says."""

    def __init__(self, org: OrgId, federation: "Federation", *, disk: str = "") -> None:
        """Put an empty store on a disk, which is called as the organisation is where no name is given."""
        self.org = org
        self.founded = founded(org)
        self.skew = 0
        self.policies = PolicySet({}, FLOOR, ())
        self._federation = federation
        self.path = federation.folder / f"{disk or org}.db"
        self.path.write_bytes(blank(org))
        self._lives = 0
        self._life: Life | None = None
        self.was_put_back = False
        self._policies_copied = self.policies
        self.store: SqliteStore

    def now(self) -> int:
        """Return what this node's clock says."""
        return BEGINNING + self.skew + int(self._federation.loop.time())

    @property
    def alive(self) -> bool:
        """Say whether the node runs."""
        return self._life is not None

    @property
    def may_issue(self) -> bool:
        """Say whether its log goes on: a node that was put back waits for what others say of it."""
        return not self.store.logs.get(self.org).stopped

    def set_policies(self, policies: Iterable[Policy]) -> None:
        """Put policies in force for some partners, beside those of the others."""
        self.policies = PolicySet({**self.policies.policies, **{one.partner: one for one in policies}}, FLOOR, ())

    def start(self) -> None:
        """Open the store and run, as `tocsin.node` puts the parts together."""
        self._lives += 1
        federation, organisation = self._federation, self.founded.organisation
        self._life = Life()
        self.store = open_store(self.path)
        entropy = random.Random(f"{federation.seed} {self.org} {self._lives}")  # noqa: S311
        self.random = entropy.randbytes
        self.office = Office(
            store=self.store,
            organisation=organisation,
            policies=lambda: self.policies,
            log=Log(self.store, org=self.org, signer=self.founded.delivery),
            tlog=OwnLog(self.store.logs, self.org, self.founded.log, self.founded.witness),
            strict=False,
            random=self.random,
        )
        keys = TlsKeys(private_pem(self.founded.tls), certificate_pem(organisation.node_certs[0]))
        self.side = Side(
            office=self.office,
            delivery_signer=self.founded.delivery,
            directory=Directory(self.store, own_certificate=keys.certificate),
            clock=self.now,
            dial=partial(federation.network.dial, self.org, keys.certificate),
            budget=Budget(VERIFY_SECONDS, monotonic=federation.loop.time, spent=lambda: 0.0),
        )
        self.bell = Bell()
        self.timekeeper = Timekeeper(self.office, clock=self.now, queued=self.bell.ring)
        pace = Pace(RETRY_CAP_SECONDS, jitter=lambda longest: entropy.uniform(0, longest))
        self.workers = Workers(self.side, bell=self.bell, pace=pace)
        self._life.start(self._run(self._life))

    def kill(self) -> None:
        """Lose everything in memory; nobody is told but by the network."""
        if self._life is not None:
            self._life.end()
            self._life = None
            self._federation.network.gone(self.org)
            self.store.close()

    def keep_copy(self) -> None:
        """Make a backup of the store, as it is now."""
        copy = self._copy
        copy.unlink(missing_ok=True)
        self.store.snapshot(copy)
        self._policies_copied = self.policies

    def put_back(self) -> bool:
        """Die, and begin again with the store of the last backup, and what was in force; False where there is none."""
        if not self._copy.exists():
            return False
        self.kill()
        self.path.write_bytes(self._copy.read_bytes())
        for rest in ("-wal", "-shm"):
            self.path.with_name(self.path.name + rest).unlink(missing_ok=True)
        self.policies = self._policies_copied
        self.was_put_back = True
        with open_store(self.path) as store:
            note_restored(store, self.org, now=self.now())
        self.start()
        return True

    @property
    def _copy(self) -> Path:
        return self.path.with_suffix(".copy")

    def held(self) -> dict[str, tuple[str, str]]:
        """Return standing and text of every record here, by digest."""
        return {
            str(digest): (str(standing), self.store.records.token(str(digest)) or "")
            for digest, standing in self.store._db.rows("SELECT digest, standing FROM records ORDER BY digest")
        }

    async def _run(self, life: Life) -> None:
        for endpoint in self.founded.organisation.endpoints:
            self._federation.network.listen(endpoint, self._port(life))
        await self.timekeeper.start()
        self.workers.refresh()

    def _port(self, life: Life) -> Port:
        """Return what serves those who call."""
        door = PeerDoor(
            self.side.directory,
            Calls(),
            quota=QUOTA,
            clock=self.now,
            contacted=self.workers.contacted,
            monotonic=self._federation.loop.time,
        )
        service = ExchangeService(self.side, bell=self.bell, heartbeat_seconds=HEARTBEAT_SECONDS)
        return Port(self.org, service, LogService(self.side), door, start=life.start)


class Federation:
    """Five nodes, the network between them, and the time they live in."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.trace: list[str] = []
        chance = random.Random(f"{seed} loop")  # noqa: S311
        self.loop = VirtualLoop(pause=lambda: chance.uniform(0.0001, 0.02))
        self.loop.set_task_factory(make_task)
        self.network = Network(random.Random(f"{seed} network"), told=self.note)  # noqa: S311
        self.nodes = {org: Node(org, self) for org in EVERYBODY}

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Start every node, let somebody do something with them, and end all of it."""
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._run(work))

    def note(self, what: str) -> None:
        """Keep what happened, for whoever looks for the reason."""
        self.trace.append(f"{self.loop.time():.4f} {what}")

    def fingerprint(self) -> str:
        """Return a hash of everything that happened."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        logging.disable(logging.ERROR)  # what goes wrong here is meant to
        try:
            for node in self.nodes.values():
                node.start()
            await work
        finally:
            logging.disable(logging.NOTSET)
            for node in self.nodes.values():
                node.kill()


def make_task(
    loop: asyncio.AbstractEventLoop, work: Any, *, context: contextvars.Context | None = None, **more: Any
) -> "asyncio.Task[Any]":
    """Make a task that is known to the life it belongs to, for as long as it runs."""
    task = asyncio.Task(work, loop=loop, context=context, **more)
    life = (context or contextvars.copy_context()).get(_life)
    if life is not None:
        life.tasks[task] = None
        task.add_done_callback(lambda done: life.tasks.pop(done, None))
    return task
