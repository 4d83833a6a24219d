"""The reference implementation of RFC 9901 reads our records, and we read its tokens."""

import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwcrypto.jwk import JWK
from sd_jwt.common import SDObj
from sd_jwt.holder import SDJWTHolder
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.verifier import SDJWTVerifier

from tests.records.forge import Ed25519Forger, P256Forger
from tests.support.organisations import NOW, found, seeded
from tocsin.encoding import encode_base64url
from tocsin.identity.names import RecordId
from tocsin.records.record import Draft, issue
from tocsin.records.sdjwt import verify_sdjwt

A = found("lab-a.example")
CONTENT = {
    "title": "Ein Titel mit Ümläuten 🚨",
    "finding_kind": "hazard",
    "severity": "low",
    "subjects": [{"kind": "model", "name": "M", "version": "1"}, {"kind": "tool", "name": "N"}],
    "cwe": ["CWE-1427"],
    "success_rate": {"n": 100, "k": 7, "ci_low": 0.03},
}
PUBLIC = {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(A.record.public_key)}


def make():
    draft = Draft(record_id=RecordId("1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11"), kind="finding", tlp="GREEN")
    return issue(draft, CONTENT, issuer=A.organisation.org, signer=A.record, now=NOW, random=seeded("interop"))


def reference_reads(token):
    verifier = SDJWTVerifier(token, lambda _issuer, _header: JWK(**PUBLIC))
    return verifier.get_verified_payload()


def test_the_reference_implementation_accepts_a_whole_record():
    claims = reference_reads(make().token)
    rate = CONTENT["success_rate"] | {"success_band": "0.01-0.1"}
    assert claims["content"] == CONTENT | {"success_rate": rate}
    assert (claims["iss"], claims["tlp"], claims["kind"]) == ("lab-a.example", "GREEN", "finding")


def test_the_reference_implementation_accepts_a_redacted_record():
    claims = reference_reads(make().present(frozenset({"title", "subjects[*].name", "success_rate.n"})))
    assert claims["content"] == {
        "title": CONTENT["title"],
        "finding_kind": "hazard",
        "subjects": [{"name": "M"}, {"name": "N"}],
        "success_rate": {"n": 100},
    }


def test_the_reference_implementation_redacts_a_record_as_we_do():
    holder = SDJWTHolder(make().token)
    holder.create_presentation({"content": {"title": True}})
    found_here = verify_sdjwt(holder.sd_jwt_presentation, jwk=PUBLIC, now=NOW)
    assert found_here.payload["content"] == {"title": CONTENT["title"], "finding_kind": "hazard"}


def pem(key):
    return JWK.from_pem(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize(
    ("forger", "algorithm"), [(Ed25519Forger(), "EdDSA"), (P256Forger(), "ES256")], ids=["EdDSA", "ES256"]
)
def test_a_token_of_the_reference_implementation_is_accepted(forger, algorithm):
    claims = {
        "iss": "https://issuer.example",
        "iat": NOW,
        SDObj("name"): "Ümlaut",
        SDObj("address"): {SDObj("street"): "S", "country": "C"},
        "nationalities": [SDObj("XA"), SDObj("XB"), "XC"],
    }
    issuer = SDJWTIssuer(claims, issuer_key=pem(forger.key), sign_alg=algorithm, add_decoy_claims=True)
    token = issuer.sd_jwt_issuance
    assert verify_sdjwt(token, jwk=forger.jwk, now=NOW).payload == {
        "iss": "https://issuer.example",
        "iat": NOW,
        "name": "Ümlaut",
        "address": {"street": "S", "country": "C"},
        "nationalities": ["XA", "XB", "XC"],
    }
    holder = SDJWTHolder(token)
    holder.create_presentation({"nationalities": [False, True]})
    shown = verify_sdjwt(holder.sd_jwt_presentation, jwk=forger.jwk, now=NOW).payload
    assert json.dumps(shown["nationalities"]) == '["XB", "XC"]'
