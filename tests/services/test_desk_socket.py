"""What the organisation's own people meet at the desk socket."""

import asyncio
import socket
import stat

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.nodes import finding, make_place, running
from tocsin.desk.desk import Desk, method_name
from tocsin.errors import (
    HomeDamaged,
    HomeLocked,
    InternalError,
    MalformedName,
    MalformedRequest,
    NodeNotRunning,
    NotFound,
    PortBusy,
)
from tocsin.services.errors import from_rpc_error
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import exchange_service_pb2

LAB = "lab-a.example"


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path, LAB)


async def error_of(call) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def test_every_call_of_the_contract_is_a_method_of_the_desk():
    calls = [rpc.name for rpc in v1.DESCRIPTOR.services_by_name["DeskService"].methods]
    assert [call for call in calls if not callable(getattr(Desk, method_name(call), None))] == []


def test_a_call_is_answered_by_the_desk_of_the_running_node(place):
    async def run():
        async with running(place) as node:
            status = await node.desk.GetStatus(v1.GetStatusRequest())
            assert (status.organisation.org, status.serving, status.listen) == (LAB, True, place.listen)
            assert status.started_at.seconds > 0
            await node.post("one")
            assert await node.titles() == {"one"}

    asyncio.run(run())


def test_only_the_owner_gets_at_the_socket(place):
    async def run():
        async with running(place) as node:
            path = node.node.desk_socket
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert not path.exists()

    asyncio.run(run())


def test_a_folder_that_others_may_enter_is_refused(place):
    (place.root / "run").chmod(0o755)

    async def run():
        async with running(place):
            pytest.fail("the node has started")

    with pytest.raises(HomeDamaged):
        asyncio.run(run())


def test_a_socket_that_a_dead_node_left_behind_is_replaced(place):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place.root / "run" / "desk.sock"))

    async def run():
        async with running(place) as node:
            await node.post("one")

    asyncio.run(run())


def test_an_error_comes_back_as_it_was_raised(place):
    async def run():
        async with running(place) as node:
            error = await error_of(node.desk.GetPeer(v1.GetPeerRequest(org="nobody.example")))
            assert isinstance(error, NotFound)
            error = await error_of(node.desk.GetPeer(v1.GetPeerRequest(org="NOT A NAME")))
            assert isinstance(error, MalformedName)
            assert error.hint

    asyncio.run(run())


def test_an_error_in_the_middle_of_a_stream_comes_back_too(place):
    async def run():
        async with running(place) as node:
            stream = node.desk.SyncPeers(v1.SyncPeersRequest(peers=["nobody.example"]))
            assert isinstance(await error_of(stream.read()), NotFound)

    asyncio.run(run())


def test_what_does_not_parse_is_refused(place):
    async def run():
        async with running(place) as node, grpc.aio.insecure_channel(f"unix:{node.node.desk_socket}") as channel:
            error = await error_of(channel.unary_unary("/tocsin.v1.DeskService/PostRecords")(b"\xff\xff"))
            assert isinstance(error, MalformedRequest)

    asyncio.run(run())


def test_a_bug_is_answered_with_a_request_id(place, monkeypatch, caplog):
    def broken(self, request):
        raise KeyError(request.org)

    monkeypatch.setattr(Desk, "get_peer", broken)

    async def run():
        async with running(place) as node:
            error = await error_of(node.desk.GetPeer(v1.GetPeerRequest(org="canary-0002")))
            assert isinstance(error, InternalError)
            assert error.metadata["request_id"] in caplog.text
            assert "canary-0002" not in caplog.text

    asyncio.run(run())


EXCHANGE = exchange_service_pb2.DESCRIPTOR.services_by_name["ExchangeService"]
FOREIGN = [
    *(f"/{EXCHANGE.full_name}/{rpc.name}" for rpc in EXCHANGE.methods),
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.channelz.v1.Channelz/GetServers",
]


def test_nothing_that_belongs_to_peers_is_served_here(place):
    async def run():
        async with running(place) as node, grpc.aio.insecure_channel(f"unix:{node.node.desk_socket}") as channel:
            for method in FOREIGN:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(method)(b"")
                assert (method, caught.value.code()) == (method, grpc.StatusCode.UNIMPLEMENTED)

    asyncio.run(run())


def test_health_answers_to_our_own_people(place):
    async def run():
        async with running(place) as node, grpc.aio.insecure_channel(f"unix:{node.node.desk_socket}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for service in ("", "tocsin.v1.DeskService"):
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING

    asyncio.run(run())


def test_a_batch_larger_than_a_peers_message_may_be_is_taken(place):
    async def run():
        async with running(place) as node:
            source = {"format": "test", "original": "x" * 500_000}
            drafts = [finding(f"record {number}", source=source) for number in range(12)]
            answer = await node.desk.PostRecords(v1.PostRecordsRequest(drafts=drafts))
            assert [list(result.error_details) for result in answer.results] == [[]] * 12

    asyncio.run(run())


def test_no_node_and_a_held_home_and_a_busy_port_each_have_their_error(place, tmp_path):
    async def run():
        async with running(place):
            with pytest.raises(HomeLocked):
                async with running(place):
                    pass
        other = make_place(tmp_path, "lab-b.example")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", int(other.listen.rpartition(":")[2])))
            taken.listen()
            with pytest.raises(PortBusy) as caught:
                async with running(other):
                    pass
            assert other.listen in caught.value.message
        async with grpc.aio.insecure_channel(f"unix:{place.root}/run/desk.sock") as channel:
            error = await error_of(channel.unary_unary("/tocsin.v1.DeskService/GetStatus")(b""))
        assert isinstance(error, NodeNotRunning)

    asyncio.run(run())
