"""This module reads and writes signed notes: text with signatures under it (C2SP signed-note).

    lab-a.example/tocsin                            the text, which ends with a newline
    12
    uZo6M+IhVna+CLgWCrJs0xBPUHbozHkYTQASduHSLME=
                                                    an empty line, the last one of the note
    — lab-a.example/tocsin M9e0lrFzoTgi+ovhrqX0…    em dash, key name, base64 of: key hash, signature

A note is read in one spelling only: UTF-8 without control characters but the
newline, standard base64 with its padding, one line for each key. What is read
is not verified: `Verifier` says whose line is whose, and whether it holds.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tocsin.errors import MalformedIdentity, MalformedLog, SignatureMismatch
from tocsin.identity.signer import Signer
from tocsin.identity.vkey import KEY_HASH_BYTES, NoteAlgorithm, format_vkey, key_hash, parse_vkey
from tocsin.records.signature import Ed25519Key

MAX_NOTE: Final = 128 * 1024
"""Bytes. signed-note asks for room for 16 signatures, and those of ML-DSA-44 have 3.3 kB each in base64."""

MAX_SIGNATURES: Final = 64
"""Lines. A checkpoint of a federation has one of its log and one of each peer that witnesses it."""

MOST_REMEMBERED: Final = 256
"""Keys that were read, and signatures that were verified: as many as a federation has under two checkpoints."""

_CONTROLS: Final = bytes(byte for byte in range(0x20) if byte != 0x0A)
_DASH = "\u2014 "
_SPLIT = "\n\n"


@dataclass(frozen=True, slots=True)
class Signature:
    """One line under a note: the name of a key, its hash, and what it signed, unverified."""

    name: str
    key_hash: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line, with its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_hash + self.signature).decode('ascii')}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, its last newline included, and the lines under it, unverified."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under the name with which it signs, for one algorithm."""

    name: str
    key_hash: bytes
    algorithm: NoteAlgorithm
    public_key: bytes

    @property
    def vkey(self) -> str:
        """Return the verifier key as text."""
        return format_vkey(self.name, algorithm=self.algorithm, public_key=self.public_key)

    def is_signer_of(self, line: Signature) -> bool:
        """Return whether name and hash of a line are those of this key: whether the line has to verify."""
        return (line.name, line.key_hash) == (self.name, self.key_hash)

    def verify(self, signature: bytes, *, message: bytes) -> None:
        """Verify 64 bytes of Ed25519 over a message; raises SignatureMismatch."""
        _verify(self.public_key, signature, message)


