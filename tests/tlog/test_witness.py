import base64
import hashlib
import re

import pytest

from tests.support.organisations import NOW, signer
from tests.support.shared import shared
from tests.tlog.forge import NODES, ORIGIN, checkpoint, log_vkey, signed, witness
from tests.tlog.reference import entries_of, kept
from tocsin.errors import (
    CheckpointRefused,
    MalformedLog,
    NotFound,
    ProofMismatch,
    StaleCheckpoint,
    TocsinError,
)
from tocsin.identity.vkey import NoteAlgorithm, format_vkey
from tocsin.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, add_cosignatures, cosign, sign_checkpoint
from tocsin.tlog.merkle import consistency_proof, root
from tocsin.tlog.proof import MAX_HASHES, MAX_PROOF, format_hashes
from tocsin.tlog.witness import Held, Request, format_request, judge, parse_request, status_of

NAME = "aisi.example/witness"
FORK = kept(entries_of(20, seed="fork"))


def held(size: int, nodes=NODES) -> Held:
    return Held(size, root(size, nodes))


def request(old: int, new: int, **changes) -> Request:
    proof = consistency_proof(old, new, NODES)
    return Request(**{"old": old, "proof": proof, "checkpoint": signed(new), **changes})


def vkeys_of(origin: str) -> tuple[str, ...] | None:
    return (log_vkey(),) if origin == ORIGIN else None


def judged(asked: Request, last: Held | None) -> VerifiedCheckpoint:
    return judge(asked, held=last, vkeys_of=vkeys_of)


# Form


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 12), (5, 12), (12, 12), (19, 20)])
def test_a_request_is_read_back_as_it_was_written(old, new):
    asked = request(old, new)
    text = format_request(old=asked.old, proof=asked.proof, checkpoint=asked.checkpoint)
    assert text.startswith(f"old {old}\n")
    assert parse_request(text) == asked


GOOD = format_request(old=5, proof=consistency_proof(5, 12, NODES), checkpoint=signed(12))
HASH = format_hashes(consistency_proof(5, 12, NODES))[0]
BAD = {
    "nothing": ("BAD_PROOF", ""),
    "no old size": ("BAD_PROOF", GOOD.partition("\n")[2]),
    "a word in upper case": ("BAD_PROOF", GOOD.replace("old 5", "Old 5")),
    "a leading zero": ("BAD_PROOF", GOOD.replace("old 5", "old 05")),
    "a negative size": ("BAD_PROOF", GOOD.replace("old 5", "old -5")),
    "a size of 2^63": ("BAD_PROOF", GOOD.replace("old 5", f"old {2**63}")),
    "two spaces": ("BAD_PROOF", GOOD.replace("old 5", "old  5")),
    "CRLF": ("BAD_PROOF", GOOD.replace("\n", "\r\n")),
    "a hash without padding": ("BAD_PROOF", GOOD.replace(HASH, HASH[:-1])),
    "a hash of 33 bytes": ("BAD_PROOF", GOOD.replace(HASH, base64.b64encode(bytes(33)).decode())),
    "more than 63 hashes": ("BAD_PROOF", GOOD.replace(HASH, "\n".join([HASH] * (MAX_HASHES + 1)))),
    "no empty line": ("BAD_PROOF", GOOD.replace("\n\n", "\n")),
    "two empty lines": ("BAD_CHECKPOINT", GOOD.replace("\n\n", "\n\n\n", 1)),
    "no checkpoint": ("BAD_NOTE", GOOD.partition("\n\n")[0] + "\n\n"),
    "an unsigned checkpoint": ("BAD_NOTE", GOOD.partition("—")[0]),
    "bytes behind the checkpoint": ("BAD_NOTE", GOOD + "x"),
    "longer than a request may be": ("BAD_PROOF", GOOD.replace(ORIGIN, "x" * MAX_PROOF, 1)),
}


