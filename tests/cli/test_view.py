"""A record laid out for people: order of the contract, bars where a field is withheld."""

import pytest

from tests.cli.messages import NOON, record, waiting
from tocsin.v1.record_pb2 import TLP_AMBER, TLP_GREEN
from tocsin_cli.view import (
    BAR,
    LONGEST_VALUE,
    Line,
    Tone,
    disclosed_fields,
    marking_text,
    record_lines,
    tlp_of,
    waiting_text,
    withheld_of,
    wrapped,
)


def lines_of(content, withheld=()):
    return [(line.depth, line.label, line.value) for line in record_lines(record(content=content, withheld=withheld))]


def test_fields_stand_in_the_order_of_the_contract_and_unknown_ones_after_them():
    shown = lines_of({"new_field": 1, "severity": "high", "title": "T"})
    assert [label for _, label, _ in shown] == ["title", "severity", "new_field"]


def test_a_list_of_sentences_has_a_line_for_each():
    shown = lines_of({"lessons": ["Test it first.", "Ask, then act."], "hazard_category": ["cyber", "cbrn"]})
    assert {label: value for _, label, value in shown} == {
        "lessons": "- Test it first.\n- Ask, then act.",
        "hazard_category": "cyber, cbrn",
    }


def test_a_bar_stands_where_the_field_would_stand():
    shown = lines_of({"title": "T", "summary": "S"}, [("severity", "infohazard")])
    assert shown == [(0, "title", "T"), (0, "severity", f"{BAR} withheld: infohazard"), (0, "summary", "S")]


def test_a_bar_without_a_reason_says_only_that_it_is_withheld():
    assert lines_of({}, [("prompts", "")]) == [(0, "prompts", f"{BAR} withheld")]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        pytest.param(("prompts", "embargo", NOON), "withheld: embargo until 2026-03-01T12:00:00Z", id="with a reason"),
        pytest.param(("prompts", "", NOON), "withheld until 2026-03-01T12:00:00Z", id="without one"),
    ],
)
def test_a_bar_says_until_when_where_that_is_told(told, text):
    assert lines_of({}, [told]) == [(0, "prompts", f"{BAR} {text}")]


@pytest.mark.parametrize(
    ("marking", "tlp", "text"),
    [
        pytest.param(TLP_GREEN, "GREEN", "TLP:GREEN (signed as TLP:AMBER)", id="lowered since"),
        pytest.param(TLP_AMBER, "AMBER", "TLP:AMBER", id="as it was signed"),
        pytest.param(0, "AMBER", "TLP:AMBER", id="where nobody says what counts today"),
    ],
)
def test_the_marking_shown_is_the_one_that_counts_today(marking, tlp, text):
    found = record(tlp=TLP_AMBER, marking=marking)
    assert (tlp_of(found), marking_text(found)) == (tlp, text)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        pytest.param(waiting(not_before=NOON), "waits until 2026-03-01T12:00:00Z", id="a date"),
        pytest.param(waiting(approvals_needed=1), "waits for 1 more person to agree", id="a person"),
        pytest.param(
            waiting(not_before=NOON, approvals_needed=2, approved_by=["counsel"]),
            "waits until 2026-03-01T12:00:00Z and for 2 more people to agree; counsel agreed",
            id="a date and people",
        ),
        pytest.param(waiting(why="waits for the moon"), "waits for the moon", id="something else"),
    ],
)
def test_what_a_release_waits_for_is_said_in_words(found, text):
    assert waiting_text(found) == text


def test_a_sub_field_of_a_list_has_its_bar_in_every_element():
    subjects = [{"kind": "model", "name": "A"}, {"kind": "tool", "name": "B"}]
    assert lines_of({"subjects": subjects}, [("subjects[*].version", "trade_secret")]) == [
        (0, "subjects", ""),
        (1, "- kind", "model"),
        (2, "name", "A"),
        (2, "version", f"{BAR} withheld: trade_secret"),
        (1, "- kind", "tool"),
        (2, "name", "B"),
        (2, "version", f"{BAR} withheld: trade_secret"),
    ]


def test_a_withheld_group_has_one_bar_and_none_for_what_is_inside():
    withheld = [("steps", "infohazard"), ("steps[*].description", "infohazard"), ("steps[*].at", "infohazard")]
    assert lines_of({}, withheld) == [(0, "steps", f"{BAR} withheld: infohazard")]
    assert list(withheld_of(record(withheld=withheld))) == ["steps"]


def test_sub_fields_of_a_group_that_is_not_here_are_named_by_their_path():
    withheld = [("success_rate.k", "embargo"), ("success_rate.n", "")]
    assert lines_of({}, withheld) == [
        (0, "success_rate.k", f"{BAR} withheld: embargo"),
        (0, "success_rate.n", f"{BAR} withheld"),
    ]


def test_values_are_written_as_people_write_them():
    content = {"contains_csam": False, "cwe": ["CWE-20", "CWE-79"], "success_rate": {"n": 200, "k": 57}}
    assert lines_of(content) == [
        (0, "cwe", "CWE-20, CWE-79"),
        (0, "success_rate", ""),
        (1, "n", "200"),
        (1, "k", "57"),
        (0, "contains_csam", "no"),
    ]


@pytest.mark.parametrize(
    ("content", "label"),
    [
        pytest.param({"subjects": "not a list"}, "subjects", id="a text where a list belongs"),
        pytest.param({"title": {"inner": 1}}, "title", id="a group where a text belongs"),
        pytest.param({"subjects": [{"kind": "model"}, "text"]}, "subjects", id="a list of both"),
        pytest.param({"title": None}, "title", id="null"),
    ],
)
def test_a_value_of_an_unexpected_shape_is_shown_all_the_same(content, label):
    assert lines_of(content)[0][1] == label


def test_fields_are_counted_without_the_groups_and_lists_around_them():
    paths = {"title", "cwe", "cwe[*]", "subjects", "subjects[*].name", "steps", "steps[*].by", "steps[*].by.name"}
    assert disclosed_fields(paths) == ["cwe", "steps[*].by.name", "subjects[*].name", "title"]


def test_long_values_are_cut_and_say_how_long_they_are():
    shown = "".join(wrapped(Line(0, "source", "x" * (LONGEST_VALUE + 5)), 100))
    assert "1,205 characters in all" in shown


def test_long_lines_wrap_under_their_value():
    first, second = wrapped(Line(1, "summary", "word " * 25, Tone.VALUE), 100)
    assert first.startswith("  summary")
    assert second.startswith(" " * 27 + "word")
    assert max(len(first), len(second)) <= 100
