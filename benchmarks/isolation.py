"""This module measures what peers that misbehave cost the others, with real nodes in processes of their own.

    python -m benchmarks.isolation [RECORDS]

One node publishes; two honest peers follow its feed. Three more are there:

    stopped     a node that follows the feed, and is stopped by SIGSTOP
    slow        a reader of the feed through a wire that carries one byte a second to it
    flooding    a member that calls and hands over pages, ten times as often as its quotas allow

Records are posted one at a time; it is measured how long after the post was
answered each honest peer has committed one. Rounds with and without the three
alternate. The figure is the ratio of the 99th percentiles of two rounds that
follow one another, the median over all such pairs, since a busy machine has bad
seconds of its own; and how much memory the publishing node has taken in the
rounds with them. On two cores the median was 1.2, pairs lay between 0.8 and
1.7, and the memory from the first round to the last went up by 6 MiB.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from subprocess import Popen

from tests.support.nodes import Place, keys_of_place, make_place
from tests.support.processes import Shelf, desk, introduce, post, serving, usage, wait_until

from tocsin.errors import TocsinError
from tocsin.exchange.directory import known_organisation
from tocsin.exchange.peer import PeerClient
from tocsin.identity.certificate import TlsKeys
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1.desk_service_pb2_grpc import DeskServiceStub

RECORDS = 60
ROUNDS = 7
BACKLOG = 400
EVERY_SECONDS = 0.1
LONGEST_SECONDS = 30.0
CALLS_A_MINUTE = 600  # the quota of calls in this run; the flood makes ten times as many
FLOOD_A_SECOND = 10 * CALLS_A_MINUTE // 60
AT_FULL_SPEED = 32 * 1024  # bytes that the slow wire carries before it becomes slow: a handshake and the first answer
MEBIBYTE = 1024 * 1024
NICE = 19  # those who misbehave have machines of their own: here they take what the nodes leave


def flood(keys: TlsKeys, document: bytes, listen: str) -> None:
    """Call a node ten times as often as it allows: half of the calls ask for pages, half hand over what is none."""

    async def run() -> None:
        os.nice(NICE)
        async with PeerClient(known_organisation(document), listen, keys=keys) as client:
            await client.connect()
            running: set[asyncio.Task[None]] = set()
            number = 0
            while True:
                began = time.monotonic()
                for _ in range(FLOOD_A_SECOND // 20):
                    task = asyncio.create_task(call(client, number))
                    running.add(task)
                    task.add_done_callback(running.discard)
                    number += 1
                await asyncio.sleep(max(0.0, 0.05 - (time.monotonic() - began)))

    async def call(client: PeerClient, number: int) -> None:
        with contextlib.suppress(TocsinError):
            if number % 2:
                await client.pull("")
            else:
                await client.deliver(v1.Page(statement="x" * 10_000), last_receipt="")

    asyncio.run(run())


def read_slowly(keys: TlsKeys, document: bytes, listen: str) -> None:
    """Follow the feed of a node through a wire that, after the beginning, carries one byte a second."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, budget: float) -> None:
        carried = 0
        while data := await reader.read(4096 if carried < budget else 1):
            writer.write(data)
            await writer.drain()
            carried += len(data)
            if carried >= budget:
                await asyncio.sleep(1)

    async def wire(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = listen.rsplit(":", 1)
        back, out = await asyncio.open_connection(host, int(port), limit=4096)
        await asyncio.gather(carry(reader, out, budget=float("inf")), carry(back, writer, budget=AT_FULL_SPEED))

    async def run() -> None:
        os.nice(NICE)
        server = await asyncio.start_server(wire, "127.0.0.1", 0, limit=4096)
        port = server.sockets[0].getsockname()[1]
        while True:
            with contextlib.suppress(TocsinError):
                async with PeerClient(known_organisation(document), f"127.0.0.1:{port}", keys=keys) as client:
                    await client.connect()
                    async for _ in client.subscribe(""):
                        pass

    asyncio.run(run())


@contextmanager
def misbehaving(stopped: Popen[bytes], slow: Place, flooding: Place, target: Place) -> Iterator[None]:
    """Let the three misbehave."""
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(
            target=job, args=(keys_of_place(place), target.organisation.document, target.listen), daemon=True
        )
        for job, place in ((read_slowly, slow), (flood, flooding))
    ]
    for process in processes:
        process.start()
    stopped.send_signal(signal.SIGSTOP)
    time.sleep(5)  # until they are at it
    try:
        yield
    finally:
        stopped.send_signal(signal.SIGCONT)
        for process in processes:
            process.kill()
            process.join()
        time.sleep(1)


