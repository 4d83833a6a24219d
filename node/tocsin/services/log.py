"""This module serves transparency logs to other organisations: our own, and what we have read of those of others.

Whoever is let in may read what is held: entries are hashes, of which nobody
can tell what they stand for who does not hold it. What is added must prove
itself. Comparing and extending is done for each peer in turn, in threads; what
is looked up counts as the time that a peer may cost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

from tocsin.errors import NotPermitted
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId, parse_org
from tocsin.services.doorkeeper import caller
from tocsin.services.interceptors import Context
from tocsin.store.model import PeerRole
from tocsin.v1 import log_service_pb2 as v1
from tocsin.v1.log_service_pb2_grpc import LogServiceServicer
from tocsin.watch.growth import read_growth
from tocsin.watch.library import Library

T = TypeVar("T")


class LogService(LogServiceServicer):
    """LogService, as the contract describes it."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._turns: defaultdict[OrgId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def Compare(self, request: v1.CompareRequest, context: Context) -> v1.CompareResponse:  # noqa: N802 -- gRPC names it
        """Hear what the caller holds of logs, and say what we hold of them."""
        peer = caller().org
        async with self._turns[peer]:
            return await asyncio.to_thread(self._side.compare, peer, request)

    async def GetEntries(self, request: v1.GetEntriesRequest, context: Context) -> v1.GetEntriesResponse:  # noqa: N802
        """Return how a log goes on."""
        origin = self._origin(request.origin)
        growth = await asyncio.to_thread(self._side.growth, caller().org, origin, request.start)
        return v1.GetEntriesResponse(growth=growth.to_message() if growth else None)

    async def AddEntries(self, request: v1.AddEntriesRequest, context: Context) -> v1.AddEntriesResponse:  # noqa: N802
        """Keep how a log goes on; of a reader only what we have lost of our own."""
        peer, origin = caller(), self._origin(request.origin)
        if peer.role != PeerRole.MEMBER and origin != self._side.organisation.org:
            raise NotPermitted("a reader may hand over what was lost, and nothing else")
        growth = read_growth(request.growth)
        async with self._turns[peer.org]:
            size = await asyncio.to_thread(self._side.extend, peer.org, origin, growth, given=True)
        return v1.AddEntriesResponse(size=size)

    async def GetCheckpoint(self, request: v1.GetCheckpointRequest, context: Context) -> v1.GetCheckpointResponse:  # noqa: N802
        """Return the newest checkpoint of a log."""
        origin = self._origin(request.origin)
        text = await self._look_up(lambda library: library.checkpoint(origin))
        return v1.GetCheckpointResponse(checkpoint=text)

    async def GetInclusion(self, request: v1.GetInclusionRequest, context: Context) -> v1.GetInclusionResponse:  # noqa: N802
        """Return the proof that an entry is in a log."""
        origin = self._origin(request.origin)
        proof = await self._look_up(lambda library: library.inclusion(origin, request.entry))
        return v1.GetInclusionResponse(proof=proof)

    async def GetConsistency(  # noqa: N802
        self, request: v1.GetConsistencyRequest, context: Context
    ) -> v1.GetConsistencyResponse:
        """Return the proof that a tree begins with a smaller one."""
        origin, old, new = self._origin(request.origin), request.old_size, request.new_size
        found = await self._look_up(lambda library: library.consistency(origin, old, new))
        return v1.GetConsistencyResponse(proof=found.hashes, old_root=found.old_root, new_root=found.new_root)

    async def GetTile(self, request: v1.GetTileRequest, context: Context) -> v1.GetTileResponse:  # noqa: N802
        """Return a tile of a log."""
        origin = self._origin(request.origin)
        data = await self._look_up(lambda library: library.tile(origin, request.path))
        return v1.GetTileResponse(data=data)

    async def AddCheckpoint(self, request: v1.AddCheckpointRequest, context: Context) -> v1.AddCheckpointResponse:  # noqa: N802
        """Cosign a checkpoint, as a witness."""
        peer = caller().org
        async with self._turns[peer]:
            lines = await asyncio.to_thread(self._side.witness, peer, request.request)
        return v1.AddCheckpointResponse(cosignatures=lines)

    async def _look_up(self, ask: Callable[[Library], T]) -> T:
        """Ask the library, for whoever is calling."""
        return await asyncio.to_thread(self._side.look_up, caller().org, ask)

    def _origin(self, name: str) -> OrgId:
        return parse_org(name) if name else self._side.organisation.org
