import base64
import json

import pytest

from tests.support.organisations import NOW, signer
from tests.support.shared import shared
from tests.tlog.forge import ENTRIES, NODES, ORIGIN, cosigned, log_vkey, signed, witness_vkey
from tocsin.errors import CheckpointRefused, MalformedLog, ProofMismatch
from tocsin.tlog.checkpoint import parse_checkpoint
from tocsin.tlog.merkle import inclusion_proof, leaf_hash, verify_inclusion
from tocsin.tlog.proof import (
    MAX_HASHES,
    MAX_PROOF,
    LogProof,
    VerifiedProof,
    format_hashes,
    format_proof,
    parse_proof,
    verify_proof,
)
from tocsin.tlog.quorum import Quorum, parse_quorum

AISI, UNI = "aisi.example/witness", "uni.example/witness"
QUORUM = parse_quorum(f"witness a {witness_vkey(AISI)}\nwitness u {witness_vkey(UNI)}\ngroup g any a u\nquorum g\n")


def proof_of(index: int, size: int, *, text: str = "") -> LogProof:
    return LogProof(index, inclusion_proof(index, size, NODES), text or signed(size))


def verify(proof: LogProof, entry: bytes, *, quorum: Quorum | None = None) -> VerifiedProof:
    return verify_proof(proof, entry, origin=ORIGIN, vkeys=[log_vkey()], quorum=quorum, now=NOW)


PROOF = proof_of(7, 12)
GOOD = format_proof(PROOF)


# Form


def test_a_proof_is_the_text_that_the_document_draws():
    hashes = "".join(f"{each}\n" for each in format_hashes(PROOF.hashes))
    drawn = f"c2sp.org/tlog-proof@v1\nindex 7\n{hashes}\n{signed(12)}"
    assert drawn == GOOD


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (7, 12), (11, 12), (19, 20)])
@pytest.mark.parametrize("extra", [b"", b"{}", bytes(range(256))])
def test_a_proof_is_read_back_as_it_was_written(index, size, extra):
    proof = LogProof(index, inclusion_proof(index, size, NODES), signed(size), extra)
    assert parse_proof(format_proof(proof)) == proof


