"""This module runs whole nodes for tests: real homes and real mutual TLS on loopback, on one event loop."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc.aio

from tests.support.people import Colleague, colleague, first
from tests.support.policies import apply, request_to_apply
from tests.support.wire import now
from tocsin.config import NodeConfig
from tocsin.desk.founding import create_home
from tocsin.desk.home import Home, open_home
from tocsin.exchange.peer import PeerClient
from tocsin.exchange.wire import Options
from tocsin.identity.certificate import TlsKeys, certificate_pem
from tocsin.identity.root import Organisation
from tocsin.node import Node
from tocsin.people.person import Role
from tocsin.schema.contract import enum_number
from tocsin.services.listener import DESK_OPTIONS
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2
from tocsin.v1.desk_service_pb2_grpc import DeskServiceStub
from tocsin_cli.demo.network import free_ports

SHARES_EVERYTHING = """
partner = "{partner}"
agreement = "for tests"

[[share]]
name = "all"
kinds = ["*"]
max_tlp = "AMBER+STRICT"
classes = "PARTNER"

[accept]
kinds = ["*"]
max_per_hour = 2000
"""

QUICK = NodeConfig(heartbeat_seconds=0.2, drain_seconds=2, retry_cap_seconds=0.2)


@dataclass(frozen=True)
class Place:
    """A home that exists, and its node where it runs; `first` is the person who founded it."""

    root: Path
    organisation: Organisation
    listen: str
    first: Colleague

    @property
    def org(self) -> str:
        return self.organisation.org

    def colleague(self, name: str, *, keys: str = "") -> Colleague:
        """Return somebody with keys for this place, whom the node need not know."""
        return colleague(name, self.org, now=now(), keys=keys)


def make_place(folder: Path, org: str, *, endpoint: bool = True, listen: str = "") -> Place:
    """Make a home; its node listens at an address of this machine where none is given and it has an endpoint."""
    listen = listen or (f"127.0.0.1:{free_ports(1)[0]}" if endpoint else "")
    founder = first(org, now=now())
    organisation = create_home(
        folder / org,
        org=org,
        name=org,
        kind="lab",
        listen=listen,
        endpoints=(listen,) if listen else (),
        contact=f"mailto:security@{org}",
        founder=founder.founder,
        now=now(),
        random=secrets.token_bytes,
    )
    return Place(folder / org, organisation, listen, founder)


def put_policy(place: Place, partner: Place, text: str = SHARES_EVERYTHING) -> None:
    """Put a policy for a partner in force while the node does not run, and write its file."""
    name, text = f"{partner.org}.toml", text.format(partner=partner.org)
    (place.root / "policies" / name).write_text(text)
    with open_home(place.root, now=now()) as home:
        apply(home, {name: text}, by=place.first, now=now())


@dataclass
class Running:
    """A node that runs, as its own people and as its peers see it; `desk` is that of the person `me`."""

    place: Place
    home: Home
    node: Node
    desk: DeskServiceStub
    me: Colleague

    async def admit(self, name: str, *roles: Role) -> Colleague:
        """Let a new person in; the caller MUST be an operator."""
        person = self.place.colleague(name)
        numbers = [enum_number("PersonRole", role.value) for role in roles]
        await self.desk.AddPerson(v1.AddPersonRequest(card=person.card, roles=numbers))
        return person

    async def apply(self, files: dict[str, str]) -> v1.ApplyPoliciesResponse:
        """Put files in force beside those that are, as a policy-admin does."""
        return await self.desk.ApplyPolicies(request_to_apply(self.home, files, by=self.me, now=now()))

    @asynccontextmanager
    async def as_(self, person: Colleague) -> AsyncIterator["Running"]:
        """Return the same node as another person meets it."""
        async with desk_channel(self.place, person, f"unix:{self.node.desk_socket}") as channel:
            yield replace(self, desk=DeskServiceStub(channel), me=person)

    async def know(self, other: Place, *, role: int = v1.PEER_ROLE_MEMBER, confirmed: bool = True) -> v1.Peer:
        fingerprint = other.organisation.fingerprint if confirmed else ""
        document = other.organisation.document
        answer = await self.desk.AddPeer(v1.AddPeerRequest(document=document, fingerprint=fingerprint, role=role))
        return answer.peer

    async def post(self, *titles: str) -> list[str]:
        answer = await self.desk.PostRecords(v1.PostRecordsRequest(drafts=[finding(title) for title in titles]))
        assert [list(result.error_details) for result in answer.results] == [[]] * len(titles)
        return [result.record.digest for result in answer.results]

    async def titles(self) -> set[str]:
        answer = await self.desk.ListRecords(v1.ListRecordsRequest(page_size=500))
        return {record.title for record in answer.records}

    async def peer(self, other: Place) -> v1.Peer:
        return (await self.desk.GetPeer(v1.GetPeerRequest(org=other.org))).peer

    async def sync(self, *peers: Place) -> dict[str, v1.SyncPeersResponse]:
        last = {}
        async for progress in self.desk.SyncPeers(v1.SyncPeersRequest(peers=[peer.org for peer in peers])):
            last[progress.peer] = progress
        return last

    def client_of(self, other: Place) -> PeerClient:
        """Return a client that calls another node with this node's keys."""
        return PeerClient(other.organisation, other.listen, keys=keys_of_place(self.place))


