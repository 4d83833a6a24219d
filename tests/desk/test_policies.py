"""What policy lets out: explained, previewed, revealed, and the files checked."""

from dataclasses import replace

import pytest
from google.protobuf.json_format import MessageToDict

from tests.desk.conftest import AISI, FINDING, LAB_A, LAB_B, SHARING, copy_home, put_policy
from tests.desk.federation import deliver, introduce
from tests.support.organisations import NOW, seeded
from tocsin.errors import MalformedName, MalformedRequest, NotFound, NotPermitted
from tocsin.identity.certificate import DAY
from tocsin.records.record import Draft, issue, parse_record
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2


@pytest.fixture
def lab_b(tmp_path, office, open_office):
    """Return the desk of lab-b.example, which exchanges with the office."""
    other = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, other)
    return other


def explain(office, record, partner=LAB_B):
    return office.desk.explain_record(v1.ExplainRecordRequest(id=record.digest, partner=partner), office.me)


def preview(office, record, partner=LAB_B):
    return office.desk.preview_record(v1.PreviewRecordRequest(id=record.digest, partner=partner), office.me)


def reveal(office, record, *paths, partner=LAB_B):
    return office.desk.reveal_fields(v1.RevealFieldsRequest(id=record.digest, paths=paths, partner=partner), office.me)


def test_an_explanation_names_the_rule_and_every_field(office):
    answer = explain(office, office.post().record)
    assert answer.delivered
    assert (answer.rule, answer.file, answer.agreement) == ("findings", f"policies/{LAB_B}.toml", "MOU 2026-04")
    assert answer.line == 5
    verdicts = {field.path: field for field in answer.fields}
    assert verdicts["title"].shared
    assert verdicts["title"].disclosure == record_pb2.DISCLOSURE_CLASS_COMMUNITY
    assert not verdicts["subjects[*].version"].shared
    assert verdicts["subjects[*].version"].reason == "trade_secret"
    assert not verdicts["steps[*].description"].shared
    assert answer.hints


def test_the_explanation_of_a_denial_is_an_answer_and_no_error(office):
    answer = explain(office, office.post(tlp=record_pb2.TLP_RED).record)
    assert not answer.delivered
    assert answer.why
    assert not any(field.shared for field in answer.fields)


def test_an_explanation_says_when_it_is_not_policy_that_keeps_a_record_here(office):
    record = office.post().record
    office.desk.suspend_peer(v1.SuspendPeerRequest(org=LAB_B), office.me)
    answer = explain(office, record)
    assert answer.delivered
    assert answer.hints[0] == f"nothing is sent to {LAB_B} while its peering is suspended"


def explain_at(office, record, moment):
    request = v1.ExplainRecordRequest(id=record.digest, partner=LAB_B)
    request.at.FromSeconds(moment)
    return office.desk.explain_record(request, office.me)


def test_an_explanation_says_what_a_record_waits_for_and_as_of_another_time(office):
    put_policy(office, LAB_B, SHARING.replace("[[share]]", '[[share]]\nhold = "72h"'))
    record = office.post().record
    today = explain(office, record)
    assert today.delivered
    assert (today.waiting.partner, today.waiting.not_before.ToSeconds()) == (LAB_B, NOW + 3 * DAY)
    later = explain_at(office, record, NOW + 4 * DAY)
    assert later.delivered
    assert not later.HasField("waiting")


def test_what_a_partner_has_already_waits_for_nothing_whoever_would_have_to_agree_today(office, lab_b):
    record = office.post().record
    deliver(office, lab_b)
    put_policy(office, LAB_B, SHARING.replace("[[share]]", "[[share]]\napprovals = 1"))
    answer = explain(office, record)
    assert answer.delivered
    assert not answer.HasField("waiting")
    assert f"{LAB_B} has all of this already: it waits for nothing" in answer.hints
    assert not any("further person" in hint for hint in answer.hints)
    other = office.post(idempotency_key="another").record
    waits = explain(office, other)
    assert waits.waiting.approvals_needed == 1
    assert any("goes when one further person agrees" in hint for hint in waits.hints)


def test_an_explanation_says_that_a_file_which_was_changed_is_not_what_was_asked(office):
    record = office.post().record
    place = office.home.layout.policies / f"{LAB_B}.toml"
    assert not any("tocsin policy plan" in hint for hint in explain(office, record).hints)
    place.write_text(place.read_text() + "# changed\n")
    told = f"policies/{LAB_B}.toml has changed since, and is not in force as it is: tocsin policy plan"
    assert told in explain(office, record).hints


def test_an_explanation_as_of_a_time_when_the_agreement_is_over_denies(office):
    put_policy(office, LAB_B, SHARING.replace("[[share]]", "expires = 2026-06-01T00:00:00Z\n\n[[share]]", 1))
    record = office.post().record
    assert explain(office, record).delivered
    answer = explain_at(office, record, NOW + 200 * DAY)
    assert not answer.delivered
    assert "expired" in answer.why


