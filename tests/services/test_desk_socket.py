"""What the organisation's own people meet at the desk socket."""

import asyncio
import socket
import stat
from dataclasses import replace

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.nodes import QUICK, Running, desk_channel, finding, make_place, running
from tests.support.wire import now
from tocsin.desk.desk import Desk, method_name
from tocsin.desk.recovery import recover_person
from tocsin.errors import (
    HomeDamaged,
    HomeLocked,
    InternalError,
    MalformedName,
    MalformedRequest,
    NodeNotRunning,
    NotFound,
    NotPermitted,
    PortBusy,
    Unauthenticated,
)
from tocsin.people.person import Role
from tocsin.services.doorkeeper import COLLEAGUE_CALLS_AT_ONCE
from tocsin.services.errors import from_rpc_error
from tocsin.services.listener import DESK_CALLS_AT_ONCE
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.desk_service_pb2_grpc import DeskServiceStub

LAB = "lab-a.example"
DESK = "/tocsin.v1.DeskService"


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path, LAB)


async def error_of(call) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def socket_of(node: Running) -> grpc.aio.Channel:
    return desk_channel(node.place, node.me, f"unix:{node.node.desk_socket}")


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
        async with running(place) as node, socket_of(node) as channel:
            error = await error_of(channel.unary_unary("/tocsin.v1.DeskService/PostRecords")(b"\xff\xff"))
            assert isinstance(error, MalformedRequest)

    asyncio.run(run())


def test_a_bug_is_answered_with_a_request_id(place, monkeypatch, caplog):
    def broken(self, request, caller):
        raise KeyError(request.org)

    monkeypatch.setattr(Desk, "get_peer", broken)

    async def run():
        async with running(place) as node:
            error = await error_of(node.desk.GetPeer(v1.GetPeerRequest(org="canary-0002")))
            assert isinstance(error, InternalError)
            assert error.metadata["request_id"] in caplog.text
            assert "canary-0002" not in caplog.text

    asyncio.run(run())


def test_health_answers_to_our_own_people(place):
    async def run():
        async with running(place) as node, socket_of(node) as channel:
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
        async with desk_channel(place, place.first, f"unix:{place.root}/run/desk.sock") as channel:
            error = await error_of(channel.unary_unary("/tocsin.v1.DeskService/GetStatus")(b""))
        assert isinstance(error, NodeNotRunning)

    asyncio.run(run())


# Who comes in


def test_a_person_works_over_the_port_of_the_desk_as_over_its_socket(place):
    async def run():
        async with running(place, config=replace(QUICK, desk_listen="127.0.0.1:0")) as node:
            async with desk_channel(place, place.first, node.node.desk_address) as channel:
                status = await DeskServiceStub(channel).GetStatus(v1.GetStatusRequest())
            assert status.caller.name == "first"

    asyncio.run(run())


def test_without_the_setting_the_desk_has_no_port(place):
    async def run():
        async with running(place) as node:
            assert node.node.desk_address == ""

    asyncio.run(run())


def test_a_port_of_the_desk_that_is_taken_is_told_with_its_setting(place):
    async def run():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            config = replace(QUICK, desk_listen=f"127.0.0.1:{taken.getsockname()[1]}")
            with pytest.raises(PortBusy, match="cannot listen on") as caught:
                async with running(place, config=config):
                    pass
            assert "desk_listen" in caught.value.hint

    asyncio.run(run())


def test_who_is_not_one_of_our_people_gets_no_connection(place):
    async def run():
        async with running(place) as node, node.as_(place.colleague("stranger")) as stranger:
            assert isinstance(await error_of(stranger.desk.GetStatus(v1.GetStatusRequest())), NodeNotRunning)

    asyncio.run(run())


