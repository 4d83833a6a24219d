"""This module fetches what peers have for us, all of them side by side.

One slow or dead peer holds up nobody else: each has a task of its own, and
what they tell is handed on in the order it comes. A peer that fails ends with
a message that says why; the others go on.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

from tocsin.desk.lookup import find_peer
from tocsin.desk.room import Puller, Room
from tocsin.errors import NotPermitted, PeerPending, PeerSuspended, TocsinError
from tocsin.exchange.directory import known_organisation
from tocsin.exchange.progress import Progress
from tocsin.identity.names import OrgId
from tocsin.store.model import PeerState
from tocsin.v1 import desk_service_pb2 as v1

Line = v1.SyncPeersResponse | asyncio.Task[None]
"""What a task tells: its progress, and at its end itself."""


class Syncing:
    """Pulls on demand."""

    def __init__(self, room: Room, puller: Puller) -> None:
        self._room = room
        self._pull = puller

    async def sync_peers(self, request: v1.SyncPeersRequest) -> AsyncIterator[v1.SyncPeersResponse]:
        """Fetch from the peers named, or from every active peer that has an endpoint.

        Raises NotFound, PeerPending, PeerSuspended or NotPermitted for a peer
        named that cannot be asked, before anything is fetched.
        """
        peers = await asyncio.to_thread(self._choose, tuple(request.peers))
        lines: asyncio.Queue[Line] = asyncio.Queue()
        tasks = [asyncio.create_task(self._follow(peer, lines)) for peer in peers]
        for task in tasks:
            task.add_done_callback(lines.put_nowait)
        try:
            running = len(tasks)
            while running:
                line = await lines.get()
                if isinstance(line, asyncio.Task):
                    running -= 1
                    line.result()  # a bug in a puller is raised here, not lost with its task
                else:
                    yield line
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _choose(self, named: Iterable[str]) -> tuple[OrgId, ...]:
        """Return whom to ask: the peers named, each once, or every active one with an endpoint."""
        store = self._room.home.store
        if not named:
            active = (row for row in store.peers.list() if row.state is PeerState.ACTIVE)
            return tuple(row.org for row in active if known_organisation(row.document).endpoints)
        rows = [find_peer(store, org) for org in dict.fromkeys(named)]
        for row in rows:
            if row.state is PeerState.PENDING:
                hint = "confirm its fingerprint: tocsin peer add FILE --fingerprint F"
                raise PeerPending(f"{row.org} is pending: nothing is fetched from it", hint=hint)
            if row.state is PeerState.SUSPENDED:
                hint = f"tocsin peer resume {row.org}"
                raise PeerSuspended(f"{row.org} is suspended: nothing is fetched from it", hint=hint)
            if row.state is PeerState.KNOWN:
                hint = f"to exchange with it: tocsin peer add FILE --fingerprint F, for {row.org}"
                raise NotPermitted(f"{row.org} is only known: nothing is exchanged with it", hint=hint)
        return tuple(row.org for row in rows)

    async def _follow(self, peer: OrgId, lines: asyncio.Queue[Line]) -> None:
        """Tell how one peer goes, to its end."""
        last = Progress()
        ending = v1.SyncPeersResponse(peer=peer, done=True)
        try:
            async for last in self._pull(peer):
                lines.put_nowait(_reached(v1.SyncPeersResponse(peer=peer), last))
        except TocsinError as error:
            ending.error_reason = error.reason
            ending.error_message = str(error)
            ending.error_hint = error.hint
        lines.put_nowait(_reached(ending, last))


def _reached(line: v1.SyncPeersResponse, progress: Progress) -> v1.SyncPeersResponse:
    """Write into a line how far a peer has come."""
    line.records = progress.records
    line.disclosures = progress.disclosures
    line.refused = progress.refused
    line.unchanged = progress.unchanged
    return line
