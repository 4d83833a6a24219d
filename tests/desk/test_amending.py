"""Saying something again, as it should have been said."""

import json

import pytest

from tests.desk.conftest import AISI, FINDING, LAB_B, SHARING, copy_home, draft, put_policy
from tests.desk.federation import deliver, introduce
from tests.support.organisations import NOW
from tocsin.errors import Conflict, MalformedName, NotFound, NotPermitted
from tocsin.store.model import AuditFilter, Standing
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

DAY = 86_400
GREEN, AMBER, RED = record_pb2.TLP_GREEN, record_pb2.TLP_AMBER, record_pb2.TLP_RED
CORRECTED = {**FINDING, "title": "Tool output can redirect an agent, twice"}
STEPS = [
    record_pb2.Downgrade(at="2026-04-01T00:00:00Z", tlp=AMBER),
    record_pb2.Downgrade(at="2027-01-01T00:00:00Z", tlp=GREEN),
]


def amend(office, posted, content=None, *, status=0, dry_run=False, id="", **changes):
    text = json.dumps(content) if content is not None else ""
    request = v1.AmendRecordRequest(
        id=id or posted.record.digest, draft=v1.Draft(content_json=text, **changes), status=status, dry_run=dry_run
    )
    return office.desk.amend_record(request, office.me)


def show(office, name, **request) -> v1.Record:
    return office.desk.get_record(v1.GetRecordRequest(id=name, **request), office.me).record


@pytest.fixture
def lab_b(tmp_path, office, open_office):
    partner = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, partner)
    return partner


def test_the_next_version_says_it_anew_and_stands_in_place_of_the_one_before(office):
    posted = office.post(pap=record_pb2.PAP_AMBER)
    answer = amend(office, posted, CORRECTED, status=record_pb2.RECORD_STATUS_CORRECTED)
    record = answer.result.record
    assert (record.title, record.envelope.version) == (CORRECTED["title"], 2)
    assert record.envelope.record_id == posted.record.envelope.record_id
    assert record.envelope.supersedes == posted.record.digest
    assert record.envelope.status == record_pb2.RECORD_STATUS_CORRECTED
    assert (record.envelope.tlp, record.envelope.pap) == (AMBER, record_pb2.PAP_AMBER)
    assert (record.standing, record.author) == (v1.STANDING_CURRENT, "first")
    assert list(answer.result.queued_for) == [LAB_B]
    assert show(office, record.envelope.record_id).digest == record.digest
    assert show(office, posted.record.digest).standing == v1.STANDING_REPLACED


def test_what_is_not_given_stays_as_it_was(office):
    content = {**FINDING, "success_rate": {"n": 100, "k": 60}}  # it has a twin, which nobody writes
    posted = office.post(content, recipients=[LAB_B], permitted_use=[record_pb2.PERMITTED_USE_RESEARCH])
    record = amend(office, posted, tlp=GREEN).result.record
    before = show(office, posted.record.digest)
    after = show(office, record.digest)
    assert after.content == before.content
    assert list(after.recipients) == [LAB_B]
    assert after.envelope.permitted_use == before.envelope.permitted_use
    assert after.envelope.tlp == GREEN


def test_who_holds_a_version_and_gets_no_newer_one_is_told_that_theirs_is_over(office, lab_b):
    posted = office.post()
    deliver(office, lab_b)
    answer = amend(office, posted, tlp=RED)
    assert (list(answer.result.queued_for), list(answer.told)) == ([], [LAB_B])
    assert frozenset({LAB_B}) in office.events.queued_for
    deliver(office, lab_b)
    held = show(lab_b, posted.record.digest)
    assert (held.standing, held.marking) == (v1.STANDING_REPLACED, RED)


def test_who_holds_a_version_and_may_have_the_next_just_gets_it(office, lab_b):
    posted = office.post()
    deliver(office, lab_b)
    answer = amend(office, posted, CORRECTED)
    assert (list(answer.result.queued_for), list(answer.told)) == ([LAB_B], [])
    deliver(office, lab_b)
    assert show(lab_b, posted.record.envelope.record_id).title == CORRECTED["title"]
    assert show(lab_b, posted.record.digest).standing == v1.STANDING_REPLACED


