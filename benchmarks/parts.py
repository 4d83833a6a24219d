"""This module says where the time of taking a record in goes: what each part costs a core, next to one raw verifying.

    signature   libsodium verifies it
    reading     form, disclosures, contract
    storing     the page, its log, what policy says, the rows, the index of words, the receipt; in one transaction
    log         the entry of its origin's log is read, hashed and kept

It is processor time of the thread that does all of it. What waits for the disk
or the network, and what gRPC and TLS take, is not in it.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.figures import Figure, Ratio, Scale, spread
from benchmarks.ingest import Origin, prepare
from benchmarks.progress import Steps
from benchmarks.sender import read_pages
from benchmarks.world import found, opened
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId
from tocsin.records.record import parse_record
from tocsin.records.signature import Ed25519Key
from tocsin.v1 import exchange_service_pb2 as v1

TITLE = "Where the time of taking in goes"
ABOUT = "Processor time of one thread for each record of the ingest, as a ratio to that of a raw verifying by OpenSSL."
RECORDS = 2_560  # ten pages
OF = "a raw verifying by OpenSSL"
PARTS = {
    "signature": "the signature, by libsodium",
    "reading": "its form, its disclosures, the contract",
    "storing": "page and proofs, policy, rows, index of words, receipt",
    "log": "its entry in the log of its origin",
}


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sender, receiver = found(folder, "lab-a.example", "lab-b.example")
        origin = prepare(sender, receiver, folder / "pages", RECORDS, steps)
        with opened(sender) as (_, theirs), opened(receiver) as (_, ours):
            logged = _log(theirs, ours, receiver.organisation.org)
            pages = [_page(origin, page, theirs, ours) for page in read_pages(origin.pages)]
    raw = [page["raw"] for page in pages]
    parts = {part: [page.get(part, logged) for page in pages] for part in PARTS}
    for part, what in PARTS.items():
        yield Figure(f"{part}: {what}", _ratios(parts[part], raw), of=OF)
    whole = [sum(times) for times in zip(*parts.values(), strict=True)]
    plain = "{:.0f} µs, the raw verifying {:.0f} µs".format(*(statistics.median(times) * 1e6 for times in (whole, raw)))
    yield Figure("all of it", _ratios(whole, raw), of=OF, plain=plain)


def _ratios(times: Sequence[float], raw: Sequence[float]) -> Ratio:
    return spread([one / of for one, of in zip(times, raw, strict=True)])


def _page(origin: Origin, page: v1.Page, theirs: Side, ours: Side) -> dict[str, float]:
    """Take a page in, and return what each part of it costs for a record.

    What can be done again is done before it and behind it, and the two are taken together.
    """
    sender, now = theirs.organisation, theirs.clock()
    sample, count = origin.signed[: len(page.entries)], len(page.entries)
    works: dict[str, Callable[[], object]] = {
        "raw": lambda: [key.verify(s, m) for key, s, m in sample],
        "signature": lambda: [Ed25519Key(key.public_bytes_raw()).verify(s, message=m) for key, s, m in sample],
        "verified": lambda: [parse_record(e.presentation).verify(sender, now=now) for e in page.entries],
    }
    before = {name: _each(count, work) for name, work in works.items()}
    taken = _each(count, lambda: ours.accept(sender.org, page))
    took = {name: (before[name] + _each(count, work)) / 2 for name, work in works.items()}
    ours.handed_over(sender.org, ours.receipts(sender.org))
    raw, signature, verified = took.values()
    return {"raw": raw, "signature": signature, "reading": verified - signature, "storing": taken - verified}


def _log(theirs: Side, ours: Side, partner: OrgId) -> float:
    """Read the whole log of the sender, and return what an entry costs."""
    origin, spent = theirs.organisation.org, 0.0
    held = ours.store.logs.get(origin).size
    while growth := theirs.growth(partner, origin, held):
        started = time.thread_time()
        held = ours.extend(origin, origin, growth)
        spent += time.thread_time() - started
        if held >= theirs.store.logs.get(origin).size:
            break
    return spent / held


def _each(count: int, work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return (time.thread_time() - started) / count
