"""This module keeps what came in: how far each peer's feed is stored, and what became of its entries."""

from collections.abc import Iterable

from tocsin.store.connection import Connections
from tocsin.store.model import Outcome, Position, Refusal, Taken, Verdict, WithheldPath
from tocsin.store.records import row_id

COUNTED_SECONDS = 86_400
"""For so long it is known how many entries a peer has sent: no quota counts over more than a day."""


class SqliteIntake:
    """Keep what came in from each peer; see `delivery.Intake`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def cursor(self, peer: str) -> Position | None:
        """Return how far a peer's feed is stored."""
        row = self._db.row("SELECT feed_id, sequence, tag FROM intake WHERE peer = ?", (peer,))
        return None if row is None else Position(str(row[0]), int(row[1] or 0), str(row[2]))

    def move(self, peer: str, position: Position, verdicts: Iterable[Verdict], *, now: int) -> None:
        """Move the cursor and keep what became of the entries up to it; of a void one nothing is kept."""
        judged = [verdict for verdict in verdicts if verdict.outcome is not Outcome.VOID]
        with self._db.joined():
            self._db.execute(
                "INSERT INTO intake (peer, feed_id, sequence, tag, moved_at) VALUES (?1, ?2, ?3, ?4, ?5)"
                " ON CONFLICT (peer) DO UPDATE SET feed_id = ?2, sequence = ?3, tag = ?4, moved_at = ?5",
                (peer, *position, now),
            )
            # A feed that is read again from its beginning is judged again.
            self._db.execute_many(
                "INSERT OR REPLACE INTO verdicts (peer, feed_id, sequence, outcome, digest, reason, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(peer, position.feed_id, v.sequence, v.outcome, v.digest, v.reason, now) for v in judged],
            )

    def forget(self, peer: str) -> None:
        """Start again at the beginning of a peer's feed."""
        with self._db.joined():
            self._db.execute("DELETE FROM intake WHERE peer = ?", (peer,))

    def note_taken(self, peer: str, *, entries: int, size: int, now: int) -> None:
        """Count what came from a peer; what it sends again counts again, whatever becomes of its verdicts."""
        with self._db.joined():
            self._db.execute("DELETE FROM taken WHERE peer = ? AND at < ?", (peer, now - COUNTED_SECONDS))
            self._db.execute(
                "INSERT INTO taken (peer, at, entries, bytes) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (peer, at) DO UPDATE SET entries = entries + ?3, bytes = bytes + ?4",
                (peer, now, entries, size),
            )

    def taken_within(self, peer: str, seconds: int, *, now: int) -> Taken:
        """Count what came from a peer in so many seconds until now."""
        row = self._db.row(
            "SELECT coalesce(sum(entries), 0), coalesce(sum(bytes), 0) FROM taken"
            " WHERE peer = ? AND at BETWEEN ? AND ?",
            (peer, now - seconds, now),
        )
        return Taken(*(row or ()))  # type: ignore[arg-type]

    def refusals(self, peer: str, *, limit: int = 50) -> tuple[Refusal, ...]:
        """Return the refused entries of a peer, newest first."""
        rows = self._db.rows(
            "SELECT peer, sequence, digest, reason, at FROM verdicts WHERE peer = ? AND outcome = ?"
            " ORDER BY at DESC, sequence DESC LIMIT ?",
            (peer, Outcome.REFUSED, limit),
        )
        return tuple(Refusal(*row) for row in rows)  # type: ignore[arg-type]

    def note_withheld(self, peer: str, digest: str, withheld: Iterable[WithheldPath]) -> None:
        """Keep what a peer said it withheld of a record, in place of what it said before."""
        with self._db.joined():
            record = row_id(self._db, digest)
            self._db.execute("DELETE FROM withheld WHERE record = ? AND peer = ?", (record, peer))
            self._db.execute_many(
                "INSERT OR REPLACE INTO withheld (record, peer, path, reason, until) VALUES (?, ?, ?, ?, ?)",
                [(record, peer, *note) for note in withheld],
            )

    def withheld(self, digest: str) -> tuple[WithheldPath, ...]:
        """Return what senders said they withheld of a record, by path."""
        rows = self._db.rows(
            "SELECT DISTINCT w.path, w.reason, w.until FROM withheld AS w JOIN records AS r ON r.id = w.record"
            " WHERE r.digest = ? ORDER BY w.path, w.reason, w.until",
            (digest,),
        )
        return tuple(WithheldPath(str(path), str(reason), int(until or 0)) for path, reason, until in rows)
