"""This module writes and verifies evidence that an origin has shown two histories: whoever has it sees it, offline.

    {"format": "tocsin-evidence/v1", "kind": "fork", "identity": {…}, "checkpoints": ["…", "…"], …}

    fork      two checkpoints, and a consistency proof that leads to the newer one from another
              root than the older one's                                      checkpoints, older_root, proof
    entries   two entries with one id half and two digests, both in one tree          checkpoints, entries
    record    a record that the origin signed, and in its log, under the id half
              of that record, another digest                          checkpoints, entries, record
    rollback  two checkpoints that the origin itself has cosigned as its newest, of which the later
              one has fewer entries                                           checkpoints, the earlier first

Every part is signed by the origin itself, so that it does not matter who made
the bundle. `identity` is the origin's document: whoever verifies compares its
fingerprint, as for a peer. Who holds a document of the origin already gives it
too: keys that the newer of the two does not name prove nothing.
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tocsin.encoding import JSON, decode_base64url, dump_json, parse_json
from tocsin.errors import MalformedEncoding, MalformedIdentity, MalformedLog, SignatureMismatch
from tocsin.identity.root import Organisation, parse_identity, update_identity
from tocsin.identity.vkey import NoteAlgorithm, log_name
from tocsin.records.record import parse_record
from tocsin.tlog.checkpoint import VerifiedCheckpoint, cosignatures, verify_checkpoint
from tocsin.tlog.entry import digest_half, id_half, record_entry
from tocsin.tlog.merkle import HASH_BYTES, consistency_roots, leaf_hash, verify_inclusion
from tocsin.tlog.note import Note, parse_verifier
from tocsin.tlog.proof import format_hashes, parse_hashes

FORMAT: Final = "tocsin-evidence/v1"
MAX_EVIDENCE: Final = 4 * 1024 * 1024
"""Bytes: a record and an identity document, 1 MiB each, and as much again for what they are written in."""

_ANY_TIME: Final = 1 << 64
"""Behind every time that a cosignature can state: what an origin says of itself stands, whatever its clock."""


class Kind(StrEnum):
    """What an origin was caught with."""

    FORK = "fork"
    ENTRIES = "entries"
    RECORD = "record"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry, and the way from it to the root of the checkpoint that it stands beside."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The parts of a bundle: unverified. Which of them there are says `kind`."""

    kind: Kind
    identity: bytes
    checkpoints: tuple[str, ...]
    older_root: bytes = b""
    proof: tuple[bytes, ...] = ()
    entries: tuple[LoggedEntry, ...] = ()
    record: str = ""


@dataclass(frozen=True, slots=True)
class VerifiedEvidence:
    """What is proved, and against whom, by the document under whose keys it was verified."""

    kind: Kind
    origin: Organisation
    finding: str

    @property
    def version(self) -> int:
        """Return the version of that document."""
        return self.origin.version


def dump_evidence(evidence: Evidence) -> bytes:
    """Write a bundle."""
    parts: dict[str, JSON] = {
        "format": FORMAT,
        "kind": evidence.kind.value,
        "identity": parse_json(evidence.identity),
        "checkpoints": list(evidence.checkpoints),
    }
    if evidence.kind is Kind.FORK:
        parts |= {"older_root": _text(evidence.older_root), "proof": [*format_hashes(evidence.proof)]}
    if evidence.kind in _ENTRIES:
        parts["entries"] = [
            {"index": one.index, "entry": _text(one.entry), "proof": [*format_hashes(one.proof)]}
            for one in evidence.entries
        ]
    if evidence.kind is Kind.RECORD:
        parts["record"] = evidence.record
    return dump_json(parts)


def parse_evidence(data: bytes) -> Evidence:
    """Read a bundle; nothing in it may be believed yet. Raises MalformedLog (BAD_EVIDENCE, BAD_PROOF)."""
    if len(data) > MAX_EVIDENCE:
        raise _malformed(f"it has more than {MAX_EVIDENCE} bytes")
    try:
        parts = parse_json(data)
    except MalformedEncoding as error:
        raise _malformed(error.message) from error
    if not isinstance(parts, dict) or parts.get("format") != FORMAT or parts.get("kind") not in [*Kind]:
        raise _malformed(f"it is not of the format {FORMAT}")
    kind = Kind(str(parts["kind"]))
    if parts.keys() != _MEMBERS[kind]:
        raise _malformed(f"evidence of the kind {kind} does not have these members")
    return Evidence(
        kind=kind,
        identity=dump_json(parts["identity"]),
        checkpoints=_texts(parts["checkpoints"], count=1 if kind in _ENTRIES else 2),
        older_root=_bytes(parts["older_root"]) if kind is Kind.FORK else b"",
        proof=parse_hashes(_texts(parts["proof"])) if kind is Kind.FORK else (),
        entries=_entries(parts["entries"], count=_ENTRIES[kind]) if kind in _ENTRIES else (),
        record=_texts([parts["record"]])[0] if kind is Kind.RECORD else "",
    )


