"""A retraction counts where its record's origin signed it, and nowhere else."""

from dataclasses import replace

import pytest

from tests.store.making import organisation, record_id
from tests.support.organisations import NOW, record_key
from tocsin.encoding import decode_base64url, dump_json, encode_base64url, parse_json
from tocsin.errors import MalformedEncoding, MalformedRecord, RecordExpired, SignatureMismatch, UntrustedIssuer
from tocsin.identity.names import OrgId
from tocsin.records.jws import CLOCK_SKEW, sign
from tocsin.records.record import RECORD_TYPE
from tocsin.records.retraction import RETRACTION_TYPE, Action, parse_retraction, sign_retraction

LAB, OTHER = OrgId("lab-a.example"), OrgId("lab-b.example")
SUCCESSOR = "S" * 43
VALUES = {
    "issuer": LAB,
    "record_id": record_id("retracted"),
    "version": 2,
    "action": Action.WITHDRAW,
    "tlp": "AMBER",
    "signer": organisation(LAB).record,
    "now": NOW,
}
GOOD = sign_retraction(**VALUES)


def made(**changes):
    return sign_retraction(**VALUES | changes).token


def claiming(*, signer=None, typ=RETRACTION_TYPE, **changes):
    """Return a retraction whose claims are others, properly signed; a claim that is None is left out."""
    claims = parse_json(decode_base64url(GOOD.token.split(".")[1])) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return sign(dump_json(claims), typ=typ, signer=signer or VALUES["signer"])


def altered(**changes):
    """Return a retraction that was changed after it was signed."""
    head, payload, signature = GOOD.token.split(".")
    claims = parse_json(decode_base64url(payload)) | changes
    return ".".join((head, encode_base64url(dump_json(claims)), signature))


def read(token, *, of=LAB, now=NOW):
    return parse_retraction(token).verify(organisation(of).organisation, now=now)


@pytest.mark.parametrize("action", [Action.WITHDRAW, Action.PURGE])
def test_a_retraction_reads_as_it_was_signed(action):
    signed = sign_retraction(**VALUES | {"action": action, "reason": "error"})
    assert read(signed.token) == signed
    assert (signed.action, signed.reason, signed.successor, signed.version) == (action, "error", "", 2)


def test_a_correction_names_what_stands_in_the_place_of_what_it_corrects():
    signed = sign_retraction(**VALUES | {"action": Action.CORRECT, "successor": SUCCESSOR})
    assert read(signed.token).successor == SUCCESSOR


def test_the_stronger_of_two_counts():
    assert Action.CORRECT.rank < Action.WITHDRAW.rank < Action.PURGE.rank


def test_it_is_named_by_what_was_signed():
    assert made(tlp="RED") != GOOD.token
    assert read(made(tlp="RED")).digest != GOOD.digest


