from time import perf_counter

import pytest

from tests.policy.holdings import FINDING, when
from tocsin.policy.claims import ENVELOPE, Claims, is_present
from tocsin.policy.condition import MAX_LENGTH, Complaint, Truth, compile_condition
from tocsin.policy.expression import ROOT
from tocsin.schema.contract import KINDS

ENVELOPE_CLAIMS = {"iss": "lab-a.example", "kind": "finding", "status": "issued", "tlp": "GREEN"}
RICH = FINDING | {
    "contains_csam": False,
    "success_rate": {"k": 3, "n": 10, "ci_low": 0.1},
    "embargo": {"case_id": "C-1", "until": "2026-06-01T00:00:00Z"},
    "cwe": ["CWE-79", "CWE-94"],
    "mitigations": [{"description": "d", "kind": "workaround", "deployed_at": "2026-02-01T00:00:00Z"}],
}


ENDLESS = "hazard_category.all(a, hazard_category.all(b, hazard_category.all(c, hazard_category.all(d, a == d))))"


def answer(text: str, content=None, *, own: bool = True, kind: str = "finding") -> Truth:
    claims = Claims(kind, RICH if content is None else content, envelope=ENVELOPE_CLAIMS)
    return when(text, kind).evaluate(claims, own=own)


def complaints(text: str, *kinds: str) -> list[Complaint]:
    found: list[Complaint] = []
    assert compile_condition(text, kinds=kinds or ("finding",), complaints=found) is None
    return found


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (Truth.YES, 'severity in ["high", "critical"] && "cyber" in hazard_category'),
        (Truth.NO, 'severity in ["low"]'),
        (Truth.YES, 'tlp == "GREEN" && iss.endsWith(".example") && status == "issued" && kind == "finding"'),
        (Truth.YES, 'subjects.exists(s, s.name == "M" && s.version.startsWith("3"))'),
        (Truth.NO, 'subjects.all(s, s.kind == "model")'),
        (Truth.YES, 'subjects[1].kind == "system"'),
        (Truth.YES, "size(subjects) == 2 && size(prompts) == 2"),
        (Truth.YES, "success_rate.k > 2 && success_rate.ci_low < 0.5"),
        (Truth.YES, 'embargo.until > timestamp("2026-01-01T00:00:00Z")'),
        (Truth.YES, 'cwe.exists(c, c == "CWE-79") && "CWE-94" in cwe && cwe[0] != cwe[1]'),
        (Truth.YES, "!contains_csam"),
        (Truth.YES, "has(success_rate.k) && !has(success_rate.scorer) && has(embargo.until)"),
        (Truth.YES, 'title.matches("^A.*title$")'),
    ],
)
def test_a_condition_over_what_is_there(expected, text):
    assert answer(text) is expected


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        pytest.param(Truth.YES, 'summary == "" && summary != "x"', id="a text is empty"),
        pytest.param(Truth.YES, 'severity == ""', id="a value of a vocabulary is empty"),
        pytest.param(Truth.NO, '"cyber" in hazard_category', id="a list is empty"),
        pytest.param(Truth.NO, 'subjects.exists(s, s.name == "M")', id="a list of groups is empty"),
        pytest.param(Truth.NO, "contains_csam", id="a flag is false"),
        pytest.param(Truth.YES, 'embargo.case_id == ""', id="a group is empty"),
        pytest.param(Truth.UNKNOWN, "success_rate.k < 3", id="a number is not zero"),
        pytest.param(Truth.UNKNOWN, "success_rate.ci_low < 0.5", id="a fraction is not zero"),
        pytest.param(Truth.NO, "has(success_rate.k) && success_rate.k < 3", id="but has() can ask"),
        pytest.param(Truth.UNKNOWN, 'embargo.until < timestamp("2026-01-01T00:00:00Z")', id="a time is not 1970"),
        pytest.param(
            Truth.NO,
            'has(embargo.until) && embargo.until < timestamp("2026-01-01T00:00:00Z")',
            id="but has() can ask that",
        ),
        pytest.param(Truth.NO, "has(content.summary)", id="a field at the top can be asked for"),
        pytest.param(Truth.NO, "has(content.subjects)", id="and a list"),
        pytest.param(Truth.YES, 'has(content.title) && content.title == "t"', id="and read"),
        pytest.param(Truth.UNKNOWN, 'subjects[0].name == "M"', id="there is no first element"),
    ],
)
def test_on_an_own_record_what_is_absent_is_known_to_be_absent(expected, text):
    assert answer(text, {"title": "t"}) is expected


