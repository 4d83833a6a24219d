"""The logs are shown as they are kept, proved, exported, and gone on with where they were stopped."""

import asyncio

import pytest

from tests.desk.conftest import AISI, LAB_A, LAB_B
from tests.store.making import make_record
from tests.support.organisations import NOW, found
from tocsin.audit.entry import Event
from tocsin.desk.witnessing import load_log_policy
from tocsin.errors import Conflict, MalformedRequest, NotFound, OriginStopped
from tocsin.identity.vkey import log_name, witness_name
from tocsin.records.record import parse_record
from tocsin.release.ledger import entry_of, hold
from tocsin.store.evidence import EvidenceRow
from tocsin.store.model import AuditFilter
from tocsin.tlog.checkpoint import Checkpoint, cosign, parse_checkpoint, sign_checkpoint, verify_checkpoint
from tocsin.tlog.entry import record_entry
from tocsin.tlog.evidence import Evidence, Kind, dump_evidence
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.proof import parse_proof, verify_proof
from tocsin.tlog.quorum import NONE, parse_quorum
from tocsin.tlog.reading import Reading
from tocsin.tlog.tiles import parse_entry_bundle
from tocsin.v1 import desk_service_pb2 as v1

B, WITNESS = found(LAB_B), found(AISI)
IDS = [f"68a3b439-a539-418d-a498-{number:012d}" for number in range(300)]
ENTRIES = [record_entry(name, 1, number.to_bytes(32, "big")) for number, name in enumerate(IDS)]


def follow(office, entries=ENTRIES, *, by=B) -> TransparencyLog:
    """Keep the log of an origin as it is read from it."""
    log = TransparencyLog(office.home.store.logs, by.organisation.org)
    log.append(entries, now=NOW)
    text = sign_checkpoint(Checkpoint(log_name(log.org), log.size, log.root(log.size)), signer=by.log)
    log.shelf.set_checkpoint(log.org, text, signed=log.size, now=NOW)
    return log


def cosigned(office, org, *witnesses, at=NOW) -> str:
    """Keep the newest checkpoint of a log with cosignatures under it."""
    logs = office.home.store.logs
    row, vkeys = logs.get(org), found(org).organisation.log_vkeys
    vkeys = office.home.organisation.log_vkeys if org == LAB_A else vkeys
    verified = verify_checkpoint(row.checkpoint, origin=log_name(org), vkeys=vkeys)
    text = row.checkpoint
    for one in witnesses:
        text += cosign(verified, name=witness_name(one.organisation.org), signer=one.witness, now=at)
    count = len(parse_checkpoint(text).note.signatures)
    logs.keep_checkpoint(org, text, size=row.signed, signatures=count, now=at)
    return text


def logs_of(office, org="") -> list[v1.TransparencyLog]:
    return list(office.desk.get_log(v1.GetLogRequest(org=org), office.me).logs)


def test_a_home_that_issued_nothing_has_an_empty_log(office):
    (own,) = logs_of(office)
    assert (own.org, own.own, own.size, own.checkpoint) == (LAB_A, True, 0, "")
    assert list(own.vkeys) == list(office.home.organisation.log_vkeys)


def test_our_own_log_comes_first_and_says_what_it_signed(office):
    follow(office)
    office.post()
    own, other = logs_of(office)
    assert (own.org, own.size, own.signed) == (LAB_A, 1, 1)
    assert own.root == office.home.tlog.root(1).hex()
    assert (other.org, other.size, other.signed, other.own) == (LAB_B, 300, 300, False)
    assert list(other.vkeys) == [B.organisation.log_vkey]


def test_who_has_cosigned_is_told_with_how_much_and_when(office):
    office.add_peer(AISI)
    office.post()
    cosigned(office, LAB_A, B, at=NOW + 60)
    office.post()
    cosigned(office, LAB_A, WITNESS, at=NOW + 7200)
    office.clock.now = NOW + 7200
    (own,) = logs_of(office, LAB_A)
    told = {one.org: (one.witness, one.size, one.at.ToSeconds()) for one in own.cosignatures}
    assert told == {
        LAB_B: (f"{LAB_B}/witness", 1, NOW + 60),
        AISI: (f"{AISI}/witness", 2, NOW + 7200),
    }
    assert AISI in own.checkpoint


