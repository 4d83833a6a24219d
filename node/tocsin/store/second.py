"""This module holds what the second version of a home adds: people, reviews, dates, policies, the decision log.

    people        who our own people are          proposals ── opinions   what waits for approval, and who agreed
    policy_sets   what was put in force           requests                what partners ask for
    audit         the decision log                dues                    what is to be done at a time

The table of sends becomes the first entries of the decision log, chained here
and sealed when the home is opened (`tocsin.audit.log`). Rows of `audit` and
`policy_sets` are refused every change: against our own mistakes; against
somebody with the file open there are the chain and the signatures.
"""

import json
from hashlib import sha256

from sqlite_utils import Database

from tocsin.encoding import dump_json, encode_base64url

TABLES = (
    """
    CREATE TABLE people (
        name        TEXT    PRIMARY KEY,
        roles       TEXT    NOT NULL,
        key_id      TEXT    NOT NULL UNIQUE,
        public_key  BLOB    NOT NULL,
        certificate BLOB    NOT NULL,
        pin         TEXT    NOT NULL UNIQUE,
        active      INTEGER NOT NULL CHECK (active IN (0, 1)),
        added_at    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE proposals (
        number           INTEGER PRIMARY KEY,
        id               TEXT    NOT NULL UNIQUE,
        record           INTEGER NOT NULL REFERENCES records (id),
        body             TEXT    NOT NULL,
        state            TEXT    NOT NULL CHECK (state IN ('open', 'released', 'rejected', 'void')),
        proposed_by      TEXT    NOT NULL,
        proposed_at      INTEGER NOT NULL,
        approvals_needed INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX proposals_by_record ON proposals (record)",
    "CREATE INDEX proposals_open ON proposals (proposed_at) WHERE state = 'open'",
    """
    CREATE TABLE opinions (
        number    INTEGER PRIMARY KEY,
        proposal  TEXT    NOT NULL REFERENCES proposals (id),
        person    TEXT    NOT NULL,
        approves  INTEGER NOT NULL CHECK (approves IN (0, 1)),
        statement TEXT    NOT NULL,
        at        INTEGER NOT NULL,
        UNIQUE (proposal, person)
    ) STRICT
    """,
    """
    CREATE TABLE requests (
        number   INTEGER PRIMARY KEY,
        id       TEXT    NOT NULL UNIQUE,
        peer     TEXT    NOT NULL,
        record   INTEGER NOT NULL REFERENCES records (id),
        paths    TEXT    NOT NULL,
        why      TEXT    NOT NULL,
        asked_at INTEGER NOT NULL,
        state    TEXT    NOT NULL CHECK (state IN ('open', 'released', 'rejected', 'void'))
    ) STRICT
    """,
    "CREATE INDEX requests_by_peer ON requests (peer, record)",
    "CREATE INDEX requests_by_time ON requests (peer, asked_at)",
    "CREATE INDEX requests_open ON requests (asked_at) WHERE state = 'open'",
    """
    CREATE TABLE dues (
        due_at  INTEGER NOT NULL,
        kind    TEXT    NOT NULL,
        record  INTEGER NOT NULL REFERENCES records (id),
        partner TEXT    NOT NULL,
        PRIMARY KEY (due_at, kind, record, partner)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX dues_by_record ON dues (record)",
    """
    CREATE TABLE policy_sets (
        number     INTEGER PRIMARY KEY,
        subject    TEXT    NOT NULL,
        replaces   TEXT    NOT NULL,
        statement  TEXT    NOT NULL,
        person     TEXT    NOT NULL,
        files      TEXT    NOT NULL,
        signed     TEXT    NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY,
        at       INTEGER NOT NULL,
        act      TEXT    NOT NULL,
        person   TEXT    NOT NULL,
        partner  TEXT    NOT NULL,
        digest   TEXT    NOT NULL,
        body     TEXT    NOT NULL,
        hash     TEXT    NOT NULL,
        seal     TEXT    NOT NULL
    ) STRICT
    """,
    "CREATE INDEX audit_by_digest ON audit (digest, sequence) WHERE digest <> ''",
    "CREATE INDEX audit_by_partner ON audit (partner, sequence) WHERE partner <> ''",
    "CREATE INDEX audit_by_person ON audit (person, sequence) WHERE person <> ''",
    "CREATE INDEX audit_by_act ON audit (act, sequence)",
    *(
        f"CREATE TRIGGER {table}_never_{verb} BEFORE {verb} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, 'a row of {table} never changes'); END"
        for table in ("audit", "policy_sets")
        for verb in ("UPDATE", "DELETE")
    ),
)

COLUMNS = (
    "ALTER TABLE records ADD COLUMN marking TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE records ADD COLUMN author TEXT NOT NULL DEFAULT ''",
    "UPDATE records SET marking = tlp",
    # Nothing was deleted by its date before. A part of a second counts as the whole of it.
    """
    INSERT INTO dues (due_at, kind, record, partner)
        SELECT CAST(strftime('%s', retention_until) AS INTEGER) + 1, 'retention', id, '' FROM records
        WHERE received_from <> '' AND strftime('%s', retention_until) IS NOT NULL
    """,
    "ALTER TABLE withheld ADD COLUMN until INTEGER NOT NULL DEFAULT 0",
    "DROP INDEX records_listed",
    # A listing, its filters and its total are answered from this index alone.
    """
    CREATE INDEX records_listed ON records (issued_at, id, kind, issuer, marking, severity, received_from)
        WHERE standing = 'current'
    """,
)

DROPPED = ("DROP TABLE sends", "DROP TABLE policy_files")

_SENDS = """
    SELECT s.partner, s.sequence, s.kind, r.digest, s.disclosed, s.withheld, s.rule, s.file, s.line, s.policy_digest,
        s.agreement, s.sent_at, r.tlp, EXISTS (SELECT 1 FROM sends AS b
            WHERE b.partner = s.partner AND b.sequence = s.sequence AND b.id < s.id)
    FROM sends AS s JOIN records AS r ON r.id = s.record ORDER BY s.id
"""


def chain_sends(db: Database) -> None:
    """Copy the table of sends into the decision log, oldest first."""
    head = ""
    for sequence, row in enumerate(db.conn.execute(_SENDS).fetchall(), start=1):
        partner, entry, kind, digest, disclosed, withheld, rule, file, line, policy, agreement, at, tlp, again = row
        act = "narrowed" if again else "sent"
        details = {
            "kind": kind,
            "sequence": entry,
            "disclosed": json.loads(disclosed),
            "withheld": [{"path": path, "reason": reason} for path, reason, _ in json.loads(withheld)],
            "rule": rule,
            "file": file,
            "line": line,
            "policy": policy,
            "agreement": agreement,
            "marking": tlp,
            "reviews": [],
            "unchained": True,  # until now; it is believed as far as the store of that time was
        }
        names = {"seq": sequence, "at": at, "act": act, "person": "", "partner": partner, "digest": digest}
        body = dump_json({**names, "details": details}).decode()
        head = encode_base64url(sha256(f"{head}{body}".encode()).digest())
        db.execute(
            "INSERT INTO audit (sequence, at, act, person, partner, digest, body, hash, seal)"
            " VALUES (?, ?, ?, '', ?, ?, ?, ?, '')",
            (sequence, at, act, partner, digest, body, head),
        )
