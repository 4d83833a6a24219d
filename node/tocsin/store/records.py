"""This module keeps records: versions, the bytes held of them, and what was said when they were posted."""

import json
from collections.abc import Iterable, Iterator

from tocsin.encoding import dump_json
from tocsin.errors import Conflict, NotFound
from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord
from tocsin.store import listing, search
from tocsin.store.connection import Connections, Row, Value
from tocsin.store.erasure import erase
from tocsin.store.model import Added, RecordCounts, RecordFilter, RecordList, Standing, StoredRecord
from tocsin.store.standing import make_room, tombstone

CANDIDATES_SHOWN = 5  # of an ambiguous prefix
OWN_BATCH = 1000  # digests read at once when walking over all own records

_SELECT = """
    SELECT r.digest, r.issuer, r.record_id, r.version, r.supersedes, r.kind, r.status, r.tlp, r.pap, r.permitted_use,
        r.relay, r.retention_until, r.issued_at, r.expires_at, r.key_id, r.title, r.severity, r.received_from,
        r.stored_at, r.standing, coalesce(h.token, ''), coalesce(h.content, '{}'), r.marking, r.author
    FROM records AS r LEFT JOIN holdings AS h ON h.record = r.id
"""

_ADDED = {
    Standing.EQUIVOCAL: Added.EQUIVOCATION,
    Standing.WITHDRAWN: Added.RETRACTED,
    Standing.PURGED: Added.RETRACTED,
}


