"""This module reads, signs, cosigns and verifies checkpoints (C2SP tlog-checkpoint, tlog-cosignature).

    lab-a.example/tocsin                            origin: which log
    12                                              how many entries it has
    uZo6M+IhVna+CLgWCrJs0xBPUHbozHkYTQASduHSLME=    the root of the tree over them, in base64

    — lab-a.example/tocsin M9e0lrFzoTgi…            the log itself, over the three lines
    — aisi.example/witness O8PH5AAAAABopO8+…        a witness: key hash, 8 bytes of time, signature over

        cosignature/v1
        time 1755639614
        lab-a.example/tocsin …                      and the rest of the three lines

A witness says: at this time, this was the largest tree of the log that I had
seen, and it began with all that I had seen before. Lines behind the third,
which some logs write, are read and never accepted: nobody can audit them.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import pybase64

from tocsin.errors import CheckpointRefused, MalformedLog, SignatureMismatch
from tocsin.identity.signer import Signer
from tocsin.identity.vkey import NoteAlgorithm, key_hash
from tocsin.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from tocsin.tlog.note import (
    Note,
    Signature,
    Verifier,
    format_note,
    parse_note,
    parse_signatures,
    parse_verifier,
    require_note,
    sign_text,
    verify_text,
)

MAX_CHECKPOINT: Final = 32 * 1024
"""Bytes: three lines and 64 signatures under the longest names that organisations have stay below."""

MOST_REMEMBERED: Final = 128
"""Checkpoints that are not read and verified again when they come again: of the largest, four mebibytes."""

CLOCK_SKEW: Final = 300
"""Seconds that a witness's clock may be ahead of ours, as for records and their expiry."""

_TIME_BYTES = 8
_FEWEST_LINES = 3
_HASH_CHARACTERS = 44
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)  # 2^63 - 1 has 19 digits


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Which log, how large, and the root of its tree."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()  # lines that other logs write; in ours there are none

    def body(self) -> str:
        """Return the text that is signed, its last newline included."""
        root = base64.b64encode(self.root).decode("ascii")
        return "\n".join((self.origin, str(self.size), root, *self.extensions, ""))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint of the right form, and the lines under it: nothing of it may be believed yet."""

    checkpoint: Checkpoint
    note: Note = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint that the log itself signed; who cosigned it is still to be asked."""

    checkpoint: Checkpoint
    note: Note = field(repr=False)

    @property
    def text(self) -> str:
        """Return the signed note as it was read."""
        return format_note(self.note)


@dataclass(frozen=True, slots=True)
class Cosignature:
    """What a witness signed under a checkpoint, and when: verified."""

    verifier: Verifier
    at: int
    line: Signature = field(repr=False)


@lru_cache(MOST_REMEMBERED)
def parse_checkpoint(text: str | bytes) -> SignedCheckpoint:
    """Read a checkpoint, of our logs or of others.

    What reads well is remembered: every record of a page comes with the same one.

    Raises MalformedLog (BAD_NOTE, BAD_CHECKPOINT).
    """
    note = parse_note(text)
    if len(format_note(note).encode()) > MAX_CHECKPOINT:
        raise _malformed(f"more than {MAX_CHECKPOINT} bytes")
    lines = note.text[:-1].split("\n")
    if len(lines) < _FEWEST_LINES or not all(lines):
        raise _malformed("it has three lines at least, and none is empty")
    origin, number, root_line, *extensions = lines
    size, root = number_of(number), hash_of(root_line)
    if size is None:
        raise _malformed("its second line is no number of entries")
    if root is None:
        raise _malformed(f"its third line is not the base64 of {HASH_BYTES} bytes")
    if not size and root != EMPTY_ROOT:
        raise _malformed("a tree without entries has another root")
    return SignedCheckpoint(Checkpoint(origin, size, root, tuple(extensions)), note)


