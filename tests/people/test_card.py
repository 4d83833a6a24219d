"""How a person introduces itself."""

from dataclasses import replace

import pytest
from cryptography import x509

from tests.support.organisations import NOW, found, seeded
from tests.support.people import colleague
from tocsin.encoding import decode_base64url, dump_json, encode_base64url, parse_json
from tocsin.errors import Malformed, MalformedIdentity, MalformedRecord, SignatureMismatch
from tocsin.identity.certificate import make_certificate
from tocsin.identity.keys import generate_p256
from tocsin.identity.names import OrgId
from tocsin.people.card import CARD_TYPE, make_card, parse_card
from tocsin.people.person import Role
from tocsin.records.jws import sign

LAB = OrgId("lab-a.example")
ANALYST, OTHER = colleague("analyst-1", LAB), colleague("counsel", LAB)


def test_a_card_introduces_the_person_who_made_it():
    card = parse_card(ANALYST.card, org=LAB)
    assert card.admit([Role.ANALYST], now=NOW) == ANALYST.person(Role.ANALYST)


def test_white_space_around_a_card_is_nothing():
    assert parse_card(f"\n{ANALYST.card} \n", org=LAB).name == "analyst-1"


def signed_by(claims: dict[str, object], by=ANALYST) -> str:
    return sign(dump_json(claims), typ=CARD_TYPE, signer=by.signer)


def claims_of(person=ANALYST, **changes: object) -> dict[str, object]:
    claims = parse_json(decode_base64url(person.card.split(".")[1]))
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def foreign_certificate() -> str:
    return encode_base64url(found("lab-b.example").organisation.node_certs[0])


def wide_certificate() -> str:
    """A certificate that is good for another organisation's name."""
    key = generate_p256(seeded("wide"))
    return encode_base64url(make_certificate(OrgId("evil.example"), private_key=key, now=NOW, random=seeded("serial")))


REFUSED = {
    "another key than the one that signed": (
        lambda: signed_by(claims_of(), by=OTHER),
        MalformedRecord,
        "BAD_CLAIM",
    ),
    "no certificate": (lambda: signed_by(claims_of(certificate=None)), MalformedRecord, "BAD_CLAIM"),
    "a claim too many": (lambda: signed_by(claims_of(roles=["operator"])), MalformedRecord, "BAD_CLAIM"),
    "a name that is a number": (lambda: signed_by(claims_of(name=7)), MalformedRecord, "BAD_CLAIM"),
    "a name that is none": (lambda: signed_by(claims_of(name="../x")), Malformed, "BAD_NAME"),
    "another organisation's certificate": (
        lambda: signed_by(claims_of(certificate=foreign_certificate())),
        MalformedIdentity,
        "BAD_IDENTITY",
    ),
    "a certificate for another name": (
        lambda: signed_by(claims_of(certificate=wide_certificate())),
        MalformedIdentity,
        "BAD_IDENTITY",
    ),
    "a key that anybody can sign for": (
        lambda: signed_by(claims_of(key={"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(bytes(32))})),
        MalformedIdentity,
        "WEAK_KEY",
    ),
    "a token of another type": (
        lambda: sign(dump_json(claims_of()), typ="tocsin-act+jwt", signer=ANALYST.signer),
        MalformedRecord,
        "BAD_TYP",
    ),
    "a signature that was cut": (lambda: ANALYST.card[:-8] + "AAAAAAAA", Malformed, None),
    "no card at all": (lambda: "hello", MalformedRecord, "BAD_FORM"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_card_is_refused_that_has(case):
    card, error, reason = REFUSED[case]
    with pytest.raises((error, SignatureMismatch)) as refused:
        parse_card(card(), org=LAB)
    assert reason is None or refused.value.reason == reason


def test_a_person_is_known_by_the_key_of_its_certificate():
    person = ANALYST.person()
    certificate = x509.load_der_x509_certificate(person.certificate)
    assert certificate.subject.rdns[0].rfc4514_string() == f"CN={person.pin}"


def test_a_card_with_another_certificate_is_another_card():
    other = make_card("analyst-1", signer=ANALYST.signer, certificate=OTHER.certificate)
    assert parse_card(other, org=LAB).admit([Role.ANALYST], now=NOW) == replace(
        ANALYST.person(Role.ANALYST), certificate=OTHER.certificate
    )
