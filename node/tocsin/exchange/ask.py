"""This module asks the origin of a record for fields that it withheld from us."""

import asyncio
from collections.abc import Sequence

from tocsin.exchange.side import Side, verify_exchanging
from tocsin.identity.names import OrgId
from tocsin.v1 import exchange_service_pb2 as v1


async def ask_origin(
    org: OrgId, *, digest: str, paths: Sequence[str], why: str, side: Side
) -> v1.RequestState.ValueType:
    """Ask a peer for fields of a record that came from it, and return where the request stands there.

    What is revealed comes with its feed.

    Raises NotFound, IdentityOutdated, NotPermitted, and what a PeerClient raises.
    """
    peer = await asyncio.to_thread(side.directory.get, org)
    verify_exchanging(peer, now=side.clock())
    async with side.dial(peer.organisation) as client:
        return await client.request_disclosure(digest, paths=paths, why=why)
