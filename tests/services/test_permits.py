"""Who may call what: every method of every service, at every listener, for every role and for those without one.

Each call carries a body that does not parse. Whoever is let in hears that;
whoever is not, hears why before anybody has looked at the body.
"""

import asyncio
from dataclasses import replace

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2

from tests.support.nodes import QUICK, Running, desk_channel, keys_of_place, make_place, running
from tests.support.people import Colleague
from tocsin.desk.permits import PERMITS
from tocsin.exchange.status import STATUS_KEY, parse_status
from tocsin.identity.certificate import certificate_pem
from tocsin.people.person import Role
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import exchange_service_pb2, log_service_pb2

DESK = v1.DESCRIPTOR.services_by_name["DeskService"]
EXCHANGE = exchange_service_pb2.DESCRIPTOR.services_by_name["ExchangeService"]
LOG = log_service_pb2.DESCRIPTOR.services_by_name["LogService"]
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
NOWHERE = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.channelz.v1.Channelz/GetServers",
)
BODY = b"\xff\xff"

IN = "BAD_REQUEST"  # let in: the body was read, and does not parse
NO_METHOD = "UNIMPLEMENTED"
NO_CONNECTION = "UNAVAILABLE"

READS = {"ListRecords", "GetRecord", "SearchRecords", "ExplainRecord", "PreviewRecord", "ListReviews", "GetReview"}
READS |= {"ListRetractions", "GetRetraction", "ListOutbox", "ProveRecord", "GetEvidence"}
ALL = {"GetStatus", "GetIdentity", "ListPeers", "GetPeer"}
ALL |= {"GetLog", "GetLogPolicy", "ReadLog", "ExportLog", "ListEvidence"}
POLICIES = {"CheckPolicies", "PlanPolicies", "GetPolicyMatrix"}
MAY = {
    Role.ANALYST: ALL
    | READS
    | {"PostRecords", "AmendRecord", "RetractRecord", "RequestFields", "RevealFields", "SyncPeers"},
    Role.RELEASER: ALL | READS | POLICIES | {"RevealFields", "DecideReview", "RetractRecord"},
    Role.POLICY_ADMIN: ALL | READS | POLICIES | {"ApplyPolicies", "ListAudit", "VerifyAudit", "ListReceipts"},
    Role.AUDITOR: ALL | READS | POLICIES | {"ListPeople", "ListAudit", "VerifyAudit", "ListReceipts"},
    Role.OPERATOR: ALL
    | {"AddPeer", "SuspendPeer", "ResumePeer", "RemovePeer", "SyncPeers"}
    | {"TestPeer", "RunChecks", "ListOutbox", "ListReceipts", "ResumeLog"}
    | {"ListPeople", "AddPerson", "ChangePerson", "RemovePerson"},
}
READER_MAY = {"Recover", "GiveBack", "Pull", "Subscribe", "Acknowledge", "RequestDisclosure", "Check", "Watch"}
READER_MAY |= {"Compare", "GetEntries", "AddEntries", "GetCheckpoint", "GetInclusion", "GetConsistency", "GetTile"}
READER_MAY |= {"AddCheckpoint"}


def methods_of(service: ServiceDescriptor) -> list[str]:
    return [f"/{service.full_name}/{rpc.name}" for rpc in service.methods]


METHODS = [*methods_of(DESK), *methods_of(EXCHANGE), *methods_of(LOG), *methods_of(HEALTH), *NOWHERE]


def expected(caller: str, listener: str, method: str) -> str:
    """Say what a caller must hear, from the table above and nothing else."""
    service, _, name = method[1:].partition("/")
    at_peers = listener == "peer port"
    if (caller in ("member", "reader")) != at_peers or caller in ("stranger", "nobody"):
        return NO_CONNECTION
    served = (EXCHANGE, LOG, HEALTH) if at_peers else (DESK, HEALTH)
    if service not in [one.full_name for one in served]:
        return NO_METHOD
    if caller == "gone":
        return "PERSON_UNKNOWN"
    if caller == "reader":
        return IN if name in READER_MAY else "NOT_PERMITTED"
    if service == HEALTH.full_name or caller in ("first", "member"):
        return IN
    return IN if name in MAY[Role(caller)] else "NOT_PERMITTED"


