"""This module fetches what peers have for us, and hands over what we have for those who cannot fetch it.

A page is acknowledged by a receipt, which is signed and stored together with
what was in the page: whatever breaks in between, the same page comes again and
changes nothing, and the same receipt is handed over the next time. A cursor
that the peer does not know any more (its home was restored from a backup, say)
is given up once, and its feed read from the beginning.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

from tocsin.errors import PeerMisbehaved, PeerRefused, ReceiptRefused, StaleCheckpoint, StaleCursor, TocsinError
from tocsin.exchange.client import PEER_CURSOR, PEER_REASON, PEER_RECEIPT, Client
from tocsin.exchange.cursor import parse_cursor
from tocsin.exchange.gossip import compare, read_on
from tocsin.exchange.progress import Progress
from tocsin.exchange.receipt import load_receipt
from tocsin.exchange.receive import Received
from tocsin.exchange.side import Side, verify_exchanging
from tocsin.identity.names import OrgId
from tocsin.store.model import PeerRole
from tocsin.v1.exchange_service_pb2 import Page, PullResponse, RecoverResponse
from tocsin.watch.growth import Growth, read_growth

_NOT_TAKEN = frozenset({"BAD_RECEIPT", "BAD_CHAIN", "NEVER_SENT"})
"""By these reasons a peer says that it never takes a receipt as it is."""
_MOST_ATTEMPTS = 8
"""Two for each page that was lost: the next contact goes on where this one ends."""


async def pull_feed(org: OrgId, *, side: Side) -> AsyncGenerator[Progress, None]:
    """Fetch everything that a peer has for us now, page by page.

    Nothing is fetched from a reader, which has nothing to say. Where we have
    no endpoint that the peer could call, our feed for it is handed over too.

    Raises NotFound, IdentityOutdated, NotPermitted, and what a Client
    raises. Each is noted with the peer.
    """
    peer = await asyncio.to_thread(side.directory.get, org)
    try:
        verify_exchanging(peer, now=side.clock())
        async with side.dial(peer.organisation) as client:
            await compare(client, org, side=side)
            await recover_from(client, org, side=side)
            if peer.role == PeerRole.MEMBER:
                async with aclosing(_pull(client, org, side=side)) as pages:
                    async for progress in pages:
                        yield progress
            if not side.organisation.endpoints:
                await push_feed(client, org, side=side, with_last=True)
    except TocsinError as error:
        await asyncio.to_thread(side.note_error, org, error)
        raise
    await asyncio.to_thread(side.note_contact, org)


async def follow_feed(client: Client, org: OrgId, *, side: Side) -> AsyncGenerator[Received | None, None]:
    """Stay on a peer's feed; yields what each page brought, and None for each sign of life. Ends when the peer ends it.

    It also ends where not all of a page could be taken: what follows would
    leave a hole.
    """
    await compare(client, org, side=side)
    await hand_over(client, org, side=side)
    cursor = await asyncio.to_thread(side.stored, org)
    try:
        async with (
            aclosing(client.subscribe(cursor)) as answers,
            _handing_over(client, org, side=side) as hand,
        ):
            async for answer in answers:
                side.note_clock(org, answer.now)
                if not answer.HasField("page"):
                    await hand()  # what could not be handed over behind the last page, and how that went
                    yield None
                    continue
                growth = read_growth(answer.growth) if answer.HasField("growth") else None
                received = await _take(client, answer.page, cursor, org, side=side, growth=growth)
                cursor = received.cursor
                await hand()
                yield received
                if cursor != answer.page.cursor:
                    return
    except PeerRefused as error:
        if not cursor or error.metadata[PEER_REASON] != "STALE_CURSOR":
            raise
        await give_back(client, org, side=side)
        await asyncio.to_thread(side.begin_again, org)


async def push_feed(client: Client, org: OrgId, *, side: Side, with_last: bool = False) -> None:
    """Hand over our feed for a peer, page by page, until it has everything.

    A peer that does not stand where we believe says where it stands: once we
    go on from there, or from the beginning where our feed has no such place.
    It can say so only when it is handed something, and its store or ours may
    have been put back to an earlier state since: `with_last` begins with the
    last entry that it has.
    """
    cursor = await asyncio.to_thread(side.before_last if with_last else side.acknowledged, org)
    may_move = may_compare = True
    while True:
        try:
            page = await asyncio.to_thread(side.next_page, org, cursor)
        except StaleCursor:
            if not cursor:
                raise
            cursor = ""
            continue
        if page is None:
            return
        held = await asyncio.to_thread(side.last_held, org)
        try:
            receipts = await _deliver(client, org, page, held, side=side)
        except PeerRefused as error:
            if may_compare and error.metadata[PEER_REASON] == "STALE_CHECKPOINT":
                may_compare = False
                await compare(client, org, side=side)  # what is in the page was logged since
                continue
            if not may_move or error.metadata[PEER_REASON] != "STALE_CURSOR":
                raise
            may_move, cursor = False, error.metadata.get(PEER_CURSOR, "")
            continue
        if with_last and not receipts:
            cursor, with_last = page.cursor, False  # the peer has all of it, and all our receipts were taken
            continue
        reached = _reached(receipts, page, cursor)
        if reached is None and await asyncio.to_thread(side.last_held, org) == held:
            raise PeerMisbehaved(f"{org} takes our pages and stores nothing of them")
        may_compare = True
        cursor, with_last = reached or cursor, False  # receipts that it had left come before it takes a page


async def _deliver(client: Client, org: OrgId, page: Page, last: str, *, side: Side) -> Sequence[str]:
    """Hand over a page, and take the receipts that come back; `last` is the last one that is held.

    One for a page that our store has lost since is let go, by saying that it is
    held; what comes behind it is signed again once nothing is said to be.
    """
    for _ in range(_MOST_ATTEMPTS):
        receipts = await client.deliver(page, last_receipt=last)
        try:
            await asyncio.to_thread(side.acknowledge, org, receipts)
        except ReceiptRefused as error:
            refused = error
            last = error.metadata[PEER_RECEIPT] if error.reason == "NEVER_SENT" else ""
        else:
            return receipts
    raise refused


async def hand_over(client: Client, org: OrgId, *, side: Side) -> None:
    """Hand over the receipts that a peer may not have, and sign again what it does not take.

    The peer's store, or ours, was put back to an earlier state, or a clock was
    wrong. A receipt for a page that the peer does not know at all is dropped.
    """
    while receipts := await asyncio.to_thread(side.receipts, org):
        try:
            await client.acknowledge(receipts)
        except PeerRefused as error:
            if error.metadata[PEER_REASON] not in _NOT_TAKEN:
                raise
            await _hand_over_again(client, org, error, side=side)
            return
        await asyncio.to_thread(side.handed_over, org, receipts)


@asynccontextmanager
async def _handing_over(client: Client, org: OrgId, *, side: Side) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Yield what hands over receipts while the next page is taken in; it waits for the ones before, as the end does."""
    handing: asyncio.Task[None] | None = None

    async def hand() -> None:
        nonlocal handing
        if handing is not None:
            await handing
        handing = asyncio.create_task(hand_over(client, org, side=side))

    try:
        yield hand
        if handing is not None:
            await handing
    finally:
        if handing is not None:
            handing.cancel()
            await asyncio.gather(handing, return_exceptions=True)


