"""This module tests that files that people write are read, or refused with the line of each problem."""

import pytest

from tocsin.errors import MalformedContent
from tocsin.schema.document import MAX_FILE_BYTES
from tocsin.schema.files import parse_content_file

SETTINGS = {"kind": "finding", "tlp": "AMBER", "to": ["lab-b.example"]}
CONTENT = {
    "title": "Tool output redirects an agent",
    "finding_kind": "vulnerability",
    "severity": "high",
    "reported_on": "2026-03-01",
    "embargo": {"until": "2026-06-01T10:00:00Z"},
    "subjects": [{"kind": "model", "name": "Example-LM 3", "version": "3.1"}],
}

TOML = """\
record.kind = "finding"
record.tlp = "AMBER"
record.to = ["lab-b.example"]
title = "Tool output redirects an agent"
finding_kind = "vulnerability"
severity = "high"
reported_on = 2026-03-01
embargo.until = 2026-06-01T12:00:00+02:00

[[subjects]]
kind = "model"
name = "Example-LM 3"
version = "3.1"
"""

YAML = """\
record: {kind: finding, tlp: AMBER, to: [lab-b.example]}
title: Tool output redirects an agent
finding_kind: vulnerability
severity: high
reported_on: 2026-03-01
embargo:
  until: 2026-06-01T12:00:00+02:00
subjects:
  - kind: model
    name: Example-LM 3
    version: "3.1"
"""

JSON = """\
{
\t"record": {"kind": "finding", "tlp": "AMBER", "to": ["lab-b.example"]},
\t"title": "Tool output redirects an agent",
\t"finding_kind": "vulnerability",
\t"severity": "high",
\t"reported_on": "2026-03-01",
\t"embargo": {"until": "2026-06-01T10:00:00Z"},
\t"subjects": [
\t\t{"kind": "model", "name": "Example-LM 3", "version": "3.1"}
\t]
}
"""

FILES = {"toml": TOML, "yaml": YAML, "json": JSON}

# One wrong thing in each file: what to replace, by what, and where it must be found.
MISTAKES = [
    ("toml", 'severity = "high"', 'severty = "high"', "f:6: severty: no such field, did you mean 'severity'?"),
    ("yaml", "severity: high", "severty: high", "f:4: severty: no such field, did you mean 'severity'?"),
    ("json", '"severity"', '"severty"', "f:5: severty: no such field, did you mean 'severity'?"),
    ("toml", 'version = "3.1"', "version = 3.1", "f:13: subjects[0].version: not a text: write it in quotes"),
    ("yaml", 'version: "3.1"', "version: 3.1", "f:11: subjects[0].version: not a text: write it in quotes"),
    ("json", '"3.1"', "3.1", "f:9: subjects[0].version: not a text: write it in quotes"),
    ("toml", '"AMBER"', '"amber"', "f:2: record.tlp: none of CLEAR, GREEN, AMBER, AMBER+STRICT, RED"),
    ("yaml", "tlp: AMBER", "tpl: AMBER", "f:1: record.tpl: no such setting, did you mean 'tlp'?"),
    ("json", '["lab-b.example"]', '"lab-b.example"', "f:2: record.to: not a list"),
    ("toml", 'record.to = ["lab-b.example"]', "record.to = [1]", "f:3: record.to: not a text: write it in quotes"),
    ("toml", "record.tlp", "record.retention_until", "f:2: record.retention_until: not a time in UTC"),
    *[
        ("toml", 'record.to = ["lab-b.example"]', f"record.downgrade_at = {steps}", f"f:3: record.downgrade_at: {said}")
        for steps, said in [
            ('[{tlp = "GREEN"}]', "not steps such as"),
            ('{at = 2027-01-01T00:00:00Z, tlp = "GREEN"}', "not a list"),
            ('[{at = 2027-01-01, tlp = "GREEN"}]', "not a time in UTC"),
            ('[{at = 2027-01-01T00:00:00Z, tlp = "WHITE"}]', "none of CLEAR, GREEN"),
        ]
    ],
    ("toml", 'kind = "model"', 'kind = "modell"', "f:11: subjects[0].kind: none of model"),
    ("toml", 'name = "Example-LM 3"', "", "f:10: subjects[0].name: missing"),
    ("yaml", "until: 2026-06-01T12:00:00+02:00", "untl: 2026-06-01", "f:7: embargo.untl: no such field"),
    ("toml", "2026-06-01T12:00:00+02:00", "2026-06-01T12:00:00", "f:8: embargo.until: not a time in UTC"),
]

