"""This module tests what the rest of the house relies on in the contract."""

import re

import pytest

from tocsin.errors import MalformedName
from tocsin.schema.check import check_content, check_disclosed
from tocsin.schema.contract import (
    BUCKETS,
    KINDS,
    TLPS,
    Disclosure,
    Field,
    Shape,
    bucket,
    choices,
    enum_claim,
    enum_number,
)

KIND_NAMES = ("finding", "incident", "evaluation")
FIELDS = [(kind.name, field) for kind in KINDS.values() for top in kind.fields for field in top.walk()]

# RFC 9901 reserves the first three; the rest are plain claims, the settings key of content files, and words of CEL.
RESERVED = {"_sd", "_sd_alg", "...", "iss", "iat", "exp", "tlp", "kind", "status", "record", "content", "schema"}
RESERVED |= {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let"}
RESERVED |= {"loop", "namespace", "null", "package", "return", "true", "var", "void", "while"}

# What labs usually withhold, from real forms: at least so restricted.
WITHHELD = [
    ("finding", "prompts", Disclosure.NAMED),
    ("finding", "poc", Disclosure.NAMED),
    ("finding", "steps[*].description", Disclosure.NAMED),
    ("finding", "infohazard_detail", Disclosure.LOCAL),
    ("finding", "subjects[*].version", Disclosure.PARTNER),
    ("finding", "subjects[*].checkpoint", Disclosure.NAMED),
    ("finding", "mitigations[*].internals", Disclosure.NAMED),
    ("finding", "discoverers[*].contact", Disclosure.LOCAL),
    ("finding", "deployers", Disclosure.NAMED),
    ("finding", "legal_advice", Disclosure.LOCAL),
    ("finding", "evidence", Disclosure.NAMED),
    ("finding", "source.original", Disclosure.LOCAL),
    ("incident", "affected_parties", Disclosure.LOCAL),
    ("incident", "actors", Disclosure.NAMED),
    ("incident", "credentials", Disclosure.LOCAL),
    ("incident", "insider_facts", Disclosure.LOCAL),
    ("incident", "execution_context.topology", Disclosure.NAMED),
    ("incident", "started_at", Disclosure.PARTNER),
    ("incident", "legal_clocks[*].due", Disclosure.NAMED),
    ("evaluation", "transcripts", Disclosure.NAMED),
    ("evaluation", "dataset.items", Disclosure.LOCAL),
    ("evaluation", "dataset.sample_ids", Disclosure.NAMED),
    ("evaluation", "eval_spec.revision.origin", Disclosure.LOCAL),
    ("evaluation", "eval_spec.task_file", Disclosure.LOCAL),
    ("evaluation", "eval_spec.model_args", Disclosure.LOCAL),
    ("evaluation", "threshold_detail", Disclosure.NAMED),
    ("evaluation", "results[*].value", Disclosure.PARTNER),
]


def needed(fields: tuple[Field, ...]) -> list[str]:
    """Return the paths of what a minimal record must hold."""
    return [path for field in fields if field.required for path in (field.path, *needed(field.fields))]


def test_the_kinds_are_those_that_records_claim():
    assert tuple(KINDS) == KIND_NAMES == choices("RecordKind")


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_no_kind_requires_more_than_seven_fields(kind):
    assert len(needed(KINDS[kind].fields)) <= 7


def test_four_fields_make_a_valid_finding():
    content = {
        "title": "Tool output redirects an agent",
        "finding_kind": "vulnerability",
        "severity": "high",
        "subjects": [{"kind": "model", "name": "Example-LM 3"}],
    }

    check_content("finding", content)


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        ("finding", ["finding_kind", "contains_csam"]),
        ("incident", ["incident_class", "happened_in", "incident_origin"]),
        ("evaluation", ["evaluated_in"]),
    ],
)
def test_only_these_fields_stand_in_the_open(kind, plain):
    assert [field.path for top in KINDS[kind].fields for field in top.walk() if field.is_plain] == plain


@pytest.mark.parametrize(("kind", "path", "least"), WITHHELD, ids=lambda value: str(value))
def test_what_labs_usually_withhold_is_withheld_by_default(kind, path, least):
    assert KINDS[kind].field(path).disclosure >= least


def test_nothing_inside_a_local_group_is_less_than_local():
    for kind, field in FIELDS:
        if field.disclosure is Disclosure.LOCAL:
            assert {inner.disclosure for inner in field.walk()} == {Disclosure.LOCAL}, (kind, field.path)


def test_a_field_takes_the_class_of_the_group_around_it_unless_it_states_its_own():
    finding = KINDS["finding"]

    assert finding.field("discoverers[*].name").disclosure is Disclosure.LOCAL
    assert finding.field("developers[*].name").disclosure is Disclosure.PARTNER
    assert finding.field("deployers[*].name").disclosure is Disclosure.NAMED
    assert finding.field("subjects[*].kind").disclosure is Disclosure.COMMUNITY


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_fields_of_every_group_fit_the_largest_bucket(kind):
    widths = [len(KINDS[kind].fields), *(len(field.fields) for name, field in FIELDS if name == kind)]

    assert max(widths) <= BUCKETS[-1]


