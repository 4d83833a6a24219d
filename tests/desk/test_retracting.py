"""Taking back what was said, and what partners answer to it."""

import pytest

from tests.desk.conftest import FINDING, LAB_A, LAB_B, SHARING, copy_home, draft, put_policy
from tests.desk.federation import deliver, introduce
from tests.support.organisations import NOW
from tocsin.errors import Conflict, MalformedRequest, NotFound, NotPermitted
from tocsin.store.model import AuditFilter
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

DAY = 86_400
CORRECT = record_pb2.RETRACTION_ACTION_CORRECT
WITHDRAW, PURGE = record_pb2.RETRACTION_ACTION_WITHDRAW, record_pb2.RETRACTION_ACTION_PURGE
ERROR, NO_REASON = record_pb2.RETRACTION_REASON_ERROR, record_pb2.RETRACTION_REASON_UNSPECIFIED
QUEUED, ASKED = v1.ANSWER_STATE_QUEUED, v1.ANSWER_STATE_ASKED
CONFIRMED, DECLINED = v1.ANSWER_STATE_CONFIRMED, v1.ANSWER_STATE_DECLINED


def retract(office, name, action=WITHDRAW, *, reason=ERROR, dry_run=False) -> v1.Retraction:
    request = v1.RetractRecordRequest(id=name, action=action, reason=reason, dry_run=dry_run)
    return office.desk.retract_record(request, office.me).retraction


def answer(office, name) -> v1.Retraction:
    return office.desk.get_retraction(v1.GetRetractionRequest(id=name), office.me).retraction


def listed(office) -> list[v1.Retraction]:
    return list(office.desk.list_retractions(v1.ListRetractionsRequest(), office.me).retractions)


def show(office, name) -> v1.Record:
    return office.desk.get_record(v1.GetRecordRequest(id=name), office.me).record


@pytest.fixture
def lab_b(tmp_path, office, open_office):
    partner = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, partner)
    return partner


@pytest.fixture
def sent(office, lab_b) -> str:
    """The digest of a record that lab-b.example holds."""
    posted = office.post().record.digest
    deliver(office, lab_b)
    return posted


def test_a_record_that_is_withdrawn_stays_readable_here_and_is_over(office):
    digest = office.post().record.digest
    retraction = retract(office, digest)
    assert (retraction.issuer, retraction.action, retraction.reason) == (LAB_A, WITHDRAW, ERROR)
    assert (retraction.version, retraction.at.ToSeconds(), list(retraction.answers)) == (1, NOW, [])
    shown = show(office, digest)
    assert (shown.standing, shown.title) == (v1.STANDING_WITHDRAWN, FINDING["title"])
    assert not office.desk.list_records(v1.ListRecordsRequest(), office.me).records


def test_of_a_record_that_is_purged_nothing_is_left_to_read(office):
    digest = office.post().record.digest
    retract(office, digest, PURGE)
    shown = show(office, digest)
    assert (shown.standing, shown.envelope.version) == (v1.STANDING_PURGED, 1)
    assert FINDING["title"] not in str(shown)
    for ask in (v1.ExplainRecordRequest, v1.PreviewRecordRequest):
        call = getattr(office.desk, {"E": "explain_record", "P": "preview_record"}[ask.__name__[0]])
        with pytest.raises(NotFound) as caught:
            call(ask(id=digest, partner=LAB_B), office.me)
        assert "as its origin asked" in caught.value.message


def test_whoever_holds_a_version_is_asked_and_answers(office, lab_b, sent):
    assert [(one.partner, one.state) for one in retract(office, sent, PURGE).answers] == [(LAB_B, QUEUED)]
    assert office.events.queued_for[-1] == {LAB_B}
    office.clock.now += 60
    deliver(office, lab_b, answer=False)
    (asked,) = answer(office, sent).answers
    assert (asked.state, asked.since.ToSeconds()) == (ASKED, NOW + 60)
    office.clock.now += 60
    deliver(office, lab_b)  # what was not handed over goes along the next time
    office.post()
    deliver(office, lab_b)
    (said,) = answer(office, sent).answers
    assert (said.state, said.reason, said.since.ToSeconds()) == (CONFIRMED, "", NOW + 120)
    assert show(lab_b, sent).standing == v1.STANDING_PURGED