def test_the_time_until_which_a_rule_withholds_is_told_in_every_view(office, lab_b):
    until = 'withhold = ["subjects[*].version"]\nwithhold_until = 2026-04-01T00:00:00Z'
    put_policy(office, LAB_B, SHARING.replace('withhold = ["subjects[*].version"]', until))
    record = office.post().record
    moment = NOW + 31 * DAY - DAY // 2
    verdicts = {field.path: field for field in explain(office, record).fields}
    assert verdicts["subjects[*].version"].until.ToSeconds() == moment
    deliver(office, lab_b)
    shown = lab_b.desk.get_record(v1.GetRecordRequest(id=record.digest), lab_b.me).record
    for withheld in (preview(office, record).record.withheld, shown.withheld):
        told = {field.path: (field.reason, field.until.ToSeconds()) for field in withheld}
        assert told["subjects[*].version"] == ("trade_secret", moment)


def test_a_preview_is_what_the_partner_gets_byte_for_byte(office, lab_b):
    record = office.post().record
    previewed = preview(office, record)
    deliver(office, lab_b)
    assert lab_b.home.store.records.token(record.digest) == previewed.presentation


def test_a_preview_is_the_record_as_the_partner_shows_it(office, lab_b):
    record = office.post().record
    previewed = preview(office, record).record
    deliver(office, lab_b)
    shown = lab_b.desk.get_record(v1.GetRecordRequest(id=record.digest), lab_b.me).record
    shown.ClearField("stored_at")
    assert previewed == shown
    assert previewed.received_from == LAB_A
    assert not previewed.own


def test_a_preview_verifies_and_lacks_what_is_withheld(office):
    previewed = preview(office, office.post().record)
    verified = parse_record(previewed.presentation).verify(office.home.organisation, now=NOW)
    assert verified.content == MessageToDict(previewed.record.content)
    assert "steps" not in verified.content
    assert "3.1" not in str(verified.content)


def test_there_is_no_preview_of_what_does_not_go(office):
    with pytest.raises(NotPermitted) as refused:
        preview(office, office.post(tlp=record_pb2.TLP_RED).record)
    assert "tocsin explain" in refused.value.hint


def test_there_is_no_preview_of_a_version_that_was_replaced(office):
    posted = office.post().record
    draft = Draft(record_id=posted.envelope.record_id, kind="finding", tlp="AMBER", version=2, supersedes=posted.digest)
    home = office.home
    origin = {"issuer": home.organisation.org, "signer": home.record_signer}
    home.store.records.add(issue(draft, FINDING, **origin, now=NOW, random=seeded("second")), now=NOW)
    with pytest.raises(NotPermitted, match="replaced"):
        preview(office, posted)


def test_another_organisations_record_is_neither_previewed_nor_revealed(office, lab_b):
    record = office.post().record
    deliver(office, lab_b)
    assert not explain(lab_b, record, LAB_A).delivered
    with pytest.raises(NotPermitted):
        preview(lab_b, record, LAB_A)
    with pytest.raises(NotPermitted):
        reveal(lab_b, record, "steps", partner=LAB_A)


def test_a_revealed_field_waits_for_the_partner_and_reaches_it(office, lab_b):
    record = office.post().record
    deliver(office, lab_b)
    office.events.queued_for.clear()
    answer = reveal(office, record, "steps")
    assert list(answer.queued) == ["steps"]
    assert office.events.queued_for == [{LAB_B}]
    assert deliver(office, lab_b).disclosures == 1
    shown = lab_b.desk.get_record(v1.GetRecordRequest(id=record.digest), lab_b.me).record
    assert MessageToDict(shown.content)["steps"] == FINDING["steps"]


def test_a_partner_that_is_removed_and_added_again_has_lost_what_was_revealed_to_it(office, lab_b):
    record = office.post().record
    reveal(office, record, "steps")
    assert office.home.store.feeds.granted(LAB_B, record.digest) == {"steps"}
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, lab_b)
    assert office.home.store.feeds.granted(LAB_B, record.digest) == frozenset()
    deliver(office, lab_b)
    shown = lab_b.desk.get_record(v1.GetRecordRequest(id=record.digest), lab_b.me).record
    assert "steps" not in MessageToDict(shown.content)


def test_what_the_partner_has_is_not_sent_again(office, lab_b):
    record = office.post().record
    deliver(office, lab_b)
    answer = reveal(office, record, "title", "steps")
    assert (list(answer.queued), list(answer.already_sent)) == (["steps"], ["title"])


