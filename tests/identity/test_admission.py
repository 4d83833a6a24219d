import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.support.organisations import seeded, signer
from tests.support.shared import shared
from tocsin.encoding import encode_base64url
from tocsin.errors import MalformedIdentity
from tocsin.identity.admission import verify_public_key
from tocsin.identity.keys import from_jwk

P = 2**255 - 19


def is_admitted(raw: bytes) -> bool:
    try:
        verify_public_key(raw)
    except MalformedIdentity as refusal:
        return refusal.reason != "WEAK_KEY"
    return True


def test_cctv_keys_are_refused_exactly_when_flagged_low_order_or_non_canonical():
    vectors = json.loads(shared("vectors/cctv/ed25519/ed25519vectors.json").read_bytes())
    flagged = {vector["key"]: {"low_order_A", "non_canonical_A"} & set(vector["flags"] or ()) for vector in vectors}
    assert len(flagged) == 22
    assert {key: not is_admitted(bytes.fromhex(key)) for key in flagged} == {key: bool(f) for key, f in flagged.items()}


def test_openssl_alone_would_verify_signatures_under_some_of_these_keys():
    vectors = json.loads(shared("vectors/cctv/ed25519/ed25519vectors.json").read_bytes())
    accepted = 0
    for vector in vectors:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["key"]))
        try:
            key.verify(bytes.fromhex(vector["sig"]), vector["msg"].encode())
        except InvalidSignature:
            continue
        accepted += not is_admitted(bytes.fromhex(vector["key"]))
    assert accepted == 122


def test_every_public_key_of_wycheproof_is_admitted():
    groups = json.loads(shared("vectors/wycheproof/testvectors_v1/ed25519_test.json").read_bytes())["testGroups"]
    keys = {group["publicKey"]["pk"] for group in groups}
    assert len(keys) > 1
    assert all(is_admitted(bytes.fromhex(key)) for key in keys)


def test_keys_that_we_generate_are_admitted():
    assert all(is_admitted(signer(f"key {number}").public_key) for number in range(20))


def test_half_of_all_encodings_are_no_point_of_the_curve():
    random = seeded("not points")
    refused = sum(not is_admitted(random(31) + b"\0") for _ in range(200))
    assert 70 < refused < 130


BAD_KEYS = {
    "empty": b"",
    "31 bytes": bytes(31),
    "33 bytes": bytes(33),
    "the identity": (1).to_bytes(32, "little"),
    "the identity with a sign": (1 | 1 << 255).to_bytes(32, "little"),
    "order 2": (P - 1).to_bytes(32, "little"),
    "order 4": bytes(32),
    "p itself": P.to_bytes(32, "little"),
    "all ones": b"\xff" * 32,
    "a point of the curve with p added to y": (P + 3).to_bytes(32, "little"),
    "not on the curve": (2).to_bytes(32, "little"),
}


@pytest.mark.parametrize("raw", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_weak_key_is_refused_also_as_a_jwk(raw):
    with pytest.raises(MalformedIdentity) as refusal:
        from_jwk({"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(raw)})
    assert refusal.value.reason == "WEAK_KEY"