@pytest.mark.parametrize(
    "text",
    [
        'summary != "x"',
        'severity == "high"',
        'title == "t" || severity == "high"',
        '!("cyber" in hazard_category)',
        'subjects.all(s, s.version != "3")',
        "!contains_csam",
        "!has(success_rate.k)",
        "!has(content.summary)",
        'content.summary != "x"',
        'content.subjects.all(s, s.version != "3")',
        'embargo.until < timestamp("2026-01-01T00:00:00Z")',
        'title == "t" ? true : severity == "low"',
        '[severity].exists(s, s == "low")',
        '[severity][0] != "low"',
        '{"a": severity}["a"] != "low"',
        "cwe.map(c, c + severity).size() == 0",
    ],
)
def test_on_another_ones_record_reading_what_is_not_held_is_unknown(text):
    held = {"title": "t", "subjects": [{"name": "M"}], "cwe": []}
    assert answer(text, held, own=False) is Truth.UNKNOWN


def test_on_another_ones_record_what_is_held_can_be_asked():
    held = {"title": "t", "subjects": [{"name": "M"}, {"name": "N"}]}
    assert answer('title == "t" && tlp == "GREEN"', held, own=False) is Truth.YES
    assert answer('subjects.exists(s, s.name == "N")', held, own=False) is Truth.YES


@pytest.mark.parametrize(
    "text",
    [
        "size(subjects) == 1",
        'subjects[0].name == "M"',
        "subjects == []",
        'subjects.filter(s, s.name == "M").size() == 1',
    ],
)
def test_on_another_ones_record_a_list_of_groups_may_have_hidden_elements(text):
    assert answer(text, {"subjects": [{"name": "M"}]}, own=False) is Truth.UNKNOWN


def test_a_field_must_be_held_in_every_element():
    held = {"subjects": [{"name": "M", "version": "3"}, {"name": "N"}]}
    assert not is_present("subjects[*].version", held)
    assert is_present("subjects[*].name", held)
    assert not is_present("subjects[*].name", {"subjects": []})
    assert answer('subjects.exists(s, s.version == "3")', held, own=False) is Truth.UNKNOWN


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('title.matches("[")', id="a regular expression that does not compile"),
        pytest.param("1 / (size(title) - 7) == 1", id="a division by zero"),
        pytest.param(ENDLESS, id="out of steps"),
        pytest.param('timestamp(title) < timestamp("2026-01-01T00:00:00Z")', id="a conversion that fails"),
    ],
)
def test_an_evaluation_that_fails_is_unknown(text):
    assert answer(text, RICH | {"hazard_category": ["cyber"] * 12}) is Truth.UNKNOWN


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        (Truth.YES, {"started_at": "2026-03-01T00:00:00Z", "affected_count": 3}),
        (Truth.NO, {"started_at": "2026-03-01T00:00:00Z"}),
        (Truth.NO, {"affected_count": 3}),
    ],
)
def test_a_number_or_time_at_the_top_can_be_asked_for_first(expected, content):
    text = (
        'has(content.started_at) && started_at > timestamp("2026-01-01T00:00:00Z")'
        " && has(content.affected_count) && affected_count > 2 && content.affected_count < 4"
    )
    assert answer(text, content, kind="incident") is expected
    assert answer("affected_count > 2", {}, kind="incident") is Truth.UNKNOWN
    assert answer("content.affected_count < 2", {}, kind="incident") is Truth.UNKNOWN
    assert answer('content.started_at < timestamp("2026-01-01T00:00:00Z")', {}, kind="incident") is Truth.UNKNOWN


