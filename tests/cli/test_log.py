"""The commands about transparency logs: what they print, what they write, and what they refuse."""

import json

import pytest

from tests.cli.messages import NOON, peer
from tests.support.organisations import found
from tests.tlog.reference import kept
from tocsin.encoding import encode_base64url
from tocsin.identity.vkey import log_name
from tocsin.tlog.checkpoint import Checkpoint, sign_checkpoint
from tocsin.tlog.entry import record_entry
from tocsin.tlog.merkle import root
from tocsin.tlog.quorum import parse_quorum
from tocsin.tlog.reading import completed
from tocsin.v1 import desk_service_pb2 as v1

LAB = found("lab-a.example")
ENTRIES = [record_entry(f"68a3b439-a539-418d-a498-{number:012d}", 1, bytes([number] * 32)) for number in range(20)]
NODES = kept(ENTRIES)


def log(org="lab-a.example", *, size=20, cosigned=(), **fields) -> v1.TransparencyLog:
    tree = Checkpoint(log_name(org), size, root(size, NODES))
    settings = {
        "org": org,
        "own": org == "lab-a.example",
        "size": size,
        "signed": size,
        "checkpoint": sign_checkpoint(tree, signer=found(org).log),
        "root": tree.root.hex(),
        "vkeys": [found(org).organisation.log_vkey],
    }
    message = v1.TransparencyLog(**settings | fields)
    message.changed_at.FromSeconds(NOON)
    for name, seen in cosigned:
        one = message.cosignatures.add(witness=f"{name}/witness", org=name, size=seen)
        one.at.FromSeconds(NOON)
    return message


def answer(*logs) -> v1.GetLogResponse:
    return v1.GetLogResponse(logs=logs)


def test_a_table_says_who_has_cosigned_and_what_is_stopped(tocsin, desk):
    desk(
        answer(
            log(cosigned=[("aisi.example", 20), ("lab-b.example", 19)]),
            log("lab-b.example", stopped="it signed two different histories of its log", evidence=2),
            log("uni.example", evidence=1),
        )
    )
    shown = tocsin("log", "show")
    own, stopped, before = shown.out.splitlines()[1:4]
    assert own.split() == ["lab-a.example", "20", "2026-03-01", "12:00", "aisi.example", "in", "order"]
    assert "STOPPED: it signed two" in stopped
    assert "from before" in shown.out
    assert before
    assert "tocsin log evidence lab-b.example" in shown.err
    assert "tocsin log resume lab-b.example" in shown.err


def test_a_log_of_our_own_that_waits_says_for_whom(tocsin, desk):
    desk(answer(log(stopped="this home was put back", awaited=["aisi.example", "uni.example"])))
    shown = tocsin("log", "show")
    assert "it waits for aisi.example, uni.example" in " ".join(shown.out.split())
    assert "--without" in shown.err


def test_one_log_is_shown_with_its_checkpoint_and_keys(tocsin, desk):
    message = log(cosigned=[("aisi.example", 20)])
    fake = desk(answer(message))
    shown = tocsin("log", "show", "lab-a.example")
    assert fake.asked == [v1.GetLogRequest(org="lab-a.example")]
    assert shown.out.endswith(message.checkpoint)
    assert f"key               {LAB.organisation.log_vkey}\n" in shown.out
    assert "cosigned          2026-03-01T12:00:00Z by aisi.example, 20 entries\n" in shown.out


def parts(*, entries=ENTRIES, changed=(), batch=7, **of) -> list[v1.ReadLogResponse]:
    """Return a log as a node hands it out, with some nodes changed."""
    messages = [v1.ReadLogResponse(log=log(**of))]
    for at in range(0, len(entries), batch):
        some = entries[at : at + batch]
        nodes = [bytes(32) if node in changed else NODES.nodes[node] for node in completed(at, len(some))]
        messages.append(v1.ReadLogResponse(entries=b"".join(some), nodes=b"".join(nodes)))
    return messages


def test_a_log_that_is_what_was_signed_verifies(tocsin, desk):
    desk(answer(log()), *parts())
    shown = tocsin("log", "verify")
    assert (shown.code, shown.out) == (0, "lab-a.example: 20 entries, verified\n")


def test_machines_are_told_what_is_wrong_with_each_log(tocsin, desk):
    wrong = [*ENTRIES[:5], bytes(64), *ENTRIES[6:]]
    desk(answer(log()), *parts(entries=wrong))
    shown = tocsin("log", "verify", "--json")
    assert shown.code == 8
    (told,) = json.loads(shown.out)["logs"]
    assert not told["verified"]
    assert told["problems"] == ["entry 5 is not the one that was logged"]


