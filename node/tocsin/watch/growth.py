"""This module makes and reads how a log goes on: some entries, the checkpoint they are proved by, and the proofs.

    …… start ──── entries ──── end …… size of the checkpoint
    │   └ start_root, start_proof │    the checkpoint's tree begins with what stands before the entries,
    │                             └ end_proof    and with the entries as well

Whoever has read up to `start` finds out by it that the entries are those of
the checkpoint's tree; where its own root there is another one, `start_root`
and `start_proof` are what proves that the origin has two histories.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tocsin.errors import MalformedLog
from tocsin.identity.names import OrgId
from tocsin.tlog.entry import ENTRY_BYTES
from tocsin.tlog.log import Shelf, TransparencyLog
from tocsin.tlog.merkle import HASH_BYTES
from tocsin.tlog.proof import MAX_HASHES
from tocsin.v1 import log_service_pb2 as v1

MOST_ENTRIES: Final = 16_384
"""In one message: 1 MiB of them."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Entries of a log, and what proves them: unverified."""

    checkpoint: str
    start: int
    entries: tuple[bytes, ...]
    start_root: bytes
    start_proof: tuple[bytes, ...]
    end_proof: tuple[bytes, ...]

    def to_message(self) -> v1.LogGrowth:
        """Return what travels."""
        return v1.LogGrowth(
            checkpoint=self.checkpoint,
            start=self.start,
            entries=b"".join(self.entries),
            start_root=self.start_root,
            start_proof=self.start_proof,
            end_proof=self.end_proof,
        )


def grow(shelf: Shelf, org: OrgId, *, start: int, limit: int = MOST_ENTRIES) -> Growth | None:
    """Return how a log that is held goes on behind an entry, up to its newest checkpoint; None: it does not."""
    standing, log = shelf.get(org), TransparencyLog(shelf, org)
    size = standing.signed
    if start >= size:
        return None
    entries = tuple(shelf.entries(org, start=start, limit=min(limit, size - start)))
    end = start + len(entries)
    return Growth(
        checkpoint=standing.checkpoint,
        start=start,
        entries=entries,
        start_root=log.root(start),
        start_proof=log.consistency(start, size),
        end_proof=log.consistency(end, size) if end < size else (),
    )


def read_growth(message: v1.LogGrowth) -> Growth:
    """Return how a log goes on; nothing of it may be believed yet. Raises MalformedLog (BAD_ENTRY, BAD_PROOF)."""
    count, rest = divmod(len(message.entries), ENTRY_BYTES)
    if rest or not 1 <= count <= MOST_ENTRIES:
        raise MalformedLog(f"{len(message.entries)} bytes are not 1 to {MOST_ENTRIES} entries", reason="BAD_ENTRY")
    entries = (message.entries[at : at + ENTRY_BYTES] for at in range(0, len(message.entries), ENTRY_BYTES))
    return Growth(
        checkpoint=message.checkpoint,
        start=message.start,
        entries=tuple(entries),
        start_root=_hashes([message.start_root])[0],
        start_proof=_hashes(message.start_proof),
        end_proof=_hashes(message.end_proof),
    )


def _hashes(hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    if len(hashes) > MAX_HASHES or any(len(each) != HASH_BYTES for each in hashes):
        raise MalformedLog("a proof is too long, or a hash in it is none", reason="BAD_PROOF")
    return tuple(hashes)