def verify_evidence(evidence: Evidence, *, known: Organisation | None = None) -> VerifiedEvidence:
    """Verify that an origin has shown two histories.

    `known` is the origin by the document that the caller holds, if it does.

    1. the identity document holds together; also one that has expired, since what was signed stays so
    2. it is of the organisation that is known; the newer one of both documents counts, and goes on from the older
    3. each checkpoint is of the origin's log, and signed by it        C2SP tlog-checkpoint
    4. they, or what is proved to be in the tree, contradict one another

    Where nobody is `known`, the caller MUST compare the fingerprint of the
    origin, and a key that was stolen counts until a newer document drops it.

    Raises MalformedIdentity (FINGERPRINT_MISMATCH for another organisation),
    MalformedLog (BAD_EVIDENCE where nothing is contradicted),
    CheckpointRefused, ProofMismatch, and RecordRefused for a record that the
    origin did not sign.
    """
    origin = parse_identity(evidence.identity, now=0, check_expiry=False)  # 1
    if known is not None:
        origin = _newer(origin, known)  # 2
    name, vkeys = log_name(origin.org), origin.log_vkeys
    checkpoints = [verify_checkpoint(text, origin=name, vkeys=vkeys) for text in evidence.checkpoints]  # 3
    if evidence.kind is Kind.FORK:  # 4
        finding = _fork(checkpoints, evidence)
    elif evidence.kind is Kind.ROLLBACK:
        finding = _rollback(checkpoints, origin)
    elif evidence.kind is Kind.ENTRIES:
        finding = _two_entries(checkpoints[0], evidence.entries)
    else:
        finding = _other_record(checkpoints[0], evidence, origin)
    return VerifiedEvidence(evidence.kind, origin, finding)


def _newer(given: Organisation, known: Organisation) -> Organisation:
    """Return the organisation by the newer of its documents; of two of one version, the one that is known counts.

    Only a document that goes on from the known one can replace it: the
    fingerprint is that of version 1, and whoever stole root keys that were
    removed since writes other versions from there on.
    """
    if given.fingerprint != known.fingerprint:
        problem = f"the evidence is against another organisation than the {known.org} that is known here"
        raise MalformedIdentity(problem, reason="FINGERPRINT_MISMATCH")
    if given.version <= known.version:
        return known
    return update_identity(known, given.document, now=0)[0]  # at that time, nothing has expired


def is_fork(older: VerifiedCheckpoint, newer: VerifiedCheckpoint, *, proof: Sequence[bytes], older_root: bytes) -> bool:
    """Say whether a proof leads to the newer root, and from another root than the older one's.

    Both are of one log. Raises MalformedLog (BAD_PROOF) for a proof that does not go with the sizes.
    """
    before, after = older.checkpoint, newer.checkpoint
    if before.size == after.size:
        return before.root != after.root
    began, ended = consistency_roots(old=before.size, new=after.size, proof=proof, old_root=older_root)
    return ended == after.root and began != before.root


def is_rollback(earlier: VerifiedCheckpoint, later: VerifiedCheckpoint, *, origin: Organisation) -> bool:
    """Say whether an origin has cosigned a tree as its newest, and at a later time a smaller one.

    Both are of its log. What it says of itself has to hold together
    whatever its clock was: the two times are of one clock, and none of ours.
    """
    before, after = [*_shown(earlier, origin)], [*_shown(later, origin)]
    is_smaller = later.checkpoint.size < earlier.checkpoint.size
    return is_smaller and bool(before and after) and min(before) < max(after)


def shown_at(checkpoint: VerifiedCheckpoint, *, origin: Organisation) -> int | None:
    """Return when an origin last said that a checkpoint of its log is the newest: None where it has not.

    It says so by its own cosignature; a line of its key that does not verify says nothing.
    """
    return max(_shown(checkpoint, origin), default=None)


def _shown(checkpoint: VerifiedCheckpoint, origin: Organisation) -> Iterator[int]:
    """Yield the time of each cosignature of the origin's own witness keys; there are two where a key was replaced."""
    verifiers = [parse_verifier(vkey, algorithm=NoteAlgorithm.COSIGNATURE_V1) for vkey in origin.witness_vkeys]
    for line in checkpoint.note.signatures:
        alone = Note(checkpoint.note.text, (line,))
        with suppress(SignatureMismatch):
            yield from (each.at for each in cosignatures(alone, verifiers=verifiers, now=_ANY_TIME))


