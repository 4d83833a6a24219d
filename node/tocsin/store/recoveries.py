"""This module keeps which peers are asked for what a store that was put back to an earlier state has lost."""

from tocsin.store.connection import Connections


class SqliteRecoveries:
    """Keep whom to ask for what was lost; see `delivery.Recoveries`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def begin(self, peer: str, *, now: int) -> bool:
        """Ask a peer from the beginning; False where it is being asked already."""
        with self._db.transaction():
            added = self._db.execute(
                "INSERT OR IGNORE INTO recoveries (peer, \"after\", begun_at) VALUES (?, '', ?)", (peer, now)
            )
            return added == 1

    def open(self) -> dict[str, str]:
        """Return the peers that are to be asked, each with where to go on."""
        return {
            str(peer): str(after)
            for peer, after in self._db.rows('SELECT peer, "after" FROM recoveries ORDER BY begun_at, peer')
        }

    def advance(self, peer: str, after: str) -> None:
        """Keep how far a peer has answered; empty: it is done."""
        with self._db.transaction():
            if after:
                self._db.execute('UPDATE recoveries SET "after" = ? WHERE peer = ?', (after, peer))
            else:
                self._db.execute("DELETE FROM recoveries WHERE peer = ?", (peer,))