def test_no_field_has_a_name_that_means_something_else():
    tops = {field.name for kind in KINDS.values() for field in kind.fields}

    assert not tops & RESERVED
    assert not {field.name for _, field in FIELDS} & {"_sd", "_sd_alg", "..."}


def test_every_pattern_is_a_regular_expression_and_every_example_keeps_to_its_rules():
    for kind, field in FIELDS:
        re.compile(field.pattern)
        if not field.example:
            continue
        convert = {Shape.INTEGER: int, Shape.NUMBER: float}.get(field.shape, str)
        value = convert(field.example)
        content: object = [value] if field.repeated else value
        for name in reversed(field.path.split(".")):
            content = {name.removesuffix("[*]"): [content] if name.endswith("[*]") else content}
        check_content_of_part(kind, content)


def check_content_of_part(kind: str, content) -> None:
    """Check a part of a record by its known vocabularies too."""
    check_disclosed(kind, content)
    for field in KINDS[kind].fields:
        if field.choices and not field.repeated and field.name in content:
            assert content[field.name] in field.choices


TWINS = {(kind, field.path): field for kind, field in FIELDS if field.coarse is not None}


def beside(kind: str, path: str, name: str) -> Field:
    """Return the field of another name in the group of a path."""
    return KINDS[kind].field(f"{path.rpartition('.')[0]}.{name}".removeprefix("."))


def test_every_value_that_has_a_coarse_twin_has_it():
    assert {path for _, path in TWINS} == {
        *["started_month", "detected_month", "contained_month", "ended_month", "affected_band"],
        *["mitigations[*].deployed_month", "success_rate.success_band", "measurements[*].value_band"],
        *["results[*].value_band", "elicitation.effort_band", "human_baseline.value_band", "uplift.value_band"],
    }


@pytest.mark.parametrize(("kind", "path"), TWINS)
def test_a_coarse_twin_is_one_class_wider_than_the_exact_value_of_its_group(kind, path):
    twin = TWINS[kind, path]
    exact = beside(kind, path, twin.coarse.of)

    assert twin.disclosure == exact.disclosure - 1
    assert exact.disclosure is not Disclosure.LOCAL
    assert twin.shape is Shape.TEXT
    assert not any([twin.required, twin.repeated, exact.repeated, twin.is_plain])
    assert exact.shape in ((Shape.INTEGER, Shape.NUMBER) if twin.coarse.bounds else (Shape.TIME,))
    if twin.coarse.per:
        assert beside(kind, path, twin.coarse.per).minimum == 1  # never divided by nothing


@pytest.mark.parametrize(("kind", "path"), TWINS)
def test_the_bands_of_a_twin_ascend_and_fit_its_pattern(kind, path):
    twin = TWINS[kind, path]

    assert list(twin.coarse.bounds) == sorted(set(twin.coarse.bounds))
    assert len(set(twin.coarse.bands)) == (len(twin.coarse.bounds) + 1 if twin.coarse.bounds else 0)
    assert all(re.fullmatch(twin.pattern, band) for band in twin.coarse.bands)


def test_a_path_that_is_none_is_refused_with_the_nearest_one():
    with pytest.raises(MalformedName) as refusal:
        KINDS["finding"].field("subject[*].version")

    assert refusal.value.reason == "BAD_NAME"
    assert refusal.value.hint == "did you mean 'subjects[*].version'?"


@pytest.mark.parametrize("path", ["subjects[0].version", "subjects.version", "subjects[*]", "content.title", "", "*"])
def test_a_path_is_written_in_one_way_only(path):
    with pytest.raises(MalformedName):
        KINDS["finding"].field(path)
    assert not KINDS["finding"].has(path)


def test_paths_name_each_group_before_what_is_inside_it():
    paths = KINDS["finding"].paths()

    assert paths[:5] == ("title", "finding_kind", "severity", "subjects", "subjects[*].kind")
    assert all(path.rpartition(".")[0].removesuffix("[*]") in (*paths[: paths.index(path)], "") for path in paths)


@pytest.mark.parametrize(
    ("count", "size"), [(0, 8), (1, 8), (8, 8), (9, 16), (32, 32), (33, 64), (64, 64), (65, 128), (129, 192)]
)
def test_a_bucket_hides_how_many_there_are(count, size):
    assert bucket(count) == size


def test_markings_are_in_order_and_written_as_first_writes_them():
    assert TLPS == ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")


@pytest.mark.parametrize("enum", ["Tlp", "Severity", "AtrCategory", "IdScheme", "PeerRole", "WithholdReason"])
def test_claims_and_numbers_of_a_vocabulary_say_the_same(enum):
    assert [enum_claim(enum, enum_number(enum, claim)) for claim in choices(enum)] == list(choices(enum))
    assert enum_number(enum, "") == 0
    assert enum_claim(enum, 0) == ""


def test_a_claim_or_a_number_outside_the_vocabulary_is_refused():
    with pytest.raises(MalformedName):
        enum_number("Tlp", "amber")
    with pytest.raises(MalformedName):
        enum_claim("Tlp", 99)
