"""This module runs nodes as processes of their own for tests and benchmarks, as people start them.

What a process holds is read from its store by a connection that only reads, so
that to look costs the node nothing; what it uses, from the system.
"""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.support.nodes import SHARES_EVERYTHING, Place, desk_credentials, finding, put_policy
from tests.support.shared import ROOT
from tests.support.wire import now
from tocsin.config import desk_socket_path
from tocsin.desk.home import open_home
from tocsin.store.model import PeerRole, PeerState
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.desk_service_pb2_grpc import DeskServiceStub

START_SECONDS = 30
_KIB = 1024


@dataclass(frozen=True)
class Usage:
    """What a process uses: bytes of memory, threads, open descriptors."""

    memory: int
    threads: int
    descriptors: int


def introduce(places: Sequence[Place], *, policy: str = SHARES_EVERYTHING) -> None:
    """Make each a confirmed peer of the others, with a policy for them, while none of them runs."""
    for place in places:
        others = [other for other in places if other is not place]
        with open_home(place.root, now=now()) as home:
            for other in others:
                home.store.peers.add(
                    other.org,
                    document=other.organisation.document,
                    role=PeerRole.MEMBER,
                    state=PeerState.ACTIVE,
                    now=now(),
                )
        for other in others:
            put_policy(place, other, policy)


@contextmanager
def serving(place: Place, *, log: Path, inside: Sequence[str] = (), **settings: object) -> Iterator[subprocess.Popen]:
    """Run a node until the context ends; `inside` is a command that runs others, such as in a network of their own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    environment |= {"PYTHONPATH": str(ROOT / "node")}
    environment |= {f"TOCSIN_{name.upper()}": str(value) for name, value in settings.items()}
    command = [*inside, sys.executable, "-m", "tocsin", "--home", str(place.root)]
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait(place, process, log)
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(place: Place, process: subprocess.Popen, log: Path) -> None:
    with desk(place) as stub:
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                stub.GetStatus(v1.GetStatusRequest(), timeout=1)
            except grpc.RpcError:
                ended = process.poll() is not None or time.monotonic() > give_up
                assert not ended, f"{place.org} did not start:\n{log.read_text(errors='replace')[-2000:]}"
                time.sleep(0.05)
            else:
                return


@contextmanager
def desk(place: Place) -> Iterator[DeskServiceStub]:
    """Return the desk of a running node as the person who founded it."""
    credentials, options = desk_credentials(place, place.first)
    with grpc.secure_channel(f"unix:{desk_socket_path(place.root)}", credentials, options=options) as channel:
        yield DeskServiceStub(channel)


def post(stub: DeskServiceStub, *titles: str) -> list[str]:
    """Post findings with these titles, and return their digests."""
    answer = stub.PostRecords(v1.PostRecordsRequest(drafts=[finding(title) for title in titles]))
    assert [list(result.error_details) for result in answer.results] == [[]] * len(titles)
    return [result.record.digest for result in answer.results]


class Shelf:
    """What a node holds, read beside it."""

    def __init__(self, place: Place) -> None:
        self._connection = sqlite3.connect(f"file:{place.root / 'tocsin.db'}?mode=ro", uri=True, isolation_level=None)

    def holds(self, digest: str) -> bool:
        """Say whether a record has been committed."""
        return self._connection.execute("SELECT 1 FROM records WHERE digest = ?", (digest,)).fetchone() is not None

    def count(self) -> int:
        """Return how many records there are: none is ever deleted."""
        return self._connection.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()[0]

    def digests(self) -> set[str]:
        """Return the records that are there."""
        return {digest for (digest,) in self._connection.execute("SELECT digest FROM records")}

    def close(self) -> None:
        self._connection.close()


def held(place: Place) -> set[str]:
    """Return the digests of the records that a node holds."""
    with closing(Shelf(place)) as shelf:
        return shelf.digests()


def usage(process: subprocess.Popen) -> Usage:
    """Return what a process uses now (Linux)."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if ":" in line
    )
    return Usage(
        memory=int(status["VmRSS"].split()[0]) * _KIB,
        threads=int(status["Threads"]),
        descriptors=len(list(Path(f"/proc/{process.pid}/fd").iterdir())),
    )


def wait_until(condition, *, seconds: float) -> None:
    """Look again and again until a condition holds; fail after so many seconds."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"it did not come to that within {seconds} s"
        time.sleep(0.05)
