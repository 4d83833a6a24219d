"""Evidence of two histories proves itself to anybody, and proves nothing where there is only one."""

import json
from dataclasses import replace

import pytest

from tests.store.making import make_record
from tests.support.organisations import NOW, YEAR, found, record_key, signer
from tests.tlog.reference import Kept, kept
from tocsin.encoding import decode_base64url
from tocsin.errors import (
    CheckpointRefused,
    MalformedIdentity,
    MalformedLog,
    ProofMismatch,
    SignatureMismatch,
    TocsinError,
    UntrustedIssuer,
)
from tocsin.identity.details import index_keys
from tocsin.identity.root import Organisation, next_version, parse_identity
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, log_name, witness_name
from tocsin.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint, verify_checkpoint
from tocsin.tlog.entry import record_entry
from tocsin.tlog.evidence import (
    Evidence,
    Kind,
    LoggedEntry,
    dump_evidence,
    is_rollback,
    parse_evidence,
    shown_at,
    verify_evidence,
)
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


def show(size: int, at: int, *, nodes: Kept = HONEST, by=FOUNDED.witness, name: str = witness_name(ORG)) -> str:
    """Return a checkpoint under which somebody says that it was the newest at a time."""
    text = checkpoint(nodes, size)
    return text + cosign(read(text), name=name, signer=by, now=at)


def read(text: str):
    return verify_checkpoint(text, origin=log_name(ORG), vkeys=FOUNDED.organisation.log_vkeys)


def rollback(earlier: str, later: str) -> Evidence:
    return Evidence(kind=Kind.ROLLBACK, identity=FOUNDED.document, checkpoints=(earlier, later))


@pytest.mark.parametrize("later", [0, 1, 11])
def test_a_smaller_tree_that_was_shown_later_is_a_log_that_was_put_back(later):
    expected = f"showed a tree of 12 entries as its newest, and later one of {later}"
    assert expected in verdict(rollback(show(12, NOW), show(later, NOW + 1)))


def test_clocks_of_the_origin_that_are_ahead_of_ours_excuse_nobody():
    assert verdict(rollback(show(12, NOW + 50 * YEAR), show(5, (1 << 64) - 1)))


def test_a_tree_was_shown_when_the_origin_itself_last_said_so():
    once, organisation = show(5, NOW), FOUNDED.organisation
    assert shown_at(read(once), origin=organisation) == NOW
    assert shown_at(read(checkpoint(HONEST, 5)), origin=organisation) is None
    assert shown_at(read(show(5, NOW, by=OTHERS.witness)), origin=organisation) is None
    assert shown_at(read(show(5, NOW, by=OTHERS.witness, name="lab-b.example/witness")), origin=organisation) is None


def test_a_cosignature_of_the_origin_that_does_not_verify_says_nothing_and_spoils_nothing():
    line = show(5, NOW).splitlines(keepends=True)[-1]
    moved = checkpoint(HONEST, 6) + line
    assert shown_at(read(moved), origin=FOUNDED.organisation) is None
    assert not is_rollback(read(show(12, NOW - 1)), read(moved), origin=FOUNDED.organisation)


def test_where_the_witness_key_was_replaced_each_of_its_cosignatures_counts():
    new = witness_key("another witness")
    organisation = newer(witness_vkey=new, former_witness_vkeys=(FOUNDED.organisation.witness_vkey,))
    both = show(5, NOW + 9) + show(5, NOW + 3, by=signer("another witness")).splitlines(keepends=True)[-1]
    assert shown_at(read(both), origin=organisation) == NOW + 9
    assert is_rollback(read(show(12, NOW + 5)), read(both), origin=organisation)
    assert not is_rollback(read(show(12, NOW + 5)), read(both), origin=newer(witness_vkey=new))


def newer(*, held: Organisation = FOUNDED.organisation, **changes: object) -> Organisation:
    """Return the organisation by a document that goes on from another."""
    document = next_version(held, replace(held, **changes), signers=FOUNDED.roots, now=NOW)
    return parse_identity(document, now=NOW)


def log_key(seed: str) -> str:
    return format_vkey(log_name(ORG), algorithm=NoteAlgorithm.ED25519, public_key=signer(seed).public_key)


def witness_key(seed: str) -> str:
    algorithm = NoteAlgorithm.COSIGNATURE_V1
    return format_vkey(witness_name(ORG), algorithm=algorithm, public_key=signer(seed).public_key)


def test_who_it_is_against_is_for_the_caller_to_compare():
    assert verify_evidence(fork(5, 12)).origin.fingerprint == FOUNDED.organisation.fingerprint


def test_an_identity_that_has_expired_since_excuses_nobody():
    expired = found(ORG, now=NOW - 30 * YEAR)
    assert verify_evidence(replace(fork(5, 12), identity=expired.document)).kind is Kind.FORK
    assert verify_evidence(fork(5, 12), known=expired.organisation).kind is Kind.FORK


def test_evidence_says_by_which_version_of_the_document_it_was_verified():
    later = newer(name="Another Name")
    older, of_later = fork(5, 12), replace(fork(5, 12), identity=later.document)
    assert verify_evidence(older).version == 1
    assert verify_evidence(older, known=FOUNDED.organisation).version == 1
    assert verify_evidence(older, known=later).version == 2
    assert verify_evidence(of_later, known=FOUNDED.organisation).version == 2
    assert verify_evidence(of_later, known=FOUNDED.organisation).origin == later


