"""Attacks 33 to 39 of the threat model, over real TLS on loopback: the node lives, and others are served.

33, 35, 36 and 37 have their tests in `test_peer_port` and `test_permits`, among
the rules that answer them; here is what a peer can do with frames and sockets.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509

from tests.services.test_peer_port import minted
from tests.support.wire import Port, founded, keys_of, raw_channel, serve_port
from tocsin.exchange import wire
from tocsin.exchange.peer import PeerClient
from tocsin.exchange.status import STATUS_KEY, parse_status
from tocsin.exchange.wire import MAX_MESSAGE_BYTES, SERVER_OPTIONS
from tocsin.services import listener
from tocsin.store.model import PeerState
from tocsin.v1 import exchange_service_pb2 as v1

LAB, OTHER = founded("lab-a.example"), founded("lab-b.example")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, CANCEL = 0x1, 0x4, (8).to_bytes(4, "big")
DELIVER = "/tocsin.v1.ExchangeService/Deliver"
PULL = "/tocsin.v1.ExchangeService/Pull"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write an HTTP/2 frame (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header_block(method: str = PULL, **more: str) -> bytes:
    """Write header fields as literals without indexing (RFC 7541 section 6.2.2)."""
    fields = {":method": "POST", ":scheme": "https", ":path": method, ":authority": "server.example"}
    fields |= {"te": "trailers", "content-type": "application/grpc", **more}
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


class Raw:
    """A TLS connection on which a test writes whatever it likes."""

    def __init__(self, port: Port, keys_file: Path, *, begin: bool = True) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(keys_file)
        context.set_alpn_protocols(["h2"])
        host, _, number = port.address.rpartition(":")
        self.socket = context.wrap_socket(socket.create_connection((host, int(number)), timeout=5))
        if begin:
            self.send(PREFACE + frame(SETTINGS, 0, 0))

    def send(self, data: bytes) -> bool:
        """Send, and say whether the node still takes anything."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield what the node says, as kind and payload, until it closes or says nothing for a while."""
        read = b""
        while True:
            while len(read) >= 9 and len(read) >= 9 + int.from_bytes(read[:3], "big"):
                size = int.from_bytes(read[:3], "big")
                yield read[3], read[9 : 9 + size]
                read = read[9 + size :]
            try:
                more = self.socket.recv(65_536)
            except OSError:
                return
            if not more:
                return
            read += more


@contextmanager
def attacking(port: Port, folder: Path, *, connections: int = 1, begin: bool = True) -> Iterator[list[Raw]]:
    """Open connections as a peer that is known and lets nobody down until now."""
    keys = folder / "attacker.pem"
    keys.write_bytes(keys_of(LAB).key + keys_of(LAB).certificate)
    with ExitStack() as opened:
        raws = []
        for _ in range(connections):
            raws.append(Raw(port, keys, begin=begin))
            opened.callback(raws[-1].socket.close)
        yield raws


async def assert_others_are_served(port: Port) -> None:
    async with PeerClient(port.server.organisation, port.address, keys=keys_of(OTHER)) as other, asyncio.timeout(10):
        assert not (await other.pull("")).HasField("page")


def served(tmp_path, attack) -> None:
    """Serve two peers, let one attack in a thread, and see that the other is served during it and afterwards."""

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)
            attacking_ = asyncio.create_task(asyncio.to_thread(attack, port))
            await assert_others_are_served(port)
            async with asyncio.timeout(60):
                await attacking_
            await assert_others_are_served(port)

    asyncio.run(run())


def test_33_a_certificate_that_another_peers_key_has_minted_opens_nothing(tmp_path):
    """The handshake fails; where TLS lets one in, the pin does not: see `test_peer_port`."""

    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)
            issuer = x509.load_der_x509_certificate(LAB.organisation.node_certs[0])
            async with raw_channel(port, minted("lab-b.example", LAB.tls, issuer)) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(PULL)(b"", timeout=5)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert port.service.reached == []

    asyncio.run(run())


