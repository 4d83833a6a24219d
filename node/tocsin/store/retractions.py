"""This module keeps retractions: what an origin took back stays so, for whatever of it comes later."""

from collections.abc import Iterator

from tocsin.records.retraction import VerifiedRetraction
from tocsin.store import listing, standing
from tocsin.store.connection import Connections, Row
from tocsin.store.evidence import RetractionRow

BATCH = 500  # rows read at once when walking over them

_SELECT = """
    SELECT id, issuer, record_id, version, action, tlp, reason, successor, issued_at, digest, token, received_from,
        stored_at, person FROM retractions
"""
# The strongest first; `Action.rank` says the same.
_STRONGEST = "ORDER BY CASE action WHEN 'purge' THEN 0 WHEN 'withdraw' THEN 1 ELSE 2 END, version DESC, id"
_BEFORE_ALL = 2**63 - 1


class SqliteRetractions:
    """Keep what is over; see `protocol.Retractions`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def add(self, retraction: VerifiedRetraction, *, received_from: str = "", person: str = "", now: int) -> bool:
        """Keep a verified retraction and let it count."""
        with self._db.transaction():
            if standing.tombstone(self._db, retraction.issuer, retraction.record_id).covers(retraction):
                return False
            added = self._db.execute(
                "INSERT OR IGNORE INTO retractions (issuer, record_id, version, action, tlp, reason, successor,"
                " issued_at, digest, token, received_from, stored_at, person)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    retraction.issuer,
                    retraction.record_id,
                    retraction.version,
                    retraction.action,
                    retraction.tlp,
                    retraction.reason,
                    retraction.successor,
                    retraction.issued_at,
                    retraction.digest,
                    retraction.token,
                    received_from,
                    now,
                    person,
                ),
            )
            if added:
                standing.apply(self._db, retraction)
            return added == 1

    def of(self, issuer: str, record_id: str) -> tuple[RetractionRow, ...]:
        """Return the retractions of a record, strongest first."""
        rows = self._db.rows(f"{_SELECT} WHERE issuer = ? AND record_id = ? {_STRONGEST}", (issuer, record_id))
        return tuple(_retraction(row) for row in rows)

    def list(self, *, page_size: int = 0, page_token: str = "") -> tuple[tuple[RetractionRow, ...], str]:
        """Return retractions, newest first, corrections left out, and the token of the next page."""
        limit = listing.page_limit(page_size)
        before = listing.parse_place(page_token, of="retractions") if page_token else _BEFORE_ALL
        rows = self._db.rows(
            f"{_SELECT} WHERE action <> 'correct' AND id < ? ORDER BY id DESC LIMIT ?", (before, limit + 1)
        )
        token = listing.place(rows[limit - 1][0], of="retractions") if len(rows) > limit else ""
        return tuple(_retraction(row) for row in rows[:limit]), token

    def issued(self, issuer: str, *, after: str = "") -> Iterator[RetractionRow]:
        """Yield every retraction of an issuer (empty: of everybody), by digest, behind one."""
        whose = "issuer = ?1" if issuer else "?1 = ''"  # each is answered from its own index
        query = f"{_SELECT} WHERE {whose} AND digest > ?2 ORDER BY digest LIMIT ?3"
        while batch := [_retraction(row) for row in self._db.rows(query, (issuer, after, BATCH))]:
            yield from batch
            after = batch[-1].digest


def _retraction(row: Row) -> RetractionRow:
    """Read a row of `_SELECT`, whose columns stand in the order of the fields behind the first."""
    return RetractionRow(*row[1:])  # type: ignore[arg-type]
