"""This module is a network that fails, for nodes that run in one process on the loop of `tests.support.loop`.

What the nodes say goes through bytes, the real stubs on one end and the real
gate and service on the other; in place of sockets there is this:

    cut      what goes one way between two organisations waits, as TCP's retransmissions do, until it is mended:
             nobody is told, so that connections are half open
    reset    every connection between two organisations ends, and both sides are told
    fate     a question or an answer gets lost with the connection, or the question comes twice

Answers to different calls overtake one another, since each takes its own time.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import grpc
import grpc.aio

from tocsin.errors import PeerUnreachable
from tocsin.exchange.peer import PeerClient
from tocsin.exchange.wire import CONNECT_SECONDS
from tocsin.identity.root import Organisation
from tocsin.services.doorkeeper import TLS_VERSION, PeerDoor
from tocsin.services.interceptors import Gate
from tocsin.v1.exchange_service_pb2_grpc import (
    ExchangeServiceServicer,
    ExchangeServiceStub,
    add_ExchangeServiceServicer_to_server,
)
from tocsin.v1.log_service_pb2_grpc import LogServiceServicer, LogServiceStub, add_LogServiceServicer_to_server

IN_FLIGHT = 2
"""Messages of a stream that are on their way before its sender must wait."""

FORGOTTEN_SECONDS = 80.0
"""After which a server gives up a stream whose client is gone without a word: keepalive, and time for an answer."""

Outcome = bytes | grpc.aio.AioRpcError


class Fate(Enum):
    """What becomes of a call."""

    ARRIVES = auto()
    QUESTION_LOST = auto()
    ANSWER_LOST = auto()
    COMES_TWICE = auto()


@dataclass(slots=True)
class Weather:
    """How bad the network is: a share of the calls that fail, and the longest time one way."""

    failing: float = 0.0
    slowest: float = 0.05


def rpc_error(code: grpc.StatusCode, message: str = "", trailing: Collection[tuple[str, Any]] = ()) -> Exception:
    """Return what a stub raises."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), message)


class Network:
    """Who listens where, and what stands between them."""

    def __init__(self, rng: random.Random, *, told: Callable[[str], None]) -> None:
        """Take the source of all chance, and who hears of each call."""
        self.weather = Weather()
        self.told = told
        self._rng = rng
        self._ports: dict[tuple[str, str], Port] = {}  # by endpoint, and who dials it: empty for everybody else
        self._cut: dict[tuple[str, str], None] = {}
        self._mended = asyncio.Event()
        self._channels: dict[Channel, None] = {}

    def listen(self, endpoint: str, port: "Port", *, source: str = "") -> None:
        """Let calls to an endpoint reach a node: everybody's, or those of one organisation."""
        self._ports[endpoint, source] = port

    def gone(self, org: str) -> None:
        """Let nobody reach a node any more, and tell those who are connected."""
        self._ports = {key: port for key, port in self._ports.items() if port.org != org}
        self._break(lambda channel: org in (channel.source, channel.target))

    def cut(self, source: str, target: str) -> None:
        """Let nothing through one way."""
        self._cut[source, target] = None

    def mend(self, source: str = "", target: str = "") -> None:
        """Let everything through again, one way or everywhere."""
        self._cut = {} if not source else {pair: None for pair in self._cut if pair != (source, target)}
        self._mended.set()
        self._mended = asyncio.Event()

    def reset(self, one: str, other: str) -> None:
        """End every connection between two organisations."""
        self._break(lambda channel: {channel.source, channel.target} == {one, other})

    def is_cut(self, source: str, target: str) -> bool:
        """Say whether nothing gets through one way."""
        return (source, target) in self._cut

    def port(self, endpoint: str, source: str) -> "Port | None":
        """Return who listens at an endpoint, for somebody who dials it."""
        return self._ports.get((endpoint, source)) or self._ports.get((endpoint, ""))

    def fate(self) -> Fate:
        """Draw what becomes of a call."""
        if self._rng.random() >= self.weather.failing:
            return Fate.ARRIVES
        return self._rng.choice((Fate.QUESTION_LOST, Fate.ANSWER_LOST, Fate.COMES_TWICE))

    async def cross(self, source: str, target: str) -> None:
        """Take as long as something takes one way."""
        await asyncio.sleep(self._rng.uniform(0.001, self.weather.slowest))
        while self.is_cut(source, target):
            await self._mended.wait()

    @asynccontextmanager
    async def dial(self, source: str, certificate: bytes, organisation: Organisation) -> AsyncIterator["Client"]:
        """Connect to a peer as `open_client` does, from an organisation and with its certificate."""
        failure = PeerUnreachable(f"{organisation.org} has no endpoint")
        for endpoint in organisation.endpoints:
            channel = Channel(self, source, organisation.org, endpoint, certificate=certificate)
            self._channels[channel] = None
            try:
                client = Client(organisation, endpoint, channel)
                await client.connect()
                yield client
                return
            except PeerUnreachable as error:
                failure = error
            finally:
                channel.close()
                del self._channels[channel]
        raise failure

    def _break(self, which: Callable[["Channel"], bool]) -> None:
        for channel in [each for each in self._channels if which(each)]:
            channel.close()