async def recover_from(client: Client, org: OrgId, *, side: Side) -> None:
    """Ask a peer for what our store has lost, if it is to be asked; what it gives back is kept page by page."""
    after, empty = await asyncio.to_thread(side.to_recover, org), 0
    while after is not None:
        try:
            answer = await client.recover(after)
        except PeerRefused as error:
            if error.metadata[PEER_REASON] != "NOT_PERMITTED":
                raise
            answer = RecoverResponse()  # we may not ask; that must not keep us from what we may have
        empty += not answer.records and not answer.retractions
        if answer.next and (answer.next == after or empty > 2):  # there may be nothing of one sort, and then another
            raise PeerMisbehaved(f"{org} gives the same things back again and again, or nothing")
        await asyncio.to_thread(side.keep_recovered, org, answer)
        after = answer.next or None


async def give_back(client: Client, org: OrgId, *, side: Side) -> None:
    """Hand over what we hold of a peer that does not know our cursor: it may have lost it, and look for it."""
    after, is_wanted = "", True
    while is_wanted:
        held = await asyncio.to_thread(side.what_is_held, org, after)
        is_wanted = await client.give_back(held) and bool(held.next)
        after = held.next


async def _hand_over_again(client: Client, org: OrgId, error: PeerRefused, *, side: Side) -> None:
    """Sign what was not taken in another chain, and hand that over, once; what is left is for the next contact."""
    never_sent = error.metadata[PEER_REASON] == "NEVER_SENT"
    refused = error.metadata.get(PEER_RECEIPT, "") if never_sent else ""
    await asyncio.to_thread(side.sign_again, org, but=refused)
    if receipts := await asyncio.to_thread(side.receipts, org):
        await client.acknowledge(receipts)
        await asyncio.to_thread(side.handed_over, org, receipts)


