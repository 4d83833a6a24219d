"""The tree is the one that RFC 6962 defines, and no proof of anything else verifies."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shared import shared
from tests.tlog.reference import Tree, entries_of, kept
from tocsin.errors import MalformedLog, ProofMismatch, TocsinError
from tocsin.tlog.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    MAX_SIZE,
    Node,
    append,
    consistency_proof,
    consistency_roots,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

MOST = 5_000
SMALL = 70
ENTRIES = entries_of(MOST)
TREE = Tree(ENTRIES)
NODES = kept(ENTRIES)
LEAVES = [leaf_hash(entry) for entry in ENTRIES]

sizes = st.integers(1, MOST) | st.integers(1, SMALL)
orders = st.tuples(sizes, sizes).map(sorted)


def index_in(data: st.DataObject, size: int) -> int:
    return data.draw(st.integers(0, size - 1) | st.just(size - 1), label="index")


def reason_of(check: Any, *arguments: Any, **named: Any) -> tuple[type[TocsinError], str] | None:
    """Return class and reason of the refusal, or None where there is none."""
    try:
        check(*arguments, **named)
    except TocsinError as refusal:
        return type(refusal), refusal.reason
    return None


BAD = (MalformedLog, "BAD_PROOF")
NOT_INCLUDED = (ProofMismatch, "NOT_INCLUDED")
NOT_CONSISTENT = (ProofMismatch, "NOT_CONSISTENT")


# The tree


def test_the_empty_tree_has_the_hash_of_nothing():
    assert root(0, kept([])) == EMPTY_ROOT == TREE.root(0)


def test_leaves_and_nodes_are_hashed_apart():
    assert leaf_hash(b"") != EMPTY_ROOT
    assert leaf_hash(bytes(64)) != node_hash(bytes(32), bytes(32))


def test_roots_and_proofs_of_all_small_sizes_are_those_of_the_definition():
    for size in range(1, SMALL + 1):
        assert root(size, NODES) == TREE.root(size)
        for index in range(size):
            proof = inclusion_proof(index, size, NODES)
            assert proof == TREE.inclusion(index, size)
            verify_inclusion(LEAVES[index], index=index, size=size, proof=proof, root=TREE.root(size))
        for old in range(1, size + 1):
            proof = consistency_proof(old, size, NODES)
            assert proof == TREE.consistency(old, size)
            roots = {"old_root": TREE.root(old), "new_root": TREE.root(size)}
            verify_consistency(old=old, new=size, proof=proof, **roots)


@given(orders, st.data())
def test_roots_and_proofs_of_any_size_are_those_of_the_definition(order, data):
    old, new = order
    index = index_in(data, new)
    assert root(new, NODES) == TREE.root(new)
    assert inclusion_proof(index, new, NODES) == TREE.inclusion(index, new)
    assert consistency_proof(old, new, NODES) == TREE.consistency(old, new)
    verify_inclusion(LEAVES[index], index=index, size=new, proof=TREE.inclusion(index, new), root=TREE.root(new))
    verify_consistency(
        old=old, new=new, proof=TREE.consistency(old, new), old_root=TREE.root(old), new_root=TREE.root(new)
    )


@given(st.lists(st.integers(0, 40), max_size=12))
def test_in_whatever_batches_leaves_come_the_nodes_are_the_complete_subtrees(batches):
    nodes = kept([])
    for count in batches:
        nodes.append(ENTRIES[nodes.size : nodes.size + count])
    expected = {
        Node(level, number): TREE.mth(number << level, number + 1 << level)
        for level in range(nodes.size.bit_length())
        for number in range(nodes.size >> level)
    }
    assert nodes.nodes == expected


def test_appending_reads_few_nodes_and_asks_once():
    nodes = kept([])
    for size, entry in enumerate(ENTRIES):
        nodes.forget()
        nodes.append([entry])
        assert nodes.read <= size.bit_length()
        assert nodes.calls <= 1
    assert nodes.nodes == NODES.nodes


@given(sizes, st.integers(0, MOST))
def test_appending_many_reads_no_more_than_appending_one_can(size, count):
    nodes = kept(ENTRIES[:size])
    nodes.forget()
    nodes.append(ENTRIES[: min(count, MOST - size)])
    assert nodes.read <= size.bit_length()
    assert nodes.calls <= 1


@given(orders, st.data())
def test_proving_reads_few_nodes_and_asks_once(order, data):
    old, new = order
    index = index_in(data, new)
    for ask in (
        lambda: root(new, NODES),
        lambda: inclusion_proof(index, new, NODES),
        lambda: consistency_proof(old, new, NODES),
    ):
        NODES.forget()
        ask()
        assert NODES.read <= 2 * new.bit_length()
        assert NODES.calls <= 1


def test_appending_nothing_completes_nothing():
    assert append(7, [], NODES) == []


def test_from_the_empty_tree_and_to_the_same_tree_there_is_nothing_to_send():
    assert [consistency_proof(old, new, NODES) for old, new in ((0, 0), (0, 9), (9, 9))] == [(), (), ()]


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda: inclusion_proof(9, 9, NODES), id="a leaf beyond the size"),
        pytest.param(lambda: inclusion_proof(-1, 9, NODES), id="a leaf before the first"),
        pytest.param(lambda: inclusion_proof(0, 0, NODES), id="a leaf of the empty tree"),
        pytest.param(lambda: consistency_proof(9, 8, NODES), id="a tree that shrinks"),
        pytest.param(lambda: consistency_proof(-1, 8, NODES), id="a negative size"),
        pytest.param(lambda: append(9, [ENTRIES[9]], NODES), id="an entry in the place of its hash"),
        pytest.param(lambda: root(9, lambda nodes: [bytes(32)]), id="a reader that leaves nodes out"),
    ],
)
def test_what_no_tree_has_is_a_mistake_of_the_caller(ask):
    with pytest.raises(RuntimeError):
        ask()


# Proofs that are not


def flipped(value: bytes, bit: int) -> bytes:
    return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(len(value), "big")


bits = st.integers(0, 8 * HASH_BYTES - 1)


def tampered(data: st.DataObject, proof: tuple[bytes, ...]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the proof with one hash flipped, with two swapped, and with one missing, doubled, cut or foreign."""
    at = data.draw(st.integers(0, max(0, len(proof) - 1)), label="place")
    before, after = list(proof[:at]), list(proof[at + 1 :])
    yield "length", [*proof, bytes(HASH_BYTES)]
    yield "length", [bytes(HASH_BYTES), *proof]
    if proof:
        yield "hash", [*before, flipped(proof[at], data.draw(bits, label="bit")), *after]
        yield "length", [*before, *after]
        yield "length", [*before, proof[at], proof[at], *after]
        yield "length", []
        yield "length", [*before, proof[at][:-1], *after]
        yield "length", [*before, proof[at] + b"\x00", *after]
    if after:
        yield "hash", [*before, after[0], proof[at], *after[1:]]


