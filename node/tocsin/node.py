"""This module is a running node: it opens a home, puts the parts together, and takes them apart again in order.

    start   home (lock, keys, store) -> peer port, desk -> what is due -> workers
    stop    health says NOT_SERVING -> workers end -> running calls may finish -> home

`once` fetches from every peer in place of staying in touch, and stops.

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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

from tocsin.config import NodeConfig, desk_socket_path, load_config
from tocsin.desk.desk import Desk
from tocsin.desk.home import Home, open_home
from tocsin.desk.room import open_office
from tocsin.errors import TocsinError
from tocsin.exchange.bell import Bell
from tocsin.exchange.pull import pull_feed
from tocsin.exchange.timekeeper import Timekeeper
from tocsin.exchange.worker import Pace, Workers
from tocsin.identity.names import OrgId
from tocsin.services.calls import Calls
from tocsin.services.desk import desk_service, puller_of, requester_of, side_of
from tocsin.services.doorkeeper import DeskDoor, PeerDoor, Quota, colleagues_call
from tocsin.services.exchange import ExchangeService
from tocsin.services.listener import Listener, open_desk, open_peer_port
from tocsin.services.roster import Roster

_log = logging.getLogger(__name__)

# Threads mostly wait: for the disk, or for the one writer. 50 peers with a page each must not queue behind a slow one.
THREADS = 32
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run(home_path: Path, *, once: bool = False) -> None:
    """Run a node on a home until it is told to stop; with `once`, until it has fetched from every peer.

    Raises HomeMissing, HomeDamaged, HomeLocked, KeyExposed, IdentityExpired,
    StoreCorrupt, MalformedConfig and PortBusy before anything is served. With
    `once`, raises at its end what went wrong with a peer.
    """
    with open_home(home_path, now=_now()) as home:
        config = load_config(home.layout.root)
        logging.basicConfig(level=config.log_level.upper(), format=_LOG_FORMAT)
        logging.Formatter.converter = time.gmtime
        for problem in home.policies.problems:
            _log.warning("%s", problem)
        asyncio.run(_run_once(home, config) if once else _run_until_told(home, config))


async def _run_once(home: Home, config: NodeConfig) -> None:
    _prepare_threads()
    node = await Node.start(home, replace(config, pull=False))
    try:
        failures = await node.fetch()
    finally:
        await node.stop(config.drain_seconds)
    if failures:
        raise failures[0]


async def _run_until_told(home: Home, config: NodeConfig) -> None:
    _prepare_threads()
    loop = asyncio.get_running_loop()
    told, hurry = asyncio.Event(), asyncio.Event()

    def tell() -> None:
        (hurry if told.is_set() else told).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    node = await Node.start(home, config)
    desks = " and ".join(filter(None, (str(node.desk_socket), node.desk_address)))
    _log.info("%s serves on %s, its people on %s", home.organisation.org, node.address or "no port", desks)
    await told.wait()
    _log.info("draining")
    stopping = asyncio.create_task(node.stop(config.drain_seconds))
    await asyncio.wait({stopping, asyncio.create_task(hurry.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await node.stop(0)
    await stopping
    _log.info("stopped")


def _prepare_threads() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="tocsin"))


class Node:
    """The parts of a running node; belongs to one event loop."""

    def __init__(self, home: Home, config: NodeConfig, *, clock: Callable[[], int]) -> None:
        """Put the parts together; nothing runs yet."""
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._bell = Bell()
        office = open_office(home, strict=config.strict, random=secrets.token_bytes)
        self._side = side_of(home, office=office, clock=clock)
        self._timekeeper = Timekeeper(office, clock=clock, queued=self._bell.ring)
        self._roster = Roster(home.store, own_certificate=home.tls.certificate)
        self._desk_door = DeskDoor(self._roster, Calls(), strict=config.strict)
        self._workers = Workers(self._side, bell=self._bell, pace=Pace(config.retry_cap_seconds))
        quota = Quota(calls_per_minute=config.calls_per_minute, streams=config.streams_per_peer)
        self._door = PeerDoor(
            self._side.directory, Calls(), quota=quota, clock=clock, contacted=self._workers.contacted
        )
        self._listeners: list[Listener] = []
        self.address = self.desk_address = ""
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
        await node._timekeeper.start()
        if config.pull:
            node._workers.refresh()
        return node

    async def fetch(self) -> tuple[TocsinError, ...]:
        """Fetch what every peer has for us, side by side, and return what went wrong."""
        peers = [peer.org for peer in self._side.directory.peers() if peer.active and peer.organisation.endpoints]
        ends = await asyncio.gather(*(self._fetch(org) for org in peers))
        return tuple(failure for failure in ends if failure is not None)

    async def _fetch(self, org: OrgId) -> TocsinError | None:
        try:
            async for _ in pull_feed(org, side=self._side):
                pass
        except TocsinError as error:
            _log.warning("%s: %s", org, error)
            return error
        return None

    async def stop(self, grace: float) -> None:
        """Say that the node goes away, let running calls finish for `grace` seconds, and stop."""
        for listener in self._listeners:
            await listener.drain()
        await self._workers.stop()
        await self._timekeeper.stop()
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

    def person_changed(self, name: str) -> None:
        """Let a change of a person count from now on: for new connections, for new calls, and for running ones."""
        self._roster.refresh()
        self._loop.call_soon_threadsafe(partial(self._desk_door.end_unwelcome, name, but=colleagues_call()))

    def due_changed(self) -> None:
        """Let the timekeeper look again when the next thing is due; called by the desk, from any thread."""
        self._loop.call_soon_threadsafe(self._timekeeper.wake)

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
        self.address = _bound(self._config.listen, port)
        await listener.start()

    async def _open_desk(self, home: Home, clock: Callable[[], int]) -> None:
        desk = Desk(
            home,
            clock=clock,
            random=secrets.token_bytes,
            strict=self._config.strict,
            puller=puller_of(self._side),
            requester=requester_of(self._side),
            events=self,
            listen=self.address,
            started_at=clock(),
        )
        listener, port = open_desk(
            desk_service(desk),
            self._desk_door,
            path=self.desk_socket,
            listen=self._config.desk_listen,
            keys=self._side.keys,
            roster=self._roster,
        )
        self._listeners.append(listener)
        self.desk_address = _bound(self._config.desk_listen, port)
        await listener.start()


def _bound(listen: str, port: int) -> str:
    """Return the address that a listener has got: port 0 asks for any free one."""
    return f"{listen.rpartition(':')[0]}:{port}" if listen else ""


def _now() -> int:
    return int(time.time())
