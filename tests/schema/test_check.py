"""This module tests that content is held against the contract, with every problem at once."""

import math

import pytest

from tocsin.errors import MalformedContent
from tocsin.schema.check import MAX_DETAILS, check_content, check_disclosed, is_time

FINDING = {
    "title": "Tool output redirects an agent",
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "model", "name": "Example-LM 3"}],
}
INCIDENT = {"title": "Agent deleted a table", "incident_class": "near_miss", "summary": "It was restored."}
EVALUATION = {
    "title": "Cyber range",
    "protocol": {"id": "cyber-range"},
    "subjects": [{"kind": "model", "name": "Example-LM 3"}],
}

WRONG = {
    "a required field is missing": ({"title": None}, "title: missing"),
    "a required text is empty": ({"title": ""}, "title: empty"),
    "a text is too long": ({"title": "x" * 301}, "title: longer than 300 characters"),
    "a text is a number": ({"title": 7}, "title: not a text: write it in quotes"),
    "a text holds half of a surrogate pair": ({"title": "\ud800"}, "title: holds half of a surrogate pair"),
    "a text breaks its pattern": ({"cwe": ["CWE-77 "]}, "cwe[0]: not of the form CWE-[0-9]{1,5}, such as CWE-77"),
    "a pattern does not match more lines": ({"mit_domain": "1\n"}, "mit_domain: not of the form"),
    "a value is in no vocabulary": ({"severity": "High"}, "severity: none of not_sure, negligible"),
    "a value of a vocabulary is a list": ({"severity": ["high"]}, "severity: none of"),
    "a list is a single value": ({"cwe": "CWE-77"}, "cwe: not a list"),
    "a list is too long": ({"cwe": ["CWE-77"] * 65}, "cwe: more than 64 elements"),
    "a required list is empty": ({"subjects": []}, "subjects: an empty list, where at least one element is required"),
    "a group is a text": ({"ssvc": "none"}, "ssvc: not a group of fields"),
    "an element of a list of groups is a text": ({"subjects": ["x"]}, "subjects[0]: not a group of fields"),
    "a field of a group is missing": ({"subjects": [{"kind": "model"}]}, "subjects[0].name: missing"),
    "a name is misspelt": ({"severty": "high"}, "severty: no such field, did you mean 'severity'?"),
    "a name is unknown": ({"xyzzy": 1}, "xyzzy: no such field"),
    "a name in a group is unknown": ({"ssvc": {"bogus": 1}}, "ssvc.bogus: no such field"),
    "a flag is a number": ({"contains_csam": 0}, "contains_csam: not true or false"),
    "an integer is a flag": ({"success_rate": {"n": True}}, "success_rate.n: not an integer"),
    "an integer has a fraction": ({"success_rate": {"n": 1.0}}, "success_rate.n: not an integer"),
    "an integer is too small": ({"success_rate": {"n": 0}}, "success_rate.n: not between 1 and 9007199254740992"),
    "an integer is too large": ({"success_rate": {"n": 2**53 + 1}}, "success_rate.n: not between 1 and"),
    "a number is a flag": ({"success_rate": {"n": 1, "ci_low": True}}, "success_rate.ci_low: not a number"),
    "a number is too small": ({"success_rate": {"n": 1, "ci_low": -0.5}}, "success_rate.ci_low: less than 0"),
    "a number is too large": ({"success_rate": {"n": 1, "ci_low": 1.5}}, "success_rate.ci_low: more than 1"),
    "a number is not a number": ({"success_rate": {"n": 1, "ci_low": math.nan}}, "ci_low: not a finite number"),
    "a number is infinite": ({"success_rate": {"n": 1, "ci_low": math.inf}}, "ci_low: not a finite number"),
    "a number is a huge integer": ({"success_rate": {"n": 1, "ci_low": 10**400}}, "ci_low: an integer beyond 2^53"),
    "a time has no zone": ({"embargo": {"until": "2026-03-01T12:00:00"}}, "embargo.until: not a time in UTC"),
    "a month has no 13": ({"reported_on": "2026-13"}, "reported_on: not of the form"),
    "a payload stands in a record that takes none": (
        {"contains_csam": True, "prompts": ["x"]},
        "prompts: not accepted in a record that involves csam",
    ),
}


