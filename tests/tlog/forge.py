"""This module makes logs, witnesses and notes for tests: the same name always has the same keys."""

from tests.support.organisations import NOW, signer
from tests.tlog.reference import Kept, entries_of, kept
from tocsin.identity.signer import Signer
from tocsin.identity.vkey import NoteAlgorithm, format_vkey
from tocsin.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, cosign, sign_checkpoint, verify_checkpoint
from tocsin.tlog.merkle import root
from tocsin.tlog.note import Verifier, parse_verifier

ORIGIN = "lab-a.example/tocsin"
LOG = signer("lab-a.example log")
ENTRIES = entries_of(20)
NODES = kept(ENTRIES)


def log_vkey(origin: str = ORIGIN, of: Signer = LOG) -> str:
    return format_vkey(origin, algorithm=NoteAlgorithm.ED25519, public_key=of.public_key)


def witness_vkey(name: str, of: Signer | None = None) -> str:
    key = (of or signer(name)).public_key
    return format_vkey(name, algorithm=NoteAlgorithm.COSIGNATURE_V1, public_key=key)


def witness(name: str, of: Signer | None = None) -> Verifier:
    return parse_verifier(witness_vkey(name, of), algorithm=NoteAlgorithm.COSIGNATURE_V1)


def checkpoint(size: int, *, origin: str = ORIGIN, nodes: Kept = NODES) -> Checkpoint:
    return Checkpoint(origin, size, root(size, nodes))


def signed(size: int, of: Signer = LOG) -> str:
    return sign_checkpoint(checkpoint(size), signer=of)


def verified(text: str) -> VerifiedCheckpoint:
    return verify_checkpoint(text, origin=ORIGIN, vkeys=[log_vkey()])


def cosigned(text: str, *names: str, at: int = NOW) -> str:
    """Return a checkpoint with the cosignatures of witnesses under it."""
    return text + "".join(cosign(verified(text), name=name, signer=signer(name), now=at) for name in names)
