"""A record is issued whole, redacted without being signed again, and verified by its issuer's identity."""

import dataclasses
import json
import os

import pytest

from tests.support.organisations import NOW, YEAR, found, record_key, seeded
from tocsin.encoding import decode_base64url
from tocsin.errors import DisclosureMismatch, MalformedContent, MalformedRecord, SignatureMismatch, UntrustedIssuer
from tocsin.identity.details import index_keys
from tocsin.identity.names import RecordId
from tocsin.records.envelope import Downgrade
from tocsin.records.record import Draft, extend, issue, parse_record, sd_hash

A = found("lab-a.example")
B = found("lab-b.example")
ID = RecordId("1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11")
DRAFT = Draft(record_id=ID, kind="finding", tlp="AMBER")
CONTENT = {
    "title": "Tool output can redirect an agent",
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [
        {"kind": "model", "name": "Example-LM 3", "version": "3.1"},
        {"kind": "agent", "name": "Example-Agent"},
    ],
    "atlas_techniques": ["AML.T0051", "AML.T0054"],
}
PATHS = frozenset(
    {
        "title",
        "finding_kind",
        "severity",
        "subjects",
        "subjects[*].kind",
        "subjects[*].name",
        "subjects[*].version",
        "atlas_techniques",
    }
)


def make(content=None, *, seed="record", **changes):
    draft = dataclasses.replace(DRAFT, **changes)
    content = CONTENT if content is None else content
    return issue(draft, content, issuer=A.organisation.org, signer=A.record, now=NOW, random=seeded(seed))


def verify(token, *, by=A.organisation, now=NOW):
    return parse_record(token).verify(by, now=now)


def payload_of(token):
    return json.loads(decode_base64url(token.split(".")[1]))


def test_what_is_issued_verifies_and_says_what_was_written():
    whole = make()
    assert verify(whole.token) == whole
    assert whole.content == CONTENT
    assert whole.paths == PATHS


def test_the_order_in_which_content_was_written_does_not_show():
    backwards = make(dict(reversed(CONTENT.items())))
    assert backwards.token.split("~")[1:] == make().token.split("~")[1:]
    assert list(backwards.content) == ["finding_kind", "title", "severity", "subjects", "atlas_techniques"]


def test_every_claim_of_a_draft_is_found_again():
    draft = Draft(
        record_id=ID,
        kind="incident",
        tlp="AMBER+STRICT",
        version=2,
        supersedes=make().digest,
        status="corrected",
        pap="GREEN",
        permitted_use=("evaluation", "no_competitive_use"),
        relay="community",
        retention_until="2030-01-01T00:00:00Z",
        downgrade_at=(Downgrade("2029-01-01T00:00:00Z", "GREEN"),),
        exp=NOW + 60,
    )
    content = {"title": "T", "incident_class": "near_miss", "summary": "S"}
    record = issue(draft, content, issuer=A.organisation.org, signer=A.record, now=NOW, random=seeded("x"))
    for name in ("record_id", "kind", "tlp", "version", "supersedes", "status", "pap", "permitted_use", "relay"):
        assert getattr(record, name) == getattr(draft, name)
    assert (record.retention_until, record.expires_at) == (draft.retention_until, draft.exp)
    assert record.downgrade_at == draft.downgrade_at
    assert (record.issued_at, record.issuer, record.key_id) == (NOW, "lab-a.example", A.record.key_id)


EXACT = {"title": "T", "incident_class": "incident", "summary": "S", "started_at": "2026-03-09T10:00:00Z"}


def test_a_month_can_be_shown_without_the_day_and_is_signed_like_it():
    whole = make(EXACT, kind="incident")
    assert whole.content == EXACT | {"started_month": "2026-03"}
    partial = verify(whole.present(frozenset({"started_month"})))
    assert partial.content == {"incident_class": "incident", "started_month": "2026-03"}
    grown = verify(extend(partial.token, whole.disclosures_for(frozenset({"started_at"}))))
    assert grown.content == partial.content | {"started_at": EXACT["started_at"]}