HASH = format_hashes(PROOF.hashes)[0]
MORE = "".join(f"{HASH}\n" for _ in range(MAX_HASHES))
BAD = {
    "nothing": "",
    "no first line": GOOD.partition("\n")[2],
    "another version": GOOD.replace("@v1", "@v2"),
    "a byte order mark": "\ufeff" + GOOD,
    "CRLF": GOOD.replace("\n", "\r\n"),
    "no index": GOOD.replace("index 7\n", ""),
    "only a first line": "c2sp.org/tlog-proof@v1\n\n" + signed(12),
    "an index with leading zeroes": GOOD.replace("index 7", "index 07"),
    "a negative index": GOOD.replace("index 7", "index -7"),
    "an index of 2^63": GOOD.replace("index 7", f"index {2**63}"),
    "two spaces": GOOD.replace("index 7", "index  7"),
    "no number": GOOD.replace("index 7", "index "),
    "the index twice": GOOD.replace("index 7", "index 7\nindex 7"),
    "extra behind the index": GOOD.replace("index 7", "index 7\nextra e30="),
    "extra twice": GOOD.replace("index 7", "extra e30=\nextra e30=\nindex 7"),
    "extra without anything": GOOD.replace("index 7", "extra \nindex 7"),
    "extra without padding": GOOD.replace("index 7", "extra e30\nindex 7"),
    "extra with bits left over": GOOD.replace("index 7", "extra e31=\nindex 7"),
    "extra beyond ASCII": GOOD.replace("index 7", "extra ä\nindex 7"),
    "a hash without padding": GOOD.replace(HASH, HASH.rstrip("=")),
    "a hash of 31 bytes": GOOD.replace(HASH, base64.b64encode(bytes(31)).decode()),
    "a hash with a space": GOOD.replace(HASH, HASH + " "),
    "more than 63 hashes": GOOD.replace(f"{HASH}\n", f"{MORE}{HASH}\n"),
    "no empty line": GOOD.replace("\n\n", "\n"),
    "no empty line before the checkpoint": GOOD.replace("\n\n", "\n", 1),
    "longer than a proof may be": GOOD.replace("index 7", f"extra {'AAAA' * (MAX_PROOF // 4)}\nindex 7"),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_any_other_spelling_is_refused(text):
    with pytest.raises(MalformedLog) as refusal:
        parse_proof(text)
    assert refusal.value.reason == "BAD_PROOF"


BAD_CHECKPOINTS = {
    "no checkpoint": ("BAD_NOTE", GOOD.partition("\n\n")[0] + "\n\n"),
    "two empty lines": ("BAD_CHECKPOINT", GOOD.replace("\n\n", "\n\n\n", 1)),
    "an unsigned checkpoint": ("BAD_NOTE", GOOD.partition("—")[0]),
    "bytes behind the checkpoint": ("BAD_NOTE", GOOD + "x"),
    "a lone surrogate": ("BAD_NOTE", GOOD.replace(ORIGIN, "\ud800")),
    "a checkpoint without a size": ("BAD_CHECKPOINT", GOOD.replace(f"{ORIGIN}\n12\n", f"{ORIGIN}\n")),
}


@pytest.mark.parametrize(("reason", "text"), BAD_CHECKPOINTS.values(), ids=BAD_CHECKPOINTS)
def test_a_proof_with_what_is_no_checkpoint_is_refused_for_that(reason, text):
    with pytest.raises(MalformedLog) as refusal:
        parse_proof(text)
    assert refusal.value.reason == reason


UNWRITABLE = {
    "a negative index": LogProof(-1, PROOF.hashes, PROOF.checkpoint),
    "a short hash": LogProof(7, (b"x",), PROOF.checkpoint),
    "no checkpoint": LogProof(7, PROOF.hashes, ""),
}


@pytest.mark.parametrize("proof", UNWRITABLE.values(), ids=UNWRITABLE)
def test_writing_what_is_no_proof_is_a_mistake_of_ours(proof):
    with pytest.raises(RuntimeError):
        format_proof(proof)


# What it proves


@pytest.mark.parametrize("size", range(1, 21))
def test_every_entry_of_a_tree_is_shown_to_be_in_it(size):
    for index in range(size):
        assert verify(proof_of(index, size), ENTRIES[index]).checkpoint.checkpoint.size == size


NOT_INCLUDED = {
    "another entry": (PROOF, ENTRIES[8]),
    "the hash of the entry": (PROOF, leaf_hash(ENTRIES[7])),
    "another index": (LogProof(6, PROOF.hashes, PROOF.checkpoint), ENTRIES[7]),
    "the checkpoint of another size": (LogProof(7, PROOF.hashes, signed(13)), ENTRIES[7]),
    "a hash altered": (LogProof(7, (bytes(32), *PROOF.hashes[1:]), PROOF.checkpoint), ENTRIES[7]),
    "the hashes turned around": (LogProof(7, PROOF.hashes[::-1], PROOF.checkpoint), ENTRIES[7]),
}


@pytest.mark.parametrize(("proof", "entry"), NOT_INCLUDED.values(), ids=NOT_INCLUDED)
def test_a_proof_of_something_else_is_refused(proof, entry):
    with pytest.raises(ProofMismatch) as refusal:
        verify(proof, entry)
    assert refusal.value.reason == "NOT_INCLUDED"


IMPOSSIBLE = {
    "a hash too few": LogProof(7, PROOF.hashes[:-1], PROOF.checkpoint),
    "a hash too many": LogProof(7, (*PROOF.hashes, bytes(32)), PROOF.checkpoint),
    "an index beyond the tree": LogProof(12, PROOF.hashes, PROOF.checkpoint),
    "an entry of the tree of size 0": LogProof(0, (), signed(0)),
    "the proof of a larger tree": LogProof(7, PROOF.hashes, signed(20)),
}


@pytest.mark.parametrize("proof", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_proof_that_cannot_be_is_refused(proof):
    with pytest.raises(MalformedLog) as refusal:
        verify(proof, ENTRIES[7])
    assert refusal.value.reason == "BAD_PROOF"


def test_what_the_log_did_not_sign_proves_nothing():
    with pytest.raises(CheckpointRefused) as refusal:
        verify(proof_of(7, 12, text=signed(12, signer("b"))), ENTRIES[7])
    assert refusal.value.reason == "UNSIGNED_CHECKPOINT"
    with pytest.raises(MalformedLog) as other:
        verify_proof(PROOF, ENTRIES[7], origin="lab-b.example/tocsin", vkeys=[log_vkey()], quorum=None, now=NOW)
    assert other.value.reason == "BAD_CHECKPOINT"


def test_a_proof_says_since_when_a_quorum_stands_behind_it():
    text = cosigned(cosigned(signed(12), AISI, at=NOW - 10), UNI, at=NOW - 20)
    assert verify(proof_of(7, 12, text=text), ENTRIES[7], quorum=QUORUM).cosigned_at == NOW - 20
    assert verify(proof_of(7, 12, text=text), ENTRIES[7]).cosigned_at is None


def test_without_its_quorum_a_proof_is_refused():
    with pytest.raises(CheckpointRefused) as refusal:
        verify(PROOF, ENTRIES[7], quorum=QUORUM)
    assert refusal.value.reason == "NO_QUORUM"


def test_what_goes_along_is_signed_by_nobody():
    altered = LogProof(PROOF.index, PROOF.hashes, PROOF.checkpoint, b"anything")
    assert verify(altered, ENTRIES[7]).index == 7


# Logs of others


def bundle(name: str) -> tuple[bytes, LogProof]:
    """Return the entry of a public bundle, and what it says of its place in the log."""
    path = shared("vectors/sigstore-conformance/test/assets/bundle-verify") / name / "bundle.sigstore.json"
    entry = json.loads(path.read_text())["verificationMaterial"]["tlogEntries"][0]
    proof = entry["inclusionProof"]
    hashes = tuple(base64.b64decode(each) for each in proof["hashes"])
    body = base64.b64decode(entry["canonicalizedBody"])
    return body, LogProof(int(proof["logIndex"]), hashes, proof["checkpoint"]["envelope"])


def verify_bundle(name: str) -> None:
    entry, proof = bundle(name)
    read = parse_checkpoint(proof.checkpoint).checkpoint
    verify_inclusion(leaf_hash(entry), index=proof.index, size=read.size, proof=proof.hashes, root=read.root)


INCLUDED = [
    "happy-path-v0.3",
    "managed-key-happy-path",
    "rekor2-happy-path",
    "rekor2-checkpoint-multiple-cosigs",
    "rekor2-dsse-happy-path",
    "rekor2-timestamp-with-embedded-cert",
]


@pytest.mark.parametrize("name", INCLUDED)
def test_an_entry_of_a_public_log_is_in_the_tree_of_its_checkpoint(name):
    verify_bundle(name)


@pytest.mark.parametrize("name", ["checkpoint-wrong-roothash_fail", "inclusion-proof-corrupted-hash_fail"])
def test_an_entry_that_is_not_in_the_tree_of_a_public_log_is_refused(name):
    with pytest.raises((ProofMismatch, MalformedLog)) as refusal:
        verify_bundle(name)
    assert refusal.value.reason in ("NOT_INCLUDED", "BAD_PROOF")
