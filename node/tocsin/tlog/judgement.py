"""This module judges since when an entry of a log is known, so that what a stolen key signed before the theft stands.

    revoked_at                                                     said by the identity document
    earliest_cosigned( … , index=7, … )  <  revoked_at             entry 7 was there before the thief was
    later, or None                                                 the thief may have made it, with any date

Only witnesses can say: whoever has the key of the record may have that of the
log as well, and neither has a time that its holder cannot choose.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import MappingProxyType

from tocsin.errors import CheckpointRefused, MalformedLog, SignatureMismatch
from tocsin.identity.vkey import NoteAlgorithm
from tocsin.tlog.checkpoint import verify_checkpoint
from tocsin.tlog.note import parse_verifier
from tocsin.tlog.quorum import Group, Party, Quorum

_OWN = "own"


def earliest_cosigned(
    notes: Iterable[str], *, index: int, origin: str, vkeys: Sequence[str], quorum: Quorum, now: int
) -> int | None:
    """Return the earliest time by which a quorum stood behind a checkpoint that contains an entry; None: there is none.

    `notes` are checkpoints with cosignatures, in any order. One that is of
    another log, too small, not signed by the log or not cosigned by the quorum
    is passed over: what is known does not get less by what is added.

    The caller MUST have found each tree to be the beginning of the log that it
    holds, and entry number `index` there to be the one that it asks about.
    `vkeys` may be all that the origin's document has ever named for its log:
    that a key of the log was stolen later makes no witness a liar.
    """
    times: list[int] = []
    for text in notes:
        with suppress(MalformedLog, CheckpointRefused, SignatureMismatch):
            checkpoint = verify_checkpoint(text, origin=origin, vkeys=vkeys)
            if checkpoint.checkpoint.size > index:
                at = quorum.cosigned_at(quorum.verify(checkpoint, now=now))
                times += [] if at is None else [at]
    return min(times, default=None)


def quorum_of(vkeys: Sequence[str]) -> Quorum:
    """Return the quorum of an organisation that has no file about witnesses: any of its own witness keys.

    Of no keys it is one that nobody can meet. Raises MalformedLog for what is no key of a witness.
    """
    verifiers = [parse_verifier(vkey, algorithm=NoteAlgorithm.COSIGNATURE_V1) for vkey in vkeys]
    witnesses = {f"{_OWN}-{number}": Party(verifier, "") for number, verifier in enumerate(verifiers, start=1)}
    groups = {_OWN: Group(1, tuple(witnesses))}
    return Quorum((), MappingProxyType(witnesses), MappingProxyType(groups), _OWN)
