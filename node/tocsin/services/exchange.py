"""This module serves other organisations: their feeds go out, their pages come in, and receipts for both.

Who calls was settled at the door, so every method is about the caller's own
feed and nobody else's. The work is done in threads: signing, verifying and
the disk would hold up every other peer on the event loop. It is done for each
peer in turn: what a peer asks for at once waits for itself, and not the others
for it.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from tocsin.exchange.bell import Bell, heard_within
from tocsin.exchange.cursor import parse_cursor
from tocsin.exchange.side import Side
from tocsin.exchange.wire import STREAM_SECONDS
from tocsin.identity.names import OrgId
from tocsin.services.doorkeeper import caller
from tocsin.services.interceptors import Context
from tocsin.store.model import Position
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1 import log_service_pb2 as log_v1
from tocsin.v1.exchange_service_pb2_grpc import ExchangeServiceServicer

WINDOW = 3
"""Pages of a subscription that may be on their way without a receipt: one is stored, one is looked at meanwhile, one is
on the line. A further one would only wait there, and here what is queued by then is on the same page."""
MOST_GROWN = 1024
"""Entries of our log that go along with a page: what is posted while one is made. Further ones are asked for."""
AGAIN_A_SECOND = 64
"""Entries that went before and go again to one peer in a second: they take a twentieth of a core."""

T = TypeVar("T")


class ExchangeService(ExchangeServiceServicer):
    """ExchangeService, as the contract describes it."""

    def __init__(self, side: Side, *, bell: Bell, heartbeat_seconds: float) -> None:
        self._side = side
        self._bell = bell
        self._heartbeat_seconds = heartbeat_seconds
        self._acknowledged = Bell()
        self._turns: defaultdict[OrgId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._rests: dict[OrgId, float] = {}

    async def Pull(self, request: v1.PullRequest, context: Context) -> v1.PullResponse:  # noqa: N802 -- gRPC names it
        """Return the page of the caller's feed that follows a cursor."""
        partner, cursor = caller().org, request.cursor
        make = partial(self._side.next_page, partner, cursor, max_entries=request.max_entries)
        return v1.PullResponse(page=await self._in_turn(partner, make), now=self._side.clock())

    async def Subscribe(  # noqa: N802
        self, request: v1.SubscribeRequest, context: Context
    ) -> AsyncIterator[v1.SubscribeResponse]:
        """Stream the caller's feed after a cursor: the backlog, then live pages, with heartbeats between them.

        One page at a time is made and sent, and no more than a window of them
        before a receipt comes, so a backlog of any length takes the memory of
        a page. The first answer comes at once, if only to say that the caller
        was let in.
        """
        partner = caller().org
        stream = await asyncio.to_thread(_Stream, self._side, partner, request.cursor)
        clock = asyncio.get_running_loop().time
        end, due = clock() + STREAM_SECONDS, 0.0
        with self._bell.listening(partner) as queued, self._acknowledged.listening(partner) as acknowledged:
            while clock() < end:
                queued.clear()  # before looking: what is queued from here on rings
                acknowledged.clear()
                answer = await self._in_turn(partner, stream.next)
                if answer.HasField("page") or clock() >= due:
                    answer.now = self._side.clock()
                    yield answer
                    due = clock() + self._heartbeat_seconds
                if not stream.goes_on:
                    await heard_within(acknowledged if stream.is_full else queued, due - clock())

    async def Acknowledge(self, request: v1.AcknowledgeRequest, context: Context) -> v1.AcknowledgeResponse:  # noqa: N802
        """Take what the caller says became of the pages that it was sent."""
        partner = caller().org
        await asyncio.to_thread(self._side.acknowledge, partner, tuple(request.receipts))
        self._acknowledged.ring((partner,))
        return v1.AcknowledgeResponse()

    async def Deliver(self, request: v1.DeliverRequest, context: Context) -> v1.DeliverResponse:  # noqa: N802
        """Take in a page of the feed that the caller keeps for us. Readers were refused at the door.

        A caller that leaves our receipts is given those, and nothing is taken from it meanwhile.
        """
        sender, last = caller().org, request.last_receipt
        async with self._turns[sender]:
            if not await asyncio.to_thread(self._side.leaves_receipts, sender, last):
                received = await asyncio.to_thread(
                    self._side.accept, sender, request.page, pushed=True, last_receipt=request.last_receipt
                )
                self._bell.ring(received.onward)
            receipts = await asyncio.to_thread(self._side.receipts_behind, sender, last)
        return v1.DeliverResponse(receipts=receipts)

    async def RequestDisclosure(  # noqa: N802
        self, request: v1.RequestDisclosureRequest, context: Context
    ) -> v1.RequestDisclosureResponse:
        """Keep which further fields of a record the caller asks for, and say where the request stands."""
        state = await asyncio.to_thread(self._side.keep_request, caller().org, request)
        return v1.RequestDisclosureResponse(state=state)

    async def Recover(self, request: v1.RecoverRequest, context: Context) -> v1.RecoverResponse:  # noqa: N802
        """Return what the caller has signed and is held here."""
        peer = caller().org
        async with self._turns[peer]:
            return await asyncio.to_thread(self._side.what_is_held, peer, request.after)

    async def GiveBack(self, request: v1.GiveBackRequest, context: Context) -> v1.GiveBackResponse:  # noqa: N802
        """Keep what the caller holds of ours, where it may be more than we know of."""
        peer = caller().org
        async with self._turns[peer]:
            wanted = await asyncio.to_thread(self._side.keep_given_back, peer, request)
        return v1.GiveBackResponse(wanted=wanted)

    async def _in_turn(self, partner: OrgId, make: Callable[[], T]) -> T:
        """Make what follows for a partner, when what came before is made, and paid for if it went before."""
        clock, reread = asyncio.get_running_loop().time, self._side.rereading
        async with self._turns[partner]:
            await asyncio.sleep(self._rests.get(partner, 0.0) - clock())
            before = reread.counted(partner)
            made = await asyncio.to_thread(make)
            self._rests[partner] = clock() + max(0, reread.counted(partner) - before) / AGAIN_A_SECOND
            return made


