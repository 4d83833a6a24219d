"""This module compares with a peer what both hold of the same logs, and reads how they go on: at every contact.

    we ask with     what we hold of the peer's log and of others, each with its cosignatures, and evidence
    it answers      what it holds of those, of ours, and its own
    then            we fetch the entries that we lack, and hand over those that it lacks: where nobody can call us,
                    or where it has lost its own, and the evidence that has come up by it

With the comparison goes the identity document of whoever has a newer one than
the other knows of, before anything else is looked at.

So whoever was shown another history than everybody else finds out as soon as two
of those who were shown something meet, whichever of the two has called.
"""

import asyncio
import logging

from tocsin.errors import (
    Malformed,
    NotFound,
    NotPermitted,
    OriginStopped,
    PeerMisbehaved,
    PeerRefused,
    RecordRefused,
)
from tocsin.exchange.client import PEER_REASON, Client
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId
from tocsin.tlog.merkle import MAX_SIZE
from tocsin.watch.comparison import Heard
from tocsin.watch.growth import read_growth

_log = logging.getLogger(__name__)

_NOT_WANTED = frozenset({"NOT_PERMITTED", "NOT_FOUND", "ORIGIN_STOPPED"})
"""By these reasons a peer says that it wants nothing of a log from us."""


async def compare(client: Client, org: OrgId, *, side: Side) -> None:
    """Compare logs with a peer, and read on where it has more of one.

    Raises OriginStopped where nothing is taken from the peer itself, and what
    a Client raises. What is wrong with the log of somebody else is dealt with.
    """
    request = await asyncio.to_thread(side.comparison().ask, org)
    answer = await client.compare(request)
    if 0 < answer.known_version < side.organisation.version:
        request.identity = side.organisation.document
        await client.compare(request)  # whole: who leaves out a log says that nothing was seen of it
    heard = await asyncio.to_thread(side.hear, org, answer)
    for origin, size in heard.wanted.items():
        await read_on(client, org, origin, side=side, size=size)
    await asyncio.to_thread(side.comparison().said, org, heard)
    await _tell(client, org, known={*request.evidence, *answer.evidence}, side=side)
    await _hand_over(client, org, heard, side=side)
    await asyncio.to_thread(side.comparison().verify_taking, org)


async def read_on(client: Client, org: OrgId, origin: OrgId, *, side: Side, size: int = MAX_SIZE) -> None:
    """Fetch the entries of a log up to a size, or as far as the peer has them.

    Raises as `compare` does where it is the peer's own log, or ours. What is
    wrong with that of a third keeps nobody from speaking with the peer.
    """
    try:
        await _read_on(client, org, origin, size, side=side)
    except NotPermitted:  # somebody else has given back what our log waited for
        if origin != side.organisation.org:
            raise
    except (Malformed, RecordRefused, NotFound, OriginStopped, PeerMisbehaved, PeerRefused) as error:
        if origin in (org, side.organisation.org):
            raise
        _log.info("what %s gives of the log of %s is passed over: %s", org, origin, error.reason)


async def _read_on(client: Client, org: OrgId, origin: OrgId, size: int, *, side: Side) -> None:
    start, stalled = await asyncio.to_thread(side.comparison().size, origin), 0
    while start < size:
        answer = await client.get_entries(origin, start)
        if not answer.HasField("growth"):
            return
        reached = await asyncio.to_thread(side.extend, org, origin, read_growth(answer.growth))
        stalled += reached <= start  # it was read on the way to another tree, or somebody else was quicker
        if stalled > 1:
            raise PeerMisbehaved(f"{org} gives the same entries of {origin} again and again")
        start = reached


async def _hand_over(client: Client, org: OrgId, heard: Heard, *, side: Side) -> None:
    """Hand over what a peer lacks: of its own log where it has lost it, and everything where nobody can call us."""
    for origin in await asyncio.to_thread(side.comparison().origins):
        has_lost_it = origin == org and org not in heard.held
        if not has_lost_it and (side.organisation.endpoints or origin == org):
            continue
        start, stalled = heard.held.get(origin, 0), 0
        while growth := await asyncio.to_thread(side.comparison().growth, origin, start):
            try:
                reached = await client.add_entries(origin, growth.to_message())
            except PeerRefused as error:
                is_ours = origin == side.organisation.org
                if is_ours and error.metadata[PEER_REASON] not in _NOT_WANTED:
                    raise
                break  # it may know newer keys of a third than we do, and is spoken with all the same
            stalled += reached < growth.start + len(growth.entries)
            if reached <= start or stalled > 1:  # it stands somewhere else, once; else it would have us go on for ever
                break
            start = reached


async def _tell(client: Client, org: OrgId, *, known: set[bytes], side: Side) -> None:
    """Hand over evidence that has come up in this very contact: where a peer holds less, only we could find it."""
    request = await asyncio.to_thread(side.comparison().ask, org)
    if not known >= {*request.evidence}:
        await client.compare(request)
