"""What our client makes of a peer's node that does not keep to the protocol."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.support.wire import founded, keys_of
from tocsin.errors import PeerMisbehaved, PeerRefused, PeerUnreachable, StaleCursor, TocsinError
from tocsin.exchange import peer as peer_module
from tocsin.exchange.client import PEER_CURSOR, PEER_REASON, PEER_RECEIPT
from tocsin.exchange.peer import PeerClient, open_client
from tocsin.exchange.status import RETRY_AFTER, STATUS_KEY, status_of
from tocsin.exchange.wire import MAX_MESSAGE_BYTES
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1.exchange_service_pb2_grpc import ExchangeServiceServicer, add_ExchangeServiceServicer_to_server

US, PEER = founded("lab-a.example"), founded("server.example")
ESCAPES = "\x1b[31mcall this number\x1b[0m"


class Hostile(ExchangeServiceServicer):
    """Answers as it was told to."""

    def __init__(self, answer) -> None:
        self.answer = answer

    async def Pull(self, request, context):  # noqa: N802
        return await self.answer(context)

    async def Acknowledge(self, request, context):  # noqa: N802
        return await self.answer(context)

    async def Deliver(self, request, context):  # noqa: N802
        return await self.answer(context)

    async def Recover(self, request, context):  # noqa: N802
        return await self.answer(context)

    async def RequestDisclosure(self, request, context):  # noqa: N802
        return await self.answer(context)

    async def Subscribe(self, request, context):  # noqa: N802
        yield v1.SubscribeResponse()
        yield await self.answer(context)


@asynccontextmanager
async def serving(answer):
    """Serve `answer` as the peer's node, and yield the address."""
    keys = keys_of(PEER)
    server = grpc.aio.server()
    add_ExchangeServiceServicer_to_server(Hostile(answer), server)
    credentials = grpc.ssl_server_credentials(
        [(keys.key, keys.certificate)], root_certificates=keys_of(US).certificate, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def calling(answer, act):
    """Serve `answer`, and return what `act` makes of it."""

    async def run():
        async with (
            serving(answer) as address,
            PeerClient(PEER.organisation, address, keys=keys_of(US)) as client,
        ):
            return await act(client)

    return asyncio.run(run())


def answer_to_pull(answer) -> TocsinError:
    async def act(client):
        with pytest.raises(TocsinError) as caught:
            await client.pull("")
        return caught.value

    return calling(answer, act)


def aborting(code: grpc.StatusCode, written: bytes | None = None):
    async def answer(context):
        trailing = ((STATUS_KEY, written),) if written is not None else ()
        await context.abort(code, ESCAPES, trailing)

    return answer


def test_a_refusal_is_told_by_its_reason_and_in_our_own_words():
    status = status_of(StaleCursor(ESCAPES, metadata={"cursor": ESCAPES}), at_home=False)
    error = answer_to_pull(aborting(grpc.StatusCode.OUT_OF_RANGE, status.SerializeToString()))
    assert isinstance(error, PeerRefused)
    assert error.metadata == {PEER_REASON: "STALE_CURSOR"}
    assert "call this number" not in str(error)


def test_a_time_to_come_back_is_kept():
    status = status_pb2.Status(code=8)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="QUOTA_EXCEEDED", domain="tocsin"))
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromSeconds(44)
    status.details.add().Pack(retry)
    error = answer_to_pull(aborting(grpc.StatusCode.RESOURCE_EXHAUSTED, status.SerializeToString()))
    assert error.metadata[RETRY_AFTER] == "44"


SAID = {
    "a cursor": (PEER_CURSOR, f"{'A' * 22}.41.{'B' * 10}A", True),
    "a cursor from before there were tags": (PEER_CURSOR, f"{'A' * 22}.41", True),
    "a cursor that is none": (PEER_CURSOR, ESCAPES, False),
    "the digest of a receipt": (PEER_RECEIPT, "A" * 43, True),
    "a receipt that is none": (PEER_RECEIPT, "A" * 44, False),
    "something else": ("advice", "run this", False),
}


@pytest.mark.parametrize(("name", "value", "is_taken"), SAID.values(), ids=SAID)
def test_of_what_a_refusal_says_only_what_has_a_form_of_ours_is_taken(name, value, is_taken):
    status = status_of(StaleCursor("stale", metadata={name: value}), at_home=False)
    error = answer_to_pull(aborting(grpc.StatusCode.OUT_OF_RANGE, status.SerializeToString()))
    assert (error.metadata.get(name) == value) is is_taken