MIDNIGHT = 1893456000  # 2030-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("now", "marking"),
    [(0, "RED"), (MIDNIGHT - 1, "RED"), (MIDNIGHT, "AMBER"), (MIDNIGHT + 1, "AMBER"), (MIDNIGHT + 2, "CLEAR")],
)
def test_a_marking_is_lowered_at_the_moments_that_the_origin_signed(now, marking):
    steps = (Downgrade("2030-01-01T00:00:00Z", "AMBER"), Downgrade("2030-01-01T00:00:01.5Z", "CLEAR"))
    record = verify(make(tlp="RED", downgrade_at=steps).token)
    assert payload_of(record.token)["downgrade_at"] == [{"at": at, "tlp": tlp} for at, tlp in steps]
    assert (record.tlp, record.marking_at(now)) == ("RED", marking)
    assert make(tlp="RED").marking_at(now) == "RED"


def test_what_says_nothing_is_not_written():
    claims = payload_of(make().token)
    assert list(claims) == [
        "iss",
        "iat",
        "record_id",
        "version",
        "kind",
        "schema",
        "status",
        "tlp",
        "_sd_alg",
        "content",
    ]
    emptied = make({**CONTENT, "atlas_techniques": [], "external_ids": []})
    assert emptied.content == {name: value for name, value in CONTENT.items() if name != "atlas_techniques"}


@pytest.mark.parametrize(
    ("disclosed", "content"),
    [
        pytest.param(set(), {}, id="nothing"),
        pytest.param({"title"}, {"title": CONTENT["title"]}, id="one field"),
        pytest.param({"subjects"}, {}, id="a list without anything in it"),
        pytest.param(
            {"subjects[*].name"},
            {"subjects": [{"name": "Example-LM 3"}, {"name": "Example-Agent"}]},
            id="a field in a list brings list and elements",
        ),
        pytest.param({"subjects[*].version"}, {"subjects": [{"version": "3.1"}]}, id="one that only one element has"),
        pytest.param({"atlas_techniques"}, {"atlas_techniques": CONTENT["atlas_techniques"]}, id="a list of texts"),
        pytest.param({"no_such_field", "title.x"}, {}, id="what there is not"),
        pytest.param(PATHS, {k: v for k, v in CONTENT.items() if k != "finding_kind"}, id="everything"),
    ],
)
def test_a_presentation_shows_what_is_named_and_nothing_else(disclosed, content):
    whole = make()
    shown = verify(whole.present(frozenset(disclosed)))
    assert shown.content == {"finding_kind": "vulnerability", **content}
    assert shown.digest == whole.digest


def test_a_presentation_holds_no_disclosure_without_the_one_it_stands_in():
    whole = make()
    for path in sorted(PATHS):
        shown = verify(whole.present(frozenset({path})))
        held = {disclosure.path for disclosure in shown.disclosures}
        for disclosure in shown.disclosures:
            assert all(disclosure.path[:n] in held for n in range(2, len(disclosure.path)))


def test_a_presentation_can_be_redacted_again_and_never_more_than_undone():
    whole = make()
    once = verify(whole.present(frozenset({"title", "severity"})))
    assert verify(once.present(frozenset({"title", "subjects[*].name"}))).paths == {"finding_kind", "title"}
    assert once.present(PATHS) == once.token


def test_disclosures_sent_later_complete_what_is_held():
    whole = make()
    held = verify(whole.present(frozenset({"title", "subjects[*].kind"})))
    grown = verify(extend(held.token, whole.disclosures_for(frozenset({"subjects[*].name"}))))
    assert grown.content["subjects"] == [
        {"kind": "model", "name": "Example-LM 3"},
        {"kind": "agent", "name": "Example-Agent"},
    ]
    complete = verify(extend(grown.token, whole.disclosures_for(PATHS)))
    assert complete.content == CONTENT
    assert extend(complete.token, whole.disclosures_for(PATHS)) == complete.token


def test_disclosures_of_another_record_are_refused_once_verified():
    other = make(seed="other")
    with pytest.raises(DisclosureMismatch) as refusal:
        verify(extend(make().present(frozenset()), other.disclosures_for(frozenset({"title"}))))
    assert refusal.value.reason == "BAD_DISCLOSURE"


@pytest.mark.parametrize("text", ["", "a~b", "~"])
def test_what_is_no_disclosure_cannot_be_added(text):
    with pytest.raises(DisclosureMismatch) as refusal:
        extend(make().token, [text])
    assert refusal.value.reason == "BAD_DISCLOSURE"


def test_nothing_is_added_to_a_token_with_a_key_binding():
    with pytest.raises(MalformedRecord) as refusal:
        extend(make().token + "e30.e30.e30", [])
    assert refusal.value.reason == "BAD_FORM"