def test_a_pending_peer_is_no_witness(office):
    office.add_peer(AISI, confirmed=False)
    office.post()
    cosigned(office, LAB_A, WITNESS)
    (own,) = logs_of(office, LAB_A)
    assert list(own.cosignatures) == []


def test_what_was_cosigned_of_another_history_is_not_told(office):
    office.add_peer(AISI)
    follow(office, ENTRIES[:40])
    cosigned(office, LAB_B, WITNESS)
    (before,) = logs_of(office, LAB_B)
    assert [one.size for one in before.cosignatures] == [40]
    office.home.store.logs.cut(LAB_B, 0)
    follow(office, ENTRIES[40:80])
    (after,) = logs_of(office, LAB_B)
    assert list(after.cosignatures) == []
    assert after.checkpoint == office.home.store.logs.get(LAB_B).checkpoint


def test_a_log_of_which_nothing_is_held_is_not_found(office):
    with pytest.raises(NotFound) as refused:
        logs_of(office, AISI)
    assert "tocsin log show" in refused.value.hint


def collect(stream):
    async def run():
        return [message async for message in stream]

    return asyncio.run(run())


def read(office, org=""):
    first, *rest = collect(office.desk.read_log(v1.ReadLogRequest(org=org), office.me))
    reading, problems = Reading(), []
    for part in rest:
        entries = [part.entries[at : at + 64] for at in range(0, len(part.entries), 64)]
        nodes = [part.nodes[at : at + 32] for at in range(0, len(part.nodes), 32)]
        problems += reading.take(entries, nodes)
    return first.log, reading, problems


def test_a_log_is_read_whole_to_its_root(office):
    follow(office)
    log, reading, problems = read(office, LAB_B)
    assert problems == []
    assert (reading.size, reading.root().hex()) == (log.size, log.root)


def test_reading_shows_what_is_not_what_was_logged(office):
    follow(office)
    with office.home.store.transaction():
        office.home.store._db.execute("UPDATE log_entries SET digest = zeroblob(32) WHERE number = 280")
    _, _, problems = read(office, LAB_B)
    assert problems == ["entry 280 is not the one that was logged"]


def test_an_export_is_every_file_of_the_log_and_its_checkpoint_last(office):
    follow(office)
    text = cosigned(office, LAB_B, WITNESS)
    files = collect(office.desk.export_log(v1.ExportLogRequest(org=LAB_B), office.me))
    assert [one.path for one in files] == [
        "tile/entries/000",
        "tile/entries/001.p/44",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "checkpoint",
    ]
    assert {one.files for one in files} == {6}
    assert parse_entry_bundle(files[1].data, width=44) == ENTRIES[256:]
    assert files[-1].data.decode() == text


def test_a_log_that_signed_nothing_cannot_be_exported(office):
    with pytest.raises(NotFound):
        collect(office.desk.export_log(v1.ExportLogRequest(), office.me))


def prove(office, name, **settings):
    answer = office.desk.prove_record(v1.ProveRecordRequest(id=name, **settings), office.me)
    return answer, parse_proof(answer.proof)


def test_a_record_is_proved_with_itself_along(office):
    digest = office.post().record.digest
    answer, proof = prove(office, digest)
    record = parse_record(proof.extra.decode()).verify(office.home.organisation, now=NOW)
    assert (answer.org, answer.index, answer.size) == (LAB_A, 0, 1)
    vkeys = office.home.organisation.log_vkeys
    entry = entry_of(record)
    assert verify_proof(proof, entry, origin=log_name(LAB_A), vkeys=vkeys, quorum=None, now=NOW).index == 0
    assert prove(office, digest, without_record=True)[1].extra == b""


def test_a_proof_carries_the_checkpoint_that_most_have_cosigned(office):
    digest = office.post().record.digest
    office.post()
    text = cosigned(office, LAB_A, B, WITNESS)
    office.post()
    cosigned(office, LAB_A, B, at=NOW + 7200)
    answer, proof = prove(office, digest)
    assert (answer.size, proof.checkpoint) == (2, text)
    newest, _ = prove(office, office.post().record.digest)
    assert newest.size == 4