class SqliteRecords:
    """Keep what is said; see `protocol.Records`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def add(self, record: VerifiedRecord, *, received_from: str = "", author: str = "", now: int) -> Added:
        """Keep a verified record, or what is new of one that is held."""
        with self._db.joined():
            held = self._db.row(
                "SELECT r.id, h.token FROM records AS r LEFT JOIN holdings AS h ON h.record = r.id WHERE r.digest = ?",
                (record.digest,),
            )
            over = tombstone(self._db, record.issuer, record.record_id)
            if held is None:
                at = make_room(self._db, record, over)
                marking = over.strictest(record.marking_at(now), version=record.version)
                added = self._insert(record, at, marking, received_from=received_from, author=author, now=now)
                if at is not Standing.PURGED:
                    self._hold(added, record)
                return _ADDED.get(at, Added.NEW)
            if over.withdrawn:
                return Added.RETRACTED
            row, token = held
            return Added.UNCHANGED if token is None else self._grow(row, str(token), record)  # None: erased for good

    def get(self, digest: str) -> StoredRecord:
        """Return the version with this digest."""
        row = self._db.row(f"{_SELECT} WHERE r.digest = ?", (digest,))
        if row is None:
            raise _nothing(digest)
        return _stored(row)

    def find(self, name: str, *, version: int = 0) -> StoredRecord:
        """Return a record by digest, record id, or a unique prefix of it."""
        row = self._db.row(f"{_SELECT} WHERE r.digest = ?", (name,))
        if row is not None:
            return _stored(row)
        issuer, record_id = self._resolve(name)
        rows = self._db.rows(
            f"{_SELECT} WHERE r.issuer = ? AND r.record_id = ? AND r.version = ? LIMIT ?",
            (issuer, record_id, version or self.versions(issuer, record_id)[-1], CANDIDATES_SHOWN + 1),
        )
        if not rows:
            raise NotFound(f"there is no version {version} of record {record_id}", hint="see `tocsin show ID`")
        if len(rows) > 1:
            raise Conflict(
                f"{issuer} signed different records as version {rows[0][3]!s} of {record_id}",
                reason="EQUIVOCATION",
                hint="see each by its digest: " + _shown(str(row[0]) for row in rows),
            )
        return _stored(rows[0])

    def token(self, digest: str) -> str | None:
        """Return the text held for a digest."""
        row = self._db.row(
            "SELECT h.token FROM records AS r JOIN holdings AS h ON h.record = r.id WHERE r.digest = ?", (digest,)
        )
        return None if row is None else str(row[0])

    def tokens(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the text held for each of these digests."""
        rows = self._db.rows(
            "SELECT r.digest, h.token FROM json_each(?) AS d JOIN records AS r ON r.digest = d.value"
            " JOIN holdings AS h ON h.record = r.id",
            (json.dumps([*digests]),),
        )
        return {str(digest): str(token) for digest, token in rows}

    def versions(self, issuer: str, record_id: str) -> tuple[int, ...]:
        """Return the versions that are held, ascending."""
        rows = self._db.rows(
            "SELECT DISTINCT version FROM records WHERE issuer = ? AND record_id = ? ORDER BY version",
            (issuer, record_id),
        )
        return tuple(int(version or 0) for (version,) in rows)

    def list(self, where: RecordFilter, *, page_size: int = 0, page_token: str = "") -> RecordList:
        """List current records, newest first."""
        found = listing.find(self._db, where, page_size=page_size, page_token=page_token)
        return RecordList(self._load(found.ids), found.next_page_token, found.total, found.more_than_total)

    def search(self, text: str, *, limit: int = 0) -> tuple[StoredRecord, ...]:
        """Return current records that contain every word, best first."""
        return self._load(search.find(self._db, text, limit=listing.page_limit(limit)))

    def own_current(self) -> Iterator[str]:
        """Yield the digest of each current own record that is held, oldest first."""
        yield from self._current(
            "SELECT id, digest FROM records WHERE standing = 'current' AND received_from = '' AND id > ?"
            " AND EXISTS (SELECT 1 FROM holdings WHERE record = records.id) ORDER BY id LIMIT ?"
        )

    def own_versions(self) -> Iterator[tuple[str, int, str]]:
        """Yield record id, version and digest of everything that we issued, oldest first, whatever became of it."""
        for record_id, version, digest in self._db.rows(
            "SELECT record_id, version, digest FROM records WHERE received_from = '' ORDER BY id"
        ):
            yield str(record_id), int(version or 0), str(digest)

    def relayable(self) -> Iterator[str]:
        """Yield the digest of each current record of others that is held and may be passed on, oldest first."""
        yield from self._current(
            "SELECT id, digest FROM records WHERE standing = 'current' AND received_from <> '' AND id > ?"
            " AND relay = 'community' AND EXISTS (SELECT 1 FROM holdings WHERE record = records.id)"
            " ORDER BY id LIMIT ?"
        )

    def _current(self, query: str) -> Iterator[str]:
        last = 0
        while rows := self._db.rows(query, (last, OWN_BATCH)):
            for _, digest in rows:
                yield str(digest)
            last = int(rows[-1][0] or 0)

    def equivocations(self) -> tuple[tuple[str, str, int, tuple[str, ...]], ...]:
        """Return each version that stands for several digests."""
        rows = self._db.rows(
            "SELECT issuer, record_id, version, group_concat(digest, ' ') FROM records"
            " WHERE standing NOT IN ('current', 'replaced')"  # as the index says it: such a version is never either
            " GROUP BY issuer, record_id, version HAVING count(*) > 1"
        )
        return tuple(
            (str(iss), str(name), int(version or 0), tuple(sorted(str(each).split())))
            for iss, name, version, each in rows
        )

    def counts(self) -> RecordCounts:
        """Count the current records."""
        total = self._db.number("SELECT count(*) FROM records WHERE standing = 'current'")
        own = self._db.number("SELECT count(*) FROM records WHERE standing = 'current' AND received_from = ''")
        return RecordCounts(own=own, received=total - own)

    def newest(self, issuer: str, record_id: str, *, until: int) -> StoredRecord | None:
        """Return the newest version held of a record up to one."""
        row = self._db.row(
            f"{_SELECT} WHERE r.issuer = ? AND r.record_id = ? AND r.version <= ?"
            " ORDER BY r.version DESC, r.id DESC LIMIT 1",
            (issuer, record_id, until),
        )
        return None if row is None else _stored(row)

    def history(self, issuer: str, record_id: str) -> tuple[StoredRecord, ...]:
        """Return every version held of a record, oldest first."""
        rows = self._db.rows(
            f"{_SELECT} WHERE r.issuer = ? AND r.record_id = ? ORDER BY r.version, r.id", (issuer, record_id)
        )
        return tuple(_stored(row) for row in rows)

    def issued(self, issuer: str, *, after: str, limit: int) -> tuple[StoredRecord, ...]:
        """Return what is held of an issuer's records (empty: of everybody's), by digest, behind one."""
        whose = "r.issuer = ?1" if issuer else "?1 = ''"  # each is answered from its own index
        rows = self._db.rows(
            f"{_SELECT} WHERE {whose} AND r.digest > ?2 AND h.token IS NOT NULL ORDER BY r.digest LIMIT ?3",
            (issuer, after, limit),
        )
        return tuple(_stored(row) for row in rows)

    def passed_on(self, peer: str, *, after: str, limit: int) -> tuple[StoredRecord, ...]:
        """Return what a peer passed on of others' records and is held, by digest, behind one."""
        rows = self._db.rows(
            f"{_SELECT} WHERE r.received_from = ? AND r.received_from <> '' AND r.received_from <> r.issuer"
            " AND r.digest > ? AND h.token IS NOT NULL ORDER BY r.digest LIMIT ?",
            (peer, after, limit),
        )
        return tuple(_stored(row) for row in rows)

    def narrow(self, digest: str, recipients: Iterable[str]) -> None:
        """Keep whom the poster named."""
        with self._db.joined():
            record = row_id(self._db, digest)
            self._db.execute_many(
                "INSERT OR IGNORE INTO recipients (record, org) VALUES (?, ?)", [(record, org) for org in recipients]
            )

    def recipients(self, digest: str) -> frozenset[OrgId]:
        """Return whom the poster named."""
        rows = self._db.rows(
            "SELECT n.org FROM recipients AS n JOIN records AS r ON r.id = n.record WHERE r.digest = ?", (digest,)
        )
        return frozenset(OrgId(str(org)) for (org,) in rows)

    def remark(self, digest: str, marking: str) -> None:
        """Keep the marking that counts from now on; a retraction that asks for a stricter one holds."""
        with self._db.joined():
            row = self._db.row("SELECT id, issuer, record_id, version FROM records WHERE digest = ?", (digest,))
            if row is None:
                raise _nothing(digest)
            record, issuer, record_id, version = row
            over = tombstone(self._db, str(issuer), str(record_id))
            counts = over.strictest(marking, version=int(version or 0))
            self._db.execute("UPDATE records SET marking = ? WHERE id = ?", (counts, record))

    def erase(self, digest: str) -> None:
        """Delete what is held of a record."""
        with self._db.joined():
            erase(self._db, row_id(self._db, digest))

    def remember_key(self, key: str, digest: str, *, now: int) -> None:
        """Keep an idempotency key."""
        with self._db.joined():
            known = self.by_key(key)
            if known not in (None, digest):
                raise Conflict("the idempotency key stands for another record already", reason="CONFLICT")
            self._db.execute(
                "INSERT OR IGNORE INTO posts (key, record, posted_at) VALUES (?, ?, ?)",
                (key, row_id(self._db, digest), now),
            )

    def by_key(self, key: str) -> str | None:
        """Return the digest that an idempotency key was used for."""
        row = self._db.row(
            "SELECT r.digest FROM posts AS p JOIN records AS r ON r.id = p.record WHERE p.key = ?", (key,)
        )
        return None if row is None else str(row[0])

    def _insert(
        self, record: VerifiedRecord, at: Standing, marking: str, *, received_from: str, author: str, now: int
    ) -> int:
        """Write what a version is, and return its row; under a purge without its title, which is content."""
        title, severity = ("", "") if at is Standing.PURGED else (_text(record, "title"), _text(record, "severity"))
        return self._db.insert(
            "INSERT INTO records (digest, issuer, record_id, version, supersedes, kind, status, tlp, pap,"
            " permitted_use, relay, retention_until, issued_at, expires_at, key_id, title, severity, received_from,"
            " stored_at, standing, marking, author)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.digest,
                record.issuer,
                record.record_id,
                record.version,
                record.supersedes,
                record.kind,
                record.status,
                record.tlp,
                record.pap,
                json.dumps(record.permitted_use),
                record.relay,
                record.retention_until,
                record.issued_at,
                record.expires_at,
                record.key_id,
                title,
                severity,
                received_from,
                now,
                at,
                marking,
                author,
            ),
        )

    def _hold(self, row: int, record: VerifiedRecord) -> None:
        """Keep the bytes of a version that was not held before."""
        self._db.execute(
            "INSERT INTO holdings (record, token, content) VALUES (?, ?, ?)",
            (row, record.token, dump_json(record.content).decode()),
        )
        search.add(self._db, row, record)

    def _grow(self, row: Value, token: str, record: VerifiedRecord) -> Added:
        """Replace a holding by one with more disclosures."""
        if token == record.token:
            return Added.UNCHANGED
        if not set(token.split("~")) <= set(record.token.split("~")):
            raise RuntimeError("a holding only grows: disclosures that are held are missing")
        self._db.execute(
            "UPDATE holdings SET token = ?, content = ? WHERE record = ?",
            (record.token, dump_json(record.content).decode(), row),
        )
        self._db.execute(
            "UPDATE records SET title = ?, severity = ? WHERE id = ?",
            (_text(record, "title"), _text(record, "severity"), row),
        )
        search.replace(self._db, int(row or 0), record)
        return Added.GROWN

    def _resolve(self, prefix: str) -> tuple[str, str]:
        """Return issuer and record id that a prefix of a record id means.

        Anybody can sign a record under an id that is taken: a whole id means
        the own record, and those of others are told apart by their digests.
        """
        if not prefix:
            raise _nothing(prefix)
        rows = self._db.rows(
            "SELECT record_id, issuer, received_from, digest, max(version) FROM records"
            " WHERE record_id >= ?1 AND record_id < ?1 || '~' GROUP BY record_id, issuer"
            " ORDER BY record_id, received_from <> '' LIMIT ?2",
            (prefix, CANDIDATES_SHOWN + 1),
        )
        if not rows:
            raise _nothing(prefix)
        record_id, issuer, received_from, *_ = rows[0]
        if len(rows) > 1 and (record_id != prefix or received_from):
            several = "it may be " + _shown(f"{name!s} of {origin!s}" for name, origin, *_ in rows)
            if record_id == prefix:
                several = "see each by its digest: " + _shown(f"{row[3]!s} of {row[1]!s}" for row in rows)
            raise Conflict(f"{prefix!r} stands for several records", reason="CONFLICT", hint=several)
        return str(issuer), str(record_id)

    def _load(self, rows: Iterable[int]) -> tuple[StoredRecord, ...]:
        """Return records by their row, in this order; one query each, by primary key."""
        loaded = (self._db.row(f"{_SELECT} WHERE r.id = ?", (row,)) for row in rows)
        return tuple(_stored(row) for row in loaded if row is not None)


