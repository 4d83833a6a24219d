"""This module measures a node to which a thousand peers are subscribed: its memory, and what a record costs each.

The peers are clients in a process beside the node, each with its own keys,
identity and connection. A bare gRPC server with the same options holds a
hundred streams open, to compare with. Another node has a hundred peers, and
the two take turns with one record to all that they have.
"""

import asyncio
import multiprocessing
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
import grpc.aio
from tests.support.nodes import Place, finding, keys_of_place, make_place
from tests.support.organisations import Founded, private_pem, signer
from tests.support.organisations import found as founded
from tests.support.policies import apply
from tests.support.processes import desk, serving

from benchmarks.figures import Figure, Scale, ratio_of, spread, take_turns
from benchmarks.progress import Steps
from benchmarks.usage import memory, seconds
from benchmarks.world import POLICY
from tocsin.desk.home import open_home
from tocsin.encoding import encode_base64url
from tocsin.exchange.cursor import parse_cursor
from tocsin.exchange.directory import known_organisation
from tocsin.exchange.peer import PeerClient
from tocsin.exchange.receipt import Receipt, sign_receipt
from tocsin.exchange.wire import MAX_CALLS_AT_ONCE, SERVER_OPTIONS
from tocsin.identity.certificate import TlsKeys, certificate_pem
from tocsin.identity.names import OrgId
from tocsin.process import prepare_files
from tocsin.records.disclosure import digest_of
from tocsin.store.model import Outcome, PeerRole, PeerState, Verdict
from tocsin.v1 import desk_service_pb2 as desk_v1
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1.exchange_service_pb2_grpc import ExchangeServiceServicer, add_ExchangeServiceServicer_to_server

TITLE = "A thousand subscribed peers"
ABOUT = (
    "A node in a process of its own, and its peers in another, each with its own connection (mutual TLS 1.3); "
    "one with a hundred peers beside it, and a bare gRPC server that holds a hundred streams. "
    "The time of a record is from its post to the last peer that has its page; each peer signs for it."
)
PEERS, FEW = 1000, 100
AT_ONCE = 16  # handshakes
LONGEST_SECONDS = 120.0
KIB = 1024

spawning = multiprocessing.get_context("spawn")


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    now = int(time.time())
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder, ExitStack() as stack:
        root = Path(folder)
        peers = [founded(f"peer-{number}.example", now=now) for number in steps.each(range(PEERS), "found peers")]
        few, many = (make_place(root, f"hub-of-{count}.example") for count in (FEW, PEERS))
        with steps.counting("put policies in force", 1):
            introduce(few, peers[:FEW], now=now)
            introduce(many, peers, now=now)
        of_bare = _bare(few, peers[:FEW], steps)
        small = _Hub(few, FEW, stack.enter_context(serving(few, log=root / "few.log")).pid, stack, peers, steps)
        large = _Hub(many, PEERS, stack.enter_context(serving(many, log=root / "many.log")).pid, stack, peers, steps)
        yield Figure(
            f"memory of an idle peer, one of {PEERS:,}",
            spread([large.idle / of_bare]),
            of="that of a bare gRPC stream over mutual TLS",
            plain=f"{large.idle / KIB:,.0f} KiB, the bare one {of_bare / KIB:,.0f} KiB",
        )
        large.post("warm"), small.post("warm")
        with steps.counting("post", 2 * scale.runs) as count:
            works = {"few": lambda: small.post("for few"), "many": lambda: large.post("for many")}
            times = take_turns(scale.runs, works, step=count)
        used = min(large.used) / PEERS
        yield Figure(
            f"one record to {PEERS:,} subscribed peers, for each",
            ratio_of(times, "many", "few", times=FEW / PEERS),
            of=f"the time of one to {FEW}, for each",
            at_most=1.5,
            plain=f"{min(times['many']) / PEERS * 1e3:.1f} ms each, {used * 1e3:.1f} ms of the node's processor time",
            note="the processor time is that of its receipt as well",
        )


class _Hub:
    """A node with its peers subscribed; `idle` is the memory that each of them takes."""

    def __init__(
        self, place: Place, size: int, pid: int, stack: ExitStack, peers: Sequence[Founded], steps: Steps
    ) -> None:
        self._size, self._pid = size, pid
        self._stub = stack.enter_context(desk(place))
        self.used: list[float] = []
        before = memory(pid)
        self._crowd = stack.enter_context(subscribed(place, place.listen, peers[:size], steps))
        self.idle = (memory(pid) - before) / size

    def post(self, title: str) -> float:
        """Post a record, and return the seconds until the last peer has it."""
        begun, used = time.monotonic(), seconds(self._pid)
        self._stub.PostRecords(desk_v1.PostRecordsRequest(drafts=[finding(title)]))
        ended = self._crowd.wait_for(self._size)
        self.used.append(seconds(self._pid) - used)
        return ended - begun


def _bare(place: Place, peers: Sequence[Founded], steps: Steps) -> float:
    """Return the memory that each of some streams takes in a server that does nothing but hold them open."""
    with bare(place, peers) as (process, listen):
        before = memory(process.pid or 0)
        with subscribed(place, listen, peers, steps):
            return (memory(process.pid or 0) - before) / len(peers)


