"""This module measures Tocsin next to a TAXII server, OpenTAXII, with the same objects of about 2 KiB.

A peer fetches a record once: every turn of fetching everything begins with
copies of both homes as they were filled. What is added then comes on top of
the size.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.support.nodes import Place
from tests.support.processes import desk, serving

from benchmarks.figures import Figure, Found, Scale, Seconds, Work, ratio_of, take_turns
from benchmarks.progress import Steps, batches
from benchmarks.taxii_objects import finding, now
from benchmarks.taxii_servers import MEDALLION, OPENTAXII, Client, install, serve
from benchmarks.world import BATCH, UNLIMITED, found
from tocsin.exchange.page import MAX_ENTRIES
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2
from tocsin.v1.desk_service_pb2_grpc import DeskServiceStub

TITLE = "Next to a TAXII server"
ABOUT = f"""
The same on both sides: here a finding, there a STIX 2.1 `vulnerability` of 2 KiB. Theirs: OpenTAXII 0.9.3 on SQLite as
it comes (every commit is durable), one process of gunicorn, driven by taxii2-client 2.3.0, which keeps nothing of what
it fetches; no TLS, and nobody is asked who they are. Ours: two nodes, whose quotas are lifted (by default a peer gets a
third of a core, and 2,000 records an hour). What is posted over mutual TLS is linted, signed, logged, decided on and
durable; a peer that fetches verifies each record strictly, indexes it for search and stores it durably.

As it is published, OpenTAXII answers 500 on collections and on every POST: its identifiers are UUIDs, which its JSON
does not write. One line in `taxii_wsgi.py` has them written, as its maintainers do since. Besides, a limit for the size
of a message is set, without which it takes none.

