"""This module keeps transparency logs: our own, and what we have read of those of the origins that we follow."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from tocsin.errors import StoreCorrupt
from tocsin.store.connection import Connections, Row, Value
from tocsin.store.evidence import CheckpointRow, EvidenceRow, LoggedRow, LogRow

_HALF = 32
_SELECT = (
    "SELECT origin, size, checkpoint, signed, cosigned, cosigned_root, cosigned_at, stopped, resumed, at FROM logs"
)
MINUTE = 60
_AT_ONCE = 1024
_GROW = (
    "INSERT INTO logs (origin, size, at) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (origin) DO UPDATE SET size = size + ?2, at = ?3 RETURNING id, size"
)
_REPEATED = (
    "SELECT DISTINCT later.name FROM log_entries AS later"
    " CROSS JOIN log_entries AS earlier INDEXED BY log_entries_by_name"
    " ON earlier.log = later.log AND earlier.name = later.name AND earlier.number < later.number"
    " WHERE later.log = (SELECT id FROM logs WHERE origin = ?) AND later.number >= ?"
    " AND earlier.digest <> later.digest"
)


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
        after = size + len(entries)
        with self._db.joined():
            row = self._db.row(_GROW, (origin, len(entries), now))
            if row is None or row[1] != after:
                raise RuntimeError("the log has another size than it was appended to")
            log, _ = row
            self._db.execute_many(
                "INSERT INTO log_entries (log, number, name, digest) VALUES (?, ?, ?, ?)",
                [(log, number, entry[:_HALF], entry[_HALF:]) for number, entry in enumerate(entries, start=size)],
            )
            self._db.execute_many(
                "INSERT INTO log_nodes (log, level, number, hash) VALUES (?, ?, ?, ?)",
                [(log, level, number, digest) for (level, number), digest in nodes],
            )
            return after

    def nodes(self, origin: str, wanted: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return the hashes of nodes, in order. Raises StoreCorrupt where one is missing, and says which."""
        found: dict[tuple[Value, Value], Value] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            found |= self._find(origin, wanted[start : start + _AT_ONCE])
        try:
            return [_blob(found[node]) for node in wanted]
        except KeyError as missing:
            level, number = missing.args[0]
            where = f"{origin}: level {level}, number {number}"
            raise StoreCorrupt("a node of a log is missing", where=where) from None

    def _find(self, origin: str, wanted: Sequence[tuple[int, int]]) -> dict[tuple[Value, Value], Value]:
        """Return what there is of some nodes, in one statement: a proof needs twenty of them.

        The join is in the order in which it is written (CROSS), each node by its key.
        """
        places = ", ".join(["(?, ?)"] * len(wanted))
        rows = self._db.rows(
            f"WITH wanted (level, number) AS (VALUES {places})"  # noqa: S608 (placeholders alone)
            " SELECT node.level, node.number, node.hash FROM wanted CROSS JOIN log_nodes AS node"
            " ON node.log = (SELECT id FROM logs WHERE origin = ?)"
            " AND node.level = wanted.level AND node.number = wanted.number",
            [*chain.from_iterable(wanted), origin],
        )
        return {(level, number): digest for level, number, digest in rows}

    def entries(self, origin: str, *, start: int, limit: int) -> tuple[bytes, ...]:
        """Return entries by their numbers, from one on."""
        rows = self._db.rows(
            "SELECT name, digest FROM log_entries WHERE log = (SELECT id FROM logs WHERE origin = ?) AND number >= ?"
            " ORDER BY number LIMIT ?",
            (origin, start, limit),
        )
        return tuple(_blob(name) + _blob(digest) for name, digest in rows)

    def named(self, origin: str, *names: bytes) -> tuple[LoggedRow, ...]:
        """Return the entries with one of some id halves, oldest first.

        More than one of a name says that there are two histories.
        """
        found: list[Row] = []
        for start in range(0, len(names), _AT_ONCE):
            wanted = names[start : start + _AT_ONCE]
            places = ", ".join("?" * len(wanted))
            # INDEXED BY: SQLite, left to itself, takes the log's key for as good, and reads all of the log.
            found += self._db.rows(
                f"SELECT number, name, digest FROM log_entries INDEXED BY log_entries_by_name WHERE name IN ({places})"  # noqa: S608 (placeholders alone)
                " AND log = (SELECT id FROM logs WHERE origin = ?)",
                (*wanted, origin),
            )
        return tuple(LoggedRow(int(number or 0), _blob(name) + _blob(digest)) for number, name, digest in sorted(found))

    def set_checkpoint(self, origin: str, text: str, *, signed: int, now: int) -> None:
        """Keep the newest checkpoint of a log, which is of `signed` entries."""
        with self._db.joined():
            self._db.execute(
                "INSERT INTO logs (origin, checkpoint, signed, at) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (origin) DO UPDATE SET checkpoint = ?2, signed = ?3, at = ?4",
                (origin, text, signed, now),
            )

    def note_cosigned(self, origin: str, size: int, root: bytes, *, now: int) -> None:
        """Keep that we cosign a tree, before we do. RuntimeError for less, or earlier, than the last."""
        with self._db.joined():
            kept = self._db.execute(
                "INSERT INTO logs (origin, cosigned, cosigned_root, cosigned_at, at) VALUES (?3, ?1, ?2, ?4, ?4)"
                " ON CONFLICT (origin) DO UPDATE SET cosigned = ?1, cosigned_root = ?2, cosigned_at = ?4"
                " WHERE cosigned <= ?1 AND cosigned_at <= ?4",
                (size, root, origin, now),
            )
            if kept != 1:
                raise RuntimeError("a larger tree of the log was cosigned before, or at a later time")

    def keep_checkpoint(self, origin: str, text: str, *, size: int, signatures: int, now: int) -> None:
        """Keep a checkpoint that was cosigned, in place of an earlier one of the minute with no more signatures."""
        with self._db.joined():
            self._db.execute(
                "INSERT INTO log_checkpoints (log, minute, size, checkpoint, signatures, at)"
                " SELECT id, ?2, ?3, ?4, ?5, ?6 FROM logs WHERE origin = ?1"
                " ON CONFLICT (log, minute) DO UPDATE SET size = ?3, checkpoint = ?4, signatures = ?5, at = ?6"
                " WHERE ?5 >= signatures",
                (origin, now // MINUTE, size, text, signatures, now),
            )

    def checkpoints(self, origin: str, *, least: int = 0) -> tuple[CheckpointRow, ...]:
        """Return the cosigned checkpoints that are kept, of so many entries at least, smallest first."""
        rows = self._db.rows(
            "SELECT size, checkpoint, at FROM log_checkpoints WHERE log = (SELECT id FROM logs WHERE origin = ?)"
            " AND size >= ? ORDER BY size, at",
            (origin, least),
        )
        return tuple(_checkpoint(row) for row in rows)

    def newest_checkpoints(self, origin: str, *, limit: int) -> tuple[CheckpointRow, ...]:
        """Return some of the cosigned checkpoints that are kept, largest first."""
        rows = self._db.rows(
            "SELECT size, checkpoint, at FROM log_checkpoints WHERE log = (SELECT id FROM logs WHERE origin = ?)"
            " ORDER BY size DESC, at DESC LIMIT ?",
            (origin, limit),
        )
        return tuple(_checkpoint(row) for row in rows)

    def fullest_checkpoints(self, origin: str, least: int) -> Iterator[CheckpointRow]:
        """Yield the cosigned checkpoints that are kept, those with the most signatures first.

        There may be one of each minute of years: each is read when it is asked for.
        """
        log = self._id(origin)
        for (minute,) in self._db.rows(
            "SELECT minute FROM log_checkpoints WHERE log = ? AND size >= ? ORDER BY signatures DESC, size DESC",
            (log, least),
        ):
            row = self._db.row(
                "SELECT size, checkpoint, at FROM log_checkpoints WHERE log = ? AND minute = ?", (log, minute)
            )
            if row is not None:
                yield _checkpoint(row)

    def stop(self, origin: str, why: str, *, now: int) -> None:
        """Take nothing from an origin until people say so."""
        with self._db.joined():
            self._db.execute("INSERT OR IGNORE INTO logs (origin, at) VALUES (?, ?)", (origin, now))
            self._db.execute("UPDATE logs SET stopped = ? WHERE origin = ?", (why, origin))

    def resume(self, origin: str, *, now: int) -> None:
        """Take from an origin again what it shows from now on."""
        with self._db.joined():
            self._db.execute("UPDATE logs SET stopped = '', resumed = ? WHERE origin = ?", (now, origin))

    def cut(self, origin: str, size: int) -> None:
        """Forget what is held of a log behind the first entries; what we cosigned of it stays known."""
        with self._db.joined():
            log = self._id(origin)
            self._db.execute("DELETE FROM log_entries WHERE log = ? AND number >= ?", (log, size))
            self._db.execute("DELETE FROM log_nodes WHERE log = ? AND (number + 1) << level > ?", (log, size))
            self._db.execute("UPDATE logs SET size = ?1 WHERE id = ?2 AND size > ?1", (size, log))
            self._db.execute("UPDATE logs SET checkpoint = '', signed = 0 WHERE id = ? AND signed > size", (log,))

    def repeated(self, origin: str, *, since: int) -> tuple[bytes, ...]:
        """Return the id halves of entries, from a number on, that stand for something else in an entry before."""
        rows = self._db.rows(_REPEATED, (origin, since))
        return tuple(_blob(name) for (name,) in rows)

    def await_word(self, peers: Iterable[str]) -> None:
        """Keep whom our own log waits for: each must say how much of it it has seen."""
        with self._db.joined():
            for peer in peers:
                self._db.execute("INSERT OR IGNORE INTO log_waits (peer) VALUES (?)", (peer,))

    def has_said(self, peer: str) -> bool:
        """Keep that a peer has said so; False where it was not waited for."""
        with self._db.joined():
            return self._db.execute("DELETE FROM log_waits WHERE peer = ?", (peer,)) == 1

    def awaited(self) -> tuple[str, ...]:
        """Return whom our own log waits for."""
        return tuple(str(peer) for (peer,) in self._db.rows("SELECT peer FROM log_waits ORDER BY peer"))

    def add_evidence(self, row: EvidenceRow) -> bool:
        """Keep evidence; False where it is held already."""
        with self._db.joined():
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


def _checkpoint(row: Row) -> CheckpointRow:
    size, text, at = row
    return CheckpointRow(int(size or 0), str(text), int(at or 0))


def _log(row: Row) -> LogRow:
    origin, size, checkpoint, signed, cosigned, root, cosigned_at, stopped, resumed, at = row
    return LogRow(
        str(origin),
        int(size or 0),
        str(checkpoint),
        int(signed or 0),
        int(cosigned or 0),
        _blob(root),
        int(cosigned_at or 0),
        str(stopped),
        int(resumed or 0),
        int(at or 0),
    )


def _blob(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