class Channel:
    """A connection from one node to another; what is asked through it fails when it ends."""

    def __init__(self, network: Network, source: str, target: str, endpoint: str, *, certificate: bytes) -> None:
        self.network = network
        self.source = source
        self.target = target
        self.certificate = certificate
        self._endpoint = endpoint
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End the connection, and with it what is asked through it."""
        self._closed.set()

    async def until_closed(self, doing: Awaitable[Any]) -> Any:
        """Wait for something, but not beyond the end of the connection."""
        task, closed = asyncio.ensure_future(doing), asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait((task, closed), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise rpc_error(grpc.StatusCode.UNAVAILABLE, "the connection is gone")
            return task.result()
        finally:
            task.cancel()
            closed.cancel()

    async def reach(self) -> "Port":
        """Cross over to the node that listens there."""
        await self.network.cross(self.source, self.target)
        port = self.network.port(self._endpoint, self.source)
        if port is None:
            raise rpc_error(grpc.StatusCode.UNAVAILABLE, "nobody listens")
        return port

    def unary_unary(
        self, path: str, *, request_serializer: Any, response_deserializer: Any, **_: object
    ) -> Callable[..., Awaitable[Any]]:
        """Return a method as a stub wants it."""

        async def call(request: Any, *, timeout: float) -> Any:
            try:
                async with asyncio.timeout(timeout):
                    answer = await self.until_closed(self._ask(path, request_serializer(request)))
            except TimeoutError:
                self.network.told(f"{self.source} {path} {self.target}: too late")
                raise rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED) from None
            return response_deserializer(answer)

        return call

    def unary_stream(
        self, path: str, *, request_serializer: Any, response_deserializer: Any, **_: object
    ) -> Callable[..., "Stream"]:
        """Return a streaming method as a stub wants it."""
        return lambda request: Stream(self, path, request_serializer(request), read=response_deserializer)

    async def _ask(self, path: str, body: bytes) -> bytes:
        fate = self.network.fate()
        port = await self.reach()
        if fate is Fate.QUESTION_LOST:
            raise rpc_error(grpc.StatusCode.UNAVAILABLE, "lost")
        handling = port.handle(path, body, certificate=self.certificate)
        if fate is Fate.COMES_TWICE:
            port.handle(path, body, certificate=self.certificate)
        await asyncio.wait((handling,))
        if handling.cancelled():
            raise rpc_error(grpc.StatusCode.UNAVAILABLE, "the node went away")
        outcome = handling.result()
        await self.network.cross(self.target, self.source)
        self.network.told(f"{self.source} {path} {self.target}: {describe(outcome)} {fate.name}")
        if fate is Fate.ANSWER_LOST:
            raise rpc_error(grpc.StatusCode.UNAVAILABLE, "lost")
        if isinstance(outcome, grpc.aio.AioRpcError):
            raise outcome
        return outcome


def describe(outcome: Outcome | None) -> str:
    """Say in a word what an answer is."""
    if isinstance(outcome, grpc.aio.AioRpcError):
        return outcome.code().name
    return "end" if outcome is None else f"{len(outcome)} bytes"


class Stream:
    """A call whose answers come one after the other."""

    def __init__(self, channel: Channel, path: str, body: bytes, *, read: Callable[[bytes], Any]) -> None:
        self._channel = channel
        self._path = path
        self._body = body
        self._deserialize = read
        self._answers: asyncio.Queue[Outcome | None] = asyncio.Queue(IN_FLIGHT)
        self._handling: asyncio.Task[Any] | None = None

    async def read(self) -> Any:
        """Return the next answer, or EOF."""
        return await self._channel.until_closed(self._read())

    def cancel(self) -> None:
        """Give the call up; the server hears of it, or finds out."""
        if self._handling is not None:
            way = self._channel.source, self._channel.target
            pause = FORGOTTEN_SECONDS if self._channel.network.is_cut(*way) else 0.01
            asyncio.get_running_loop().call_later(pause, self._handling.cancel)

    async def _read(self) -> Any:
        channel = self._channel
        if self._handling is None:
            port = await channel.reach()
            self._handling = port.handle(self._path, self._body, certificate=channel.certificate, answers=self._answers)
        answer = await self._answers.get()
        await channel.network.cross(channel.target, channel.source)
        channel.network.told(f"{channel.source} {self._path} {channel.target}: {describe(answer)}")
        if isinstance(answer, grpc.aio.AioRpcError):
            raise answer
        return grpc.aio.EOF if answer is None else self._deserialize(answer)


class Client(PeerClient):
    """The real client, over a channel of this network."""

    def __init__(self, organisation: Organisation, endpoint: str, channel: Channel) -> None:
        self._org = organisation.org
        self._endpoint = endpoint
        self._connection = channel
        self._stub, self._logs = ExchangeServiceStub(channel), LogServiceStub(channel)

    async def connect(self) -> None:
        """Go there and back once."""
        channel = self._connection
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await channel.reach()
                await channel.network.cross(channel.target, channel.source)
        except TimeoutError:
            raise self._unreachable("does not answer") from None
        except grpc.aio.AioRpcError:
            raise self._unreachable("cannot be reached") from None

    async def close(self) -> None:
        """End the connection."""
        self._connection.close()


@dataclass(slots=True)
class Call:
    """What gRPC tells a method about the call that it handles."""

    certificate: bytes
    write_: Callable[[Any], Awaitable[None]]
    error: Exception | None = field(default=None)

    def auth_context(self) -> dict[str, list[bytes]]:
        """Return who calls, as TLS has found out."""
        return {"ssl_tls_version": [TLS_VERSION], "x509_pem_cert": [self.certificate]}

    def code(self) -> grpc.StatusCode | None:
        """Return how the call ended."""
        return self.error.code() if isinstance(self.error, grpc.aio.AioRpcError) else None

    async def write(self, answer: Any) -> None:
        """Send one answer of a stream."""
        await self.write_(answer)

    async def abort(self, code: grpc.StatusCode, message: str, trailing: Collection[tuple[str, Any]] = ()) -> None:
        """End the call with a status."""
        self.error = rpc_error(code, message, trailing)
        raise grpc.aio.AbortError


class Port:
    """A peer port: the real gate before the real service."""

    def __init__(
        self,
        org: str,
        exchange: ExchangeServiceServicer,
        log: LogServiceServicer,
        door: PeerDoor,
        *,
        start: Callable[[Any], "asyncio.Task[Any]"],
    ) -> None:
        """Take what serves, and how a task of this node is started."""
        self.org = org
        self._gate = Gate(door, at_home=False)
        self._start = start
        self._methods: dict[str, Any] = {}
        add_ExchangeServiceServicer_to_server(exchange, self)
        add_LogServiceServicer_to_server(log, self)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Do nothing: the methods come by name as well."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Take the methods to serve."""
        self._methods |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def handle(
        self, path: str, body: bytes, *, certificate: bytes, answers: "asyncio.Queue[Outcome | None] | None" = None
    ) -> "asyncio.Task[Any]":
        """Handle a call in a task of this node; with `answers`, those of a stream go there."""
        if answers is None:
            return self._start(self._answer(path, body, certificate))
        return self._start(self._stream(path, body, certificate, answers))

    async def _guarded(self, path: str) -> Any:
        async def method(details: object) -> Any:
            return self._methods[path]

        return await self._gate.intercept_service(method, _Details(path))

    async def _answer(self, path: str, body: bytes, certificate: bytes) -> Outcome:
        guarded, call = await self._guarded(path), Call(certificate, _nobody)
        try:
            answer: bytes = guarded.response_serializer(await guarded.stream_unary(_once(body), call))
        except grpc.aio.AbortError:
            assert isinstance(call.error, grpc.aio.AioRpcError)
            return call.error
        return answer

    async def _stream(
        self, path: str, body: bytes, certificate: bytes, answers: "asyncio.Queue[Outcome | None]"
    ) -> None:
        guarded = await self._guarded(path)

        async def write(answer: Any) -> None:
            await answers.put(guarded.response_serializer(answer))

        call = Call(certificate, write)
        try:
            await guarded.stream_stream(_once(body), call)
            await answers.put(None)
        except grpc.aio.AbortError:
            assert isinstance(call.error, grpc.aio.AioRpcError)
            await answers.put(call.error)


@dataclass(frozen=True, slots=True)
class _Details:
    method: str


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _nobody(answer: object) -> None:
    raise RuntimeError("a method without a stream writes no answers")
