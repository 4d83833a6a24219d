"""This module reads, makes and signs drafts: the next version of an identity, before enough root keys have signed it.

    {"format": "tocsin-draft/v1", "chain": [<version 1>, …, <version N>], "next": <version N+1>}

The file goes from one holder of a root key to the next, offline. It carries the
whole chain, so that each can see what it changes, and whose it is, with no home
and no node. `next` is written as this software writes it and not otherwise:
what `changes` has no words for cannot be in it.

The order of trust is that of documents: who signs compares the fingerprint and
reads the changes; `finish_draft` makes a document, which everybody verifies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from securesystemslib.exceptions import UnverifiedSignatureError

from tocsin.encoding import JSON, dump_json, parse_json
from tocsin.errors import IdentityOutdated, MalformedEncoding, MalformedIdentity, SignatureMismatch, UntrustedIssuer
from tocsin.identity.certificate import DAY
from tocsin.identity.changes import day, describe_changes
from tocsin.identity.details import Details
from tocsin.identity.fingerprint import fingerprint
from tocsin.identity.root import DOCUMENT_DAYS, FORMAT, MAX_DOCUMENT, Organisation, dump_chain, parse_chain
from tocsin.identity.root import parse_envelope as parse_document
from tocsin.identity.signer import Signer
from tocsin.identity.version import (
    Version,
    make_version,
    parse_version,
    root_key_id,
    sign_version,
    signatures_of,
    verify_number,
)

DRAFT_FORMAT = "tocsin-draft/v1"
_HINT = "a draft is what --draft FILE writes; ask for the file as it was written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A next version that nothing is wrong with but, perhaps, that signatures are missing."""

    before: Version
    version: Version
    fingerprint: str
    content: bytes

    @property
    def changes(self) -> tuple[str, ...]:
        """Return in words what it changes, the day on which it expires last."""
        old, new = self.before, self.version
        return (*describe_changes(old, new), f"valid until {day(new.expires)}, before: {day(old.expires)}")

    @property
    def signed_by(self) -> tuple[str, ...]:
        """Return the ids of the root keys that have signed it."""
        return tuple(signatures_of(self.version, previous=self.before).signed)

    @property
    def missing(self) -> tuple[str, ...]:
        """Return in words who has to sign it yet; nothing where it can be put in force."""
        result, old, new = signatures_of(self.version, previous=self.before), self.before.number, self.version.number
        needed = [(f"version {old}", result.first), (f"version {new}", result.second)]
        if result.first.missing == result.second.missing and result.first.unsigned == result.second.unsigned:
            needed = [(f"versions {old} and {new}", result.first)]
        return tuple(
            f"{each.missing} of the root keys of {which}: {', '.join(each.unsigned)}"
            for which, each in needed
            if each.missing
        )


def make_draft(
    held: Organisation,
    details: Details,
    *,
    now: int,
    root_keys: Sequence[bytes] = (),
    threshold: int = 0,
    days: int = DOCUMENT_DAYS,
) -> Draft:
    """Write the next version, which nobody has signed. The root keys and their threshold stay unless given.

    Raises MalformedIdentity for details that are not good, or a threshold that the root keys cannot meet.
    """
    last = parse_chain(held.document)[-1]
    value = make_version(
        details,
        number=last.number + 1,
        expires=now + days * DAY,
        root_keys=root_keys or last.root_keys,
        threshold=threshold or last.threshold,
        signers=(),
    )
    return parse_draft(_dump(held.document, value))


def parse_draft(content: bytes) -> Draft:
    """Read a draft and verify all of it but that enough have signed.

      1. strict JSON of the one format; the chain holds together, as that of a document
      2. the next version is well formed, has the next number, and is of the same organisation
      3. it says nothing that `changes` has no words for
      4. each signature is one of a root key before or after, and verifies

    The caller MUST compare the fingerprint, or the chain with the one held.

    Raises MalformedIdentity, UntrustedIssuer for the signature of a stranger,
    SignatureMismatch for one over something else.
    """
    chain, value = _parse(content)  # 1
    before, version = chain[-1], parse_version(value)  # 2
    verify_number(version, previous=before)
    if version.details.org != before.details.org:
        raise _malformed("it changes from one organisation to another")
    plain = make_version(
        version.details,
        number=version.number,
        expires=version.expires,
        root_keys=version.root_keys,
        threshold=version.threshold,
        signers=(),
    )
    if parse_version(plain).payload != version.payload:
        raise _malformed("it says something that this version of Tocsin has no words for")  # 3
    _verify_signatures(before, version)  # 4
    first = chain[0]
    return Draft(
        before=before,
        version=version,
        fingerprint=fingerprint(first.details.org, root_key_ids=first.root_key_ids, threshold=first.threshold),
        content=content,
    )