def sign_checkpoint(checkpoint: Checkpoint, *, signer: Signer) -> str:
    """Return the checkpoint as a note, signed by the log under its origin.

    The caller MUST have kept the tree and the checkpoint first: a log that
    signs two trees of one size, or a smaller one later, has forked.

    Raises RuntimeError for a checkpoint that cannot be: it is ours.
    """
    line = sign_text(checkpoint.body(), name=checkpoint.origin, signer=signer)
    text = format_note(Note(checkpoint.body(), (line,)))
    try:
        read = parse_checkpoint(text).checkpoint
    except MalformedLog as error:
        raise RuntimeError(f"what was to be signed makes no checkpoint: {error.message}") from error
    if read != checkpoint or read.extensions:
        raise RuntimeError("what was to be signed reads as another checkpoint")
    return text


def verify_checkpoint(text: str | bytes, *, origin: str, vkeys: Sequence[str]) -> VerifiedCheckpoint:
    """Verify that a log signed a checkpoint.

      1. it is a checkpoint                                          signed-note, tlog-checkpoint Note text
      2. of this log, without extension lines                        tlog-checkpoint Note text 1, 4
      3. each line of a given key verifies; others are ignored       signed-note Signatures
      4. and there is one at least

    The caller MUST still hold it against the last checkpoint of the log that
    it has seen, and ask its quorum: a log may sign two histories.

    Raises MalformedLog (BAD_NOTE, BAD_CHECKPOINT), also for a verifier key
    that is none of a log, and CheckpointRefused (UNSIGNED_CHECKPOINT).
    """
    return _verify_checkpoint(text, origin, tuple(vkeys))


@lru_cache(MOST_REMEMBERED)
def _verify_checkpoint(text: str | bytes, origin: str, vkeys: tuple[str, ...]) -> VerifiedCheckpoint:
    """Verify it; what verifies is remembered by its exact text and keys, and does so for ever."""
    verifiers = [parse_verifier(vkey, algorithm=NoteAlgorithm.ED25519) for vkey in vkeys]
    signed = parse_checkpoint(text)  # 1
    if signed.checkpoint.origin != origin:  # 2
        raise _malformed(f"it is of {signed.checkpoint.origin!r}, not of {origin!r}")
    if signed.checkpoint.extensions:
        raise _malformed("lines stand behind its root, which nobody can audit")
    try:
        keys = verify_text(signed.note, verifiers=verifiers)  # 3
    except SignatureMismatch as error:
        raise _unsigned(f"a signature of {origin!r} does not verify") from error
    if not keys:  # 4
        raise _unsigned(f"no signature is by a key of {origin!r}")
    return VerifiedCheckpoint(signed.checkpoint, signed.note)


def cosign(checkpoint: VerifiedCheckpoint, *, name: str, signer: Signer, now: int) -> str:
    """Return the line by which a witness cosigns a checkpoint, with its newline (tlog-cosignature, Ed25519).

    The caller MUST have found the checkpoint consistent with all that it has
    cosigned of the log, and have kept it, before it asks for the line.

    Raises RuntimeError for a name that no line can have: it is ours.
    """
    signature = now.to_bytes(_TIME_BYTES, "big") + signer.sign(_cosigned(checkpoint.note.text, at=now))
    hashed = key_hash(name, algorithm=NoteAlgorithm.COSIGNATURE_V1, public_key=signer.public_key)
    line = Signature(name, hashed, signature)
    require_note(checkpoint.note.text, [line])
    return line.line()