def test_the_digest_is_one_for_all_and_the_hash_of_a_presentation_is_not():
    whole = make()
    shown = whole.present(frozenset({"title"}))
    assert parse_record(shown).digest == whole.digest
    assert sd_hash(shown) != sd_hash(whole.token)


def test_neither_form_of_a_record_prints_its_content():
    whole = make()
    for text in (repr(whole), repr(parse_record(whole.token))):
        assert "Tool output" not in text
        assert whole.token not in text


def test_equal_records_are_one_in_a_set():
    assert {make(), make()} == {make()}


def test_a_draft_or_content_that_breaks_the_contract_is_not_signed():
    with pytest.raises(MalformedContent):
        make({"title": "no kind"})
    for changes in ({"kind": "rumour"}, {"tlp": "WHITE"}, {"version": 2}, {"supersedes": "x"}, {"exp": -1}):
        with pytest.raises(MalformedRecord) as refusal:
            make(**changes)
        assert refusal.value.reason == "BAD_CLAIM"


def test_a_record_beyond_the_limits_is_not_signed():
    source = {"format": "other", "original": "\\" * 500_000}
    with pytest.raises(MalformedRecord) as refusal:
        make({**CONTENT, "source": source})
    assert refusal.value.reason == "TOO_COMPLEX"


def organisation_with(**changes):
    """Return lab-a as it would be with its record key changed."""
    key = dataclasses.replace(record_key(A.record), **changes)
    return dataclasses.replace(A.organisation, record_keys=index_keys([key]))


@pytest.mark.parametrize(
    "organisation",
    [
        pytest.param(organisation_with(status="retired"), id="retired"),
        pytest.param(organisation_with(not_before=NOW, not_after=NOW), id="valid for that second"),
    ],
)
def test_a_key_that_was_valid_when_it_signed_is_enough(organisation):
    assert verify(make().token, by=organisation, now=NOW + YEAR).content == CONTENT


@pytest.mark.parametrize(
    "organisation",
    [
        pytest.param(organisation_with(status="revoked", revoked_at=NOW + 1), id="revoked, even later"),
        pytest.param(organisation_with(not_before=NOW + 1), id="not valid yet"),
        pytest.param(organisation_with(not_after=NOW - 1), id="not valid any more"),
    ],
)
def test_a_key_that_was_not_valid_when_it_signed_is_refused(organisation):
    with pytest.raises(UntrustedIssuer) as refusal:
        verify(make().token, by=organisation)
    assert refusal.value.reason == "KEY_NOT_VALID"


def test_a_record_of_a_revoked_key_counts_where_it_was_in_the_log_before():
    token, organisation = make().token, organisation_with(status="revoked", revoked_at=NOW + 60)
    assert parse_record(token).verify(organisation, now=NOW, logged_at=NOW + 59).content == CONTENT
    for logged_at in (None, NOW + 60, NOW + YEAR):
        with pytest.raises(UntrustedIssuer) as refusal:
            parse_record(token).verify(organisation, now=NOW, logged_at=logged_at)
        assert refusal.value.reason == "KEY_NOT_VALID"


def test_a_record_that_somebody_altered_counts_nowhere_whenever_it_was_logged():
    token = make().token
    signed, _, disclosures = token.partition("~")
    altered = f"{signed[:-8]}AAAAAAAA~{disclosures}"
    with pytest.raises(SignatureMismatch) as refusal:
        parse_record(altered).verify(organisation_with(status="revoked", revoked_at=NOW), now=NOW, logged_at=NOW - 1)
    assert refusal.value.reason == "BAD_SIGNATURE"


def test_the_key_of_another_organisation_is_refused():
    with pytest.raises(UntrustedIssuer) as refusal:
        verify(make().token, by=B.organisation)
    assert refusal.value.reason == "KEY_NOT_OF_ISSUER"


def test_a_delivery_key_signs_no_records():
    token = issue(DRAFT, CONTENT, issuer=A.organisation.org, signer=A.delivery, now=NOW, random=os.urandom).token
    with pytest.raises(UntrustedIssuer) as refusal:
        verify(token)
    assert refusal.value.reason == "KEY_NOT_OF_ISSUER"


def test_an_organisation_cannot_speak_for_another():
    token = issue(DRAFT, CONTENT, issuer=A.organisation.org, signer=B.record, now=NOW, random=os.urandom).token
    for organisation in (A.organisation, B.organisation):
        with pytest.raises(UntrustedIssuer) as refusal:
            verify(token, by=organisation)
        assert refusal.value.reason == "KEY_NOT_OF_ISSUER"
