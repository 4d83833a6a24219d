"""This module measures which SQLite page size suits records best.

    python -m benchmarks.page_size [RECORDS]

For each page size it stores the same records, one durable commit for every
hundred as a page of a feed does, then reads them by digest, lists pages and
searches. It does so with findings as people write them (8 KiB as signed), and
with imported ones that carry their source with them (20 KiB). The figures are
ratios to 4 KiB pages, SQLite's own default: less is faster, or smaller.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.organisations import NOW, found, seeded

from tocsin.identity.names import new_record_id
from tocsin.records.record import Draft, VerifiedRecord, issue
from tocsin.store.model import RecordFilter
from tocsin.store.sqlite import SqliteStore, open_store

PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
RECORDS = 1000
ROUNDS = 9  # each size takes its turn in each: what slows the machine for a while slows all of them
SOURCES = (0, 6000)  # characters of the source that a record carries
COMMIT = 100  # records in one transaction
WORDS = [f"{start}{end}" for start in ("in", "ex", "pro", "con", "sub") for end in ("ject", "tract", "duce", "vert")]


def make_records(count: int, *, source: int) -> list[VerifiedRecord]:
    """Issue findings, with a source of so many characters."""
    lab = found("lab-a.example")
    words = random.Random(1)  # noqa: S311  (the same records in every run)
    made = []
    for number in range(count):
        content: dict[str, object] = {
            "title": f"{number} {' '.join(words.choices(WORDS, k=6))}",
            "finding_kind": "vulnerability",
            "severity": words.choice(["low", "high", "critical"]),
            "summary": " ".join(words.choices(WORDS, k=120)),
            "subjects": [{"kind": "model", "name": words.choice(WORDS), "version": str(number)}],
        }
        if source:
            content["source"] = {"format": "avid", "original": " ".join(words.choices(WORDS, k=source // 6))}
        draft = Draft(record_id=new_record_id(seeded(str(number))), kind="finding", tlp="GREEN")
        salts = seeded(f"salts {number}")
        made.append(
            issue(draft, content, issuer=lab.organisation.org, signer=lab.record, now=NOW + number, random=salts)
        )
    return made


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def fill(store: SqliteStore, records: list[VerifiedRecord]) -> None:
    for start in range(0, len(records), COMMIT):
        with store.transaction():
            for record in records[start : start + COMMIT]:
                store.records.add(record, now=NOW)


def page_through(store: SqliteStore) -> None:
    token = ""
    while True:
        page = store.records.list(RecordFilter(), page_size=50, page_token=token)
        token = page.next_page_token
        if not token:
            return


def measure(path: Path, page_size: int, records: list[VerifiedRecord]) -> dict[str, float]:
    """Return what each kind of work takes, in seconds, and the file in MiB."""
    shuffled = random.Random(2).sample(records, len(records))  # noqa: S311
    with open_store(path, create=True, page_size=page_size) as store:
        figures = {"store": timed(lambda: fill(store, records))}
    with open_store(path) as store:
        figures["read"] = timed(lambda: [store.records.get(record.digest) for record in shuffled])
        figures["list"] = timed(lambda: page_through(store))
        figures["search"] = timed(lambda: [store.records.search(f"{word} inject", limit=50) for word in WORDS])
    figures["open"] = timed(lambda: open_store(path).close())
    figures["MiB"] = path.stat().st_size / 2**20
    return figures


def compare(records: list[VerifiedRecord]) -> None:
    """Print a line for each page size: medians over rounds in which all sizes take their turn."""
    size = sum(len(record.token) for record in records) // len(records)
    sys.stdout.write(f"{len(records)} records of {size} bytes on average\n")
    runs: dict[int, list[dict[str, float]]] = {page_size: [] for page_size in PAGE_SIZES}
    for _ in range(ROUNDS):
        for page_size in PAGE_SIZES:
            with tempfile.TemporaryDirectory() as folder:
                runs[page_size].append(measure(Path(folder) / "store.db", page_size, records))
    medians = {
        page_size: {name: statistics.median(run[name] for run in done) for name in done[0]}
        for page_size, done in runs.items()
    }
    first = medians[PAGE_SIZES[0]]
    for page_size, figures in medians.items():
        line = "  ".join(f"{name} {figures[name] / first[name]:.2f}" for name in figures)
        sys.stdout.write(f"{page_size:>6}  {line}\n")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    for source in SOURCES:
        compare(make_records(count, source=source))


if __name__ == "__main__":
    main()
