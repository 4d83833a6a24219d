"""This module keeps what is to be done at a time: the end of a hold or an embargo, a lower marking, an erasure."""

from tocsin.store.connection import Connections
from tocsin.store.model import Due, DueKind
from tocsin.store.records import row_id


class SqliteDues:
    """Keep what is to be done at a time; see `decisions.Dues`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def add(self, due: Due) -> None:
        """Keep one; the same one again changes nothing."""
        with self._db.joined():
            self._db.execute(
                "INSERT OR IGNORE INTO dues (due_at, kind, record, partner) VALUES (?, ?, ?, ?)",
                (due.due_at, due.kind, row_id(self._db, due.digest), due.partner),
            )

    def until(self, now: int, *, limit: int) -> tuple[Due, ...]:
        """Return what is due at this time or earlier, earliest first."""
        rows = self._db.rows(
            "SELECT d.kind, r.digest, d.partner, d.due_at FROM dues AS d JOIN records AS r ON r.id = d.record"
            " WHERE d.due_at <= ? ORDER BY d.due_at, d.kind, d.record, d.partner LIMIT ?",
            (now, limit),
        )
        return tuple(
            Due(DueKind(str(kind)), str(digest), str(partner), int(due_at or 0))
            for kind, digest, partner, due_at in rows
        )

    def done(self, due: Due) -> None:
        """Take one away."""
        with self._db.joined():
            self._db.execute(
                "DELETE FROM dues WHERE due_at = ? AND kind = ? AND partner = ?"
                " AND record = (SELECT id FROM records WHERE digest = ?)",
                (due.due_at, due.kind, due.partner, due.digest),
            )

    def next_at(self) -> int | None:
        """Return when the next one is due."""
        row = self._db.row("SELECT min(due_at) FROM dues")
        return row[0] if row is not None and isinstance(row[0], int) else None
