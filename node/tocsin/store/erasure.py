"""This module deletes what is held of a record whose time is over, and leaves the row that says what it was.

Plain claims, verdicts and the decision log stay: they say that there was a
record, and never what was in it.
"""

import logging

from tocsin.store.connection import Connections
from tocsin.store.snapshot import copies

logger = logging.getLogger(__name__)

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
_UNSCRUBBED = "INSERT OR REPLACE INTO facts (name, value) VALUES ('unscrubbed', 1)"
# The index of words marks a word as deleted and keeps it until its parts are merged. Deleted pages themselves are
# overwritten at once (PRAGMA secure_delete), but the write-ahead log keeps them as they were until it is begun anew.
_OPTIMIZE = "INSERT INTO search (search) VALUES ('optimize')"


def erase(db: Connections, record: int) -> None:
    """Delete what is held of a record, in the transaction that is open."""
    for statement in (*_STATEMENTS, _PURGED):
        db.execute(statement, (record,))
    db.execute(_UNSCRUBBED)


def scrub(db: Connections) -> bool:
    """Overwrite what deleting leaves on the disk, a third of a second for ten thousand records; False: nothing is left.

    The store keeps that it is to be done until it is. Where somebody else
    reads the file for long, a backup for one, that is the next time.
    """
    if not db.number("SELECT count(*) FROM facts WHERE name = 'unscrubbed'"):
        return False
    with db.alone():
        db.run(_OPTIMIZE)
        for copy in copies(db.path):  # it holds what was erased since
            copy.unlink()
        if db.begin_log_anew():
            db.run("DELETE FROM facts WHERE name = 'unscrubbed'")
        else:
            logger.warning("what was erased stays in the write-ahead log until nobody else reads the store")
        return True
