"""What a caller meets at the peer port, over real TLS on loopback."""

import asyncio
import socket
import ssl
from dataclasses import replace

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.organisations import private_pem, seeded
from tests.support.wire import (
    Port,
    founded,
    keys_of,
    now,
    raw_channel,
    serve_port,
)
from tocsin.errors import PeerRefused, PeerUnreachable, TocsinError
from tocsin.exchange.peer import PEER_REASON, PeerClient
from tocsin.exchange.status import RETRY_AFTER, STATUS_KEY, parse_status
from tocsin.exchange.wire import MAX_MESSAGE_BYTES
from tocsin.identity.certificate import TlsKeys, certificate_pem, make_certificate
from tocsin.identity.keys import generate_p256
from tocsin.identity.root import next_version
from tocsin.services import calls
from tocsin.services.doorkeeper import Quota
from tocsin.store.model import PeerRole, PeerState
from tocsin.v1 import desk_service_pb2, exchange_service_pb2, log_service_pb2
from tocsin.v1 import exchange_service_pb2 as v1

LAB = founded("lab-a.example")
OTHER = founded("lab-b.example")


def client(port: Port, keys: TlsKeys) -> PeerClient:
    return PeerClient(port.server.organisation, port.address, keys=keys)


async def refused(awaitable) -> TocsinError:
    with pytest.raises(TocsinError) as caught:
        await awaitable
    return caught.value


async def raw_call(port: Port, keys: TlsKeys, method: str, body: bytes = b"", **more) -> bytes | grpc.aio.AioRpcError:
    async with raw_channel(port, keys) as channel:
        try:
            return await channel.unary_unary(method)(body, timeout=5, **more)
        except grpc.aio.AioRpcError as failure:
            return failure


def reason_of(failure: grpc.aio.AioRpcError) -> str:
    written = dict(failure.trailing_metadata() or ()).get(STATUS_KEY, b"")
    error = parse_status(written)
    return error.reason if error else ""


def minted(org: str, issuer_key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate) -> TlsKeys:
    """Mint a certificate with another peer's key, as only a hostile peer would."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, org)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(org)]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return TlsKeys(private_pem(key), certificate.public_bytes(Encoding.PEM))


def test_a_peer_is_known_by_its_key(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)
            async with client(port, keys_of(LAB)) as lab, client(port, keys_of(OTHER)) as other:
                assert not (await lab.pull("")).HasField("page")
                assert not (await other.pull("")).HasField("page")
            assert port.service.reached == [("Pull", "lab-a.example"), ("Pull", "lab-b.example")]

    asyncio.run(run())


def test_a_stranger_gets_no_connection_and_is_told_to_compare_fingerprints(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(OTHER)
            async with client(port, keys_of(LAB)) as stranger:
                error = await refused(stranger.pull(""))
            assert isinstance(error, PeerUnreachable)
            assert error.reason == "PEER_UNREACHABLE"
            assert "compare fingerprints" in error.hint
            assert port.service.reached == []

    asyncio.run(run())


def test_a_node_without_peers_lets_nobody_in(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port, client(port, keys_of(LAB)) as stranger:
            assert isinstance(await refused(stranger.pull("")), PeerUnreachable)

    asyncio.run(run())


def test_a_peer_that_is_added_while_the_node_runs_gets_in(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            async with client(port, keys_of(LAB)) as early:
                assert isinstance(await refused(early.pull("")), PeerUnreachable)
            port.know(LAB)
            async with client(port, keys_of(LAB)) as later:
                assert not (await later.pull("")).HasField("page")

    asyncio.run(run())


def test_a_certificate_for_one_peer_minted_by_another_peers_key_is_refused(tmp_path):
    """The handshake fails already, because an honest peer's certificate may sign no other."""

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)
            issuer = x509.load_der_x509_certificate(OTHER.organisation.node_certs[0])
            failure = await raw_call(
                port, minted("lab-a.example", OTHER.tls, issuer), "/tocsin.v1.ExchangeService/Pull"
            )
            assert isinstance(failure, grpc.aio.AioRpcError)
            assert failure.code() == grpc.StatusCode.UNAVAILABLE
            assert port.service.reached == []

    asyncio.run(run())


