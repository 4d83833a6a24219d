"""A draft is signed by people who read words: what has no words is refused, and so is what was altered on the way."""

import json
from dataclasses import replace

import pytest

from tests.identity.forging import document_of, sign_again
from tests.support.organisations import NOW, YEAR, found, make_details, signer
from tocsin.errors import IdentityOutdated, MalformedIdentity, SignatureMismatch, UntrustedIssuer
from tocsin.identity.draft import finish_draft, make_draft, parse_draft, sign_draft
from tocsin.identity.root import parse_identity, update_identity
from tocsin.identity.version import format_root_key, parse_root_key, root_key_id

LATER = NOW + 1000


@pytest.fixture
def draft(lab):
    return make_draft(lab.organisation, replace(lab.organisation, name="Lab A (moved)"), now=LATER)


def signed(draft, *roots):
    for root in roots:
        draft = sign_draft(draft, signer=root, now=LATER)
    return draft


def test_people_sign_one_after_another_and_then_it_is_a_document(lab, draft):
    assert draft.signed_by == ()
    assert len(draft.missing) == 1
    assert draft.missing[0].startswith("2 of the root keys of versions 1 and 2: ")
    one = signed(draft, lab.roots[2])
    assert one.signed_by == (root_key_id(lab.roots[2].public_key),)
    assert one.missing[0].startswith("1 of the root keys of versions 1 and 2: ")
    both = signed(one, lab.roots[0])
    assert both.missing == ()
    newer, changes = update_identity(lab.organisation, finish_draft(both, now=LATER), now=LATER)
    assert (newer.version, changes) == (2, ("name: Lab-A, now Lab A (moved)",))
    assert newer.fingerprint == draft.fingerprint


def test_it_says_in_words_what_it_changes_and_until_when_it_is_valid(lab, draft):
    assert draft.changes == ("name: Lab-A, now Lab A (moved)", "valid until 2027-03-01, before: 2027-03-01")


def test_who_is_missing_is_told_for_the_keys_before_and_after(lab):
    new = signer("new root")
    keys = [lab.roots[1].public_key, new.public_key]
    draft = make_draft(lab.organisation, lab.organisation, now=LATER, root_keys=keys)
    draft = signed(draft, lab.roots[0], lab.roots[1])
    assert draft.missing == (f"1 of the root keys of version 2: {root_key_id(new.public_key)}",)
    with pytest.raises(MalformedIdentity, match="not signed by enough root keys") as refused:
        finish_draft(draft, now=LATER)
    assert refused.value.reason == "BAD_IDENTITY"
    assert refused.value.details == (f"missing: {draft.missing[0]}",)
    assert parse_identity(finish_draft(signed(draft, new), now=LATER), now=LATER).version == 2


def test_signing_twice_is_signing_once(lab, draft):
    twice = signed(draft, lab.roots[0], lab.roots[0])
    assert len(twice.signed_by) == 1


def test_whoever_holds_no_root_key_signs_nothing(draft):
    with pytest.raises(UntrustedIssuer) as refused:
        sign_draft(draft, signer=signer("somebody"), now=LATER)
    assert refused.value.reason == "KEY_NOT_OF_ISSUER"


def test_a_draft_that_has_lain_about_for_a_year_is_not_signed_and_not_finished(lab, draft):
    both = signed(draft, *lab.roots[:2])
    for call in (
        lambda: sign_draft(draft, signer=lab.roots[0], now=LATER + YEAR),
        lambda: finish_draft(both, now=LATER + YEAR),
    ):
        with pytest.raises(IdentityOutdated) as refused:
            call()
        assert refused.value.reason == "IDENTITY_OUTDATED"


def changed(draft, change):
    value = json.loads(draft.content)
    change(value)
    return json.dumps(value).encode()


def said(value):
    return value["next"]["signed"]


