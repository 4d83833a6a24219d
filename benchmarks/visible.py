"""This module measures how long a record takes from the call that posts it until a subscribed peer has committed it.

Two nodes run in processes of their own, as people start them. Records are
posted one at a time, each in a call of its own: some twenty a second, which is
a light load, and at half the rate at which the two of them keep up, which is
found in the same run. The clock starts before the call and stops when the
record is read in the store of the peer, by a reader beside it that looks again
and again; half a millisecond of that is the reader's.

It is stated next to a bare unary call over the same mutual TLS: gRPC's health
check, which the port of an otherwise idle node answers from memory. It is made
as often as records are posted, since whoever is called after a pause takes
longer, and back to back, which is the harder measure and has the target. The
middle is held against its middle, and the slowest hundredth against its slowest
hundredth.
"""

import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.nodes import Place, keys_of_place
from tests.support.processes import desk, serving

from benchmarks.figures import Figure, Scale, percentile, spread, timed
from benchmarks.progress import Steps
from benchmarks.world import KIND, TLP, UNLIMITED, content, found
from tocsin.identity.certificate import certificate_pem
from tocsin.schema.contract import enum_number
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.desk_service_pb2_grpc import DeskServiceStub

TITLE = "Published to visible"
ABOUT = "Two nodes in processes of their own, mutual TLS, one record in each call, from the call until the peer has it."
WARM = 60
LIGHT = 20.0
"""Records a second that are a light load."""
SECONDS = 5.0
"""How long each load is kept up in a turn."""
AT_ONCE = 4
"""Calls that are made at once, to find the rate at which the nodes keep up."""
CALLS = 400
BACK_TO_BACK = "back to back"
LOOK_SECONDS = 0.0005
LONGEST_SECONDS = 60.0

Waits = list[float]


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        ours, theirs = found(folder, "lab-a.example", "lab-b.example")
        for place in (ours, theirs):
            running.enter_context(serving(place, log=folder / f"{place.org}.log", **UNLIMITED))
        posts = Posts(running.enter_context(desk(ours)), running.enter_context(watching(theirs)))
        call = running.enter_context(calling(ours, theirs))
        posts.at(LIGHT, WARM)
        most = posts.most()
        steps.say(f"the two nodes keep up with {most:.0f} records a second, one in each call")
        rates = {"a light load": LIGHT, "half the maximum": most / 2}
        works = {load: partial(posts.at, rate, round(rate * SECONDS)) for load, rate in rates.items()}
        works |= {_calls(load): partial(_call_at, call, rate) for load, rate in rates.items()}
        works[BACK_TO_BACK] = lambda: [timed(call) for _ in range(CALLS)]
        turns: dict[str, list[Waits]] = {name: [] for name in works}
        for turn in steps.each(range(scale.runs), "published to visible"):
            for name in sorted(works, reverse=bool(turn % 2)):
                turns[name].append(works[name]())
    for load, rate in rates.items():
        for share in (0.5, 0.99):
            name = f"published to visible, {load} ({rate:.0f}/s), p{share * 100:.0f}"
            yield _figure(name, share, turns[BACK_TO_BACK], turns[load], of=BACK_TO_BACK, at_most=10)
            yield _figure(name, share, turns[_calls(load)], turns[load], of="as often")


def _calls(load: str) -> str:
    """Return the name of the bare calls that are held against a load."""
    return f"{load}: calls"


def _call_at(call: "Call", rate: float) -> Waits:
    """Make bare calls at a rate, and return what each took."""
    waits, begun = Waits(), time.monotonic()
    for place in range(round(rate * SECONDS)):
        time.sleep(max(0.0, begun + place / rate - time.monotonic()))
        waits.append(timed(call))
    return waits


def _figure(
    name: str, share: float, calls: list[Waits], waits: list[Waits], *, of: str, at_most: float | None = None
) -> Figure:
    ratios = [percentile(one, share) / percentile(bare, share) for one, bare in zip(waits, calls, strict=True)]
    shown = [percentile([each for turn in turns for each in turn], share) * 1000 for turns in (waits, calls)]
    return Figure(
        name,
        spread(ratios),
        of=f"a bare unary call, {of}: its p{share * 100:.0f}",
        at_most=at_most if share > 0.5 else None,
        plain="{:.1f} ms, the call {:.2f} ms".format(*shown),
    )


