"""This module fills stores of the sizes that are compared, once for all chapters of a run.

A store of a hundred thousand records is to be there in a minute or two, so

    records are issued in another process      by the node's own key, each with its own salts and decoys
    they are published a thousand at a time    as a batch of posts is: the logs are signed at the end of each
    entries of a feed get their numbers there  with what the decision log says of each; no page is signed for them

Every record is real, and so is every row but for the statements of pages that nobody got.
"""

import multiprocessing
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.nodes import Place

from benchmarks.progress import Steps
from benchmarks.world import found, make_record, opened
from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.exchange.cursor import new_feed_id, new_tag
from tocsin.exchange.publish import publish
from tocsin.identity.names import OrgId
from tocsin.identity.signer import load_signer
from tocsin.records.record import VerifiedRecord
from tocsin.release.office import Office
from tocsin.store.model import EntryKind, NewEntry

AT_ONCE = 1000  # records in one transaction
AHEAD = 3  # batches that are being issued meanwhile
ORIGIN, FOLLOWER, NEWCOMER = "lab-a.example", "lab-b.example", "lab-c.example"


@dataclass(frozen=True, slots=True)
class Stock:
    """A home with so many records: the follower was sent them all, and the newcomer none yet."""

    place: Place
    follower: Place
    newcomer: Place
    size: int


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="tocsin-bench-")  # which is removed when the run ends


_stocks: dict[int, Stock] = {}


def stocked(size: int, steps: Steps) -> Stock:
    """Return a home with so many records, which others may have used since it was made in this run."""
    if size not in _stocks:
        places = found(Path(_folder().name) / str(size), ORIGIN, FOLLOWER, NEWCOMER)
        _stocks[size] = Stock(*places, size)
        _fill(_stocks[size], steps)
    return _stocks[size]


def _fill(stock: Stock, steps: Steps) -> None:
    follower, newcomer = (OrgId(place.org) for place in (stock.follower, stock.newcomer))
    with opened(stock.place) as (_, side), steps.counting(f"fill with {stock.size:,} records", stock.size) as count:
        for records in _issued(stock, now=side.clock()):
            now = side.clock()
            with side.office.together(now=now) as office:
                for record in records:
                    publish(office, record, author="bench", partners=(follower, newcomer), now=now)
                number(office, follower, records, now=now)
            count(len(records))
    os.sync()  # a machine that still writes gigabytes of it would be measured with whatever comes first


def number(office: Office, partner: OrgId, records: Sequence[VerifiedRecord], *, now: int) -> None:
    """Give records the next numbers in a partner's feed, as a page that carries them would."""
    feeds = office.store.feeds
    head = feeds.open(partner, feed_id=new_feed_id(office.random), now=now).head
    entries = []
    for sequence, record in enumerate(records, start=head + 1):
        decision = office.decide(record, partner=partner, now=now)
        entries.append(NewEntry(EntryKind.RECORD, record.digest, decision.disclosed, new_tag(office.random)))
        details: dict[str, JSON] = {
            "kind": EntryKind.RECORD.value,
            "sequence": sequence,
            "disclosed": [*sorted(decision.disclosed)],
            "withheld": [{"path": item.path, "reason": item.reason} for item in decision.withheld],
            "rule": decision.rule,
            "file": decision.file,
            "line": decision.line,
            "policy": office.policies().policies[partner].digest,
            "agreement": decision.agreement,
            "marking": record.marking_at(now),
            "reviews": [],
        }
        office.log.append(Entry(Event.SENT, partner=partner, digest=record.digest, details=details), now=now)
    feeds.append(partner, entries, after=head, now=now)
    feeds.drop(partner, [record.digest for record in records])


def _issued(stock: Stock, *, now: int) -> Iterator[Sequence[VerifiedRecord]]:
    """Issue the records of a stock in another process, a few batches ahead."""
    batches = iter(range(0, stock.size, AT_ONCE))
    running: deque[Future[list[VerifiedRecord]]] = deque()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:

        def begin() -> None:
            for first in batches:
                count = min(AT_ONCE, stock.size - first)
                running.append(pool.submit(issue, stock.place.root, OrgId(stock.place.org), first, count, now))
                return

        for _ in range(AHEAD):
            begin()
        while running:
            records = running.popleft().result()
            begin()
            yield records


def issue(home: Path, org: OrgId, first: int, count: int, now: int) -> list[VerifiedRecord]:
    """Issue some records by the record key of a home."""
    signer = load_signer(home / "keys" / "record.pem", passphrase=None)
    return [make_record(number, issuer=org, signer=signer, now=now) for number in range(first, first + count)]
