"""This module computes and verifies the Merkle tree of a log (RFC 6962 section 2.1).

A tree holds no state here. Hashes of complete subtrees, once known, never
change: `append` returns those to keep, and a reader hands them back.

    level 2            (2,0)                 complete subtrees of a tree of 7 leaves;
    level 1     (1,0)       (1,1)      (1,2)       Node(level, number) is over the leaves
    level 0   (0,0) (0,1) (0,2) (0,3) (0,4) (0,5) (0,6)    number << level  up to  (number + 1) << level

Everything else is a range of leaves that starts where a complete subtree does,
and is put together from the few nodes that cover it, largest first: the root
above from (2,0), (1,2) and (0,6). So each question reads O(log size) nodes, and
asks the reader once.

A leaf here is the hash of an entry, never the entry: see `leaf_hash`.
"""

import hashlib
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, NamedTuple, TypeAlias

from tocsin.errors import MalformedLog, ProofMismatch

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

MAX_SIZE: Final = 2**63 - 1
"""As far as SQLite and other implementations count; a text that claims more leaves is refused."""

_LEAF: Final = b"\x00"  # RFC 6962 section 2.1: the two prefixes keep a leaf from being taken for a node
_NODE: Final = b"\x01"


class Node(NamedTuple):
    """A complete subtree, over the leaves from `number << level` up to `(number + 1) << level`."""

    level: int
    number: int


Reader: TypeAlias = Callable[[Sequence[Node]], Sequence[bytes]]
"""Returns the hashes of complete nodes, in the order asked."""

_Range: TypeAlias = tuple[int, int]  # of leaves: from the first, up to the second


def leaf_hash(entry: bytes) -> bytes:
    """Return the leaf of an entry."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees side by side."""
    return hashlib.sha256(_NODE + left + right).digest()


def append(size: int, leaves: Sequence[bytes], read: Reader) -> list[tuple[Node, bytes]]:
    """Return every node that becomes complete when leaves follow a tree of a size, level by level.

    The leaves are among them, as level 0. However many there are, no more
    nodes are read than the size has bits.
    """
    if any(len(leaf) != HASH_BYTES for leaf in leaves):
        raise RuntimeError("a leaf is the hash of an entry, and one is not")
    after = size + len(leaves)
    # The only old nodes that new ones are made of: lefts whose right side becomes complete.
    lefts = [
        Node(level, (size >> level) - 1)
        for level in range(size.bit_length())
        if (size >> level) & 1 and after >> level > size >> level
    ]
    waiting = dict(zip(lefts, _ask(read, lefts), strict=True))
    complete: list[tuple[Node, bytes]] = []
    hashes, level = list(leaves), 0
    while hashes:
        first = size >> level
        complete += [(Node(level, first + place), each) for place, each in enumerate(hashes)]
        if first & 1:
            hashes.insert(0, waiting[Node(level, first - 1)])
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes) - 1, 2)]
        level += 1
    return complete


def root(size: int, read: Reader) -> bytes:
    """Return the root of the first leaves (RFC 6962 section 2.1)."""
    return _hashes([(0, size)], read)[0] if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: Reader) -> tuple[bytes, ...]:
    """Return the hashes that lead from a leaf to the root of the first leaves (RFC 6962 section 2.1.1)."""
    return inclusion_proofs((index,), size, read)[0]


def inclusion_proofs(indices: Sequence[int], size: int, read: Reader) -> list[tuple[bytes, ...]]:
    """Return the proofs of several leaves; they mostly share their hashes, and each is read and made once."""
    for index in indices:
        if not 0 <= index < size:
            raise RuntimeError(f"a tree of {size} has no leaf {index}")
    paths = [_inclusion_path(index, size) for index in indices]
    ranges = list(dict.fromkeys(chain.from_iterable(paths)))
    hashes = dict(zip(ranges, _hashes(ranges, read), strict=True))
    return [tuple([hashes[each] for each in path]) for path in paths]


def consistency_proof(old: int, new: int, read: Reader) -> tuple[bytes, ...]:
    """Return the hashes that show that a tree begins with an older one (RFC 6962 section 2.1.2).

    There are none between two trees of one size, and none from the empty tree,
    with which every tree begins: that is what a witness is sent at first.
    """
    if not 0 <= old <= new:
        raise RuntimeError(f"a tree of {new} does not begin with one of {old}")
    return _hashes(_consistency_path(old, new), read) if old else ()


