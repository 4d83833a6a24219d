"""This module serves the organisation's own people: each call of DeskService is a method of `tocsin.desk`.

The methods are looked up by the names in the contract, so none can be
forgotten; each is told who calls. They work on the disk, and so in threads,
but for the asynchronous ones, which belong to the event loop.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from google.protobuf.message import Message

from tocsin.desk.checks import Probe
from tocsin.desk.desk import Desk, method_name
from tocsin.desk.home import Home
from tocsin.desk.room import Puller, Requester
from tocsin.exchange.ask import ask_origin
from tocsin.exchange.directory import Directory
from tocsin.exchange.peer import open_client
from tocsin.exchange.pull import pull_feed
from tocsin.exchange.quota import Budget
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId
from tocsin.release.office import Office
from tocsin.services.doorkeeper import colleague
from tocsin.services.interceptors import Context
from tocsin.v1 import desk_service_pb2
from tocsin.v1.desk_service_pb2_grpc import DeskServiceServicer

Unary = Callable[[object, Message, Context], Awaitable[Message]]
Stream = Callable[[object, Message, Context], AsyncIterator[Message]]


def desk_service(desk: Callable[[], Desk]) -> DeskServiceServicer:
    """Return DeskService, as the desk of the moment does it: a reload puts another one in its place."""
    service = desk_service_pb2.DESCRIPTOR.services_by_name["DeskService"]
    methods = {
        rpc.name: (_stream if rpc.server_streaming else _unary)(desk, method_name(rpc.name)) for rpc in service.methods
    }
    servicer: DeskServiceServicer = type("DeskService", (DeskServiceServicer,), methods)()
    return servicer


def side_of(home: Home, *, office: Office, directory: Directory, budget: Budget, clock: Callable[[], int]) -> Side:
    """Return what an open home brings to an exchange."""
    return Side(
        office=office,
        delivery_signer=home.delivery_signer,
        directory=directory,
        clock=clock,
        dial=partial(open_client, keys=home.tls),
        budget=budget,
    )


def puller_of(side: Side) -> Puller:
    """Return the desk's way to a peer's feed."""
    return partial(pull_feed, side=side)


def requester_of(side: Side) -> Requester:
    """Return the desk's way to the origin of a record."""
    return partial(ask_origin, side=side)


def prober_of(side: Side) -> Probe:
    """Return the desk's way to see whether a peer lets us in.

    It hands over no receipts: a call that passes every door there, and changes
    nothing. What the peer said of its clock comes from the contact that there is.
    """

    async def probe(org: OrgId) -> int | None:
        async with side.dial(side.directory.get(org).organisation) as client:
            await client.acknowledge(())
        return side.contacts.clock_ahead(org)

    return probe


def _unary(desk: Callable[[], Desk], name: str) -> Unary:
    async def call(service: object, request: Message, context: Context) -> Message:
        method = getattr(desk(), name)
        answer: Message = await (
            method(request, colleague())
            if inspect.iscoroutinefunction(method)
            else asyncio.to_thread(method, request, colleague())
        )
        return answer

    return call


def _stream(desk: Callable[[], Desk], name: str) -> Stream:
    def call(service: object, request: Message, context: Context) -> AsyncIterator[Message]:
        answers: AsyncIterator[Message] = getattr(desk(), name)(request, colleague())
        return answers

    return call
