"""What is withheld leaves no trace: not in how many digests there are, not in their order, not in their lengths."""

import itertools
import json
import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.records.forge import drawn
from tests.support.organisations import NOW, found
from tocsin.encoding import decode_base64url
from tocsin.identity.names import RecordId
from tocsin.records.disclosure import digest_of
from tocsin.records.layout import lay_out
from tocsin.records.record import Draft, issue, parse_record
from tocsin.schema.contract import KINDS, bucket

A = found("lab-a.example")
ID = RecordId("1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11")
FINDING = KINDS["finding"]
REQUIRED = {
    "title": "T",
    "finding_kind": "hazard",
    "severity": "low",
    "subjects": [{"kind": "model", "name": "M", "vendor": "V", "checkpoint": "c"}],
}
SHOWN = frozenset({"title", "severity", "subjects[*].kind", "subjects[*].name"})


def values_of(laid_out):
    """Return the value of each disclosure by its digest."""
    _, texts = laid_out
    return {digest_of(text): json.loads(decode_base64url(text)) for text in texts}


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_content_has_as_many_digests_as_its_kind_always_has(kind):
    for count in (0, 1, len(kind.fields)):
        texts = [field for field in kind.fields if not field.fields and not field.repeated and not field.is_plain]
        content = {field.name: "x" for field in texts[:count]}
        claim, disclosures = lay_out(content, kind=kind, random=drawn("x"))
        assert len(claim["_sd"]) == bucket(len(kind.fields))
        assert len(disclosures) == len(content)
        assert claim["_sd"] == sorted(set(claim["_sd"]))


def test_plain_fields_stand_in_the_open_and_nothing_else():
    claim, _ = lay_out({**REQUIRED, "contains_csam": False}, kind=FINDING, random=drawn("x"))
    assert claim.keys() == {"finding_kind", "contains_csam", "_sd"}


@pytest.mark.parametrize("length", [1, 7, 8, 9, 33, 64])
def test_a_list_is_filled_to_a_bucket_and_keeps_its_order(length):
    cwe = [f"CWE-{number}" for number in range(1, length + 1)]
    values = values_of(lay_out({"cwe": cwe}, kind=FINDING, random=os.urandom))
    (elements,) = [items[2] for items in values.values() if len(items) == 3]
    assert len(elements) == bucket(length)
    assert [values[element["..."]][1] for element in elements if element["..."] in values] == cwe


def test_a_group_has_as_many_digests_as_its_message_always_has():
    (subjects,) = [field for field in FINDING.fields if field.name == "subjects"]
    for subject in ({"kind": "model", "name": "M"}, {"kind": "model", "name": "M", "vendor": "V", "version": "1"}):
        values = values_of(lay_out({"subjects": [subject]}, kind=FINDING, random=drawn("x")))
        groups = [items[1] for items in values.values() if len(items) == 2]
        assert [len(group["_sd"]) for group in groups] == [bucket(len(subjects.fields))]


def test_the_places_of_the_elements_are_all_equally_likely():
    counts = Counter()
    random = drawn("places")
    for _ in range(2_000):
        values = values_of(lay_out({"cwe": ["CWE-1", "CWE-2"]}, kind=FINDING, random=random))
        (elements,) = [items[2] for items in values.values() if len(items) == 3]
        counts[tuple(at for at, element in enumerate(elements) if element["..."] in values)] += 1
    pairs = set(itertools.combinations(range(8), 2))
    assert counts.keys() == pairs
    expected = 2_000 / len(pairs)
    chi_square = sum((counts[pair] - expected) ** 2 / expected for pair in pairs)
    assert chi_square < 55.5, "27 degrees of freedom: once in a thousand by chance, and this seed is not that one"


def test_no_salt_is_used_twice_and_the_next_version_repeats_no_digest():
    first, second = (lay_out(REQUIRED, kind=FINDING, random=os.urandom) for _ in range(2))
    salts = [items[0] for laid_out in (first, second) for items in values_of(laid_out).values()]
    assert len(set(salts)) == len(salts)
    assert all(len(decode_base64url(salt)) == 16 for salt in salts)
    assert not set(first[0]["_sd"]) & set(second[0]["_sd"])


def test_a_decoy_looks_like_a_digest():
    claim, disclosures = lay_out(REQUIRED, kind=FINDING, random=os.urandom)
    real = {digest_of(text) for text in disclosures}
    assert not set(claim["_sd"]) <= real
    assert {len(decode_base64url(digest)) for digest in claim["_sd"]} == {32}


WITHHELD = st.fixed_dictionaries(
    {},
    optional={
        "summary": st.text(min_size=1, max_size=300),
        "details": st.text(min_size=1, max_size=300),
        "poc": st.text(min_size=1, max_size=300),
        "prompts": st.lists(st.text(min_size=1, max_size=20), max_size=12),
        "cwe": st.lists(st.integers(1, 9999).map("CWE-{}".format), max_size=9, unique=True),
        "ssvc": st.fixed_dictionaries({}, optional={"decision": st.sampled_from(["track", "immediate"])}),
        "source": st.fixed_dictionaries({"format": st.just("avid")}, optional={"original": st.text(max_size=200)}),
    },
)
SUBJECT = st.fixed_dictionaries(
    {"kind": st.just("model"), "name": st.just("M")},
    optional={"vendor": st.text(min_size=1, max_size=50), "checkpoint": st.text(min_size=1, max_size=50)},
)


def partner_sees(withheld, subject, seed):
    """Return the shape of a partner's presentation: everything but the random bits of digests, salts and signature."""
    draft = Draft(record_id=ID, kind="finding", tlp="AMBER")
    content = {"title": "T", "finding_kind": "hazard", "severity": "low", "subjects": [subject], **withheld}
    record = issue(draft, content, issuer=A.organisation.org, signer=A.record, now=NOW, random=drawn(seed))
    token = record.present(SHOWN)
    shown = parse_record(token).verify(A.organisation, now=NOW)
    claims = json.loads(decode_base64url(token.split(".")[1]))
    return {
        "length": len(token),
        "disclosures": [(found.path[:2], len(found.encoded), shape(found.value)) for found in shown.disclosures],
        "claims": shape(claims),
        "content": shown.content,
    }


def shape(value):
    """Return a value with each digest replaced by its length, and each `_sd` by whether it is sorted."""
    if isinstance(value, dict) and "..." in value:
        return len(value["..."])
    if isinstance(value, dict):
        digests = value.get("_sd", [])
        inner = {name: shape(item) for name, item in value.items() if name != "_sd"}
        return inner, digests == sorted(digests), [len(digest) for digest in digests]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return value


@settings(max_examples=60)
@given(WITHHELD, WITHHELD, SUBJECT, SUBJECT, st.integers(0, 2**32))
def test_records_that_differ_in_what_is_withheld_look_alike_to_the_partner(one, other, subject, another, seed):
    assert partner_sees(one, subject, f"{seed}-1") == partner_sees(other, another, f"{seed}-2")