def desk_channel(place: Place, person: Colleague, target: str) -> grpc.aio.Channel:
    """Return a channel to the desk of a node, as a person."""
    credentials, options = desk_credentials(place, person)
    return grpc.aio.secure_channel(target, credentials, options=options)


def desk_credentials(place: Place, person: Colleague) -> tuple[grpc.ChannelCredentials, Options]:
    """Return what a channel to the desk of a node takes to be a person's."""
    roots = certificate_pem(place.organisation.node_certs[0])
    options = (
        *DESK_OPTIONS,
        ("grpc.ssl_target_name_override", place.org),
        ("grpc.use_local_subchannel_pool", 1),  # channels of several people must not share a connection
    )
    return grpc.ssl_channel_credentials(roots, person.tls.key, person.tls.certificate), options


def keys_of_place(place: Place) -> TlsKeys:
    return TlsKeys((place.root / "keys" / "tls.pem").read_bytes(), certificate_pem(place.organisation.node_certs[0]))


def finding(title: str, **more: object) -> v1.Draft:
    content = {
        "title": title,
        "finding_kind": "vulnerability",
        "severity": "high",
        "subjects": [{"kind": "model", "name": "Example-LM 3"}],
        **more,
    }
    kind, tlp = record_pb2.RECORD_KIND_FINDING, record_pb2.TLP_AMBER
    return v1.Draft(kind=kind, tlp=tlp, content_json=json.dumps(content))


@asynccontextmanager
async def running(
    place: Place,
    *,
    config: NodeConfig = QUICK,
    pull: bool = True,
    as_: Colleague | None = None,
    clock: Callable[[], int] = now,
) -> AsyncIterator[Running]:
    person = as_ or place.first
    with open_home(place.root, now=clock()) as home:
        node = await Node.start(home, replace(config, listen=place.listen, pull=pull), clock=clock)
        try:
            async with desk_channel(place, person, f"unix:{node.desk_socket}") as channel:
                yield Running(place, home, node, DeskServiceStub(channel), person)
        finally:
            await node.stop(0)


@asynccontextmanager
async def federation(
    places: Sequence[Place], *, config: NodeConfig = QUICK, pull: bool = True
) -> AsyncIterator[list[Running]]:
    """Run nodes that all know one another."""
    for place in places:
        for other in places:
            if other is not place:
                put_policy(place, other)
    async with running_all(places, config=config, pull=pull) as nodes:
        for node in nodes:
            for other in places:
                if other is not node.place:
                    await node.know(other)
        yield nodes


@asynccontextmanager
async def running_all(places: Sequence[Place], *, config: NodeConfig, pull: bool) -> AsyncIterator[list[Running]]:
    if not places:
        yield []
        return
    async with (
        running(places[0], config=config, pull=pull) as first,
        running_all(places[1:], config=config, pull=pull) as rest,
    ):
        yield [first, *rest]


async def until(condition: Callable[[], object], *, seconds: float = 10) -> None:
    """Wait until a condition, which may be a coroutine function, holds."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.02)