def test_a_time_that_the_calendar_does_not_have_is_unknown():
    text = 'started_at > timestamp("2026-01-01T00:00:00Z")'
    assert answer(text, {"started_at": "2026-13-41T00:00:00Z"}, kind="incident") is Truth.UNKNOWN


def test_a_regular_expression_cannot_run_away():
    assert answer('title.matches("^(a+)+$")', {"title": "a" * 200 + "b"}) is Truth.NO


def test_a_kind_that_the_condition_was_not_compiled_for_is_unknown():
    assert when('title == ""').evaluate(Claims("incident", {}, envelope=ENVELOPE_CLAIMS), own=True) is Truth.UNKNOWN


def test_names_that_the_contract_does_not_know_do_not_disturb():
    content = {"title": "t", "new": {"deep": 1}, "subjects": [{"name": "M", "new": 2}]}
    assert answer('subjects.exists(s, s.name == "M")', content) is Truth.YES


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ('severity == "high"', {"severity"}),
        ('tlp == "RED"', set()),
        ('subjects.exists(s, s.name == "x")', {"subjects", "subjects[*].name"}),
        ('subjects[0].name == "x"', {"subjects", "subjects[*].name"}),
        ("has(embargo.until)", {"embargo.until"}),
        ("has(content.embargo.until) && has(content.title)", {"embargo.until", "title"}),
        ('content.subjects[0].name == "x"', {"subjects", "subjects[*].name"}),
        ('subjects.exists(title, title.name == "x")', {"subjects", "subjects[*].name"}),
        ("subjects.exists(s, cwe.exists(c, s.name == c))", {"subjects", "subjects[*].name", "cwe", "cwe[*]"}),
        ("subjects.exists(title, .title == title.name)", {"subjects", "subjects[*].name", "title"}),
        ('cwe[size(title)] == "x"', {"cwe", "cwe[*]", "title"}),
        ('["x"].exists(x, x == poc)', {"poc"}),
        ('[severity][size(title)] == "high"', {"severity", "title"}),
        ('{"a": summary}["a"] == "x"', {"summary"}),
    ],
)
def test_the_fields_that_a_condition_reads_are_known(text, reads):
    assert when(text).checked["finding"].reads == reads


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("severty == 'high'", "nothing is named 'severty'; did you mean 'severity'?"),
        ("severity == high", "nothing is named 'high'; a text stands in quotes"),
        ("severity == 3", "== does not go with text and a whole number"),
        ("hazard_category == 'cyber'", "== does not go with a list of texts and text: to ask whether a list has it"),
        ("severity in 'high'", "in does not go with text and text: after in stands a list"),
        ("embargo.until > '2027'", "> does not go with a time and text: a time is written timestamp("),
        ("!title", "! does not go with text"),
        ("title.contains(3)", "contains does not go with text and a whole number"),
        ("title", "neither true nor false but text: compare it with something"),
        ("subjects", "neither true nor false but a list"),
        ("embargo", "neither true nor false but a group"),
        ("subjects.exists(s, s.nme == 'x')", "no field 'nme' in such a group; did you mean 'name'?"),
        ("severity in ['hihg', 'low']", "'hihg' is not a value of severity; did you mean 'high'?"),
        ("'cybr' in hazard_category", "'cybr' is not a value of hazard_category; did you mean 'cyber'?"),
        (
            "hazard_category.exists(h, h == 'cybr')",
            "'cybr' is not a value of hazard_category[*]; did you mean 'cyber'?",
        ),
        ("subjects.all(s, 'modle' != s.kind)", "'modle' is not a value of subjects[*].kind; did you mean 'model'?"),
        ("tlp == 'AMBER STRICT'", "'AMBER STRICT' is not a value of tlp; did you mean 'AMBER+STRICT'?"),
        ("status != 'isued'", "'isued' is not a value of status; did you mean 'issued'?"),
        ("content == content", "content is nothing by itself: read a field of it"),
        ("[content][0].title == 'x'", "cannot follow .title"),
        ("content.severity == 'hihg'", "'hihg' is not a value of severity; did you mean 'high'?"),
        ("dyn(severity) == 3", "dyn() would switch the type check off"),
        ("subjects.filter(s, true)[0].name == 'x'", "cannot follow .name"),
        ("(contains_csam ? embargo : embargo).case_id == 'x'", "cannot follow .case_id"),
        ("", "something is missing at the end"),
        ("severity ==", "something is missing at the end"),
        ("severity = 'high'", "a single = means nothing here: to compare, write =="),
        ("severity == 'high' and title == ''", "'and' is written &&"),
        ("(severity == 'high'", "a ) is missing"),
        ("severity == 'high'; x", "cannot be read from here on"),
        ("(" * 300 + "true" + ")" * 300, "nested too deeply"),
        ("true || " * MAX_LENGTH + "true", f"longer than {MAX_LENGTH} characters"),
    ],
)
def test_a_condition_that_does_not_fit_the_contract_is_refused(text, said):
    assert any(said in complaint.message for complaint in complaints(text))


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ((2, 3), 'title == "x" &&\n  severty == "high"'),
        ((1, 8), '"é" == titel'),
        ((1, 19), 'title == "a" || 1 == severity'),
        ((1, 14), "severity in ['hihg', 'low']"),
        ((2, 9), 'title == "x" ||\n tlp == "AMBER STRICT"'),
        ((1, 4), "dyn(severity) == 3"),
        ((1, 28), "subjects.filter(s, true)[0].name == 'x'"),
        ((1, 0), "title"),
        ((1, 10), 'severity = "high"'),
    ],
)
def test_a_problem_says_where_it_is(place, text):
    (complaint,) = complaints(text)
    assert (complaint.line, complaint.column) == place, complaint


