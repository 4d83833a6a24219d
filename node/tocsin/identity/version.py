"""This module reads, makes and signs one version of an identity: TUF root metadata with an `x-tocsin` member.

    {"signed": {"_type": "root", "spec_version": "1.0.31", "version": 2, "expires": "2027-03-01T12:00:00Z",
                "consistent_snapshot": true, "keys": {…}, "roles": {…}, "x-tocsin": {…}},
     "signatures": [{"keyid": …, "sig": …}]}

python-tuf reads and writes it (TUF specification 1.0, section 4.3). Root
metadata must name the roles timestamp, snapshot and targets. Nothing of
theirs is ever published here, so they are given to nobody: no keys, and a
threshold that no signature reaches.

The library leaves open what others may rely on, so this is narrower: Ed25519
keys only, each under the id that its bytes give it (one key under two ids
would meet a threshold of two alone), and no member that it would not write.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeGuard

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Key, Signature, SSlibKey
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES, Metadata, Role, Root, RootVerificationResult

from tocsin.encoding import JSON, decode_base64url, encode_base64url
from tocsin.errors import MalformedEncoding, MalformedIdentity
from tocsin.identity.admission import verify_public_key
from tocsin.identity.details import Details, parse_details
from tocsin.identity.signer import Signer

MEMBER = "x-tocsin"
_SPOKEN = "root:"
"""Tells the public part of a root key from the id of a key, which looks alike."""

_NOBODY = {"keyids": [], "threshold": 1}
_ED25519_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIGNATURE_HEX = re.compile(r"[0-9a-f]{128}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version, well formed; whose signatures it has is for `verify_signatures` to say."""

    number: int
    expires: int
    root_keys: tuple[bytes, ...]
    root_key_ids: tuple[str, ...]
    threshold: int
    details: Details
    payload: bytes
    metadata: Metadata[Root]


def parse_version(value: JSON) -> Version:
    """Read one version; the value is used up.

    Raises MalformedIdentity: BAD_IDENTITY for the form, WEAK_KEY for a key.
    """
    metadata = _parse_metadata(value)
    root = metadata.signed
    keys = _admitted_keys(root)
    details = parse_details(root.unrecognized_fields.get(MEMBER))
    _verify_separate((*keys, *details.signing_keys()))
    return Version(
        number=root.version,
        expires=int(root.expires.timestamp()),
        root_keys=keys,
        root_key_ids=tuple(root.roles[Root.type].keyids),
        threshold=root.roles[Root.type].threshold,
        details=details,
        payload=metadata.signed_bytes,
        metadata=metadata,
    )


def _parse_metadata(value: JSON) -> Metadata[Root]:
    """Let python-tuf read the value, and refuse what it would not write the same way."""
    if not isinstance(value, dict) or value.keys() != {"signed", "signatures"}:
        raise _malformed("a version is not signed root metadata")
    try:
        written = encode_canonical(value)
        metadata = Metadata[Root].from_dict(value)
        rewritten = encode_canonical(metadata.to_dict())
    except FormatError as error:
        raise _malformed("a version holds a number that is not an integer") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # how the library meets values of other types
        raise _malformed("a version is not TUF root metadata") from error
    if not isinstance(metadata.signed, Root) or written != rewritten:
        raise _malformed("a version is not TUF root metadata in its one spelling")
    if not all(_is_hex(signature.signature, _SIGNATURE_HEX) for signature in metadata.signatures.values()):
        raise _malformed("a signature is not 64 bytes in lower-case hex")
    return metadata


def _admitted_keys(root: Root) -> tuple[bytes, ...]:
    """Return the public keys of the root role, or refuse what it, or a key, must not be."""
    if type(root.version) is not int or type(root.roles[Root.type].threshold) is not int:
        raise _malformed("a version number or threshold is not an integer")
    role = root.roles[Root.type]
    if type(role.keyids) is not list or root.consistent_snapshot is not True:
        raise _malformed("a member of root metadata is of another type")
    if any(root.roles[name].to_dict() != _NOBODY for name in TOP_LEVEL_ROLE_NAMES - {Root.type}):
        raise _malformed("a role other than root is given to somebody")
    if set(role.keyids) != root.keys.keys() or role.unrecognized_fields or role.threshold > len(role.keyids):
        raise _malformed("the root role's keys are not the keys listed, or fewer than its threshold")
    return tuple(_admit(root.keys[key_id]) for key_id in role.keyids)


def _admit(key: Key) -> bytes:
    public = key.keyval.get("public")
    if not _is_hex(public, _ED25519_HEX):
        raise _malformed("a root key is not an Ed25519 key in lower-case hex")
    raw = bytes.fromhex(public)
    verify_public_key(raw)
    if key != _tuf_key(raw):
        raise _malformed("a root key is not an Ed25519 key under the id that its bytes give it")
    return raw


