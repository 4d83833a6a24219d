"""This module deletes what is held of a record whose time is over, and leaves the row that says what it was.

Plain claims, verdicts and the decision log stay: they say that there was a
record, and never what was in it.
"""

from tocsin.store.connection import Connections

_STATEMENTS = (
    "DELETE FROM holdings WHERE record = ?",
    "DELETE FROM search WHERE rowid = ?",
    "DELETE FROM candidates WHERE record = ?",
    "DELETE FROM dues WHERE record = ?",
    "UPDATE requests SET why = '' WHERE record = ?",  # what a partner wrote may repeat what it says
    "UPDATE records SET title = '', severity = '' WHERE id = ?",
)
_PURGED = """
    UPDATE records SET standing = 'purged' WHERE id = ? AND EXISTS (SELECT 1 FROM retractions AS t
        WHERE t.issuer = records.issuer AND t.record_id = records.record_id AND t.action = 'purge')
"""
# The index of words marks a word as deleted and keeps it until its parts are merged; the write-ahead log keeps pages
# as they were until it is begun anew. Deleted pages themselves are overwritten at once (PRAGMA secure_delete).
_SCRUB = ("INSERT INTO search (search) VALUES ('optimize')", "PRAGMA wal_checkpoint(TRUNCATE)")


def erase(db: Connections, record: int) -> None:
    """Delete what is held of a record, in the transaction that is open."""
    for statement in (*_STATEMENTS, _PURGED):
        db.execute(statement, (record,))


def scrub(db: Connections) -> None:
    """Overwrite what deleting leaves on the disk; takes a third of a second for ten thousand records."""
    db.run_alone(*_SCRUB)
