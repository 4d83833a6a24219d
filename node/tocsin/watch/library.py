"""This module looks up what a log that is held can prove: its checkpoint, its entries, its trees, its tiles."""

from typing import Final, NamedTuple

from tocsin.errors import MalformedLog, NotFound
from tocsin.identity.names import OrgId
from tocsin.release.office import Office
from tocsin.tlog.entry import verify_length
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.proof import format_proof
from tocsin.tlog.tiles import TILE_HEIGHT, parse_tile_path, tile_file
from tocsin.watch.origins import Origins

CHECKPOINT: Final = "checkpoint"


class Consistency(NamedTuple):
    """Two trees, and the proof that the larger begins with the smaller."""

    hashes: tuple[bytes, ...]
    old_root: bytes
    new_root: bytes


class Library:
    """The logs that are held, our own among them; one that is not held looks like one that nobody has."""

    def __init__(self, office: Office, origins: Origins, *, now: int) -> None:
        self._office = office
        self._logs = office.store.logs
        self._origins = origins
        self._now = now

    def checkpoint(self, origin: OrgId) -> str:
        """Return the newest checkpoint, with whoever has cosigned it. Raises NotFound."""
        with self._office.store.transaction():
            self._open(origin)
            if origin == self._office.organisation.org:
                return self._office.tlog.show(now=self._now)
            return self._logs.get(origin).checkpoint

    def inclusion(self, origin: OrgId, entry: bytes) -> str:
        """Return the proof that an entry is in a log. Raises NotFound, and MalformedLog (BAD_ENTRY)."""
        proof = self._open(origin).prove(verify_length(entry))
        if proof is None:
            raise NotFound(f"the log of {origin} has no such entry")
        return format_proof(proof)

    def consistency(self, origin: OrgId, old: int, new: int) -> Consistency:
        """Return the proof that a tree begins with a smaller one; `new` 0: the newest checkpoint's.

        Raises NotFound, and MalformedLog (BAD_PROOF) for trees that cannot be.
        """
        log, size = self._open(origin), self._logs.get(origin).signed
        new = new or size
        if not old <= new <= size:
            raise MalformedLog(f"there is no proof from {old} to {new} entries in a tree of {size}", reason="BAD_PROOF")
        return Consistency(log.consistency(old, new), log.root(old), log.root(new))

    def tile(self, origin: OrgId, path: str) -> bytes:
        """Return a tile, or the checkpoint, as C2SP tlog-tiles has it. Raises NotFound and MalformedLog (BAD_ENTRY)."""
        if path == CHECKPOINT:
            return self.checkpoint(origin).encode()
        log, size = self._open(origin), self._logs.get(origin).signed
        wanted = parse_tile_path(path)
        if wanted.begin + (wanted.width << TILE_HEIGHT * max(wanted.level, 0)) > size:
            raise NotFound(f"the log of {origin} has no such tile")
        return tile_file(wanted, log.read, lambda start, limit: self._logs.entries(origin, start=start, limit=limit))

    def _open(self, origin: OrgId) -> TransparencyLog:
        """Return a log that is held and goes on; raises NotFound for any other."""
        row = self._logs.get(origin)
        is_held = bool(row.checkpoint) or origin == self._office.organisation.org
        if self._origins(origin) is None or row.stopped or not is_held:
            raise NotFound(f"the log of {origin} is not held here")
        return TransparencyLog(self._logs, origin)
