"""This module fetches what peers have for us, and hands over what we have for those who cannot fetch it.

A page is acknowledged only after it is stored, with the cursor, in one
transaction: whatever breaks in between, the same page comes again and changes
nothing. A cursor that the peer does not know any more (its home was restored
from a backup, say) is given up once, and its feed read from the beginning.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from tocsin.errors import PeerMisbehaved, PeerRefused, TocsinError
from tocsin.exchange.cursor import parse_cursor
from tocsin.exchange.peer import PEER_REASON, PeerClient, open_client
from tocsin.exchange.progress import Progress
from tocsin.exchange.receive import Received
from tocsin.exchange.side import Side, verify_exchanging
from tocsin.identity.names import OrgId
from tocsin.store.model import PeerRole
from tocsin.v1.exchange_service_pb2 import Page


async def pull_feed(org: OrgId, *, side: Side) -> AsyncGenerator[Progress, None]:
    """Fetch everything that a peer has for us now, page by page.

    Nothing is fetched from a reader, which has nothing to say. Where we have
    no endpoint that the peer could call, our feed for it is handed over too.

    Raises NotFound, IdentityOutdated, NotPermitted, and what a PeerClient
    raises. Each is noted with the peer.
    """
    peer = await asyncio.to_thread(side.directory.get, org)
    try:
        verify_exchanging(peer, now=side.clock())
        async with open_client(peer.organisation, keys=side.keys) as client:
            if peer.role == PeerRole.MEMBER:
                async with aclosing(_pull(client, org, side=side)) as pages:
                    async for progress in pages:
                        yield progress
            if not side.organisation.endpoints:
                await push_feed(client, org, side=side)
    except TocsinError as error:
        await asyncio.to_thread(side.note_error, org, error)
        raise
    await asyncio.to_thread(side.note_contact, org)


async def follow_feed(client: PeerClient, org: OrgId, *, side: Side) -> AsyncGenerator[None, None]:
    """Stay on a peer's feed; yields once when the peer answers, and after each page. Ends when the peer ends it."""
    cursor = await asyncio.to_thread(side.stored, org)
    try:
        async with aclosing(client.subscribe(cursor)) as pages:
            async for page in pages:
                if page is not None:
                    received = await _take(page, cursor, org, side=side)
                    cursor = received.cursor
                    await client.acknowledge(cursor)
                yield
    except PeerRefused as error:
        if not cursor or error.metadata[PEER_REASON] != "STALE_CURSOR":
            raise
        await asyncio.to_thread(side.begin_again, org)


async def push_feed(client: PeerClient, org: OrgId, *, side: Side) -> None:
    """Hand over our feed for a peer, page by page, until it has everything."""
    cursor = await asyncio.to_thread(side.acknowledged, org)
    while (page := await asyncio.to_thread(side.next_page, org, cursor)) is not None:
        stored = await client.deliver(page)
        await asyncio.to_thread(side.acknowledge, org, stored)
        if _sequence(stored) <= _sequence(cursor):
            raise PeerMisbehaved(f"{org} takes our pages and stores nothing of them")
        cursor = stored


async def _pull(client: PeerClient, org: OrgId, *, side: Side) -> AsyncGenerator[Progress, None]:
    progress = Progress()
    cursor = await asyncio.to_thread(side.stored, org)
    may_begin_again = True
    while True:
        try:
            page = await client.pull(cursor)
        except PeerRefused as error:
            if not may_begin_again or error.metadata[PEER_REASON] != "STALE_CURSOR":
                raise
            may_begin_again, cursor = False, ""
            await asyncio.to_thread(side.begin_again, org)
            continue
        if page is None:
            return
        received = await _take(page, cursor, org, side=side)
        if received.cursor == cursor:
            raise PeerMisbehaved(f"{org} sends the same page again and again")
        cursor = received.cursor
        await client.acknowledge(cursor)
        progress = progress.plus(received)
        yield progress


async def _take(page: Page, cursor: str, org: OrgId, *, side: Side) -> Received:
    """Take a page in that was asked for from a cursor.

    A peer with a new feed says STALE_CURSOR first. One that goes from feed to
    feed without a word would be read for ever, since each begins anew.
    """
    if cursor and page.cursor.partition(".")[0] != cursor.partition(".")[0]:
        raise PeerMisbehaved(f"{org} answers with another feed than it was asked for")
    return await asyncio.to_thread(side.accept, org, page)


def _sequence(cursor: str) -> int:
    position = parse_cursor(cursor)
    return position.sequence if position else 0