CASES = {
    "an entry": (parts(entries=[*ENTRIES[:19], bytes(64)]), "entry 19 is not the one that was logged"),
    "a node": (parts(changed=[(2, 1)]), "the node over entries 4 to 7 is another"),
    "the root": (
        parts(checkpoint=sign_checkpoint(Checkpoint(log_name("lab-a.example"), 20, bytes(32)), signer=LAB.log)),
        "do not lead to the root",
    ),
    "the end": (parts(entries=ENTRIES[:14]), "it has 14 entries, and 20 were signed"),
    "the checkpoint": (parts(checkpoint="nonsense\n"), "its checkpoint is not its own"),
    "the key": (parts(vkeys=[found("lab-b.example").organisation.log_vkey]), "its checkpoint is not its own"),
    "no checkpoint": (parts(checkpoint=""), "nothing of its 20 entries was signed"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_what_was_signed_is_said_with_the_exit_code_8(tocsin, desk, case):
    messages, expected = CASES[case]
    desk(answer(log()), *messages)
    shown = tocsin("log", "verify")
    assert shown.code == 8
    assert expected in shown.out
    assert "NOT what was signed" in shown.out
    assert "tocsin restore" in shown.err


def test_of_very_many_problems_the_first_are_printed(tocsin, desk):
    desk(answer(log("lab-b.example")), *parts(entries=[bytes(64)] * 20, org="lab-b.example"))
    shown = tocsin("log", "verify", "lab-b.example")
    assert len(shown.out.splitlines()) == 12
    assert shown.out.endswith("  and 10 more\n")
    assert "tocsin log resume lab-b.example" in shown.err


def witnesses(**fields) -> v1.GetLogPolicyResponse:
    message = v1.GetLogPolicyResponse(found=True, rule="peers", text="quorum none\n", **fields)
    for name, size in (("aisi.example", 20), ("lab-b.example", 12), ("uni.example", 0)):
        one = message.witnesses.add(name=name, key=f"{name}/witness")
        if size:
            one.cosigned.size = size
            one.cosigned.at.FromSeconds(NOON)
    return message


def test_witnesses_are_told_with_what_they_have_cosigned_and_who_is_missing(tocsin, desk):
    desk(witnesses(missing=["group peers: 1 of the 2 that it needs, without lab-b.example"]), answer(log()))
    shown = tocsin("log", "witness")
    rows = [line.split() for line in shown.out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["aisi.example", "all"], ["lab-b.example", "12"], ["uni.example", "nothing"]]
    assert "1 of the 2 that it needs" in shown.err


def test_without_a_policy_the_peers_are_told(tocsin, desk):
    desk(
        v1.GetLogPolicyResponse(),
        answer(log(cosigned=[("aisi.example", 20)])),
        v1.ListPeersResponse(peers=[peer(v1.PEER_STATE_ACTIVE)]),
    )
    shown = tocsin("log", "witness", "--json")
    told = {one["witness"]: one["cosigned"] and one["cosigned"]["size"] for one in json.loads(shown.out)["witnesses"]}
    assert told == {"lab-b.example": None, "aisi.example": 20}


def test_a_policy_is_printed_as_it_is_and_said_to_be_satisfied(tocsin, desk):
    message = witnesses(satisfied=True)
    message.since.FromSeconds(NOON)
    desk(message)
    shown = tocsin("log", "policy")
    assert (shown.code, shown.out) == (0, "quorum none\n")
    assert "peers has cosigned it since 2026-03-01T12:00:00Z" in shown.err


def test_without_a_file_one_to_begin_with_is_printed(tocsin, desk):
    text = f"witness uni {found('uni.example').organisation.witness_vkey}\nquorum uni\n"
    desk(v1.GetLogPolicyResponse(proposal=text))
    shown = tocsin("log", "policy")
    assert parse_quorum(shown.out).rule == "uni"
    assert "there is no policies/witnesses.tlog" in shown.err


def test_a_policy_with_a_problem_is_refused_with_its_line(tocsin, desk):
    desk(v1.GetLogPolicyResponse(found=True, where="line 3", problem="a second quorum line"))
    shown = tocsin("log", "policy")
    assert (shown.code, shown.out) == (3, "")
    assert "policies/witnesses.tlog: line 3: a second quorum line [BAD_LOG_POLICY]" in shown.err


def files(*paths):
    return [v1.ExportLogResponse(path=path, data=path.encode(), files=len(paths)) for path in paths]


def test_an_export_lies_where_tiles_belong(tocsin, desk, tmp_path):
    fake = desk(*files("tile/entries/000.p/20", "tile/0/000.p/20", "checkpoint"))
    shown = tocsin("log", "export", tmp_path / "public", "lab-b.example")
    assert shown.code == 0, shown.err
    assert fake.asked == [v1.ExportLogRequest(org="lab-b.example")]
    assert (tmp_path / "public" / "tile" / "entries" / "000.p" / "20").read_bytes() == b"tile/entries/000.p/20"
    assert (tmp_path / "public" / "checkpoint").exists()


@pytest.mark.parametrize("path", ["../../outside", "/srv/outside", "tile/0/../../x", "tile/0/0"])
def test_nothing_is_written_where_no_tile_belongs(tocsin, desk, tmp_path, path):
    desk(*files(path))
    shown = tocsin("log", "export", tmp_path / "public")
    assert shown.code == 3
    assert "[BAD_ENTRY]" in shown.err
    assert not (tmp_path / "outside").exists()


def test_a_folder_with_something_in_it_is_refused(tocsin, desk, tmp_path):
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "index.html").touch()
    fake = desk()
    shown = tocsin("log", "export", tmp_path / "public")
    assert shown.code == 2
    assert fake.asked == []


def bundle(**fields) -> v1.LogEvidence:
    settings = {"org": "lab-b.example", "kind": "fork", "digest": encode_base64url(bytes(32)), "finding": "it forked"}
    message = v1.LogEvidence(**settings | fields)
    message.at.FromSeconds(NOON)
    return message


def test_evidence_is_listed_and_saved_for_others(tocsin, desk, tmp_path):
    one = bundle()
    desk(v1.ListEvidenceResponse(evidence=[one]), v1.GetEvidenceResponse(evidence=one, bundle=b"{}"))
    shown = tocsin("log", "evidence", "lab-b.example", "--save", tmp_path / "evidence")
    assert shown.code == 0, shown.err
    assert "it forked" in shown.out
    (file,) = (tmp_path / "evidence").iterdir()
    assert file.read_bytes() == b"{}"
    assert file.name == "lab-b.example-fork-AAAAAAAA.json"
    assert str(file) in shown.err


def test_evidence_that_does_not_verify_today_says_so(tocsin, desk):
    desk(v1.ListEvidenceResponse(evidence=[bundle(finding="")]))
    assert "does not verify under the identity document" in " ".join(tocsin("log", "evidence").out.split())


@pytest.mark.parametrize("org", ["../../lab", "lab/b"])
def test_a_name_that_leads_elsewhere_is_no_name_of_a_file(tocsin, desk, tmp_path, org):
    one = bundle(org=org)
    desk(v1.ListEvidenceResponse(evidence=[one]), v1.GetEvidenceResponse(evidence=one, bundle=b"{}"))
    shown = tocsin("log", "evidence", "--save", tmp_path / "evidence")
    assert shown.code == 3
    assert "[BAD_NAME]" in shown.err


def test_resuming_says_what_is_the_case_then(tocsin, desk):
    fake = desk(
        v1.ResumeLogResponse(log=log(stopped="put back", awaited=["uni.example"])),
        v1.ResumeLogResponse(log=log("lab-b.example")),
    )
    shown = tocsin("log", "resume", "lab-a.example", "--without", "aisi.example")
    assert shown.out == "the log of lab-a.example still waits for uni.example\n"
    assert tocsin("log", "resume", "lab-b.example").out == "the log of lab-b.example goes on\n"
    assert fake.asked[0] == v1.ResumeLogRequest(org="lab-a.example", without="aisi.example")


def test_a_log_waits_for_others(tocsin, desk):
    fake = desk()
    assert tocsin("log", "resume", "lab-a.example", "--without", "lab-a.example").code == 2
    assert fake.asked == []


def test_a_record_is_printed_with_its_proof(tocsin, desk):
    fake = desk(v1.ProveRecordResponse(proof="c2sp.org/tlog-proof@v1\n—\n", org="lab-a.example", index=7, size=12))
    shown = tocsin("show", "3f2a", "--proof", "--version", "2")
    assert shown.out == "c2sp.org/tlog-proof@v1\n—\n"
    assert fake.asked == [v1.ProveRecordRequest(id="3f2a", version=2)]
    assert tocsin("show", "3f2a", "--without-record").code == 2
    assert tocsin("show", "3f2a", "--proof", "--draft").code == 2
