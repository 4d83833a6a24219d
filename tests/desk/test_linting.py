"""What should not go far is found when a record is posted, and goes only where somebody took it upon itself."""

import json

import pytest

from tests.desk.conftest import FINDING, LAB_B, SHARING, draft, put_policy
from tocsin.errors import HomeDamaged
from tocsin.store.model import AuditFilter
from tocsin.v1 import record_pb2

MAIL = {**FINDING, "summary": "Ask jane.doe@initech.example.com about it."}
GREEN, AMBER, CLEAR = record_pb2.TLP_GREEN, record_pb2.TLP_AMBER, record_pb2.TLP_CLEAR
LATER = record_pb2.Downgrade(at="2027-01-01T00:00:00Z", tlp=GREEN)


@pytest.fixture(autouse=True)
def sharing(office):
    put_policy(office, LAB_B, SHARING)


def overridden(office):
    rows = office.home.store.audit.list(AuditFilter(act="overridden"), limit=9)
    return [(row.person, json.loads(row.body)["details"]["findings"]) for row in rows]


def test_a_finding_warns_where_the_record_does_not_go_far(office):
    posted = office.post(MAIL, tlp=AMBER)
    assert posted.record.digest
    assert [(one.rule, one.path, one.overridden) for one in posted.lint] == [("email", "summary", False)]
    assert posted.lint[0].disclosure == record_pb2.DISCLOSURE_CLASS_COMMUNITY
    assert overridden(office) == []


BLOCKED = {
    "green": {"tlp": GREEN},
    "clear": {"tlp": CLEAR},
    "amber, and green later": {"tlp": AMBER, "downgrade_at": [LATER]},
    "another rule overridden": {"tlp": GREEN, "overrides": ["ip-address"]},
    "another field overridden": {"tlp": GREEN, "overrides": ["email@details"]},
}


@pytest.mark.parametrize("dry_run", [False, True], ids=["for good", "dry run"])
@pytest.mark.parametrize("case", BLOCKED)
def test_a_finding_blocks_a_record_that_is(office, case, dry_run):
    (refused,) = office.post_all([draft(MAIL, **BLOCKED[case])], dry_run=dry_run).results
    assert refused.error_reason == "LINT_BLOCKED"
    assert [one.rule for one in refused.lint] == ["email"]
    assert "--override email@summary" in refused.error_details[-1]
    assert "jane" not in str(refused)
    assert not refused.HasField("record")
    assert office.home.store.records.counts().own == 0
    assert office.home.store.feeds.waiting(LAB_B) == 0


@pytest.mark.parametrize("name", ["email", "email@summary"])
def test_who_takes_a_finding_upon_itself_is_in_the_decision_log(office, name):
    posted = office.post(MAIL, tlp=GREEN, overrides=[name])
    assert list(posted.queued_for) == [LAB_B]
    assert [one.overridden for one in posted.lint] == [True]
    assert overridden(office) == [("first", [{"rule": "email", "path": "summary"}])]


def test_a_dry_run_overrides_nothing(office):
    (rehearsed,) = office.post_all([draft(MAIL, tlp=GREEN, overrides=["email"])], dry_run=True).results
    assert list(rehearsed.queued_for) == [LAB_B]
    assert overridden(office) == []


def test_an_override_of_a_rule_that_there_is_not_is_refused(office):
    refused = office.post(MAIL, overrides=["emial"])
    assert refused.error_reason == "BAD_REQUEST"
    assert "deny-list" in refused.error_details[0]


def test_names_that_the_organisation_keeps_do_not_go_far(office):
    office.home.layout.names.write_text("\nInitech \n")
    content = {**FINDING, "summary": "Found at initech, in March."}
    assert [one.rule for one in office.post(content, tlp=GREEN).lint] == ["deny-list"]
    office.home.layout.names.unlink()
    assert office.post(content, tlp=GREEN).record.digest


def test_names_that_cannot_be_read_stop_everything(office):
    office.home.layout.names.write_bytes(b"\xff")
    with pytest.raises(HomeDamaged, match=r"names\.txt"):
        office.post(tlp=GREEN)
    assert office.home.store.records.counts().own == 0
