"""This module verifies a file offline: a record or a retraction, either one with its proof, a checkpoint, evidence.

Which of them a file is shows by its beginning. What is verified is verified
by the identity documents that are given, and nothing else: their fingerprints
are for people to compare.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tocsin.encoding import JSON, parse_json
from tocsin.errors import (
    CheckpointRefused,
    Malformed,
    MalformedIdentity,
    MalformedLog,
    RecordQuarantined,
    RecordRefused,
    UntrustedIssuer,
)
from tocsin.identity.root import Organisation, parse_identity
from tocsin.identity.vkey import NoteAlgorithm, log_name
from tocsin.records.jws import split_jws
from tocsin.records.record import UnverifiedRecord, VerifiedRecord, parse_record
from tocsin.records.retraction import RETRACTION_TYPE, UnverifiedRetraction, VerifiedRetraction, parse_retraction
from tocsin.release.ledger import entry_of
from tocsin.release.quarantine import BEFORE_ANY
from tocsin.tlog import evidence as bundles
from tocsin.tlog.checkpoint import Cosignature, VerifiedCheckpoint, cosignatures, parse_checkpoint, verify_checkpoint
from tocsin.tlog.merkle import leaf_hash, verify_inclusion
from tocsin.tlog.note import parse_verifier
from tocsin.tlog.proof import HEADER, MAX_FILE, LogProof, parse_proof
from tocsin.tlog.quorum import Quorum
from tocsin_cli.steps import Planned, Walk

WHAT_IT_READS = "a record is what `tocsin export ID` prints; receipts are for `tocsin receipts verify`"
_MAKES_PROOFS = "such a file is what `tocsin show ID --proof` prints"

_SIGNED_BY_LOG = Planned("the log signed the checkpoint", "C2SP tlog-checkpoint, signed-note")
_COSIGNED = Planned("every cosignature of a known witness verifies", "C2SP tlog-cosignature")
_QUORUM = Planned("enough witnesses have cosigned it", "C2SP tlog-policy, tlog-cosignature")
_FORM_OF_PROOF = Planned("the proof has its form", "C2SP tlog-proof")
_OF_RECORD = (
    Planned("the record or retraction has its form", "RFC 9901 section 7.1, step 1; RFC 7515"),
    Planned("its issuer signed it, with a key that counts", "RFC 9901 section 7.1, steps 2 to 6"),
    Planned("the entry is made of it", "docs/verify.md, step 3"),
)
_NOT_REVOKED = Planned("its key is not revoked, or was so later", "docs/keys.md")
_INCLUDED = Planned("the hashes lead from the entry to the root", "RFC 6962 section 2.1.1")
_FORM_OF_CHECKPOINT = Planned("the checkpoint has its form", "C2SP tlog-checkpoint, signed-note")
_OF_EVIDENCE = (
    Planned("the bundle has its form", "docs/verify.md, evidence"),
    Planned("it is against somebody whose document was given", "docs/keys.md"),
    Planned("what the origin signed contradicts itself", "tlog-checkpoint; RFC 6962 section 2.1"),
)

Issued = VerifiedRecord | VerifiedRetraction


@dataclass(frozen=True, slots=True)
class Known:
    """What is known to whoever verifies: organisations by their ids, and whose cosignatures are asked for."""

    organisations: Mapping[str, Organisation]
    now: int
    quorum: Quorum | None = None

    def issuer(self, org: str, *, of: str) -> Organisation:
        """Return an organisation. Raises UntrustedIssuer where nobody gave its document."""
        if org not in self.organisations:
            raise UntrustedIssuer(
                f"the {of} is of {org}, and none of the identity documents is",
                reason="KEY_NOT_OF_ISSUER",
                hint="give the identity document of the organisation that signed it",
            )
        return self.organisations[org]


@dataclass(frozen=True, slots=True)
class Logged:
    """A checkpoint that was verified, who cosigned it, and the place of an entry where there is one."""

    checkpoint: VerifiedCheckpoint
    cosigned: tuple[Cosignature, ...]
    cosigned_at: int | None  # since when the quorum stands; None where none was asked for
    index: int | None = None


@dataclass(slots=True)
class Verdict:
    """What was verified of a file, as far as it went."""

    walk: Walk | None = None  # None for a record or a retraction alone
    issuer: Organisation | None = None
    issued: Issued | None = None
    logged: Logged | None = None
    evidence: bundles.VerifiedEvidence | None = None
    error: RecordRefused | Malformed | None = None


def verify_file(data: bytes, known: Known) -> Verdict:
    """Verify a file, and say what was found; what refuses it is the error of the verdict."""
    text = data.decode("utf-8", "replace")
    verdict = Verdict()
    try:
        if text.startswith(HEADER.partition("@")[0]):
            _verify_proof(text, known, verdict)
        elif _is_evidence(data):
            _verify_evidence(data, known, verdict)
        elif "\n\n\u2014 " in text:
            _verify_checkpoint(data, known, verdict)
        elif known.quorum is not None:
            raise CheckpointRefused(
                "there is no proof in the file, and so nothing that the policy asks for",
                reason="NO_QUORUM",
                hint="ask its origin for the record with its proof: tocsin show ID --proof",
            )
        else:
            read = _parse(text.removesuffix("\n").removesuffix("\r"))
            _verify_issued(read, known, verdict)
    except (RecordRefused, Malformed) as error:
        verdict.error = error
    return verdict


def _verify_proof(text: str, known: Known, verdict: Verdict) -> None:
    cosigned = _COSIGNED if known.quorum is None else _QUORUM
    walk = verdict.walk = Walk((_FORM_OF_PROOF, *_OF_RECORD, _SIGNED_BY_LOG, cosigned, _INCLUDED, _NOT_REVOKED))
    proof = walk.take(lambda: _with_record(parse_proof(text, most=MAX_FILE)))
    read = walk.take(lambda: _parse(proof.extra.decode("utf-8", "replace")))
    issued = walk.take(lambda: _verify_issued(read, known, verdict, logged_at=BEFORE_ANY))
    entry = walk.take(lambda: entry_of(issued))
    checkpoint = walk.take(lambda: _signed_by(known.organisations[issued.issuer], proof.checkpoint))
    logged = walk.take(lambda: _cosigned(checkpoint, known))
    tree = checkpoint.checkpoint
    walk.take(
        lambda: verify_inclusion(
            leaf_hash(entry), index=proof.index, size=tree.size, proof=proof.hashes, root=tree.root
        )
    )
    walk.take(lambda: _verify_known_in_time(issued, known, logged.cosigned_at))
    verdict.logged = replace(logged, index=proof.index)


def _verify_checkpoint(data: bytes, known: Known, verdict: Verdict) -> None:
    plan = (_FORM_OF_CHECKPOINT, _SIGNED_BY_LOG, _COSIGNED if known.quorum is None else _QUORUM)
    walk = verdict.walk = Walk(plan)
    origin = walk.take(lambda: parse_checkpoint(data)).checkpoint.origin
    org = next((org for org in known.organisations if log_name(known.organisations[org].org) == origin), origin)

    def look() -> VerifiedCheckpoint:
        verdict.issuer = known.issuer(org, of="checkpoint")
        return _signed_by(verdict.issuer, data)

    checkpoint = walk.take(look)
    verdict.logged = walk.take(lambda: _cosigned(checkpoint, known))


def _verify_evidence(data: bytes, known: Known, verdict: Verdict) -> None:
    walk = verdict.walk = Walk(_OF_EVIDENCE)
    bundle = walk.take(lambda: bundles.parse_evidence(data))
    verdict.issuer = walk.take(lambda: _accused(bundle, known))
    known_as = verdict.issuer
    verdict.evidence = walk.take(lambda: bundles.verify_evidence(bundle, known=known_as))


def _accused(bundle: bundles.Evidence, known: Known) -> Organisation:
    """Return against whom a bundle is. Raises as the document in it does, and UntrustedIssuer."""
    named = parse_identity(bundle.identity, now=known.now, check_expiry=False)
    held = known.issuer(named.org, of="evidence")
    if held.fingerprint != named.fingerprint:
        raise MalformedIdentity(
            f"the evidence is against another {named.org}, with the fingerprint {named.fingerprint}",
            reason="FINGERPRINT_MISMATCH",
        )
    return held


def _verify_issued(
    read: UnverifiedRecord | UnverifiedRetraction, known: Known, verdict: Verdict, *, logged_at: int | None = None
) -> Issued:
    of = "retraction" if isinstance(read, UnverifiedRetraction) else "record"
    verdict.issuer = known.issuer(read.issuer, of=of)
    verdict.issued = read.verify(verdict.issuer, now=known.now, logged_at=logged_at)
    return verdict.issued


def _verify_known_in_time(issued: Issued, known: Known, since: int | None) -> None:
    """Verify that what a revoked key signed was known before to whoever is asked for. Raises RecordQuarantined."""
    revoked_at = known.organisations[issued.issuer].record_keys[issued.key_id].revoked_at
    if revoked_at is not None and (since is None or since >= revoked_at):
        raise RecordQuarantined(
            f"{issued.issuer} has revoked the key that signed it, and nobody who is asked for knew it before",
            hint="say by --policy FILE whose cosignatures count; else ask for it under another key",
        )


def _parse(token: str) -> UnverifiedRecord | UnverifiedRetraction:
    """Read what says that it is a retraction as one, and everything else as a record."""
    try:
        is_retraction = "~" not in token and split_jws(token).header.get("typ") == RETRACTION_TYPE
    except (Malformed, RecordRefused):
        is_retraction = False
    return parse_retraction(token) if is_retraction else parse_record(token)


def _with_record(proof: LogProof) -> LogProof:
    if not proof.extra:
        problem = "no record goes along with the proof: nobody can tell what it is the proof of"
        raise MalformedLog(problem, reason="BAD_PROOF", hint=_MAKES_PROOFS)
    return proof


def _signed_by(organisation: Organisation, text: str | bytes) -> VerifiedCheckpoint:
    return verify_checkpoint(text, origin=log_name(organisation.org), vkeys=organisation.log_vkeys)


def _cosigned(checkpoint: VerifiedCheckpoint, known: Known) -> Logged:
    """Return who cosigned a checkpoint: the quorum, or of the organisations whose documents were given all that did."""
    if known.quorum is not None:
        origin = checkpoint.checkpoint.origin
        if known.quorum.logs and known.quorum.vkeys_of(origin) is None:
            raise CheckpointRefused(
                f"the policy is for other logs than {origin!r}",
                reason="NO_QUORUM",
                hint="name the log in it, or leave its log lines out",
            )
        found = known.quorum.verify(checkpoint, now=known.now)
        return Logged(checkpoint, found, known.quorum.cosigned_at(found))
    vkeys = [vkey for organisation in known.organisations.values() for vkey in organisation.witness_vkeys]
    verifiers = [parse_verifier(vkey, algorithm=NoteAlgorithm.COSIGNATURE_V1) for vkey in vkeys]
    return Logged(checkpoint, cosignatures(checkpoint.note, verifiers=verifiers, now=known.now), None)


def _is_evidence(data: bytes) -> bool:
    if not data.lstrip().startswith(b"{"):
        return False
    try:
        value: JSON = parse_json(data)
    except Malformed:
        return False
    return isinstance(value, dict) and value.get("format") == bundles.FORMAT