STRANGE = {
    "a status without details": aborting(grpc.StatusCode.PERMISSION_DENIED),
    "details that do not parse": aborting(grpc.StatusCode.PERMISSION_DENIED, b"\xff\xff"),
    "a method that is not there": aborting(grpc.StatusCode.UNIMPLEMENTED),
}


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE)
def test_an_answer_that_no_node_gives_is_misbehaviour(answer):
    error = answer_to_pull(answer)
    assert isinstance(error, PeerMisbehaved)
    assert "call this number" not in str(error)


def test_a_page_over_the_limit_is_misbehaviour():
    async def answer(context):
        return v1.PullResponse(page=v1.Page(statement="x" * MAX_MESSAGE_BYTES))

    assert isinstance(answer_to_pull(answer), PeerMisbehaved)


def test_a_node_that_never_answers_is_unreachable(monkeypatch):
    monkeypatch.setattr(peer_module, "CALL_SECONDS", 0.1)

    async def answer(context):
        await asyncio.Event().wait()

    assert isinstance(answer_to_pull(answer), PeerUnreachable)


SLOW = {
    "pulling": lambda client: client.pull(""),
    "acknowledging": lambda client: client.acknowledge(["receipt"]),
    "delivering": lambda client: client.deliver(v1.Page(), last_receipt=""),
    "recovering": lambda client: client.recover(""),
}


@pytest.mark.parametrize("call", SLOW.values(), ids=SLOW)
def test_no_call_waits_for_a_peer_that_takes_its_time(monkeypatch, call):
    monkeypatch.setattr(peer_module, "CALL_SECONDS", 0.1)

    async def answer(context):
        await asyncio.Event().wait()

    async def act(client):
        with pytest.raises(PeerUnreachable) as caught:
            await call(client)
        return caught.value

    assert calling(answer, act).reason == "PEER_UNREACHABLE"


def test_a_stream_without_a_sign_of_life_is_given_up(monkeypatch):
    async def answer(context):
        await asyncio.Event().wait()

    async def act(client):
        stream = client.subscribe("")
        assert not (await anext(stream)).HasField("page")
        monkeypatch.setattr(peer_module, "SILENCE_SECONDS", 0.1)
        with pytest.raises(PeerUnreachable) as caught:
            await anext(stream)
        return caught.value

    assert "silent" in calling(answer, act).message


def test_a_stream_that_breaks_is_told_as_it_broke():
    async def act(client):
        stream = client.subscribe("")
        assert not (await anext(stream)).HasField("page")
        with pytest.raises(PeerMisbehaved):
            await anext(stream)
        return True

    assert calling(aborting(grpc.StatusCode.INTERNAL), act)


def test_the_first_endpoint_that_answers_is_used():
    async def nothing_new(context):
        return v1.PullResponse()

    async def run():
        async with serving(nothing_new) as address:
            there = replace(PEER.organisation, endpoints=("127.0.0.1:1", address))
            async with open_client(there, keys=keys_of(US)) as client:
                assert not (await client.pull("")).HasField("page")
        assert (await complaint(there)).where == address

    asyncio.run(run())


def test_a_peer_without_an_endpoint_cannot_be_called():
    assert "no endpoint" in asyncio.run(complaint(PEER.organisation)).message


async def complaint(organisation) -> PeerUnreachable:
    with pytest.raises(PeerUnreachable) as caught:
        async with open_client(organisation, keys=keys_of(US)):
            pass
    return caught.value


def test_an_endpoint_that_reads_like_a_socket_of_this_machine_is_a_host(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def run():
        reached = asyncio.Event()

        async def note(reader, writer):
            reached.set()
            writer.close()

        server = await asyncio.start_unix_server(note, "7443")
        async with server, PeerClient(PEER.organisation, "unix:7443", keys=keys_of(US)) as client:
            with pytest.raises(PeerUnreachable):
                await client.connect()
        assert not reached.is_set()

    asyncio.run(run())


def asked_for_fields(state):
    async def answer(context):
        return v1.RequestDisclosureResponse(state=state)

    async def act(client):
        return await client.request_disclosure("A" * 43, paths=["prompts"], why="to reproduce it")

    return calling(answer, act)


def test_an_origin_says_where_a_request_stands():
    assert asked_for_fields(v1.REQUEST_STATE_DECLINED) == v1.REQUEST_STATE_DECLINED


@pytest.mark.parametrize("state", [v1.REQUEST_STATE_UNSPECIFIED, 9])
def test_an_origin_that_does_not_say_where_a_request_stands_breaks_the_protocol(state):
    with pytest.raises(PeerMisbehaved) as refused:
        asked_for_fields(state)
    assert refused.value.reason == "PEER_MISBEHAVED"
