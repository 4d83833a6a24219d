"""This module measures how fast a node takes records in, from the wire to the disk.

A node of its own process serves pages that were made before; another one, as
people start it, follows that feed over mutual TLS. It reads the log of the
origin, verifies every record strictly, holds it against the contract, finds it
in the log, stores it with FULL, indexes it, and signs a receipt for the page.
The time is that from the first page that is asked for to the last receipt.

Beside it OpenSSL verifies the signatures of the same records, raw, on one core,
before and after. And a person asks the node for a record, again and again,
while it is idle and while it takes records in.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.support.nodes import Place
from tests.support.processes import desk, serving

from benchmarks.figures import Figure, Scale, percentile, spread, timed
from benchmarks.progress import Steps
from benchmarks.sender import make_pages, read_pages, write_pages
from benchmarks.world import UNLIMITED, fill, found, opened, shape
from tocsin.records.record import parse_record
from tocsin.v1 import desk_service_pb2 as v1

TITLE = "Ingest, end to end"
ABOUT = (
    "Two nodes in processes of their own, mutual TLS, pages of up to 256 records, which were made before. The quotas "
    "are lifted: by default a peer gets a third of a core, and 2,000 records an hour."
)
RECORDS = 20_000
SAMPLE = 1_000  # signatures that OpenSSL verifies at a time
CALLS_IDLE = 400
CALL_EVERY_SECONDS = 0.02
REST_SECONDS = 1.0
LONGEST_SECONDS = 900.0  # of one turn: one that hangs is a failure, and shows its logs


class Origin(NamedTuple):
    """What the sending node has: its home, its pages, and the signatures in them."""

    place: Place
    pages: Path
    signed: Sequence[tuple[Ed25519PublicKey, bytes, bytes]]
    what: str


class Run(NamedTuple):
    """What one run showed: seconds in all, and what each call took, idle and busy."""

    seconds: float
    idle: list[float]
    busy: list[float]


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sender, receiver = found(folder, "lab-a.example", "lab-b.example")
        origin = prepare(sender, receiver, folder / "pages", RECORDS, steps)
        rates, latencies, seconds = [], [], []
        for turn in steps.each(range(scale.runs), "ingest"):
            before = raw_seconds(origin)
            run = take_in(origin, receiver, folder / f"turn-{turn}")
            raw = (before + raw_seconds(origin)) / 2
            rates.append(raw * RECORDS / run.seconds)
            latencies.append(percentile(run.busy, 0.99) / percentile(run.idle, 0.99))
            seconds.append(run.seconds)
        yield Figure(
            f"ingest of {RECORDS:,} records ({origin.what})",
            spread(rates),
            of="OpenSSL's rate of raw verifying on one core",
            at_least=0.7,
            plain=f"{RECORDS / min(seconds):,.0f} records a second",
        )
        yield Figure("a call meanwhile, p99", spread(latencies), of="its p99 at an idle node", at_most=20)


def prepare(sender: Place, receiver: Place, path: Path, records: int, steps: Steps) -> Origin:
    """Post records, make the pages of them for the receiver, and return what there is to send."""
    with opened(sender) as (home, side):
        with steps.counting("post", records) as count:
            fill(home, side, records, partners=(receiver.organisation.org,), count=count)
        with steps.counting("make pages", records) as count:
            pages = (count(len(page.entries)) or page for page in make_pages(side, receiver.organisation.org))
            write_pages(path, pages)
    signed, what = [], ""
    for page in read_pages(path):
        for entry in page.entries[: SAMPLE - len(signed)]:
            record = parse_record(entry.presentation)
            key = Ed25519PublicKey.from_public_bytes(sender.organisation.record_keys[record.key_id].public_key)
            signed.append((key, record._jws.signature, record._jws.signing_input))
            if not what:
                form = shape(record.verify(sender.organisation, now=int(time.time())), record._claims)
                what = f"{form.disclosures} disclosures, {form.digests} digests, {form.size:,} bytes"
    return Origin(sender, path, signed, what)


def raw_seconds(origin: Origin) -> float:
    """Return what OpenSSL takes to verify one of the signatures."""
    started = time.perf_counter()
    for key, signature, message in origin.signed:
        key.verify(signature, message)
    return (time.perf_counter() - started) / len(origin.signed)


def take_in(origin: Origin, receiver: Place, folder: Path) -> Run:
    """Let a fresh copy of the receiver take everything from a fresh copy of the sender."""
    ours, theirs = copied(origin.place, folder / "sender"), copied(receiver, folder / "receiver")
    busy: list[float] = []
    with (
        sending(ours, origin.pages, log=folder / "sender.log") as said,
        serving(theirs, log=folder / "receiver.log", **UNLIMITED),
        desk(theirs) as stub,
    ):

        def call() -> float:
            return timed(lambda: stub.GetPeer(v1.GetPeerRequest(org=ours.org)) and None)

        give_up = time.monotonic() + LONGEST_SECONDS
        while "acknowledged" not in said:
            busy.append(call())
            time.sleep(CALL_EVERY_SECONDS)
            if "ended" in said or time.monotonic() > give_up:
                logs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
                raise RuntimeError(f"the sender has ended, or not all of it arrives\n{logs}")
        time.sleep(REST_SECONDS)
        idle = [call() for _ in range(CALLS_IDLE)]
    shutil.rmtree(folder)
    return Run(said["acknowledged"] - said["asked"], idle, busy)


def copied(place: Place, root: Path) -> Place:
    """Return a copy of a home."""
    shutil.copytree(place.root, root, ignore=shutil.ignore_patterns("*.sock"))
    return replace(place, root=root)


@contextmanager
def sending(place: Place, pages: Path, *, log: Path) -> Iterator[dict[str, float]]:
    """Run the node that serves pages; what it says comes with the moment when it did."""
    said: dict[str, float] = {}
    command = [sys.executable, "-m", "benchmarks.sender", str(place.root), str(pages), place.listen]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment())

    def listen() -> None:
        for line in process.stdout or ():
            for name, moment in json.loads(line).items():
                said.setdefault(name, moment)
        said["ended"] = time.monotonic()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        while not said:
            time.sleep(0.05)
        if "ended" in said:
            raise RuntimeError(f"the sender did not start: {log.read_text()[-2000:]}")
        yield said
    finally:
        process.terminate()
        process.wait()
        listener.join()


def environment() -> dict[str, str]:
    """Return the environment in which this package is found by another process."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
