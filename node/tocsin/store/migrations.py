"""This module takes a store from the version it was written by to this one.

A migration is never changed once released: it runs in its own transaction,
and sqlite-utils keeps its name in the store. `user_version` counts them, so
that an older program can tell that a store is too new for it.
"""

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from tocsin.store import fifth, fourth, second, third
from tocsin.store.schema import APPLICATION_ID, TABLES

migrations = Migrations("tocsin")


@migrations()
def first_tables(db: Database) -> None:
    """Make the tables of the first version."""
    for statement in TABLES:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


@migrations()
def people_and_releases(db: Database) -> None:
    """Add what the second version keeps, and make the table of sends the beginning of the decision log."""
    for statement in (*second.TABLES, *second.COLUMNS):
        db.execute(statement)
    second.chain_sends(db)
    for statement in second.DROPPED:
        db.execute(statement)


@migrations()
def retractions_and_receipts(db: Database) -> None:
    """Add what the third version keeps, and let what was there be withdrawn, and entries carry a tag."""
    for statement in (*third.TABLES, *third.REBUILT):
        db.execute(statement)
    third.verify_references(db)


@migrations()
def transparency_logs(db: Database) -> None:
    """Add what the fourth version keeps; what was issued before is logged when the node opens the home."""
    for statement in fourth.TABLES:
        db.execute(statement)


@migrations()
def index_of_what_is_over(db: Database) -> None:
    """Add what the fifth version keeps."""
    for statement in fifth.TABLES:
        db.execute(statement)


KNOWN = 5  # how many migrations stand above


def migrate(db: Database) -> None:
    """Apply what is missing."""
    if migrations.pending(db):
        migrations.apply(db)
    db.execute(f"PRAGMA user_version = {KNOWN}")
