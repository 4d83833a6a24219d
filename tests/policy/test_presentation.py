"""Decisions over real records: what a partner can read is what was decided, and what is decided is what it can read."""

from functools import cache
from typing import Any

import pytest

from tests.policy.holdings import FINDING, PARTNER, floor, policy, share, walk, when
from tests.policy.test_examples import EXAMPLES, all_examples, example
from tests.support.organisations import NOW, found, seeded
from tests.support.shared import ROOT
from tocsin.identity.names import RecordId
from tocsin.policy.decide import Decision, decide
from tocsin.policy.reach import secret
from tocsin.records.record import Draft, VerifiedRecord, issue, parse_record
from tocsin.schema.contract import KINDS, Disclosure
from tocsin.schema.files import parse_content_file

ORIGIN = found("lab-a.example")
RECORD_ID = RecordId("1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11")
RECORDS = sorted((ROOT / "examples" / "records").glob("*.toml"))


def issued(content: dict[str, Any], *, kind: str = "finding", tlp: str = "GREEN") -> VerifiedRecord:
    draft = Draft(record_id=RECORD_ID, kind=kind, tlp=tlp)
    origin = {"issuer": ORIGIN.organisation.org, "signer": ORIGIN.record, "random": seeded("presentation")}
    return issue(draft, content, now=NOW, **origin)


@cache
def example_record(name: str) -> VerifiedRecord:
    text = (ROOT / "examples" / "records" / name).read_bytes()
    settings, content = parse_content_file(text, format="toml", name=name)
    return issued(content, kind=str(settings["kind"]), tlp=str(settings["tlp"]))


def ask(record: VerifiedRecord, **changes: Any) -> Decision:
    arguments = {"partner": PARTNER, "floor": floor(), "recipients": frozenset(), "granted": frozenset(), "now": NOW}
    return decide(record, **arguments | changes)


def read(record: VerifiedRecord, decision: Decision) -> VerifiedRecord:
    """Return what a recipient verifies of a record."""
    return parse_record(record.present(decision.disclosed)).verify(ORIGIN.organisation, now=NOW)


RULES = {
    "all that needs no name": share(),
    "headlines": share(classes=Disclosure.COMMUNITY),
    "one field inside a group": share(classes=Disclosure.ALWAYS, reveal=frozenset({"subjects[*].checkpoint"})),
    "everything that can go": share(reveal=frozenset({"prompts", "poc", "evidence", "subjects"})),
    "a group withheld": share(withhold=frozenset({"subjects", "details"})),
    "a part of a group withheld": share(withhold=frozenset({"subjects[*].version"})),
    "by a condition": share(condition=when("size(title) > 3", *KINDS)),
}


@pytest.mark.parametrize("name", RULES)
def test_a_partner_reads_exactly_what_was_decided(name):
    record = issued(FINDING)
    decision = ask(record, policy=policy(RULES[name]), recipients=frozenset({PARTNER}))
    assert decision.delivered
    seen = read(record, decision)
    assert frozenset(walk(seen.content)) == seen.paths == decision.disclosed


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("file", [path.name for path in RECORDS])
def test_the_example_records_go_by_the_example_policies_field_by_field(name, file):
    partner, _ = example(name)
    policies = all_examples()
    record = example_record(file)
    for recipients in (frozenset(), frozenset({partner})):
        rules = {"policy": policies.policies[partner], "floor": policies.floor}
        decision = ask(record, partner=partner, recipients=recipients, **rules)
        if decision.delivered:
            seen = read(record, decision)
            assert seen.paths == decision.disclosed
            assert not seen.paths & secret(record.kind)


def test_every_example_policy_lets_an_example_record_through():
    policies = all_examples()
    for name in EXAMPLES:
        partner, _ = example(name)
        rules = {"policy": policies.policies[partner], "floor": policies.floor}
        decisions = [ask(example_record(path.name), partner=partner, **rules) for path in RECORDS]
        assert any(decision.delivered for decision in decisions), name
        assert not all(decision.delivered for decision in decisions), name


def test_the_stand_in_of_the_other_tests_has_the_paths_of_a_real_record():
    assert issued(FINDING).paths == frozenset(walk(FINDING))
