"""This module verifies signatures: Ed25519 and ECDSA P-256, each under the names JOSE gives it.

    OKP / Ed25519   EdDSA (RFC 8037), Ed25519 (RFC 9864)   64 bytes R || S
    EC / P-256      ES256 (RFC 7518 section 3.4)           64 bytes r || s

The algorithm follows from the key: a token may only agree with it.

Ed25519 is verified by libsodium. On the Wycheproof vectors it accepts and
refuses what OpenSSL does, and of the edge cases of CCTV it accepts fewer: no
point of low order, neither as key nor as R. It takes about half the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from nacl.bindings import crypto_sign_BYTES, crypto_sign_open
from nacl.exceptions import BadSignatureError

from tocsin.encoding import decode_base64url
from tocsin.errors import MalformedIdentity, SignatureMismatch
from tocsin.identity.keys import from_jwk

ED25519_NAMES = frozenset({"Ed25519", "EdDSA"})
"""Both names are read; RFC 9864 deprecates the second, and many libraries know only that one."""

COORDINATE_BYTES = 32


class VerifyingKey(Protocol):
    """A public key that knows its algorithm."""

    algorithms: ClassVar[frozenset[str]]

    def verify(self, signature: bytes, *, message: bytes) -> None:
        """Raise SignatureMismatch unless the signature is that of the message."""


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """An Ed25519 public key (RFC 8032 section 5.1.5)."""

    algorithms: ClassVar[frozenset[str]] = ED25519_NAMES

    raw: bytes

    def verify(self, signature: bytes, *, message: bytes) -> None:
        """Verify as RFC 8032 section 5.1.7 says, without the cofactor; raises SignatureMismatch."""
        # The binding takes signature and message in one piece: a shorter signature would borrow from the message.
        if len(signature) != crypto_sign_BYTES:
            raise _mismatch()
        try:
            crypto_sign_open(signature + message, self.raw)
        except BadSignatureError as error:
            raise _mismatch() from error


@dataclass(frozen=True, slots=True)
class P256Key:
    """A public key on the curve P-256."""

    algorithms: ClassVar[frozenset[str]] = frozenset({"ES256"})

    key: ec.EllipticCurvePublicKey

    def verify(self, signature: bytes, *, message: bytes) -> None:
        """Verify r || s as RFC 7518 section 3.4 says; raises SignatureMismatch."""
        if len(signature) != 2 * COORDINATE_BYTES:
            raise _mismatch()
        r, s = signature[:COORDINATE_BYTES], signature[COORDINATE_BYTES:]
        der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        try:
            self.key.verify(der, message, ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise _mismatch() from error


def parse_jwk(jwk: Mapping[str, object]) -> VerifyingKey:
    """Read a public key from a JWK; members beyond the key itself are not looked at.

    Raises MalformedIdentity (BAD_IDENTITY, or WEAK_KEY for a point that is
    none) and MalformedEncoding for a coordinate that is not base64url.
    """
    match jwk:
        case {"kty": "OKP", "crv": "Ed25519", "x": str(x)}:
            key = from_jwk({"kty": "OKP", "crv": "Ed25519", "x": x})
            return Ed25519Key(key.public_bytes_raw())
        case {"kty": "EC", "crv": "P-256", "x": str(x), "y": str(y)}:
            return P256Key(_p256_point(x, y))
    hint = 'kty "OKP" with crv "Ed25519" and x, or kty "EC" with crv "P-256", x and y'
    raise MalformedIdentity("the JWK is not a public key of a kind known here", reason="BAD_IDENTITY", hint=hint)


def _p256_point(x: str, y: str) -> ec.EllipticCurvePublicKey:
    coordinates = decode_base64url(x), decode_base64url(y)
    if any(len(coordinate) != COORDINATE_BYTES for coordinate in coordinates):
        raise MalformedIdentity("a coordinate of the JWK has not 32 bytes", reason="BAD_IDENTITY")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + b"".join(coordinates))
    except ValueError as error:
        raise MalformedIdentity("the point of the JWK is not on the curve P-256", reason="WEAK_KEY") from error


def _mismatch() -> SignatureMismatch:
    return SignatureMismatch("the signature does not verify")