STOLEN: dict[str, tuple[Evidence, dict[str, object], type[TocsinError], str]] = {
    "a log key": (
        fork(5, 12),
        {"log_vkey": log_key("another log")},
        CheckpointRefused,
        "UNSIGNED_CHECKPOINT",
    ),
    "a witness key": (
        rollback(show(12, NOW), show(5, NOW + 1)),
        {"witness_vkey": witness_key("another witness")},
        MalformedLog,
        "BAD_EVIDENCE",
    ),
    "a record key": (
        in_the_log(make_record(by=FOUNDED), bytes(32)),
        {
            "record_keys": index_keys(
                [record_key(FOUNDED.record, status="revoked", revoked_at=NOW), record_key(signer("another record"))]
            )
        },
        UntrustedIssuer,
        "KEY_NOT_VALID",
    ),
}


@pytest.mark.parametrize(("evidence", "changes", "kind", "reason"), STOLEN.values(), ids=STOLEN)
def test_an_older_document_in_a_bundle_revives_no_stolen_key(evidence, changes, kind, reason):
    assert verify_evidence(evidence, known=FOUNDED.organisation)
    known = newer(**changes)
    for identity in (evidence.identity, known.document):
        with pytest.raises(kind) as refused:
            verify_evidence(replace(evidence, identity=identity), known=known)
        assert refused.value.reason == reason
    with pytest.raises(kind):  # the bundle brings the newer document itself
        verify_evidence(replace(evidence, identity=known.document), known=FOUNDED.organisation)


def test_a_former_log_key_still_proves_what_it_signed():
    known = newer(log_vkey=log_key("another log"), former_log_vkeys=(FOUNDED.organisation.log_vkey,))
    assert verify_evidence(fork(5, 12), known=known).version == 2


def test_evidence_against_another_organisation_of_that_name_is_none_against_the_one_that_is_known():
    other = found(ORG, root_keys=2)
    for known, identity in ((other.organisation, FOUNDED.document), (FOUNDED.organisation, other.document)):
        with pytest.raises(MalformedIdentity) as refused:
            verify_evidence(replace(fork(5, 12), identity=identity), known=known)
        assert refused.value.reason == "FINGERPRINT_MISMATCH"


def test_a_document_that_does_not_go_on_from_the_one_that_is_known_brings_no_keys():
    """Whoever stole root keys that were removed since writes another version 2, and 3, with log keys of its own."""
    known = newer(name="Known")
    thief, stolen = signer("a thief's log"), newer(log_vkey=log_key("a thief's log"))
    forged = newer(held=stolen, name="Forged")
    trees = (checkpoint(HONEST, 12, signer=thief), checkpoint(FORKED, 12, signer=thief))
    evidence = replace(fork(12, 12), identity=forged.document, checkpoints=trees)
    assert verify_evidence(evidence).version == 3
    with pytest.raises(MalformedIdentity) as refused:
        verify_evidence(evidence, known=known)
    assert refused.value.reason == "BAD_IDENTITY"
    with pytest.raises(CheckpointRefused):
        verify_evidence(replace(evidence, identity=stolen.document), known=known)


RECORD = make_record(by=FOUNDED)
ALTERED = RECORD.token.replace(RECORD.token.partition("~")[0][-8:-2], "AAAAAA", 1)
OTHERS = found("lab-b.example")
OTHERS_LOG = OTHERS.log
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
    "a log that has grown": (rollback(show(5, NOW), show(12, NOW + 1)), MalformedLog, "BAD_EVIDENCE"),
    "a larger tree that was shown later, told the wrong way round": (
        rollback(show(12, NOW + 1), show(5, NOW)),
        MalformedLog,
        "BAD_EVIDENCE",
    ),
    "two trees that were shown in one second": (rollback(show(12, NOW), show(5, NOW)), MalformedLog, "BAD_EVIDENCE"),
    "one tree that was shown twice": (rollback(show(5, NOW), show(5, NOW + 1)), MalformedLog, "BAD_EVIDENCE"),
    "a smaller tree of which nobody says when": (
        rollback(show(12, NOW), checkpoint(HONEST, 5)),
        MalformedLog,
        "BAD_EVIDENCE",
    ),
    "a larger tree of which nobody says when": (
        rollback(checkpoint(HONEST, 12), show(5, NOW)),
        MalformedLog,
        "BAD_EVIDENCE",
    ),
    "a smaller tree that another witness has cosigned later": (
        rollback(show(12, NOW), show(5, NOW + 1, by=OTHERS.witness, name="lab-b.example/witness")),
        MalformedLog,
        "BAD_EVIDENCE",
    ),
    "a smaller tree that somebody else has cosigned in its name": (
        rollback(show(12, NOW), show(5, NOW + 1, by=OTHERS.witness)),
        MalformedLog,
        "BAD_EVIDENCE",
    ),
    "a smaller tree that the log did not sign": (
        rollback(show(12, NOW), checkpoint(HONEST, 5, signer=OTHERS_LOG)),
        CheckpointRefused,
        "UNSIGNED_CHECKPOINT",
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
    "a proof for a log that was put back": altered(kind="rollback"),
    "one checkpoint of a log that was put back": json.dumps(
        {"format": "tocsin-evidence/v1", "kind": "rollback", "identity": {}, "checkpoints": ["x"]}
    ).encode(),
    "entries of an unknown form": json.dumps(
        {"format": "tocsin-evidence/v1", "kind": "entries", "identity": {}, "checkpoints": ["x"], "entries": [1, 2]}
    ).encode(),
}


@pytest.mark.parametrize("data", ILL_FORMED.values(), ids=ILL_FORMED)
def test_a_bundle_of_another_form_is_refused(data):
    with pytest.raises(MalformedLog) as refused:
        parse_evidence(data)
    assert refused.value.reason == "BAD_EVIDENCE"