def _rollback(checkpoints: Sequence[VerifiedCheckpoint], origin: Organisation) -> str:
    earlier, later = checkpoints
    if not is_rollback(earlier, later, origin=origin):
        raise _malformed("the two checkpoints were not shown in the order of a log that was put back")
    sizes = earlier.checkpoint.size, later.checkpoint.size
    return f"it showed a tree of {sizes[0]} entries as its newest, and later one of {sizes[1]}"


def _fork(checkpoints: Sequence[VerifiedCheckpoint], evidence: Evidence) -> str:
    older, newer = checkpoints
    if not is_fork(older, newer, proof=evidence.proof, older_root=evidence.older_root):
        raise _malformed("the two checkpoints do not contradict one another")
    sizes = older.checkpoint.size, newer.checkpoint.size
    if sizes[0] == sizes[1]:
        return f"it signed two different trees of {sizes[0]} entries"
    return f"its tree of {sizes[1]} entries does not begin with the tree of {sizes[0]} entries that it signed as well"


def _two_entries(checkpoint: VerifiedCheckpoint, entries: Sequence[LoggedEntry]) -> str:
    for one in entries:
        _verify_in(checkpoint, one)
    first, second = entries
    if id_half(first.entry) != id_half(second.entry) or first.entry == second.entry:
        raise _malformed("the two entries do not contradict one another")
    return f"its log has two different things under one id and version, at {first.index} and {second.index}"


def _other_record(checkpoint: VerifiedCheckpoint, evidence: Evidence, origin: Organisation) -> str:
    (logged,) = evidence.entries
    _verify_in(checkpoint, logged)
    unverified = parse_record(evidence.record)
    record = unverified.verify(origin, now=unverified.issued_at)
    ours = record_entry(record.record_id, record.version, decode_base64url(record.digest))
    if id_half(ours) != id_half(logged.entry) or digest_half(ours) == digest_half(logged.entry):
        raise _malformed("the record does not contradict the entry")
    return (
        f"it signed a version {record.version} of {record.record_id} that is not the one in its log, at {logged.index}"
    )


def _verify_in(checkpoint: VerifiedCheckpoint, one: LoggedEntry) -> None:
    size, root = checkpoint.checkpoint.size, checkpoint.checkpoint.root
    verify_inclusion(leaf_hash(one.entry), index=one.index, size=size, proof=one.proof, root=root)


def _entries(value: JSON, *, count: int) -> tuple[LoggedEntry, ...]:
    if not isinstance(value, list) or len(value) != count:
        raise _malformed(f"it does not hold {count} entries")
    return tuple(map(_entry, value))


def _entry(value: JSON) -> LoggedEntry:
    if not isinstance(value, dict) or value.keys() != {"index", "entry", "proof"}:
        raise _malformed("an entry does not have its three members")
    index = value["index"]
    if type(index) is not int or index < 0:
        raise _malformed("the index of an entry is no number")
    entry = _bytes(value["entry"], count=2 * HASH_BYTES)
    return LoggedEntry(index, entry, parse_hashes(_texts(value["proof"])))


def _texts(value: JSON, *, count: int | None = None) -> tuple[str, ...]:
    if not isinstance(value, list) or count not in (None, len(value)):
        raise _malformed("a list is not one, or not as long as it must be")
    if not all(isinstance(text, str) for text in value):
        raise _malformed("a text is none")
    return tuple(map(str, value))


def _bytes(value: JSON, *, count: int = HASH_BYTES) -> bytes:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if len(data) != count or _text(data) != value:
        raise _malformed(f"what is not {count} bytes in base64 stands for a hash or an entry")
    return data


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _malformed(problem: str) -> MalformedLog:
    return MalformedLog(f"the evidence does not hold: {problem}", reason="BAD_EVIDENCE")


_MEMBERS: Final = {
    Kind.FORK: {"format", "kind", "identity", "checkpoints", "older_root", "proof"},
    Kind.ENTRIES: {"format", "kind", "identity", "checkpoints", "entries"},
    Kind.RECORD: {"format", "kind", "identity", "checkpoints", "entries", "record"},
    Kind.ROLLBACK: {"format", "kind", "identity", "checkpoints"},
}
_ENTRIES: Final = {
    Kind.ENTRIES: 2,
    Kind.RECORD: 1,
}  # how many stand beside one checkpoint; other kinds have two, and none
