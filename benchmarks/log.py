"""This module measures what a large log costs, next to a small one.

Two stores have a log each, as a node has it: one of 10,000 entries, the other
of a million. In every turn both do the same:

    append          an entry is issued and the log signed, in a durable transaction of its own
    append many     the same a hundred times in one transaction, where the disk has little to say
    prove           an entry is looked up, and its proof written as it leaves with a record
    be consistent   a tree of some size is proved to be the beginning of what was signed last
    restart         the store is opened, and the log held against what was signed

What is read grows with the logarithm of the length: 16 nodes for a proof in the
small log, 25 in the large one.
"""

import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.figures import Figure, Scale, ratio_of, take_turns, timed
from benchmarks.progress import Steps, batches
from tocsin.identity.names import OrgId
from tocsin.identity.signer import FileSigner
from tocsin.store.sqlite import SqliteStore, open_store
from tocsin.tlog.log import OwnLog
from tocsin.tlog.proof import format_proof

TITLE = "A log of a million entries"
ABOUT = "One process, two stores; the time with a million entries to that with 10,000, in turns."
ORG = OrgId("lab-a.example")
SMALL, LARGE = 10_000, 1_000_000
BATCH = 50_000
TURNS = 3  # as many as elsewhere: what takes microseconds swings more
APPENDS, AT_ONCE, PROOFS = 50, 100, 200
WARM = 2_000  # proofs before the first that is measured, as in a node that has run for a while
NOW = 1_800_000_000
MOST = 1.5  # times as long

SIGNER, WITNESS = (FileSigner(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in (1, 2))


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    turns = TURNS * scale.runs
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder, ExitStack() as stack:
        paths = {size: Path(folder) / f"{size}.db" for size in (SMALL, LARGE)}
        for size, path in paths.items():
            build(path, size, steps)
        with steps.counting("restart", 2 * turns) as step:
            times = take_turns(turns, {str(size): partial(restart, path) for size, path in paths.items()}, step=step)
        yield _figure("restart", times, parts=1)
        shelves = {str(size): Shelf(stack.enter_context(open_store(path)), size) for size, path in paths.items()}
        for shelf in shelves.values():
            shelf.prove(WARM)
        for what, work, parts in WORKS:
            with steps.counting(what, 2 * turns) as step:
                works = {name: partial(work, shelf) for name, shelf in shelves.items()}
                yield _figure(what, take_turns(turns, works, step=step), parts=parts)


def _figure(what: str, times: dict[str, list[float]], *, parts: int) -> Figure:
    return Figure(
        f"{what}, in a log of {LARGE:,}",
        ratio_of(times, str(LARGE), str(SMALL)),
        of=f"the time in one of {SMALL:,}",
        at_most=MOST,
        plain=f"{min(times[str(LARGE)]) / parts * 1e6:,.0f} µs",
    )


class Shelf:
    """A store with a log of so many entries that a number makes."""

    def __init__(self, store: SqliteStore, size: int) -> None:
        self._store, self._log, self._size = store, log_of(store), size
        self._fresh = count(10 * LARGE)
        self._drawn = random.Random(0)  # noqa: S311  (the same in every run, and of either log the same shares)

    def append(self) -> None:
        """Issue entries one by one."""
        for _ in range(APPENDS):
            with self._store.transaction():
                self._log.issue(entry(next(self._fresh)), now=NOW)

    def append_many(self) -> None:
        """Issue entries in one transaction."""
        with self._store.transaction():
            for _ in range(AT_ONCE):
                self._log.issue(entry(next(self._fresh)), now=NOW)

    def prove(self, times: int = PROOFS) -> float:
        """Prove entries from all of the log."""
        entries = [entry(int(self._drawn.random() * self._size)) for _ in range(times)]

        def prove() -> None:
            for each in entries:
                with self._store.transaction():
                    proof = self._log.prove(each)
                    assert proof is not None
                    format_proof(proof)

        return timed(prove)

    def be_consistent(self) -> None:
        """Prove that the log begins with trees of some of its entries."""
        for _ in range(PROOFS):
            with self._store.transaction():
                size = int(self._drawn.random() * self._size) + 1
                self._log.consistency(size, self._store.logs.get(ORG).signed)


WORKS: tuple[tuple[str, Callable[[Shelf], float | None], int], ...] = (
    ("append", Shelf.append, APPENDS),
    ("append many", Shelf.append_many, AT_ONCE),
    ("prove", Shelf.prove, PROOFS),
    ("be consistent", Shelf.be_consistent, PROOFS),
)
"""What is measured, and how many of it at a time."""


def entry(number: int) -> bytes:
    """Return the entry that a number makes."""
    return hashlib.sha512(str(number).encode()).digest()


def log_of(store: SqliteStore) -> OwnLog:
    """Return the log in a store."""
    return OwnLog(store.logs, ORG, SIGNER, WITNESS)


def build(path: Path, size: int, steps: Steps) -> None:
    """Make a store with a log of so many entries, signed once."""
    with open_store(path, create=True) as store, steps.counting(f"log {size:,} entries", size) as step:
        log = log_of(store)
        for batch in batches(size, BATCH):
            with store.transaction():
                log.append([entry(number) for number in batch], now=NOW)
            step(len(batch))
        with store.transaction():
            log.sign(SIGNER, now=NOW)


def restart(path: Path) -> float:
    """Open a store, and hold its log against what was signed."""
    started = time.perf_counter()
    with open_store(path) as store:
        log = log_of(store)
        log.verify((log.vkey,))
        return time.perf_counter() - started