def measure(stub: DeskServiceStub, shelves: list[Shelf], count: int, *, name: str) -> list[float]:
    """Post records one at a time, and return how many seconds each took to be at each honest peer."""
    waits = []
    for number in range(count):
        (digest,) = post(stub, f"{name} {number}")
        posted = time.monotonic()
        missing = list(shelves)
        while missing:
            for shelf in [each for each in missing if each.holds(digest)]:
                waits.append(time.monotonic() - posted)
                missing.remove(shelf)
            if time.monotonic() - posted > LONGEST_SECONDS:
                raise SystemExit(f"record {number} of round {name} did not arrive within {LONGEST_SECONDS} s")
            time.sleep(0.002)
        time.sleep(max(0.0, EVERY_SECONDS - (time.monotonic() - posted)))
    return waits


def percentile(values: list[float], rank: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[rank - 1]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder, ExitStack() as running:
        root = Path(folder)
        names = ("publisher", "first", "second", "stopped", "slow", "flooding")
        places = {name: make_place(root, f"{name}.example") for name in names}
        introduce(list(places.values()))
        processes = {
            name: running.enter_context(
                serving(places[name], log=root / f"{name}.log", calls_per_minute=CALLS_A_MINUTE)
            )
            for name in names[:4]
        }
        publisher = processes["publisher"]
        stub = running.enter_context(desk(places["publisher"]))
        shelves = [running.enter_context(closing(Shelf(places[name]))) for name in ("first", "second")]
        for start in range(0, BACKLOG, 100):
            last = post(stub, *(f"backlog {number}" for number in range(start, start + 100)))[-1]
        wait_until(lambda: all(shelf.holds(last) for shelf in shelves), seconds=120)
        measure(stub, shelves, 20, name="warm")
        alone: list[list[float]] = []
        beside: list[list[float]] = []
        memory = []
        for round_ in range(ROUNDS):
            alone.append(measure(stub, shelves, count, name=f"alone {round_}"))
            with misbehaving(processes["stopped"], places["slow"], places["flooding"], places["publisher"]):
                memory.append(usage(publisher).memory)
                beside.append(measure(stub, shelves, count, name=f"beside {round_}"))
                memory.append(usage(publisher).memory)
        report(alone, beside, memory)


def report(alone: list[list[float]], beside: list[list[float]], memory: list[int]) -> None:
    """Print the figures."""
    for name, rounds in (("undisturbed", alone), ("beside the three", beside)):
        middle = (statistics.median(percentile(waits, rank) for waits in rounds) * 1000 for rank in (50, 99))
        shown = ", ".join(f"p{rank} {each:.1f} ms" for rank, each in zip((50, 99), middle, strict=True))
        print(f"{name:17} {shown}  (medians of {len(rounds)} rounds of {len(rounds[0])} arrivals)")
    ratios = [percentile(with_, 99) / percentile(without, 99) for without, with_ in zip(alone, beside, strict=True)]
    shown = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    print(f"p99 beside / undisturbed: {statistics.median(ratios):.2f}   (target: under 2; pairs: {shown})")
    grown = [f"{(after - before) / MEBIBYTE:+.1f}" for before, after in zip(memory[::2], memory[1::2], strict=True)]
    print(f"memory of the publisher in each round with them: {', '.join(grown)} MiB")
    print(f"                  from first to last: {(memory[-1] - memory[0]) / MEBIBYTE:+.1f} MiB")


if __name__ == "__main__":
    main()
