"""This module reads a log from its first entry to its last, and says what in it is not what was signed.

    entries ──► leaf_hash ──► compared with the leaves that are kept
                              node_hash of two that are kept ──► compared with the node over them
                                                                 … and at a size: the root

It keeps the nodes that are still to be a part of others, as many as the size
has bits, so that a log of any length can be read, from a shelf or from a wire.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tocsin.errors import MalformedLog
from tocsin.tlog.merkle import HASH_BYTES, Node, leaf_hash, node_hash, root

if TYPE_CHECKING:  # a log that does not hold together is read by this to say where
    from tocsin.tlog.log import TransparencyLog

BATCH: Final = 256
"""Entries read at once: those of one tile."""


def completed(size: int, count: int) -> list[Node]:
    """Return the nodes that become complete when so many entries follow a tree of a size, level by level."""
    after = size + count
    return [
        Node(level, number) for level in range(after.bit_length()) for number in range(size >> level, after >> level)
    ]


class Reading:
    """One way through a log, from the beginning."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self.size = 0
        self._kept: dict[Node, bytes] = {}

    def take(self, entries: Sequence[bytes], nodes: Sequence[bytes]) -> Iterator[str]:
        """Read the next entries, with the nodes that they complete as they are kept, and yield what does not fit.

        The caller MUST ask for the root of every size that was signed: entries
        and nodes that fit together are a log, and may be another one.

        Raises MalformedLog (BAD_ENTRY) for another number of nodes than
        belong, or one of another length.
        """
        places = completed(self.size, len(entries))
        if len(nodes) != len(places) or any(len(each) != HASH_BYTES for each in nodes):
            problem = (
                f"{len(entries)} entries behind {self.size} do not complete {len(nodes)} nodes of {HASH_BYTES} bytes"
            )
            raise MalformedLog(problem, reason="BAD_ENTRY")
        self._kept.update(zip(places, nodes, strict=True))
        for number, entry in enumerate(entries, start=self.size):
            if leaf_hash(entry) != self._kept[Node(0, number)]:
                yield f"entry {number} is not the one that was logged"
        for level, number in places:
            if level and self._kept[Node(level, number)] != node_hash(
                self._kept[Node(level - 1, 2 * number)], self._kept[Node(level - 1, 2 * number + 1)]
            ):
                yield f"the node over entries {number << level} to {((number + 1) << level) - 1} is another"
        self.size += len(entries)
        self._forget()

    def root(self) -> bytes:
        """Return the root of the tree over what was read, made of the nodes that are kept."""
        return root(self.size, lambda wanted: [self._kept[node] for node in wanted])

    def _forget(self) -> None:
        """Keep of each level the last node alone, where the one beside it is still to come."""
        self._kept = {node: value for node, value in self._kept.items() if node.number == (self.size >> node.level) - 1}


def batches(
    log: "TransparencyLog", *, size: int, stops: Sequence[int] = ()
) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Yield the first entries of a log that is kept, with the nodes that they complete, cut at some sizes.

    An entry that is missing is yielded empty, which no entry is.

    Raises StoreCorrupt where a node is missing, and says which.
    """
    at = 0
    while at < size:
        until = min([stop for stop in (*stops, at + BATCH, size) if stop > at])
        entries = list(log.shelf.entries(log.org, start=at, limit=until - at))
        if len(entries) < until - at:
            entries += [b""] * (until - at - len(entries))
        yield entries, list(log.read(completed(at, until - at)))
        at = until


def examine(log: "TransparencyLog", *, signed: int, root: bytes) -> Iterator[str]:
    """Yield what in a log is not what was signed: a checkpoint of so many entries, with this root. It reads everything.

    Raises StoreCorrupt where a node is missing.
    """
    reading, size = Reading(), log.size
    if signed > size:
        yield f"it has {size} entries, and {signed} were signed"
    for entries, nodes in batches(log, size=min(signed, size)):
        yield from reading.take(entries, nodes)
    if signed == reading.size and reading.root() != root:
        yield f"its {signed} entries do not lead to the root that was signed"
