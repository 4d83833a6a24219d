"""What is changed of a record, and what is taken back: what the desk is asked, and what people are told."""

import json

import pytest

from tests.cli.messages import NOON, RECORD_ID, record, waiting
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

CONTENT = b'{"title": "T", "finding_kind": "hazard", "severity": "low", "subjects": [{"kind": "model", "name": "M"}]}'
SHORT = RECORD_ID[:8]
GREEN_LATER = record_pb2.Downgrade(at="2027-01-01T00:00:00Z", tlp=record_pb2.TLP_GREEN)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "finding.json"
    path.write_bytes(CONTENT)
    return path


def amended(**fields):
    found = record(own=True)
    found.envelope.version = 2
    told = fields.pop("told", ())
    return v1.AmendRecordResponse(result=v1.PostedRecord(record=found, **fields), told=told)


def test_an_amendment_says_nothing_of_what_its_file_does_not_say(tocsin, desk, file):
    fake = desk(amended(queued_for=["lab-b.example"], told=["aisi.example"]))
    shown = tocsin("amend", "3f2b", file)
    assert shown.code == 0
    (asked,) = fake.asked
    assert (asked.id, asked.status, asked.dry_run) == ("3f2b", 0, False)
    assert json.loads(asked.draft.content_json) == json.loads(CONTENT)
    asked.draft.ClearField("content_json")
    assert asked.draft == v1.Draft()
    assert shown.out == (
        f"amended {SHORT}  finding version 2  TLP:AMBER+STRICT  Tool output redirects an agent\n"
        "  queued for lab-b.example\n"
        "  told that what they hold is over: aisi.example\n"
    )
    assert shown.err == f"tocsin: hint: see what they answer: tocsin retractions {SHORT}\n"


def test_an_amendment_takes_status_recipients_and_overrides_from_the_command_line(tocsin, desk, file):
    fake = desk(amended())
    tocsin("amend", "3f2b", file, "--status", "disputed", "--to", "lab-b.example", "--override", "email", "--dry-run")
    (asked,) = fake.asked
    assert (asked.status, asked.dry_run) == (record_pb2.RECORD_STATUS_DISPUTED, True)
    assert (list(asked.draft.recipients), list(asked.draft.overrides)) == (["lab-b.example"], ["email"])


def test_a_dry_run_says_what_would_be(tocsin, desk, file):
    desk(amended(told=["aisi.example"], waiting=[waiting("lab-b.example", approvals_needed=1)]))
    shown = tocsin("amend", "3f2b", file, "--dry-run")
    assert shown.out.startswith(f"would amend {SHORT}  finding version 2")
    assert "would be told that what they hold is over: aisi.example" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize(
    "command", [["amend", "3f2b", "FILE"], ["remark", "3f2b", "--tlp", "RED"], ["retract", "3f2b", "--correct", "FILE"]]
)
def test_an_amendment_that_the_desk_refuses_is_an_error(tocsin, desk, file, command):
    refused = v1.PostedRecord(error_reason="RETRACTED", error_details=["the record was withdrawn"])
    desk(v1.AmendRecordResponse(result=refused))
    shown = tocsin(*(file if word == "FILE" else word for word in command))
    assert (shown.code, shown.out) == (6, "")
    assert "the record was withdrawn [RETRACTED]" in shown.err


def test_a_remark_changes_the_marking_and_nothing_else(tocsin, desk):
    fake = desk(amended())
    tocsin("remark", "3f2b", "--tlp", "amber", "--pap", "red", "--downgrade-at", "2027-01-01T00:00:00Z=green")
    (asked,) = fake.asked
    assert asked.draft == v1.Draft(tlp=record_pb2.TLP_AMBER, pap=record_pb2.PAP_RED, downgrade_at=[GREEN_LATER])