MALFORMED = {
    "no JSON": (lambda value: value.clear(), "not of the format"),
    "another format": (lambda value: value.update(format="tocsin-identity/v1"), "not of the format"),
    "one member more": (lambda value: value.update(by="somebody"), "not of the format"),
    "no chain": (lambda value: value.update(chain=[]), "1 to 256 versions"),
    "a chain that does not verify": (lambda value: value["chain"][0].update(signatures=[]), "not signed by enough"),
    "the number of the one before": (lambda value: said(value).update(version=1), "where version 2 belongs"),
    "a number left out": (lambda value: said(value).update(version=3), "where version 2 belongs"),
    "another organisation": (
        lambda value: said(value).update({"x-tocsin": make_details("lab-b.example").to_member()}),
        "from one organisation to another",
    ),
    "a member that nobody has words for": (lambda value: said(value)["x-tocsin"].update(people=[]), "no words for"),
    "a member of root metadata": (lambda value: said(value).update({"x-later": 1}), "no words for"),
    "a member of a key": (lambda value: said(value)["x-tocsin"]["record_keys"][0].update(use="sig"), "no words for"),
    "another version of the specification": (lambda value: said(value).update(spec_version="1.0.99"), "no words for"),
    "a threshold that nobody can meet": (
        lambda value: said(value)["roles"]["root"].update(threshold=4),
        "fewer than its threshold",
    ),
}


@pytest.mark.parametrize(("change", "words"), MALFORMED.values(), ids=MALFORMED)
def test_a_draft_that_does_not_hold_together_is_refused(draft, change, words):
    with pytest.raises(MalformedIdentity) as refused:
        parse_draft(changed(draft, change))
    assert refused.value.reason == "BAD_IDENTITY"
    assert words in refused.value.message


def test_a_change_after_a_signature_is_told_with_whose_it_was(lab, draft):
    one = signed(draft, lab.roots[0])
    for change in (
        lambda value: said(value)["x-tocsin"].update(name="Lab X"),
        lambda value: said(value).update(expires="2040-01-01T00:00:00Z"),
        lambda value: value["next"]["signatures"][0].update(sig="00" * 64),
    ):
        with pytest.raises(SignatureMismatch) as refused:
            parse_draft(changed(one, change))
        assert refused.value.reason == "BAD_SIGNATURE"
        assert root_key_id(lab.roots[0].public_key) in refused.value.message


def test_the_signature_of_a_stranger_is_refused(lab, draft):
    def change(value):
        value["next"] = sign_again(said(value), [lab.roots[0], signer("somebody")])

    with pytest.raises(UntrustedIssuer) as refused:
        parse_draft(changed(draft, change))
    assert refused.value.reason == "KEY_NOT_OF_ISSUER"


def test_a_document_is_no_draft_and_a_draft_no_document(lab, draft):
    for content in (lab.document, document_of(json.loads(draft.content)["next"])):
        with pytest.raises(MalformedIdentity):
            parse_draft(content)
    with pytest.raises(MalformedIdentity):
        parse_identity(draft.content, now=LATER)


def test_a_draft_says_nothing_of_another_organisation(lab):
    other = found("lab-b.example")
    with pytest.raises(MalformedIdentity, match="from one organisation to another"):
        make_draft(lab.organisation, other.organisation, now=LATER)


def test_the_public_part_of_a_root_key_reads_back():
    key = signer("root")
    assert parse_root_key(format_root_key(key.public_key)) == key.public_key


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "BAD_IDENTITY"),
        (signer("root").key_id, "BAD_IDENTITY"),
        (root_key_id(signer("root").public_key), "BAD_IDENTITY"),
        (format_root_key(signer("root").public_key) + "=", "BAD_IDENTITY"),
        ("root:" + "A" * 43, "WEAK_KEY"),
    ],
)
def test_what_is_no_public_part_of_a_root_key_is_refused(text, reason):
    with pytest.raises(MalformedIdentity) as refused:
        parse_root_key(text)
    assert refused.value.reason == reason
