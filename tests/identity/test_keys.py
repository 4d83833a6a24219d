import json
import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.organisations import seeded
from tests.support.shared import shared
from tocsin.encoding import encode_base64url
from tocsin.errors import HomeDamaged, KeyExposed, MalformedIdentity
from tocsin.identity.keys import (
    from_jwk,
    generate_ed25519,
    generate_p256,
    load_private_key,
    save_private_key,
    thumbprint,
    to_jwk,
)
from tocsin.identity.signer import FileSigner, load_signer

# RFC 8037 appendices A.1 to A.4.
RFC_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
RFC_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
RFC_SIGNED = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
RFC_SIGNATURE = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"


@pytest.fixture
def key():
    return generate_ed25519(seeded("key"))


def seed_of(private):
    return private.private_bytes_raw()


def test_key_jwk_thumbprint_and_signature_are_those_of_rfc_8037():
    signer = FileSigner(generate_ed25519(lambda count: RFC_SEED[:count]))
    jwk = to_jwk(from_jwk({"kty": "OKP", "crv": "Ed25519", "x": RFC_X}))
    assert jwk == {"kty": "OKP", "crv": "Ed25519", "x": RFC_X}
    assert thumbprint(jwk) == thumbprint({**jwk, "alg": "Ed25519", "kid": "other"}) == signer.key_id == RFC_THUMBPRINT
    assert encode_base64url(signer.sign(RFC_SIGNED)) == RFC_SIGNATURE
    assert encode_base64url(signer.public_key) == RFC_X


@pytest.mark.parametrize(
    "member", [{"alg": "Ed25519"}, {"alg": "EdDSA"}, {"use": "sig"}, {"key_ops": ["verify"]}, {"kid": "anything"}]
)
def test_a_jwk_may_say_more_that_fits(member):
    assert from_jwk({"kty": "OKP", "crv": "Ed25519", "x": RFC_X, **member})


BAD_JWKS = {
    "no kty": {"kty": None},
    "kty of another type": {"kty": "EC"},
    "kty in lower case": {"kty": "okp"},
    "key agreement": {"crv": "X25519"},
    "curve in lower case": {"crv": "ed25519"},
    "algorithm of another key": {"alg": "ES256"},
    "no algorithm": {"alg": "none"},
    "for encryption": {"use": "enc"},
    "for signing": {"key_ops": ["sign"]},
    "private key": {"d": encode_base64url(RFC_SEED)},
    "no x": {"x": None},
    "x is a number": {"x": 1},
    "x is padded": {"x": RFC_X + "="},
    "x has white space": {"x": RFC_X + "\n"},
    "x with trailing bits": {"x": RFC_X[:-1] + "p"},
    "x in base64": {"x": RFC_X.replace("_", "/")},
}


@pytest.mark.parametrize("change", BAD_JWKS.values(), ids=BAD_JWKS)
def test_a_jwk_that_contradicts_itself_is_refused(change):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": RFC_X} | change
    with pytest.raises(MalformedIdentity) as refusal:
        from_jwk({name: value for name, value in jwk.items() if value is not None})
    assert refusal.value.reason == "BAD_IDENTITY"


def test_wycheproof_jwks_of_ed25519_are_read_and_all_others_refused():
    folder = shared("vectors/wycheproof/testvectors_v1")
    names = ("ed25519_test.json", "json_web_key_test.json", "json_web_signature_test.json")
    groups = [group for name in names for group in json.loads((folder / name).read_bytes())["testGroups"]]
    jwks = [jwk for group in groups for jwk in public_jwks(group)]
    ours = [jwk for jwk in jwks if jwk.get("crv") == "Ed25519"]
    assert len(ours) > 10
    assert len(jwks) > len(ours)
    for jwk in jwks:
        if jwk in ours:
            assert to_jwk(from_jwk(jwk))["x"] == jwk["x"]
        else:
            with pytest.raises(MalformedIdentity):
                from_jwk(jwk)


def public_jwks(group):
    if "publicKeyJwk" in group:
        return [group["publicKeyJwk"]]
    public = group.get("public", {})
    return public.get("keys", [public] if public else [])


