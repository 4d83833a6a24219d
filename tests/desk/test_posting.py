"""Posting: checked, signed, stored and queued, each draft alone."""

import json

import pytest

from tests.desk.conftest import AISI, FINDING, LAB_A, LAB_B, SHARING, draft, put_policy
from tests.support.organisations import NOW
from tocsin.desk import posting
from tocsin.desk.posting import MOST_DRAFTS
from tocsin.errors import Conflict, MalformedRequest
from tocsin.identity.certificate import DAY
from tocsin.people.person import Role
from tocsin.records.record import parse_record
from tocsin.store.model import AuditFilter
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2


def test_a_posted_record_is_signed_stored_and_queued(office):
    posted = office.post()
    assert list(posted.error_details) == []
    assert list(posted.queued_for) == [LAB_B]
    assert not posted.existed
    assert posted.record.own
    assert posted.record.title == FINDING["title"]
    assert posted.record.severity == "high"
    assert posted.record.envelope.iss == LAB_A
    assert posted.record.envelope.iat == NOW
    stored = office.home.store.records.get(posted.record.digest)
    verified = parse_record(stored.token).verify(office.home.organisation, now=NOW)
    assert verified.content == FINDING
    assert office.home.store.feeds.candidates(LAB_B, limit=9) == (posted.record.digest,)


def test_whoever_waits_is_told_once_for_a_batch(office):
    office.post_all([draft(), draft(), draft()])
    assert office.events.queued_for == [{LAB_B}]


def test_the_logs_are_signed_once_for_a_batch(office):
    size = office.home.tlog.size
    office.post_all([draft(), draft(kind=0), draft()])
    rows = office.home.store.audit.list(AuditFilter(act="posted"), limit=9)
    assert [bool(row.seal) for row in rows] == [False, True]
    assert office.home.tlog.size == size + 2
    office.home.tlog.verify((office.home.tlog.vkey,))


def test_a_batch_of_several_transactions_is_told_of_after_each(office, monkeypatch):
    monkeypatch.setattr(posting, "AT_ONCE", 2)
    posted = office.post_all([draft(), draft(), draft()]).results
    assert len({result.record.digest for result in posted}) == 3
    assert office.events.queued_for == [{LAB_B}, {LAB_B}]


def test_long_drafts_are_fewer_in_a_transaction(office, monkeypatch):
    monkeypatch.setattr(posting, "AT_ONCE_BYTES", 2 * draft().ByteSize())
    results = office.post_all([draft(), draft(), draft()]).results
    assert [result.error_reason for result in results] == ["", "", ""]
    rows = office.home.store.audit.list(AuditFilter(act="posted"), limit=9)
    assert sorted(bool(row.seal) for row in rows) == [False, True, True]


def test_a_draft_that_fails_after_something_of_it_was_written_takes_nothing_from_the_others(office, monkeypatch):
    remember = type(office.home.store.records).remember_key

    def refuse_one(records, key, digest, *, now):
        if key == "taken":
            raise Conflict("the idempotency key stands for another record already", reason="CONFLICT")
        remember(records, key, digest, now=now)

    monkeypatch.setattr(type(office.home.store.records), "remember_key", refuse_one)
    drafts = [draft(idempotency_key="one"), draft(idempotency_key="taken"), draft(idempotency_key="two")]
    results = office.post_all(drafts).results
    assert [result.error_reason for result in results] == ["", "CONFLICT", ""]
    digests = [result.record.digest for result in results if not result.error_reason]
    assert office.home.store.feeds.candidates(LAB_B, limit=9) == tuple(digests)
    assert office.home.store.records.counts().own == 2
    assert [office.home.store.records.by_key(key) for key in ("one", "taken", "two")] == [digests[0], None, digests[1]]
    assert office.home.tlog.size == 2


def test_nobody_is_woken_for_what_is_due_where_nothing_is(office):
    before = office.events.dues
    office.post()
    assert office.events.dues == before
    office.post(retention_until="2027-03-01T12:00:00Z")
    assert office.events.dues == before + 1
    office.post(retention_until="2027-03-02T12:00:00Z")
    assert office.events.dues == before + 1


def test_plain_claims_are_signed_as_given(office):
    posted = office.post(
        tlp=record_pb2.TLP_GREEN,
        pap=record_pb2.PAP_AMBER,
        permitted_use=[record_pb2.PERMITTED_USE_RESEARCH],
        relay=record_pb2.RELAY_COMMUNITY,
        retention_until="2027-03-01T12:00:00Z",
    )
    envelope = posted.record.envelope
    assert envelope.tlp == record_pb2.TLP_GREEN
    assert envelope.pap == record_pb2.PAP_AMBER
    assert list(envelope.permitted_use) == [record_pb2.PERMITTED_USE_RESEARCH]
    assert envelope.relay == record_pb2.RELAY_COMMUNITY
    assert envelope.retention_until == "2027-03-01T12:00:00Z"
    assert envelope.schema == "tocsin.v1"