Both page by {MAX_ENTRIES}, the most that a page of ours holds. OpenTAXII can also give everything in one answer, held
in memory by it and by its client: that is faster for as long as it fits, and stands beside the others.
"""

TURNS = {1_000: 5, 10_000: 3, 50_000: 1}
"""The sizes, and how often everything is fetched at each, at most: at 50,000 it takes OpenTAXII minutes."""
SMALLEST = min(TURNS)
SINGLES = 10  # added in one turn, by a call each
LAST = 100

OURS, WHOLE = "Tocsin", "OpenTAXII in one answer"
ALL, SINGLY, BATCHED, LATEST = "fetch all", "add one at a time", f"add {BATCH} at once", f"fetch the last {LAST}"
TARGETS = {
    SINGLY: dict.fromkeys(TURNS, 6.0),
    BATCHED: dict.fromkeys(TURNS, 6.0),
    ALL: {10_000: 2.0, 50_000: 10.0},
    LATEST: {10_000: 5.0, 50_000: 30.0},
}
OTHERS = {WHOLE: WHOLE, MEDALLION: "medallion's memory (quadratic: no fair headline)"}


class Measured(NamedTuple):
    """What it took both sides to add or fetch so many objects in one turn."""

    what: str
    count: int
    times: Found

    def rate(self, side: str) -> float:
        """Return how many objects a second it were."""
        return self.count / statistics.median(self.times[side])


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    install(steps)
    at_smallest: dict[str, Measured] = {}
    for size in TURNS if scale.full else tuple(TURNS)[:-1]:
        for measured in _at(size, scale, steps):
            yield from _figures(size, measured, at_smallest.setdefault(measured.what, measured))


def _at(size: int, scale: Scale, steps: Steps) -> Iterator[Measured]:
    """Fill both sides, and measure them at that size."""
    servers = (OPENTAXII, MEDALLION) if size == SMALLEST else (OPENTAXII,)
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as root, ExitStack() as running:
        folder = Path(root)
        theirs = {server: running.enter_context(serve(server, folder)) for server in servers}
        sides = Sides(size, folder, theirs, steps)
        yield sides.fetch_everything(min(scale.runs, TURNS[size]))
        yield from sides.add_on_top(scale.runs)


def _figures(size: int, measured: Measured, at_smallest: Measured) -> Iterator[Figure]:
    """Say how the two compare, and how much longer an object takes each of them than at the smallest size."""
    what, _, times = measured
    grown = [f"{side} {at_smallest.rate(side) / measured.rate(side):.1f}" for side in (OURS, OPENTAXII)]
    yield Figure(
        f"{what}, {size:,} there",
        ratio_of(times, OPENTAXII, OURS),
        of=OPENTAXII,
        at_least=TARGETS[what].get(size),
        size=size,
        series=what,
        plain=", ".join(f"{side} {measured.rate(side):,.0f} a second" for side in times),
        note=f"times as long for each as at {SMALLEST:,}: {', '.join(grown)}" if size > SMALLEST else "",
    )
    for other, named in OTHERS.items():
        if other in times:
            series = f"{what}, of {named}" if other == WHOLE else ""
            yield Figure(f"{what}, {size:,} there", ratio_of(times, other, OURS), of=named, size=size, series=series)


class Nodes:
    """A node, whose people post, and a peer of it, whose people fetch."""

    def __init__(self, source: Place, poster: DeskServiceStub, reader: DeskServiceStub) -> None:
        self._source, self._poster, self._reader = source.org, poster, reader

    def add(self, numbers: Sequence[int], *, at_once: int) -> Seconds:
        """Post the findings of some numbers, so many by each call."""
        begun = time.perf_counter()
        for first in range(0, len(numbers), at_once):
            drafts = [_draft(number) for number in numbers[first : first + at_once]]
            for result in self._poster.PostRecords(v1.PostRecordsRequest(drafts=drafts)).results:
                if not result.queued_for:
                    raise RuntimeError(f"a draft was not posted: {result.error_details}")
        return time.perf_counter() - begun

    def fetch(self, count: int) -> Seconds:
        """Let the peer fetch all that it does not have, which must be so many records."""
        begun = time.perf_counter()
        *_, last = self._reader.SyncPeers(v1.SyncPeersRequest(peers=[self._source]))
        took = time.perf_counter() - begun
        if last.records != count or last.error_reason:
            raise RuntimeError(f"{last.records:,} records instead of {count:,} {last.error_message}")
        return took


def _draft(number: int) -> v1.Draft:
    kind, tlp = record_pb2.RECORD_KIND_FINDING, record_pb2.TLP_AMBER
    return v1.Draft(kind=kind, tlp=tlp, content_json=json.dumps(finding(number)))


@contextmanager
def _running(folder: Path, source: Place, peer: Place) -> Iterator[Nodes]:
    """Run the nodes of both homes in a folder; neither calls the other unless it is told to."""
    here = [replace(place, root=folder / place.org) for place in (source, peer)]
    with ExitStack() as running:
        for place in here:
            log = folder / f"{place.org}.log"
            running.enter_context(serving(place, log=log, pull=False, **UNLIMITED))
        yield Nodes(source, *(running.enter_context(desk(place)) for place in here))


class Sides:
    """Both sides, filled alike: homes that nobody has open, and a server that runs."""

    def __init__(self, size: int, folder: Path, theirs: Mapping[str, Client], steps: Steps) -> None:
        self.size, self.theirs = size, theirs
        self._steps, self._folder, self._homes = steps, folder, folder / "homes"
        self._places = found(self._homes, "a.example", "b.example")
        with self.nodes() as nodes:
            for name, add in {OURS: nodes.add, **{name: client.add for name, client in theirs.items()}}.items():
                for batch in steps.each(list(batches(size, BATCH)), f"{size:,} to {name}, {BATCH} at once"):
                    add(batch, at_once=BATCH)

    def nodes(self) -> AbstractContextManager[Nodes]:
        """Run our nodes, with what they hold by now."""
        return _running(self._homes, *self._places)

    def fetch_everything(self, runs: int) -> Measured:
        """Fetch all there is, in turns; by our peer always for the first time."""

        def ours() -> Seconds:
            copies = self._folder / "copies"
            shutil.copytree(self._homes, copies, ignore=shutil.ignore_patterns("run"))
            with _running(copies, *self._places) as nodes:
                took = nodes.fetch(self.size)
            shutil.rmtree(copies)
            return took

        works: dict[str, Work] = {OURS: ours}
        for name, client in self.theirs.items():
            works[name] = partial(client.fetch, self.size, limit=MAX_ENTRIES)
        works[WHOLE] = partial(self.theirs[OPENTAXII].fetch, self.size)
        with self._steps.counting(f"fetch {self.size:,}", runs * len(works)) as done:
            return Measured(ALL, self.size, take_turns(runs, works, step=done))

    def add_on_top(self, runs: int) -> Iterator[Measured]:
        """Add one at a time, add a batch, fetch the last hundred: each in turns."""
        theirs = self.theirs[OPENTAXII]

        with self.nodes() as ours, self._steps.counting(f"on top of {self.size:,}", 7 * runs) as done:

            def fetch_last() -> Seconds:
                ours.add(range(LAST), at_once=LAST)
                return ours.fetch(LAST)

            def adding(what: str, count: int, at_once: int) -> Measured:
                adds = {OURS: ours.add, OPENTAXII: theirs.add}
                works = {name: partial(add, range(count), at_once=at_once) for name, add in adds.items()}
                return Measured(what, count, take_turns(runs, works, step=done))

            yield adding(SINGLY, SINGLES, 1)
            yield adding(BATCHED, BATCH, BATCH)
            ours.fetch(self.size + runs * (SINGLES + BATCH))
            before = now()
            theirs.add(range(LAST), at_once=LAST)
            works = {
                OURS: fetch_last,
                OPENTAXII: partial(theirs.fetch, LAST, limit=MAX_ENTRIES, added_after=before),
                WHOLE: partial(theirs.fetch, LAST, added_after=before),
            }
            yield Measured(LATEST, LAST, take_turns(runs, works, step=done))