def _is_hex(value: object, pattern: re.Pattern[str]) -> TypeGuard[str]:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _verify_separate(keys: Sequence[bytes]) -> None:
    """Refuse one key for two purposes: stealing one must not give another."""
    if len(set(keys)) != len(keys):
        raise _malformed("one key serves two purposes")


def verify_signatures(version: Version, *, previous: Version | None) -> None:
    """Refuse a version that its own root keys, and those of the version before, do not vouch for.

      1. its number is the next one, or 1 where there is no previous    TUF 5.3.5
      2. signed by a threshold of the previous version's root keys      TUF 5.3.4
      3. signed by a threshold of its own root keys                     TUF 5.3.4

    The caller MUST still check the expiry of the last version (TUF 5.3.10),
    and that version 1 is the one whose fingerprint a person confirmed.

    Raises MalformedIdentity.
    """
    verify_number(version, previous=previous)  # 1
    result = signatures_of(version, previous=previous)
    if not result.first.verified:
        who = "its own root keys" if previous is None else f"the root keys of version {previous.number}"
        raise _malformed(f"version {version.number} is not signed by enough of {who}")  # 2
    if not result.second.verified:
        raise _malformed(f"version {version.number} is not signed by enough of its own root keys")  # 3


def verify_number(version: Version, *, previous: Version | None) -> None:
    """Refuse a version that is not the next one (TUF 5.3.5). Raises MalformedIdentity."""
    expected = 1 if previous is None else previous.number + 1
    if version.number != expected:
        raise _malformed(f"version {version.number} stands where version {expected} belongs")


def signatures_of(version: Version, *, previous: Version | None) -> RootVerificationResult:
    """Return who of the root keys before, and of its own, has signed a version; its number is the next one."""
    return version.metadata.signed.get_root_verification_result(
        None if previous is None else previous.metadata.signed, version.payload, version.metadata.signatures
    )


def make_version(
    details: Details,
    *,
    number: int,
    expires: int,
    root_keys: Iterable[bytes],
    threshold: int,
    signers: Iterable[Signer],
) -> dict[str, JSON]:
    """Make one version and sign it with every signer; `parse_version` says whether it is a good one.

    Raises MalformedIdentity for a threshold that the root keys cannot meet.
    """
    keys: dict[str, Key] = {key.keyid: key for key in map(_tuf_key, root_keys)}
    if not 1 <= threshold <= len(keys):
        raise _malformed(f"a threshold of {threshold} does not go with {len(keys)} root keys")
    roles = {name: Role([], 1) for name in TOP_LEVEL_ROLE_NAMES} | {Root.type: Role(sorted(keys), threshold)}
    root = Root(
        version=number,
        expires=datetime.fromtimestamp(expires, UTC),
        keys=keys,
        roles=roles,
        unrecognized_fields={MEMBER: details.to_member()},
    )
    metadata = Metadata(root)
    for signer in signers:
        _sign(metadata, signer)
    return metadata.to_dict()


def sign_version(version: Version, *, signer: Signer) -> dict[str, JSON]:
    """Return a version with one more signature; those that it has stay."""
    metadata = Metadata(version.metadata.signed, dict(version.metadata.signatures))
    _sign(metadata, signer)
    return metadata.to_dict()


def _sign(metadata: Metadata[Root], signer: Signer) -> None:
    key_id = root_key_id(signer.public_key)
    metadata.signatures[key_id] = Signature(key_id, signer.sign(metadata.signed_bytes).hex())


def root_key_id(public_key: bytes) -> str:
    """Return the id that TUF gives to a root key: a hash of its JSON (TUF specification 4.2)."""
    return str(_tuf_key(public_key).keyid)


def format_root_key(public_key: bytes) -> str:
    """Return the public part of a root key as people hand it over."""
    return f"{_SPOKEN}{encode_base64url(public_key)}"


def parse_root_key(text: str) -> bytes:
    """Read the public part of a root key. Raises MalformedIdentity: BAD_IDENTITY for the form, WEAK_KEY for the key."""
    try:
        public_key = decode_base64url(text.removeprefix(_SPOKEN))
    except MalformedEncoding as error:
        raise MalformedIdentity(f"not a public root key: {error.message}", reason="BAD_IDENTITY") from error
    if text != format_root_key(public_key):
        problem, hint = (
            "not the public part of a root key",
            f"it begins with {_SPOKEN}, as `tocsin keys root new` prints it",
        )
        raise MalformedIdentity(problem, reason="BAD_IDENTITY", hint=hint)
    verify_public_key(public_key)
    return public_key


def _tuf_key(public_key: bytes) -> SSlibKey:
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(public_key))


def _malformed(problem: str) -> MalformedIdentity:
    return MalformedIdentity(f"the identity document does not hold together: {problem}", reason="BAD_IDENTITY")