def test_a_record_of_somebody_else_is_proved_from_what_was_read_of_its_log(office):
    record = make_record(by=B)
    office.home.store.records.add(record, received_from=LAB_B, now=NOW)
    with pytest.raises(NotFound) as refused:
        prove(office, record.digest)
    assert "does not have this record yet" in refused.value.message
    follow(office, [*ENTRIES[:5], entry_of(record)])
    answer, proof = prove(office, record.digest)
    assert (answer.org, answer.index) == (LAB_B, 5)
    vkeys = B.organisation.log_vkeys
    verify_proof(proof, entry_of(record), origin=log_name(LAB_B), vkeys=vkeys, quorum=None, now=NOW)


def test_a_checkpoint_of_another_history_proves_nothing(office):
    record = make_record(by=B)
    office.home.store.records.add(record, received_from=LAB_B, now=NOW)
    follow(office, ENTRIES[:40])
    cosigned(office, LAB_B, WITNESS)
    office.home.store.logs.cut(LAB_B, 0)
    follow(office, [entry_of(record), *ENTRIES[:5]])
    answer, proof = prove(office, record.digest)
    assert (answer.index, answer.size) == (0, 6)
    vkeys = B.organisation.log_vkeys
    verify_proof(proof, entry_of(record), origin=log_name(LAB_B), vkeys=vkeys, quorum=None, now=NOW)
    follow_more = [record_entry(name, 2, bytes(32)) for name in IDS[:60]]
    TransparencyLog(office.home.store.logs, B.organisation.org).append(follow_more, now=NOW)
    assert prove(office, record.digest)[0].size == 6


def evidence_row(office, *, signer=B.log) -> EvidenceRow:
    trees = [Checkpoint(log_name(LAB_B), 5, bytes([number]) * 32) for number in (1, 2)]
    texts = tuple(sign_checkpoint(tree, signer=signer) for tree in trees)
    bundle = dump_evidence(
        Evidence(kind=Kind.FORK, identity=B.document, checkpoints=texts, older_root=bytes([2]) * 32, proof=())
    )
    row = EvidenceRow(LAB_B, "fork", "d" * 43, bundle, NOW)
    office.home.store.logs.add_evidence(row)
    return row


def test_evidence_is_listed_with_what_it_proves_and_handed_out(office):
    row = evidence_row(office)
    (listed,) = office.desk.list_evidence(v1.ListEvidenceRequest(), office.me).evidence
    assert (listed.org, listed.kind, listed.at.ToSeconds()) == (LAB_B, "fork", NOW)
    assert listed.finding == "it signed two different trees of 5 entries"
    answer = office.desk.get_evidence(v1.GetEvidenceRequest(digest=listed.digest), office.me)
    assert answer.bundle == row.bundle
    assert not office.desk.list_evidence(v1.ListEvidenceRequest(org=AISI), office.me).evidence
    with pytest.raises(NotFound):
        office.desk.get_evidence(v1.GetEvidenceRequest(digest="x"), office.me)


def test_evidence_that_does_not_verify_any_more_says_nothing(office):
    evidence_row(office, signer=WITNESS.log)
    (listed,) = office.desk.list_evidence(v1.ListEvidenceRequest(), office.me).evidence
    assert listed.finding == ""


def resume(office, org, **settings):
    return office.desk.resume_log(v1.ResumeLogRequest(org=org, **settings), office.me).log


def resumptions(office):
    return office.home.store.audit.list(AuditFilter(act=Event.LOG_RESUMED), limit=9)


def test_an_origin_that_was_stopped_is_gone_on_with_by_people_and_read_anew(office):
    follow(office)
    office.home.store.logs.stop(LAB_B, "it signed two different histories", now=NOW)
    assert logs_of(office, LAB_B)[0].stopped == "it signed two different histories"
    office.clock.now = NOW + 5
    resumed = resume(office, LAB_B)
    assert (resumed.stopped, resumed.size, resumed.checkpoint) == ("", 0, "")
    assert resumed.resumed_at.ToSeconds() == NOW + 5
    assert LAB_B in office.events.changed
    (entry,) = resumptions(office)
    assert (entry.person, entry.partner) == ("first", LAB_B)