@given(sizes, st.data())
def test_a_tampered_inclusion_proof_is_refused(size, data):
    index = index_in(data, size)
    tree = {"index": index, "size": size, "root": TREE.root(size)}
    for what, proof in tampered(data, TREE.inclusion(index, size)):
        refusal = reason_of(verify_inclusion, LEAVES[index], proof=proof, **tree)
        assert refusal == (BAD if what == "length" else NOT_INCLUDED)


@given(orders, st.data())
def test_a_tampered_consistency_proof_is_refused(order, data):
    old, new = order
    trees = {"old": old, "new": new, "old_root": TREE.root(old), "new_root": TREE.root(new)}
    for what, proof in tampered(data, TREE.consistency(old, new)):
        refusal = reason_of(verify_consistency, proof=proof, **trees)
        assert refusal == (BAD if what == "length" else NOT_CONSISTENT)


@given(sizes, st.data(), bits)
def test_another_leaf_or_root_is_refused(size, data, bit):
    index = index_in(data, size)
    tree = {"index": index, "size": size, "proof": TREE.inclusion(index, size)}
    good = TREE.root(size)
    assert reason_of(verify_inclusion, flipped(LEAVES[index], bit), root=good, **tree) == NOT_INCLUDED
    assert reason_of(verify_inclusion, LEAVES[index], root=flipped(good, bit), **tree) == NOT_INCLUDED
    assert reason_of(verify_inclusion, LEAVES[index][:-1], root=good, **tree) == BAD


