"""This module holds the tables as the first version of a home has them; `migrations` takes them further.

    records ──┬── holdings      the bytes held of a version: token and disclosed content
              ├── search        full text of what this node may read (FTS5; rowid = records.id)
              ├── recipients    whom the poster named
              ├── posts         idempotency keys
              ├── withheld      what a sender said it withheld
              ├── grants        fields revealed to a partner by name
              ├── candidates    look at this record again for this partner
              ├── entries       feed entries that have their number
              └── sends         what went, to whom, on what basis: never changed
    feeds        one a partner: how far it went        intake     one a peer: how far it came
    verdicts     what became of each entry of a peer   peers      who is out there
    policy_files which policy files were evaluated
    taken        how many entries a peer sent, and when

What a version *is* (records) and the bytes held of it (holdings) lie apart,
so that a listing reads no tokens, and so that bytes can go while the row
stays. Times are unix seconds. Lists are JSON text. STRICT tables only: a value
of the wrong type is an error here, not a surprise later.
"""

APPLICATION_ID = 0x746F6373  # "tocs": what `file` shows, and how a foreign database is told from ours

TABLES = (
    """
    CREATE TABLE records (
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
        standing        TEXT    NOT NULL CHECK (standing IN ('current', 'replaced', 'equivocal'))
    ) STRICT
    """,
    "CREATE INDEX records_by_version ON records (issuer, record_id, version)",
    "CREATE INDEX records_by_record_id ON records (record_id)",
    # A listing, its filters and its total are answered from this index alone.
    """
    CREATE INDEX records_listed ON records (issued_at, id, kind, issuer, tlp, severity, received_from)
        WHERE standing = 'current'
    """,
    "CREATE INDEX records_own ON records (id) WHERE standing = 'current' AND received_from = ''",
    "CREATE INDEX records_equivocal ON records (issuer, record_id, version) WHERE standing = 'equivocal'",
    """
    CREATE TABLE holdings (
        record  INTEGER PRIMARY KEY REFERENCES records (id),
        token   TEXT NOT NULL,
        content TEXT NOT NULL
    ) STRICT
    """,
    "CREATE VIRTUAL TABLE search USING fts5 (title, body, names, tokenize = 'unicode61 remove_diacritics 2')",
    """
    CREATE TABLE recipients (
        record INTEGER NOT NULL REFERENCES records (id),
        org    TEXT    NOT NULL,
        PRIMARY KEY (record, org)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE posts (
        key       TEXT    PRIMARY KEY,
        record    INTEGER NOT NULL REFERENCES records (id),
        posted_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE withheld (
        record INTEGER NOT NULL REFERENCES records (id),
        peer   TEXT    NOT NULL,
        path   TEXT    NOT NULL,
        reason TEXT    NOT NULL,
        PRIMARY KEY (record, peer, path)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE grants (
        partner    TEXT    NOT NULL,
        record     INTEGER NOT NULL REFERENCES records (id),
        path       TEXT    NOT NULL,
        granted_at INTEGER NOT NULL,
        PRIMARY KEY (partner, record, path)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE candidates (
        partner   TEXT    NOT NULL,
        record    INTEGER NOT NULL REFERENCES records (id),
        queued_at INTEGER NOT NULL,
        PRIMARY KEY (partner, record)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE feeds (
        partner         TEXT    PRIMARY KEY,
        feed_id         TEXT    NOT NULL UNIQUE,
        head            INTEGER NOT NULL DEFAULT 0,
        acknowledged    INTEGER NOT NULL DEFAULT 0 CHECK (acknowledged <= head),
        opened_at       INTEGER NOT NULL,
        last_sent_at    INTEGER,
        acknowledged_at INTEGER
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE entries (
        partner   TEXT    NOT NULL REFERENCES feeds (partner),
        sequence  INTEGER NOT NULL CHECK (sequence >= 1),
        kind      TEXT    NOT NULL CHECK (kind IN ('record', 'disclosures')),
        record    INTEGER NOT NULL REFERENCES records (id),
        disclosed TEXT    NOT NULL,
        void      INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (partner, sequence)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX entries_by_record ON entries (partner, record)",
    """
    CREATE TABLE sends (
        id            INTEGER PRIMARY KEY,
        partner       TEXT    NOT NULL,
        sequence      INTEGER NOT NULL,
        kind          TEXT    NOT NULL,
        record        INTEGER NOT NULL REFERENCES records (id),
        disclosed     TEXT    NOT NULL,
        withheld      TEXT    NOT NULL,
        rule          TEXT    NOT NULL,
        file          TEXT    NOT NULL,
        line          INTEGER NOT NULL,
        policy_digest TEXT    NOT NULL,
        agreement     TEXT    NOT NULL,
        sent_at       INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX sends_by_record ON sends (record, partner)",
    """
    CREATE TABLE intake (
        peer     TEXT    PRIMARY KEY,
        feed_id  TEXT    NOT NULL,
        sequence INTEGER NOT NULL,
        moved_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE verdicts (
        peer     TEXT    NOT NULL,
        feed_id  TEXT    NOT NULL,
        sequence INTEGER NOT NULL,
        outcome  TEXT    NOT NULL,
        digest   TEXT    NOT NULL,
        reason   TEXT    NOT NULL,
        at       INTEGER NOT NULL,
        PRIMARY KEY (peer, feed_id, sequence)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX verdicts_refused ON verdicts (peer, at) WHERE outcome = 'refused'",
    # Counted apart from the verdicts, which are replaced where a feed is read again.
    """
    CREATE TABLE taken (
        peer    TEXT    NOT NULL,
        at      INTEGER NOT NULL,
        entries INTEGER NOT NULL,
        PRIMARY KEY (peer, at)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE peers (
        org               TEXT    PRIMARY KEY,
        role              TEXT    NOT NULL CHECK (role IN ('member', 'reader')),
        state             TEXT    NOT NULL CHECK (state IN ('pending', 'active', 'suspended', 'removed')),
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
    CREATE TABLE policy_files (
        file    TEXT    PRIMARY KEY,
        digest  TEXT    NOT NULL,
        seen_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)
