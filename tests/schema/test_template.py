"""This module tests that a template parses, tells everything, and is valid once it is filled in."""

import re
import tomllib

import pytest

from tocsin.errors import MalformedContent, MalformedName
from tocsin.schema.contract import KINDS
from tocsin.schema.files import parse_content_file
from tocsin.schema.template import WIDTH, field_doc, template

KIND_NAMES = tuple(KINDS)

ANSWERS = {
    "finding": {"title": "x", "finding_kind": "hazard", "severity": "low", "kind": "model", "name": "x"},
    "incident": {"title": "x", "incident_class": "near_miss", "summary": "x"},
    "evaluation": {"title": "x", "id": "x", "kind": "model", "name": "x"},
}


def fill(text: str, answers: dict[str, str]) -> str:
    """Answer each open question by its name."""
    return re.sub(r'^(\w+) = ""$', lambda match: f'{match[1]} = "{answers[match[1]]}"', text, flags=re.MULTILINE)


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_template_parses_as_it_is_and_is_valid_once_filled_in(kind):
    assert tomllib.loads(template(kind))["record"] == {"kind": kind, "tlp": "AMBER"}

    filled = fill(template(kind), ANSWERS[kind])
    settings, content = parse_content_file(filled.encode(), format="toml", name="f")

    assert settings == {"kind": kind, "tlp": "AMBER"}
    assert content


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_template_that_is_not_filled_in_is_refused(kind):
    with pytest.raises(MalformedContent):
        parse_content_file(template(kind).encode(), format="toml", name="f")


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_every_line_that_is_put_to_use_is_a_known_field_in_its_place(kind):
    used = re.sub(r"^#(?! )", "", fill(template(kind), ANSWERS[kind]), flags=re.MULTILINE)

    with pytest.raises(MalformedContent) as refusal:
        parse_content_file(used.encode(), format="toml", name="f")

    # what has no example of its own stands open: nothing else may be wrong
    assert {line.split(": ")[2].partition(" the form ")[0] for line in refusal.value.details} <= {"empty", "not of"}
    written = {path for path in KINDS[kind].paths() if KINDS[kind].field(path).coarse is None}
    assert written == places(tomllib.loads(used))


def places(value: object, prefix: str = "") -> set[str]:
    """Return the field paths of everything in a document."""
    found = set()
    for name, inner in value.items() if isinstance(value, dict) else ():
        if not prefix and name == "record":
            continue
        path = prefix + name
        found.add(path)
        groups = inner if isinstance(inner, list) else [inner]
        for group in groups:
            found |= places(group, f"{path}[*]." if isinstance(inner, list) else f"{path}.")
    return found


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_template_fits_a_terminal(kind):
    comments = [line for line in template(kind).splitlines() if line.startswith("# ")]

    assert max(map(len, comments)) <= WIDTH


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_every_field_has_a_comment_that_ends_with_a_full_stop(kind):
    for path in KINDS[kind].paths():
        assert field_doc(kind, path).endswith("."), path


def test_a_field_is_documented_by_the_group_it_stands_in():
    assert field_doc("finding", "subjects[*].version") == "Version, as exact as its vendor publishes it."
    assert field_doc("evaluation", "eval_spec.revision.dirty") == "Whether files were changed after the commit."
    with pytest.raises(MalformedName):
        field_doc("finding", "subjects[*].colour")


def test_a_template_tells_of_what_is_derived_and_does_not_ask_for_it():
    text = " ".join(template("incident").replace("\n# ", " ").split())

    assert "`started_month` follows from started_at and is not written. Month in which it started. (COMMUNITY)" in text
    assert "started_month =" not in text


def test_a_template_names_class_and_vocabulary():
    text = " ".join(template("finding").replace("\n# ", " ").split())

    assert "How bad it is, in one word. (COMMUNITY; one of not_sure, negligible, low, medium, high, critical)" in text
    assert "Exact attack texts. (NAMED)" in text
