"""This module knows the home that a command works on, and reaches its desk.

With a node running, a call goes over the desk socket; with none, the command
opens the home itself, under its lock, and asks the same desk directly. The
command that calls does not see the difference:

    session.call(GetStatusRequest(), GetStatusResponse)

The name of a call follows from the name of its request, which the contract's
lint rules guarantee.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tocsin_cli import output

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from tocsin.desk.home import Home
    from tocsin.desk.room import Puller
    from tocsin.exchange.progress import Progress
    from tocsin.identity.names import OrgId

Answer = TypeVar("Answer", bound="Message")
Outcome = TypeVar("Outcome")

CALL_SECONDS = 120.0
"""Longest wait for one answer: a batch of 200 drafts on a slow disk takes seconds."""
STREAM_SECONDS = 24 * 3600.0
"""Longest sync: weeks of backlog from a slow peer."""
LOCK_PATIENCE_SECONDS = 3.0
"""How long to wait for another command to let go of the home; a node has its socket open sooner than that."""
_LOCK_PAUSE_SECONDS = 0.05


def home_folder() -> Path:
    """Return the home that is used when nobody names one."""
    return Path.home() / ".tocsin"


def now() -> int:
    """Return unix seconds."""
    return int(time.time())


class Connection(Protocol):
    """A way to reach the desk."""

    serving: bool

    def call(self, request: "Message", answer: type[Answer]) -> Answer:
        """Ask and wait for the answer."""
        ...

    def stream(self, request: "Message", answer: type[Answer]) -> Iterator[Answer]:
        """Ask and yield the answers as they come."""
        ...

    def close(self) -> None:
        """Let go of the socket or the home."""
        ...


class Session:
    """The home of one command, and its desk, reached when it is first needed."""

    def __init__(self, home: Path, *, connect: "Callable[[Path], Connection] | None" = None) -> None:
        self.home = home.expanduser().absolute()
        self._connect = connect or connect_desk
        self._connection: Connection | None = None

    @property
    def desk(self) -> Connection:
        """Return the connection, made on first use."""
        if self._connection is None:
            self._connection = self._connect(self.home)
        return self._connection

    def call(self, request: "Message", answer: type[Answer]) -> Answer:
        """Ask the desk and wait for the answer."""
        return self.desk.call(request, answer)

    def stream(self, request: "Message", answer: type[Answer]) -> Iterator[Answer]:
        """Ask the desk and yield its answers as they come."""
        return self.desk.stream(request, answer)

    def close(self) -> None:
        """Let go of the desk; the next call takes it up again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect_desk(home: Path) -> Connection:
    """Reach the desk of a home: over its socket where a node listens, else by opening the home.

    Raises HomeLocked where something holds the home and does not listen, and
    what opening a home raises.
    """

    def reach() -> Connection:
        path = desk_socket(home)
        return HomeDesk(home) if path is None else SocketDesk(_channel(path))

    return wait_for_lock(reach)


def wait_for_lock(action: Callable[[], Outcome]) -> Outcome:
    """Do what needs the lock of a home, and wait a little where another command holds it.

    Raises HomeLocked where something holds it for longer than our patience.
    """
    from tocsin.errors import HomeLocked

    give_up = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            return action()
        except HomeLocked:
            if time.monotonic() > give_up:
                raise
            time.sleep(_LOCK_PAUSE_SECONDS)


def desk_socket(home: Path) -> Path | None:
    """Return the desk socket of a home where somebody listens on it."""
    from tocsin.config import desk_socket_path

    path = desk_socket_path(home)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None
    return path


class SocketDesk:
    """The desk of a running node, over its unix socket."""

    serving = True

    def __init__(self, channel: "grpc.Channel") -> None:
        self._channel = channel

    def call(self, request: "Message", answer: type[Answer]) -> Answer:
        """Ask and wait for the answer; a status becomes the error it stands for."""
        import grpc

        method = self._channel.unary_unary(
            _method(request), request_serializer=_serialise, response_deserializer=answer.FromString
        )
        try:
            return method(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            raise _error_of(error) from None

    def stream(self, request: "Message", answer: type[Answer]) -> Iterator[Answer]:
        """Ask and yield the answers as they come."""
        import grpc

        method = self._channel.unary_stream(
            _method(request), request_serializer=_serialise, response_deserializer=answer.FromString
        )
        try:
            yield from method(request, timeout=STREAM_SECONDS)
        except grpc.RpcError as error:
            raise _error_of(error) from None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class HomeDesk:
    """The desk of a home that this process holds open, while no node runs."""

    serving = False

    def __init__(self, home: Path) -> None:
        from tocsin.desk.desk import Desk
        from tocsin.desk.home import open_home

        self._open = ExitStack()
        opened = self._open.enter_context(open_home(home, now=now()))
        self._desk = Desk(opened, clock=now, random=token_bytes, puller=_puller(opened))
        for partner, count in opened.newly_queued.items():
            output.talk(f"policies have changed: {count} {'record' if count == 1 else 'records'} queued for {partner}")

    def call(self, request: "Message", answer: type[Answer]) -> Answer:
        """Ask and wait for the answer."""
        response = self._method(request)(request)
        assert isinstance(response, answer)  # noqa: S101 - the desk keeps to the contract
        return response

    def stream(self, request: "Message", answer: type[Answer]) -> Iterator[Answer]:
        """Ask and yield the answers as they come."""
        with asyncio.Runner() as runner:
            answers: AsyncIterator[Answer] = self._method(request)(request)
            while (found := runner.run(anext(answers, None))) is not None:
                yield found

    def close(self) -> None:
        """Let go of the home."""
        self._open.close()

    def _method(self, request: "Message") -> Callable[["Message"], Any]:
        from tocsin.desk.desk import method_name

        method: Callable[[Message], Any] = getattr(self._desk, method_name(_name(request)))
        return method


def _puller(home: "Home") -> "Puller":
    """Return how to fetch from a peer; gRPC is only imported by a command that does."""

    def pull(peer: "OrgId") -> "AsyncIterator[Progress]":
        from tocsin.services.desk import puller_of, side_of

        return puller_of(side_of(home, clock=now))(peer)

    return pull


def _name(request: "Message") -> str:
    return request.DESCRIPTOR.name.removesuffix("Request")


def _method(request: "Message") -> str:
    return f"/tocsin.v1.DeskService/{_name(request)}"


def _serialise(request: "Message") -> bytes:
    return request.SerializeToString()


def _channel(path: Path) -> "grpc.Channel":
    import grpc

    from tocsin.config import DESK_MESSAGE_BYTES

    options = [
        ("grpc.max_receive_message_length", DESK_MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0),
        ("grpc.default_authority", "localhost"),
    ]
    return grpc.insecure_channel(f"unix:{path}", options=options)


def _error_of(error: "grpc.RpcError") -> Exception:
    from tocsin.services.errors import from_rpc_error

    return from_rpc_error(error)