@pytest.mark.parametrize("make", [generate_ed25519, generate_p256])
@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_saved_key_is_read_again_and_only_its_owner_may(tmp_path, make, passphrase):
    path = tmp_path / "record.pem"
    key = make(seeded("saved"))
    save_private_key(path, key, passphrase=passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["record.pem"]
    loaded = load_private_key(path, passphrase=passphrase)
    assert loaded.public_key() == key.public_key()
    marker = b"ENCRYPTED PRIVATE KEY" if passphrase else b"BEGIN PRIVATE KEY"
    assert marker in path.read_bytes()


def test_the_mode_does_not_depend_on_the_umask(tmp_path, key):
    before = os.umask(0)
    try:
        save_private_key(tmp_path / "record.pem", key, passphrase=None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "record.pem").stat().st_mode) == 0o600


def test_a_saved_key_replaces_another_whole_and_what_a_crash_left_behind(tmp_path, key):
    path = tmp_path / "tls.pem"
    (tmp_path / ".tls.pem.new").write_bytes(b"half a ke")
    save_private_key(path, generate_p256(seeded("old")), passphrase=None)
    save_private_key(path, key, passphrase=None)
    assert seed_of(load_private_key(path)) == seed_of(key)
    assert [file.name for file in tmp_path.iterdir()] == ["tls.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o777])
def test_a_key_that_others_may_touch_is_refused_before_it_is_read(tmp_path, key, mode):
    path = tmp_path / "record.pem"
    save_private_key(path, key, passphrase=None)
    path.chmod(mode)
    with pytest.raises(KeyExposed) as refusal:
        load_private_key(path)
    assert refusal.value.reason == "KEY_EXPOSED"
    assert refusal.value.where == str(path)
    assert refusal.value.hint == f"chmod 600 {path}"
    assert f"{mode:04o}" in refusal.value.message


def test_a_key_of_another_user_is_refused(tmp_path, key, monkeypatch):
    path = tmp_path / "record.pem"
    save_private_key(path, key, passphrase=None)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(KeyExposed) as refusal:
        load_private_key(path)
    assert "another user" in refusal.value.message


@pytest.mark.parametrize(
    ("saved", "given", "words"),
    [(None, b"given", "has no passphrase"), (b"set", None, "needs a passphrase"), (b"set", b"wrong", "is wrong")],
    ids=["one where there is none", "none where there is one", "a wrong one"],
)
def test_a_passphrase_must_be_the_right_one(tmp_path, key, saved, given, words):
    path = tmp_path / "record.pem"
    save_private_key(path, key, passphrase=saved)
    with pytest.raises(HomeDamaged) as refusal:
        load_private_key(path, passphrase=given)
    assert words in refusal.value.message
    assert "given" not in str(refusal.value.hint)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"x" * 1_000_000],
    ids=["empty", "zeros", "no key inside", "far too large"],
)
def test_a_file_that_is_no_key_is_damage(tmp_path, content):
    path = tmp_path / "record.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(HomeDamaged) as refusal:
        load_private_key(path)
    assert refusal.value.reason == "HOME_DAMAGED"
    assert refusal.value.hint


def test_half_a_key_file_is_damage(tmp_path, key):
    path = tmp_path / "record.pem"
    save_private_key(path, key, passphrase=None)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(HomeDamaged):
        load_private_key(path)


@pytest.mark.parametrize(
    "other",
    [ed448.Ed448PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())],
    ids=["Ed448", "P-384"],
)
def test_a_key_of_a_type_that_we_do_not_make_is_damage(tmp_path, other):
    path = tmp_path / "record.pem"
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(HomeDamaged) as refusal:
        load_private_key(path)
    assert "neither" in refusal.value.message


def test_a_missing_key_and_a_folder_in_its_place_are_damage(tmp_path):
    for path in (tmp_path / "missing.pem", tmp_path):
        with pytest.raises(HomeDamaged) as refusal:
            load_private_key(path)
        assert refusal.value.where == str(path)


def test_a_signer_is_opened_from_its_file(tmp_path, key):
    path = tmp_path / "record.pem"
    save_private_key(path, key, passphrase=b"set")
    signer = load_signer(path, passphrase=b"set")
    assert signer.public_key == key.public_key().public_bytes_raw()
    key.public_key().verify(signer.sign(b"data"), b"data")


def test_a_tls_key_signs_no_records(tmp_path):
    path = tmp_path / "tls.pem"
    save_private_key(path, generate_p256(seeded("tls")), passphrase=None)
    with pytest.raises(HomeDamaged) as refusal:
        load_signer(path)
    assert refusal.value.message == "the key is not an Ed25519 key"