REFUSED = {
    "no kind": ({"kind": 0}, "BAD_REQUEST", "kind"),
    "a kind of a later contract": ({"kind": 99}, "BAD_REQUEST", "kind"),
    "no marking": ({"tlp": 0}, "BAD_REQUEST", "tlp"),
    "a marking of a later contract": ({"tlp": 77}, "BAD_REQUEST", "tlp"),
    "an unknown use": ({"permitted_use": [55]}, "BAD_REQUEST", "permitted_use"),
    "an endless idempotency key": ({"idempotency_key": "k" * 201}, "BAD_REQUEST", "idempotency_key"),
    "content that is no JSON": ({"content_json": "{title"}, "BAD_JSON", "JSON"),
    "content with a name twice": ({"content_json": '{"title": "a", "title": "b"}'}, "BAD_JSON", "JSON"),
    "content that is a list": ({"content_json": "[]"}, "BAD_REQUEST", "object"),
    "content without a title": (
        {"content_json": json.dumps({k: v for k, v in FINDING.items() if k != "title"})},
        "BAD_CONTENT",
        "title",
    ),
    "content with a field that is none": (
        {"content_json": json.dumps({**FINDING, "tittle": "x"})},
        "BAD_CONTENT",
        "tittle",
    ),
    "a recipient that is no name": ({"recipients": ["Lab B"]}, "BAD_NAME", "Lab B"),
    "a recipient that is not known": ({"recipients": ["lab-c.example"]}, "NOT_FOUND", "lab-b.example"),
    "itself as recipient": ({"recipients": [LAB_A]}, "BAD_NAME", LAB_A),
    "a time that is none": ({"retention_until": "next week"}, None, "retention_until"),
}


@pytest.mark.parametrize("dry_run", [False, True], ids=["for good", "dry run"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_draft_that_cannot_be_signed_says_why_and_leaves_the_others_alone(office, case, dry_run):
    changes, reason, word = REFUSED[case]
    refused, posted = office.post_all([draft(**changes), draft()], dry_run=dry_run).results
    assert refused.error_reason
    assert reason in (None, refused.error_reason)
    assert word in "\n".join(refused.error_details)
    assert not refused.HasField("record")
    assert not posted.error_reason
    assert office.home.store.records.counts().own == (0 if dry_run else 1)


def test_every_problem_of_a_draft_is_told_at_once(office):
    refused = office.post({"title": "", "severity": "dreadful"})
    assert len(refused.error_details) >= 3


def test_too_many_drafts_at_once_are_refused_whole(office):
    with pytest.raises(MalformedRequest):
        office.post_all([draft()] * (MOST_DRAFTS + 1))
    assert office.home.store.records.counts().own == 0


def test_the_same_idempotency_key_posts_once(office):
    first = office.post(idempotency_key="avid:1")
    again = office.post({**FINDING, "title": "Changed since"}, idempotency_key="avid:1")
    assert again.existed
    assert again.record.digest == first.record.digest
    assert list(again.queued_for) == []
    assert office.home.store.records.counts().own == 1


def test_without_an_idempotency_key_the_same_content_is_posted_again(office):
    assert office.post().record.digest != office.post().record.digest


def test_a_dry_run_says_who_would_get_it_and_stores_nothing(office):
    result = office.post_all([draft()], dry_run=True).results[0]
    assert list(result.queued_for) == [LAB_B]
    assert result.record.title == FINDING["title"]
    assert result.record.own
    assert result.record.digest == result.record.envelope.record_id == result.record.key_id == ""
    assert office.home.store.records.counts().own == 0
    assert office.home.store.feeds.waiting(LAB_B) == 0
    assert office.events.queued_for == []


def test_a_dry_run_and_posting_reach_the_same_partners(office):
    drafts = [draft(), draft(tlp=record_pb2.TLP_RED), draft(recipients=[LAB_B])]
    rehearsed = [list(result.queued_for) for result in office.post_all(drafts, dry_run=True).results]
    assert rehearsed == [list(result.queued_for) for result in office.post_all(drafts).results]
    assert rehearsed == [[LAB_B], [], [LAB_B]]


def test_a_dry_run_finds_what_was_posted_under_its_key(office):
    first = office.post(idempotency_key="avid:1")
    rehearsed = office.post_all([draft(idempotency_key="avid:1")], dry_run=True).results[0]
    assert rehearsed.existed
    assert rehearsed.record.digest == first.record.digest


def test_recipients_narrow_and_never_widen(office):
    office.add_peer(AISI)
    posted = office.post(recipients=[AISI])
    assert list(posted.queued_for) == []
    assert list(posted.record.recipients) == [AISI]
    (notice,) = posted.notices
    assert f"partner {AISI} is named but no policy lets the record reach it" in notice


def test_a_named_partner_that_is_not_active_is_told_of(office):
    office.desk.suspend_peer(v1.SuspendPeerRequest(org=LAB_B), office.me)
    (notice,) = office.post(recipients=[LAB_B]).notices
    assert "not active" in notice


def test_a_record_that_reaches_nobody_says_so(office):
    posted = office.post(tlp=record_pb2.TLP_RED)
    assert list(posted.queued_for) == []
    assert list(posted.notices) == ["no policy lets the record reach any partner"]


def test_a_record_that_reaches_everybody_named_has_nothing_to_say(office):
    assert list(office.post(recipients=[LAB_B]).notices) == []


def test_posting_is_safe_from_several_threads(office):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda number: office.post(idempotency_key=f"k{number % 5}"), range(20)))
    assert {result.error_reason for result in results} == {""}
    assert sum(not result.existed for result in results) == 5
    assert office.home.store.records.counts().own == 5