def test_a_partner_that_may_not_delete_declines_and_says_why(office, lab_b, sent):
    put_policy(lab_b, LAB_A, SHARING.replace("[accept]", "[accept]\nlegal_hold = true"))
    retract(office, sent, PURGE)
    deliver(office, lab_b)
    (said,) = answer(office, sent).answers
    assert (said.state, said.reason) == (DECLINED, "legal-hold")
    assert show(lab_b, sent).standing == v1.STANDING_WITHDRAWN
    assert show(lab_b, sent).title == FINDING["title"]


def test_a_purge_after_a_withdrawal_is_asked_anew(office, lab_b, sent):
    retract(office, sent)
    deliver(office, lab_b)
    assert [one.state for one in answer(office, sent).answers] == [CONFIRMED]
    office.clock.now += 1
    retract(office, sent, PURGE)
    assert [one.state for one in answer(office, sent).answers] == [QUEUED]
    deliver(office, lab_b)
    retraction = answer(office, sent)
    assert (retraction.action, [one.state for one in retraction.answers]) == (PURGE, [CONFIRMED])
    assert [one.action for one in listed(office)] == [PURGE, WITHDRAW]


def test_who_is_told_that_a_version_is_over_is_listed_with_the_correction(office, lab_b, sent):
    request = v1.AmendRecordRequest(id=sent, draft=v1.Draft(tlp=record_pb2.TLP_RED))
    assert list(office.desk.amend_record(request, office.me).told) == [LAB_B]
    assert [one.state for one in answer(office, sent).answers] == [QUEUED]
    deliver(office, lab_b)
    retraction = answer(office, sent)
    assert (retraction.action, [one.state for one in retraction.answers]) == (CORRECT, [CONFIRMED])
    assert listed(office) == []


def test_who_has_the_next_version_is_not_asked_about_the_one_before(office, lab_b, sent):
    office.desk.amend_record(v1.AmendRecordRequest(id=sent, draft=v1.Draft(pap=record_pb2.PAP_RED)), office.me)
    deliver(office, lab_b)
    retraction = answer(office, sent)
    assert (retraction.action, list(retraction.answers)) == (CORRECT, [])


def test_every_version_is_over_at_once(office, lab_b, sent):
    amended = office.desk.amend_record(
        v1.AmendRecordRequest(id=sent, draft=v1.Draft(pap=record_pb2.PAP_RED)), office.me
    ).result.record
    retraction = retract(office, amended.envelope.record_id, PURGE)
    assert retraction.version == 2
    assert {show(office, digest).standing for digest in (sent, amended.digest)} == {v1.STANDING_PURGED}
    assert [one.state for one in retraction.answers] == [QUEUED]


def test_a_dry_run_names_who_would_be_asked_and_changes_nothing(office, sent):
    before = office.home.store.audit.head()
    rehearsed = retract(office, sent, PURGE, dry_run=True)
    assert [(one.partner, one.state) for one in rehearsed.answers] == [(LAB_B, QUEUED)]
    assert (rehearsed.HasField("at"), rehearsed.action) == (False, PURGE)
    assert office.home.store.audit.head() == before
    assert show(office, sent).standing == v1.STANDING_CURRENT


@pytest.mark.parametrize("action", [WITHDRAW, PURGE])
def test_the_same_again_changes_nothing_and_says_what_is_the_case(office, action):
    digest = office.post().record.digest
    first = retract(office, digest, action)
    office.clock.now += DAY
    assert retract(office, digest, action, reason=NO_REASON) == first
    assert retract(office, digest, action, dry_run=True) == first
    assert len(office.home.store.audit.list(AuditFilter(act="retracted"), limit=9)) == 1


