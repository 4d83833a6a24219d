"""This module takes a store from the version it was written by to this one.

A migration is never changed once released: it runs in its own transaction,
and sqlite-utils keeps its name in the store. `user_version` counts them, so
that an older program can tell that a store is too new for it.
"""

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from tocsin.store.schema import APPLICATION_ID, TABLES

migrations = Migrations("tocsin")


@migrations()
def first_tables(db: Database) -> None:
    """Make the tables of the first version."""
    for statement in TABLES:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


@migrations()
def count_what_peers_send(db: Database) -> None:
    """Count what each peer sends apart from its verdicts, which are replaced where a feed is read again."""
    db.execute("""
        CREATE TABLE taken (
            peer    TEXT    NOT NULL,
            at      INTEGER NOT NULL,
            entries INTEGER NOT NULL,
            PRIMARY KEY (peer, at)
        ) STRICT, WITHOUT ROWID
    """)
    db.execute("INSERT INTO taken SELECT peer, at, count(*) FROM verdicts WHERE outcome <> 'void' GROUP BY peer, at")
    db.execute("DELETE FROM verdicts WHERE outcome = 'void'")
    db.execute("DROP INDEX verdicts_by_time")


KNOWN = 2  # how many migrations stand above


def migrate(db: Database) -> None:
    """Apply what is missing."""
    if migrations.pending(db):
        migrations.apply(db)
    db.execute(f"PRAGMA user_version = {KNOWN}")
