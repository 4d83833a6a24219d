"""This module holds what the fourth version of a home adds: transparency logs, our own and those that we follow.

logs ──┬── log_entries      what was logged, as 64 bytes each, by their number
       ├── log_nodes        hashes of the complete subtrees: (level, number) stands for 2^level entries
       └── log_checkpoints  of every minute the last checkpoint that somebody cosigned
log_waits                   whom our own log waits for, in a home that was put back to an earlier state
evidence                    who was caught with two histories, and the proof of it
"""

TABLES = (
    """
    CREATE TABLE logs (
        id         INTEGER PRIMARY KEY,
        origin     TEXT    NOT NULL UNIQUE,
        size       INTEGER NOT NULL DEFAULT 0,
        checkpoint TEXT    NOT NULL DEFAULT '',
        signed     INTEGER NOT NULL DEFAULT 0,
        cosigned   INTEGER NOT NULL DEFAULT 0,
        cosigned_root BLOB NOT NULL DEFAULT x'',
        cosigned_at INTEGER NOT NULL DEFAULT 0,
        stopped    TEXT    NOT NULL DEFAULT '',
        resumed    INTEGER NOT NULL DEFAULT 0,
        at         INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE log_entries (
        log    INTEGER NOT NULL REFERENCES logs (id),
        number INTEGER NOT NULL CHECK (number >= 0),
        name   BLOB    NOT NULL CHECK (length(name) = 32),
        digest BLOB    NOT NULL CHECK (length(digest) = 32),
        PRIMARY KEY (log, number)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX log_entries_by_name ON log_entries (log, name)",
    """
    CREATE TABLE log_nodes (
        log    INTEGER NOT NULL REFERENCES logs (id),
        level  INTEGER NOT NULL,
        number INTEGER NOT NULL,
        hash   BLOB    NOT NULL CHECK (length(hash) = 32),
        PRIMARY KEY (log, level, number)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE log_checkpoints (
        log        INTEGER NOT NULL REFERENCES logs (id),
        minute     INTEGER NOT NULL,
        size       INTEGER NOT NULL,
        checkpoint TEXT    NOT NULL,
        signatures INTEGER NOT NULL,
        at         INTEGER NOT NULL,
        PRIMARY KEY (log, minute)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX log_checkpoints_by_size ON log_checkpoints (log, size)",
    "CREATE TABLE log_waits (peer TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE evidence (
        id     INTEGER PRIMARY KEY,
        origin TEXT    NOT NULL,
        kind   TEXT    NOT NULL,
        digest TEXT    NOT NULL UNIQUE,
        bundle BLOB    NOT NULL,
        at     INTEGER NOT NULL
    ) STRICT
    """,
)