@pytest.mark.parametrize("dry_run", [False, True], ids=["for good", "dry run"])
def test_what_is_purged_is_not_withdrawn(office, dry_run):
    digest = office.post().record.digest
    retract(office, digest, PURGE)
    with pytest.raises(Conflict) as caught:
        retract(office, digest, WITHDRAW, dry_run=dry_run)
    assert caught.value.reason == "RETRACTED"


@pytest.mark.parametrize("action", [CORRECT, 0, 77])
def test_only_withdrawing_and_purging_are_ways_to_retract(office, action):
    digest = office.post().record.digest
    with pytest.raises(MalformedRequest) as caught:
        retract(office, digest, action)
    assert (caught.value.reason, "tocsin amend" in caught.value.hint) == ("BAD_REQUEST", True)


def test_another_organisations_record_is_not_retracted(lab_b, sent):
    with pytest.raises(NotPermitted) as caught:
        retract(lab_b, sent)
    assert caught.value.reason == "NOT_PERMITTED"


def test_a_retraction_of_another_organisation_says_from_whom_it_came(office, lab_b, sent):
    retract(office, sent)
    deliver(office, lab_b)
    (theirs,) = listed(lab_b)
    assert (theirs.issuer, theirs.received_from, list(theirs.answers), theirs.token) == (LAB_A, LAB_A, [], "")
    assert answer(lab_b, sent).token.count(".") == 2


def test_what_was_not_retracted_and_what_is_unknown_have_no_retraction(office):
    for name in (office.post().record.digest, "nothing"):
        with pytest.raises(NotFound) as caught:
            answer(office, name)
        assert caught.value.reason == "NOT_FOUND"


def test_retractions_are_listed_newest_first_page_by_page(office):
    digests = [posted.record.digest for posted in office.post_all([draft() for _ in range(3)]).results]
    ids = [retract(office, digest).record_id for digest in digests]
    seen, token = [], ""
    while True:
        request = v1.ListRetractionsRequest(page_size=2, page_token=token)
        found = office.desk.list_retractions(request, office.me)
        seen += [one.record_id for one in found.retractions]
        token = found.next_page_token
        if not token:
            break
    assert seen == ids[::-1]


def test_a_week_of_silence_is_warned_of(office, lab_b, sent):
    def warnings():
        status = office.desk.get_status(v1.GetStatusRequest(), office.me)
        return [warning for warning in status.warnings if "purge" in warning]

    retract(office, sent, PURGE)
    office.clock.now += 7 * DAY - 1
    assert warnings() == []
    office.clock.now += 1
    (warning,) = warnings()
    assert LAB_B in warning
    lab_b.clock.now = office.clock.now
    deliver(office, lab_b)
    assert warnings() == []


def test_who_is_no_peer_any_more_is_neither_asked_nor_waited_for(office, lab_b, sent):
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    assert list(retract(office, sent, PURGE, dry_run=True).answers) == []
    assert list(retract(office, sent, PURGE).answers) == []
    office.clock.now += 8 * DAY
    assert not any("purge" in one for one in office.desk.get_status(v1.GetStatusRequest(), office.me).warnings)


def test_who_comes_back_hears_what_was_taken_back_meanwhile(office, lab_b, sent):
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    retract(office, sent, PURGE)
    organisation = lab_b.home.organisation
    request = v1.AddPeerRequest(document=organisation.document, fingerprint=organisation.fingerprint)
    office.desk.add_peer(request, office.me)
    assert [one.state for one in answer(office, sent).answers] == [QUEUED]
    deliver(office, lab_b)
    assert [one.state for one in answer(office, sent).answers] == [CONFIRMED]
    assert show(lab_b, sent).standing == v1.STANDING_PURGED