REFUSED = {
    "no path": ((), MalformedRequest),
    "a path that the record does not have": (("prompts",), MalformedName),
    "a path that the rule does not reveal": (("subjects[*].version",), NotPermitted),
    "one of both": (("steps", "subjects[*].version"), NotPermitted),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_field_is_not_revealed_by(office, case):
    paths, error = REFUSED[case]
    record = office.post().record
    waiting = office.home.store.feeds.waiting(LAB_B)
    office.events.queued_for.clear()
    with pytest.raises(error):
        reveal(office, record, *paths)
    assert office.home.store.feeds.granted(LAB_B, record.digest) == frozenset()
    assert office.home.store.feeds.waiting(LAB_B) == waiting
    assert office.events.queued_for == []


@pytest.mark.parametrize("ask", [explain, preview, lambda *args: reveal(args[0], args[1], "steps", partner=args[2])])
def test_whoever_is_no_peer_is_asked_about_in_vain(office, ask):
    with pytest.raises(NotFound):
        ask(office, office.post().record, AISI)


def test_a_home_in_order_has_nothing_to_report(office):
    assert office.desk.check_policies(v1.CheckPoliciesRequest(), office.me) == v1.CheckPoliciesResponse(
        partners=[LAB_B]
    )


def test_every_problem_of_every_file_is_reported_with_its_line(root, office):
    (root / "policies" / "aisi.example.toml").write_text('partner = "aisi.example"\nshaer = 1\n[[share]]\n')
    (root / "policies" / "broken.example.toml").write_bytes(b"partner = \xff\n")
    answer = office.desk.check_policies(v1.CheckPoliciesRequest(), office.me)
    by_file = {problem.file for problem in answer.problems}
    assert by_file == {"policies/aisi.example.toml", "policies/broken.example.toml"}
    assert len([p for p in answer.problems if p.file == "policies/aisi.example.toml"]) > 1
    assert any(problem.line == 2 and "shaer" in problem.message for problem in answer.problems)
    assert list(answer.partners) == [LAB_B]


def test_what_lets_nothing_through_without_being_a_mistake_is_said(root, office):
    file = root / "policies" / f"{LAB_B}.toml"
    file.write_text(SHARING.format(partner=LAB_B).replace("[[share]]", "expires = 2020-01-01T00:00:00Z\n[[share]]", 1))
    expired = office.desk.check_policies(v1.CheckPoliciesRequest(), office.me)
    file.unlink()
    missing = office.desk.check_policies(v1.CheckPoliciesRequest(), office.me)
    assert [*expired.problems, *missing.problems] == []
    assert list(expired.warnings) == [
        f"policies/{LAB_B}.toml: the agreement has expired: nothing is shared with {LAB_B}"
    ]
    assert list(missing.warnings) == [
        f"policies/{LAB_B}.toml is missing: nothing is shared with {LAB_B}, and nothing is taken from it"
    ]


def test_an_organisation_that_is_no_peer_is_asked_about_where_policy_names_it(root, office):
    rule = 'min_tlp = "CLEAR"\napprovals = 1\n'
    (root / "policies" / "floor.toml").write_text(f'[[require]]\n{rule}partners = ["{LAB_B}", "lab-c.example"]\n')
    (root / "policies" / "aisi.example.toml").write_text('partner = "aisi.example"\n')
    answer = office.desk.check_policies(v1.CheckPoliciesRequest(), office.me)
    assert list(answer.problems) == []
    assert list(answer.warnings) == [
        "policies/aisi.example.toml: aisi.example is not a peer: nothing is exchanged with it until it is one",
        "policies/floor.toml:1: lab-c.example is not a peer: is it the right name?",
    ]


def test_a_file_that_cannot_be_read_is_a_problem_and_not_missing(root, office):
    (root / "policies" / f"{LAB_B}.toml").write_bytes(b"\xff")
    answer = office.desk.check_policies(v1.CheckPoliciesRequest(), office.me)
    assert [problem.message for problem in answer.problems] == ["not UTF-8 text"]
    assert list(answer.warnings) == []


def test_files_that_changed_since_they_were_read_are_named(root, office):
    (root / "policies" / f"{LAB_B}.toml").write_text(SHARING.format(partner=LAB_B) + "# reviewed\n")
    (root / "policies" / "floor.toml").unlink()
    answer = office.desk.check_policies(v1.CheckPoliciesRequest(), office.me)
    assert list(answer.changed_files) == ["policies/floor.toml", f"policies/{LAB_B}.toml"]
    assert [problem.file for problem in answer.problems] == ["policies/floor.toml"]


def test_files_in_order_that_nobody_applied_are_said_not_to_count(office):
    latest = office.home.store.policies.latest()
    office.home.store.policies.put(replace(latest, statement=""))
    answer = office.desk.check_policies(v1.CheckPoliciesRequest(), office.me)
    assert list(answer.problems) == []
    assert len(answer.warnings) == 1
    assert "tocsin policy apply" in answer.warnings[0]
    assert list(answer.changed_files) == ["policies/floor.toml", f"policies/{LAB_B}.toml"]
