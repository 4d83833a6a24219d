"""This module signs bytes as a compact JWS and reads one back strictly (RFC 7515 section 7.1).

    BASE64URL(header) . BASE64URL(payload) . BASE64URL(signature)

Our own tokens, whatever their type, have exactly this header:

    {"alg": "Ed25519", "typ": "<the type>", "kid": "<RFC 7638 thumbprint>"}

`typ` says what a token is, so that none passes for another (RFC 8725 section
3.11). A header that brings its own key or asks for extensions is refused;
nothing is ever fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.encoding import JSON, decode_base64url, dump_json, encode_base64url, parse_json
from tocsin.errors import MalformedRecord, RecordExpired, WrongAlgorithm
from tocsin.identity.names import KeyId
from tocsin.identity.signer import Signer
from tocsin.records.signature import ED25519_NAMES, Ed25519Key, VerifyingKey

ALGORITHM = "Ed25519"
HEADER_NAMES = frozenset({"alg", "typ", "kid"})
PARTS = 3

CLOCK_SKEW = 300
"""Seconds by which honest clocks may differ (RFC 7519 section 4.1.4: usually no more than a few minutes)."""


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """A JWS of the right form: nothing in it may be believed yet."""

    header: Mapping[str, JSON]
    payload: bytes
    signature: bytes
    signing_input: bytes

    @property
    def key_id(self) -> KeyId:
        """The key that is said to have signed; empty where the header names none."""
        key_id = self.header.get("kid", "")
        return KeyId(key_id if isinstance(key_id, str) else "")


def sign(payload: bytes, *, typ: str, signer: Signer) -> str:
    """Return the compact JWS of the payload, signed as a token of this type."""
    header = dump_json({"alg": ALGORITHM, "typ": typ, "kid": signer.key_id})
    signing_input = f"{encode_base64url(header)}.{encode_base64url(payload)}"
    return f"{signing_input}.{encode_base64url(signer.sign(signing_input.encode('ascii')))}"


def split_jws(token: str) -> UnverifiedJws:
    """Take a compact JWS apart, whatever its header says.

    Raises MalformedRecord (BAD_FORM, BAD_HEADER) and MalformedEncoding
    (BAD_ENCODING, BAD_JSON).
    """
    parts = token.split(".")
    if len(parts) != PARTS:
        raise MalformedRecord(f"a JWS has {PARTS} parts, not {len(parts)}", reason="BAD_FORM")
    header = parse_json(decode_base64url(parts[0]))
    if not isinstance(header, dict):
        raise MalformedRecord("the header is not an object", reason="BAD_HEADER")
    payload, signature = decode_base64url(parts[1]), decode_base64url(parts[2])
    return UnverifiedJws(
        header=header,
        payload=payload,
        signature=signature,
        signing_input=token[: token.rindex(".")].encode("ascii"),
    )


def parse_jws(token: str, *, typ: str) -> UnverifiedJws:
    """Read a token of ours, of the type expected. Nothing is verified but its form.

    Raises WrongAlgorithm before any key could be looked up, then
    MalformedRecord (BAD_TYP, BAD_HEADER) and what `split_jws` raises.
    """
    jws = split_jws(token)
    verify_algorithm(jws, allowed=ED25519_NAMES)
    if jws.header.get("typ") != typ:
        raise MalformedRecord(f"the type must be {typ}", reason="BAD_TYP")
    if jws.header.keys() != HEADER_NAMES or not jws.key_id:
        raise MalformedRecord("the header must have exactly the members alg, typ and kid", reason="BAD_HEADER")
    return jws


def verify_jws(jws: UnverifiedJws, *, public_key: bytes) -> dict[str, JSON]:
    """Verify a token of ours under a raw Ed25519 key, and return its claims.

    The caller MUST have found the key under the issuer it expects, by
    `jws.key_id`, and must still check what the claims say.

    Raises SignatureMismatch, MalformedEncoding (BAD_JSON) and MalformedRecord
    (BAD_FORM) for a payload that is not an object.
    """
    Ed25519Key(public_key).verify(jws.signature, message=jws.signing_input)
    return parse_claims(jws)


def parse_claims(jws: UnverifiedJws) -> dict[str, JSON]:
    """Read the payload as a set of claims (RFC 7519 section 7.2, step 10), without believing them."""
    claims = parse_json(jws.payload)
    if not isinstance(claims, dict):
        raise MalformedRecord("the payload is not an object", reason="BAD_FORM")
    return claims


def verify_algorithm(jws: UnverifiedJws, *, allowed: frozenset[str]) -> None:
    """Refuse a token signed, or said to be signed, in another way; raises WrongAlgorithm."""
    algorithm = jws.header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise WrongAlgorithm(f"the algorithm must be {' or '.join(sorted(allowed))}")


def verify_header(jws: UnverifiedJws, *, key: VerifyingKey) -> None:
    """Refuse a foreign token whose header asks for another algorithm or for extensions.

    Other members mean nothing here: a key or a certificate that the header
    brings along is not looked at.

    Raises WrongAlgorithm, MalformedRecord (BAD_HEADER).
    """
    verify_algorithm(jws, allowed=key.algorithms)
    if "crit" in jws.header or "b64" in jws.header:  # RFC 7515 section 4.1.11; RFC 7797 section 7: no b64 in a JWT
        raise MalformedRecord("the header asks for extensions", reason="BAD_HEADER")


def verify_times(claims: Mapping[str, JSON], *, now: int, skew: int = 0) -> None:
    """Check exp, nbf and iat where they are present (RFC 7519 section 4.1).

    `skew` is what exp and nbf are forgiven. An old iat alone is fine; one
    further ahead of `now` than honest clocks differ is not.

    Raises RecordExpired, MalformedRecord (BAD_CLAIM).
    """
    expires, starts, issued = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is not None and now >= expires + skew:
        raise RecordExpired("expired")
    if starts is not None and now < starts - skew:
        raise RecordExpired("not valid yet")
    if issued is not None and issued > now + CLOCK_SKEW:
        raise RecordExpired("issued in the future", hint="compare the clocks of both sides")


def claimed_time(claims: Mapping[str, JSON]) -> int:
    """Return the iat of claims that are not to be believed yet; 0 where there is none."""
    issued = claims.get("iat")
    return issued if isinstance(issued, int) else 0


def _seconds(claims: Mapping[str, JSON], name: str) -> int | float | None:
    """Return a NumericDate (RFC 7519 section 2), None where there is none."""
    if name not in claims:
        return None
    seconds = claims[name]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise MalformedRecord(f"{name} is not a number of seconds", reason="BAD_CLAIM")
    return seconds
