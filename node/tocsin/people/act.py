"""This module signs what a person decides, and verifies it: an approval, a rejection, a set of policies.

A statement is a JWS of type `tocsin-act+jwt` by the person's own key:

    {"iss": "lab-a.example", "sub": "counsel", "iat": 1790000000, "act": "approve", "on": "<hash>"}

`on` is what it is about, by hash: a proposed release (`release.proposal`), or
the policy files to be put in force (`policy_subject`). So the node cannot say
of a person that it agreed to something else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from tocsin.encoding import dump_json, encode_base64url
from tocsin.errors import MalformedRecord, SignatureMismatch
from tocsin.identity.names import OrgId
from tocsin.identity.signer import Signer
from tocsin.people.person import Person
from tocsin.records.jws import parse_jws, sign, verify_jws

ACT_TYPE: Final = "tocsin-act+jwt"
_CLAIMS: Final = frozenset({"iss", "sub", "iat", "act", "on"})


class Act(StrEnum):
    """What a person decides under its signature."""

    APPROVE = "approve"
    REJECT = "reject"
    APPLY_POLICIES = "apply-policies"


@dataclass(frozen=True, slots=True)
class SignedAct:
    """What a person signed, verified. The caller must still compare `act` and `on` with what it expects."""

    person: str
    act: Act
    on: str
    at: int


def sign_act(act: Act, *, on: str, org: OrgId, person: str, signer: Signer, now: int) -> str:
    """Return the statement of a person that it decides this."""
    claims = {"iss": org, "sub": person, "iat": now, "act": act.value, "on": on}
    return sign(dump_json(claims), typ=ACT_TYPE, signer=signer)


def verify_act(token: str, *, org: OrgId, person: Person) -> SignedAct:
    """Verify that a person signed a statement for this organisation, whether or not it is active today.

    Raises MalformedRecord, MalformedEncoding, WrongAlgorithm, SignatureMismatch.
    """
    jws = parse_jws(token, typ=ACT_TYPE)
    if jws.key_id != person.key_id:
        raise SignatureMismatch(f"the statement is not signed with the key of {person.name}")
    claims = verify_jws(jws, public_key=person.public_key)
    if claims.keys() != _CLAIMS or claims["iss"] != org or claims["sub"] != person.name:
        raise MalformedRecord("the statement is not this person's, for this organisation", reason="BAD_CLAIM")
    act, on, at = claims["act"], claims["on"], claims["iat"]
    if act not in tuple(Act) or not isinstance(on, str) or not isinstance(at, int):
        raise MalformedRecord("the statement does not say what is decided about what", reason="BAD_CLAIM")
    return SignedAct(person.name, Act(act), on, at)


def policy_subject(files: Mapping[str, str], *, replaces: str) -> str:
    """Return what the signature under a set of policy files is on: their names and texts, and the set before.

    `replaces` is the subject of the set in force, empty for the first one: a
    statement cannot be used again to bring an old set back.
    """
    digests = {name: sha256(text.encode()).hexdigest() for name, text in sorted(files.items())}
    body = dump_json({"files": digests, "replaces": replaces})
    return encode_base64url(sha256(body).digest())
