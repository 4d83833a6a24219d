"""This module keeps the rows of the decision log: it adds behind the last one, and changes none.

What a row says, and how one hangs on the other, is the business of `tocsin.audit`.
"""

from collections.abc import Iterable

from tocsin.store.connection import Connections, Row, Value
from tocsin.store.model import AuditFilter, AuditRow

_SELECT = "SELECT sequence, at, act, person, partner, digest, body, hash, seal FROM audit"
# Joined as they are needed, so that each filter is answered from its own index; no text of a caller's is among them.
# An index leaves out the rows without a name, and is used where the question says that they are not wanted.
_CLAUSES = {
    "digest": "digest = ? AND digest <> ''",
    "partner": "partner = ? AND partner <> ''",
    "person": "person = ? AND person <> ''",
    "act": "act = ?",
    "since": "at >= ?",
    "until": "at < ?",
}


class SqliteAudit:
    """Keep the rows of the decision log; see `decisions.Audit`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def head(self) -> AuditRow | None:
        """Return the last row."""
        row = self._db.row(f"{_SELECT} ORDER BY sequence DESC LIMIT 1")
        return None if row is None else _audit_row(row)

    def append(self, rows: Iterable[AuditRow]) -> None:
        """Add rows behind the last one."""
        with self._db.joined():
            last = self._db.number("SELECT coalesce(max(sequence), 0) FROM audit")
            added = list(rows)
            if [row.sequence for row in added] != list(range(last + 1, last + 1 + len(added))):
                raise RuntimeError("the rows do not follow the last one of the decision log")
            self._db.execute_many(
                "INSERT INTO audit (sequence, at, act, person, partner, digest, body, hash, seal)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_values(row) for row in added],
            )

    def list(
        self, where: AuditFilter, *, after: int = 0, before: int = 0, limit: int, newest_first: bool = False
    ) -> tuple[AuditRow, ...]:
        """Return rows with a sequence above `after`, and below `before` where it is given."""
        clauses, values = ["sequence > ?"], [after]
        for name, clause in _CLAUSES.items():
            if value := getattr(where, name):
                # Left to itself, SQLite may look for one record among all that was ever posted: of one there is little.
                is_settled = where.digest and name != "digest"
                clauses.append(f"+{clause}" if is_settled else clause)
                values.append(value)
        if before:
            clauses.append("sequence < ?")
            values.append(before)
        order = "DESC" if newest_first else "ASC"
        rows = self._db.rows(
            f"{_SELECT} WHERE {' AND '.join(clauses)} ORDER BY sequence {order} LIMIT ?", (*values, limit)
        )
        return tuple(_audit_row(row) for row in rows)


def _values(row: AuditRow) -> tuple[Value, ...]:
    return (row.sequence, row.at, row.act, row.person, row.partner, row.digest, row.body, row.hash, row.seal)


def _audit_row(row: Row) -> AuditRow:
    """Read a row of `_SELECT`, whose columns stand in the order of the fields."""
    return AuditRow(*row)  # type: ignore[arg-type]
