"""This module has the reference implementation of RFC 9901, `sd-jwt`, verify and issue what ours does."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

from jwcrypto.jwk import JWK
from sd_jwt.common import SDObj
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.verifier import SDJWTVerifier

from benchmarks.world import Shape, shape
from tocsin.encoding import encode_base64url
from tocsin.records.disclosure import SD_ALG
from tocsin.records.fieldpath import CONTENT
from tocsin.records.jws import parse_claims, split_jws
from tocsin.records.record import RECORD_TYPE, UnverifiedRecord, VerifiedRecord
from tocsin.records.sdjwt import verify_sdjwt

Claims = dict[object, object]
Job = Callable[[], None]


def verifying(records: Sequence[VerifiedRecord], public_key: bytes) -> Job:
    """Return the work of verifying records; the key is read once, before."""
    jwk = JWK(kty="OKP", crv="Ed25519", x=encode_base64url(public_key))

    def work() -> None:
        for record in records:
            SDJWTVerifier(record.token, lambda _issuer, _header: jwk).get_verified_payload()

    return work


def issuing(records: Sequence[VerifiedRecord], unverified: Sequence[UnverifiedRecord], what: Shape) -> Job:
    """Return the work of issuing what the records say by the reference, with as many disclosures and digests."""
    laid_out = [_for_reference(record, one._claims) for record, one in zip(records, unverified, strict=True)]
    key = JWK.generate(kty="OKP", crv="Ed25519")
    header = {"typ": RECORD_TYPE, "kid": records[0].key_id}

    class Issuer(SDJWTIssuer):
        """As many decoys in each of the objects as make up for ours."""

        DECOY_MIN_ELEMENTS = DECOY_MAX_ELEMENTS = what.decoys // _objects(laid_out[0])

    def issue(claims: Claims) -> str:
        algorithm = {"sign_alg": "EdDSA", "extra_header_parameters": header}
        return str(Issuer(claims, key, add_decoy_claims=True, **algorithm).sd_jwt_issuance)

    def work() -> None:
        for claims in laid_out:
            issue(claims)

    _verify_alike(issue(laid_out[0]), jwk=key.export_public(as_dict=True), what=what)
    return work


def _verify_alike(token: str, *, jwk: Mapping[str, object], what: Shape) -> None:
    """Make sure that the reference issues what we issue."""
    issued = verify_sdjwt(token, jwk=jwk, now=int(time.time()))
    claims = parse_claims(split_jws(token.partition("~")[0]))
    theirs = shape(SimpleNamespace(token=token, disclosures=issued.disclosures), claims)
    if theirs[1:] != what[1:]:
        raise RuntimeError(f"the reference issues {theirs}, which is not like {what}")


def _for_reference(record: VerifiedRecord, claims: Mapping[str, object]) -> Claims:
    """Return the claims of a record as the reference takes them: what is to be concealed is marked."""
    plain = claims[CONTENT]
    content = {name if name in plain else SDObj(name): _marked(value) for name, value in record.content.items()}
    return {**{name: value for name, value in claims.items() if name != SD_ALG}, CONTENT: content}


def _marked(value: object) -> object:
    if isinstance(value, dict):
        return {SDObj(name): _marked(inner) for name, inner in value.items()}
    return [SDObj(_marked(inner)) for inner in value] if isinstance(value, list) else value


def _objects(value: object) -> int:
    """Count the objects in claims as the reference takes them."""
    if isinstance(value, SDObj):
        return _objects(value.value)
    if isinstance(value, dict):
        return 1 + sum(map(_objects, value.values()))
    return sum(map(_objects, value)) if isinstance(value, list) else 0
