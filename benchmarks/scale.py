"""This module measures what a store with very many records costs, next to one with ten thousand.

    publish            a record is stored, logged and weighed for two partners, in a durable transaction of its own
    page at the end    the page of a partner's feed behind the last entry that it has, with what was published since
    page in the middle the page behind the middle one: what went before, and goes again
    list               the desk's page of 50 behind the middle of all records, by its token
    read               a record by its digest, and one by its id
    search             a word that one record has, and one that all have
    open               a home that was closed is opened
    open after a crash a home that was not closed is opened: all of it is read
    start              a node starts as a process, until it answers

The two stores take turns.
"""

import logging
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count

from tests.support.nodes import Place
from tests.support.processes import serving

from benchmarks.figures import Figure, Scale, ratio_of, take_turns, timed
from benchmarks.progress import Steps
from benchmarks.stock import Stock, stocked
from benchmarks.world import make_record, opened
from tocsin.desk.home import open_home
from tocsin.desk.reading import Reading
from tocsin.desk.room import NO_EVENTS, Room
from tocsin.exchange.cursor import format_cursor
from tocsin.exchange.outbox import next_page
from tocsin.exchange.publish import publish
from tocsin.identity.names import OrgId
from tocsin.store.left import take
from tocsin.store.model import RecordFilter
from tocsin.v1 import desk_service_pb2 as v1

TITLE = "Scale"
ABOUT = (
    "Two homes, filled with the same kind of record; what a partner follows is the whole feed. Each figure is the time "
    "with so many records to the time with 10,000, in turns. A store that was closed is opened without reading it all "
    "(docs/decisions/0035); one that was not is read whole, which takes as long as it is large."
)
SMALL = 10_000
LARGE, LARGEST = 100_000, 1_000_000
POSTS, LISTS, POINTS, OPENS = 50, 20, 200, 5
SEARCHES = {"rare": 100, "frequent": 2}
RARE, FREQUENT = "777", "injection"  # a number of one record; those with four digits stand in ids as well
PAGES, POINT_READS, PUBLISHING, STARTING = 1.3, 1.3, 1.5, 1.3  # times as long


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    sizes = (LARGE, LARGEST) if scale.full else (LARGE,)
    small = stocked(SMALL, steps)
    for size in sizes:
        large = stocked(size, steps)
        with ExitStack() as stack:
            shelves = [Shelf(stock, stack) for stock in (small, large)]
            with steps.counting(f"work with {size:,} records", 2 * scale.runs * len(WORKS)) as step:
                for what, of, at_most in WORKS:
                    works = {"small": partial(of, shelves[0]), "large": partial(of, shelves[1])}
                    yield _figure(what, take_turns(scale.runs, works, step=step), size, at_most=at_most)
        yield from _starts(small, large, scale, steps)


