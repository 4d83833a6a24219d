"""This module stands before every method of a listener: first who calls, then what they say.

A gate takes the place of each method that a listener serves. It lets the
caller in, or not, as soon as the call begins; only then is the request waited
for, parsed and handled; an error on the way is answered by `services.errors`.
So no method can be added that forgets one of these steps, and what a stranger
sends is never read.

To gRPC each method streams its requests. It would otherwise hold a call back
until its message is there, for as long as the caller likes, and count it among
the calls that the node takes at once: a peer that begins calls and says nothing
would shut everybody else out.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from tocsin.errors import MalformedRequest
from tocsin.exchange.wire import CALL_SECONDS
from tocsin.services.calls import Call
from tocsin.services.errors import abort, code_name

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # a grpc.RpcMethodHandler: the stubs know those of the blocking server only
Method = Callable[[AsyncIterator[bytes], Context], Awaitable[object]]


class Doorkeeper(Protocol):
    """Decides who comes in."""

    def admit(self, context: Context, call: Call) -> AbstractContextManager[object]:
        """Let a caller in for as long as the returned context is open, or raise an AccessDenied or TryLater."""


class Meter(Protocol):
    """Keeps count of calls."""

    def count_call(self, method: str, *, code: str, seconds: float) -> None:
        """Take note of a call that has ended, with the name of the status that it was answered with."""


class NoMeter:
    """Counts nothing."""

    def count_call(self, method: str, *, code: str, seconds: float) -> None:
        """Do nothing."""


NO_METER = NoMeter()


class Gate(grpc.aio.ServerInterceptor):
    """Put a doorkeeper before every method of one listener; `at_home` is the desk socket."""

    def __init__(self, doorkeeper: Doorkeeper, *, at_home: bool, meter: Meter = NO_METER) -> None:
        self._doorkeeper = doorkeeper
        self._at_home = at_home
        self._meter = meter

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the guarded method; None, and so UNIMPLEMENTED, where the listener has no such method."""
        handler = await continuation(details)
        if handler is None:
            return None
        if handler.request_streaming:
            raise RuntimeError(f"{details.method} streams its requests, which the gate cannot check one by one")
        if handler.response_streaming:
            guarded = self._measure(details.method, self._guard(details.method, handler, _stream))
            return grpc.stream_stream_rpc_method_handler(guarded, None, handler.response_serializer)
        guarded = self._measure(details.method, self._guard(details.method, handler, _unary))
        return grpc.stream_unary_rpc_method_handler(guarded, None, handler.response_serializer)

    def _measure(self, method: str, run: Method) -> Method:
        async def measured(messages: AsyncIterator[bytes], context: Context) -> object:
            started = time.monotonic()
            try:
                return await run(messages, context)
            finally:
                self._meter.count_call(method, code=code_name(context.code()), seconds=time.monotonic() - started)

        return measured

    def _guard(
        self, method: str, handler: Handler, run: Callable[[Handler, object, Context, Call], Awaitable[object]]
    ) -> Method:
        async def guarded(messages: AsyncIterator[bytes], context: Context) -> object:
            call = Call(_current_task(), method, streaming=handler.response_streaming)
            try:
                with self._doorkeeper.admit(context, call):
                    return await run(handler, _parse(handler, await _first(messages)), context, call)
            except asyncio.CancelledError:
                if not call.ended:
                    raise  # the caller, or the listener, has given it up
                call.task.uncancel()
                if not await call.settle():
                    raise  # its reader has stalled: the stream is reset, for no status would get through
                if call.ended_by is None:
                    return None
                failure: Exception = call.ended_by
            except grpc.aio.AbortError:
                raise
            except NotImplementedError:  # what generated servicers raise for a method that nobody has written
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this node does not serve that")
            except Exception as error:  # noqa: BLE001 -- the outermost handler: a bug must become an answer
                failure = error
            await abort(context, failure, method=method, at_home=self._at_home)

        return guarded


async def _unary(handler: Handler, request: object, context: Context, call: Call) -> object:
    return await handler.unary_unary(request, context)


async def _stream(handler: Handler, request: object, context: Context, call: Call) -> None:
    answers = handler.unary_stream(request, context)
    if inspect.isawaitable(answers):  # a method that writes its answers itself
        await answers
        return
    async with aclosing(answers):
        async for answer in answers:
            await call.write(context.write(answer))


async def _first(messages: AsyncIterator[bytes]) -> bytes:
    """Return the one message of a request, which may take as long as one answer may."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await anext(messages)
    except (StopAsyncIteration, TimeoutError):
        raise MalformedRequest("the message of the call is missing") from None


def _parse(handler: Handler, body: bytes) -> object:
    try:
        return handler.request_deserializer(body)
    except DecodeError:
        raise MalformedRequest("the message does not parse") from None


def _current_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a method runs in a task of the event loop")
    return task