def test_recipients_are_added_to_those_that_the_record_has(office):
    office.add_peer(AISI)
    put_policy(office, AISI)
    posted = office.post(recipients=[LAB_B])
    answer = amend(office, posted, recipients=[AISI])
    assert list(answer.result.record.recipients) == [AISI, LAB_B]
    assert list(answer.result.queued_for) == [AISI, LAB_B]


def test_a_dry_run_says_the_same_and_changes_nothing(office, lab_b):
    posted = office.post()
    deliver(office, lab_b)
    before = office.home.store.audit.head()
    for version, change in enumerate(({"content": CORRECTED}, {"tlp": RED}), start=2):
        rehearsed = amend(office, posted, dry_run=True, **change)
        assert rehearsed.result.record.envelope.version == version
        assert office.home.store.audit.head() == before
        assert show(office, posted.record.digest).standing == v1.STANDING_CURRENT
        done = amend(office, posted, **change)
        assert (rehearsed.result.queued_for, rehearsed.told) == (done.result.queued_for, done.told)
        posted = done.result
        deliver(office, lab_b)
        before = office.home.store.audit.head()


def test_the_same_idempotency_key_amends_once(office):
    posted = office.post()
    first = amend(office, posted, CORRECTED, idempotency_key="k1").result
    for dry_run in (False, True):
        again = amend(office, posted, CORRECTED, idempotency_key="k1", dry_run=dry_run).result
        assert (again.existed, again.record.digest) == (True, first.record.digest)


def test_an_idempotency_key_that_stands_for_something_else_amends_nothing(office):
    posted, other = office.post(idempotency_key="k1"), office.post()
    amend(office, other, CORRECTED, idempotency_key="k2")
    for key in ("k1", "k2"):
        with pytest.raises(Conflict) as caught:
            amend(office, posted, CORRECTED, idempotency_key=key)
        assert caught.value.reason == "CONFLICT"
    assert show(office, posted.record.digest).standing == v1.STANDING_CURRENT


REFUSED = {
    "nothing that would change": ({}, "BAD_REQUEST"),
    "the same content": ({"content": FINDING}, "BAD_REQUEST"),
    "another kind": ({"kind": record_pb2.RECORD_KIND_INCIDENT, "content": FINDING}, "BAD_REQUEST"),
    "no JSON": ({"content_json": "{"}, "BAD_JSON"),
    "what no finding has": ({"content": {**FINDING, "titel": "x"}}, "BAD_CONTENT"),
    "recipients of a record that is not narrowed": ({"recipients": [LAB_B]}, "BAD_REQUEST"),
    "withdrawing": ({"status": record_pb2.RECORD_STATUS_WITHDRAWN}, "BAD_REQUEST"),
    "a status that there is not": ({"status": 77}, "BAD_REQUEST"),
    "a marking that there is not": ({"tlp": 77}, "BAD_REQUEST"),
    "what must not go far": ({"tlp": GREEN, "content": {**FINDING, "summary": "ask x@y.example.org"}}, "LINT_BLOCKED"),
}