def test_a_correction_is_an_amendment_with_the_status_corrected(tocsin, desk, file):
    fake = desk(amended())
    assert tocsin("retract", "3f2b", "--correct", file).code == 0
    (asked,) = fake.asked
    assert asked.status == record_pb2.RECORD_STATUS_CORRECTED
    assert json.loads(asked.draft.content_json) == json.loads(CONTENT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["remark", "3f2b"], "nothing is to change", id="a remark without a marking"),
        pytest.param(["remark", "3f2b", "--downgrade-at", "soon"], "'soon' is no step", id="a step that is none"),
        pytest.param(["retract", "3f2b"], "say what is to be done with it", id="no action"),
        pytest.param(["retract", "3f2b", "--purge", "--correct", "FILE"], "say what is to be", id="two actions"),
        pytest.param(["retract", "3f2b", "--purge", "--json"], "--json answers a script", id="a script is not asked"),
        pytest.param(["retract", "3f2b", "--purge", "--override", "key"], "--correct alone", id="nothing is linted"),
        pytest.param(["retract", "3f2b", "--correct", "FILE", "--reason", "error"], "gives no reason", id="a reason"),
        pytest.param(["retractions", "--raw"], "--raw prints the retraction of one record", id="the bytes of all"),
        pytest.param(["show", "3f2b", "--draft", "--json"], "--draft prints a TOML file", id="two forms"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(tocsin, desk, file, arguments, message):
    fake = desk()
    shown = tocsin(*(file if word == "FILE" else word for word in arguments))
    assert (shown.code, shown.out, fake.asked) == (2, "", [])
    assert message in shown.err


def answer(partner, state, since=NOON, reason=""):
    made = v1.Answer(partner=partner, state=state, reason=reason)
    if since:
        made.since.FromSeconds(since)
    return made


def retraction(action=record_pb2.RETRACTION_ACTION_PURGE, answers=(), **fields):
    made = v1.Retraction(
        issuer="lab-a.example",
        record_id=RECORD_ID,
        version=2,
        action=action,
        reason=record_pb2.RETRACTION_REASON_PERSONAL_DATA,
        answers=answers,
        **fields,
    )
    made.at.FromSeconds(NOON)
    return made


QUEUED = (answer("aisi.example", v1.ANSWER_STATE_QUEUED, 0), answer("lab-b.example", v1.ANSWER_STATE_QUEUED, 0))


def planned(desk, found):
    rehearsal = v1.Retraction()
    rehearsal.CopyFrom(found)
    rehearsal.ClearField("at")
    return desk(
        v1.RetractRecordResponse(retraction=rehearsal),
        v1.GetRecordResponse(record=record()),
        v1.RetractRecordResponse(retraction=found),
    )


def retracting(fake):
    return [asked for asked in fake.asked if isinstance(asked, v1.RetractRecordRequest)]


def test_a_purge_asks_for_the_beginning_of_the_id_and_retracts_what_was_shown(tocsin, desk):
    fake = planned(desk, retraction(answers=QUEUED))
    shown = tocsin("retract", "3f", "--purge", "--reason", "personal_data", stdin=f"{SHORT}\n".encode())
    assert shown.code == 0, shown.err
    first, second = retracting(fake)
    assert (first.id, first.dry_run) == ("3f", True)
    assert (second.id, second.dry_run) == (RECORD_ID, False)
    assert second.action == record_pb2.RETRACTION_ACTION_PURGE
    assert second.reason == record_pb2.RETRACTION_REASON_PERSONAL_DATA
    assert "Tool output redirects an agent" in shown.err
    assert "this tells aisi.example, lab-b.example" in shown.err
    assert shown.out.splitlines()[0].startswith(f"purged {SHORT}  ")
    assert shown.out.splitlines()[1] == "  tells aisi.example, lab-b.example"


def test_nothing_is_purged_where_something_else_is_typed(tocsin, desk):
    fake = planned(desk, retraction())
    shown = tocsin("retract", "3f", "--purge", stdin=b"yes\n")
    assert (shown.code, shown.out) == (2, "")
    assert f"that is not {SHORT}: nothing was signed" in shown.err
    assert [asked.dry_run for asked in retracting(fake)] == [True]


@pytest.mark.parametrize(("typed", "calls"), [("y", 2), ("n", 1), ("", 1)])
def test_a_withdrawal_asks_for_a_yes(tocsin, desk, typed, calls):
    fake = planned(desk, retraction(record_pb2.RETRACTION_ACTION_WITHDRAW))
    shown = tocsin("retract", "3f", "--withdraw", stdin=f"{typed}\n".encode())
    assert shown.code == 0
    assert len(retracting(fake)) == calls
    assert ("nothing was signed" in shown.err) == (calls == 1)


def test_nobody_is_asked_with_yes_and_nothing_is_signed_on_a_dry_run(tocsin, desk):
    fake = planned(desk, retraction())
    shown = tocsin("retract", "3f", "--purge", "--yes")
    assert [asked.dry_run for asked in fake.asked] == [True, False]
    assert "  tells nobody, because it never went anywhere\n" in shown.out
    fake = planned(desk, retraction(answers=QUEUED))
    shown = tocsin("retract", "3f", "--withdraw", "--dry-run")
    assert [asked.dry_run for asked in fake.asked] == [True]
    assert shown.out.startswith(f"would purge {SHORT}  ")
    assert "  would tell aisi.example, lab-b.example\n" in shown.out
    assert shown.err == ""


def test_a_version_that_is_over_is_not_said_to_have_stayed_here(tocsin, desk):
    desk(v1.GetRetractionResponse(retraction=retraction(record_pb2.RETRACTION_ACTION_CORRECT)))
    shown = tocsin("retractions", "3f")
    assert "nobody was told, because whoever holds an earlier version gets the later one itself\n" in shown.err


def test_what_is_retracted_already_is_told_and_nobody_is_asked(tocsin, desk):
    fake = desk(v1.RetractRecordResponse(retraction=retraction()))
    shown = tocsin("retract", "3f", "--purge")
    assert [asked.dry_run for asked in fake.asked] == [True]
    assert shown.out == f"{SHORT} was purged already, at 2026-03-01T12:00:00Z\n"


ANSWERED = (
    answer("aisi.example", v1.ANSWER_STATE_CONFIRMED),
    answer("lab-b.example", v1.ANSWER_STATE_DECLINED, reason="legal-hold"),
    answer("uni.example", v1.ANSWER_STATE_ASKED),
)


def test_the_answers_of_partners_are_counted_in_the_list(tocsin, desk):
    desk(v1.ListRetractionsResponse(retractions=[retraction(answers=ANSWERED)]))
    heading, row = tocsin("retractions").out.splitlines()
    assert heading.split("  ")[-1].strip() == "SILENT SINCE"
    assert row.split()[-5:] == ["3", "1", "1", "2026-03-01", "12:00"]


def test_each_answer_to_one_retraction_is_shown_with_why(tocsin, desk):
    fake = desk(v1.GetRetractionResponse(retraction=retraction(answers=ANSWERED)))
    shown = tocsin("retractions", "3f2b").out
    assert fake.asked == [v1.GetRetractionRequest(id="3f2b")]
    assert shown.startswith(f"purge of record {SHORT}: ")
    assert [line.split() for line in shown.splitlines()[-3:]] == [
        ["aisi.example", "confirmed", "2026-03-01", "12:00"],
        ["lab-b.example", "declined", "2026-03-01", "12:00", "legal-hold"],
        ["uni.example", "silent", "2026-03-01", "12:00"],
    ]


def test_a_retraction_is_printed_as_it_was_signed(tocsin, desk):
    desk(v1.GetRetractionResponse(retraction=retraction(token="h.p.s")))
    assert tocsin("retractions", "3f2b", "--raw").out == "h.p.s\n"


def test_retractions_are_documents_too(tocsin, desk):
    desk(v1.ListRetractionsResponse(retractions=[retraction(answers=ANSWERED)]))
    (found,) = json.loads(tocsin("retractions", "--json").out)["retractions"]
    assert (found["action"], found["reason"]) == ("purge", "personal_data")
    assert [one["state"] for one in found["answers"]] == ["confirmed", "declined", "asked"]


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        pytest.param(v1.STANDING_CURRENT, "", id="a current one"),
        pytest.param(v1.STANDING_WITHDRAWN, "WITHDRAWN: its origin has taken it back", id="a withdrawn one"),
        pytest.param(v1.STANDING_REPLACED, "REPLACED: a later version stands in its place", id="a replaced one"),
    ],
)
def test_show_says_what_is_over(tocsin, desk, standing, told):
    desk(v1.GetRecordResponse(record=record(standing=standing)))
    third = tocsin("show", "3f2b").out.splitlines()[2]
    assert third == told


def test_a_draft_is_made_of_an_own_record_alone(tocsin, desk):
    desk(v1.GetRecordResponse(record=record(own=True)))
    shown = tocsin("show", "3f2b", "--draft")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith('record.kind = "finding"\nrecord.tlp = "AMBER+STRICT"\n\ntitle = ')
    desk(v1.GetRecordResponse(record=record()))
    assert "only its origin amends it" in tocsin("show", "3f2b", "--draft").err
    desk(v1.GetRecordResponse(record=v1.Record(own=True)))
    assert "has no content any more" in tocsin("show", "3f2b", "--draft").err
