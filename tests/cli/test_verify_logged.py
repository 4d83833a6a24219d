"""What is in a log is verified offline, step by step: records with their proofs, checkpoints, evidence."""

import json
from dataclasses import replace

import pytest

from tests.cli.messages import RECORD_ID
from tests.cli.test_verify import issued, retraction
from tests.support.organisations import NOW, found, make_details, record_key, signer
from tests.tlog.reference import kept
from tocsin.encoding import decode_base64url
from tocsin.identity.details import index_keys
from tocsin.identity.root import found_organisation
from tocsin.identity.vkey import log_name, witness_name
from tocsin.records.retraction import parse_retraction
from tocsin.release.ledger import entry_of
from tocsin.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint, verify_checkpoint
from tocsin.tlog.entry import record_entry
from tocsin.tlog.evidence import Evidence, Kind, LoggedEntry, dump_evidence
from tocsin.tlog.merkle import inclusion_proof, root
from tocsin.tlog.proof import MAX_FILE, LogProof, format_proof

LAB, AISI, UNI = found("lab-a.example"), found("aisi.example"), found("uni.example")
ORIGIN = log_name("lab-a.example")
OTHERS = [record_entry(RECORD_ID, number, bytes([number] * 32)) for number in range(2, 13)]
RECORD = issued()
STEPS = 8


def checkpoint(nodes, *witnesses, at=NOW - 60, signer=LAB.log):
    text = sign_checkpoint(Checkpoint(ORIGIN, nodes.size, root(nodes.size, nodes)), signer=signer)
    if witnesses:
        verified = verify_checkpoint(text, origin=ORIGIN, vkeys=LAB.organisation.log_vkeys)
        for one in witnesses:
            text += cosign(verified, name=witness_name(one.organisation.org), signer=one.witness, now=at)
    return text


