"""This module forges tokens: it signs whatever bytes a test gives it, well formed or not."""

import base64
import hashlib
import itertools
import json

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tocsin.identity.signer import FileSigner

NOW = 1_772_366_400  # as in tests.support.organisations


def b64(data):
    """Encode bytes, JSON values and text (as is) as base64url."""
    if isinstance(data, str):
        data = data.encode()
    elif not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def digest(text):
    return b64(hashlib.sha256(text.encode()).digest())


def disclose(*items):
    """Return text and digest of a disclosure of these items."""
    text = b64(list(items))
    return text, digest(text)


def drawn(seed):
    """Return a source of bytes that look random, are the same in every run, and cost little."""
    draws = itertools.count()
    return lambda count: hashlib.shake_256(f"{seed}/{next(draws)}".encode()).digest(count)


class Ed25519Forger:
    """Signs with an Ed25519 key made from a seed."""

    def __init__(self, seed=1):
        self.key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.signer = FileSigner(self.key)
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(self.key.public_key().public_bytes_raw())}
        self.header = {"alg": "EdDSA", "typ": "example+sd-jwt"}

    def sign(self, data):
        return self.key.sign(data)

    def jwt(self, payload, *, header=None, signature=None):
        """Return a compact JWS; header and payload are values, or bytes taken as they are."""
        signing_input = f"{b64(self.header if header is None else header)}.{b64(payload)}"
        signed = self.sign(signing_input.encode()) if signature is None else signature
        return f"{signing_input}.{b64(signed)}"

    def token(self, payload, *disclosures, header=None, signature=None, end=""):
        """Return an SD-JWT with these disclosures, each a text or the pair that `disclose` returns."""
        texts = [item if isinstance(item, str) else item[0] for item in disclosures]
        return "~".join([self.jwt(payload, header=header, signature=signature), *texts, end])


class P256Forger(Ed25519Forger):
    """Signs with a key on P-256, raw r || s."""

    def __init__(self, secret=7):
        self.key = ec.derive_private_key(secret, ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        x, y = (b64(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
        self.jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        self.header = {"alg": "ES256", "typ": "example+sd-jwt"}

    def sign_der(self, data):
        return self.key.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))

    def sign(self, data):
        r, s = decode_dss_signature(self.sign_der(data))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class RecordForger(Ed25519Forger):
    """Signs with an organisation's record key whatever is to pass for a record of it."""

    def __init__(self, founded):
        self.signer = founded.record
        self.issuer = founded.organisation.org
        self.header = {"alg": "Ed25519", "typ": "tocsin-record+sd-jwt", "kid": founded.record.key_id}

    def sign(self, data):
        return self.signer.sign(data)

    def claims(self, *, without=(), **changes):
        """Return the claims of a sound record of which nothing is withheld but what a test adds."""
        sound = {
            "iss": self.issuer,
            "iat": NOW,
            "record_id": "1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11",
            "version": 1,
            "kind": "finding",
            "schema": "tocsin.v1",
            "status": "issued",
            "tlp": "AMBER",
            "_sd_alg": "sha-256",
            "content": {"finding_kind": "hazard", "_sd": []},
        }
        return {name: value for name, value in (sound | changes).items() if name not in without}
