"""This module verifies the key binding of a presentation (RFC 9901 sections 4.3 and 7.3).

    {"alg": …, "typ": "kb+jwt"} . {"iat": …, "aud": …, "nonce": …, "sd_hash": …} . signature

The holder signs, with the key that the issuer put into `cnf`, exactly what is
presented and for whom. Our own nodes sign whole pages instead and never send
one; this is for tokens of others.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.encoding import JSON
from tocsin.errors import DisclosureMismatch, MalformedRecord, RecordExpired
from tocsin.records.disclosure import digest_of
from tocsin.records.jws import parse_claims, split_jws, verify_header, verify_times
from tocsin.records.signature import parse_jwk

KB_TYPE = "kb+jwt"

MAX_AGE = 300
"""Seconds for which a key binding is fresh: it answers a nonce that was just given out."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What the verifier expects a key binding to answer."""

    nonce: str
    audience: str


def verify_binding(token: str, *, presented: str, payload: Mapping[str, JSON], binding: Binding, now: int) -> None:
    """Verify that the holder bound what was presented to this nonce and audience.

    These are the steps of RFC 9901 section 7.3 (5):
      a. the key is the one in `cnf` of the processed payload
      b. the algorithm is that of the key
      c. the type is kb+jwt
      d. the signature verifies
      e. it was made just now
      f. nonce and audience are those expected
      g. sd_hash is that of what was presented

    Raises Malformed and RecordRefused errors.
    """
    jws = split_jws(token)
    confirmation = payload.get("cnf")
    jwk = confirmation.get("jwk") if isinstance(confirmation, dict) else None
    if not isinstance(jwk, dict):
        raise MalformedRecord("there is no key in cnf to bind to", reason="MISSING_CLAIM")
    key = parse_jwk(jwk)  # a
    verify_header(jws, key=key)  # b
    if jws.header.get("typ") != KB_TYPE:  # c
        raise MalformedRecord(f"the key binding's type must be {KB_TYPE}", reason="BAD_TYP")
    key.verify(jws.signature, message=jws.signing_input)  # d
    claims = parse_claims(jws)
    verify_times(claims, now=now)
    issued = claims.get("iat")
    if not isinstance(issued, int | float):
        raise MalformedRecord("the key binding has no iat", reason="MISSING_CLAIM")
    if now - issued > MAX_AGE:  # e; the future was refused above
        raise RecordExpired("the key binding is not fresh")
    if claims.get("nonce") != binding.nonce or claims.get("aud") != binding.audience:  # f
        raise MalformedRecord("the key binding answers another nonce or audience", reason="BAD_CLAIM")
    if claims.get("sd_hash") != digest_of(presented):  # g
        raise DisclosureMismatch("the key binding is for other disclosures", reason="BAD_DISCLOSURE")