REFUSED = {
    "by another organisation": (
        lambda: made(issuer=OTHER, signer=organisation(OTHER).record),
        UntrustedIssuer,
        "KEY_NOT_OF_ISSUER",
    ),
    "in the origin's name, by another's key": (
        lambda: made(signer=organisation(OTHER).record),
        UntrustedIssuer,
        "KEY_NOT_OF_ISSUER",
    ),
    "by the origin's delivery key": (
        lambda: made(signer=organisation(LAB).delivery),
        UntrustedIssuer,
        "KEY_NOT_OF_ISSUER",
    ),
    "a withdrawal made a purge": (lambda: altered(action="purge"), SignatureMismatch, "BAD_SIGNATURE"),
    "of another record": (lambda: altered(record_id=record_id("other")), SignatureMismatch, "BAD_SIGNATURE"),
    "with a looser marking": (lambda: altered(tlp="CLEAR"), SignatureMismatch, "BAD_SIGNATURE"),
    "a record": (lambda: claiming(typ=RECORD_TYPE), MalformedRecord, "BAD_TYP"),
    "a page": (lambda: claiming(typ="tocsin-page+jwt"), MalformedRecord, "BAD_TYP"),
    "from the future": (lambda: made(now=NOW + CLOCK_SKEW + 1), RecordExpired, "NOT_VALID_NOW"),
    "before the key was valid": (lambda: made(now=NOW - 1), UntrustedIssuer, "KEY_NOT_VALID"),
    "without a record": (lambda: claiming(record_id=None), MalformedRecord, "MISSING_CLAIM"),
    "without an action": (lambda: claiming(action=None), MalformedRecord, "MISSING_CLAIM"),
    "without a marking": (lambda: claiming(tlp=None), MalformedRecord, "MISSING_CLAIM"),
    "without a version": (lambda: claiming(version=None), MalformedRecord, "MISSING_CLAIM"),
    "without a time": (lambda: claiming(iat=None), MalformedRecord, "MISSING_CLAIM"),
    "another action": (lambda: claiming(action="burn"), MalformedRecord, "BAD_CLAIM"),
    "another marking": (lambda: claiming(tlp="PINK"), MalformedRecord, "BAD_CLAIM"),
    "another reason": (lambda: claiming(reason="because"), MalformedRecord, "BAD_CLAIM"),
    "version nought": (lambda: claiming(version=0), MalformedRecord, "BAD_CLAIM"),
    "version no number": (lambda: claiming(version="2"), MalformedRecord, "BAD_CLAIM"),
    "no record id": (lambda: claiming(record_id="x"), MalformedRecord, "BAD_CLAIM"),
    "a correction without what comes after": (lambda: claiming(action="correct"), MalformedRecord, "BAD_CLAIM"),
    "a withdrawal with what comes after": (lambda: claiming(successor=SUCCESSOR), MalformedRecord, "BAD_CLAIM"),
    "a successor that is no digest": (
        lambda: claiming(action="correct", successor="x"),
        MalformedRecord,
        "BAD_CLAIM",
    ),
    "a successor that is no text": (lambda: claiming(action="correct", successor=1), MalformedRecord, "BAD_CLAIM"),
    "with disclosures behind it": (lambda: GOOD.token + "~WyJhIl0~", MalformedEncoding, "BAD_ENCODING"),
    "nothing": (lambda: "", MalformedRecord, "BAD_FORM"),
}


@pytest.mark.parametrize(("token", "error", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_its_origin_did_not_sign_so_is_refused(token, error, reason):
    with pytest.raises(error) as refused:
        read(token())
    assert refused.value.reason == reason


def test_a_key_that_is_revoked_retracts_nothing():
    lab = organisation(LAB).organisation
    key = record_key(VALUES["signer"], status="revoked", revoked_at=NOW)
    fields = {name: getattr(lab, name) for name in type(lab).__dataclass_fields__}
    with pytest.raises(UntrustedIssuer) as refused:
        parse_retraction(GOOD.token).verify(type(lab)(**fields | {"record_keys": {key.key_id: key}}), now=NOW)
    assert refused.value.reason == "KEY_NOT_VALID"


def test_a_retraction_of_a_revoked_key_counts_where_it_was_in_the_log_before():
    lab = organisation(LAB).organisation
    key = record_key(VALUES["signer"], status="revoked", revoked_at=NOW + 60)
    later = replace(lab, record_keys={key.key_id: key})
    assert parse_retraction(GOOD.token).verify(later, now=NOW, logged_at=NOW + 59) == GOOD
    with pytest.raises(UntrustedIssuer) as refused:
        parse_retraction(GOOD.token).verify(later, now=NOW, logged_at=NOW + 60)
    assert refused.value.reason == "KEY_NOT_VALID"


def test_what_recipients_would_refuse_is_not_signed():
    for changes in ({"action": Action.CORRECT}, {"successor": SUCCESSOR}, {"reason": "because"}, {"version": 0}):
        with pytest.raises(MalformedRecord):
            made(**changes)