def test_what_was_posted_is_there_after_reopening(root, office, open_office):
    digest = office.post().record.digest
    office.home.close()
    again = open_office(root)
    assert again.desk.get_record(v1.GetRecordRequest(id=digest), again.me).record.title == FINDING["title"]
    assert again.home.store.feeds.candidates(LAB_B, limit=9) == (digest,)


def test_a_policy_shares_only_what_it_was_read_to_share(root, office):
    """A policy file that changes while the home is open counts from the next opening."""
    (root / "policies" / f"{LAB_B}.toml").write_text(SHARING.format(partner=LAB_B).replace("AMBER", "CLEAR"))
    assert list(office.post().queued_for) == [LAB_B]


def test_a_record_has_an_author_and_a_marking(office):
    _, keys = office.admit("analyst-1", Role.ANALYST)
    request = v1.PostRecordsRequest(drafts=[draft()])
    posted = office.desk.post_records(request, office.home.store.people.get(keys.name)).results[0]
    assert (posted.record.author, posted.record.marking) == ("analyst-1", record_pb2.TLP_AMBER)
    row = office.home.store.audit.list(AuditFilter(act="posted"), limit=1)[0]
    assert (row.person, row.digest) == ("analyst-1", posted.record.digest)
    assert FINDING["title"] not in row.body


def test_a_schedule_of_markings_is_signed_and_noted(office):
    step = record_pb2.Downgrade(at="2027-01-01T00:00:00Z", tlp=record_pb2.TLP_GREEN)
    posted = office.post(downgrade_at=[step])
    assert list(posted.error_details) == []
    shown = office.desk.get_record(v1.GetRecordRequest(id=posted.record.digest), office.me).record
    assert list(shown.envelope.downgrade_at) == [step]
    assert office.home.store.dues.next_at() == NOW + 306 * DAY - DAY // 2
    assert office.events.dues > 0


def test_a_step_of_a_schedule_without_a_marking_is_refused(office):
    refused = office.post(downgrade_at=[record_pb2.Downgrade(at="2027-01-01T00:00:00Z")])
    assert refused.error_reason == "BAD_REQUEST"
    assert "downgrade_at" in refused.error_details[0]


@pytest.mark.parametrize("dry_run", [False, True], ids=["for good", "dry run"])
def test_who_gets_it_later_is_told_with_what_it_waits_for(office, dry_run):
    put_policy(office, LAB_B, SHARING.replace("[[share]]", '[[share]]\nhold = "72h"\napprovals = 2'))
    (result,) = office.post_all([draft()], dry_run=dry_run).results
    assert list(result.queued_for) == list(result.notices) == []
    (waiting,) = result.waiting
    assert (waiting.partner, waiting.approvals_needed) == (LAB_B, 2)
    assert waiting.not_before.ToSeconds() == NOW + 3 * DAY
    assert bool(waiting.review) is not dry_run


@pytest.mark.parametrize("dry_run", [False, True], ids=["for good", "dry run"])
def test_the_end_of_an_embargo_is_something_to_wait_for(office, dry_run):
    embargo = {"until": "2026-03-11T12:00:00Z", "state": "agreed"}
    (result,) = office.post_all([draft({**FINDING, "embargo": embargo})], dry_run=dry_run).results
    assert list(result.error_details) == list(result.queued_for) == list(result.notices) == []
    assert [(one.partner, one.not_before.ToSeconds()) for one in result.waiting] == [(LAB_B, NOW + 10 * DAY)]


def test_what_never_goes_waits_for_nothing(office):
    posted = office.post(tlp=record_pb2.TLP_RED)
    assert list(posted.waiting) == []
    assert list(posted.notices) == ["no policy lets the record reach any partner"]
