"""Signatures that others made: Project Wycheproof, CCTV, and the JOSE cookbook."""

import json
from collections import Counter

import pytest

from tests.support.shared import shared
from tocsin.encoding import encode_base64url
from tocsin.errors import MalformedIdentity, SignatureMismatch
from tocsin.records.jws import split_jws, verify_header
from tocsin.records.signature import Ed25519Key, parse_jwk


def read_json(path):
    return json.loads(shared(path).read_text())


def is_valid(key, *, signature, message):
    try:
        key.verify(signature, message=message)
    except SignatureMismatch:
        return False
    return True


def test_every_ed25519_signature_of_wycheproof_is_judged_as_wycheproof_does():
    judged = Counter()
    for group in read_json("vectors/wycheproof/testvectors_v1/ed25519_test.json")["testGroups"]:
        raw = bytes.fromhex(group["publicKey"]["pk"])
        key = parse_jwk({"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(raw)})
        for case in group["tests"]:
            signature, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
            found = is_valid(key, signature=signature, message=message)
            assert found == (case["result"] == "valid"), f"{case['tcId']}: {case['comment']}"
            judged[case["result"]] += 1
    assert judged == {"valid": 88, "invalid": 63}


def test_no_signature_of_cctv_with_a_point_of_low_order_or_a_second_encoding_verifies():
    valid = Counter()
    for case in read_json("vectors/cctv/ed25519/ed25519vectors.json"):
        raw, signature = bytes.fromhex(case["key"]), bytes.fromhex(case["sig"])
        if is_valid(Ed25519Key(raw), signature=signature, message=case["msg"].encode()):
            valid.update(case["flags"] or ["nothing special"])
    # Points that are honest but for a component of low order cannot be told apart and are not dangerous here.
    assert valid == {"low_order_component_A": 42, "low_order_component_R": 35, "nothing special": 1}


def test_the_jws_of_rfc_8037_verifies():
    case = read_json("vectors/jose-cookbook/curve25519/jws.json")
    key = parse_jwk(case["input"]["key"])
    jws = split_jws(case["output"]["compact"])
    verify_header(jws, key=key)
    assert is_valid(key, signature=jws.signature, message=jws.signing_input)
    assert jws.payload == case["input"]["payload"].encode()
    assert not is_valid(key, signature=jws.signature, message=jws.signing_input + b"x")


def test_the_key_of_rfc_8037_for_agreement_is_not_one_for_signatures():
    case = read_json("vectors/jose-cookbook/curve25519/ecdh-es.json")
    agreement = find_okp(case)
    assert agreement["crv"] == "X25519"
    with pytest.raises(MalformedIdentity) as refusal:
        parse_jwk(agreement)
    assert refusal.value.reason == "BAD_IDENTITY"


def find_okp(value):
    """Return the first OKP key anywhere in the cookbook's case."""
    if isinstance(value, dict):
        if value.get("kty") == "OKP":
            return value
        value = list(value.values())
    if isinstance(value, list):
        return next((key for item in value if (key := find_okp(item))), None)
    return None
