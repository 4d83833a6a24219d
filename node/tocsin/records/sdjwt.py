"""This module reads, verifies and puts together SD-JWTs as RFC 9901 defines them.

    <issuer-signed JWT>~<disclosure>~…~<disclosure>~                   SD-JWT
    <issuer-signed JWT>~<disclosure>~…~<disclosure>~<key binding JWT>  SD-JWT+KB

Only the compact form of section 4 is read, not the JSON serialisations of
section 8. The algorithm follows from the key given (`tocsin.records.signature`)
and the only hash is SHA-256, which section 4.1.1 makes the default.

Withholding is leaving disclosures out: the signature covers the JWT alone.
What our own records must satisfy on top is in `tocsin.records.record`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tocsin.encoding import JSON
from tocsin.errors import MalformedRecord
from tocsin.records.disclosure import MAX_DISCLOSURES, SD_ALG, Disclosure, unfold
from tocsin.records.jws import parse_claims, split_jws, verify_header, verify_times
from tocsin.records.keybinding import KB_TYPE, Binding, verify_binding
from tocsin.records.signature import parse_jwk

HASH = "sha-256"

MAX_TOKEN = 1024 * 1024
"""Characters of a token. The largest field allowed is half of that, in base64url less than three quarters."""


@dataclass(frozen=True, slots=True)
class UnverifiedSdJwt:
    """The parts of an SD-JWT; `key_binding` is empty where there is none."""

    issuer_jwt: str
    disclosures: tuple[str, ...]
    key_binding: str


@dataclass(frozen=True, slots=True)
class SdJwt:
    """A verified SD-JWT: what its issuer signed, as far as it is disclosed."""

    header: Mapping[str, object]
    payload: Mapping[str, JSON]
    disclosures: tuple[Disclosure, ...]


def split_sdjwt(token: str) -> UnverifiedSdJwt:
    """Take the compact form apart within the limits; nothing is decoded or hashed yet.

    Raises MalformedRecord (TOO_COMPLEX, BAD_FORM).
    """
    if len(token) > MAX_TOKEN:
        raise MalformedRecord(f"the token is longer than {MAX_TOKEN} characters", reason="TOO_COMPLEX")
    issuer_jwt, *disclosures, last = token.split("~", MAX_DISCLOSURES + 2) if "~" in token else ("", token)
    if len(disclosures) > MAX_DISCLOSURES:
        raise MalformedRecord(f"the token has more than {MAX_DISCLOSURES} disclosures", reason="TOO_COMPLEX")
    if not issuer_jwt:
        raise MalformedRecord("an SD-JWT has a JWT in front and a tilde at its end", reason="BAD_FORM")
    return UnverifiedSdJwt(issuer_jwt, tuple(disclosures), key_binding=last)


def join_sdjwt(issuer_jwt: str, disclosures: Iterable[str]) -> str:
    """Put an SD-JWT together from what its issuer signed and the disclosures that are to be seen."""
    return "~".join((issuer_jwt, *disclosures, ""))


def verify_sdjwt(token: str, *, jwk: Mapping[str, object], now: int, binding: Binding | None = None) -> SdJwt:
    """Verify an SD-JWT of any issuer under the issuer's public key.

    These are the steps of RFC 9901 section 7.1:
      1.  take the token apart
      2a. the algorithm is that of the key, never `none`
      2b. the signature verifies
      2c. the key is the issuer's: the caller MUST have chosen `jwk` so
      2d. `_sd_alg` is known, or absent for the default
      3–5. the disclosures fit (`tocsin.records.disclosure.unfold`)
      6.  the processed payload is valid at `now` (unix seconds)
    and of section 7.3: a key binding is there exactly where one is expected, and verifies.

    Raises Malformed and RecordRefused errors, each with the reason of its rule.
    """
    parts = split_sdjwt(token)  # 1
    if bool(parts.key_binding) != (binding is not None):
        problem = "no key binding is expected" if binding is None else "the key binding is missing"
        raise MalformedRecord(f"{problem}, or the last tilde is missing", reason="BAD_FORM")
    jws = split_jws(parts.issuer_jwt)
    key = parse_jwk(jwk)  # 2c
    verify_header(jws, key=key)  # 2a
    if jws.header.get("typ") == KB_TYPE:  # section 4.3: so named that it cannot pass for what an issuer signed
        raise MalformedRecord("a key binding stands where the issuer's JWT belongs", reason="BAD_TYP")
    key.verify(jws.signature, message=jws.signing_input)  # 2b
    claims = parse_claims(jws)
    if claims.get(SD_ALG, HASH) != HASH:  # 2d
        raise MalformedRecord(f"_sd_alg must be {HASH}", reason="BAD_HASH")
    payload, disclosures = unfold(claims, disclosures=parts.disclosures)  # 3 to 5
    verify_times(payload, now=now)  # 6
    if binding is not None:
        presented = token.removesuffix(parts.key_binding)
        verify_binding(parts.key_binding, presented=presented, payload=payload, binding=binding, now=now)
    return SdJwt(header=jws.header, payload=payload, disclosures=disclosures)
