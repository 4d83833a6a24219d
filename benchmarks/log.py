"""This module measures what a large log costs, next to a small one.

    python -m benchmarks.log [ENTRIES]

Two stores lie in a temporary folder, as a node has them: one with a log of
10,000 entries, the other with a million. In every round both take their turn:

    append          an entry is issued and the log signed, in a durable transaction of its own
    append many     the same a hundred times in one transaction, where the disk has little to say
    prove           an entry is looked up, and its proof written as it leaves with a record
    be consistent   a tree of some size is proved to be the beginning of what was signed last
    restart         the store is opened, and the log held against what was signed

The figures are medians of the rounds, the ratio that of each round. It is to be
1.5 at most, or the run fails. What is read grows with the logarithm of the
length: 16 nodes for a proof in the small log, 25 in the large one.
"""

import hashlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.identity.names import OrgId
from tocsin.identity.signer import FileSigner
from tocsin.store.sqlite import SqliteStore, open_store
from tocsin.tlog.log import OwnLog
from tocsin.tlog.proof import format_proof

ORG = OrgId("lab-a.example")
SMALL = 10_000
LARGE = 1_000_000
BATCH = 50_000
ROUNDS = 15
APPENDS = 50
AT_ONCE = 100
PROOFS = 200
WARM = 2_000  # proofs before the first that is measured, as in a node that has run for a while
NOW = 1_800_000_000
MOST = 1.5  # times as long

SIGNER, WITNESS = (FileSigner(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in (1, 2))


class Shelf(NamedTuple):
    """A store with a log of so many entries that a number makes."""

    store: SqliteStore
    log: OwnLog
    size: int
    fresh: Iterator[int]

    def append(self) -> None:
        """Issue entries one by one."""
        for _ in range(APPENDS):
            with self.store.transaction():
                self.log.issue(entry(next(self.fresh)), now=NOW)

    def append_many(self) -> None:
        """Issue entries in one transaction."""
        with self.store.transaction():
            for _ in range(AT_ONCE):
                self.log.issue(entry(next(self.fresh)), now=NOW)

    def prove(self, shares: list[float]) -> None:
        """Prove the entries at shares of the whole log."""
        for share in shares:
            with self.store.transaction():
                proof = self.log.prove(entry(int(share * self.size)))
                assert proof is not None
                format_proof(proof)

    def be_consistent(self, shares: list[float]) -> None:
        """Prove that the log begins with trees that had shares of its entries."""
        for share in shares:
            with self.store.transaction():
                self.log.consistency(int(share * self.size) + 1, self.store.logs.get(ORG).signed)


def entry(number: int) -> bytes:
    return hashlib.sha512(str(number).encode()).digest()


def log_of(store: SqliteStore) -> OwnLog:
    return OwnLog(store.logs, ORG, SIGNER, WITNESS)


def build(path: Path, size: int) -> None:
    started = time.perf_counter()
    with open_store(path, create=True) as store:
        log = log_of(store)
        for first in range(0, size, BATCH):
            with store.transaction():
                log.append([entry(number) for number in range(first, min(first + BATCH, size))], now=NOW)
        with store.transaction():
            log.sign(SIGNER, now=NOW)
    seconds, mib = time.perf_counter() - started, path.stat().st_size / 2**20
    sys.stdout.write(f"{size:>9,} entries in {seconds:.1f} s, {mib:.0f} MiB\n")


def restart(path: Path) -> None:
    with open_store(path) as store:
        log = log_of(store)
        log.verify((log.vkey,))


def timed(work: Callable[[], object], *, times: int = 1) -> float:
    """Return the microseconds that one of so many pieces of work takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / times * 1e6


def measure(shelf: Shelf, *, turn: int) -> dict[str, float]:
    """Return what each kind of work takes; of either log the same shares are asked for."""
    drawn = random.Random(turn)  # noqa: S311  (the same in every run)
    shares = [drawn.random() for _ in range(PROOFS)]
    return {
        "append": timed(shelf.append, times=APPENDS),
        "append many": timed(shelf.append_many, times=AT_ONCE),
        "prove": timed(lambda: shelf.prove(shares), times=PROOFS),
        "be consistent": timed(lambda: shelf.be_consistent(shares), times=PROOFS),
    }


def compare(rounds: list[tuple[dict[str, float], dict[str, float]]]) -> list[float]:
    """Print a line for each kind of work, and return the ratios."""
    ratios = []
    for name in rounds[0][0]:
        least, most = (statistics.median(both[which][name] for both in rounds) for which in (0, 1))
        ratio = statistics.median(both[1][name] / both[0][name] for both in rounds)
        sys.stdout.write(f"{name:>13}  {least:9.1f} µs  {most:9.1f} µs  ratio {ratio:.2f}\n")
        ratios.append(ratio)
    return ratios


def main() -> None:
    sizes = (SMALL, int(sys.argv[1]) if len(sys.argv) > 1 else LARGE)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        paths = [Path(folder) / f"{size}.db" for size in sizes]
        for path, size in zip(paths, sizes, strict=True):
            build(path, size)
        for path in paths:
            restart(path)
        starts = [tuple({"restart": timed(lambda at=path: restart(at))} for path in paths) for _ in range(ROUNDS)]
        shelves = []
        for path, size in zip(paths, sizes, strict=True):
            store = stack.enter_context(open_store(path))
            shelves.append(Shelf(store, log_of(store), size, count(10 * LARGE)))
        drawn = random.Random(-1)  # noqa: S311
        for shelf in shelves:
            shelf.prove([drawn.random() for _ in range(WARM)])
        rounds = [tuple(measure(shelf, turn=turn) for shelf in shelves) for turn in range(ROUNDS)]
        worst = max(compare(starts) + compare(rounds))
    if worst > MOST:
        raise SystemExit(f"the large log takes {worst:.2f} times as long, and {MOST} is the most")


if __name__ == "__main__":
    main()
