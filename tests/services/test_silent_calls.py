"""Calls that begin and then say nothing, over real TLS on loopback."""

import asyncio

import grpc.aio
import pytest

from tests.support.wire import Port, founded, keys_of, raw_channel, serve_port
from tocsin.exchange import wire
from tocsin.exchange.peer import PeerClient
from tocsin.exchange.status import STATUS_KEY, parse_status
from tocsin.services import interceptors, listener
from tocsin.services.doorkeeper import CALLS_AT_ONCE
from tocsin.store.model import PeerRole, PeerState

LAB = founded("lab-a.example")
OTHER = founded("lab-b.example")
PULL = "/tocsin.v1.ExchangeService/Pull"
DELIVER = "/tocsin.v1.ExchangeService/Deliver"


async def reason_of(call: grpc.aio.StreamUnaryCall) -> str:
    """Wait for the end of a call that never sends its message, and return why it was refused."""
    async with asyncio.timeout(5):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    error = parse_status(dict(caught.value.trailing_metadata() or ()).get(STATUS_KEY, b""))
    return error.reason if error else ""


async def begun(port: Port, channel: grpc.aio.Channel, count: int) -> list[grpc.aio.StreamUnaryCall]:
    """Begin calls without a message, and wait until the node has heard of them all."""
    calls = [channel.stream_unary(PULL)() for _ in range(count)]
    async with asyncio.timeout(5):
        while sum(call.done() for call in calls) + len(port.door._calls.all()) < count:
            await asyncio.sleep(0.01)
    return calls


@pytest.mark.parametrize("state", [PeerState.ACTIVE, PeerState.PENDING, PeerState.SUSPENDED])
def test_a_peer_that_begins_calls_and_says_nothing_shuts_nobody_out(tmp_path, monkeypatch, state):
    monkeypatch.setattr(listener, "MAX_CALLS_AT_ONCE", 2 * CALLS_AT_ONCE)

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB, state=state)
            port.know(OTHER)
            async with raw_channel(port, keys_of(LAB)) as channel:
                calls = await begun(port, channel, 2 * CALLS_AT_ONCE)
                assert sum(not call.done() for call in calls) == (CALLS_AT_ONCE if state is PeerState.ACTIVE else 0)
                async with PeerClient(port.server.organisation, port.address, keys=keys_of(OTHER)) as other:
                    assert not (await other.pull("")).HasField("page")

    asyncio.run(run())


def test_calls_at_once_over_the_quota_are_refused(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            async with raw_channel(port, keys_of(LAB)) as channel:
                await begun(port, channel, CALLS_AT_ONCE)
                assert await reason_of(channel.stream_unary(PULL)()) == "QUOTA_EXCEEDED"

    asyncio.run(run())


def test_a_message_that_does_not_come_is_not_waited_for(tmp_path, monkeypatch):
    assert interceptors.CALL_SECONDS == wire.CALL_SECONDS
    monkeypatch.setattr(interceptors, "CALL_SECONDS", 0.05)

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            async with raw_channel(port, keys_of(LAB)) as channel:
                assert await reason_of(channel.stream_unary(PULL)()) == "BAD_REQUEST"
            assert not port.service.reached

    asyncio.run(run())


def test_a_call_that_ends_before_its_message_is_refused(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            async with raw_channel(port, keys_of(LAB)) as channel:
                call = channel.stream_unary(PULL)()
                await call.done_writing()
                assert await reason_of(call) == "BAD_REQUEST"

    asyncio.run(run())


def test_a_reader_that_delivers_is_refused_before_it_has_sent_anything(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB, role=PeerRole.READER)
            async with raw_channel(port, keys_of(LAB)) as channel:
                assert await reason_of(channel.stream_unary(DELIVER)()) == "NOT_PERMITTED"

    asyncio.run(run())