def test_a_minted_certificate_that_tls_lets_in_is_refused_by_its_pin(tmp_path, monkeypatch):
    """TLS does let it in where the issuer's certificate says nothing about signing: then only the pin is left."""

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hostile root")])
            like = x509.load_der_x509_certificate(LAB.organisation.node_certs[0])
            hostile = (
                x509.CertificateBuilder(name, name, key.public_key(), 1)
                .not_valid_before(like.not_valid_before_utc)
                .not_valid_after(like.not_valid_after_utc)
                .sign(key, hashes.SHA256())
            )
            roots = port.directory.roots + hostile.public_bytes(Encoding.PEM)
            monkeypatch.setattr(type(port.directory), "roots", roots)
            failure = await raw_call(port, minted("lab-a.example", key, hostile), "/tocsin.v1.ExchangeService/Pull")
            assert isinstance(failure, grpc.aio.AioRpcError)
            assert (failure.code(), reason_of(failure)) == (grpc.StatusCode.UNAUTHENTICATED, "PIN_MISMATCH")
            assert port.service.reached == []

    asyncio.run(run())


def test_a_client_that_speaks_tls_1_2_gets_nothing(tmp_path):
    """gRPC's own client always offers 1.3: the frames of a call are written by hand here."""

    def call_over(port: Port, version: ssl.TLSVersion) -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        (tmp_path / "both.pem").write_bytes(keys_of(LAB).key + keys_of(LAB).certificate)
        context.load_cert_chain(tmp_path / "both.pem")
        context.set_alpn_protocols(["h2"])
        host, _, number = port.address.rpartition(":")
        with socket.create_connection((host, int(number)), timeout=5) as plain, context.wrap_socket(plain) as tls:
            tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + pull_call())
            return read_until_closed_or(tls, b"grpc-status")

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            old = await asyncio.to_thread(call_over, port, ssl.TLSVersion.TLSv1_2)
            assert port.service.reached == []
            assert b"BAD_TLS_VERSION" in old or b"not TLS 1.3" in old
            new = await asyncio.to_thread(call_over, port, ssl.TLSVersion.TLSv1_3)
            assert port.service.reached == [("Pull", "lab-a.example")]
            assert b"grpc-status" in new

    asyncio.run(run())


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Write an HTTP/2 frame (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def pull_call() -> bytes:
    """Write the frames of a Pull: header fields as literals without indexing (RFC 7541 section 6.2.2)."""
    fields = {
        b":method": b"POST",
        b":scheme": b"https",
        b":path": b"/tocsin.v1.ExchangeService/Pull",
        b":authority": b"server.example",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    block = b"".join(b"\0" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in fields.items())
    return frame(1, 0x4, 1, block) + frame(0, 0x1, 1, bytes(5))


def read_until_closed_or(tls: ssl.SSLSocket, mark: bytes) -> bytes:
    read = b""
    while mark not in read and (more := tls.recv(65_536)):
        read += more
    return read


STATES = {
    "pending": (PeerState.PENDING, "PEER_PENDING"),
    "suspended": (PeerState.SUSPENDED, "PEER_SUSPENDED"),
}


@pytest.mark.parametrize(("state", "reason"), STATES.values(), ids=STATES)
def test_a_peer_that_is_not_active_gets_a_real_answer_and_nothing_else(tmp_path, state, reason):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB, state=state)
            async with client(port, keys_of(LAB)) as lab:
                for call in (
                    lab.pull(""),
                    lab.acknowledge(()),
                    lab.deliver(v1.Page(), last_receipt=""),
                    anext(lab.subscribe("")),
                ):
                    error = await refused(call)
                    assert isinstance(error, PeerRefused)
                    assert error.metadata[PEER_REASON] == reason
            assert port.service.reached == []

    asyncio.run(run())


def test_a_removed_peer_is_a_stranger_on_the_connection_it_still_has(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            async with client(port, keys_of(LAB)) as lab:
                await lab.pull("")
                port.set_state(LAB, PeerState.REMOVED)
                error = await refused(lab.pull(""))
            assert error.metadata[PEER_REASON] == "PIN_MISMATCH"
            assert len(port.service.reached) == 1

    asyncio.run(run())


ENDINGS = {
    "removed": (PeerState.REMOVED, "PIN_MISMATCH"),
    "suspended": (PeerState.SUSPENDED, "PEER_SUSPENDED"),
}


@pytest.mark.parametrize(("state", "reason"), ENDINGS.values(), ids=ENDINGS)
def test_the_live_stream_of_a_peer_that_is_stopped_ends_at_once(tmp_path, state, reason):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)
            async with client(port, keys_of(LAB)) as lab, client(port, keys_of(OTHER)) as other:
                stopped, untouched = lab.subscribe(""), other.subscribe("")
                assert (await anext(stopped)).page.cursor == "first"
                assert (await anext(untouched)).page.cursor == "first"
                port.set_state(LAB, state)
                async with asyncio.timeout(5):
                    error = await refused(anext(stopped))
                assert isinstance(error, PeerRefused)
                assert error.metadata[PEER_REASON] == reason
                assert port.service.open_streams == 1
                await untouched.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("patience", [0, 1.0])
def test_a_stream_whose_reader_has_stalled_ends_too(tmp_path, monkeypatch, patience):
    """A stream stuck in flow control is ended like any other, or reset where its reader takes nothing."""
    monkeypatch.setattr(calls, "LAST_WRITE_SECONDS", patience)

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)

            async def flood(request, context):
                port.service.open_streams += 1
                try:
                    while True:
                        yield v1.SubscribeResponse(page=v1.Page(cursor="x" * 1_000_000))
                finally:
                    port.service.open_streams -= 1

            port.service.Subscribe = flood
            async with raw_channel(port, keys_of(LAB)) as channel:
                call = channel.unary_stream("/tocsin.v1.ExchangeService/Subscribe")(b"")
                await call.read()
                port.set_state(LAB, PeerState.REMOVED)
                async with asyncio.timeout(5):
                    while port.service.open_streams:
                        await asyncio.sleep(0.01)
                    with pytest.raises(grpc.aio.AioRpcError):
                        await read_to_the_end(call)

    asyncio.run(run())


