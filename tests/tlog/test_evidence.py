"""Evidence of two histories proves itself to anybody, and proves nothing where there is only one."""

import json
from dataclasses import replace

import pytest

from tests.store.making import make_record
from tests.support.organisations import NOW, YEAR, found
from tests.tlog.reference import Kept, kept
from tocsin.encoding import decode_base64url
from tocsin.errors import CheckpointRefused, MalformedLog, ProofMismatch, SignatureMismatch, TocsinError
from tocsin.identity.vkey import log_name
from tocsin.tlog.checkpoint import Checkpoint, sign_checkpoint
from tocsin.tlog.entry import record_entry
from tocsin.tlog.evidence import Evidence, Kind, LoggedEntry, dump_evidence, parse_evidence, verify_evidence
from tocsin.tlog.merkle import consistency_proof, inclusion_proof, root

ORG = "lab-a.example"
FOUNDED = found(ORG)
IDS = [f"68a3b439-a539-418d-a498-{number:012d}" for number in range(12)]


def entries(*others: int) -> list[bytes]:
    """Return a log's entries, where some are about another record than everybody else is shown."""
    return [record_entry(name, 1, bytes([number, number in others] * 16)) for number, name in enumerate(IDS)]


def checkpoint(nodes: Kept, size: int, *, signer=FOUNDED.log) -> str:
    return sign_checkpoint(Checkpoint(log_name(ORG), size, root(size, nodes)), signer=signer)


HONEST, FORKED = kept(entries()), kept(entries(3))


def fork(old: int, new: int, *, begins=FORKED, ends=FORKED) -> Evidence:
    """Return what shows that the tree of `new` entries does not begin with the tree of `old` ones that was signed."""
    return Evidence(
        kind=Kind.FORK,
        identity=FOUNDED.document,
        checkpoints=(checkpoint(HONEST, old), checkpoint(ends, new)),
        older_root=root(old, begins),
        proof=consistency_proof(old, new, begins) if old < new else (),
    )


def logged(nodes: Kept, entry: bytes, index: int, size: int = 12) -> LoggedEntry:
    return LoggedEntry(index, entry, inclusion_proof(index, size, nodes))


def verdict(evidence: Evidence) -> str:
    """Send evidence to somebody else, and return what it proves there."""
    return verify_evidence(parse_evidence(dump_evidence(evidence))).finding


@pytest.mark.parametrize("old", range(4, 13))
def test_two_trees_of_which_one_does_not_begin_with_the_other_are_a_fork(old):
    expected = "two different trees of 12" if old == 12 else f"does not begin with the tree of {old} entries"
    assert expected in verdict(fork(old, 12))


def test_two_entries_under_one_id_and_version_are_caught_inside_one_log():
    twice = [*entries(), record_entry(IDS[5], 1, b"other" * 6 + b"xx")]
    nodes = kept(twice)
    evidence = Evidence(
        kind=Kind.ENTRIES,
        identity=FOUNDED.document,
        checkpoints=(checkpoint(nodes, 13),),
        entries=(logged(nodes, twice[5], 5, 13), logged(nodes, twice[12], 12, 13)),
    )
    assert verdict(evidence).endswith("at 5 and 12")


def in_the_log(record, digest: bytes) -> Evidence:
    entry = record_entry(record.record_id, record.version, digest)
    nodes = kept([*entries(), entry])
    return Evidence(
        kind=Kind.RECORD,
        identity=FOUNDED.document,
        checkpoints=(checkpoint(nodes, 13),),
        entries=(logged(nodes, entry, 12, 13),),
        record=record.token,
    )


def test_a_record_that_is_not_the_one_in_the_log_is_caught_with_it():
    record = make_record(by=FOUNDED)
    assert record.record_id in verdict(in_the_log(record, bytes(32)))


def test_who_it_is_against_is_for_the_caller_to_compare():
    assert verify_evidence(fork(5, 12)).origin.fingerprint == FOUNDED.organisation.fingerprint


def test_an_identity_that_has_expired_since_excuses_nobody():
    expired = found(ORG, now=NOW - 30 * YEAR)
    assert verify_evidence(replace(fork(5, 12), identity=expired.document)).kind is Kind.FORK


