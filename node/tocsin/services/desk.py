"""This module serves the organisation's own people: each call of DeskService is a method of `tocsin.desk`.

The methods are looked up by the names in the contract, so none can be
forgotten; each is told who calls. They work on the disk, and so in threads,
but for the asynchronous ones, which belong to the event loop.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from google.protobuf.message import Message

from tocsin.desk.desk import Desk, method_name
from tocsin.desk.home import Home
from tocsin.desk.room import Puller, Requester
from tocsin.exchange.ask import ask_origin
from tocsin.exchange.directory import Directory
from tocsin.exchange.pull import pull_feed
from tocsin.exchange.side import Side
from tocsin.people.person import Person
from tocsin.release.office import Office
from tocsin.services.doorkeeper import colleague
from tocsin.services.interceptors import Context
from tocsin.v1 import desk_service_pb2
from tocsin.v1.desk_service_pb2_grpc import DeskServiceServicer

Unary = Callable[[object, Message, Context], Awaitable[Message]]
Stream = Callable[[object, Message, Context], AsyncIterator[Message]]


def desk_service(desk: Desk) -> DeskServiceServicer:
    """Return DeskService, as the desk does it."""
    service = desk_service_pb2.DESCRIPTOR.services_by_name["DeskService"]
    methods = {
        rpc.name: (_stream if rpc.server_streaming else _unary)(getattr(desk, method_name(rpc.name)))
        for rpc in service.methods
    }
    servicer: DeskServiceServicer = type("DeskService", (DeskServiceServicer,), methods)()
    return servicer


def side_of(home: Home, *, office: Office, clock: Callable[[], int]) -> Side:
    """Return what an open home brings to an exchange."""
    return Side(
        office=office,
        delivery_signer=home.delivery_signer,
        keys=home.tls,
        directory=Directory(home.store, own_certificate=home.tls.certificate),
        clock=clock,
    )


def puller_of(side: Side) -> Puller:
    """Return the desk's way to a peer's feed."""
    return partial(pull_feed, side=side)


def requester_of(side: Side) -> Requester:
    """Return the desk's way to the origin of a record."""
    return partial(ask_origin, side=side)


def _unary(method: Callable[[Message, Person], Any]) -> Unary:
    async def call(service: object, request: Message, context: Context) -> Message:
        answer: Message = await (
            method(request, colleague())
            if inspect.iscoroutinefunction(method)
            else asyncio.to_thread(method, request, colleague())
        )
        return answer

    return call


def _stream(method: Callable[[Message, Person], AsyncIterator[Message]]) -> Stream:
    def call(service: object, request: Message, context: Context) -> AsyncIterator[Message]:
        return method(request, colleague())

    return call