def test_the_stream_of_a_certificate_that_was_replaced_ends_at_once(tmp_path):
    tls = generate_p256(seeded("another tls key"))
    certificate = make_certificate(LAB.organisation.org, private_key=tls, now=now(), random=seeded("serial"))
    details = replace(LAB.organisation, node_certs=(certificate,))
    document = next_version(LAB.organisation, details, signers=LAB.roots, now=now())

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            async with client(port, keys_of(LAB)) as thief:
                await anext(stopped := thief.subscribe(""))
                port.store.peers.set_document(LAB.organisation.org, document)
                port.directory.refresh()
                port.door.end_unwelcome(LAB.organisation.org)
                async with asyncio.timeout(5):
                    error = await refused(anext(stopped))
                assert error.metadata[PEER_REASON] == "PIN_MISMATCH"
                assert (await refused(thief.pull(""))).metadata[PEER_REASON] == "PIN_MISMATCH"
            async with client(port, TlsKeys(private_pem(tls), certificate_pem(certificate))) as lab:
                await lab.pull("")

    asyncio.run(run())


def test_a_peer_that_stalls_every_stream_it_has_holds_up_nobody_else(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)

            async def flood(request, context):
                while True:
                    yield v1.SubscribeResponse(page=v1.Page(cursor="x" * 1_000_000))

            port.service.Subscribe = flood
            async with raw_channel(port, keys_of(LAB)) as channel:
                subscribe = channel.unary_stream("/tocsin.v1.ExchangeService/Subscribe")
                stalled = [subscribe(b"") for _ in range(8)]
                for call in stalled:
                    await call.read()
                async with asyncio.timeout(5), client(port, keys_of(OTHER)) as other:
                    for _ in range(100):
                        await other.pull("")

    asyncio.run(run())


async def read_to_the_end(call) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


NOT_A_MESSAGE = b"\xff" * 40


def test_a_reader_is_refused_before_the_body_is_parsed(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB, role=PeerRole.READER)
            failure = await raw_call(port, keys_of(LAB), "/tocsin.v1.ExchangeService/Deliver", NOT_A_MESSAGE)
            assert (failure.code(), reason_of(failure)) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED")
            async with client(port, keys_of(LAB)) as lab:
                assert not (await lab.pull("")).HasField("page")
                stream = lab.subscribe("")
                assert (await anext(stream)).page.cursor == "first"
                await stream.aclose()

    asyncio.run(run())