def _verify_signatures(before: Version, version: Version) -> None:
    keys = before.metadata.signed.keys | version.metadata.signed.keys
    for key_id, signature in version.metadata.signatures.items():
        if key_id not in keys:
            problem = f"the draft is signed by {key_id}, which is none of the root keys before or after"
            raise UntrustedIssuer(problem, reason="KEY_NOT_OF_ISSUER", hint=_HINT)
        try:
            keys[key_id].verify_signature(signature, version.payload)
        except UnverifiedSignatureError:
            problem = f"the draft was altered after the root key {key_id} had signed it"
            raise SignatureMismatch(problem, hint="ask who altered it, and begin with a new draft") from None


def sign_draft(draft: Draft, *, signer: Signer, now: int) -> Draft:
    """Return the draft with one more signature.

    Raises UntrustedIssuer where the key is no root key before or after, and
    IdentityOutdated where the version would have expired.
    """
    key_id = root_key_id(signer.public_key)
    if key_id not in {*draft.before.root_key_ids, *draft.version.root_key_ids}:
        numbers = f"version {draft.before.number} or {draft.version.number}"
        raise UntrustedIssuer(
            f"the key {key_id} is none of the root keys of {numbers}",
            reason="KEY_NOT_OF_ISSUER",
            hint="sign with one of: " + ", ".join({**dict.fromkeys(draft.before.root_key_ids)}),
        )
    _verify_current(draft, now=now)
    return parse_draft(_dump_next(draft, sign_version(draft.version, signer=signer)))


def finish_draft(draft: Draft, *, now: int) -> bytes:
    """Return the document that ends with the drafted version.

    Raises MalformedIdentity where signatures are missing, with a line for each
    threshold, and IdentityOutdated where it would have expired.
    """
    if draft.missing:
        raise MalformedIdentity(
            f"version {draft.version.number} is not signed by enough root keys",
            reason="BAD_IDENTITY",
            hint="hand the draft on: tocsin keys root sign FILE --root-key KEY",
            details=tuple(f"missing: {line}" for line in draft.missing),
        )
    _verify_current(draft, now=now)
    return dump_chain([*parse_document(document_before(draft)), draft.version.metadata.to_dict()], now=now)


def document_before(draft: Draft) -> bytes:
    """Return the document that the draft goes on from."""
    return _document(_envelope(draft.content)["chain"])


def _verify_current(draft: Draft, *, now: int) -> None:
    if draft.version.expires <= now:
        problem = f"the draft has lain about for too long: it expired on {day(draft.version.expires)}"
        raise IdentityOutdated(problem, hint="draft it anew")


def _parse(content: bytes) -> tuple[list[Version], JSON]:
    value = _envelope(content)
    return parse_chain(_document(value["chain"])), value["next"]


def _envelope(content: bytes) -> dict[str, JSON]:
    if len(content) > MAX_DOCUMENT:
        raise _malformed(f"it has more than {MAX_DOCUMENT} bytes")
    try:
        value = parse_json(content)
    except MalformedEncoding as error:
        raise _malformed(error.message) from error
    if not isinstance(value, dict) or value.keys() != {"format", "chain", "next"} or value["format"] != DRAFT_FORMAT:
        raise _malformed(f"it is not of the format {DRAFT_FORMAT}")
    return value


def _document(chain: JSON) -> bytes:
    return dump_json({"format": FORMAT, "chain": chain})


def _dump(document: bytes, value: JSON) -> bytes:
    return dump_json({"format": DRAFT_FORMAT, "chain": parse_document(document), "next": value})


def _dump_next(draft: Draft, value: JSON) -> bytes:
    return _dump(document_before(draft), value)


def _malformed(problem: str) -> MalformedIdentity:
    return MalformedIdentity(f"the draft does not hold together: {problem}", reason="BAD_IDENTITY", hint=_HINT)
