"""This module opens the two listeners of a node: the peer port and the desk.

They share no service and no port. Both speak TLS 1.3 and ask for the caller's
certificate, both answer gRPC health, neither has reflection or channelz. Every
method of each stands behind the gate of its listener.

    peer port     ExchangeService, LogService   listen                                   other organisations
    desk          DeskService                   unix socket, 0600 in 0700; desk_listen   our own people
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from tocsin.config import DESK_MESSAGE_BYTES, is_private_folder
from tocsin.desk.layout import PRIVATE_FILE, PRIVATE_FOLDER
from tocsin.errors import HomeDamaged, PortBusy
from tocsin.exchange.directory import Directory
from tocsin.exchange.wire import MAX_CALLS_AT_ONCE, SERVER_OPTIONS, Options
from tocsin.identity.certificate import TlsKeys
from tocsin.services.interceptors import NO_METER, Doorkeeper, Gate, Meter
from tocsin.services.roster import Roster
from tocsin.v1 import desk_service_pb2, exchange_service_pb2, log_service_pb2
from tocsin.v1.desk_service_pb2_grpc import DeskServiceServicer, add_DeskServiceServicer_to_server
from tocsin.v1.exchange_service_pb2_grpc import ExchangeServiceServicer, add_ExchangeServiceServicer_to_server
from tocsin.v1.log_service_pb2_grpc import LogServiceServicer, add_LogServiceServicer_to_server

EXCHANGE_SERVICE = exchange_service_pb2.DESCRIPTOR.services_by_name["ExchangeService"].full_name
LOG_SERVICE = log_service_pb2.DESCRIPTOR.services_by_name["LogService"].full_name
DESK_SERVICE = desk_service_pb2.DESCRIPTOR.services_by_name["DeskService"].full_name

# Two dozen commands and a script that does not wait; more is a mistake.
DESK_CALLS_AT_ONCE = 64
DESK_OPTIONS: Options = (
    ("grpc.max_receive_message_length", DESK_MESSAGE_BYTES),
    ("grpc.max_send_message_length", DESK_MESSAGE_BYTES),
)
# The peer port's limits, since the desk may have a port as well, with larger messages; of two values the first counts.
_DESK_SERVER_OPTIONS: Options = tuple((dict(SERVER_OPTIONS) | dict(DESK_OPTIONS)).items())


class Listener:
    """A gRPC server with its health; belongs to one event loop."""

    def __init__(self, server: grpc.aio.Server, services: Sequence[str]) -> None:
        self._server = server
        self._services = services
        self._health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)

    async def start(self) -> None:
        """Serve, and say so."""
        await self._server.start()
        for service in self._services:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Say that this listener is going away, before it does."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no new calls and end the running ones: after `grace` seconds, with or without their consent."""
        await self._server.stop(grace)


def open_peer_port(
    exchange: ExchangeServiceServicer,
    log: LogServiceServicer,
    door: Doorkeeper,
    *,
    listen: str,
    keys: Callable[[], TlsKeys],
    directory: Directory,
    meter: Meter = NO_METER,
) -> tuple[Listener, int]:
    """Listen for other organisations and return the listener, not started yet, and its port.

    `keys` returns what a handshake shows, each time that there is one. Raises PortBusy.
    """
    server = grpc.aio.server(
        interceptors=(Gate(door, at_home=False, meter=meter),),
        options=SERVER_OPTIONS,
        maximum_concurrent_rpcs=MAX_CALLS_AT_ONCE,
    )
    add_ExchangeServiceServicer_to_server(exchange, server)
    add_LogServiceServicer_to_server(log, server)
    port = _listen(server, listen, _server_credentials(keys, lambda: directory.roots), setting="listen")
    return Listener(server, (EXCHANGE_SERVICE, LOG_SERVICE)), port


def open_desk(
    servicer: DeskServiceServicer,
    door: Doorkeeper,
    *,
    path: Path,
    listen: str,
    keys: Callable[[], TlsKeys],
    roster: Roster,
    meter: Meter = NO_METER,
) -> tuple[Listener, int]:
    """Listen for the organisation's own people and return the listener, not started yet, and its port.

    It listens on the socket and, where `listen` is not empty, on that address
    as well; without one the port is 0. The caller holds the lock of the home,
    so a socket that is there is left over.

    Raises HomeDamaged where others could get at the socket's folder, PortBusy
    where one of the two cannot be made.
    """
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    if not is_private_folder(path.parent):
        raise HomeDamaged(
            "the folder of the desk socket is open to others",
            where=str(path.parent),
            hint=f"chmod 700 {path.parent}",
        )
    path.unlink(missing_ok=True)
    server = grpc.aio.server(
        interceptors=(Gate(door, at_home=True, meter=meter),),
        options=_DESK_SERVER_OPTIONS,
        maximum_concurrent_rpcs=DESK_CALLS_AT_ONCE,
    )
    add_DeskServiceServicer_to_server(servicer, server)
    port = 0
    if listen:
        port = _listen(server, listen, _server_credentials(keys, lambda: roster.roots), setting="desk_listen")
    try:
        server.add_secure_port(f"unix:{path}", _server_credentials(keys, lambda: roster.roots))
        path.chmod(PRIVATE_FILE)
    except (RuntimeError, OSError):
        hint = "see whether the disk is full, or the folder cannot hold sockets"
        raise PortBusy("cannot listen on the desk socket", where=str(path), hint=hint) from None
    return Listener(server, (DESK_SERVICE,)), port


def _listen(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials, *, setting: str) -> int:
    try:
        port = server.add_secure_port(listen, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        hint = f"see what uses it with: ss -ltnp, or change `{setting}` in node.toml"
        raise PortBusy(f"cannot listen on {listen}", hint=hint)
    return port


def _server_credentials(
    current_keys: Callable[[], TlsKeys], current_roots: Callable[[], bytes]
) -> grpc.ServerCredentials:
    """Return credentials for one address that ask at every handshake what to show, and whom to trust.

    So a new certificate is shown, and whoever is added may connect, at once.
    Whoever is removed keeps the connections it has; that is what the door's
    second step is for.
    """

    def configure(keys: TlsKeys, roots: bytes) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(keys.key, keys.certificate)], root_certificates=roots)

    last = (current_keys(), current_roots())

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal last
        if (current := (current_keys(), current_roots())) == last:
            return None  # the configuration in use stays; the stubs do not know this answer
        last = current
        return configure(*current)

    return grpc.dynamic_ssl_server_credentials(
        configure(*last),
        changed,  # type: ignore[arg-type]
        require_client_authentication=True,
    )