class _Stream:
    """A partner's feed as one stream carries it; not for the event loop."""

    def __init__(self, side: Side, partner: OrgId, cursor: str) -> None:
        self.is_full = False  # so many pages have no receipt yet that nothing more goes
        self.goes_on = False  # there is more to send now
        self._side = side
        self._partner = partner
        self._cursor = side.beginning(partner, cursor)
        self._logged = side.store.logs.get(side.organisation.org).signed  # logs were compared a moment ago
        self._on_their_way: deque[Position] = deque()

    def next(self) -> v1.SubscribeResponse:
        """Return the next page, with what our log has grown by; neither where there is none, or the window is full."""
        self.is_full = self._fills_window()
        page = None if self.is_full else self._side.next_page(self._partner, self._cursor)
        self.goes_on = page is not None and (page.more or self._side.has_queued(self._partner))
        if page is None:
            return v1.SubscribeResponse()
        self._cursor = page.cursor
        if position := parse_cursor(page.cursor):
            self._on_their_way.append(position)
        return v1.SubscribeResponse(page=page, growth=self._growth())

    def _growth(self) -> log_v1.LogGrowth | None:
        """Return what our log has grown by, if that is as much as goes along with a page: else the partner asks."""
        own = self._side.organisation.org
        start, self._logged = self._logged, self._side.store.logs.get(own).signed
        if not 0 < self._logged - start <= MOST_GROWN:
            return None
        growth = self._side.comparison().growth(own, start)  # a part of the page: nothing that the partner asks for
        if growth is None:
            return None
        self._logged = growth.start + len(growth.entries)
        return growth.to_message()

    def _fills_window(self) -> bool:
        """Say whether nothing more may go before a receipt comes."""
        if len(self._on_their_way) < WINDOW:
            return False
        acknowledged = parse_cursor(self._side.acknowledged(self._partner))
        while self._on_their_way and _is_behind(self._on_their_way[0], acknowledged):
            self._on_their_way.popleft()
        return len(self._on_their_way) >= WINDOW


def _is_behind(page: Position, acknowledged: Position | None) -> bool:
    """Say whether no receipt is to be waited for: there is one, or the feed has begun anew since."""
    if acknowledged is None or acknowledged.feed_id != page.feed_id:
        return True
    return page.sequence <= acknowledged.sequence
