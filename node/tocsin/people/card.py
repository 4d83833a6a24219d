"""This module makes and reads the card by which a person introduces itself to an organisation's node.

A card is a JWS of type `tocsin-person+jwt`, by the key that it introduces:

    {"name": "counsel", "key": {"kty": "OKP", "crv": "Ed25519", "x": …}, "certificate": "<DER, base64url>"}

It proves that whoever made it holds the key; that it is the right person's,
people compare by the key id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast

from tocsin.encoding import decode_base64url, dump_json, encode_base64url
from tocsin.errors import MalformedRecord
from tocsin.identity.certificate import verify_certificate
from tocsin.identity.keys import from_jwk, thumbprint, to_jwk
from tocsin.identity.names import KeyId, OrgId
from tocsin.identity.signer import Signer
from tocsin.people.person import Person, Role, parse_person_name
from tocsin.records.jws import parse_claims, parse_jws, sign, verify_jws

CARD_TYPE: Final = "tocsin-person+jwt"
_CLAIMS: Final = frozenset({"name", "key", "certificate"})


@dataclass(frozen=True, slots=True)
class Card:
    """A person as it introduces itself: it holds the key, and wants to be known by this name."""

    name: str
    key_id: KeyId
    public_key: bytes
    certificate: bytes

    def admit(self, roles: Iterable[Role], *, now: int) -> Person:
        """Return the person that an organisation makes of it."""
        return Person(
            name=self.name,
            roles=frozenset(roles),
            key_id=self.key_id,
            public_key=self.public_key,
            certificate=self.certificate,
            added_at=now,
        )


def make_card(name: str, *, signer: Signer, certificate: bytes) -> str:
    """Return the card of a person; `certificate` is the DER of its TLS certificate, made for the organisation."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(signer.public_key)}
    claims = {"name": parse_person_name(name), "key": jwk, "certificate": encode_base64url(certificate)}
    return sign(dump_json(claims), typ=CARD_TYPE, signer=signer)


def parse_card(token: str, *, org: OrgId) -> Card:
    """Read a card, which proves that its maker holds the key; whose key it is, people must have compared.

    Raises MalformedRecord, MalformedEncoding, MalformedName, MalformedIdentity
    (WEAK_KEY for a key that anybody can sign for), WrongAlgorithm,
    SignatureMismatch.
    """
    jws = parse_jws(token.strip(), typ=CARD_TYPE)
    claims = parse_claims(jws)
    name, key, certificate = (claims.get(claim) for claim in ("name", "key", "certificate"))
    if claims.keys() != _CLAIMS or not isinstance(name, str) or not isinstance(certificate, str):
        raise MalformedRecord("the card does not hold a name, a key and a certificate", reason="BAD_CLAIM")
    public = from_jwk(cast("dict[str, object]", key) if isinstance(key, dict) else {})
    key_id = thumbprint(to_jwk(public))
    if jws.key_id != key_id:
        raise MalformedRecord("the card is not signed with the key that it introduces", reason="BAD_CLAIM")
    verify_jws(jws, public_key=public.public_bytes_raw())
    der = decode_base64url(certificate)
    verify_certificate(der, org=org)
    return Card(parse_person_name(name), key_id, public.public_bytes_raw(), der)