@pytest.mark.parametrize("dry_run", [False, True], ids=["for good", "dry run"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_draft_is_refused_that_gives(office, case, dry_run):
    change, reason = REFUSED[case]
    posted = office.post()
    request = dict(change)
    answer = (
        office.desk.amend_record(
            v1.AmendRecordRequest(id=posted.record.digest, draft=v1.Draft(**request), dry_run=dry_run), office.me
        )
        if "content_json" in request
        else amend(office, posted, dry_run=dry_run, **request)
    )
    assert answer.result.error_reason == reason
    assert answer.result.error_details
    assert not answer.result.HasField("record")
    assert show(office, posted.record.digest).standing == v1.STANDING_CURRENT


def test_what_the_linter_finds_can_be_taken_upon_oneself(office):
    posted = office.post()
    content = {**FINDING, "summary": "ask x@y.example.org"}
    answer = amend(office, posted, content, tlp=GREEN, overrides=["email@summary"])
    assert answer.result.error_reason == ""
    assert len(office.home.store.audit.list(AuditFilter(act="overridden"), limit=9)) == 1


def test_a_version_that_is_not_the_current_one_is_not_amended(office):
    posted = office.post()
    amend(office, posted, CORRECTED)
    with pytest.raises(Conflict) as caught:
        amend(office, posted, {**FINDING, "title": "third"})
    assert caught.value.reason == "CONFLICT"


@pytest.mark.parametrize("action", [record_pb2.RETRACTION_ACTION_WITHDRAW, record_pb2.RETRACTION_ACTION_PURGE])
@pytest.mark.parametrize("dry_run", [False, True], ids=["for good", "dry run"])
def test_a_record_that_was_retracted_is_not_amended(office, action, dry_run):
    posted = office.post()
    office.desk.retract_record(v1.RetractRecordRequest(id=posted.record.digest, action=action), office.me)
    with pytest.raises(Conflict) as caught:
        amend(office, posted, CORRECTED, dry_run=dry_run)
    assert caught.value.reason == "RETRACTED"


def test_another_organisations_record_is_not_amended(office, lab_b):
    posted = office.post()
    deliver(office, lab_b)
    with pytest.raises(NotPermitted) as caught:
        amend(lab_b, posted, CORRECTED)
    assert caught.value.reason == "NOT_PERMITTED"


def test_an_unknown_record_and_an_unknown_recipient_are_said_to_be(office):
    with pytest.raises(NotFound):
        amend(office, None, CORRECTED, id="nothing")
    posted = office.post(recipients=[LAB_B])
    with pytest.raises(NotFound):
        amend(office, posted, recipients=[AISI])
    answer = amend(office, posted, recipients=["Not A Name"])
    assert answer.result.error_reason == MalformedName("").reason


# The marking signed before, how long it is then, the marking given, and what the schedule and the marking are after.
MARKINGS = {
    "none is given": (0, 0, STEPS, RED),
    "a lower one": (0, AMBER, STEPS[1:], AMBER),
    "the lowest one": (0, GREEN, [], GREEN),
    "the one that counts already": (60, AMBER, STEPS[1:], AMBER),
    "a stricter one than counts today": (60, RED, [], RED),
}


@pytest.mark.parametrize("case", MARKINGS)
def test_the_schedule_follows_the_marking(office, case):
    days, given, steps, marking = MARKINGS[case]
    posted = office.post(tlp=RED, downgrade_at=STEPS)
    office.clock.now = NOW + days * DAY
    record = amend(office, posted, CORRECTED, tlp=given).result.record
    shown = show(office, record.digest)
    assert list(shown.envelope.downgrade_at) == steps
    assert shown.marking == marking


def test_a_schedule_that_is_given_counts(office):
    posted = office.post()
    step = record_pb2.Downgrade(at="2027-01-01T00:00:00Z", tlp=GREEN)
    record = amend(office, posted, downgrade_at=[step]).result.record
    assert list(show(office, record.digest).envelope.downgrade_at) == [step]


def test_who_amended_is_in_the_decision_log_and_nothing_of_the_content(office):
    posted = office.post()
    amend(office, posted, CORRECTED)
    (row,) = office.home.store.audit.list(AuditFilter(act="amended"), limit=9)
    assert (row.person, row.digest) == ("first", posted.record.digest)
    assert CORRECTED["title"] not in row.body


def test_what_waits_for_people_is_proposed_anew(office):
    put_policy(office, LAB_B, SHARING.replace("[[share]]", "[[share]]\napprovals = 1"))
    posted = office.post()
    answer = amend(office, posted, CORRECTED)
    (waiting,) = answer.result.waiting
    assert (waiting.partner, bool(waiting.review)) == (LAB_B, True)
    assert [one.digest for one in office.home.store.reviews.list(open_only=True)] == [answer.result.record.digest]
    assert office.home.store.records.get(posted.record.digest).standing is Standing.REPLACED


def test_two_versions_of_one_batch_of_drafts_do_not_collide(office):
    first, second = office.post_all([draft(), draft()]).results
    assert amend(office, first, CORRECTED).result.record.envelope.version == 2
    assert amend(office, second, CORRECTED).result.record.envelope.version == 2