def row_id(db: Connections, digest: str) -> int:
    """Return the row of a record. Raises NotFound."""
    row = db.row("SELECT id FROM records WHERE digest = ?", (digest,))
    if row is None or not isinstance(row[0], int):
        raise _nothing(digest)
    return row[0]


def _nothing(name: str) -> NotFound:
    return NotFound(f"there is no record {name!r}", hint="see `tocsin list` for what there is")


def _shown(names: Iterable[str]) -> str:
    """Return the first of some names on one line."""
    listed = list(names)
    return ", ".join(listed[:CANDIDATES_SHOWN]) + (" and more" if len(listed) > CANDIDATES_SHOWN else "")


def _text(record: VerifiedRecord, name: str) -> str:
    """Return a field of the content where it is a text that is disclosed here."""
    value = record.content.get(name)
    return value if isinstance(value, str) else ""


def _stored(row: Row) -> StoredRecord:
    """Read a row of `_SELECT`, whose columns stand in the order of the fields."""
    values = dict(zip(StoredRecord.__slots__, row, strict=True))
    values["permitted_use"] = tuple(json.loads(str(values["permitted_use"])))  # type: ignore[assignment]
    values["standing"] = Standing(str(values["standing"]))
    return StoredRecord(**values)  # type: ignore[arg-type]