class Shelf:
    """A home of some size that is open, and what is looked for in it."""

    def __init__(self, stock: Stock, stack: ExitStack) -> None:
        self._home, self._side = stack.enter_context(opened(stock.place))
        room = Room(self._home, self._side.clock, random.randbytes, NO_EVENTS, self._side.office)
        self._reading = Reading(room)
        self._partners = OrgId(stock.follower.org), OrgId(stock.newcomer.org)
        self._fresh = count(10 * LARGEST)
        self._drawn = random.Random(stock.size)  # noqa: S311  (the same in every run)
        records, feeds = self._home.store.records, self._home.store.feeds
        self._names = [name for digest in self._sample() for name in (digest, records.get(digest).record_id)]
        feed = feeds.get(self._partners[0])
        middle = feeds.position(self._partners[0], feed.head // 2) if feed else None
        if middle is None:
            raise RuntimeError("there is no feed in the stock")
        self._middle = format_cursor(middle)
        self._token = self._to_the_middle(stock.size)

    def publish(self) -> float:
        """Publish records, each in a transaction of its own; they were issued before."""
        now, home = self._side.clock(), self._home
        org, signer = home.organisation.org, home.record_signer
        issued = [make_record(next(self._fresh), issuer=org, signer=signer, now=now) for _ in range(POSTS)]

        def post() -> None:
            for record in issued:
                publish(self._side.office, record, author="bench", partners=self._partners, now=now)

        return timed(post)

    def page_at_the_end(self) -> float:
        """Make the page behind all that the partner was sent, with what was published just now."""
        feeds, follower = self._home.store.feeds, self._partners[0]
        self._make_page(self._last())  # of what was published before
        self.publish()
        cursor = self._last()
        seconds = timed(lambda: self._make_page(cursor))
        if feeds.candidates(follower, limit=1):
            raise RuntimeError("the page did not carry what was published")
        return seconds

    def page_in_the_middle(self) -> None:
        """Make the page behind the middle."""
        self._make_page(self._middle)

    def read_listing(self) -> None:
        """Ask the desk for a page of the listing, in its middle."""
        for _ in range(LISTS):
            self._reading.list_records(v1.ListRecordsRequest(page_size=50, page_token=self._token))

    def find(self) -> None:
        """Read records by digest and by id."""
        for name in self._names:
            self._home.store.records.find(name)

    def search_rare(self) -> None:
        """Search for what one record has."""
        self._search(RARE, times=SEARCHES["rare"])

    def search_frequent(self) -> None:
        """Search for what all have."""
        self._search(FREQUENT, times=SEARCHES["frequent"])

    def _search(self, word: str, *, times: int) -> None:
        for _ in range(times):
            if not self._reading.search_records(v1.SearchRecordsRequest(text=word)).records:
                raise RuntimeError(f"{word} is not found")

    def _make_page(self, cursor: str) -> None:
        side = self._side
        next_page(side.office, self._partners[0], cursor, signer=side.delivery_signer, now=side.clock())

    def _last(self) -> str:
        feeds, follower = self._home.store.feeds, self._partners[0]
        feed = feeds.get(follower)
        last = feeds.position(follower, feed.head) if feed else None
        return format_cursor(last) if last else ""

    def _sample(self) -> list[str]:
        return self._drawn.sample(list(self._home.store.records.own_current()), POINTS // 2)

    def _to_the_middle(self, size: int) -> str:
        token, left = "", size // 2
        while left > 0:
            page = self._home.store.records.list(RecordFilter(), page_size=500, page_token=token)
            token, left = page.next_page_token, left - len(page.records)
        return token


WORKS: tuple[tuple[str, Callable[[Shelf], float | None], float | None], ...] = (
    ("publish", Shelf.publish, PUBLISHING),
    ("page at the end", Shelf.page_at_the_end, PAGES),
    ("page in the middle", Shelf.page_in_the_middle, PAGES),
    ("list in the middle", Shelf.read_listing, PAGES),
    ("read by digest and id", Shelf.find, POINT_READS),
    ("search a rare word", Shelf.search_rare, None),
    ("search a frequent word", Shelf.search_frequent, None),
)
"""What is measured, and how many times as long it may take."""


def _starts(small: Stock, large: Stock, scale: Scale, steps: Steps) -> Iterator[Figure]:
    """Measure how soon a home is there again."""
    works: tuple[tuple[str, Callable[[Place], float | None], float | None], ...] = (
        ("open", _open, STARTING),
        ("start", _start, STARTING),
        ("open after a crash", _open_after_a_crash, None),
    )
    with steps.counting(f"start with {large.size:,} records", 2 * scale.runs * len(works)) as step:
        for what, work, at_most in works:
            sides = {"small": partial(work, small.place), "large": partial(work, large.place)}
            yield _figure(what, take_turns(scale.runs, sides, step=step), large.size, at_most=at_most)


def _open(place: Place) -> None:
    for _ in range(OPENS):
        open_home(place.root, now=int(time.time())).close()


def _start(place: Place) -> float:
    """Start a node, wait until it answers, and stop it as its service manager does."""
    started = time.perf_counter()
    with serving(place, log=place.root.with_suffix(".log")) as process:
        seconds = time.perf_counter() - started
        process.send_signal(signal.SIGTERM)
        process.wait()
    return seconds


def _open_after_a_crash(place: Place) -> None:
    logging.getLogger("tocsin.store").setLevel(logging.ERROR)  # it would say each time that it was not closed
    take(place.root / "tocsin.db")
    open_home(place.root, now=int(time.time())).close()


def _figure(what: str, times: dict[str, list[float]], size: int, *, at_most: float | None) -> Figure:
    return Figure(
        f"{what}, {size:,} records",
        ratio_of(times, "large", "small"),
        of=f"the time with {SMALL:,}",
        at_most=at_most,
        size=size,
        series=what,
        plain=f"{min(times['large']) * 1e3 / PARTS.get(what, 1):,.2f} ms",
    )


PARTS = {
    "publish": POSTS,
    "list in the middle": LISTS,
    "read by digest and id": POINTS,
    "search a rare word": SEARCHES["rare"],
    "search a frequent word": SEARCHES["frequent"],
    "open": OPENS,
}
"""How many of them were measured at a time."""
