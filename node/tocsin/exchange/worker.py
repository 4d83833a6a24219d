"""This module stays in touch with peers: one task for each, so that a dead or slow one costs the others nothing.

A worker follows its peer's feed; another, where the peer cannot call us, hands
over ours. What goes wrong is noted with the peer and tried again after a pause
(`tocsin.exchange.circuit`), or when the peer says; a peer that calls us is up,
so its workers try again at once. Whatever the backlog, a worker holds one page
of it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

from tocsin.errors import InternalError, TocsinError
from tocsin.exchange.bell import Bell, heard_within
from tocsin.exchange.circuit import Contact, Happened, Pace
from tocsin.exchange.client import PEER_REASON
from tocsin.exchange.directory import KnownPeer
from tocsin.exchange.gossip import compare
from tocsin.exchange.pull import follow_feed, push_feed, recover_from
from tocsin.exchange.side import Side
from tocsin.exchange.status import RETRY_AFTER
from tocsin.failure import trace
from tocsin.identity.names import OrgId
from tocsin.store.model import PeerRole

_log = logging.getLogger(__name__)

# How often our feed is looked at without a ring of the bell: a peer may have asked for an earlier page meanwhile.
PUSH_SECONDS = 60.0
# How often a peer to which we push is asked whether it still has what it had; it costs an entry that it knows.
ASK_SECONDS = 600.0
# How often logs are compared with a peer whose stream does not end: what one of us was shown, the other hears of.
COMPARE_SECONDS = 600.0
# A peer that calls us all the time has us call it back no more often than this.
LEAST_PAUSE_SECONDS = 0.2


class Worker:
    """One kind of contact with one peer, for as long as its task runs."""

    def __init__(self, peer: KnownPeer, job: "Job", *, side: Side, pace: Pace) -> None:
        self.peer = peer
        self._job = job
        self._side = side
        self._pace = pace
        self._contact = Contact()
        self._contacted = asyncio.Event()
        self.task = asyncio.create_task(self._stay(), name=f"{job.__name__} {peer.org}")

    def contacted(self) -> None:
        """Cut the pause short, because the peer has shown that it is up."""
        self._contacted.set()

    async def alive(self) -> None:
        """Take note that the peer does its part."""
        if self._contact.failures:
            _log.info("%s answers again", self.peer.org, extra={"peer": self.peer.org})
        self._becomes(Happened.ANSWERED)
        await asyncio.to_thread(self._side.note_contact, self.peer.org)

    async def _stay(self) -> None:
        self._show()
        while True:
            self._contacted.clear()
            told = 0.0
            happened = Happened.ENDED
            try:
                await self._job(self)
            except Exception as error:  # noqa: BLE001 -- outermost: a bug met with one peer must not end all contact
                happened = Happened.FAILED
                said = error if isinstance(error, TocsinError) else self._bug(error)
                told = min(float(said.metadata.get(RETRY_AFTER, 0)), self._pace.cap)
                await self._note(said)
            pause = self._pace.jitter(self._pace.longest(self._contact.after(happened).failures))
            self._becomes(happened, next_attempt_at=self._side.clock() + round(told + pause))
            await asyncio.sleep(told)  # a peer that asks for it is given it, whatever it calls us for meanwhile
            is_up = await heard_within(self._contacted, pause)
            if is_up:
                await asyncio.sleep(LEAST_PAUSE_SECONDS)
            self._becomes(Happened.PEER if is_up else Happened.TIME)

    def _becomes(self, happened: Happened, *, next_attempt_at: int = 0) -> None:
        self._contact = self._contact.after(happened, next_attempt_at=next_attempt_at)
        self._show()

    def _show(self) -> None:
        self._side.contacts.note(self.peer.org, self._job.__name__, self._contact)

    async def _note(self, error: TocsinError) -> None:
        if not self._contact.failures:
            theirs = error.metadata.get(PEER_REASON, "")  # one of the reasons that we know
            said = f"{error.reason} ({theirs})" if theirs else error.reason
            _log.warning("%s: %s", self.peer.org, said, extra={"peer": self.peer.org})
        try:
            await asyncio.to_thread(self._side.note_error, self.peer.org, error)
        except Exception as second:  # noqa: BLE001 -- a full disk takes no note, and must not end all contact either
            self._bug(second)

    def _bug(self, error: Exception) -> InternalError:
        _log.error("exchange with %s ended in %s", self.peer.org, trace(error))
        return InternalError("the exchange failed in this node; see its log")


class Workers:
    """The workers of one node; belongs to one event loop."""

    def __init__(self, side: Side, *, bell: Bell, pace: Pace) -> None:
        self._side = side
        self._bell = bell
        self._pace = pace
        self._workers: dict[OrgId, tuple[Worker, ...]] = {}
        self._stopped = False

    def refresh(self) -> None:
        """Have workers for each peer that is active and can be called, as it is now, and for no other."""
        if self._stopped:  # a peer may change while these end, and those that follow them look at it
            return
        peers = {peer.org: peer for peer in self._side.directory.peers() if peer.active and peer.organisation.endpoints}
        for org, workers in tuple(self._workers.items()):
            if workers[0].peer != peers.get(org):
                self._end(org)
        for org, peer in peers.items():
            if org not in self._workers and (jobs := self._jobs(peer)):
                self._workers[org] = tuple(Worker(peer, job, side=self._side, pace=self._pace) for job in jobs)

    def renew(self, org: OrgId) -> None:
        """Begin anew with a peer, because it has changed, or what we take from it."""
        self._end(org)
        self.refresh()

    def _end(self, org: OrgId) -> None:
        for worker in self._workers.pop(org, ()):
            worker.task.cancel()
        self._side.contacts.forget(org)

    def contacted(self, org: OrgId) -> None:
        """Take note that a peer has called us."""
        self._side.contacts.note_call(org, now=self._side.clock())
        for worker in self._workers.get(org, ()):
            worker.contacted()

    async def stop(self) -> None:
        """End every worker for good; what is stored stays stored."""
        self._stopped = True
        tasks = [worker.task for workers in self._workers.values() for worker in workers]
        self._workers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _jobs(self, peer: KnownPeer) -> tuple["Job", ...]:
        """Return what there is to do with a peer: a reader says nothing, and whoever can call us needs no push."""
        follow = (self._follow,) if peer.role == PeerRole.MEMBER else ()
        push = () if self._side.organisation.endpoints else (self._push,)
        return (*follow, *push)

    async def _follow(self, worker: Worker) -> None:
        org, time = worker.peer.org, asyncio.get_running_loop().time
        compared_at = time()  # a stream begins with that
        async with (
            self._side.dial(worker.peer.organisation) as client,
            aclosing(follow_feed(client, org, side=self._side)) as signs,
        ):
            async for received in signs:
                await worker.alive()
                if received is not None:
                    self._bell.ring(received.onward)
                await recover_from(client, org, side=self._side)
                if time() >= compared_at + COMPARE_SECONDS:
                    compared_at = time()
                    await compare(client, org, side=self._side)

    async def _push(self, worker: Worker) -> None:
        org, time, asked_at = worker.peer.org, asyncio.get_running_loop().time, -ASK_SECONDS
        with self._bell.listening(org) as queued:
            async with self._side.dial(worker.peer.organisation) as client:
                while True:
                    queued.clear()
                    asks = time() >= asked_at + ASK_SECONDS
                    asked_at = time() if asks else asked_at
                    if worker.peer.role != PeerRole.MEMBER:  # a member is asked where it is followed
                        await compare(client, org, side=self._side)
                        await recover_from(client, org, side=self._side)
                    await push_feed(client, org, side=self._side, with_last=asks)
                    await worker.alive()
                    await heard_within(queued, PUSH_SECONDS)


Job = Callable[[Worker], Coroutine[Any, Any, None]]