def test_a_member_that_sends_what_does_not_parse_is_told_so(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            nested = b""
            for _ in range(200):
                nested = b"\x0b" + nested + b"\x0c"  # groups in groups: an unknown field, 200 deep
            for body in (NOT_A_MESSAGE, nested):
                failure = await raw_call(port, keys_of(LAB), "/tocsin.v1.ExchangeService/Deliver", body)
                assert (failure.code(), reason_of(failure)) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST")
            assert port.service.reached == []

    asyncio.run(run())


def test_what_the_caller_says_about_itself_is_ignored(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB, role=PeerRole.READER)
            claims = (("x-org", "lab-b.example"), ("x-role", "member"), ("authorization", "Bearer member"))
            method = "/tocsin.v1.ExchangeService/Deliver"
            failure = await raw_call(port, keys_of(LAB), method, metadata=claims)
            assert failure.code() == grpc.StatusCode.PERMISSION_DENIED
            await raw_call(port, keys_of(LAB), "/tocsin.v1.ExchangeService/Pull", metadata=claims)
            assert port.service.reached == [("Pull", "lab-a.example")]
            failure = await raw_call(port, keys_of(LAB), method, metadata=(("x-long", "x" * 40_000),))
            assert failure.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    asyncio.run(run())


def methods_of(file: FileDescriptor) -> list[str]:
    return [f"/{service.full_name}/{rpc.name}" for service in file.services_by_name.values() for rpc in service.methods]


FOREIGN = [
    *methods_of(desk_service_pb2.DESCRIPTOR),
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.channelz.v1.Channelz/GetServers",
]


@pytest.mark.parametrize("role", PeerRole)
def test_nothing_that_belongs_to_our_own_people_is_served_to_peers(tmp_path, role):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB, role=role)
            answers = {method: await raw_call(port, keys_of(LAB), method) for method in FOREIGN}
            assert {method: answer.code() for method, answer in answers.items()} == dict.fromkeys(
                FOREIGN, grpc.StatusCode.UNIMPLEMENTED
            )

    assert len(FOREIGN) > 15
    asyncio.run(run())


SERVED = [*methods_of(exchange_service_pb2.DESCRIPTOR), *methods_of(log_service_pb2.DESCRIPTOR)]
HEALTH = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"]
FOR_MEMBERS = ["/tocsin.v1.ExchangeService/Deliver"]
CALLERS = {
    "a member": (PeerRole.MEMBER, PeerState.ACTIVE, {}),
    "a reader": (PeerRole.READER, PeerState.ACTIVE, dict.fromkeys(FOR_MEMBERS, "NOT_PERMITTED")),
    "a pending member": (PeerRole.MEMBER, PeerState.PENDING, dict.fromkeys(SERVED + HEALTH, "PEER_PENDING")),
    "a pending reader": (PeerRole.READER, PeerState.PENDING, dict.fromkeys(SERVED + HEALTH, "PEER_PENDING")),
    "an origin that is only known": (
        PeerRole.MEMBER,
        PeerState.KNOWN,
        dict.fromkeys(SERVED + HEALTH, "PIN_MISMATCH"),
    ),
    "a suspended member": (PeerRole.MEMBER, PeerState.SUSPENDED, dict.fromkeys(SERVED + HEALTH, "PEER_SUSPENDED")),
}


@pytest.mark.parametrize(("role", "state", "refusals"), CALLERS.values(), ids=CALLERS)
def test_each_caller_may_call_exactly_what_its_role_and_state_allow(tmp_path, role, state, refusals):
    async def first_answer(channel, method) -> str:
        call = channel.unary_stream(method)(b"", timeout=5)  # reads a single answer as well
        try:
            await call.read()
        except grpc.aio.AioRpcError as failure:
            return reason_of(failure) or failure.code().name
        finally:
            call.cancel()
        return ""

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB, role=role, state=state)
            async with raw_channel(port, keys_of(LAB)) as channel:
                answers = {method: await first_answer(channel, method) for method in SERVED + HEALTH}
            assert {method: reason for method, reason in answers.items() if reason} == refusals

    asyncio.run(run())


def test_health_answers_to_peers(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            async with raw_channel(port, keys_of(LAB)) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                for service in ("", "tocsin.v1.ExchangeService", "tocsin.v1.LogService"):
                    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
                    assert answer.status == health_pb2.HealthCheckResponse.SERVING
                watch = stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=5)
                assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
                watch.cancel()
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Check(health_pb2.HealthCheckRequest(service="tocsin.v1.DeskService"), timeout=5)
                assert caught.value.code() == grpc.StatusCode.NOT_FOUND
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.List(health_pb2.HealthListRequest(), timeout=5)
                assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(run())


