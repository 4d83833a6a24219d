"""This module signs and reads retractions: an origin says that what it issued of a record is over.

A retraction is a JWS of type `tocsin-retraction+jwt` by one of the origin's
record keys, with the header of `tocsin.records.jws`. It has no content, so
there is nothing in it to withhold:

    {
      "iss": "lab-a.example", "iat": 1790000000,
      "record_id": "<UUIDv4>", "version": 2,
      "action": "correct", "tlp": "RED", "reason": "error", "successor": "<digest of version 3>"
    }

    correct     versions up to `version` are over, and the record with the digest `successor` stands in their place
    withdraw    the record is taken back: every version of it, for good
    purge       the same, and everybody is asked to delete what they hold of it

Of several the strongest counts (purge, withdraw, correct; of two corrections
the later version), in whatever order they come. `tlp` is the marking of what
is held from now on, where that is more restrictive. `reason` is left out where
none is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tocsin.encoding import JSON, dump_json
from tocsin.errors import MalformedRecord, UntrustedIssuer
from tocsin.identity.names import KeyId, OrgId, RecordId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.records.disclosure import digest_of
from tocsin.records.envelope import DIGEST, MAX_VERSION, choice, integer, parse_issuer, record_id_of
from tocsin.records.jws import CLOCK_SKEW, UnverifiedJws, claimed_time, parse_claims, parse_jws, sign, verify_times
from tocsin.records.signature import Ed25519Key
from tocsin.schema.contract import RETRACTION_REASONS, TLPS

RETRACTION_TYPE = "tocsin-retraction+jwt"


class Action(StrEnum):
    """What a retraction says, weakest first."""

    CORRECT = "correct"
    WITHDRAW = "withdraw"
    PURGE = "purge"

    @property
    def rank(self) -> int:
        """Return its strength: of several, the largest counts."""
        return list(Action).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRetraction:
    """A retraction that the origin of its record signed; `issued_at` in unix seconds, what is absent empty."""

    issuer: OrgId
    record_id: RecordId
    version: int
    action: Action
    tlp: str
    issued_at: int
    key_id: KeyId
    token: str = field(repr=False)
    reason: str = ""
    successor: str = ""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the token, base64url: the name of the retraction."""
        return digest_of(self.token)


@dataclass(frozen=True, slots=True)
class UnverifiedRetraction:
    """A retraction of the right form: nothing in it may be believed yet, its issuer least of all."""

    token: str = field(repr=False)
    issuer: OrgId
    _jws: UnverifiedJws = field(repr=False)
    _claims: dict[str, JSON] = field(repr=False)

    @property
    def key_id(self) -> KeyId:
        """Return the key that is said to have signed."""
        return self._jws.key_id

    @property
    def issued_at(self) -> int:
        """Return when it says that it was signed; 0 where it does not say."""
        return claimed_time(self._claims)

    def verify(self, organisation: Organisation, *, now: int, logged_at: int | None = None) -> VerifiedRetraction:
        """Verify the retraction under the keys of an organisation, which must be its issuer.

          1. the issuer is the organisation, and the key is one of its record keys
          2. the signature verifies                                  RFC 7515 5.2
          3. the claims are there and of their form
          4. the key was valid when it was signed, and is not revoked, or was so only after `logged_at`
          5. it is not from the future, give or take the clock skew  RFC 7519 4.1

        The caller MUST have a confirmed identity document. A retraction counts
        for the records of its issuer alone. `logged_at` is for a retraction that
        is in the log of its issuer, as for a record.

        Raises UntrustedIssuer, SignatureMismatch, RecordExpired and MalformedRecord.
        """
        if organisation.org != self.issuer:  # 1
            raise UntrustedIssuer(f"the retraction is not {organisation.org}'s", reason="KEY_NOT_OF_ISSUER")
        key = organisation.record_keys.get(self._jws.key_id)
        if key is None:
            problem, hint = f"the key is none of {self.issuer}'s", "ask for its current identity document"
            raise UntrustedIssuer(problem, reason="KEY_NOT_OF_ISSUER", hint=hint)
        Ed25519Key(key.public_key).verify(self._jws.signature, message=self._jws.signing_input)  # 2
        retraction = _read(self._claims, key_id=key.key_id, token=self.token)  # 3
        if not key.is_valid_at(retraction.issued_at, logged_at=logged_at):  # 4
            problem = "the key was not valid when the retraction was signed, or is revoked"
            raise UntrustedIssuer(problem, reason="KEY_NOT_VALID")
        verify_times(self._claims, now=now, skew=CLOCK_SKEW)  # 5
        return retraction


def parse_retraction(token: str) -> UnverifiedRetraction:
    """Read a retraction's form, and who is said to have signed it. Raises MalformedRecord, MalformedEncoding."""
    jws = parse_jws(token, typ=RETRACTION_TYPE)
    claims = parse_claims(jws)
    return UnverifiedRetraction(token=token, issuer=parse_issuer(claims), _jws=jws, _claims=claims)


def sign_retraction(
    *,
    issuer: OrgId,
    record_id: RecordId,
    version: int,
    action: Action,
    tlp: str,
    signer: Signer,
    now: int,
    reason: str = "",
    successor: str = "",
) -> VerifiedRetraction:
    """Sign a retraction of an own record; `successor` exactly where it corrects.

    Raises MalformedRecord for what recipients would refuse.
    """
    claims: dict[str, JSON] = {
        "iss": issuer,
        "iat": now,
        "record_id": record_id,
        "version": version,
        "action": action.value,
        "tlp": tlp,
        "reason": reason,
        "successor": successor,
    }
    claims = {name: value for name, value in claims.items() if value != ""}
    token = sign(dump_json(claims), typ=RETRACTION_TYPE, signer=signer)
    return _read(claims, key_id=signer.key_id, token=token)


def _read(claims: Mapping[str, JSON], *, key_id: KeyId, token: str) -> VerifiedRetraction:
    for name in ("iat", "record_id", "version", "action", "tlp"):
        if name not in claims:
            raise MalformedRecord(f"{name} is missing", reason="MISSING_CLAIM")
    action = Action(choice(claims, "action", tuple(Action)))
    successor = claims.get("successor", "")
    if not isinstance(successor, str) or (action is Action.CORRECT) != bool(DIGEST.fullmatch(successor)):
        raise MalformedRecord("successor is there exactly where a record is corrected", reason="BAD_CLAIM")
    if action is not Action.CORRECT and successor:
        raise MalformedRecord("successor is there exactly where a record is corrected", reason="BAD_CLAIM")
    return VerifiedRetraction(
        issuer=parse_issuer(claims),
        record_id=record_id_of(claims["record_id"]),
        version=integer(claims, "version", least=1, most=MAX_VERSION),
        action=action,
        tlp=choice(claims, "tlp", TLPS),
        issued_at=integer(claims, "iat"),
        key_id=key_id,
        token=token,
        reason=choice(claims, "reason", RETRACTION_REASONS) if "reason" in claims else "",
        successor=successor,
    )
