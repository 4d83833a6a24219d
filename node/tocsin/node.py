"""This module is a running node: it opens a home, puts the parts together, and takes them apart again in order.

    start   home (lock, keys, store, policies) -> peer port, desk socket -> workers
    stop    health says NOT_SERVING -> workers end -> running calls may finish -> home

SIGTERM and SIGINT drain; a second one ends the calls that are still running.
What a caller was told is stored is stored: stopping loses nothing, at
whichever point it happens.
"""

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tocsin.config import NodeConfig, desk_socket_path, load_config
from tocsin.desk.desk import Desk
from tocsin.desk.home import Home, open_home
from tocsin.exchange.bell import Bell
from tocsin.exchange.worker import Pace, Workers
from tocsin.identity.names import OrgId
from tocsin.services.calls import Calls
from tocsin.services.desk import desk_service, puller_of, side_of
from tocsin.services.doorkeeper import DeskDoor, PeerDoor, Quota
from tocsin.services.exchange import ExchangeService
from tocsin.services.listener import Listener, open_desk_socket, open_peer_port

_log = logging.getLogger(__name__)

# Threads mostly wait: for the disk, or for the one writer. 50 peers with a page each must not queue behind a slow one.
THREADS = 32
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run(home_path: Path) -> None:
    """Run a node on a home until it is told to stop.

    Raises HomeMissing, HomeDamaged, HomeLocked, KeyExposed, IdentityExpired,
    StoreCorrupt, MalformedConfig and PortBusy before anything is served.
    """
    with open_home(home_path, now=_now()) as home:
        config = load_config(home.layout.root)
        logging.basicConfig(level=config.log_level.upper(), format=_LOG_FORMAT)
        logging.Formatter.converter = time.gmtime
        _tell_policies(home)
        asyncio.run(_run_until_told(home, config))


def _tell_policies(home: Home) -> None:
    """Say what the policy files changed, and which of them nothing is shared by."""
    for problem in home.policies.problems:
        _log.warning("%s: nothing is shared by this file", problem)
    if home.policies.floor is None:
        _log.warning("policies/floor.toml is missing or has problems: nothing is sent to anybody")
    for partner, count in home.newly_queued.items():
        _log.info("policies have changed: %d records queued for %s", count, partner)


async def _run_until_told(home: Home, config: NodeConfig) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="tocsin"))
    told, hurry = asyncio.Event(), asyncio.Event()

    def tell() -> None:
        (hurry if told.is_set() else told).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    node = await Node.start(home, config)
    _log.info("%s serves on %s and %s", home.organisation.org, node.address or "no port", node.desk_socket)
    await told.wait()
    _log.info("draining")
    stopping = asyncio.create_task(node.stop(config.drain_seconds))
    await asyncio.wait({stopping, asyncio.create_task(hurry.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await node.stop(0)
    await stopping
    _log.info("stopped")


class Node:
    """The parts of a running node; belongs to one event loop."""

    def __init__(self, home: Home, config: NodeConfig, *, clock: Callable[[], int]) -> None:
        """Put the parts together; nothing runs yet."""
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._bell = Bell()
        self._side = side_of(home, clock=clock)
        self._workers = Workers(self._side, bell=self._bell, pace=Pace(config.retry_cap_seconds))
        quota = Quota(calls_per_minute=config.calls_per_minute, streams=config.streams_per_peer)
        self._door = PeerDoor(
            self._side.directory, Calls(), quota=quota, clock=clock, contacted=self._workers.contacted
        )
        self._listeners: list[Listener] = []
        self.address = ""
        self.desk_socket = desk_socket_path(home.layout.root)

    @classmethod
    async def start(cls, home: Home, config: NodeConfig, *, clock: Callable[[], int] | None = None) -> Self:
        """Open both listeners, then call peers. Raises PortBusy and HomeDamaged, with nothing left open."""
        clock = clock or _now
        node = cls(home, config, clock=clock)
        try:
            await node._listen()
            await node._open_desk(home, clock)
        except BaseException:
            await node.stop(0)
            raise
        if config.pull:
            node._workers.refresh()
        return node

    async def stop(self, grace: float) -> None:
        """Say that the node goes away, let running calls finish for `grace` seconds, and stop."""
        for listener in self._listeners:
            await listener.drain()
        await self._workers.stop()
        self._door.end_streams()
        await asyncio.gather(*(listener.stop(grace) for listener in self._listeners))
        self.desk_socket.unlink(missing_ok=True)

    def queued(self, partners: Collection[OrgId]) -> None:
        """Wake the streams of partners that something was queued for; called by the desk, from any thread."""
        self._loop.call_soon_threadsafe(self._bell.ring, tuple(partners))

    def peer_changed(self, org: OrgId) -> None:
        """Let a change of a peer count from now on: for new calls, for running ones, and for our own."""
        self._side.directory.refresh()
        self._loop.call_soon_threadsafe(self._follow_change, org)

    def _follow_change(self, org: OrgId) -> None:
        self._door.end_unwelcome(org)
        if self._config.pull:
            self._workers.refresh()

    async def _listen(self) -> None:
        if not self._config.listen:
            return
        service = ExchangeService(self._side, bell=self._bell, heartbeat_seconds=self._config.heartbeat_seconds)
        listener, port = open_peer_port(
            service, self._door, listen=self._config.listen, keys=self._side.keys, directory=self._side.directory
        )
        self._listeners.append(listener)
        self.address = f"{self._config.listen.rpartition(':')[0]}:{port}"
        await listener.start()

    async def _open_desk(self, home: Home, clock: Callable[[], int]) -> None:
        desk = Desk(
            home,
            clock=clock,
            random=secrets.token_bytes,
            puller=puller_of(self._side),
            events=self,
            listen=self.address,
            started_at=clock(),
        )
        listener = open_desk_socket(desk_service(desk), DeskDoor(), path=self.desk_socket)
        self._listeners.append(listener)
        await listener.start()


def _now() -> int:
    return int(time.time())
