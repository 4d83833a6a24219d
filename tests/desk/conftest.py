"""This module gives the desk's tests real homes in temporary folders, with a clock and randomness of their own."""

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.organisations import NOW, found, seeded
from tests.support.people import Colleague, colleague, first
from tests.support.policies import apply
from tocsin.desk.desk import Desk
from tocsin.desk.founding import create_home
from tocsin.desk.home import Home, open_home
from tocsin.errors import PeerUnreachable
from tocsin.exchange.circuit import Contacts
from tocsin.exchange.progress import Progress
from tocsin.people.person import Person, Role
from tocsin.policy.model import PolicySet
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

LAB_A, LAB_B, AISI = "lab-a.example", "lab-b.example", "aisi.example"

SHARING = """
partner = "{partner}"
agreement = "MOU 2026-04"

[[share]]
name = "findings"
kinds = ["finding", "incident"]
max_tlp = "AMBER"
classes = "PARTNER"
reveal = ["steps"]
withhold = ["subjects[*].version"]
reason = "trade_secret"
name_withheld = true

[accept]
kinds = ["*"]
max_per_hour = 2000
"""

FINDING = {
    "title": "Tool output can redirect an agent",
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "model", "name": "Example-LM 3", "version": "3.1"}],
    "steps": [{"description": "Ask it twice."}],
}


_MOULDS = tempfile.TemporaryDirectory(prefix="tocsin-moulds-")


@pytest.fixture(scope="session", autouse=True)
def moulds() -> Iterator[None]:
    """Clear the moulds away at the end."""
    yield
    _MOULDS.cleanup()


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@dataclass
class Recorder:
    """Events, written down."""

    queued_for: list[frozenset[str]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    dues: int = 0

    def queued(self, partners: Collection[str]) -> None:
        self.queued_for.append(frozenset(partners))

    def peer_changed(self, org: str) -> None:
        self.changed.append(org)

    def person_changed(self, name: str) -> None:
        self.people.append(name)

    def due_changed(self) -> None:
        self.dues += 1


async def nobody_answers(org: str) -> AsyncIterator[Progress]:
    raise PeerUnreachable(f"{org} cannot be reached")
    yield Progress()


async def nobody_to_ask(org: str, *, digest: str, paths: object, why: str) -> int:
    raise PeerUnreachable(f"{org} cannot be reached")


async def nobody_lets_in(org: str) -> int | None:
    raise PeerUnreachable(f"{org} cannot be reached")


def make_home(root: Path, org: str = LAB_A, **changes: object) -> Path:
    """Make a home."""
    settings: dict[str, object] = {
        "org": org,
        "name": org.partition(".")[0].title(),
        "kind": "lab",
        "listen": "127.0.0.1:7470",
        "endpoints": ("127.0.0.1:7470",),
        "contact": f"mailto:security@{org}",
        "founder": first(org).founder,
        "now": NOW,
        "random": seeded(f"{org} home"),
    }
    create_home(root, **settings | changes)
    return root


def copy_home(root: Path, org: str = LAB_A) -> Path:
    """Copy the home that is made once for an organisation, which is five times as fast as making one."""
    mould = Path(_MOULDS.name) / org
    if not mould.exists():
        make_home(mould, org)
    shutil.copytree(mould, root)
    return root


@dataclass
class Office:
    """An open home with its desk, at which `me` works: the person who founded it."""

    home: Home
    desk: Desk
    clock: Clock
    events: Recorder

    @property
    def first(self) -> Colleague:
        """Return the founder with its keys."""
        return first(self.home.organisation.org)

    @property
    def me(self) -> Person:
        return self.home.store.people.get(self.first.name)

    def admit(self, name: str, *roles: Role) -> tuple[Person, Colleague]:
        """Let somebody in, and return the person with its keys."""
        with_keys = colleague(name, self.home.organisation.org)
        self.home.store.people.add(with_keys.person(*roles))
        return self.home.store.people.get(name), with_keys

    def apply(self, files: dict[str, str]) -> PolicySet:
        """Put files in force under the founder's signature; nothing is weighed anew by it."""
        return apply(self.home, files, by=self.first, now=self.clock())

    def add_peer(self, org: str = LAB_B, *, confirmed: bool = True, role: int = 0) -> v1.Peer:
        peer = found(org)
        fingerprint = peer.organisation.fingerprint if confirmed else ""
        request = v1.AddPeerRequest(document=peer.document, fingerprint=fingerprint, role=role)
        return self.desk.add_peer(request, self.me).peer

    def post(self, content: object = FINDING, **changes: object) -> v1.PostedRecord:
        return self.post_all([draft(content, **changes)]).results[0]

    def post_all(self, drafts: list[v1.Draft], *, dry_run: bool = False) -> v1.PostRecordsResponse:
        return self.desk.post_records(v1.PostRecordsRequest(drafts=drafts, dry_run=dry_run), self.me)


def draft(content: object = FINDING, **changes: object) -> v1.Draft:
    settings = {
        "kind": record_pb2.RECORD_KIND_FINDING,
        "tlp": record_pb2.TLP_AMBER,
        "content_json": json.dumps(content),
    }
    return v1.Draft(**settings | changes)


def put_policy(office: Office, partner: str, text: str = SHARING) -> None:
    """Put a policy for a partner in force, and write its file."""
    name, text = f"{partner}.toml", text.format(partner=partner)
    (office.home.layout.policies / name).write_text(text)
    office.apply({name: text})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_home(tmp_path / "home")


@pytest.fixture
def open_office() -> Iterator[Callable[[Path], Office]]:
    """Open homes, and close them after the test."""
    opened: list[Home] = []

    def opening(root: Path, *, clock: Clock | None = None, **settings: object) -> Office:
        clock = clock or Clock()
        home = open_home(root, now=clock())
        opened.append(home)
        events = Recorder()
        wires = {"puller": nobody_answers, "requester": nobody_to_ask, "probe": nobody_lets_in, "contacts": Contacts()}
        settings = {**wires, **settings}
        desk = Desk(home, clock=clock, random=seeded(f"{root} desk"), events=events, **settings)
        return Office(home, desk, clock, events)

    yield opening
    for home in opened:
        home.close()


@pytest.fixture
def office(root: Path, open_office: Callable[[Path], Office]) -> Office:
    """A home whose policy shares findings with lab-b.example, and which knows it."""
    opened = open_office(root)
    put_policy(opened, LAB_B)
    opened.add_peer(LAB_B)
    opened.events.changed.clear()
    return opened