def cosignatures(note: Note, *, verifiers: Iterable[Verifier], now: int) -> tuple[Cosignature, ...]:
    """Verify the cosignatures of known witnesses, and return them in the order of the note (tlog-cosignature).

      1. lines of other keys are ignored                                     signed-note Signatures
      2. 8 bytes of time and a signature over time and text, which verifies  tlog-cosignature Format, Ed25519
      3. the time has come, give or take CLOCK_SKEW                          tlog-cosignature Format

    The caller MUST have verified the checkpoint of the note, and MUST count
    each organisation once, whatever it has in keys.

    Raises SignatureMismatch, and CheckpointRefused (FUTURE_COSIGNATURE).
    """
    known = tuple(verifiers)
    if any(each.algorithm is not NoteAlgorithm.COSIGNATURE_V1 for each in known):
        raise RuntimeError("a key that signs checkpoints was given as one that cosigns them")
    found = []
    for line in note.signatures:
        candidates = [each for each in known if each.is_signer_of(line)]
        if candidates:  # 1
            found.append(_verify_cosignature(line, candidates, text=note.text))  # 2
            if found[-1].at > now + CLOCK_SKEW:  # 3
                raise CheckpointRefused(
                    f"{line.name!r} has cosigned {found[-1].at - now} seconds from now",
                    reason="FUTURE_COSIGNATURE",
                    hint="compare the clocks of both machines",
                )
    return tuple(found)


def add_cosignatures(text: str, lines: str, *, verifiers: Sequence[Verifier], now: int) -> str:
    """Return a checkpoint with the cosignatures that witnesses answered with (tlog-witness, add-checkpoint).

    Lines of unknown keys are left out. There is one line a key: where the
    checkpoint has one that verifies, the earlier one stays, so that adding
    the same lines again, or in another order, changes nothing but the order.

    Raises as `parse_checkpoint` and `cosignatures` do for the lines, and
    nothing for those under the checkpoint: one that does not verify makes way.
    """
    note = parse_checkpoint(text).note
    given = cosignatures(Note(note.text, parse_signatures(lines)), verifiers=verifiers, now=now)
    held = {(line.name, line.key_hash): line for line in note.signatures}
    for new in given:
        key = (new.line.name, new.line.key_hash)
        old = _time_of(held.get(key), new.verifier, text=note.text)
        if old is None or new.at < old:
            held[key] = new.line
    added = format_note(Note(note.text, tuple(held.values())))
    parse_checkpoint(added)  # there may be too many now
    return added


def number_of(text: str) -> int | None:
    """Return what a size or an index says, or None for any other spelling of one, or one beyond 2^63 - 1."""
    number = int(text) if _NUMBER.fullmatch(text) else MAX_SIZE + 1
    return number if number <= MAX_SIZE else None


def hash_of(line: str) -> bytes | None:
    """Return the hash whose only base64 this is, or None."""
    return _hash_of(line) if len(line) == _HASH_CHARACTERS else None


@lru_cache(4096)  # the proofs of a page share most of their hashes
def _hash_of(line: str) -> bytes | None:
    try:
        raw = pybase64.b64decode(line, validate=True)
    except ValueError:  # binascii.Error, or characters beyond ASCII
        return None
    return raw if len(raw) == HASH_BYTES and pybase64.b64encode_as_string(raw) == line else None


def _verify_cosignature(line: Signature, candidates: Sequence[Verifier], *, text: str) -> Cosignature:
    # As in `note`: two keys may share name and hash.
    for verifier in candidates:
        at = _time_of(line, verifier, text=text)
        if at is not None:
            return Cosignature(verifier, at, line)
    raise SignatureMismatch(f"the cosignature of {line.name!r} does not verify")


def _time_of(line: Signature | None, verifier: Verifier, *, text: str) -> int | None:
    """Return when a witness cosigned a text, or None where the line is not its cosignature."""
    if line is None:
        return None
    at = int.from_bytes(line.signature[:_TIME_BYTES], "big")
    try:
        verifier.verify(line.signature[_TIME_BYTES:], message=_cosigned(text, at=at))
    except SignatureMismatch:
        return None
    return at


def _cosigned(text: str, *, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _malformed(problem: str) -> MalformedLog:
    return MalformedLog(f"not a checkpoint: {problem}", reason="BAD_CHECKPOINT")


def _unsigned(problem: str) -> CheckpointRefused:
    return CheckpointRefused(problem, reason="UNSIGNED_CHECKPOINT")
