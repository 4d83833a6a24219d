"""This module reads identity documents: who an organisation is, proved from its first version to its last.

    {"format": "tocsin-identity/v1", "chain": [<version 1>, <version 2>, …]}

Each version is TUF root metadata (tocsin.identity.version). Version N+1
counts because a threshold of the root keys of N, and of its own, signed it;
version 1 because a person compared its fingerprint. The whole chain travels,
since every step of it is checked by everybody.

The order of trust: `parse_identity` (the chain holds together), then
`verify_fingerprint` (it is theirs), then `update_identity` for what comes later.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache

from tocsin.encoding import JSON, dump_json, parse_json
from tocsin.errors import IdentityOutdated, MalformedEncoding, MalformedIdentity
from tocsin.identity.certificate import DAY, spki_pin
from tocsin.identity.changes import describe_changes
from tocsin.identity.details import Details
from tocsin.identity.fingerprint import fingerprint
from tocsin.identity.signer import Signer
from tocsin.identity.version import Version, make_version, parse_version, verify_signatures

FORMAT = "tocsin-identity/v1"
# A document that nobody renews stops counting: whoever holds back newer versions can do so for a year at most.
DOCUMENT_DAYS = 365
# TUF clients follow this many rotations (specification 5.3.3 leaves the number open, python-tuf takes 256).
MAX_VERSIONS = 256
MAX_DOCUMENT = 1024 * 1024
# Documents that were read are remembered: ours and those of partners, each read again with every handshake, page and
# command. One of a few versions takes some 20 ms to verify, and some 10 KB to keep.
MOST_READ = 32
_HINT = "an identity document is what `tocsin identity export` prints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation(Details):
    """Who an organisation is, as a whole chain of signed versions says.

    `document` is that chain as it was read. `fingerprint` is version 1's. A
    person has compared it only if the caller made sure of that.
    """

    version: int
    expires: int
    fingerprint: str
    pins: frozenset[str]
    document: bytes = field(repr=False)


def parse_identity(document: bytes, *, now: int, check_expiry: bool = True) -> Organisation:
    """Read an identity document and verify its whole chain.

      1. strict JSON of the one format, within the limits
      2. each version: well formed, every key in it admitted             TUF 4.3
      3. numbers 1, 2, 3 …; signed by thresholds of N and N+1            TUF 5.3.4, 5.3.5
      4. the organisation is the same in all versions
      5. the last version has not expired                                TUF 5.3.10

    `check_expiry=False` is for showing a document that has expired, never for
    trusting it. The caller MUST compare the fingerprint before trusting it.

    Raises MalformedIdentity (BAD_IDENTITY, WEAK_KEY) and IdentityOutdated.
    """
    organisation = _read(document)
    if check_expiry and organisation.expires <= now:
        hint = f"ask {organisation.org} for its current identity document"
        raise IdentityOutdated(f"the identity document of {organisation.org} has expired", hint=hint)  # 5
    return organisation


@lru_cache(MOST_READ)
def _read(document: bytes) -> Organisation:
    """Return what a document says, which is the same each time that somebody asks: bytes do not change."""
    chain = parse_chain(document)
    last = chain[-1]
    return Organisation(
        **{each.name: getattr(last.details, each.name) for each in fields(Details)},
        version=last.number,
        expires=last.expires,
        fingerprint=_fingerprint(chain[0]),
        pins=frozenset(map(spki_pin, last.details.node_certs)),
        document=document,
    )


def parse_chain(document: bytes) -> list[Version]:
    """Read the versions of an identity document and verify each step; whether it has expired is not asked.

    Raises MalformedIdentity.
    """
    values = parse_envelope(document)  # 1
    chain: list[Version] = []
    for value in values:
        version = parse_version(value)  # 2
        previous = chain[-1] if chain else None
        verify_signatures(version, previous=previous)  # 3
        if previous is not None and version.details.org != previous.details.org:
            raise _malformed("it changes from one organisation to another")  # 4
        chain.append(version)
    return chain


def named_log_vkeys(organisation: Organisation) -> tuple[str, ...]:
    """Return every verifier key that any version has named for the log, the newest version's first.

    Those of stolen keys are among them. So they are for what does not rest on
    the key alone: our own log, in our own store, and trees that witnesses have
    cosigned and that were read.
    """
    versions = reversed(parse_chain(organisation.document))
    return tuple(dict.fromkeys(vkey for version in versions for vkey in version.details.log_vkeys))


def parse_envelope(document: bytes) -> list[JSON]:
    """Return the versions of an identity document as they stand there. Raises MalformedIdentity."""
    if len(document) > MAX_DOCUMENT:
        raise _malformed(f"it has more than {MAX_DOCUMENT} bytes")
    try:
        value = parse_json(document)
    except MalformedEncoding as error:
        raise _malformed(error.message, hint=_HINT) from error
    if not isinstance(value, dict) or value.keys() != {"format", "chain"} or value["format"] != FORMAT:
        raise _malformed(f"it is not of the format {FORMAT}", hint=_HINT)
    chain = value["chain"]
    if not isinstance(chain, list) or not 1 <= len(chain) <= MAX_VERSIONS:
        raise _malformed(f"it does not hold 1 to {MAX_VERSIONS} versions")
    return chain


def update_identity(held: Organisation, document: bytes, *, now: int) -> tuple[Organisation, tuple[str, ...]]:
    """Take a newer document of an organisation, and say in words what changed.

    It must begin with every version held: what was signed once stays signed.
    The same versions again change nothing.

    Raises IdentityOutdated for an older or expired document, and
    MalformedIdentity for one that does not extend the one held.
    """
    newer = parse_identity(document, now=now)
    if newer.version < held.version:
        problem = f"version {newer.version} of the identity document is older than the one held, {held.version}"
        raise IdentityOutdated(problem, hint="keep the one held, and ask why an old one is handed out")
    before, after = parse_chain(held.document), parse_chain(newer.document)
    for known, given in zip(before, after, strict=False):
        if known.payload != given.payload:
            problem = f"its version {given.number} is not the version {known.number} that is held"
            hint = (
                f"ask the people of {held.org}; if they began anew, remove the peer and add it with the new fingerprint"
            )
            raise _malformed(problem, hint=hint)
    if newer.version == held.version:
        return held, ()
    return newer, tuple(describe_changes(before[-1], after[-1]))


def found_organisation(
    details: Details, *, signers: Sequence[Signer], threshold: int, now: int, days: int = DOCUMENT_DAYS
) -> bytes:
    """Make version 1, signed by all root keys, and return the document."""
    version = make_version(
        details,
        number=1,
        expires=now + days * DAY,
        root_keys=[signer.public_key for signer in signers],
        threshold=threshold,
        signers=signers,
    )
    return dump_chain([version], now=now)


def next_version(
    held: Organisation,
    details: Details,
    *,
    signers: Iterable[Signer],
    now: int,
    root_keys: Sequence[bytes] = (),
    threshold: int = 0,
    days: int = DOCUMENT_DAYS,
) -> bytes:
    """Make the next version, and return the document that ends with it.

    The root keys and their threshold stay as they are unless given. The
    signers must reach both thresholds, the held version's and the new one's.

    Raises MalformedIdentity when they do not, or when the details are not good.
    """
    last = parse_chain(held.document)[-1]
    version = make_version(
        details,
        number=last.number + 1,
        expires=now + days * DAY,
        root_keys=root_keys or last.root_keys,
        threshold=threshold or last.threshold,
        signers=signers,
    )
    return dump_chain([*parse_envelope(held.document), version], now=now)


def dump_chain(chain: Sequence[JSON], *, now: int) -> bytes:
    """Return versions as an identity document that holds together today. Raises MalformedIdentity."""
    document = dump_json({"format": FORMAT, "chain": chain})
    parse_identity(document, now=now)  # what others would refuse is not handed out
    return document


def _fingerprint(first: Version) -> str:
    return fingerprint(first.details.org, root_key_ids=first.root_key_ids, threshold=first.threshold)


def _malformed(problem: str, *, hint: str = "") -> MalformedIdentity:
    text = f"the identity document does not hold together: {problem}"
    return MalformedIdentity(text, reason="BAD_IDENTITY", hint=hint)
