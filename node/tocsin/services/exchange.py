"""This module serves other organisations: their feeds go out, their pages come in.

Who calls was settled at the door, so every method is about the caller's own
feed and nobody else's. The work is done in threads: signing, verifying and
the disk would hold up every other peer on the event loop.
"""

import asyncio
from collections.abc import AsyncIterator

from tocsin.exchange.bell import Bell, heard_within
from tocsin.exchange.side import Side
from tocsin.exchange.wire import STREAM_SECONDS
from tocsin.services.doorkeeper import caller
from tocsin.services.interceptors import Context
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1.exchange_service_pb2_grpc import ExchangeServiceServicer


class ExchangeService(ExchangeServiceServicer):
    """ExchangeService, as the contract describes it."""

    def __init__(self, side: Side, *, bell: Bell, heartbeat_seconds: float) -> None:
        self._side = side
        self._bell = bell
        self._heartbeat_seconds = heartbeat_seconds

    async def Pull(self, request: v1.PullRequest, context: Context) -> v1.PullResponse:  # noqa: N802 -- gRPC names it
        """Return the page of the caller's feed that follows a cursor."""
        page = await asyncio.to_thread(
            self._side.next_page, caller().org, request.cursor, max_entries=request.max_entries
        )
        return v1.PullResponse(page=page)

    async def Subscribe(  # noqa: N802
        self, request: v1.SubscribeRequest, context: Context
    ) -> AsyncIterator[v1.SubscribeResponse]:
        """Stream the caller's feed after a cursor: the backlog, then live pages, with heartbeats between them.

        One page at a time is made and sent, so a backlog of any length takes
        the memory of a page. The first answer comes at once, if only to say
        that the caller was let in.
        """
        partner, cursor = caller().org, request.cursor
        clock = asyncio.get_running_loop().time
        end = clock() + STREAM_SECONDS
        with self._bell.listening(partner) as queued:
            while clock() < end:
                queued.clear()  # before looking: what is queued from here on rings
                page = await asyncio.to_thread(self._side.next_page, partner, cursor)
                yield v1.SubscribeResponse(page=page)
                if page is not None:
                    cursor = page.cursor
                else:
                    await heard_within(queued, self._heartbeat_seconds)

    async def Acknowledge(self, request: v1.AcknowledgeRequest, context: Context) -> v1.AcknowledgeResponse:  # noqa: N802
        """Keep how far the caller has durably stored its feed."""
        await asyncio.to_thread(self._side.acknowledge, caller().org, request.cursor)
        return v1.AcknowledgeResponse()

    async def Deliver(self, request: v1.DeliverRequest, context: Context) -> v1.DeliverResponse:  # noqa: N802
        """Take in a page of the feed that the caller keeps for us. Readers were refused at the door."""
        received = await asyncio.to_thread(self._side.accept, caller().org, request.page)
        return v1.DeliverResponse(cursor=received.cursor)

    async def RequestDisclosure(  # noqa: N802
        self, request: v1.RequestDisclosureRequest, context: Context
    ) -> v1.RequestDisclosureResponse:
        """Keep which further fields of a record the caller asks for, and say where the request stands."""
        state = await asyncio.to_thread(self._side.keep_request, caller().org, request)
        return v1.RequestDisclosureResponse(state=state)