def verify_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Verify that a leaf is in the tree of a root.

      1. the tree can have such a leaf, and the proof is as long as it must be    RFC 9162 2.1.3.2 steps 1, 4, 5
      2. the proof leads from the leaf to a root                                  RFC 9162 2.1.3.2 steps 2 to 4
      3. which is the one given                                                   RFC 9162 2.1.3.2 step 5

    The caller MUST have hashed the leaf from the entry itself, and have size
    and root from one checkpoint that it has verified: the hashes alone do not
    tell a tree of 3 from one of 4.

    Raises MalformedLog (BAD_PROOF) and ProofMismatch (NOT_INCLUDED).
    """
    if not 0 <= index < size <= MAX_SIZE:  # 1
        raise _bad_proof(f"a tree of {size} has no entry {index}")
    path = _inclusion_path(index, size)
    _verify_lengths([leaf], count=1)
    _verify_lengths(proof, count=len(path))
    reached = leaf  # 2
    for (begin, _), sibling in zip(path, proof, strict=True):
        reached = node_hash(reached, sibling) if begin > index else node_hash(sibling, reached)
    if reached != root:  # 3
        raise ProofMismatch(
            f"the proof of entry {index} in a tree of {size} leads to another root",
            reason="NOT_INCLUDED",
            details=(f"signed  {root.hex()}", f"reached {reached.hex()}"),
        )


def verify_consistency(*, old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Verify that the tree of a root begins with the tree of an older root.

      1. there can be such a proof, and it is as long as it must be    RFC 9162 2.1.4.2 steps 1, 6, 7
      2. the proof leads to two roots                                  RFC 9162 2.1.4.2 steps 2 to 6
      3. which are the ones given                                      RFC 9162 2.1.4.2 step 7

    The caller MUST have sizes and roots from checkpoints that it has verified.
    From the empty tree nothing can be shown, and a caller that has seen
    nothing yet MUST not ask.

    Raises MalformedLog (BAD_PROOF) and ProofMismatch (NOT_CONSISTENT).
    """
    roots = consistency_roots(old=old, new=new, proof=proof, old_root=old_root)  # 1, 2
    if roots != (old_root, new_root):  # 3
        raise ProofMismatch(
            f"the proof from a tree of {old} to one of {new} leads to other roots",
            reason="NOT_CONSISTENT",
            details=(
                f"of {old}: signed  {old_root.hex()}",
                f"of {old}: reached {roots[0].hex()}",
                f"of {new}: signed  {new_root.hex()}",
                f"of {new}: reached {roots[1].hex()}",
            ),
        )


def consistency_roots(*, old: int, new: int, proof: Sequence[bytes], old_root: bytes) -> tuple[bytes, bytes]:
    """Return the older and the newer root that a consistency proof leads to, which nobody need have signed.

    Where it leads to a newer root that was signed, and to an older one other
    than `old_root`, which was signed too, the two are of different histories.
    Where the older size is a power of two, a proof leaves the older root out:
    it leads to whatever `old_root` is, and what is told apart is the newer one.

    Raises MalformedLog (BAD_PROOF).
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise _bad_proof(f"a tree of {new} does not begin with one of {old}")
    if not old and new:
        raise _bad_proof("every tree begins with the empty one, which shows nothing")
    path = _consistency_path(old, new)
    _verify_lengths(proof, count=len(path))
    if not old:
        return EMPTY_ROOT, EMPTY_ROOT
    steps = list(zip(path, proof, strict=True))
    older = newer = old_root
    if steps and steps[0][0][1] == old:  # the end of the older tree: a subtree of both
        older = newer = steps.pop(0)[1]
    for (begin, _), sibling in steps:
        if begin >= old:
            newer = node_hash(newer, sibling)
        else:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
    return older, newer


def _inclusion_path(index: int, size: int) -> list[_Range]:
    """Return the subtrees beside the way from a leaf to the root: PATH of RFC 6962 section 2.1.1."""
    path: list[_Range] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = _split(begin, end)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((begin, middle))
            begin = middle
    return path[::-1]


def _consistency_path(old: int, new: int) -> list[_Range]:
    """Return the subtrees of a consistency proof: SUBPROOF of RFC 6962 section 2.1.2."""
    path: list[_Range] = []
    begin, end = 0, new
    while end != old and old:
        middle = _split(begin, end)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((begin, middle))
            begin = middle
    # Whoever verifies has the root of the older tree, but not that of a part of it.
    return [*([(begin, end)] if begin else []), *path[::-1]]


def _split(begin: int, end: int) -> int:
    """Return where the left subtree ends: it has the largest power of two below the number of leaves."""
    return begin + (1 << (end - begin - 1).bit_length() - 1)


def _cover(begin: int, end: int) -> list[Node]:
    """Return the complete subtrees that make up a subtree, largest first."""
    cover = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        cover.append(Node(level, begin >> level))
        begin += 1 << level
    return cover


def _hashes(ranges: Sequence[_Range], read: Reader) -> tuple[bytes, ...]:
    """Return the hash of each subtree, and ask the reader once for all."""
    covers = [_cover(*each) for each in ranges]
    found = _ask(read, [node for cover in covers for node in cover])
    hashes, at = [], 0
    for cover in covers:
        *lefts, reached = found[at : at + len(cover)]
        for left in reversed(lefts):  # from the right: each part is larger than all that follow it
            reached = node_hash(left, reached)
        hashes.append(reached)
        at += len(cover)
    return tuple(hashes)


def _ask(read: Reader, nodes: Sequence[Node]) -> Sequence[bytes]:
    found = read(nodes) if nodes else ()
    if len(found) != len(nodes):
        raise RuntimeError(f"{len(nodes)} nodes were asked for, and {len(found)} came")
    return found


def _verify_lengths(hashes: Sequence[bytes], *, count: int) -> None:
    if len(hashes) != count:
        raise _bad_proof(f"there are {len(hashes)} hashes where {count} belong")
    if any(len(each) != HASH_BYTES for each in hashes):
        raise _bad_proof(f"a hash does not have {HASH_BYTES} bytes")


def _bad_proof(problem: str) -> MalformedLog:
    return MalformedLog(f"not a proof: {problem}", reason="BAD_PROOF")