def changed(**changes):
    """Return the finding with some fields changed, or left out where None."""
    return {name: value for name, value in {**FINDING, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("kind", "content"),
    [("finding", FINDING), ("incident", INCIDENT), ("evaluation", EVALUATION)],
    ids=["finding", "incident", "evaluation"],
)
def test_the_smallest_record_of_a_kind_is_valid(kind, content):
    check_content(kind, content)


@pytest.mark.parametrize(("changes", "problem"), WRONG.values(), ids=WRONG)
def test_content_is_refused_where(changes, problem):
    with pytest.raises(MalformedContent) as refusal:
        check_content("finding", changed(**changes))

    assert refusal.value.reason == "BAD_CONTENT"
    assert len(refusal.value.details) == 1
    assert problem in refusal.value.details[0]


def test_every_problem_is_told_at_once():
    with pytest.raises(MalformedContent) as refusal:
        check_content("finding", {"severity": "hihg", "subjects": [{"kind": "model", "version": "v" * 101}], "x": 1})

    assert [line.partition(":")[0] for line in refusal.value.details] == [
        "severity",
        "subjects[0].version",
        "subjects[0].name",
        "x",
        "title",
        "finding_kind",
    ]
    assert "6 problems" in refusal.value.message


def test_a_flood_of_problems_is_cut_short():
    with pytest.raises(MalformedContent) as refusal:
        check_content("finding", changed(**{f"unknown_{'x' * 200}_{index}": 1 for index in range(500)}))

    assert len(refusal.value.details) == MAX_DETAILS + 1
    assert refusal.value.details[-1] == "and 400 more"
    assert max(map(len, refusal.value.details)) < 200


def test_no_value_stands_in_a_message():
    with pytest.raises(MalformedContent) as refusal:
        check_content("finding", changed(severity="canary", cwe=["canary"], ssvc="canary", reported_on="canary"))

    assert "canary" not in " ".join([refusal.value.message, *refusal.value.details])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({}, id="nothing at all"),
        pytest.param({"subjects": [{"version": "3.1"}]}, id="a group without its required fields"),
        pytest.param({"subjects": []}, id="a list whose elements are withheld"),
        pytest.param({"field_of_next_year": {"x": [1, None]}}, id="a name of a newer contract"),
        pytest.param({"ssvc": {"field_of_next_year": 1}}, id="a name of a newer contract inside a group"),
        pytest.param({"severity": "apocalyptic"}, id="a vocabulary that has grown"),
    ],
)
def test_a_part_of_a_record_is_accepted_with(content):
    check_disclosed("finding", content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param({"title": ""}, "title: empty", id="an empty title"),
        pytest.param({"severity": 5}, "severity: none of", id="a number for a word"),
        pytest.param({"severity": "\x1b[2J"}, "severity: none of", id="no word at all"),
        pytest.param({"cwe": ["x"]}, "cwe[0]: not of the form", id="a broken pattern"),
        pytest.param({"subjects": {"kind": "model"}}, "subjects: not a list", id="a group for a list"),
    ],
)
def test_a_part_of_a_record_is_refused_with(content, problem):
    with pytest.raises(MalformedContent) as refusal:
        check_disclosed("finding", content)

    assert problem in refusal.value.details[0]


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("2026-03-01T12:00:00Z", True),
        ("2026-03-01T12:00:00.5Z", True),
        ("2024-02-29T23:59:59Z", True),
        ("2026-02-29T12:00:00Z", False),
        ("2026-03-01T24:00:00Z", False),
        ("2026-03-01T12:00:60Z", False),
        ("2026-03-01T12:00:00+00:00", False),
        ("2026-03-01 12:00:00Z", False),
        ("2026-03-01T12:00:00z", False),
        ("0000-01-01T00:00:00Z", False),
        ("2026-03-01", False),
        ("٢٠٢٦-03-01T12:00:00Z", False),
        (1772366400, False),
    ],
)
def test_a_time_is_rfc_3339_in_utc(text, valid):
    assert is_time(text) is valid


def test_deep_and_odd_values_are_refused_without_harm():
    deep: object = "x"
    for _ in range(10_000):
        deep = [deep]

    with pytest.raises(MalformedContent):
        check_content("finding", changed(cwe=deep))
    check_disclosed("finding", {"field_of_next_year": deep})


def test_an_unknown_kind_is_a_bug_of_the_caller():
    with pytest.raises(KeyError):
        check_content("gossip", FINDING)