# Files that do not parse at all.
BROKEN = {
    "toml with a value missing": ("toml", b'a = "b"\nc =\n', "f:2", "not TOML: invalid value"),
    "toml with a name twice": ("toml", b"a = 1\na = 2\n", "f:2", "not TOML: cannot overwrite a value"),
    "toml too deep": ("toml", b"a = " + b"[" * 100_000, "f", "not TOML: more than 32 levels"),
    "toml with a deep dotted name": ("toml", b"a." * 100 + b"a = 1", "f", "out of range"),
    "toml with a huge integer": ("toml", b"a = " + b"9" * 5000, "f", "out of range"),
    "toml not UTF-8": ("toml", b"a = 1\nb = '\xff'", "f:2", "not UTF-8"),
    "yaml with an alias": ("yaml", b"a: &x [1]\nb: *x\n", "f:2", "an alias, which is not accepted"),
    "yaml with a bomb of aliases": ("yaml", b"a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "f:2", "an alias"),
    "yaml with a tag of Python": ("yaml", b"a: !!python/object/apply:os.getcwd []\n", "f:1", "not accepted"),
    "yaml with a tag of its own": ("yaml", b"a: 1\nb: !secret x\n", "f:2", "the tag !secret is not accepted"),
    "yaml with a name twice": ("yaml", b"a: 1\nb: 1\na: 2\n", "f:3", "a stands twice"),
    "yaml with a list as a name": ("yaml", b"? [a]\n: 1\n", "f:1", "a key that is no text"),
    "yaml too deep": ("yaml", b"a: " + b"[" * 10_000, "f:1", "more than 32 levels"),
    "yaml with two documents": ("yaml", b"a: 1\n---\na: 1\n", "f:2", "but found another document"),
    "yaml with a broken list": ("yaml", b"a: [1\n", "f:2", "not YAML"),
    "yaml with a month 13": ("yaml", b"a: 2026-13-01\n", "f:1", "out of range"),
    "yaml with a time that is none": ("yaml", b"a:\n  - !!timestamp soon\n", "f:2", "its tag does not fit"),
    "yaml with a flag that is none": ("yaml", b"a: !!bool soon\n", "f:1", "its tag does not fit"),
    "yaml with an empty number": ("yaml", b"a: !!int ''\n", "f:1", "its tag does not fit"),
    "yaml with an escape for no character": ("yaml", b'a: "\\U00110000"\n', "f", "an escape for no character"),
    "yaml with a control character": ("yaml", b"a: \x01\n", "f", "a character that is not accepted"),
    "json with a comma too many": ("json", b'{"a": 1,\n "b": 2,\n}', "f:2", "not JSON"),
    "json with a name twice": ("json", b'{"a": 1, "a": 2}', "f", "a name occurs twice"),
    "json with no number": ("json", b'{"a": NaN}', "f:1", "not JSON"),
    "json too deep": ("json", b"[" * 100_000, "f:1", "not JSON"),
    "a list": ("json", b"[]", "f", "not a group of fields"),
    "a text": ("yaml", b"hello", "f", "not a group of fields"),
    "a file that is too long": ("toml", b"#" * (MAX_FILE_BYTES + 1), "f", "longer than 1048576 bytes"),
}


@pytest.mark.parametrize("format", FILES)
def test_toml_yaml_and_json_say_the_same(format):
    assert parse_content_file(FILES[format].encode(), format=format, name="f") == (SETTINGS, CONTENT)


def test_a_schedule_of_downgrades_is_read():
    text = 'record.downgrade_at = [{at = 2027-01-01T01:00:00+01:00, tlp = "GREEN"}]'

    settings, _ = parse_content_file(text.encode(), format="toml", name="f")

    assert settings == {"downgrade_at": [{"at": "2027-01-01T00:00:00Z", "tlp": "GREEN"}]}


@pytest.mark.parametrize(("format", "right", "wrong", "detail"), MISTAKES, ids=[case[3] for case in MISTAKES])
def test_a_mistake_is_told_with_its_line(format, right, wrong, detail):
    text = FILES[format].replace(right, wrong, 1)

    with pytest.raises(MalformedContent) as refusal:
        parse_content_file(text.encode(), format=format, name="f", kind="finding")

    assert refusal.value.reason == "BAD_CONTENT"
    assert any(line.startswith(detail) for line in refusal.value.details), refusal.value.details


@pytest.mark.parametrize(("format", "data", "where", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused(format, data, where, problem):
    with pytest.raises(MalformedContent) as refusal:
        parse_content_file(data, format=format, name="f")

    assert refusal.value.where == where
    assert problem in refusal.value.message


def test_every_problem_of_a_file_is_told_in_the_order_of_its_lines():
    text = 'record.tpl = "RED"\ntitle = ""\nseverty = "high"\n[[subjects]]\nkind = "x"\n[[subjects]]\nname = 1\n'

    with pytest.raises(MalformedContent) as refusal:
        parse_content_file(text.encode(), format="toml", name="f", kind="finding")

    assert [line.partition(": ")[0] for line in refusal.value.details] == [
        *["f:1", "f:2", "f:3", "f:4", "f:5", "f:6", "f:7"],
        *["f"] * 2,  # what is missing at the top has no line
    ]


def test_lines_are_found_after_values_that_take_several_lines():
    text = 'summary = """\n[not a heading]\nx = 1 ]\n"""\ncwe = [\n  "CWE-1", # one ]\n  "CWE-2",\n]\n\n'
    text += "[ssvc]\nbogus = 1\n"

    with pytest.raises(MalformedContent) as refusal:
        parse_content_file(text.encode(), format="toml", name="f", kind="finding")

    assert "f:11: ssvc.bogus: no such field" in refusal.value.details


def test_a_byte_order_mark_and_windows_line_ends_are_accepted():
    data = b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode()

    assert parse_content_file(data, format="toml", name="f") == (SETTINGS, CONTENT)


def test_the_kind_that_the_caller_knows_counts_where_the_file_says_none():
    with pytest.raises(MalformedContent) as refusal:
        parse_content_file(b'title = "x"', format="toml", name="f", kind="incident")

    assert "f: incident_class: missing" in refusal.value.details


@pytest.mark.parametrize("kind", ["[]", "{}", "1", "null"])
def test_a_kind_that_is_no_text_is_refused(kind):
    with pytest.raises(MalformedContent) as refusal:
        parse_content_file(f'{{"record": {{"kind": {kind}}}}}'.encode(), format="json", name="f")

    assert refusal.value.details == ("f:1: record.kind: not a text: write it in quotes",)


def test_content_of_no_known_kind_is_read_but_not_checked():
    assert parse_content_file(b"x = 1", format="toml", name="f") == ({}, {"x": 1})


def test_a_setting_that_is_no_group_is_refused():
    with pytest.raises(MalformedContent) as refusal:
        parse_content_file(b"record = 1", format="toml", name="f")

    assert refusal.value.details == ("f:1: record: not a group of fields",)