@lru_cache(MOST_REMEMBERED)
def _verify(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Verify a signature; what verifies is remembered, and does so for ever.

    A checkpoint is looked at from several sides at each contact, with the same lines under it each time.
    """
    Ed25519Key(public_key).verify(signature, message=message)


@lru_cache(MOST_REMEMBERED)
def parse_verifier(vkey: str, *, algorithm: NoteAlgorithm) -> Verifier:
    """Read the verifier key of a log (ED25519) or of a witness (COSIGNATURE_V1), under any name.

    Raises MalformedLog (BAD_NOTE), also for a key of the other algorithm:
    what signs checkpoints is never taken for what cosigns them.
    """
    name = _decode(vkey).partition("+")[0]
    if not _is_name(name):
        raise _malformed("a verifier key begins with a name, which has no spaces")
    try:
        public_key = parse_vkey(vkey, name=name, algorithm=algorithm)
    except MalformedIdentity as error:
        kind = "signs" if algorithm is NoteAlgorithm.ED25519 else "cosigns"
        raise _malformed(f"{name!r} is no key that {kind} checkpoints: {error.message}") from error
    return Verifier(name, key_hash(name, algorithm=algorithm, public_key=public_key), algorithm, public_key)


def parse_note(text: str | bytes) -> Note:
    """Read a signed note; nothing in it may be believed before a signature was verified.

    Raises MalformedLog (BAD_NOTE).
    """
    text = _decode(text)
    body, blank, lines = text.rpartition(_SPLIT)
    if not blank:
        raise _malformed("no empty line stands between the text and its signatures")
    return Note(body + "\n", parse_signatures(lines))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Read signature lines that stand alone, as a witness answers with them.

    Raises MalformedLog (BAD_NOTE), also where one key stands there twice.
    """
    lines = _decode(lines)
    if not lines.endswith("\n"):
        raise _malformed("it has no signatures, or the last line has no end")
    if lines.count("\n") > MAX_SIGNATURES:
        raise _malformed(f"more than {MAX_SIGNATURES} signatures")
    signatures = tuple(_parse_line(line) for line in lines[:-1].split("\n"))
    if len({(each.name, each.key_hash) for each in signatures}) != len(signatures):
        raise _malformed("two signatures are of one key")
    return signatures


def format_note(note: Note) -> str:
    """Return the note as text."""
    return note.text + "\n" + "".join(each.line() for each in note.signatures)


def sign_text(text: str, *, name: str, signer: Signer) -> Signature:
    """Sign a text under a name (signed-note, Ed25519 signatures).

    Raises RuntimeError for a text or a name that no note can have: they are ours.
    """
    hashed = key_hash(name, algorithm=NoteAlgorithm.ED25519, public_key=signer.public_key)
    signature = Signature(name, hashed, signer.sign(text.encode()))
    require_note(text, [signature])
    return signature


def require_note(text: str, signatures: Sequence[Signature]) -> None:
    """Raise RuntimeError where what we are about to publish would not be read back."""
    try:
        read = parse_note(format_note(Note(text, tuple(signatures))))
    except MalformedLog as error:
        raise RuntimeError(f"what was to be signed makes no note: {error.message}") from error
    if read.text != text:
        raise RuntimeError("what was to be signed ends in an empty line, or in none")


def verify_text(note: Note, *, verifiers: Sequence[Verifier]) -> tuple[Verifier, ...]:
    """Verify the text of a note (signed-note, Signatures), and return the keys that signed it, none or more.

    A line of a key that is not given is ignored, one of a key that is given
    must verify. The caller MUST refuse the note where no key signed it.

    Raises SignatureMismatch.
    """
    signed = []
    for line in note.signatures:
        known = [each for each in verifiers if each.is_signer_of(line)]
        if known:
            signed.append(_verify_line(line, known, message=note.text.encode()))
    return tuple(signed)


def _verify_line(line: Signature, known: Sequence[Verifier], *, message: bytes) -> Verifier:
    # Two keys of one name may share their four bytes of hash: the line is good if it is of either.
    for verifier in known:
        try:
            verifier.verify(line.signature, message=message)
        except SignatureMismatch:
            continue
        return verifier
    raise SignatureMismatch(f"the signature of {line.name!r} does not verify")


def _decode(text: str | bytes) -> str:
    try:
        raw = text if isinstance(text, bytes) else text.encode()
        text = raw.decode()
    except UnicodeError as error:
        raise _malformed("it is not UTF-8") from error
    if len(raw) > MAX_NOTE:
        raise _malformed(f"more than {MAX_NOTE} bytes")
    if len(raw.translate(None, _CONTROLS)) != len(raw):
        raise _malformed("a control character stands in it")
    return text


def _parse_line(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not _is_name(name):
        raise _malformed("a line below the text is not of the form: em dash, name, base64")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError as error:  # binascii.Error, or characters beyond ASCII
        raise _malformed(f"the signature of {name!r} is not base64") from error
    if len(raw) <= KEY_HASH_BYTES or base64.b64encode(raw).decode("ascii") != encoded:
        raise _malformed(f"the signature of {name!r} is not base64 of a key hash and a signature")
    return Signature(name, raw[:KEY_HASH_BYTES], raw[KEY_HASH_BYTES:])


def _is_name(name: str) -> bool:
    return "+" not in name and name.split() == [name]


def _malformed(problem: str) -> MalformedLog:
    return MalformedLog(f"not a signed note: {problem}", reason="BAD_NOTE")