async def heard(channel: grpc.aio.Channel, method: str) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(method)(BODY, timeout=10)
    error = parse_status(dict(caught.value.trailing_metadata() or ()).get(STATUS_KEY, b""))
    return error.reason if error else caught.value.code().name


def channels(node: Running, callers: dict[str, Colleague], **peers) -> dict[tuple[str, str], grpc.aio.Channel]:
    """Return a channel for each caller and listener."""
    place = node.place
    targets = {
        "peer port": node.node.address,
        "desk socket": f"unix:{node.node.desk_socket}",
        "desk_listen": node.node.desk_address,
    }
    keys = {caller: person.tls for caller, person in callers.items()}
    keys |= {caller: keys_of_place(peer) for caller, peer in peers.items()}
    made = {
        (caller, name): desk_channel(place, replace(place.first, tls=tls), target)
        for caller, tls in keys.items()
        for name, target in targets.items()
    }
    bare = grpc.ssl_channel_credentials(certificate_pem(place.organisation.node_certs[0]))
    options = [("grpc.ssl_target_name_override", place.org)]
    return made | {("nobody", name): grpc.aio.secure_channel(target, bare, options) for name, target in targets.items()}


def test_every_method_at_every_listener_is_open_to_exactly_those_who_may_call_it(tmp_path):
    place, member, reader = (make_place(tmp_path, f"{name}.example") for name in ("lab", "member", "reader"))

    async def run():
        async with running(place, config=replace(QUICK, desk_listen="127.0.0.1:0"), pull=False) as node:
            callers = {role.value: await node.admit(role.value, role) for role in Role}
            callers["gone"] = await node.admit("gone", *Role)
            await node.desk.RemovePerson(v1.RemovePersonRequest(name="gone"))
            callers |= {"first": place.first, "stranger": place.colleague("stranger")}
            await node.know(member)
            await node.know(reader, role=v1.PEER_ROLE_READER)
            made = channels(node, callers, member=member, reader=reader)
            for (caller, listener), channel in made.items():
                answers = {method: await heard(channel, method) for method in METHODS}
                assert answers == {method: expected(caller, listener, method) for method in METHODS}, (caller, listener)
                await channel.close()

    asyncio.run(run())


def test_the_permits_name_every_method_of_the_desk_and_no_other():
    assert PERMITS.keys() == {rpc.name for rpc in DESK.methods}


STRICT = {
    "all three of release, policy and keys": (
        tuple(Role),
        {"AddPerson"},
        {"ApplyPolicies", "DecideReview", "PostRecords"},
    ),
    "release and policy": ((Role.RELEASER, Role.POLICY_ADMIN), {"ApplyPolicies", "DecideReview"}, {"AddPerson"}),
    "policy and keys": ((Role.POLICY_ADMIN, Role.OPERATOR), {"ApplyPolicies", "AddPerson"}, {"DecideReview"}),
}


@pytest.mark.parametrize("case", STRICT)
def test_with_strict_whoever_holds_release_policy_and_keys_has_the_keys_alone(tmp_path, case):
    roles, may, may_not = STRICT[case]
    place = make_place(tmp_path, "lab.example")

    async def run():
        async with running(place) as node:
            person = await node.admit("both", *roles)
        async with running(place, config=replace(QUICK, strict=True), as_=person) as node:
            async with desk_channel(place, person, f"unix:{node.node.desk_socket}") as channel:
                answers = {name: await heard(channel, f"/{DESK.full_name}/{name}") for name in may | may_not}
            assert answers == {name: IN if name in may else "NOT_PERMITTED" for name in may | may_not}

    asyncio.run(run())