async def _pull(client: Client, org: OrgId, *, side: Side) -> AsyncGenerator[Progress, None]:
    progress = Progress()
    await hand_over(client, org, side=side)
    cursor = await asyncio.to_thread(side.stored, org)
    may_begin_again = has_more = True
    while has_more:
        async with (
            aclosing(_pages(client, cursor)) as answers,
            _handing_over(client, org, side=side) as hand,
        ):
            while has_more:
                try:
                    answer = await anext(answers)
                except PeerRefused as error:
                    if not may_begin_again or error.metadata[PEER_REASON] != "STALE_CURSOR":
                        raise
                    may_begin_again, cursor = False, ""
                    await give_back(client, org, side=side)
                    await asyncio.to_thread(side.begin_again, org)
                    break
                side.note_clock(org, answer.now)
                has_more = answer.HasField("page")
                if not has_more:
                    break
                received = await _take(client, answer.page, cursor, org, side=side)
                if received.cursor == cursor:
                    raise PeerMisbehaved(f"{org} sends the same page again and again")
                cursor = received.cursor
                await hand()
                progress = progress.plus(received)
                yield progress
                if cursor != answer.page.cursor:  # not all of it was taken: what was asked for ahead leaves a hole
                    break


async def _pages(client: Client, cursor: str) -> AsyncGenerator[PullResponse, None]:
    """Ask for page after page, until there is none; while one is taken in, the peer makes the next."""
    coming = asyncio.create_task(client.pull(cursor))
    try:
        while (answer := await coming).HasField("page"):
            coming = asyncio.create_task(client.pull(answer.page.cursor))
            yield answer
        yield answer
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _take(
    client: Client, page: Page, cursor: str, org: OrgId, *, side: Side, growth: Growth | None = None
) -> Received:
    """Take a page in that was asked for from a cursor; first what the peer's log has grown by, where that came along.

    A peer with a new feed says STALE_CURSOR first. One that goes from feed to
    feed without a word would be read for ever, since each begins anew.
    """
    if cursor and page.cursor.partition(".")[0] != cursor.partition(".")[0]:
        raise PeerMisbehaved(f"{org} answers with another feed than it was asked for")
    read, is_compared = set[OrgId](), False

    def accept() -> Received:
        if growth is not None and not read:
            side.extend(org, org, growth)
        return side.accept(org, page)

    while True:
        try:
            return await asyncio.to_thread(accept)
        except StaleCheckpoint as error:
            origin, size = OrgId(error.metadata["origin"]), int(error.metadata["size"])
            if origin in read and (is_compared or origin != org):
                raise PeerMisbehaved(f"{org} does not show the log of {origin} that its page is from") from None
        if origin not in read:
            read.add(origin)
            await read_on(client, org, origin, side=side, size=size)  # what is in the page was logged since
        else:
            is_compared = True
            await compare(client, org, side=side)  # one of us has lost a part of it


def _reached(receipts: Sequence[str], page: Page, cursor: str) -> str | None:
    """Return where a peer that took a page says to go on; None where that is no further than before."""
    stored = load_receipt(receipts[-1]).cursor if receipts else ""
    position, asked, sent = parse_cursor(stored), parse_cursor(cursor), parse_cursor(page.cursor)
    before = asked.sequence if asked and sent and asked.feed_id == sent.feed_id else 0
    if position is None or sent is None or position.feed_id != sent.feed_id or position.sequence <= before:
        return None
    return stored
