"""This module writes and reads the verifier keys of signed notes (C2SP signed-note).

    <name>+<key hash, 8 hex digits>+<base64 of: algorithm byte, 32 bytes of public key>

    lab-a.example/tocsin+1f0d6a3c+AaYx…      algorithm 0x01: signs checkpoints of the log
    lab-a.example/witness+9b1deb4d+BKPr…     algorithm 0x04: cosigns checkpoints of others (cosignature/v1)

The key hash is the start of SHA-256(name ‖ newline ‖ algorithm byte ‖ public
key): it picks the line of a note to look at and proves nothing.
"""

import base64
import hashlib
from enum import IntEnum

from tocsin.errors import MalformedIdentity
from tocsin.identity.admission import verify_public_key
from tocsin.identity.names import OrgId

KEY_HASH_BYTES = 4


class NoteAlgorithm(IntEnum):
    """The signature types of C2SP signed-note that we use."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04


def log_name(org: OrgId) -> str:
    """Return the origin line of an organisation's log."""
    return f"{org}/tocsin"


def witness_name(org: OrgId) -> str:
    """Return the name under which an organisation cosigns the logs of others."""
    return f"{org}/witness"


def format_vkey(name: str, *, algorithm: NoteAlgorithm, public_key: bytes) -> str:
    """Return the verifier key of an Ed25519 public key."""
    hashed = key_hash(name, algorithm=algorithm, public_key=public_key)
    encoded = base64.b64encode(bytes([algorithm]) + public_key).decode("ascii")
    return f"{name}+{hashed.hex()}+{encoded}"


def key_hash(name: str, *, algorithm: NoteAlgorithm, public_key: bytes) -> bytes:
    """Return the four bytes that a signature line carries beside the name of its key."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()[:KEY_HASH_BYTES]


def parse_vkey(text: str, *, name: str, algorithm: NoteAlgorithm) -> bytes:
    """Read a verifier key of a known name and algorithm, and return its 32 bytes of public key.

    What the parts say is compared with what they must say by writing the
    verifier key again, so that it has one spelling only.

    Raises MalformedIdentity.
    """
    _, _, encoded = text.removeprefix(f"{name}+").partition("+")
    try:
        public_key = base64.b64decode(encoded, validate=True)[1:]
    except ValueError as error:  # binascii.Error, or characters beyond ASCII
        raise _malformed(name) from error
    if text != format_vkey(name, algorithm=algorithm, public_key=public_key):
        raise _malformed(name)
    verify_public_key(public_key)
    return public_key


def _malformed(name: str) -> MalformedIdentity:
    return MalformedIdentity(f"not a verifier key for {name}", reason="BAD_IDENTITY")
