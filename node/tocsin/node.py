"""This module is a running node: it opens a home, puts the parts together, and takes them apart again in order.

    start     peer port, desk, figures -> what is due -> workers
    reload    what speaks for the home is put together anew; listeners and their connections stay
    stop      health says NOT_SERVING -> workers end -> running calls may finish

What a caller was told is stored is stored: stopping loses nothing, at
whichever point it happens. `tocsin.process` runs a node until it is told to stop.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Self

from tocsin.caretaker import Caretaker
from tocsin.config import NodeConfig, desk_socket_path
from tocsin.desk.desk import Desk
from tocsin.desk.home import Home
from tocsin.desk.papers import load_organisation, load_papers
from tocsin.desk.room import open_office
from tocsin.desk.succession import pending_keys
from tocsin.errors import TocsinError
from tocsin.exchange.bell import Bell
from tocsin.exchange.circuit import Contacts, ContactState, Pace
from tocsin.exchange.directory import Directory
from tocsin.exchange.pull import pull_feed
from tocsin.exchange.quota import Budget
from tocsin.exchange.reread import Rereading
from tocsin.exchange.timekeeper import Timekeeper
from tocsin.exchange.worker import Workers
from tocsin.identity.names import OrgId
from tocsin.reload import Renewal, read_renewal, read_takeover
from tocsin.services.calls import Calls
from tocsin.services.current import exchange_service, log_service
from tocsin.services.desk import desk_service, prober_of, puller_of, requester_of, side_of
from tocsin.services.doorkeeper import DeskDoor, PeerDoor, Quota, colleagues_call
from tocsin.services.exchange import ExchangeService
from tocsin.services.listener import Listener, open_desk, open_peer_port
from tocsin.services.log import LogService
from tocsin.services.metrics import Metrics
from tocsin.services.roster import Roster

_log = logging.getLogger(__name__)


def unix_time() -> int:
    """Return the time of this machine, in unix seconds."""
    return int(time.time())


class Node:
    """The parts of a running node; belongs to one event loop."""

    def __init__(self, home: Home, config: NodeConfig, *, clock: Callable[[], int]) -> None:
        """Put the parts together; nothing runs yet."""
        self._home = home
        self.config = config
        self._clock = clock
        self._started_at = clock()
        self._loop = asyncio.get_running_loop()
        self._bell = Bell()
        self._directory = Directory(home.store, own_certificate=home.tls.certificate)
        self._roster = Roster(home.store, own_certificate=home.tls.certificate)
        self._metrics = Metrics(home, clock=clock, in_touch=self._in_touch)
        self._desk_door = DeskDoor(self._roster, Calls(), strict=config.strict)
        self._door = PeerDoor(
            self._directory,
            Calls(),
            quota=_quota(config),
            clock=clock,
            contacted=lambda org: self._workers.contacted(org),
        )
        self._contacts, self._rereading = Contacts(), Rereading()
        self.caretaker = Caretaker(home.store, clock=clock)
        self._listeners: list[Listener] = []
        self.address = self.desk_address = self.metrics_address = ""
        self.desk_socket = desk_socket_path(home.layout.root)
        self._assemble()

    def _assemble(self) -> None:
        """Put together what speaks for the home to others, as its papers and the settings say now."""
        home, config = self._home, self.config
        office = open_office(home, strict=config.strict, random=secrets.token_bytes)
        budget = Budget(config.verify_seconds_per_minute)
        self._side = replace(
            side_of(home, office=office, directory=self._directory, budget=budget, clock=self._clock),
            contacts=self._contacts,
            rereading=self._rereading,
            changed=self.peer_changed,
        )
        self._timekeeper = Timekeeper(office, clock=self._clock, queued=self._bell.ring)
        self._workers = Workers(self._side, bell=self._bell, pace=Pace(config.retry_cap_seconds))
        self._exchange = ExchangeService(self._side, bell=self._bell, heartbeat_seconds=config.heartbeat_seconds)
        self._logs = LogService(self._side)

    def _make_desk(self) -> Desk:
        return Desk(
            self._home,
            clock=self._clock,
            random=secrets.token_bytes,
            strict=self.config.strict,
            puller=puller_of(self._side),
            requester=requester_of(self._side),
            probe=prober_of(self._side),
            contacts=self._contacts,
            events=self,
            listen=self.address,
            started_at=self._started_at,
        )

    @classmethod
    async def start(cls, home: Home, config: NodeConfig, *, clock: Callable[[], int] = unix_time) -> Self:
        """Open the listeners, then call peers. Raises PortBusy and HomeDamaged, with nothing left open."""
        node = cls(home, config, clock=clock)
        try:
            await node._listen()
            await node._open_desk()
            if config.metrics_listen:
                port = node._metrics.serve(config.metrics_listen)
                node.metrics_address = _bound(config.metrics_listen, port)
        except BaseException:
            await node.stop(0)
            raise
        await node._begin()
        node.caretaker.start()
        return node

    async def reload(self, *, keys_only: bool = False) -> Renewal:
        """Read settings and papers anew, or the papers alone, and go on under them.

        Calls that run finish with what they began with; whoever calls next, and
        every handshake from now on, meets the new ones. Raises a TocsinError
        where anything is wrong, and then nothing has changed.
        """
        read = read_takeover if keys_only else read_renewal
        renewal = await asyncio.to_thread(read, self._home, self.config, now=self._clock())
        self._directory.refresh()  # what may fail comes before anything is taken over
        self._roster.refresh()
        await asyncio.to_thread(self._home.renew, renewal.papers, now=self._clock())
        await self._workers.stop()
        await self._timekeeper.stop()
        self.config = renewal.config
        self._door.quota = _quota(renewal.config)
        self._assemble()
        self._desk = self._make_desk()
        self._door.end_streams()  # they were begun under the old papers; their readers come back at once
        await self._begin()
        return renewal

    def is_key_due(self) -> bool:
        """Say whether a new key waits whose time has come, or took over in the home and not here.

        Raises HomeDamaged, KeyExposed and IdentityExpired.
        """
        waiting = pending_keys(self._home.layout, load_organisation(self._home.layout))
        if any(starts <= self._clock() for starts in waiting.values()):
            return True
        written, used = load_papers(self._home.layout, now=self._clock()), self._home.papers
        log = self._side.office.tlog
        signers = (used.record_signer, self._side.delivery_signer, log.signer, log.witness)
        is_same = [each.key_id for each in written.signers] == [each.key_id for each in signers]
        return not is_same or written.tls != used.tls

    async def _begin(self) -> None:
        await self._timekeeper.start()
        if self.config.pull:
            self._workers.refresh()

    async def fetch(self) -> tuple[TocsinError, ...]:
        """Fetch what every peer has for us, side by side, and return what went wrong."""
        peers = [peer.org for peer in self._directory.peers() if peer.active and peer.organisation.endpoints]
        ends = await asyncio.gather(*(self._fetch(org) for org in peers))
        return tuple(failure for failure in ends if failure is not None)

    async def _fetch(self, org: OrgId) -> TocsinError | None:
        try:
            async for _ in pull_feed(org, side=self._side):
                pass
        except TocsinError as error:
            _log.warning("%s: %s", org, error, extra={"peer": org})
            return error
        return None

    async def stop(self, grace: float) -> None:
        """Say that the node goes away, let running calls finish for `grace` seconds, and stop."""
        for listener in self._listeners:
            await listener.drain()
        await self.caretaker.stop()
        await self._workers.stop()
        await self._timekeeper.stop()
        self._door.end_streams()
        await asyncio.gather(*(listener.stop(grace) for listener in self._listeners))
        await asyncio.to_thread(self._metrics.close)
        self.desk_socket.unlink(missing_ok=True)

    def queued(self, partners: Collection[OrgId]) -> None:
        """Wake the streams of partners that something was queued for; called by the desk, from any thread."""
        self._loop.call_soon_threadsafe(self._bell.ring, tuple(partners))

    def peer_changed(self, org: OrgId) -> None:
        """Let a change of a peer count from now on: for new calls, for running ones, and for our own."""
        self._directory.refresh()
        self._loop.call_soon_threadsafe(self._follow_change, org)

    def person_changed(self, name: str) -> None:
        """Let a change of a person count from now on: for new connections, for new calls, and for running ones."""
        self._roster.refresh()
        self._loop.call_soon_threadsafe(partial(self._desk_door.end_unwelcome, name, but=colleagues_call()))

    def due_changed(self) -> None:
        """Let the timekeeper look again when the next thing is due; called by the desk, from any thread."""
        self._loop.call_soon_threadsafe(lambda: self._timekeeper.wake())

    def _follow_change(self, org: OrgId) -> None:
        self._door.end_unwelcome(org)
        if self.config.pull:
            self._workers.renew(org)

    def _in_touch(self, org: str) -> bool:
        contact = self._contacts.of(OrgId(org))
        return contact is not None and contact.state is ContactState.IN_TOUCH

    async def _listen(self) -> None:
        if not self.config.listen:
            return
        listener, port = open_peer_port(
            exchange_service(lambda: self._exchange),
            log_service(lambda: self._logs),
            self._door,
            listen=self.config.listen,
            keys=lambda: self._home.tls,
            directory=self._directory,
            meter=self._metrics,
        )
        self._listeners.append(listener)
        self.address = _bound(self.config.listen, port)
        await listener.start()

    async def _open_desk(self) -> None:
        self._desk = self._make_desk()
        listener, port = open_desk(
            desk_service(lambda: self._desk),
            self._desk_door,
            path=self.desk_socket,
            listen=self.config.desk_listen,
            keys=lambda: self._home.tls,
            roster=self._roster,
            meter=self._metrics,
        )
        self._listeners.append(listener)
        self.desk_address = _bound(self.config.desk_listen, port)
        await listener.start()


def _quota(config: NodeConfig) -> Quota:
    return Quota(calls_per_minute=config.calls_per_minute, streams=config.streams_per_peer)


def _bound(listen: str, port: int) -> str:
    """Return the address that a listener has got: port 0 asks for any free one."""
    return f"{listen.rpartition(':')[0]}:{port}" if listen else ""