def test_a_condition_must_fit_every_kind_of_its_rule_and_says_which_it_does_not_fit():
    (complaint,) = complaints('severity == "high"', "finding", "incident")
    assert complaint.message == "nothing is named 'severity', in records of kind incident"
    assert when('title == "x"', *KINDS)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('prompts.exists(p, p.matches("a") || p.contains("b"))', id="every prompt searched twice"),
        pytest.param('subjects.exists(s, s.name == "M" && s.version in cwe)', id="every version in a list"),
        pytest.param("subjects.exists(s, subjects.exists(t, s.name == t.name && s != t))", id="every two subjects"),
        pytest.param(" || ".join(f'details.contains("{number}")' for number in range(50)), id="many short searches"),
        pytest.param(
            "hazard_category.all(a, cwe.all(b, subjects.all(s, s.kind != a && b != a)))",
            id="short texts in many macros",
        ),
    ],
)
def test_what_people_write_is_within_the_budget(text):
    assert when(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("prompts.exists(p, prompts.exists(q, p != q && p.contains(q)))", id="every two prompts"),
        pytest.param(" + ".join(["details"] * 30) + ' == "x"', id="a text joined to itself again and again"),
        pytest.param("cwe.map(c, details + details + c).size() == 1", id="a list of long texts"),
        pytest.param("[details, details].map(d, cwe.map(c, d + c)).size() == 1", id="a list of lists of long texts"),
        pytest.param("cwe.exists(c, cwe.exists(d, details.contains(c + d)))", id="a long text for every two others"),
    ],
)
def test_a_condition_beyond_the_budget_is_refused_when_it_is_read(text):
    assert any("characters of a record, and 20,000,000 are the most" in found.message for found in complaints(text))


def test_what_runs_out_of_steps_does_so_quickly():
    begun = perf_counter()
    assert answer(ENDLESS, RICH | {"hazard_category": ["cyber"] * 12}) is Truth.UNKNOWN
    assert perf_counter() - begun < 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_the_contract_can_be_a_variable(kind):
    words = {"in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop"}
    words |= {"package", "namespace", "return", "var", "void", "while", "true", "false", "null"}
    names = {field.name for field in KINDS[kind].fields}
    assert not names & words
    assert not names & {*ENVELOPE, ROOT}, "a field would hide another variable"
    for field in KINDS[kind].fields:
        text = f"size({field.name}) >= 0" if field.repeated else f"{field.name} == {field.name}"
        assert field.name in when(text, kind).checked[kind].reads