def test_34_the_live_stream_of_a_removed_peer_ends_within_five_seconds(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            async with PeerClient(port.server.organisation, port.address, keys=keys_of(LAB)) as lab:
                stream = lab.subscribe("")
                await anext(stream)
                port.set_state(LAB, PeerState.REMOVED)
                async with asyncio.timeout(5):
                    with pytest.raises(Exception, match="PIN_MISMATCH"):
                        await anext(stream)

    asyncio.run(run())


CLAIMS = {
    "an organisation": (("x-org", "lab-b.example"),),
    "the same key twice": (("x-org", "lab-b.example"), ("x-org", "server.example")),
    "what only gRPC says": (("grpc-previous-rpc-attempts", "3"), ("grpc-accept-encoding", "lab-b.example")),
    "bytes": (("x-org-bin", b"\xff\xfe"),),
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
def test_35_what_metadata_says_is_ignored(tmp_path, claims):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)
            async with raw_channel(port, keys_of(LAB)) as channel:
                await channel.unary_unary(PULL)(b"", timeout=5, metadata=claims)
            assert port.service.reached == [("Pull", "lab-a.example")]

    asyncio.run(run())


def test_35_more_metadata_than_the_limit_is_refused(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)
            async with raw_channel(port, keys_of(LAB)) as channel:
                for metadata in ((("x-long", "x" * 17_000),), tuple((f"x-{n}", "x" * 100) for n in range(400))):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await channel.unary_unary(PULL)(b"", timeout=5, metadata=metadata)
                    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert port.service.reached == []
            await assert_others_are_served(port)

    asyncio.run(run())


def test_38_rapid_reset(tmp_path):
    """CVE-2023-44487: calls that are begun and reset at once, faster than anybody can answer them."""

    def attack(port):
        with attacking(port, tmp_path, connections=4) as raws:
            for raw in raws:
                for first in range(1, 2001, 100):
                    burst = b"".join(
                        frame(HEADERS, END_HEADERS, number, header_block()) + frame(RST_STREAM, 0, number, CANCEL)
                        for number in range(first * 2 - 1, (first + 100) * 2 - 1, 2)
                    )
                    if not raw.send(burst):
                        break

    served(tmp_path, attack)


def test_38_many_idle_connections(tmp_path):
    def attack(port):
        with attacking(port, tmp_path, connections=200) as raws:
            assert all(raw.send(frame(SETTINGS, 1, 0)) for raw in raws)

    served(tmp_path, attack)


def test_38_connections_that_never_finish_their_handshake(tmp_path):
    def attack(port):
        host, _, number = port.address.rpartition(":")
        with ExitStack() as opened:
            for _ in range(200):
                silent = opened.enter_context(socket.create_connection((host, int(number)), timeout=5))
                silent.sendall(b"\x16\x03\x01")

    served(tmp_path, attack)


def test_38_slow_headers(tmp_path):
    """A header block that comes a byte a frame and never ends (the CONTINUATION flood, CVE-2024-27316, among it)."""

    def attack(port):
        with attacking(port, tmp_path) as (raw,):
            raw.send(frame(HEADERS, 0, 1, header_block()))
            for _ in range(3000):
                if not raw.send(frame(CONTINUATION, 0, 1, b"\0\1x\1y")):
                    break

    served(tmp_path, attack)


def test_38_stalled_streams(tmp_path):
    """Streams whose answers nobody reads: flow control holds them, and the others go on."""

    def attack(port):
        with attacking(port, tmp_path, connections=8) as raws:
            for raw in raws:
                raw.send(frame(SETTINGS, 0, 0, b"\x00\x04" + bytes(4)))  # an initial window of nothing
                for number in range(1, 41, 2):
                    block = header_block("/tocsin.v1.ExchangeService/Subscribe")
                    raw.send(frame(HEADERS, END_HEADERS, number, block) + frame(DATA, END_STREAM, number, bytes(5)))
            for raw in raws:
                raw.socket.settimeout(0.2)
                list(raw.frames())

    served(tmp_path, attack)


def test_38_ping_flood(tmp_path):
    """Two pings without data within the interval are forgiven; then the connection ends with too_many_pings."""

    def attack(port):
        with attacking(port, tmp_path) as (raw,):
            for _ in range(2000):
                if not raw.send(frame(PING, 0, 0, bytes(8))):
                    break
            said = [payload for kind, payload in raw.frames() if kind == GOAWAY]
            assert not said or b"too_many_pings" in said[-1]

    served(tmp_path, attack)


def test_38_settings_flood(tmp_path):
    def attack(port):
        with attacking(port, tmp_path) as (raw,):
            for _ in range(2000):
                if not raw.send(frame(SETTINGS, 0, 0, b"\x00\x03\x00\x00\x00\x64")):
                    break

    served(tmp_path, attack)


def test_38_frames_that_are_no_http_2(tmp_path):
    def attack(port):
        with attacking(port, tmp_path, connections=20, begin=False) as raws:
            for raw in raws:
                raw.send(os.urandom(20_000))
        with attacking(port, tmp_path, connections=5) as raws:
            for raw in raws:
                raw.send(frame(DATA, 0, 0, b"on stream 0") + frame(HEADERS, END_HEADERS, 2, header_block()))

    served(tmp_path, attack)


def groups(depth: int) -> bytes:
    """Write groups in groups: an unknown field as deep as one likes."""
    return b"\x0b" * depth + b"\x0c" * depth


UNKNOWN = b"\xba\x3e\xc0\x84\x3d" + bytes(1_000_000)  # field 999, a million bytes long
BODIES = {
    "4 MiB and one byte": (bytes(MAX_MESSAGE_BYTES + 1), None, grpc.StatusCode.RESOURCE_EXHAUSTED, ""),
    "a gzip bomb": (bytes(64 * 1024 * 1024), grpc.Compression.Gzip, grpc.StatusCode.RESOURCE_EXHAUSTED, ""),
    "groups 101 deep": (groups(101), None, grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST"),
    "groups 100,000 deep": (groups(100_000), None, grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST"),
    "a field of another wire type": (b"\x08\x01\x15\0\0\0\0", None, grpc.StatusCode.OK, ""),
    "1 MB of unknown fields": (UNKNOWN, None, grpc.StatusCode.OK, ""),
    "a length that is longer than the message": (
        b"\x0a\xff\xff\xff\x7f",
        None,
        grpc.StatusCode.INVALID_ARGUMENT,
        "BAD_REQUEST",
    ),
}


@pytest.mark.parametrize(("body", "compression", "code", "reason"), BODIES.values(), ids=BODIES)
def test_38_messages_that_are_too_large_too_deep_or_of_another_shape(tmp_path, body, compression, code, reason):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)
            async with raw_channel(port, keys_of(LAB)) as channel:
                answer = channel.unary_unary(DELIVER)(body, timeout=10, compression=compression)
                assert await answer.code() == code
                status = dict(await answer.trailing_metadata() or ()).get(STATUS_KEY, b"")
                error = parse_status(status)
                assert (error.reason if error else "") == reason
            await assert_others_are_served(port)

    asyncio.run(run())


def test_39_every_limit_of_the_peer_port_is_set():
    options = dict(SERVER_OPTIONS)
    expected = {
        "grpc.max_concurrent_streams": 64,
        "grpc.max_receive_message_length": 4 * 1024 * 1024,
        "grpc.max_send_message_length": 4 * 1024 * 1024,
        "grpc.max_metadata_size": 16 * 1024,
        "grpc.absolute_max_metadata_size": 16 * 1024,
        "grpc.max_connection_idle_ms": 300_000,
        "grpc.max_connection_age_ms": 3_600_000,
        "grpc.max_connection_age_grace_ms": 30_000,
        "grpc.http2.min_ping_interval_without_data_ms": 30_000,
        "grpc.server_handshake_timeout_ms": 10_000,
    }
    assert {name: options.get(name) for name in expected} == expected
    assert listener.MAX_CALLS_AT_ONCE == wire.MAX_CALLS_AT_ONCE


def test_39_a_client_pings_less_often_than_a_server_allows():
    client, server = dict(wire.client_options("lab-a.example")), dict(SERVER_OPTIONS)
    assert client["grpc.keepalive_time_ms"] > server["grpc.http2.min_ping_interval_without_data_ms"]
    assert client["grpc.keepalive_permit_without_calls"] == 0


def test_39_more_streams_than_a_connection_may_have_wait_and_take_nobody_elses(tmp_path):
    def attack(port):
        with attacking(port, tmp_path) as (raw,):
            for number in range(1, 401, 2):
                raw.send(frame(HEADERS, END_HEADERS, number, header_block()))
            raw.socket.settimeout(0.5)
            kinds = [kind for kind, _ in raw.frames()]
            assert RST_STREAM in kinds or GOAWAY in kinds or HEADERS in kinds

    served(tmp_path, attack)


def test_the_attacker_is_served_again_when_it_behaves(tmp_path):
    async def run():
        async with serve_port(tmp_path) as port:
            port.know(LAB)
            port.know(OTHER)
            await asyncio.to_thread(_flood, port, tmp_path)
            async with PeerClient(port.server.organisation, port.address, keys=keys_of(LAB)) as lab:
                assert (await lab.pull("")) == v1.PullResponse()

    asyncio.run(run())


def _flood(port: Port, folder: Path) -> None:
    with attacking(port, folder) as (raw,):
        raw.send(os.urandom(50_000))