@given(sizes, st.data())
def test_a_proof_of_one_leaf_is_none_of_another(size, data):
    index, other = index_in(data, size), index_in(data, size)
    proof = TREE.inclusion(index, size)
    refusal = reason_of(verify_inclusion, LEAVES[index], index=other, size=size, proof=proof, root=TREE.root(size))
    if other == index:
        assert refusal is None
    elif len(proof) == len(TREE.inclusion(other, size)):
        assert refusal == NOT_INCLUDED
    else:
        assert refusal == BAD


@given(orders, st.data())
def test_a_proof_in_one_tree_is_none_in_the_tree_of_another_size(order, data):
    size, other = order if data.draw(st.booleans()) else order[::-1]
    index = index_in(data, size)
    proof = TREE.inclusion(index, size)
    refusal = reason_of(verify_inclusion, LEAVES[index], index=index, size=other, proof=proof, root=TREE.root(other))
    if other == size:
        assert refusal is None
    elif index < other and len(proof) == len(TREE.inclusion(index, other)):
        assert refusal == NOT_INCLUDED
    else:
        assert refusal == BAD


def test_size_and_root_belong_together_since_the_hashes_alone_do_not_tell_all_sizes_apart():
    proof = TREE.inclusion(0, 3)
    assert reason_of(verify_inclusion, LEAVES[0], index=0, size=4, proof=proof, root=TREE.root(4)) == NOT_INCLUDED
    assert reason_of(verify_inclusion, LEAVES[0], index=0, size=4, proof=proof, root=TREE.root(3)) is None


@given(orders, orders)
def test_a_proof_between_two_sizes_is_none_between_others(order, others):
    (old, new), (other_old, other_new) = order, others
    proof = TREE.consistency(old, new)
    roots = {"old_root": TREE.root(other_old), "new_root": TREE.root(other_new)}
    refusal = reason_of(verify_consistency, old=other_old, new=other_new, proof=proof, **roots)
    if order == others or proof == TREE.consistency(other_old, other_new):
        assert refusal is None
    elif len(proof) == len(TREE.consistency(other_old, other_new)):
        assert refusal == NOT_CONSISTENT
    else:
        assert refusal == BAD


@given(orders, bits)
def test_another_older_or_newer_root_is_refused(order, bit):
    old, new = order
    trees = {"old": old, "new": new, "proof": TREE.consistency(old, new)}
    older, newer = TREE.root(old), TREE.root(new)
    for roots in ((flipped(older, bit), newer), (older, flipped(newer, bit))):
        refusal = reason_of(verify_consistency, old_root=roots[0], new_root=roots[1], **trees)
        assert refusal == NOT_CONSISTENT


def test_a_refusal_says_which_roots_were_signed_and_which_were_reached():
    trees = {"old": 3, "new": 7, "proof": TREE.consistency(3, 7), "new_root": TREE.root(7)}
    with pytest.raises(ProofMismatch) as refusal:
        verify_consistency(old_root=bytes(32), **trees)
    assert refusal.value.reason == "NOT_CONSISTENT"
    assert refusal.value.details == (
        f"of 3: signed  {bytes(32).hex()}",
        f"of 3: reached {TREE.root(3).hex()}",
        f"of 7: signed  {TREE.root(7).hex()}",
        f"of 7: reached {TREE.root(7).hex()}",
    )
    with pytest.raises(ProofMismatch) as refusal:
        verify_inclusion(LEAVES[0], index=0, size=7, proof=TREE.inclusion(0, 7), root=bytes(32))
    assert refusal.value.reason == "NOT_INCLUDED"
    assert refusal.value.details == (f"signed  {bytes(32).hex()}", f"reached {TREE.root(7).hex()}")


@pytest.mark.parametrize(
    ("index", "size"),
    [(0, 0), (1, 1), (9, 8), (-1, 8), (0, -1), (0, MAX_SIZE + 1), (2**64, 2**65)],
)
def test_a_place_that_no_tree_has_is_refused(index, size):
    assert reason_of(verify_inclusion, LEAVES[0], index=index, size=size, proof=[], root=LEAVES[0]) == BAD