def proof_of(entry, *witnesses, extra=RECORD.token, **settings):
    entries = [*OTHERS[:7], entry, *OTHERS[7:]]
    nodes = kept(entries)
    hashes = inclusion_proof(7, len(entries), nodes)
    return LogProof(7, hashes, checkpoint(nodes, *witnesses, **settings), extra.encode())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with the identity documents of a lab and two witnesses, and a way to verify files in it."""
    monkeypatch.setattr("tocsin_cli.commands.verify.clock", lambda: NOW)
    for one in (LAB, AISI, UNI):
        (tmp_path / f"{one.organisation.org}.tocsin").write_bytes(one.document)
    return tmp_path


@pytest.fixture
def verify(tocsin, folder):
    def run(data, *more, identities=("lab-a.example", "aisi.example", "uni.example")):
        file = folder / "file"
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        known = [word for org in identities for word in ("--identity", folder / f"{org}.tocsin")]
        return tocsin("verify", file, *known, *more)

    return run


def steps_of(shown):
    """Return how each step came out, by its number."""
    (result,) = json.loads(shown.out)["results"]
    return [step["outcome"] for step in result["steps"]], result["failed_step"]


def test_a_record_with_its_proof_verifies_and_every_step_is_told(verify):
    shown = verify(format_proof(proof_of(entry_of(RECORD), AISI, LAB)))
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0].endswith(": verified")
    assert [line.split()[:2] for line in lines[1 : STEPS + 1]] == [["ok", str(n)] for n in range(1, STEPS + 1)]
    assert "C2SP tlog-cosignature" in shown.out
    assert "RFC 6962" in lines[STEPS - 1]
    assert "cosigned          2026-03-01T11:59:00Z by aisi.example/witness\n" in shown.out
    assert "entry             7\n" in shown.out
    assert LAB.organisation.fingerprint in shown.out


def test_machines_are_told_the_same(verify):
    shown = verify(format_proof(proof_of(entry_of(RECORD), AISI)), "--json")
    (result,) = json.loads(shown.out)["results"]
    assert (result["verified"], result["failed_step"]) == (True, None)
    assert [step["step"] for step in result["steps"]] == [*range(1, STEPS + 1)]
    assert all(step["document"] for step in result["steps"])
    assert result["log"]["cosigned"] == [{"witness": "aisi.example/witness", "at": "2026-03-01T11:59:00Z"}]
    assert (result["log"]["index"], result["log"]["size"]) == (7, 12)
    assert result["content"]["title"] == "T"


def test_a_redacted_record_has_the_same_proof(verify):
    proof = proof_of(entry_of(RECORD), extra=RECORD.token.partition("~")[0] + "~")
    assert verify(format_proof(proof)).code == 0


def test_a_retraction_with_its_proof_verifies(verify):
    token = retraction()
    entry = entry_of(parse_retraction(token).verify(LAB.organisation, now=NOW))
    shown = verify(format_proof(proof_of(entry, extra=token)))
    assert shown.code == 0, shown.err
    assert "retraction        withdraw of" in shown.out


def test_without_the_documents_of_witnesses_nobody_is_said_to_have_cosigned(verify):
    shown = verify(format_proof(proof_of(entry_of(RECORD), AISI)), identities=("lab-a.example",))
    assert shown.code == 0
    assert "cosigned          by nobody who is known here\n" in shown.out


def policy(folder, rule):
    lines = [f"witness {one.organisation.org} {one.organisation.witness_vkey}\n" for one in (AISI, UNI)]
    file = folder / "witnesses.tlog"
    file.write_text("".join([*lines, f"group both {rule} aisi.example uni.example\nquorum both\n"]))
    return "--policy", file


def test_a_policy_says_who_must_have_cosigned(verify, folder):
    text = format_proof(proof_of(entry_of(RECORD), AISI))
    shown = verify(text, *policy(folder, "any"), identities=("lab-a.example",))
    assert shown.code == 0
    assert "enough since      2026-03-01T11:59:00Z\n" in shown.out
    refused = verify(text, *policy(folder, "all"), identities=("lab-a.example",))
    assert refused.code == 4
    assert "step 6, enough witnesses have cosigned it: too few witnesses" in refused.err
    assert "uni.example" in refused.err
    assert "[NO_QUORUM]" in refused.err


def revoked(folder, at):
    """Write a document of the lab that revokes the key of the record since a time."""
    old = make_details("lab-a.example")
    key = replace(next(iter(old.record_keys.values())), status="revoked", revoked_at=at)
    later = record_key(signer("lab-a.example later"))
    details = replace(old, record_keys=index_keys([later, key]))
    document = found_organisation(details, signers=LAB.roots, threshold=1, now=NOW)
    (folder / "lab-a.example.tocsin").write_bytes(document)


@pytest.mark.parametrize(("at", "code"), [(NOW - 59, 0), (NOW - 60, 4), (NOW - 3600, 4)])
def test_what_a_revoked_key_signed_stands_where_witnesses_that_are_asked_for_knew_it_before(verify, folder, at, code):
    text = format_proof(proof_of(entry_of(RECORD), AISI))
    revoked(folder, at)
    shown = verify(text, *policy(folder, "any"), identities=("lab-a.example",))
    assert shown.code == code, shown.err
    assert ("step 8, " in shown.err and "[QUARANTINED]" in shown.err) == bool(code)
    by_nobody = verify(text)
    assert by_nobody.code == 4
    assert "[QUARANTINED]" in by_nobody.err
    assert "--policy" in by_nobody.err
    alone = verify(RECORD.token)
    assert alone.code == 4
    assert "[KEY_NOT_VALID]" in alone.err


def test_a_policy_that_is_none_is_told_with_its_line(verify, folder):
    (folder / "wrong.tlog").write_text("witness a b\nquorum a\n")
    shown = verify("x", "--policy", folder / "wrong.tlog")
    assert shown.code == 3
    assert "wrong.tlog: line 1: " in shown.err
    assert "[BAD_LOG_POLICY]" in shown.err


GOOD = proof_of(entry_of(RECORD), AISI)
OTHER = issued(version=2, supersedes="A" * 43)


def spoiled(text):
    """Return a text with another first letter in its last line of base64."""
    head, _, encoded = text.rstrip("\n").rpartition(" ")
    return f"{head} {encoded[:20]}{'A' if encoded[20] != 'A' else 'B'}{encoded[21:]}\n"


FAILING = {
    "a proof that is no proof": (lambda: format_proof(GOOD).replace("index 7", "index 07"), 1, "BAD_PROOF"),
    "a proof of nothing": (lambda: format_proof(replace(GOOD, extra=b"")), 1, "BAD_PROOF"),
    "what is no record": (lambda: format_proof(replace(GOOD, extra=b"x")), 2, "BAD_FORM"),
    "a record that somebody altered": (
        lambda: format_proof(replace(GOOD, extra=RECORD.token.replace(".", ".A", 1).encode())),
        2,
        "BAD_JSON",
    ),
    "a record of somebody unknown": (
        lambda: format_proof(replace(GOOD, extra=issued_by_lab_b().encode())),
        3,
        "KEY_NOT_OF_ISSUER",
    ),
    "a checkpoint that somebody else signed": (
        lambda: format_proof(proof_of(entry_of(RECORD), signer=AISI.log)),
        5,
        "UNSIGNED_CHECKPOINT",
    ),
    "a cosignature that does not verify": (lambda: spoiled(format_proof(GOOD)), 6, "BAD_SIGNATURE"),
    "a cosignature of tomorrow": (
        lambda: format_proof(proof_of(entry_of(RECORD), AISI, at=NOW + 86_400)),
        6,
        "FUTURE_COSIGNATURE",
    ),
    "another record": (lambda: format_proof(replace(GOOD, extra=OTHER.token.encode())), 7, "NOT_INCLUDED"),
    "another place": (lambda: format_proof(replace(GOOD, index=6)), 7, "NOT_INCLUDED"),
}


def issued_by_lab_b():
    header = issued().token.split(".")[0]
    return f"{header}.eyJpc3MiOiJsYWItYi5leGFtcGxlIn0.AAAA~"


@pytest.mark.parametrize("case", FAILING)
def test_the_first_step_that_fails_is_named_and_the_exit_code_is_4(verify, case):
    make, number, reason = FAILING[case]
    text = make()
    shown = verify(text)
    assert shown.code == 4
    assert f"step {number}, " in shown.err
    assert f"[{reason}]" in shown.err
    assert "verified" not in shown.out
    as_json = verify(text, "--json")
    assert as_json.code == 4
    outcomes, failed = steps_of(as_json)
    assert failed == number
    assert outcomes == ["ok"] * (number - 1) + ["failed"] + ["not tried"] * (STEPS - number)


def test_a_bare_checkpoint_verifies(verify):
    nodes = kept(OTHERS)
    shown = verify(checkpoint(nodes, AISI))
    assert (shown.code, shown.err) == (0, "")
    assert "log               lab-a.example/tocsin, 11 entries\n" in shown.out
    assert "by aisi.example/witness" in shown.out
    refused = verify(checkpoint(nodes, AISI), identities=("aisi.example",))
    assert refused.code == 4
    assert "[KEY_NOT_OF_ISSUER]" in refused.err
    assert "the checkpoint is of lab-a.example/tocsin" in refused.err


def test_a_checkpoint_of_somebody_else_is_refused(verify):
    shown = verify(checkpoint(kept(OTHERS), signer=UNI.log))
    assert shown.code == 4
    assert "step 2, the log signed the checkpoint" in shown.err
    assert "[UNSIGNED_CHECKPOINT]" in shown.err


def evidence(digest=bytes(32), *, identity=LAB.document):
    entry = record_entry(RECORD.record_id, RECORD.version, digest)
    nodes = kept([*OTHERS, entry])
    logged = LoggedEntry(11, entry, inclusion_proof(11, 12, nodes))
    return dump_evidence(
        Evidence(
            kind=Kind.RECORD,
            identity=identity,
            checkpoints=(checkpoint(nodes),),
            entries=(logged,),
            record=RECORD.token,
        )
    )


def test_evidence_says_what_is_proved_against_whom(verify):
    shown = verify(evidence())
    assert (shown.code, shown.err) == (0, "")
    assert "against           lab-a.example\n" in shown.out
    assert "is not the one in its log, at 11" in shown.out
    (result,) = json.loads(verify(evidence(), "--json").out)["results"]
    assert (result["issuer"], result["evidence"]["kind"]) == ("lab-a.example", "record")


def test_evidence_that_proves_nothing_is_refused(verify):
    shown = verify(evidence(decode_base64url(RECORD.digest)))
    assert shown.code == 4
    assert "step 3, what the origin signed contradicts itself" in shown.err
    assert "[BAD_EVIDENCE]" in shown.err


def test_evidence_against_another_organisation_of_the_name_is_refused(verify):
    other = found("lab-a.example", root_keys=2, threshold=2)
    shown = verify(evidence(identity=other.document))
    assert shown.code == 4
    assert "step 2, " in shown.err
    assert "[FINGERPRINT_MISMATCH]" in shown.err


def test_the_largest_record_there_is_fits_into_a_file(verify):
    large = proof_of(entry_of(RECORD), extra=RECORD.token + "A" * (1024 * 1024 - len(RECORD.token) - 1) + "~")
    shown = verify(format_proof(large, most=MAX_FILE))
    assert "step 3, " in shown.err  # read, and refused for the disclosure that is none
    assert "[BAD_JSON]" in shown.err


def test_a_policy_is_not_met_by_a_record_without_its_proof(verify, folder):
    policy = folder / "witnesses.tlog"
    policy.write_text(f"witness aisi {AISI.organisation.witness_vkey}\nquorum aisi\n")
    shown = verify(RECORD.token, "--policy", policy)
    assert (shown.code, "[NO_QUORUM]" in shown.err, "tocsin show ID --proof" in shown.err) == (4, True, True)


def test_a_policy_for_other_logs_is_met_by_none_of_this_one(verify, folder):
    policy, proof = folder / "witnesses.tlog", format_proof(proof_of(entry_of(RECORD), AISI))
    rest = f"witness aisi {AISI.organisation.witness_vkey}\nquorum aisi\n"
    policy.write_text(f"log {UNI.organisation.log_vkey}\n{rest}")
    shown = verify(proof, "--policy", policy)
    assert (shown.code, "the policy is for other logs" in shown.err) == (4, True)
    policy.write_text(f"log {LAB.organisation.log_vkey}\n{rest}")
    assert verify(proof, "--policy", policy).code == 0
