"""This module keeps the sets of policy files that were put in force, the last of which is in force."""

import json

from tocsin.store.connection import Connections, Row
from tocsin.store.model import PolicySetRow


class SqlitePolicies:
    """Keep what was put in force; see `decisions.Policies`."""

    def __init__(self, db: Connections) -> None:
        self._db = db
        self._last: tuple[Row, PolicySetRow] | None = None

    def latest(self) -> PolicySetRow | None:
        """Return the set in force: the same value again where the row is the same, since a set may be large."""
        row = self._db.row(
            "SELECT subject, replaces, statement, person, files, signed, applied_at FROM policy_sets"
            " ORDER BY number DESC LIMIT 1"
        )
        if row is None:
            return None
        last = self._last
        if last is None or last[0] != row:
            last = self._last = row, _set(row)
        return last[1]

    def put(self, row: PolicySetRow) -> None:
        """Put a set in force."""
        with self._db.joined():
            self._db.execute(
                "INSERT INTO policy_sets (subject, replaces, statement, person, files, signed, applied_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    row.subject,
                    row.replaces,
                    row.statement,
                    row.person,
                    json.dumps(dict(row.files), sort_keys=True),
                    json.dumps(sorted(row.signed)),
                    row.applied_at,
                ),
            )


def _set(row: Row) -> PolicySetRow:
    subject, replaces, statement, person, files, signed, applied_at = row
    return PolicySetRow(
        subject=str(subject),
        statement=str(statement),
        person=str(person),
        files=json.loads(str(files)),
        signed=frozenset(json.loads(str(signed))),
        applied_at=int(applied_at or 0),
        replaces=str(replaces),
    )