@pytest.mark.parametrize(
    ("old", "new"),
    [(2, 1), (1, 0), (-1, 1), (-2, -1), (0, 1), (0, MAX_SIZE), (1, MAX_SIZE + 1), (MAX_SIZE + 1, MAX_SIZE + 1)],
)
def test_sizes_between_which_nothing_can_be_shown_are_refused(old, new):
    roots = {"old_root": EMPTY_ROOT, "new_root": EMPTY_ROOT}
    assert reason_of(verify_consistency, old=old, new=new, proof=[], **roots) == BAD


def test_two_empty_trees_are_the_empty_tree():
    verify_consistency(old=0, new=0, proof=[], old_root=EMPTY_ROOT, new_root=EMPTY_ROOT)
    roots = {"old_root": bytes(32), "new_root": bytes(32)}
    assert reason_of(verify_consistency, old=0, new=0, proof=[], **roots) == NOT_CONSISTENT


# Two histories


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_a_fork_shows_in_the_roots_that_an_honest_proof_of_one_side_leads_to(first, second, data):
    old, new = sorted((first, second))
    common = data.draw(st.integers(0, old - 1), label="entries before the fork")
    fork = Tree(ENTRIES[:common] + entries_of(new, seed="fork")[common:])
    proof = fork.consistency(old, new)
    signed = TREE.root(old)
    reached = consistency_roots(old=old, new=new, proof=proof, old_root=signed)
    if old & (old - 1) and old < new:
        assert reached == (fork.root(old), fork.root(new))
    else:  # the proof leaves the older root out
        assert reached[0] == signed
        assert reached[1] != fork.root(new)
    # Whichever root is claimed for the older tree, the proof leads from the fork's to the newer one that was signed.
    assert consistency_roots(old=old, new=new, proof=proof, old_root=fork.root(old)) == (fork.root(old), fork.root(new))
    roots = {"old_root": signed, "new_root": fork.root(new)}
    assert reason_of(verify_consistency, old=old, new=new, proof=proof, **roots) == NOT_CONSISTENT


@given(orders)
def test_one_history_leads_to_the_roots_that_were_signed(order):
    old, new = order
    reached = consistency_roots(old=old, new=new, proof=TREE.consistency(old, new), old_root=TREE.root(old))
    assert reached == (TREE.root(old), TREE.root(new))


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (-1, 5)])
def test_roots_of_what_cannot_be_are_refused(old, new):
    assert reason_of(consistency_roots, old=old, new=new, proof=[], old_root=EMPTY_ROOT) == BAD


# Public vectors


def vectors(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    folder = shared(f"vectors/transparency-dev-merkle/testdata/{kind}")
    for path in sorted(folder.rglob("*.json")):
        yield str(path.relative_to(folder)), json.loads(path.read_text())


def hashes(vector: dict[str, Any]) -> list[bytes]:
    return [base64.b64decode(text) for text in vector["proof"] or []]


def whole(proof: list[bytes], *, length: int) -> bool:
    return len(proof) == length and all(len(each) == HASH_BYTES for each in proof)


def test_every_public_inclusion_vector_is_judged_as_it_says():
    judged = 0
    for name, vector in vectors("inclusion"):
        index, size, proof = vector["leafIdx"], vector["treeSize"], hashes(vector)
        leaf, signed = base64.b64decode(vector["leafHash"]), base64.b64decode(vector["root"])
        refusal = reason_of(verify_inclusion, leaf, index=index, size=size, proof=proof, root=signed)
        possible = index < size and len(leaf) == HASH_BYTES and whole(proof, length=len(TREE.inclusion(index, size)))
        expected = (NOT_INCLUDED if possible else BAD) if vector["wantErr"] else None
        assert refusal == expected, name
        judged += 1
    assert judged == 98


def test_every_public_consistency_vector_is_judged_as_it_says():
    judged = 0
    for name, vector in vectors("consistency"):
        old, new, proof = vector["size1"], vector["size2"], hashes(vector)
        roots = {f"{age}_root": base64.b64decode(vector[key]) for age, key in (("old", "root1"), ("new", "root2"))}
        refusal = reason_of(verify_consistency, old=old, new=new, proof=proof, **roots)
        shown = 0 < old <= new or old == new
        possible = shown and whole(proof, length=len(TREE.consistency(old, new)))
        expected = (NOT_CONSISTENT if possible else BAD) if vector["wantErr"] else None
        assert refusal == expected, name
        judged += 1
    assert judged == 98