def test_a_message_over_the_limit_is_refused_and_the_node_goes_on(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            body = b"\x0a" + b"\xff\xff\xff\x7f" + bytes(MAX_MESSAGE_BYTES)
            failure = await raw_call(port, keys_of(LAB), "/tocsin.v1.ExchangeService/Deliver", body)
            assert failure.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            bomb = await raw_call(
                port,
                keys_of(LAB),
                "/tocsin.v1.ExchangeService/Deliver",
                bytes(MAX_MESSAGE_BYTES * 4),
                compression=grpc.Compression.Gzip,
            )
            assert bomb.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            async with client(port, keys_of(LAB)) as lab:
                assert not (await lab.pull("")).HasField("page")

    asyncio.run(run())


def test_calls_over_the_quota_are_refused_until_the_minute_is_over(tmp_path):
    seconds = [1000.0]

    async def run():
        quota = Quota(calls_per_minute=3, streams=8)
        async with serve_port(tmp_path, quota=quota, monotonic=lambda: seconds[0]) as port:
            port.know(LAB)
            port.know(OTHER)
            async with client(port, keys_of(LAB)) as lab, client(port, keys_of(OTHER)) as other:
                for _ in range(3):
                    await lab.pull("")
                seconds[0] += 20
                error = await refused(lab.pull(""))
                assert error.metadata[PEER_REASON] == "QUOTA_EXCEEDED"
                assert int(error.metadata[RETRY_AFTER]) == 41
                await other.pull("")
                seconds[0] += 40
                for _ in range(3):
                    await lab.pull("")
                assert (await refused(lab.pull(""))).metadata[PEER_REASON] == "QUOTA_EXCEEDED"

    asyncio.run(run())


def test_streams_over_the_quota_are_refused_until_one_ends(tmp_path):
    async def run():
        async with serve_port(tmp_path, quota=Quota(calls_per_minute=100, streams=1)) as port:
            port.know(LAB)
            async with client(port, keys_of(LAB)) as lab:
                await anext(first := lab.subscribe(""))
                assert (await refused(anext(lab.subscribe("")))).metadata[PEER_REASON] == "QUOTA_EXCEEDED"
                await lab.pull("")
                await first.aclose()
                async with asyncio.timeout(5):
                    while port.service.open_streams:
                        await asyncio.sleep(0.01)
                await anext(second := lab.subscribe(""))
                await second.aclose()

    asyncio.run(run())


def test_an_expired_identity_document_opens_no_door(tmp_path):
    async def run():
        async with serve_port(tmp_path, clock=lambda: now() + 400 * 86_400) as port:
            port.know(LAB)
            async with client(port, keys_of(LAB)) as lab:
                assert (await refused(lab.pull(""))).metadata[PEER_REASON] == "IDENTITY_OUTDATED"

    asyncio.run(run())


def test_a_bug_is_answered_with_a_request_id_and_its_text_stays_nowhere(tmp_path, caplog):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            body = v1.PullRequest(cursor="canary-0001").SerializeToString()
            failure = await raw_call(port, keys_of(LAB), "/tocsin.v1.ExchangeService/Pull", body)
            assert failure.code() == grpc.StatusCode.INTERNAL
            error = parse_status(dict(failure.trailing_metadata())[STATUS_KEY])
            assert error.reason == "INTERNAL"
            request_id = error.metadata["request_id"]
            assert request_id in caplog.text
            assert "ValueError" in caplog.text
            assert "canary-0001" not in caplog.text + str(failure.debug_error_string()) + error.message

    asyncio.run(run())


def test_another_organisations_node_behind_the_address_is_not_spoken_to(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            expected = founded("aisi.example")
            async with PeerClient(expected.organisation, port.address, keys=keys_of(LAB)) as lab:
                assert isinstance(await refused(lab.pull("")), PeerUnreachable)

    asyncio.run(run())


def test_a_node_that_is_not_there_is_unreachable():
    async def run():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{unused.getsockname()[1]}"
            async with PeerClient(OTHER.organisation, address, keys=keys_of(LAB)) as lab:
                error = await refused(lab.pull(""))
        assert isinstance(error, PeerUnreachable)
        assert error.where == address

    asyncio.run(run())
