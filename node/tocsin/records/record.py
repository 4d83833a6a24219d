"""This module issues, redacts and verifies records: our profile on top of RFC 9901.

A record is an SD-JWT whose header is exactly

    {"alg": "Ed25519", "typ": "tocsin-record+sd-jwt", "kid": "<RFC 7638 thumbprint>"}

whose plain claims are those of `tocsin.records.envelope`, and whose `content`
is laid out as in `tocsin.records.layout`, so that everything in it can be
withheld. Nothing else is hidden or disclosed.

Three values stand for a record. Its **digest**, over the issuer-signed JWT
alone, is the same for every recipient whatever was withheld. `(issuer,
record_id, version)` is how people cite it. Its **sd_hash** covers the exact
text that one recipient was sent.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import cast

from tocsin.encoding import JSON, dump_json
from tocsin.errors import DisclosureMismatch, MalformedRecord, UntrustedIssuer
from tocsin.identity.names import KeyId, OrgId, RecordId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.records.disclosure import SD_ALG, Disclosure, digest_of, unfold
from tocsin.records.envelope import NO_RELAY, Downgrade, Envelope, dump_envelope, parse_envelope, parse_issuer
from tocsin.records.fieldpath import CONTENT, field_path, read_paths
from tocsin.records.jws import CLOCK_SKEW, UnverifiedJws, claimed_time, parse_claims, parse_jws, sign, verify_times
from tocsin.records.layout import lay_out
from tocsin.records.sdjwt import HASH, join_sdjwt, split_sdjwt
from tocsin.records.signature import Ed25519Key
from tocsin.schema.check import check_content, check_disclosed
from tocsin.schema.contract import KINDS
from tocsin.schema.twin import derive_twins, verify_twins

RECORD_TYPE = "tocsin-record+sd-jwt"

_ENVELOPE = tuple(one.name for one in fields(Envelope))


@dataclass(frozen=True, slots=True)
class Draft:
    """What a record to be issued says beside its content."""

    record_id: RecordId
    kind: str
    tlp: str
    version: int = 1
    supersedes: str = ""
    status: str = "issued"
    pap: str = ""
    permitted_use: tuple[str, ...] = ()
    relay: str = NO_RELAY
    retention_until: str = ""
    downgrade_at: tuple[Downgrade, ...] = ()
    exp: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRecord(Envelope):
    """A record that its issuer signed, as far as it is disclosed here.

    `paths` holds the field paths of what is in `content`, groups and lists
    as well as what is inside them: `subjects`, `subjects[*].version`.
    """

    digest: str
    key_id: KeyId
    token: str = field(repr=False)
    content: dict[str, JSON] = field(repr=False, compare=False)
    paths: frozenset[str] = field(repr=False, compare=False)
    disclosures: tuple[Disclosure, ...] = field(repr=False, compare=False)

    def present(self, disclosed: frozenset[str]) -> str:
        """Return the record with nothing disclosed but the fields of these paths: THE function that redacts.

        What stands plain in `content` always goes.
        """
        issuer_jwt, _, _ = self.token.partition("~")
        return join_sdjwt(issuer_jwt, self.disclosures_for(disclosed))

    def disclosures_for(self, paths: frozenset[str]) -> tuple[str, ...]:
        """Return the disclosures of these fields and of the groups and lists around them, in the order held.

        A field's value goes if its path is given; a group or list exactly if
        something inside it goes. The path of a group alone brings nothing.
        """
        kept: set[tuple[str | int, ...]] = set()
        for held in self.disclosures:
            if not isinstance(held.value, (dict, list)) and field_path(held.path) in paths:
                kept.update(held.path[:length] for length in range(1, len(held.path) + 1))
        return tuple(held.encoded for held in self.disclosures if held.path in kept)


@dataclass(frozen=True, slots=True)
class UnverifiedRecord:
    """A record of the right form: nothing in it may be believed yet, its issuer least of all."""

    token: str = field(repr=False)
    digest: str
    issuer: OrgId
    key_id: KeyId
    _jws: UnverifiedJws = field(repr=False)
    _claims: dict[str, JSON] = field(repr=False)
    _disclosures: tuple[str, ...] = field(repr=False)

    @property
    def issued_at(self) -> int:
        """Return when it says that it was signed; 0 where it does not say."""
        return claimed_time(self._claims)

    def verify(self, organisation: Organisation, *, now: int, logged_at: int | None = None) -> VerifiedRecord:
        """Verify the record under the keys of an organisation, which must be its issuer.

        `parse_record` did steps 1 and 2a of RFC 9901 section 7.1; these follow:
          2c. the issuer is the organisation, and the key is one of its record keys
          2b. the signature verifies
          6a. the plain claims are there and follow the contract       profile
          2d. `_sd_alg` is the one hash there is                       profile: never absent
          3–5. the disclosures fit, and hide parts of content alone    profile: nothing else
          7.  content keeps to its kind, and its twins to it           profile
          6b. the key was valid when the record was signed, and is not revoked; or it was revoked later than the
              record was in the log of its issuer (`logged_at`)        profile
          6c. the record is valid at `now` (unix seconds), give or take the clock skew

        The caller MUST have a confirmed identity document, and must decide
        whether this issuer's records are wanted. It gives `logged_at` only where
        a quorum stood at that time behind a checkpoint that contains this very
        digest (tocsin.tlog.judgement), never from what the record says.

        Raises UntrustedIssuer, SignatureMismatch, DisclosureMismatch,
        RecordExpired, MalformedRecord, MalformedEncoding, MalformedContent.
        """
        if organisation.org != self.issuer:  # 2c
            raise UntrustedIssuer(f"the record is not {organisation.org}'s", reason="KEY_NOT_OF_ISSUER")
        key = organisation.record_keys.get(self.key_id)
        if key is None:
            problem, hint = f"the key is none of {self.issuer}'s", "ask for its current identity document"
            raise UntrustedIssuer(problem, reason="KEY_NOT_OF_ISSUER", hint=hint)
        Ed25519Key(key.public_key).verify(self._jws.signature, message=self._jws.signing_input)  # 2b
        record = self._read()  # 6a, 2d, 3 to 5, 7
        if not key.is_valid_at(record.issued_at, logged_at=logged_at):  # 6b
            problem = "the key was not valid when the record was signed, or is revoked"
            raise UntrustedIssuer(problem, reason="KEY_NOT_VALID")
        verify_times(self._claims, now=now, skew=CLOCK_SKEW)  # 6c
        return record

    def _read(self) -> VerifiedRecord:
        """Read what was signed; the caller has verified the signature, or made it."""
        envelope = parse_envelope(self._claims)  # 6a
        if self._claims[SD_ALG] != HASH:  # 2d
            raise MalformedRecord(f"_sd_alg must be {HASH}", reason="BAD_HASH")
        claims, disclosures = unfold(self._claims, disclosures=self._disclosures)  # 3 to 5
        paths = read_paths(self._claims, disclosures=disclosures)
        content = cast("dict[str, JSON]", claims[CONTENT])
        check_disclosed(envelope.kind, content)  # 7
        verify_twins(envelope.kind, content)
        return VerifiedRecord(
            **{name: getattr(envelope, name) for name in _ENVELOPE},
            digest=self.digest,
            key_id=self.key_id,
            token=self.token,
            content=content,
            paths=paths,
            disclosures=disclosures,
        )


def parse_record(token: str) -> UnverifiedRecord:
    """Read a record's form and what is needed to look up its key: steps 1 and 2a of RFC 9901 section 7.1.

    Cheap: no signature is verified, no disclosure is read.

    Raises MalformedRecord, MalformedEncoding, WrongAlgorithm.
    """
    parts = split_sdjwt(token)
    if parts.key_binding:
        problem = "a key binding is there, where none is expected, or the last tilde is missing"
        raise MalformedRecord(problem, reason="BAD_FORM")
    jws = parse_jws(parts.issuer_jwt, typ=RECORD_TYPE)
    claims = parse_claims(jws)
    return UnverifiedRecord(
        token=token,
        digest=digest_of(parts.issuer_jwt),
        issuer=parse_issuer(claims),
        key_id=jws.key_id,
        _jws=jws,
        _claims=claims,
        _disclosures=parts.disclosures,
    )


def verify_issued(record: VerifiedRecord, organisation: Organisation) -> bool:
    """Verify of a record that `issue` has returned what that leaves out: 2b, 2c and 6b of `UnverifiedRecord.verify`.

    False where the key is not the organisation's or was not valid, and for a
    record that expires, which is to be verified whole.

    Raises SignatureMismatch.
    """
    key = organisation.record_keys.get(record.key_id)
    if organisation.org != record.issuer or key is None or record.expires_at is not None:
        return False
    if not key.is_valid_at(record.issued_at):
        return False
    jws = parse_jws(record.token.partition("~")[0], typ=RECORD_TYPE)
    Ed25519Key(key.public_key).verify(jws.signature, message=jws.signing_input)
    return True


def issue(
    draft: Draft,
    content: Mapping[str, object],
    *,
    issuer: OrgId,
    signer: Signer,
    now: int,
    random: Callable[[int], bytes],
) -> VerifiedRecord:
    """Sign a record: the whole of it and its coarse twins, which a policy then makes less of for each partner.

    What was signed is read back as any recipient reads it, so nothing leaves
    this function that others would refuse.

    Raises MalformedContent, and MalformedRecord for a draft that breaks the
    contract or a record beyond the limits.
    """
    claims = _plain_claims(draft, issuer=issuer, now=now)
    check_content(draft.kind, content)
    whole = derive_twins(draft.kind, content)
    claims[CONTENT], disclosures = lay_out(whole, kind=KINDS[draft.kind], random=random)
    token = join_sdjwt(sign(dump_json(claims), typ=RECORD_TYPE, signer=signer), disclosures)
    return parse_record(token)._read()


def _plain_claims(draft: Draft, *, issuer: OrgId, now: int) -> dict[str, JSON]:
    """Return everything but the content, refused here if a recipient would refuse it."""
    envelope = Envelope(
        issuer=issuer,
        issued_at=now,
        expires_at=draft.exp,
        record_id=draft.record_id,
        version=draft.version,
        supersedes=draft.supersedes,
        kind=draft.kind,
        status=draft.status,
        tlp=draft.tlp,
        pap=draft.pap,
        permitted_use=draft.permitted_use,
        relay=draft.relay,
        retention_until=draft.retention_until,
        downgrade_at=draft.downgrade_at,
    )
    claims = {**dump_envelope(envelope), SD_ALG: HASH}
    parse_envelope({**claims, CONTENT: None})
    return claims


def extend(token: str, disclosures: Iterable[str]) -> str:
    """Add disclosures to a record held; those it has already change nothing.

    Nothing is verified: the caller MUST parse and verify the whole again.

    Raises DisclosureMismatch for what is no disclosure, MalformedRecord
    (BAD_FORM, TOO_COMPLEX) for a token that is no record.
    """
    parts = split_sdjwt(token)
    added = tuple(disclosures)
    if parts.key_binding:
        raise MalformedRecord("a key binding covers the disclosures there are", reason="BAD_FORM")
    if any(not text or "~" in text for text in added):
        raise DisclosureMismatch("what was added is not a disclosure", reason="BAD_DISCLOSURE")
    return join_sdjwt(parts.issuer_jwt, dict.fromkeys((*parts.disclosures, *added)))


def sd_hash(presentation: str) -> str:
    """Return the digest of exactly what one recipient is sent (RFC 9901 section 4.3.1)."""
    return digest_of(presentation)