@pytest.mark.parametrize(("reason", "text"), BAD.values(), ids=BAD)
def test_any_other_spelling_is_refused(reason, text):
    with pytest.raises(MalformedLog) as refusal:
        parse_request(text)
    assert refusal.value.reason == reason
    assert status_of(refusal.value) == 400


def test_asking_what_no_witness_would_read_is_a_mistake_of_ours():
    with pytest.raises(RuntimeError):
        format_request(old=-1, proof=(), checkpoint=signed(12))


# Rules


ALLOWED = {
    "the first checkpoint": (request(0, 12), None),
    "the first, of a tree of size 0": (request(0, 0), None),
    "from the empty tree": (request(0, 12), held(0)),
    "the empty tree again": (request(0, 0), held(0)),
    "a larger tree": (request(5, 12), held(5)),
    "the same again": (request(12, 12), held(12)),
    "one entry more": (request(12, 13), held(12)),
    "from a power of two": (request(8, 20), held(8)),
}


@pytest.mark.parametrize(("asked", "last"), ALLOWED.values(), ids=ALLOWED)
def test_a_tree_that_begins_with_the_last_one_may_be_cosigned(asked, last):
    assert judged(asked, last).text == asked.checkpoint


ELSEWHERE = sign_checkpoint(checkpoint(12, origin="lab-b.example/tocsin"), signer=signer("b"))
PROOF = consistency_proof(5, 12, NODES)
FORKED = sign_checkpoint(checkpoint(12, nodes=FORK), signer=signer("lab-a.example log"))
REFUSED = {
    "an unknown log": (request(5, 12, checkpoint=ELSEWHERE), held(5), NotFound, "NOT_FOUND", 404),
    "another's signature": (
        request(5, 12, checkpoint=signed(12, signer("b"))),
        held(5),
        CheckpointRefused,
        "UNSIGNED_CHECKPOINT",
        403,
    ),
    "another's signature before a wrong size": (
        request(3, 12, checkpoint=signed(12, signer("b"))),
        held(5),
        CheckpointRefused,
        "UNSIGNED_CHECKPOINT",
        403,
    ),
    "an old size above the new one": (
        Request(13, (), signed(12)),
        held(13),
        MalformedLog,
        "BAD_PROOF",
        400,
    ),
    "a lower size than the last": (request(5, 12), held(8), StaleCheckpoint, "STALE_CHECKPOINT", 409),
    "a higher size than the last": (request(8, 12), held(5), StaleCheckpoint, "STALE_CHECKPOINT", 409),
    "a size where nothing was cosigned": (request(5, 12), None, StaleCheckpoint, "STALE_CHECKPOINT", 409),
    "a log that shrank": (request(5, 5), held(12), StaleCheckpoint, "STALE_CHECKPOINT", 409),
    "nothing known of the last": (request(0, 12), held(5), StaleCheckpoint, "STALE_CHECKPOINT", 409),
    "a wrong size before a wrong proof": (
        request(3, 12, proof=(bytes(32),)),
        held(5),
        StaleCheckpoint,
        "STALE_CHECKPOINT",
        409,
    ),
    "another root of one size": (request(12, 12), held(12, FORK), ProofMismatch, "NOT_CONSISTENT", 409),
    "another tree": (request(5, 12, checkpoint=FORKED), held(5), ProofMismatch, "NOT_CONSISTENT", 422),
    "a proof of another tree": (request(5, 12), held(5, FORK), ProofMismatch, "NOT_CONSISTENT", 422),
    "no proof": (request(5, 12, proof=()), held(5), ProofMismatch, "NOT_CONSISTENT", 422),
    "a hash too few": (request(5, 12, proof=PROOF[:-1]), held(5), ProofMismatch, "NOT_CONSISTENT", 422),
    "a hash too many": (request(5, 12, proof=(*PROOF, PROOF[0])), held(5), ProofMismatch, "NOT_CONSISTENT", 422),
    "a hash altered": (request(5, 12, proof=(bytes(32), *PROOF[1:])), held(5), ProofMismatch, "NOT_CONSISTENT", 422),
    "a proof from nothing": (request(0, 12, proof=PROOF), None, ProofMismatch, "NOT_CONSISTENT", 422),
    "a proof from the empty tree": (request(0, 12, proof=PROOF), held(0), ProofMismatch, "NOT_CONSISTENT", 422),
    "a proof to the same": (request(12, 12, proof=PROOF), held(12), ProofMismatch, "NOT_CONSISTENT", 422),
}