def test_a_plain_connection_gets_nothing(place):
    async def run():
        async with running(place) as node, grpc.aio.insecure_channel(f"unix:{node.node.desk_socket}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await DeskServiceStub(channel).GetStatus(v1.GetStatusRequest(), timeout=5)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE

    asyncio.run(run())


def test_a_person_is_let_in_as_soon_as_it_is_registered(place):
    async def run():
        async with running(place) as node:
            analyst = await node.admit("analyst-1", Role.ANALYST)
            async with node.as_(analyst) as as_analyst:
                await as_analyst.post("one")
                assert await as_analyst.titles() == {"one"}

    asyncio.run(run())


def test_a_person_who_may_not_is_told_who_may(place):
    async def run():
        async with running(place) as node:
            async with node.as_(await node.admit("analyst-1", Role.ANALYST)) as analyst:
                error = await error_of(analyst.desk.ApplyPolicies(v1.ApplyPoliciesRequest()))
            assert isinstance(error, NotPermitted)
            assert error.hint == "ask somebody whose role is policy-admin"

    asyncio.run(run())


def test_with_strict_who_holds_too_much_is_told_that_this_is_why(tmp_path):
    place = make_place(tmp_path, "lab.example")

    async def run():
        async with running(place) as node:
            both = await node.admit("both", *Role)
        async with running(place, config=replace(QUICK, strict=True), as_=both) as node:
            error = await error_of(node.desk.ListRecords(v1.ListRecordsRequest()))
        assert isinstance(error, NotPermitted)
        assert error.message == "both holds release, policy and keys at once, and so acts as an operator alone"
        assert error.hint.endswith("policy-admin or auditor; `strict` in node.toml says so")

    asyncio.run(run())


def test_somebody_who_left_is_told_so_over_the_connection_it_has_and_over_a_new_one(place):
    async def run():
        async with running(place) as node:
            analyst = await node.admit("analyst-1", Role.ANALYST)
            async with node.as_(analyst) as before:
                assert await before.titles() == set()
                await node.desk.RemovePerson(v1.RemovePersonRequest(name="analyst-1"))
                async with node.as_(analyst) as after:
                    for desk in (before.desk, after.desk):
                        error = await error_of(desk.GetStatus(v1.GetStatusRequest()))
                        assert isinstance(error, Unauthenticated)
                        assert error.reason == "PERSON_UNKNOWN"
                        assert "person recover" in error.hint

    asyncio.run(run())


def test_the_old_keys_of_somebody_with_new_ones_are_nobodys(place):
    async def run():
        renewed = place.colleague("first", keys="renewed")
        recover_person(place.root, renewed.card, now=now())
        async with running(place, as_=renewed) as node, node.as_(place.first) as old:
            assert (await node.desk.GetStatus(v1.GetStatusRequest())).caller.name == "first"
            assert isinstance(await error_of(old.desk.GetStatus(v1.GetStatusRequest())), NodeNotRunning)

    asyncio.run(run())


CHANGES = {
    "leaves": (lambda desk: desk.RemovePerson(v1.RemovePersonRequest(name="counsel")), "PERSON_UNKNOWN"),
    "may do less": (
        lambda desk: desk.ChangePerson(v1.ChangePersonRequest(name="counsel", roles=[v1.PERSON_ROLE_OPERATOR])),
        "NOT_PERMITTED",
    ),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
def test_running_calls_end_at_once_when_a_person(place, change, reason, monkeypatch):
    async def run():
        async with running(place) as node:
            counsel = await node.admit("counsel", Role.POLICY_ADMIN)
            async with desk_channel(place, counsel, f"unix:{node.node.desk_socket}") as channel:
                unary = channel.stream_unary(f"{DESK}/CheckPolicies")()
                stream = channel.stream_stream(f"{DESK}/PlanPolicies")()
                async with asyncio.timeout(5):
                    while len(node.node._desk_door._calls.of("counsel")) < 2:
                        await asyncio.sleep(0.01)
                    await change(node.desk)
                    assert (await error_of(unary)).reason == reason
                    assert (await error_of(stream.read())).reason == reason

    asyncio.run(run())


def test_whoever_gives_away_its_own_roles_hears_that_it_is_done(place):
    async def run():
        async with running(place) as node:
            await node.admit("operator", Role.OPERATOR)
            mine = v1.ChangePersonRequest(name="first", roles=[v1.PERSON_ROLE_ANALYST])
            answer = await node.desk.ChangePerson(mine)
            assert list(answer.person.roles) == [v1.PERSON_ROLE_ANALYST]
            assert isinstance(await error_of(node.desk.ChangePerson(mine)), NotPermitted)

    asyncio.run(run())


def test_one_person_cannot_take_all_the_calls_that_the_desk_has(place):
    async def run():
        async with running(place) as node:
            greedy = await node.admit("analyst-1", Role.ANALYST)
            async with desk_channel(place, greedy, f"unix:{node.node.desk_socket}") as channel:
                calls = [channel.stream_unary(f"{DESK}/GetStatus")() for _ in range(DESK_CALLS_AT_ONCE)]
                async with asyncio.timeout(5):
                    while sum(call.done() for call in calls) < DESK_CALLS_AT_ONCE - COLLEAGUE_CALLS_AT_ONCE:
                        await asyncio.sleep(0.01)
                    assert (await error_of(next(call for call in calls if call.done()))).reason == "QUOTA_EXCEEDED"
                    assert (await node.desk.GetStatus(v1.GetStatusRequest())).serving

    asyncio.run(run())