def test_what_is_not_stopped_is_not_gone_on_with(office):
    follow(office)
    with pytest.raises(Conflict) as refused:
        resume(office, LAB_B)
    assert refused.value.reason == "CONFLICT"
    office.home.store.logs.stop(LAB_B, "why", now=NOW)
    with pytest.raises(MalformedRequest):
        resume(office, LAB_B, without=AISI)
    assert resumptions(office) == ()


def test_our_own_log_goes_on_when_nobody_is_waited_for(office):
    office.add_peer(AISI)
    office.post()
    hold(office.home.store, office.home.organisation.org, why="put back", now=NOW)
    (own,) = logs_of(office)
    assert (own.stopped, list(own.awaited)) == ("put back", [AISI, LAB_B])
    with pytest.raises(OriginStopped):
        office.post()
    with pytest.raises(Conflict) as refused:
        resume(office, LAB_A)
    assert "--without" in refused.value.hint
    with pytest.raises(NotFound):
        resume(office, LAB_A, without="uni.example")
    assert resume(office, LAB_A, without=AISI).awaited == [LAB_B]
    assert resume(office, LAB_A, without=LAB_B).stopped == ""
    assert len(resumptions(office)) == 2
    office.post()
    assert logs_of(office)[0].size == 2


def policy(office) -> v1.GetLogPolicyResponse:
    return office.desk.get_log_policy(v1.GetLogPolicyRequest(), office.me)


def test_without_a_file_one_is_proposed_of_our_log_and_our_peers(office):
    office.add_peer(AISI)
    answer = policy(office)
    assert (answer.found, answer.problem, answer.satisfied) == (False, "", False)
    quorum = parse_quorum(answer.proposal)
    assert quorum.vkeys_of(log_name(LAB_A)) == office.home.organisation.log_vkeys
    assert set(quorum.witnesses) == {AISI, LAB_B}
    assert quorum.groups["peers"].threshold == 2


def test_an_empty_file_is_none_since_a_shell_makes_it_before_anything_is_proposed(office):
    office.home.layout.witnesses.write_text("")
    told = policy(office)
    assert not told.found
    assert told.proposal


def test_with_one_peer_it_is_the_quorum_and_with_none_our_own_key_is(office):
    assert parse_quorum(policy(office).proposal).rule == LAB_B
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    assert parse_quorum(policy(office).proposal).rule == LAB_A


def test_a_file_is_held_against_our_newest_checkpoint(office):
    office.add_peer(AISI)
    office.home.layout.witnesses.write_text(policy(office).proposal)
    assert list(policy(office).missing) == ["nothing was issued, and nothing signed"]
    office.post()
    cosigned(office, LAB_A, B)
    answer = policy(office)
    assert (answer.found, answer.rule, answer.satisfied) == (True, "peers", False)
    assert {one.name: one.cosigned.size for one in answer.witnesses} == {LAB_B: 1, AISI: 0}
    assert any(AISI in line for line in answer.missing)
    cosigned(office, LAB_A, B, WITNESS, at=NOW + 60)
    office.clock.now = NOW + 60
    answer = policy(office)
    assert answer.satisfied
    assert answer.since.ToSeconds() == NOW + 60
    assert list(answer.missing) == []


@pytest.mark.parametrize(
    ("data", "where", "problem"),
    [
        (b"quorum nobody\n", "line 1", "no line above defines"),
        (b"\xff", "line 1", "no line of the form"),
        (b"quorum none", "line 1", "the last line has no end"),
    ],
)
def test_of_a_file_with_a_problem_nobody_counts_and_the_place_is_told(office, data, where, problem):
    office.home.layout.witnesses.write_bytes(data)
    answer = policy(office)
    assert answer.found
    assert answer.where == where
    assert problem in answer.problem
    assert answer.rule == ""
    quorum = load_log_policy(office.home.layout).quorum
    assert quorum.cosigned_at([]) is None
    assert quorum.rule != NONE


def test_a_file_that_cannot_be_read_is_told(office):
    office.home.layout.witnesses.mkdir()
    assert policy(office).problem == "cannot be read: is a directory"