@pytest.mark.parametrize(("asked", "last", "error", "reason", "status"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_by_the_first_rule_that_it_breaks(asked, last, error, reason, status):
    with pytest.raises(TocsinError) as refusal:
        judged(asked, last)
    assert (type(refusal.value), refusal.value.reason) == (error, reason)
    assert status_of(refusal.value) == status
    if error is StaleCheckpoint:
        assert refusal.value.metadata == {"size": str(last.size if last else 0)}


def test_what_a_witness_answers_goes_below_the_checkpoint():
    allowed = judged(request(5, 12), held(5))
    answer = cosign(allowed, name=NAME, signer=signer(NAME), now=NOW)
    text = add_cosignatures(signed(12), answer, verifiers=[witness(NAME)], now=NOW)
    assert text == signed(12) + answer


# A witness of others, with its whole exchange


SIGSUM_KEY = bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f")
SIGSUM = f"sigsum.org/v1/tree/{hashlib.sha256(SIGSUM_KEY).hexdigest()}"
EXCHANGE = re.compile(
    r"^POST .*?\n```\n(.*?)```\nHTTP (\d+)\n\[Asserts\]\nbody (?:contains|==) \"(.*?)\"\n", re.M | re.S
)


def answer_to(text: str, last: Checkpoint | None) -> tuple[int, str, Checkpoint | None]:
    """Return how a witness answers by our rules, and what it holds then."""
    vkey = format_vkey(SIGSUM, algorithm=NoteAlgorithm.ED25519, public_key=SIGSUM_KEY)
    try:
        allowed = judge(
            parse_request(text),
            held=Held(last.size, last.root) if last else None,
            vkeys_of=lambda origin: (vkey,) if origin == SIGSUM else None,
        )
    except TocsinError as refusal:
        size = refusal.metadata.get("size")
        return status_of(refusal), f"{size}\n" if size else refusal.reason, last
    name = "example.com/witness"
    return 200, cosign(allowed, name=name, signer=signer(name), now=NOW), allowed.checkpoint


def test_the_exchange_of_another_witness_goes_as_it_went_there():
    text = shared("vectors/litewitness/add-checkpoint.hurl").read_text(encoding="utf-8")
    exchange = EXCHANGE.findall(text)
    assert len(exchange) == text.count("POST ") == 9
    last: Checkpoint | None = None
    answers = []
    for body, status, expected in exchange:
        code, answer, last = answer_to(body, last)
        if expected == "unknown log":
            # That witness answers 403; the document since says 404 where the origin is unknown.
            assert (status, code, answer) == ("403", 404, "NOT_FOUND")
        elif expected == "invalid signature":
            # Its base64 has bits left over, which the reader there lets pass. Here it has to be spelled right first.
            assert (code, answer) == (400, "BAD_NOTE")
            code, answer, last = answer_to(body.replace("Vrx6gx=", "Vrx6gw="), last)
            assert (code, answer) == (int(status), "UNSIGNED_CHECKPOINT")
        else:
            assert code == int(status)
        if code in (200, 409):
            assert expected.replace("\\n", "\n") in answer
        answers.append((code, last.size if last else 0))
    assert answers == [(200, 1), (403, 1), (404, 1), (422, 1), (422, 1), (200, 3), (409, 3), (200, 5), (409, 5)]
