"""This module reads, writes and verifies proofs that an entry is in a log (C2SP tlog-proof).

    c2sp.org/tlog-proof@v1
    extra eyJ…                                      optional: base64 of whatever goes along, signed by nobody
    index 7                                         which entry, from 0
    JW27adKabAL7le2rFDSEUhPM94lzNjlhqi1BDFCFLCQ=    hashes, from beside the leaf up to below the root
    …
                                                    an empty line, then the checkpoint as it is
    lab-a.example/tocsin
    12
    …

A proof stands alone: with the keys of the log and a quorum of witnesses,
everybody can verify it, without a node and without the log.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tocsin.errors import MalformedLog
from tocsin.tlog.checkpoint import (
    VerifiedCheckpoint,
    hash_of,
    number_of,
    parse_checkpoint,
    verify_checkpoint,
)
from tocsin.tlog.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from tocsin.tlog.quorum import Quorum

MAX_HASHES: Final = 63
"""A tree of 2^63 - 1 leaves is 63 levels high; tlog-witness states the same number."""

MAX_PROOF: Final = 64 * 1024
"""Bytes: a checkpoint, 63 hashes, and as much again for what goes along."""

MAX_FILE: Final = 2 * 1024 * 1024
"""Bytes of a proof with a record along it: a token has 1 MiB at most, and a third more in base64."""

HEADER: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class LogProof:
    """The place of an entry, the way from it to a root, and the checkpoint of that root: unverified."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str = field(repr=False)
    extra: bytes = field(default=b"", repr=False)  # authenticated by nothing


@dataclass(frozen=True, slots=True)
class VerifiedProof:
    """An entry that is in the tree of a checkpoint, and since when a quorum stands behind it."""

    index: int
    checkpoint: VerifiedCheckpoint
    cosigned_at: int | None  # None where no quorum was asked for


def parse_proof(text: str, *, most: int = MAX_PROOF) -> LogProof:
    """Read a proof of so many characters at most; nothing in it may be believed yet.

    Raises MalformedLog (BAD_PROOF; BAD_NOTE and BAD_CHECKPOINT for what is wrong with its checkpoint).
    """
    if len(text) > most:
        raise _malformed(f"more than {most} characters")
    head, blank, checkpoint = text.partition("\n\n")
    if not blank:
        raise _malformed("no empty line stands before a checkpoint")
    lines = head.split("\n")
    if lines.pop(0) != HEADER:
        raise _malformed(f"it does not begin with {HEADER}")
    extra = _parse_extra(lines.pop(0)) if lines and lines[0].startswith("extra ") else b""
    index = number_of(lines.pop(0).removeprefix("index ")) if lines and lines[0].startswith("index ") else None
    if index is None:
        raise _malformed("it does not say which entry")
    hashes = parse_hashes(lines)
    parse_checkpoint(checkpoint)
    return LogProof(index, hashes, checkpoint, extra)


def format_proof(proof: LogProof, *, most: int = MAX_PROOF) -> str:
    """Return the proof as text; raises RuntimeError for one that would not be read back: it is ours."""
    extra = [f"extra {base64.b64encode(proof.extra).decode('ascii')}"] if proof.extra else []
    head = [HEADER, *extra, f"index {proof.index}", *format_hashes(proof.hashes)]
    text = "\n".join(head) + "\n\n" + proof.checkpoint
    try:
        read = parse_proof(text, most=most)
    except MalformedLog as error:
        raise RuntimeError(f"what was to be written makes no proof: {error.message}") from error
    if read != proof:
        raise RuntimeError("what was to be written reads as another proof")
    return text


def verify_proof(
    proof: LogProof, entry: bytes, *, origin: str, vkeys: Sequence[str], quorum: Quorum | None, now: int
) -> VerifiedProof:
    """Verify that an entry is in a log, and that a quorum of witnesses has seen the tree that it is in.

      1. the log signed the checkpoint                            tlog-checkpoint (`verify_checkpoint`)
      2. the quorum cosigned it, where one is asked for           tlog-cosignature, tlog-policy (`Quorum.verify`)
      3. the hashes lead from the entry to the checkpoint's root  tlog-proof Format, RFC 6962 section 2.1.1

    The caller MUST have made the entry itself, of what it says it is the
    proof of, and MUST believe nothing in `extra`. What was proven is that the
    log shows the entry to whoever asks, not that what it stands for is true.

    Raises MalformedLog, CheckpointRefused, SignatureMismatch, and ProofMismatch (NOT_INCLUDED).
    """
    checkpoint = verify_checkpoint(proof.checkpoint, origin=origin, vkeys=vkeys)  # 1
    cosigned_at = None
    if quorum is not None:
        cosigned_at = quorum.cosigned_at(quorum.verify(checkpoint, now=now))  # 2
    size, root = checkpoint.checkpoint.size, checkpoint.checkpoint.root
    verify_inclusion(leaf_hash(entry), index=proof.index, size=size, proof=proof.hashes, root=root)  # 3
    return VerifiedProof(proof.index, checkpoint, cosigned_at)


def parse_hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    """Read the hashes of a proof, one a line. Raises MalformedLog (BAD_PROOF)."""
    if len(lines) > MAX_HASHES:
        raise _malformed(f"more than {MAX_HASHES} hashes")
    hashes = []
    for number, line in enumerate(lines, start=1):
        each = hash_of(line)
        if each is None:
            raise _malformed(f"hash {number} is not the base64 of {HASH_BYTES} bytes")
        hashes.append(each)
    return tuple(hashes)


def format_hashes(hashes: Sequence[bytes]) -> list[str]:
    """Return the hashes of a proof as lines."""
    return [base64.b64encode(each).decode("ascii") for each in hashes]


def _parse_extra(line: str) -> bytes:
    encoded = line.removeprefix("extra ")
    try:
        extra = base64.b64decode(encoded, validate=True)
    except ValueError as error:  # binascii.Error, or characters beyond ASCII
        raise _malformed("what goes along is not base64") from error
    if not extra or base64.b64encode(extra).decode("ascii") != encoded:
        raise _malformed("what goes along is not base64 in its only spelling, or is nothing")
    return extra


def _malformed(problem: str) -> MalformedLog:
    return MalformedLog(f"not a proof: {problem}", reason="BAD_PROOF")
