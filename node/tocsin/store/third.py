"""This module holds what the third version of a home adds: what is over, what was signed for, and entries with a tag.

    retractions   tombstones: they outlive what they are about
    holders       which partner was ever sent a version of a record, or is known to hold one
    pages ── receipts    statements of pages, and what was signed for them, by partners and by us
    answers       what a partner said of an entry of its feed
    recoveries    which peers are asked for what was lost
    facts         what the store knows of itself

SQLite cannot change a CHECK: a table whose words grow is made anew and filled
from the old one, under the same row numbers. Foreign keys are looked at again
when all of it is done.
"""

from sqlite_utils import Database

from tocsin.errors import StoreCorrupt

TABLES = (
    """
    CREATE TABLE retractions (
        id            INTEGER PRIMARY KEY,
        issuer        TEXT    NOT NULL,
        record_id     TEXT    NOT NULL,
        version       INTEGER NOT NULL CHECK (version >= 1),
        action        TEXT    NOT NULL CHECK (action IN ('correct', 'withdraw', 'purge')),
        tlp           TEXT    NOT NULL,
        reason        TEXT    NOT NULL,
        successor     TEXT    NOT NULL,
        issued_at     INTEGER NOT NULL,
        digest        TEXT    NOT NULL UNIQUE,
        token         TEXT    NOT NULL,
        received_from TEXT    NOT NULL,
        stored_at     INTEGER NOT NULL,
        person        TEXT    NOT NULL
    ) STRICT
    """,
    # What the retractions of a record come to is answered from this index alone.
    "CREATE INDEX retractions_by_record ON retractions (issuer, record_id, action, tlp, version)",
    "CREATE INDEX retractions_by_issuer ON retractions (issuer, digest)",
    "CREATE INDEX retractions_listed ON retractions (id) WHERE action <> 'correct'",
    """
    CREATE TABLE holders (
        record  INTEGER NOT NULL REFERENCES records (id),
        partner TEXT    NOT NULL,
        PRIMARY KEY (record, partner)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX holders_by_partner ON holders (partner, record)",
    """
    CREATE TABLE pages (
        id        INTEGER PRIMARY KEY,
        peer      TEXT    NOT NULL,
        given     INTEGER NOT NULL CHECK (given IN (0, 1)),
        digest    TEXT    NOT NULL,
        statement TEXT    NOT NULL,
        feed_id   TEXT    NOT NULL,
        first     INTEGER NOT NULL,
        last      INTEGER NOT NULL,
        at        INTEGER NOT NULL,
        signed    INTEGER NOT NULL DEFAULT 0 CHECK (signed IN (0, 1)),
        UNIQUE (peer, given, digest)
    ) STRICT
    """,
    "CREATE INDEX pages_unsigned ON pages (peer, id) WHERE NOT signed",
    """
    CREATE TABLE receipts (
        id        INTEGER PRIMARY KEY,
        peer      TEXT    NOT NULL,
        given     INTEGER NOT NULL CHECK (given IN (0, 1)),
        chain     TEXT    NOT NULL,
        number    INTEGER NOT NULL CHECK (number >= 1),
        digest    TEXT    NOT NULL,
        statement TEXT    NOT NULL,
        page      INTEGER NOT NULL REFERENCES pages (id),
        at        INTEGER NOT NULL,
        refused   INTEGER NOT NULL,
        pending   INTEGER NOT NULL CHECK (pending IN (0, 1)),
        UNIQUE (peer, given, chain, number)
    ) STRICT
    """,
    "CREATE INDEX receipts_by_peer ON receipts (given, peer, id)",
    "CREATE INDEX receipts_by_page ON receipts (page)",
    "CREATE INDEX receipts_pending ON receipts (peer, id) WHERE pending",
    """
    CREATE TABLE answers (
        partner  TEXT    NOT NULL,
        feed_id  TEXT    NOT NULL,
        sequence INTEGER NOT NULL,
        record   INTEGER NOT NULL REFERENCES records (id),
        kind     TEXT    NOT NULL,
        outcome  TEXT    NOT NULL,
        reason   TEXT    NOT NULL,
        at       INTEGER NOT NULL,
        PRIMARY KEY (partner, feed_id, sequence)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX answers_by_record ON answers (record, at)",
    "CREATE INDEX answers_refused ON answers (partner, feed_id, sequence) WHERE outcome = 'refused'",
    "CREATE INDEX verdicts_by_digest ON verdicts (digest, peer)",
    """
    CREATE TABLE recoveries (
        peer     TEXT    PRIMARY KEY,
        "after"  TEXT    NOT NULL,
        begun_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE facts (
        name  TEXT    PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "ALTER TABLE taken ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE intake ADD COLUMN tag TEXT NOT NULL DEFAULT ''",
)

_RECORDS = (
    """
    CREATE TABLE new_records (
        id              INTEGER PRIMARY KEY,
        digest          TEXT    NOT NULL UNIQUE,
        issuer          TEXT    NOT NULL,
        record_id       TEXT    NOT NULL,
        version         INTEGER NOT NULL CHECK (version >= 1),
        supersedes      TEXT    NOT NULL,
        kind            TEXT    NOT NULL,
        status          TEXT    NOT NULL,
        tlp             TEXT    NOT NULL,
        pap             TEXT    NOT NULL,
        permitted_use   TEXT    NOT NULL,
        relay           TEXT    NOT NULL,
        retention_until TEXT    NOT NULL,
        issued_at       INTEGER NOT NULL,
        expires_at      INTEGER,
        key_id          TEXT    NOT NULL,
        title           TEXT    NOT NULL,
        severity        TEXT    NOT NULL,
        received_from   TEXT    NOT NULL,
        stored_at       INTEGER NOT NULL,
        standing        TEXT    NOT NULL
            CHECK (standing IN ('current', 'replaced', 'equivocal', 'withdrawn', 'purged')),
        marking         TEXT    NOT NULL,
        author          TEXT    NOT NULL
    ) STRICT
    """,
    """
    INSERT INTO new_records
        SELECT id, digest, issuer, record_id, version, supersedes, kind, status, tlp, pap, permitted_use, relay,
            retention_until, issued_at, expires_at, key_id, title, severity, received_from, stored_at, standing,
            marking, author
        FROM records
    """,
    "DROP TABLE records",
    "ALTER TABLE new_records RENAME TO records",
    "CREATE INDEX records_by_version ON records (issuer, record_id, version)",
    "CREATE INDEX records_by_record_id ON records (record_id)",
    "CREATE INDEX records_by_issuer ON records (issuer, digest)",
    """
    CREATE INDEX records_passed_on ON records (received_from, digest)
        WHERE received_from <> '' AND received_from <> issuer
    """,
    # A listing, its filters and its total are answered from this index alone.
    """
    CREATE INDEX records_listed ON records (issued_at, id, kind, issuer, marking, severity, received_from)
        WHERE standing = 'current'
    """,
    "CREATE INDEX records_own ON records (id) WHERE standing = 'current' AND received_from = ''",
)

# Entries from before have no tag: their cursors are told apart by their feed alone.
_ENTRIES = (
    """
    CREATE TABLE new_entries (
        partner   TEXT    NOT NULL REFERENCES feeds (partner),
        sequence  INTEGER NOT NULL CHECK (sequence >= 1),
        kind      TEXT    NOT NULL CHECK (kind IN ('record', 'disclosures', 'retraction')),
        record    INTEGER NOT NULL REFERENCES records (id),
        disclosed TEXT    NOT NULL,
        void      INTEGER NOT NULL DEFAULT 0,
        tag       TEXT    NOT NULL,
        sent_at   INTEGER NOT NULL,
        PRIMARY KEY (partner, sequence)
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO new_entries
        SELECT e.partner, e.sequence, e.kind, e.record, e.disclosed, e.void, '', coalesce(
            (SELECT min(at) FROM audit WHERE partner = e.partner AND partner <> '' AND act = 'sent'
                AND digest = (SELECT digest FROM records WHERE id = e.record)), 0)
        FROM entries AS e
    """,
    "INSERT OR IGNORE INTO holders (record, partner) SELECT record, partner FROM entries WHERE kind = 'record'",
    "DROP TABLE entries",
    "ALTER TABLE new_entries RENAME TO entries",
    "CREATE INDEX entries_by_record ON entries (partner, record)",
)

_PEERS = (
    """
    CREATE TABLE new_peers (
        org               TEXT    PRIMARY KEY,
        role              TEXT    NOT NULL CHECK (role IN ('member', 'reader')),
        state             TEXT    NOT NULL CHECK (state IN ('pending', 'active', 'suspended', 'removed', 'known')),
        document          BLOB    NOT NULL,
        added_at          INTEGER NOT NULL,
        last_received_at  INTEGER,
        last_sent_at      INTEGER,
        last_error_reason TEXT    NOT NULL DEFAULT '',
        last_error        TEXT    NOT NULL DEFAULT '',
        last_error_at     INTEGER
    ) STRICT, WITHOUT ROWID
    """,
    """
    INSERT INTO new_peers
        SELECT org, role, state, document, added_at, last_received_at, last_sent_at, last_error_reason, last_error,
            last_error_at
        FROM peers
    """,
    "DROP TABLE peers",
    "ALTER TABLE new_peers RENAME TO peers",
)

REBUILT = (*_RECORDS, *_ENTRIES, *_PEERS)


def verify_references(db: Database) -> None:
    """Verify that every row that another one names is there. Raises StoreCorrupt."""
    if lost := db.conn.execute("PRAGMA foreign_key_check").fetchall():
        raise StoreCorrupt(f"{len(lost)} rows name others that are not there", hint="restore the latest backup")
