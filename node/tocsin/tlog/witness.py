"""This module holds the rules by which a witness cosigns (C2SP tlog-witness, add-checkpoint).

    old 8                                           the size that the witness cosigned last; 0 for none
    KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=    the consistency proof from there, none from 0
    …
                                                    an empty line, then the checkpoint
    lab-a.example/tocsin
    12
    …

A witness keeps one checkpoint a log, the last one it cosigned, and cosigns
none that does not begin with it. Whoever asks shows that by a proof; a fork
of the log has none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tocsin.errors import CheckpointRefused, MalformedLog, NotFound, ProofMismatch, StaleCheckpoint
from tocsin.failure import TocsinError
from tocsin.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, number_of, parse_checkpoint, verify_checkpoint
from tocsin.tlog.merkle import verify_consistency
from tocsin.tlog.proof import MAX_PROOF, format_hashes, parse_hashes

HTTP_STATUS: Final[Mapping[type[TocsinError], int]] = MappingProxyType(
    {
        MalformedLog: 400,
        CheckpointRefused: 403,
        NotFound: 404,
        StaleCheckpoint: 409,
        ProofMismatch: 422,
    }
)
"""How the document answers what `judge` and `parse_request` raise. `status_of` knows the one exception."""

_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Request:
    """What a witness is asked to cosign, and the proof that it may: unverified."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """The last checkpoint of a log that this witness cosigned."""

    size: int
    root: bytes


def parse_request(text: str) -> Request:
    """Read what a witness is asked; nothing in it may be believed yet.

    Raises MalformedLog (BAD_PROOF; BAD_NOTE and BAD_CHECKPOINT for what is wrong with its checkpoint).
    """
    if len(text) > MAX_PROOF:
        raise _malformed(f"more than {MAX_PROOF} characters")
    head, blank, checkpoint = text.partition("\n\n")
    if not blank:
        raise _malformed("no empty line stands before a checkpoint")
    first, *lines = head.split("\n")
    old = number_of(first.removeprefix("old ")) if first.startswith("old ") else None
    if old is None:
        raise _malformed("it does not begin with the size that was cosigned last")
    proof = parse_hashes(lines)
    parse_checkpoint(checkpoint)
    return Request(old, proof, checkpoint)


def format_request(*, old: int, proof: Sequence[bytes], checkpoint: str) -> str:
    """Return what to ask a witness; raises RuntimeError for what no witness would read: it is ours."""
    text = "\n".join([f"old {old}", *format_hashes(proof)]) + "\n\n" + checkpoint
    try:
        parse_request(text)
    except MalformedLog as error:
        raise RuntimeError(f"what was to be asked is no request: {error.message}") from error
    return text


def judge(
    request: Request, *, held: Held | None, vkeys_of: Callable[[str], Sequence[str] | None]
) -> VerifiedCheckpoint:
    """Return the checkpoint that a witness may cosign, by the rules of tlog-witness in their order.

    `held` is what is kept for the origin of this request, `vkeys_of` returns
    the keys of a log by its origin, or None for one that is not witnessed.

      1. the log is known
      2. it signed the checkpoint, which is well formed
      3. the old size is not above the new one
      4. the old size is the one that was cosigned last, or 0
      5. of one size there is one root
      6. the proof leads from what was cosigned last to the checkpoint; from 0 it is empty

    The caller MUST keep the checkpoint as the last one BEFORE it cosigns it,
    in one transaction with reading `held`: of two requests that are judged
    at once, one must fail at step 4. It MUST cosign nothing that this
    refuses, and may keep what steps 5 and 6 refuse: the log signed it.

    Raises NotFound (1), CheckpointRefused (2), MalformedLog (2, 3),
    StaleCheckpoint (4; metadata has the size that was cosigned last), and
    ProofMismatch (NOT_CONSISTENT; 5, with that size in its metadata, and 6).
    """
    origin = parse_checkpoint(request.checkpoint).checkpoint.origin
    vkeys = vkeys_of(origin)
    if vkeys is None:  # 1
        raise NotFound(f"{origin!r} is no log that is witnessed here")
    verified = verify_checkpoint(request.checkpoint, origin=origin, vkeys=vkeys)  # 2
    new, last = verified.checkpoint, held.size if held else 0
    if request.old > new.size:  # 3
        raise _malformed("the old size is above that of the checkpoint")
    if request.old != last:  # 4
        raise StaleCheckpoint(
            f"the proof begins at {request.old}, and {last} was cosigned last", metadata={"size": str(last)}
        )
    if held:
        _verify_from(held, request.proof, new)  # 5, 6
    elif request.proof:  # 6
        raise ProofMismatch("a proof from nothing is not empty", reason="NOT_CONSISTENT")
    return verified


def status_of(error: TocsinError) -> int:
    """Return the HTTP status by which tlog-witness answers a refusal."""
    if isinstance(error, ProofMismatch) and "size" in error.metadata:  # two roots of one size
        return _CONFLICT
    return HTTP_STATUS[type(error)]


def _verify_from(held: Held, proof: Sequence[bytes], new: Checkpoint) -> None:
    if new.size == held.size and new.root != held.root:  # 5
        raise ProofMismatch(
            f"of {new.size} entries, another root was cosigned",
            reason="NOT_CONSISTENT",
            details=(f"cosigned {held.root.hex()}", f"asked for {new.root.hex()}"),
            metadata={"size": str(held.size)},
        )
    if not held.size and not proof:  # every tree begins with the empty one
        return
    try:
        verify_consistency(old=held.size, new=new.size, proof=proof, old_root=held.root, new_root=new.root)  # 6
    except MalformedLog as error:  # too many hashes, or too few: no proof either
        raise ProofMismatch(error.message, reason="NOT_CONSISTENT") from error


def _malformed(problem: str) -> MalformedLog:
    return MalformedLog(f"not a request to a witness: {problem}", reason="BAD_PROOF")
