"""This module tests that coarse values follow from exact ones, and that nobody can say otherwise."""

import pytest

from tocsin.errors import MalformedContent, MalformedRecord
from tocsin.schema.check import check_content, check_disclosed
from tocsin.schema.contract import KINDS
from tocsin.schema.twin import derive_twins, drop_twins, verify_twins

INCIDENT = {"title": "T", "incident_class": "incident", "summary": "S"}
SUBJECTS = [{"kind": "model", "name": "M"}]
EVALUATION = {"title": "T", "protocol": {"id": "p"}, "subjects": SUBJECTS}
FINDING = {"title": "T", "finding_kind": "hazard", "severity": "low", "subjects": SUBJECTS}

# kind, what is written, and what follows from it.
DERIVED = {
    "the month of a time": ("incident", {"started_at": "2026-03-31T23:59:59.9Z"}, {"started_month": "2026-03"}),
    "several months": (
        "incident",
        {"detected_at": "2026-01-01T00:00:00Z", "ended_at": "2027-12-31T00:00:00Z"},
        {"detected_month": "2026-01", "ended_month": "2027-12"},
    ),
    "in a group": (
        "finding",
        {"success_rate": {"n": 200, "k": 71}},
        {"success_rate": {"n": 200, "k": 71, "success_band": "0.1-0.5"}},
    ),
    "not without the exact value": ("finding", {"success_rate": {"n": 200}}, {"success_rate": {"n": 200}}),
    "in a list of groups": (
        "evaluation",
        {"results": [{"metric": "a", "value": 1}, {"metric": "b"}, {"metric": "c", "value": -0.5}]},
        {
            "results": [
                {"metric": "a", "value": 1, "value_band": "0.5-10"},
                {"metric": "b"},
                {"metric": "c", "value": -0.5, "value_band": "<0"},
            ]
        },
    ),
    "of a fraction": (
        "evaluation",
        {"elicitation": {"effort_hours": 80.5}},
        {"elicitation": {"effort_hours": 80.5, "effort_band": "10-100"}},
    ),
}

COUNTS = [(0, "0"), (1, "1"), (2, "2-10"), (10, "2-10"), (11, "11-100"), (101, "101-10000"), (10_001, ">10000")]
RATES = [
    (0, "<0.01"),
    (1, "0.01-0.1"),
    (9, "0.01-0.1"),
    (10, "0.1-0.5"),
    (49, "0.1-0.5"),
    (50, ">=0.5"),
    (100, ">=0.5"),
]
WHOLE = {"incident": INCIDENT, "evaluation": EVALUATION, "finding": FINDING}


@pytest.mark.parametrize(("kind", "written", "derived"), DERIVED.values(), ids=DERIVED)
def test_a_twin_follows_from_the_exact_value(kind, written, derived):
    content = WHOLE[kind] | written
    check_content(kind, content)

    made = derive_twins(kind, content)

    assert made == content | derived
    assert content == WHOLE[kind] | written, "what the author wrote is as it was"
    check_disclosed(kind, made)
    verify_twins(kind, made)
    assert drop_twins(kind, made) == content, "what is issued again is what was written"


@pytest.mark.parametrize(("count", "band"), COUNTS)
def test_an_integer_falls_into_the_band_that_begins_at_or_below_it(count, band):
    assert derive_twins("incident", {"affected_count": count})["affected_band"] == band


@pytest.mark.parametrize(("successes", "band"), RATES)
def test_a_share_falls_into_the_band_that_begins_at_or_below_it(successes, band):
    made = derive_twins("finding", {"success_rate": {"n": 100, "k": successes}})

    assert made["success_rate"]["success_band"] == band


WRITTEN = {
    "at the top": ("incident", {"started_month": "2026-03"}, "started_month: follows from started_at"),
    "right as it is": (
        "incident",
        {"affected_count": 1, "affected_band": "1"},
        "affected_band: follows from affected_count",
    ),
    "in a group": (
        "finding",
        {"success_rate": {"n": 1, "success_band": 7}},
        "success_rate.success_band: follows from k",
    ),
    "in a list": (
        "evaluation",
        {"results": [{"metric": "a", "value_band": "<0"}]},
        "results[0].value_band: follows from value",
    ),
}


@pytest.mark.parametrize(("kind", "written", "problem"), WRITTEN.values(), ids=WRITTEN)
def test_nobody_writes_a_twin(kind, written, problem):
    with pytest.raises(MalformedContent) as refusal:
        check_content(kind, WHOLE[kind] | written)

    assert refusal.value.reason == "BAD_CONTENT"
    assert [line.startswith(problem) for line in refusal.value.details] == [True]


CONTRADICTIONS = {
    "another month": ("incident", {"started_at": "2026-03-01T00:00:00Z", "started_month": "2026-04"}),
    "another band": ("incident", {"affected_count": 1, "affected_band": "0"}),
    "in a group": ("finding", {"success_rate": {"n": 2, "k": 1, "success_band": "<0.01"}}),
    "in one element of a list": (
        "evaluation",
        {"results": [{"value": 0.2, "value_band": "0.1-0.5"}, {"value": 0.2, "value_band": "<0"}]},
    ),
}


@pytest.mark.parametrize(("kind", "content"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_twin_that_contradicts_the_exact_value_is_refused(kind, content):
    check_disclosed(kind, content)

    with pytest.raises(MalformedRecord) as refusal:
        verify_twins(kind, content)

    assert refusal.value.reason == "BAD_CLAIM"


ALONE = {
    "the twin": ("incident", {"started_month": "2026-03", "affected_band": "0"}),
    "the exact value, as signed before there were twins": ("incident", {"started_at": "2026-03-01T00:00:00Z"}),
    "the twin and what it was divided by": ("finding", {"success_rate": {"n": 2, "success_band": "<0.01"}}),
    "the twin and what was divided": ("finding", {"success_rate": {"k": 2, "success_band": "<0.01"}}),
    "what a newer contract added": ("evaluation", {"results": [{"next_year": 1}], "next_year": [{"value_band": "x"}]}),
}


@pytest.mark.parametrize(("kind", "content"), ALONE.values(), ids=ALONE)
def test_what_cannot_be_compared_is_believed(kind, content):
    check_disclosed(kind, content)

    verify_twins(kind, content)


@pytest.mark.parametrize("value", ["0-1", "2026-03", ">= 0.5", ""])
def test_a_band_that_the_contract_does_not_have_is_refused(value):
    with pytest.raises(MalformedContent):
        check_disclosed("finding", {"success_rate": {"success_band": value}})


def test_every_kind_without_exact_values_stays_as_it_is():
    for kind in KINDS:
        assert derive_twins(kind, WHOLE[kind]) == WHOLE[kind]
