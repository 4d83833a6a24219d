"""This module keeps transparency logs: our own, and what we have read of those of the origins that we follow."""

from collections.abc import Sequence

from tocsin.errors import StoreCorrupt
from tocsin.store.connection import Connections, Row
from tocsin.store.evidence import EvidenceRow, LoggedRow, LogRow

_HALF = 32
_SELECT = "SELECT origin, size, checkpoint, signed, cosigned, cosigned_root, stopped, at FROM logs"
_BY_KEY = "SELECT hash FROM log_nodes WHERE log = (SELECT id FROM logs WHERE origin = ?) AND level = ? AND number = ?"


class SqliteLogs:
    """Keep entries, nodes and checkpoints; see `protocol.Logs`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def get(self, origin: str) -> LogRow:
        """Return where a log stands; one that nothing is held of is empty."""
        row = self._db.row(f"{_SELECT} WHERE origin = ?", (origin,))
        return LogRow(origin) if row is None else _log(row)

    def list(self) -> tuple[LogRow, ...]:
        """Return the logs that something is held of, by origin."""
        return tuple(_log(row) for row in self._db.rows(f"{_SELECT} ORDER BY origin"))

    def append(
        self,
        origin: str,
        entries: Sequence[bytes],
        nodes: Sequence[tuple[tuple[int, int], bytes]],
        *,
        size: int,
        now: int,
    ) -> int:
        """Append entries to a log of a size, with the nodes that become complete, and return its new size.

        Where the log has another size by now, RuntimeError: what it is appended to is read in the same transaction.
        """
        with self._db.transaction():
            self._db.execute("INSERT OR IGNORE INTO logs (origin, at) VALUES (?, ?)", (origin, now))
            grown = self._db.execute(
                "UPDATE logs SET size = size + ?1, at = ?2 WHERE origin = ?3 AND size = ?4",
                (len(entries), now, origin, size),
            )
            if grown != 1:
                raise RuntimeError("the log has another size than it was appended to")
            log = self._id(origin)
            for number, entry in enumerate(entries, start=size):
                self._db.execute(
                    "INSERT INTO log_entries (log, number, name, digest) VALUES (?, ?, ?, ?)",
                    (log, number, entry[:_HALF], entry[_HALF:]),
                )
            for (level, number), digest in nodes:
                self._db.execute(
                    "INSERT INTO log_nodes (log, level, number, hash) VALUES (?, ?, ?, ?)", (log, level, number, digest)
                )
            return size + len(entries)

    def nodes(self, origin: str, wanted: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return the hashes of nodes, in order. Raises StoreCorrupt where one is missing, and says which."""
        found = []
        for level, number in wanted:
            row = self._db.row(_BY_KEY, (origin, level, number))
            if row is None:
                raise StoreCorrupt("a node of a log is missing", where=f"{origin}: level {level}, number {number}")
            found.append(_blob(row[0]))
        return found

    def entries(self, origin: str, *, start: int, limit: int) -> tuple[bytes, ...]:
        """Return entries by their numbers, from one on."""
        rows = self._db.rows(
            "SELECT name, digest FROM log_entries WHERE log = (SELECT id FROM logs WHERE origin = ?) AND number >= ?"
            " ORDER BY number LIMIT ?",
            (origin, start, limit),
        )
        return tuple(_blob(name) + _blob(digest) for name, digest in rows)

    def named(self, origin: str, name: bytes) -> tuple[LoggedRow, ...]:
        """Return the entries with an id half, oldest first: more than one says that there are two histories."""
        rows = self._db.rows(
            "SELECT number, digest FROM log_entries WHERE log = (SELECT id FROM logs WHERE origin = ?) AND name = ?"
            " ORDER BY number",
            (origin, name),
        )
        return tuple(LoggedRow(int(number or 0), name + _blob(digest)) for number, digest in rows)

    def set_checkpoint(self, origin: str, text: str, *, signed: int, now: int) -> None:
        """Keep the newest checkpoint of a log, which is of `signed` entries."""
        with self._db.transaction():
            self._db.execute("INSERT OR IGNORE INTO logs (origin, at) VALUES (?, ?)", (origin, now))
            self._db.execute(
                "UPDATE logs SET checkpoint = ?, signed = ?, at = ? WHERE origin = ?", (text, signed, now, origin)
            )

    def note_cosigned(self, origin: str, size: int, root: bytes, *, now: int) -> None:
        """Keep, before it is said, that we cosign a tree; RuntimeError for one that is smaller than the last."""
        with self._db.transaction():
            self._db.execute("INSERT OR IGNORE INTO logs (origin, at) VALUES (?, ?)", (origin, now))
            kept = self._db.execute(
                "UPDATE logs SET cosigned = ?1, cosigned_root = ?2 WHERE origin = ?3 AND cosigned <= ?1",
                (size, root, origin),
            )
            if kept != 1:
                raise RuntimeError("a larger tree of the log was cosigned before")

    def stop(self, origin: str, why: str, *, now: int) -> None:
        """Take nothing from an origin until people say so; an empty `why` goes on."""
        with self._db.transaction():
            self._db.execute("INSERT OR IGNORE INTO logs (origin, at) VALUES (?, ?)", (origin, now))
            self._db.execute("UPDATE logs SET stopped = ? WHERE origin = ?", (why, origin))

    def forget(self, origin: str) -> None:
        """Forget what was read of a log, which people have said to read anew; what we cosigned of it stays known."""
        with self._db.transaction():
            log = self._id(origin)
            self._db.execute("DELETE FROM log_entries WHERE log = ?", (log,))
            self._db.execute("DELETE FROM log_nodes WHERE log = ?", (log,))
            self._db.execute("UPDATE logs SET size = 0, checkpoint = '', signed = 0 WHERE id = ?", (log,))

    def add_evidence(self, row: EvidenceRow) -> bool:
        """Keep evidence; False where it is held already."""
        with self._db.transaction():
            added = self._db.execute(
                "INSERT OR IGNORE INTO evidence (origin, kind, digest, bundle, at) VALUES (?, ?, ?, ?, ?)",
                (row.origin, row.kind, row.digest, row.bundle, row.at),
            )
            return added == 1

    def evidence(self, origin: str = "") -> tuple[EvidenceRow, ...]:
        """Return what is held against an origin (empty: against anybody), oldest first."""
        rows = self._db.rows(
            "SELECT origin, kind, digest, bundle, at FROM evidence WHERE ?1 IN ('', origin) ORDER BY id", (origin,)
        )
        return tuple(
            EvidenceRow(str(of), str(kind), str(digest), _blob(bundle), int(at or 0))
            for of, kind, digest, bundle, at in rows
        )

    def _id(self, origin: str) -> int:
        row = self._db.row("SELECT id FROM logs WHERE origin = ?", (origin,))
        return int((row or (0,))[0] or 0)


def _log(row: Row) -> LogRow:
    origin, size, checkpoint, signed, cosigned, root, stopped, at = row
    return LogRow(
        str(origin),
        int(size or 0),
        str(checkpoint),
        int(signed or 0),
        int(cosigned or 0),
        _blob(root),
        str(stopped),
        int(at or 0),
    )


def _blob(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