class Watch:
    """Sees records come up in the store of a peer, and keeps when it saw each, by its title."""

    def __init__(self, place: Place) -> None:
        self._store = f"file:{place.root / 'tocsin.db'}?mode=ro"
        self.seen: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def wait_for(self, titles: list[str]) -> None:
        """Wait until all of them are there."""
        give_up = time.monotonic() + LONGEST_SECONDS
        while not self.seen.keys() >= set(titles):
            if time.monotonic() > give_up:
                raise TimeoutError("records did not arrive at the peer")
            time.sleep(0.01)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        with closing(sqlite3.connect(self._store, uri=True, isolation_level=None)) as store:
            last = 0
            while not self._ended.wait(LOOK_SECONDS):
                rows = store.execute("SELECT id, title FROM records WHERE id > ? ORDER BY id", (last,)).fetchall()
                now = time.monotonic()
                for last, title in rows:  # noqa: B007 -- it goes on from the last one
                    self.seen[title] = now


class Posts:
    """Posts records, each with a number of its own, and says how long each took to be seen."""

    def __init__(self, stub: DeskServiceStub, watch: Watch) -> None:
        self._stub = stub
        self._watch = watch
        self._number = 0

    def at(self, rate: float, count: int) -> Waits:
        """Post so many at a rate, whatever became of those before, and return what each took."""
        numbers = self._numbers(count)
        with ThreadPoolExecutor(max_workers=32) as pool:
            begun, calls = time.monotonic(), []
            for place, number in enumerate(numbers):
                time.sleep(max(0.0, begun + place / rate - time.monotonic()))
                calls.append(pool.submit(self._post, number))
            titles = dict(call.result() for call in calls)
        self._watch.wait_for(list(titles))
        return [self._watch.seen[title] - called for title, called in titles.items()]

    def most(self) -> float:
        """Return how many a second are seen at the peer where a few are always on their way to the node."""
        begun, titles, ended = time.monotonic(), list[str](), threading.Event()

        def go_on() -> None:
            while not ended.is_set():
                (number,) = self._numbers(1)
                titles.append(self._post(number)[0])

        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            calls = [pool.submit(go_on) for _ in range(AT_ONCE)]
            try:
                time.sleep(SECONDS)
            finally:  # also where somebody interrupts it
                ended.set()
            for call in calls:
                call.result()
        self._watch.wait_for(titles)
        return len(titles) / (max(self._watch.seen[title] for title in titles) - begun)

    def _numbers(self, count: int) -> range:
        self._number += count
        return range(self._number - count, self._number)

    def _post(self, number: int) -> tuple[str, float]:
        said = content(number)
        draft = v1.Draft(
            kind=enum_number("RecordKind", KIND), tlp=enum_number("Tlp", TLP), content_json=json.dumps(said)
        )
        called = time.monotonic()
        (result,) = self._stub.PostRecords(v1.PostRecordsRequest(drafts=[draft])).results
        if result.error_reason:
            raise RuntimeError(f"a record was refused: {result.error_reason}")
        return str(said["title"]), called


@contextmanager
def watching(place: Place) -> Iterator[Watch]:
    with closing(Watch(place)) as watch:
        yield watch


@contextmanager
def calling(place: Place, caller: Place) -> Iterator["Call"]:
    """Return a call of a node, over mutual TLS as its peers call it."""
    keys = keys_of_place(caller)
    roots = certificate_pem(place.organisation.node_certs[0])
    credentials = grpc.ssl_channel_credentials(roots, keys.key, keys.certificate)
    options = [("grpc.ssl_target_name_override", place.org)]
    with grpc.secure_channel(place.listen, credentials, options=options) as channel:
        yield Call(health_pb2_grpc.HealthStub(channel))


class Call:
    """A bare unary call."""

    def __init__(self, stub: health_pb2_grpc.HealthStub) -> None:
        self._stub = stub

    def __call__(self) -> None:
        self._stub.Check(health_pb2.HealthCheckRequest())
