"""This module opens a peer port for tests: real TLS on loopback, and services that only note what reached them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio

from tests.support.organisations import Founded, found, private_pem
from tests.support.stores import new_store
from tocsin.exchange.directory import Directory
from tocsin.identity.certificate import TlsKeys, certificate_pem
from tocsin.services.calls import Calls
from tocsin.services.doorkeeper import PeerDoor, Quota, caller
from tocsin.services.listener import open_peer_port
from tocsin.store.model import PeerRole, PeerState
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1 import log_service_pb2
from tocsin.v1.exchange_service_pb2_grpc import ExchangeServiceServicer
from tocsin.v1.log_service_pb2_grpc import LogServiceServicer

GENEROUS = Quota(calls_per_minute=1000, streams=8)


def now() -> int:
    """Return the time of this machine: TLS knows no other."""
    return int(time.time())


def founded(name: str, **more: object) -> Founded:
    return found(name, now=now(), **more)  # type: ignore[arg-type]


def keys_of(founded_: Founded) -> TlsKeys:
    return TlsKeys(private_pem(founded_.tls), certificate_pem(founded_.organisation.node_certs[0]))


@dataclass
class NotingService(ExchangeServiceServicer):
    """Notes who called what; a stream stays open until the call ends."""

    reached: list[tuple[str, str]] = field(default_factory=list)
    open_streams: int = 0

    def note(self, method: str) -> None:
        self.reached.append((method, caller().org))

    async def Pull(self, request: v1.PullRequest, context: object) -> v1.PullResponse:  # noqa: N802
        self.note("Pull")
        if request.cursor.startswith("canary"):
            raise ValueError(request.cursor)
        return v1.PullResponse()

    async def Subscribe(self, request: v1.SubscribeRequest, context: object) -> AsyncIterator[v1.SubscribeResponse]:  # noqa: N802
        self.note("Subscribe")
        self.open_streams += 1
        try:
            yield v1.SubscribeResponse(page=v1.Page(cursor="first"))
            await asyncio.Event().wait()
        finally:
            self.open_streams -= 1

    async def Acknowledge(self, request: v1.AcknowledgeRequest, context: object) -> v1.AcknowledgeResponse:  # noqa: N802
        self.note("Acknowledge")
        return v1.AcknowledgeResponse()

    async def Deliver(self, request: v1.DeliverRequest, context: object) -> v1.DeliverResponse:  # noqa: N802
        self.note("Deliver")
        return v1.DeliverResponse(receipts=["stored"])

    async def RequestDisclosure(  # noqa: N802
        self, request: v1.RequestDisclosureRequest, context: object
    ) -> v1.RequestDisclosureResponse:
        self.note("RequestDisclosure")
        return v1.RequestDisclosureResponse()

    async def Recover(self, request: v1.RecoverRequest, context: object) -> v1.RecoverResponse:  # noqa: N802
        self.note("Recover")
        return v1.RecoverResponse()

    async def GiveBack(self, request: v1.GiveBackRequest, context: object) -> v1.GiveBackResponse:  # noqa: N802
        self.note("GiveBack")
        return v1.GiveBackResponse()


def noting_log(note: Callable[[str], None]) -> LogServiceServicer:
    """Return a service of logs that only notes which of its methods were called."""

    def method(name: str, answer: type) -> Callable[..., Awaitable[object]]:
        async def call(service: object, request: object, context: object) -> object:
            note(name)
            return answer()

        return call

    methods = log_service_pb2.DESCRIPTOR.services_by_name["LogService"].methods
    calls = {one.name: method(one.name, getattr(log_service_pb2, one.output_type.name)) for one in methods}
    servicer: LogServiceServicer = type("NotingLog", (LogServiceServicer,), calls)()
    return servicer


@dataclass
class Port:
    """A peer port that is being served."""

    server: Founded
    store: object
    directory: Directory
    door: PeerDoor
    service: NotingService
    address: str

    def know(self, founded_: Founded, *, state: PeerState = PeerState.ACTIVE, role: PeerRole = PeerRole.MEMBER) -> None:
        self.store.peers.add(founded_.organisation.org, document=founded_.document, role=role, state=state, now=now())
        self.directory.refresh()

    def set_state(self, founded_: Founded, state: PeerState) -> None:
        self.store.peers.set_state(founded_.organisation.org, state)
        self.directory.refresh()
        self.door.end_unwelcome(founded_.organisation.org)


@asynccontextmanager
async def serve_port(
    folder, *, quota: Quota = GENEROUS, contacted=lambda _: None, clock=now, monotonic=time.monotonic
) -> AsyncIterator[Port]:
    server = founded("server.example")
    keys = keys_of(server)
    store = new_store(folder / "tocsin.db")
    directory = Directory(store, own_certificate=keys.certificate)
    door = PeerDoor(directory, Calls(), quota=quota, clock=clock, contacted=contacted, monotonic=monotonic)
    service = NotingService()
    log = noting_log(service.note)
    listener, port = open_peer_port(service, log, door, listen="127.0.0.1:0", keys=lambda: keys, directory=directory)
    await listener.start()
    try:
        yield Port(server, store, directory, door, service, f"127.0.0.1:{port}")
    finally:
        await listener.stop(0)
        store.close()


def raw_channel(port: Port, keys: TlsKeys) -> grpc.aio.Channel:
    """Return a channel that says whatever a test wants."""
    credentials = grpc.ssl_channel_credentials(
        certificate_pem(port.server.organisation.node_certs[0]), keys.key, keys.certificate
    )
    options = [("grpc.ssl_target_name_override", "server.example"), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(port.address, credentials, options=options)
