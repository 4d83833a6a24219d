"""Nothing that is withheld shows in errors, logs, or what a partner's desk says."""

import asyncio
import json
import logging

import pytest

from tests.desk.conftest import LAB_A, LAB_B, SHARING, copy_home, draft, put_policy
from tests.desk.federation import deliver, introduce
from tocsin.desk.home import open_home
from tocsin.errors import TocsinError
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

CANARY = "canary-7f3a"
"""Stands, with a number, in everything that lab-b.example must not see."""

SECRET = {
    "title": "Tool output can redirect an agent",
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "model", "name": "Example-LM 3", "version": f"{CANARY}-1", "checkpoint": f"{CANARY}-2"}],
    "steps": [{"description": f"{CANARY}-3"}],
    "prompts": [f"{CANARY}-4", f"{CANARY}-5"],
    "discoverers": [{"name": f"{CANARY}-6"}],
    "source": {"format": "test", "original": f"{CANARY}-7"},
}


@pytest.fixture
def pair(tmp_path, office, open_office):
    lab_b = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, lab_b)
    return office, lab_b


def provoke(office, digest: str) -> list[TocsinError]:
    """Make everything fail that can fail around a record, and return the errors."""
    desk, me = office.desk, office.me
    attempts = [
        lambda: desk.get_record(v1.GetRecordRequest(id=digest, version=9), me),
        lambda: desk.get_record(v1.GetRecordRequest(id="none"), me),
        lambda: desk.explain_record(v1.ExplainRecordRequest(id=digest, partner="nobody.example"), me),
        lambda: desk.preview_record(v1.PreviewRecordRequest(id=digest, partner="nobody.example"), me),
        lambda: desk.reveal_fields(v1.RevealFieldsRequest(id=digest, paths=["discoverers"], partner=LAB_B), me),
        lambda: desk.reveal_fields(v1.RevealFieldsRequest(id=digest, paths=["nothing"], partner=LAB_B), me),
        lambda: desk.list_records(v1.ListRecordsRequest(page_token="next"), me),
        lambda: desk.get_review(v1.GetReviewRequest(id="none"), me),
        lambda: desk.decide_review(v1.DecideReviewRequest(id="none", approve=True), me),
        lambda: desk.list_audit(v1.ListAuditRequest(record="none"), me),
        lambda: desk.apply_policies(v1.ApplyPoliciesRequest(), me),
        lambda: desk.get_policy_matrix(v1.GetPolicyMatrixRequest(partners=["nobody.example"]), me),
        lambda: asyncio.run(desk.request_fields(v1.RequestFieldsRequest(id=digest, paths=["steps"], why="?"), me)),
        lambda: asyncio.run(desk.request_fields(v1.RequestFieldsRequest(id=digest, paths=["x"], why="?"), me)),
        lambda: open_home(office.home.layout.root, now=office.clock()),
    ]
    errors = []
    for attempt in attempts:
        try:
            attempt()
        except TocsinError as error:
            errors.append(error)
    return errors


def everything(error: TocsinError) -> str:
    """Return all that an error carries, the errors behind it too."""
    said = [repr(error), error.message, error.where, error.hint, *error.details, *error.metadata.values()]
    behind = error.__cause__ or error.__context__
    return "\n".join([*said, repr(behind)])


def test_no_error_and_no_log_line_carries_content(pair, caplog):
    office, lab_b = pair
    caplog.set_level(logging.DEBUG)
    broken = [
        {**SECRET, "severity": f"{CANARY}-8"},
        {**SECRET, "steps": f"{CANARY}-9"},
        {**SECRET, "subjects": [{"kind": "model", "name": "x" * 9999, "version": f"{CANARY}-10"}]},
        {**SECRET, "title": {"a": f"{CANARY}-11"}},
    ]
    results = office.post_all([draft(SECRET), *map(draft, broken), draft(content_json='{"a": "' + CANARY)]).results
    digest = results[0].record.digest
    assert digest
    deliver(office, lab_b)
    errors = [*provoke(office, digest), *provoke(lab_b, digest)]
    assert len(errors) >= 12
    assert all(result.error_reason for result in results[1:])
    said = [line for result in results for line in (*result.error_details, *result.notices)]
    said += [everything(error) for error in errors]
    said += [record.getMessage() + repr(record.args) + str(record.exc_text) for record in caplog.records]
    assert [line for line in said if CANARY in line] == []


def test_the_decision_log_the_reviews_and_a_plan_carry_no_values(pair):
    office, lab_b = pair
    put_policy(office, LAB_B, SHARING.replace("[[share]]", "[[share]]\napprovals = 1"))
    waiting = office.post(SECRET).waiting[0]
    put_policy(office, LAB_B, SHARING)
    digest = office.post({**SECRET, "summary": "Write to jane@initech.example.com"}, overrides=["email"]).record.digest
    office.desk.reveal_fields(v1.RevealFieldsRequest(id=digest, paths=["steps"], partner=LAB_B), office.me)
    deliver(office, lab_b)
    put_policy(office, LAB_B, SHARING.replace("PARTNER", "COMMUNITY"))
    deliver(office, lab_b)
    log = office.desk.list_audit(v1.ListAuditRequest(page_size=1000), office.me)
    assert {"posted", "overridden", "revealed", "sent"} <= {entry.act for entry in log.entries}
    reviews = office.desk.list_reviews(v1.ListReviewsRequest(all=True), office.me)
    review = office.desk.get_review(v1.GetReviewRequest(id=waiting.review), office.me)
    looser = v1.PolicyFile(name=f"{LAB_B}.toml", text=SHARING.format(partner=LAB_B))

    async def plan():
        request = v1.PlanPoliciesRequest(files=[looser])
        return [message async for message in office.desk.plan_policies(request, office.me)]

    said = [str(log), str(reviews), str(review), str(asyncio.run(plan()))]
    assert [text for text in said if CANARY in text] == []
    assert "jane" not in str(log)


def test_nothing_withheld_reaches_the_partners_home(pair):
    office, lab_b = pair
    office.post(SECRET)
    deliver(office, lab_b)
    records = lab_b.desk.list_records(v1.ListRecordsRequest(full=True), lab_b.me).records
    assert len(records) == 1
    assert CANARY not in str(records[0])
    for text in (CANARY, f"{CANARY}-3"):
        assert not lab_b.desk.search_records(v1.SearchRecordsRequest(text=text), lab_b.me).records
    root = lab_b.home.layout.root
    holding = [
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]
    assert holding == []


def test_an_explanation_is_for_our_own_people_and_names_paths_not_values(pair):
    office, _ = pair
    digest = office.post(SECRET).record.digest
    explained = office.desk.explain_record(v1.ExplainRecordRequest(id=digest, partner=LAB_B), office.me)
    assert CANARY not in str(explained)


def test_a_dry_run_leaves_no_trace_in_the_home(root, office):
    rehearsed = office.post_all([draft(SECRET, tlp=record_pb2.TLP_GREEN)], dry_run=True).results[0]
    assert CANARY in json.dumps(rehearsed.record.content["prompts"][0])
    assert not [path for path in root.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_a_home_and_its_records_do_not_show_when_they_are_printed(pair):
    office, _ = pair
    office.post(SECRET)
    assert CANARY not in repr(office.home)
    assert "PRIVATE KEY" not in repr(office.home.tls)
    assert LAB_A in repr(office.home.organisation)