RECORD = make_record(by=FOUNDED)
ALTERED = RECORD.token.replace(RECORD.token.partition("~")[0][-8:-2], "AAAAAA", 1)
OTHERS_LOG = found("lab-b.example").log
ONE_ENTRY = logged(HONEST, entries()[4], 4)
PROVES_NOTHING: dict[str, tuple[Evidence, type[TocsinError], str]] = {
    "one history, which has grown": (fork(5, 12, begins=HONEST, ends=HONEST), MalformedLog, "BAD_EVIDENCE"),
    "one tree twice": (fork(12, 12, ends=HONEST), MalformedLog, "BAD_EVIDENCE"),
    "a proof that leads nowhere": (fork(5, 12, ends=HONEST), MalformedLog, "BAD_EVIDENCE"),
    "a proof of other sizes": (
        Evidence(
            kind=Kind.FORK,
            identity=FOUNDED.document,
            checkpoints=(checkpoint(HONEST, 5), checkpoint(FORKED, 12)),
            older_root=root(6, FORKED),
            proof=(),
        ),
        MalformedLog,
        "BAD_PROOF",
    ),
    "a checkpoint that somebody else signed": (
        Evidence(
            kind=Kind.FORK,
            identity=FOUNDED.document,
            checkpoints=(checkpoint(HONEST, 5), checkpoint(FORKED, 5, signer=OTHERS_LOG)),
            older_root=bytes(32),
        ),
        CheckpointRefused,
        "UNSIGNED_CHECKPOINT",
    ),
    "two entries about two things": (
        Evidence(
            kind=Kind.ENTRIES,
            identity=FOUNDED.document,
            checkpoints=(checkpoint(HONEST, 12),),
            entries=(ONE_ENTRY, logged(HONEST, entries()[5], 5)),
        ),
        MalformedLog,
        "BAD_EVIDENCE",
    ),
    "one entry twice": (
        Evidence(
            kind=Kind.ENTRIES,
            identity=FOUNDED.document,
            checkpoints=(checkpoint(HONEST, 12),),
            entries=(ONE_ENTRY, ONE_ENTRY),
        ),
        MalformedLog,
        "BAD_EVIDENCE",
    ),
    "an entry that is in no tree": (
        Evidence(
            kind=Kind.ENTRIES,
            identity=FOUNDED.document,
            checkpoints=(checkpoint(HONEST, 12),),
            entries=(ONE_ENTRY, LoggedEntry(4, entries(4)[4], ONE_ENTRY.proof)),
        ),
        ProofMismatch,
        "NOT_INCLUDED",
    ),
    "the record that is in the log": (
        in_the_log(RECORD, decode_base64url(RECORD.digest)),
        MalformedLog,
        "BAD_EVIDENCE",
    ),
    "a record that somebody altered": (
        replace(in_the_log(RECORD, bytes(32)), record=ALTERED),
        SignatureMismatch,
        "BAD_SIGNATURE",
    ),
}


@pytest.mark.parametrize(("evidence", "kind", "reason"), PROVES_NOTHING.values(), ids=PROVES_NOTHING)
def test_what_contradicts_nothing_is_no_evidence(evidence, kind, reason):
    with pytest.raises(kind) as refused:
        verdict(evidence)
    assert refused.value.reason == reason


def altered(**parts: object) -> bytes:
    return json.dumps(json.loads(dump_evidence(fork(5, 12))) | parts).encode()


ILL_FORMED = {
    "too long": b" " * (4 * 1024 * 1024 + 1),
    "no JSON": b"{",
    "a list": b"[]",
    "another format": altered(format="tocsin-evidence/v2"),
    "another kind": altered(kind="rumour"),
    "a kind that is a list": altered(kind=["fork"]),
    "a kind that is an object": altered(kind={}),
    "a member too many": altered(note="look"),
    "one checkpoint": altered(checkpoints=["x"]),
    "a checkpoint that is no text": altered(checkpoints=[1, 2]),
    "a root that is too short": altered(older_root="AAAA"),
    "a root that is no base64": altered(older_root="!"),
    "a proof that is no list": altered(proof="x"),
    "entries for a fork": altered(entries=[]),
    "entries of an unknown form": json.dumps(
        {"format": "tocsin-evidence/v1", "kind": "entries", "identity": {}, "checkpoints": ["x"], "entries": [1, 2]}
    ).encode(),
}


@pytest.mark.parametrize("data", ILL_FORMED.values(), ids=ILL_FORMED)
def test_a_bundle_of_another_form_is_refused(data):
    with pytest.raises(MalformedLog) as refused:
        parse_evidence(data)
    assert refused.value.reason == "BAD_EVIDENCE"
