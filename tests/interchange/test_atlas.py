"""MITRE ATLAS case studies become incidents."""

import json

import pytest

from tests.support.shared import shared
from tocsin.interchange import Mapped, Unmapped, read_atlas
from tocsin.schema.contract import KINDS, Disclosure

STUDY = """\
---
id: AML.CS9999
name: A model is talked out of its rules
object-type: case-study
summary: A short story.
incident-date: 2026-03-14
incident-date-granularity: {granularity}
procedure:
- tactic: AML.TA0005
  technique: AML.T0051.001
  description: They sent a letter.
- tactic: '{{{{execution.id}}}}'
  technique: '{{{{nothing.id}}}}'
  description: It read the letter.
target: Example assistant
actor: Example researchers
reporter: Example desk
case-study-type: {type}
references:
- title: A paper without an address
- title: A page
  url: https://example.org/page
"""


def read_one(type_="exercise", granularity="MONTH") -> Mapped:
    (result,) = read_atlas(STUDY.format(type=type_, granularity=granularity).encode(), name="study.yaml")
    return result


@pytest.mark.parametrize(
    ("type_", "incident_class", "origin"), [("exercise", "hazard", "exercise"), ("incident", "incident", "incident")]
)
def test_an_exercise_is_a_hazard_and_an_incident_is_one(type_, incident_class, origin):
    content = read_one(type_).content
    assert (content["incident_class"], content["incident_origin"]) == (incident_class, origin)


@pytest.mark.parametrize(("granularity", "known"), [("YEAR", "2026"), ("MONTH", "2026-03"), ("DATE", "2026-03-14")])
def test_a_date_says_no_more_than_what_is_known(granularity, known):
    content = read_one(granularity=granularity).content
    assert content["happened_on"] == known
    assert content["happened_in"] == known[:7]


def test_steps_keep_their_order_and_only_resolved_ids():
    content = read_one().content
    assert content["chain_of_events"] == [
        {"description": "They sent a letter.", "atlas_tactic": "AML.TA0005", "atlas_technique": "AML.T0051.001"},
        {"description": "It read the letter."},
    ]
    assert content["atlas_techniques"] == ["AML.T0051.001"]
    assert content["references"] == [{"url": "https://example.org/page", "label": "A page"}]


def test_who_did_it_and_who_told_are_not_for_everybody():
    incident = KINDS["incident"]
    assert incident.field("actors").disclosure is Disclosure.NAMED
    assert incident.field("reporters").disclosure is Disclosure.LOCAL
    assert incident.field("chain_of_events[*].description").disclosure is Disclosure.NAMED


def test_nothing_of_the_source_is_lost():
    original = json.loads(read_one().content["source"]["original"])
    assert original["references"][0] == {"title": "A paper without an address"}
    assert original["procedure"][1]["technique"] == "{{nothing.id}}"
    assert original["incident-date"] == "2026-03-14"


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("a: [", "bad.yaml:2", "not YAML that can be read"),
        ("a: 1", "bad.yaml:1", "no ATLAS case study in this file"),
        ("- 1", "bad.yaml:1", "no ATLAS case study in this file"),
        ("case-studies:\n- id: AML.CS0001\n  object-type: other\n", "bad.yaml:2", "object-type is not case-study"),
        ("case-studies:\n- id: CS1\n  object-type: case-study\n", "bad.yaml:2", "is not one of a case study"),
        ("a: &x [1]\nb: *x\n", "bad.yaml:1", "not YAML that can be read"),
        ("a: \x00", "bad.yaml:1", "not YAML that can be read"),
        ("case-studies:\n- id: !!python/object:os.system x\n", "bad.yaml:1", "not YAML that can be read"),
        ("[" * 3000, "bad.yaml:1", "not YAML that can be read"),
    ],
)
def test_a_file_that_is_no_case_study_is_reported_with_its_place(text, where, reason):
    (result,) = read_atlas(text.encode(), name="bad.yaml")
    assert isinstance(result, Unmapped)
    assert reason in result.reason
    assert result.where.split(":")[0] == where.split(":")[0]


def test_every_published_case_study_is_mapped():
    results = list(read_atlas(shared("data/atlas/ATLAS.yaml").read_bytes(), name="ATLAS.yaml"))
    assert [r for r in results if isinstance(r, Unmapped)] == []
    assert len({r.content["external_ids"][0]["value"] for r in results}) == 42


def test_every_single_file_is_mapped():
    for path in sorted(shared("data/atlas/case-studies").glob("*.yaml")):
        (result,) = read_atlas(path.read_bytes(), name=path.name)
        assert isinstance(result, Mapped), result
