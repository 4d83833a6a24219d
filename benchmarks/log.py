"""This module measures what a large log costs, next to a small one.

    python -m benchmarks.log [LEAVES]

Two trees lie in databases in a temporary folder, node by node, as a store keeps
them: one of 10,000 leaves, the other of a million. Leaves are appended one at a
time, each in a transaction that also computes the new root. Inclusion of random
leaves and consistency from random sizes are proved, each in a transaction that
also reads the size, since size and nodes have to be of one moment. The two
trees take turns in every round; the figures are medians of the rounds, the
ratio that of each round. It is to be 1.5 at most, or the run fails.

What is read grows with the logarithm: 16 nodes for a proof in the small tree,
25 in the large one, of which those high up are remembered. Both trees are in
memory. With the store's 16 MiB of cache instead, where each low level of a
proof lies on a page of its own that has to be read, proving was 1.3 to 1.6; with
SQLite's 2 MiB and nothing remembered, 1.7. On a busy machine with two cores, as
it is here, appending was 1.2 and proving 1.3 to 1.4.
"""

import hashlib
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tocsin.tlog.merkle import Node, append, consistency_proof, inclusion_proof, leaf_hash, remembering, root

SMALL = 10_000
LARGE = 1_000_000
BATCH = 50_000
ROUNDS = 15
APPENDS = 500
PROOFS = 500
WARM = 10_000  # proofs before the first that is measured
PAGE_SIZE = 8192  # as the store has it
CACHE_KIB = 131_072  # the whole of the large tree: the disk is not what is measured
MOST = 1.5  # times as long


class Table:
    """A tree in a table of its own."""

    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path, isolation_level=None)
        self.recall = remembering(self.read)
        self.database.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        self.database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = OFF")  # the disk is not what is measured
        self.database.execute(
            "CREATE TABLE node (level INTEGER, number INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, number))"
            " WITHOUT ROWID"
        )
        self.database.execute("CREATE TABLE tree (size INTEGER NOT NULL)")
        self.database.execute("INSERT INTO tree VALUES (0)")

    @property
    def size(self) -> int:
        """Return the number of leaves."""
        return int(self.database.execute("SELECT size FROM tree").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[int]:
        """Yield the size, as of the moment of all that is read."""
        self.database.execute("BEGIN")
        yield self.size
        self.database.execute("COMMIT")

    def read(self, nodes: Sequence[Node]) -> list[bytes]:
        """Return the hashes of nodes, each by its key."""
        find = self.database.execute
        return [find("SELECT hash FROM node WHERE level = ? AND number = ?", node).fetchone()[0] for node in nodes]

    def append(self, leaves: Sequence[bytes]) -> bytes:
        """Append leaves, and return the new root."""
        with self.transaction() as size:
            complete = append(size, leaves, self.read)
            self.database.executemany("INSERT INTO node VALUES (?, ?, ?)", ((*node, value) for node, value in complete))
            self.database.execute("UPDATE tree SET size = ?", (size + len(leaves),))
            return root(size + len(leaves), self.read)

    def prove_inclusion(self, share: float) -> tuple[bytes, ...]:
        """Prove the leaf at a share of the whole tree."""
        with self.transaction() as size:
            return inclusion_proof(int(share * size), size, self.recall)

    def prove_consistency(self, share: float) -> tuple[bytes, ...]:
        """Prove that the tree begins with one that had a share of its leaves."""
        with self.transaction() as size:
            return consistency_proof(int(share * size) + 1, size, self.recall)


def leaves_from(first: int, count: int) -> list[bytes]:
    """Return the leaves of entries as long as ours are."""
    return [leaf_hash(hashlib.sha512(str(first + place).encode()).digest()) for place in range(count)]


def build(path: Path, size: int) -> Table:
    table = Table(path)
    started = time.perf_counter()
    for first in range(0, size, BATCH):
        table.append(leaves_from(first, min(BATCH, size - first)))
    sys.stdout.write(f"{size:>9,} leaves built in {time.perf_counter() - started:.1f} s\n")
    return table


def timed(work: Callable[[], object], *, count: int) -> float:
    """Return the microseconds that one of so many pieces of work takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / count * 1e6


def warm(table: Table) -> None:
    """Prove until what is remembered is there, as in a node that has run for a while."""
    drawn = random.Random(-1)  # noqa: S311
    for _ in range(WARM):
        table.prove_inclusion(drawn.random())


def measure(table: Table, *, turn: int) -> dict[str, float]:
    """Return what appending and proving take; in either tree the same shares are asked for."""
    drawn = random.Random(turn)  # noqa: S311  (the same in every run)
    shares = [drawn.random() for _ in range(PROOFS)]
    fresh = leaves_from(table.size, APPENDS)
    return {
        "append": timed(lambda: [table.append([leaf]) for leaf in fresh], count=APPENDS),
        "prove inclusion": timed(lambda: [table.prove_inclusion(share) for share in shares], count=PROOFS),
        "prove consistency": timed(lambda: [table.prove_consistency(share) for share in shares], count=PROOFS),
    }


def compare(small: Table, large: Table) -> list[float]:
    """Print a line for each kind of work, and return the ratios."""
    for table in (small, large):
        warm(table)
    rounds = [(measure(small, turn=turn), measure(large, turn=turn)) for turn in range(ROUNDS)]
    ratios = []
    for name in rounds[0][0]:
        least, most = (statistics.median(both[which][name] for both in rounds) for which in (0, 1))
        ratio = statistics.median(both[1][name] / both[0][name] for both in rounds)
        sys.stdout.write(f"{name:>17}  {least:7.1f} µs  {most:7.1f} µs  ratio {ratio:.2f}\n")
        ratios.append(ratio)
    return ratios


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        tables = [build(Path(folder) / f"{leaves}.db", leaves) for leaves in (SMALL, size)]
        for table in tables:
            stack.enter_context(closing(table.database))
        worst = max(compare(*tables))
    if worst > MOST:
        raise SystemExit(f"the large tree takes {worst:.2f} times as long, and {MOST} is the most")


if __name__ == "__main__":
    main()