def introduce(hub: Place, peers: Sequence[Founded], *, now: int) -> None:
    """Make peers known to the hub, with a policy for each; what they say themselves is not asked for."""
    with open_home(hub.root, now=now) as home:
        with home.store.transaction():
            for peer in peers:
                home.store.peers.add(
                    peer.organisation.org,
                    document=peer.document,
                    role=PeerRole.READER,
                    state=PeerState.ACTIVE,
                    now=now,
                )
        files = {f"{peer.organisation.org}.toml": POLICY.format(partner=peer.organisation.org) for peer in peers}
        apply(home, files, by=hub.first, now=now)


class Crowd:
    """Peers in another process that are subscribed to a node."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def wait_for(self, more: int) -> float:
        """Wait until so many more pages were signed for, or streams begun, and return when the last one had come."""
        last = 0.0
        while more:
            if not self._pipe.poll(LONGEST_SECONDS):
                raise RuntimeError(f"{more} more were waited for, and did not come within {LONGEST_SECONDS:.0f} s")
            came = self._pipe.recv()
            if isinstance(came, str):
                raise RuntimeError(came)
            more, last = more - 1, max(last, came)
        return last


@contextmanager
def subscribed(hub: Place, listen: str, peers: Sequence[Founded], steps: Steps) -> Iterator[Crowd]:
    """Have peers subscribed to what listens at an address."""
    keys = {
        peer.organisation.org: TlsKeys(private_pem(peer.tls), certificate_pem(peer.organisation.node_certs[0]))
        for peer in peers
    }
    pipe, theirs = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_subscribe, args=(theirs, hub.organisation.document, listen, keys), daemon=True)
    process.start()
    theirs.close()
    try:
        crowd = Crowd(pipe)
        with steps.counting("subscribe", len(peers)) as count:
            for _ in peers:
                crowd.wait_for(1)
                count()
        yield crowd
    finally:
        process.kill()
        process.join()


def _subscribe(pipe: Connection, document: bytes, listen: str, keys: Mapping[OrgId, TlsKeys]) -> None:
    """Subscribe as each peer, sign for each page, and say when the first sign of life came, and when each page did."""
    prepare_files()
    hub = known_organisation(document)

    async def follow(org: OrgId, handshakes: asyncio.Semaphore) -> None:
        receipts = _Receipts(org, hub.org)
        async with PeerClient(hub, listen, keys=keys[org]) as client:
            answers = client.subscribe("")
            async with handshakes:
                await anext(answers)
            pipe.send(time.monotonic())
            async for answer in answers:
                if answer.HasField("page"):
                    came = time.monotonic()
                    await client.acknowledge([receipts.sign(answer.page)])
                    pipe.send(came)

    async def run() -> None:
        handshakes = asyncio.Semaphore(AT_ONCE)
        try:
            await asyncio.gather(*(follow(org, handshakes) for org in keys))
        except Exception as error:  # noqa: BLE001  (whoever waits for it says what it was)
            pipe.send(f"{type(error).__name__}: {error}")

    asyncio.run(run())


class _Receipts:
    """The receipts of one peer, for pages of one record each."""

    def __init__(self, org: OrgId, hub: OrgId) -> None:
        self._org, self._hub = org, hub
        self._signer = signer(f"{org} delivery")
        self._chain = encode_base64url(secrets.token_bytes(16))
        self._number, self._previous = 0, ""

    def sign(self, page: v1.Page) -> str:
        """Sign that the record of a page is stored."""
        position = parse_cursor(page.cursor)
        (entry,) = page.entries
        if position is None:
            raise RuntimeError("the page says to begin again")
        self._number += 1
        receipt = Receipt(
            issuer=self._org,
            audience=self._hub,
            issued_at=int(time.time()),
            chain=self._chain,
            number=self._number,
            previous=self._previous,
            page=digest_of(page.statement),
            feed_id=position.feed_id,
            first=position.sequence,
            last=position.sequence,
            cursor=page.cursor,
            verdicts=(Verdict(position.sequence, Outcome.STORED, digest=entry.digest),),
        )
        signed = sign_receipt(receipt, signer=self._signer)
        self._previous = signed.digest
        return signed.statement


@contextmanager
def bare(hub: Place, peers: Sequence[Founded]) -> Iterator[tuple[multiprocessing.process.BaseProcess, str]]:
    """Run a gRPC server with our options and nothing else, and return where it listens."""
    roots = b"".join(certificate_pem(peer.organisation.node_certs[0]) for peer in peers)
    pipe, theirs = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_hold_open, args=(theirs, keys_of_place(hub), roots), daemon=True)
    process.start()
    try:
        yield process, f"127.0.0.1:{pipe.recv()}"
    finally:
        process.kill()
        process.join()


def _hold_open(pipe: Connection, keys: TlsKeys, roots: bytes) -> None:
    class Idle(ExchangeServiceServicer):
        async def Subscribe(self, request: object, context: object) -> AsyncIterator[v1.SubscribeResponse]:  # noqa: N802
            yield v1.SubscribeResponse()
            await asyncio.sleep(LONGEST_SECONDS)

    async def run() -> None:
        server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS_AT_ONCE)
        add_ExchangeServiceServicer_to_server(Idle(), server)
        credentials = grpc.ssl_server_credentials([(keys.key, keys.certificate)], roots, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        pipe.send(port)
        await server.wait_for_termination()

    prepare_files()
    asyncio.run(run())
