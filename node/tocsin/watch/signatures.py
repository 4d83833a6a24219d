"""This module puts together what is signed under one checkpoint, from what several have brought.

    the log itself            every key of it that counts today
    its origin, as a witness  the latest time of each key: when it last said that this is its newest
    other witnesses           the earliest time of each key: since when it is known

What does not verify is left out, and so is what nobody here can verify: a
checkpoint that is held is read by everybody who holds the log, and whoever
brings one must not fill it up, or break it, for all the others.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from tocsin.errors import CheckpointRefused, SignatureMismatch
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.vkey import NoteAlgorithm, log_name, witness_name
from tocsin.store.delivery import Logs
from tocsin.tlog.checkpoint import Cosignature, cosignatures, parse_checkpoint
from tocsin.tlog.note import MAX_SIGNATURES, Note, Signature, Verifier, format_note, parse_verifier, verify_text

_ANY_TIME: Final = 1 << 64
"""When an origin says that its log is the largest is looked at by whoever takes its checkpoint."""

Witnesses = Callable[[str], Sequence[Verifier]]
"""Returns the keys of a witness that is known here, by the name of its lines."""


def put_together(text: str, lines: Sequence[Signature], *, origin: Organisation, witnesses: Witnesses, now: int) -> str:
    """Return a checkpoint of an origin's log with the lines that count, as many as it can have.

    Those of the log come first, then its origin's, then those of witnesses in
    the order given: what is held already stands before what is new.
    """
    own = [parse_verifier(vkey, algorithm=NoteAlgorithm.ED25519) for vkey in origin.log_vkeys]
    signed = [line for line in lines if line.name == log_name(origin.org) and _is_signed(text, line, own)]
    shown, found = dict[Verifier, Cosignature](), dict[Verifier, Cosignature]()
    for line in lines:
        if line.name == witness_name(origin.org):
            for one in cosigned(text, line, keys_of(origin), now=_ANY_TIME):
                if one.verifier not in shown or shown[one.verifier].at < one.at:
                    shown[one.verifier] = one
        else:
            for one in cosigned(text, line, witnesses(line.name), now=now):
                if one.verifier not in found or one.at < found[one.verifier].at:
                    found[one.verifier] = one
    kept = [*signed, *(one.line for one in (*shown.values(), *found.values()))]
    each: dict[tuple[str, bytes], Signature] = {}
    for line in kept:
        each.setdefault((line.name, line.key_hash), line)
    return format_note(Note(text, tuple(each.values())[:MAX_SIGNATURES]))


def cosigned(text: str, line: Signature, verifiers: Sequence[Verifier], *, now: int) -> Iterator[Cosignature]:
    """Yield the cosignature that a line is; nothing for one that does not verify, or is from the future."""
    with suppress(SignatureMismatch, CheckpointRefused):
        yield from cosignatures(Note(text, (line,)), verifiers=verifiers, now=now)


def keep_cosigned(logs: Logs, org: OrgId, text: str, *, now: int) -> None:
    """Keep a checkpoint as one of those by which it is told since when an entry is known."""
    read = parse_checkpoint(text)
    logs.keep_checkpoint(org, text, size=read.checkpoint.size, signatures=len(read.note.signatures), now=now)


def keys_of(witness: Organisation) -> tuple[Verifier, ...]:
    """Return the keys of an organisation as a witness."""
    return tuple(parse_verifier(vkey, algorithm=NoteAlgorithm.COSIGNATURE_V1) for vkey in witness.witness_vkeys)


def _is_signed(text: str, line: Signature, verifiers: Sequence[Verifier]) -> bool:
    try:
        return bool(verify_text(Note(text, (line,)), verifiers=verifiers))
    except SignatureMismatch:
        return False
