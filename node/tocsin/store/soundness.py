"""This module looks for what does not fit together in a store: damage, holes, an index that differs.

    examine     every page and every question, while others read and write: a second or two for 100,000 records
    problems    also each entry of each index, and each word: four times as long, and writers wait for the words

Every question returns what is wrong, by name, and nothing where all is well.
Nothing is repaired: what is wrong here was not written by this program, and
nobody knows which half is right.
"""

from collections.abc import Iterator

from tocsin.errors import StoreCorrupt
from tocsin.store.connection import Connections
from tocsin.store.damage import Examined

QUESTIONS = (
    (
        "the feed for {0} has {1} numbered entries and says {2}",
        "SELECT f.partner, count(e.sequence), f.head FROM feeds AS f LEFT JOIN entries AS e ON e.partner = f.partner"
        " GROUP BY f.partner HAVING count(e.sequence) <> f.head OR coalesce(max(e.sequence), 0) <> f.head",
    ),
    (
        "record {0} is held and cannot be found by its words",
        "SELECT r.digest FROM holdings AS h JOIN records AS r ON r.id = h.record"
        " WHERE h.record NOT IN (SELECT rowid FROM search)",
    ),
    (
        "row {0} of the index is of a record that is not held",
        "SELECT rowid FROM search WHERE rowid NOT IN (SELECT record FROM holdings)",
    ),
    (
        "record {0} was retracted and is {1}",
        "SELECT digest, standing FROM records WHERE standing NOT IN ('withdrawn', 'purged')"
        " AND (issuer, record_id) IN (SELECT issuer, record_id FROM retractions WHERE action <> 'correct')",
    ),
    (
        "record {0} was not retracted and is {1}",
        "SELECT digest, standing FROM records WHERE standing IN ('withdrawn', 'purged')"
        " AND (issuer, record_id) NOT IN (SELECT issuer, record_id FROM retractions WHERE action <> 'correct')",
    ),
    (
        "record {0} is purged and still held",
        "SELECT r.digest FROM records AS r JOIN holdings AS h ON h.record = r.id WHERE r.standing = 'purged'",
    ),
    (
        "record {0} was corrected and is current",
        "SELECT r.digest FROM records AS r JOIN retractions AS t ON t.issuer = r.issuer AND t.record_id = r.record_id"
        " WHERE r.standing = 'current' AND t.action = 'correct' AND r.version <= t.version",
    ),
    (
        "record {0} is current and not the newest version",
        "SELECT r.digest FROM records AS r WHERE r.standing = 'current' AND EXISTS (SELECT 1 FROM records AS o"
        " WHERE o.issuer = r.issuer AND o.record_id = r.record_id AND o.id <> r.id AND o.version >= r.version)",
    ),
    (
        "receipts are missing from chain {2} of {0}: {1} of {3} are there",
        "SELECT peer, count(*), chain, max(number) FROM receipts GROUP BY peer, given, chain"
        " HAVING count(*) <> max(number)",
    ),
    (
        "{0} has acknowledged entry {1}, and {2} were made",
        "SELECT partner, acknowledged, head FROM feeds WHERE acknowledged > head",
    ),
)


def examine(db: Connections, *, now: int) -> Examined | None:
    """Return what does not fit together, as far as that is seen while the store is in use; None where it was stopped.

    Where pages are damaged nobody reads the store from then on.
    """
    damage = db.find_damage()
    if damage is None:
        return None
    return Examined(now, tuple(f"the file is damaged: {found}" for found in damage) or tuple(_contradictions(db)))


def problems(db: Connections) -> Iterator[str]:
    """Yield what does not fit together."""
    try:
        damage = [str(found) for (found,) in db.rows("PRAGMA integrity_check(100)") if found != "ok"]
    except StoreCorrupt as error:
        damage = [error.message]
    if damage:
        db.guard.condemn(damage)  # what would be read from it means nothing
        yield from (f"the file is damaged: {found}" for found in damage)
        return
    yield from _contradictions(db)
    try:
        with db.transaction():
            db.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    except StoreCorrupt:
        yield "the index of words is not that of what is held"


def _contradictions(db: Connections) -> Iterator[str]:
    for table, row, parent, *_ in db.rows("PRAGMA foreign_key_check"):
        yield f"row {row!s} of {table!s} names a row of {parent!s} that is not there"
    for problem, question in QUESTIONS:
        for names in db.rows(question):
            yield problem.format(*names)
