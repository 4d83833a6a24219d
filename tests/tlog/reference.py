"""This module defines trees as RFC 6962 section 2.1 does, word for word, and keeps the nodes of ours.

`Tree` recurses over ranges of leaves, knows nothing of nodes, and shares no
line with what it is held against.
"""

import hashlib
from collections.abc import Sequence
from functools import cache

from tocsin.tlog.merkle import Node, append


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def entries_of(count: int, *, seed: str = "") -> list[bytes]:
    """Return so many entries, no two alike; another seed gives others."""
    return [f"{seed} {number}".encode() for number in range(count)]


class Tree:
    """The definitions over entries D: MTH, PATH and PROOF, of D[0:size] or any D[begin:end]."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries = list(entries)
        self.mth = cache(self._mth)  # what it says twice it says alike

    def _mth(self, begin: int, end: int) -> bytes:
        if begin == end:
            return sha256()
        if end - begin == 1:
            return sha256(b"\x00", self.entries[begin])
        k = largest_power_below(end - begin)
        return sha256(b"\x01", self.mth(begin, begin + k), self.mth(begin + k, end))

    def root(self, size: int) -> bytes:
        return self.mth(0, size)

    def path(self, m: int, begin: int, end: int) -> list[bytes]:
        if end - begin == 1:
            return []
        k = largest_power_below(end - begin)
        if m < k:
            return [*self.path(m, begin, begin + k), self.mth(begin + k, end)]
        return [*self.path(m - k, begin + k, end), self.mth(begin, begin + k)]

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        return tuple(self.path(index, 0, size))

    def subproof(self, m: int, begin: int, end: int, *, known: bool) -> list[bytes]:
        if m == end - begin:
            return [] if known else [self.mth(begin, end)]
        k = largest_power_below(end - begin)
        if m <= k:
            return [*self.subproof(m, begin, begin + k, known=known), self.mth(begin + k, end)]
        return [*self.subproof(m - k, begin + k, end, known=False), self.mth(begin, begin + k)]

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        return tuple(self.subproof(old, 0, new, known=True))


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


class Kept:
    """Nodes as a store keeps them: never written twice, and it counts how many are read, and how often."""

    def __init__(self) -> None:
        self.nodes: dict[Node, bytes] = {}
        self.size = self.read = self.calls = 0

    def __call__(self, nodes: Sequence[Node]) -> list[bytes]:
        self.read += len(nodes)
        self.calls += 1
        return [self.nodes[node] for node in nodes]

    def append(self, entries: Sequence[bytes]) -> None:
        for node, value in append(self.size, [sha256(b"\x00", entry) for entry in entries], self):
            assert node not in self.nodes
            self.nodes[node] = value
        self.size += len(entries)

    def forget(self) -> None:
        self.read = self.calls = 0


def kept(entries: Sequence[bytes]) -> Kept:
    nodes = Kept()
    nodes.append(entries)
    return nodes
