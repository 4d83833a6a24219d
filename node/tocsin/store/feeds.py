"""This module keeps what goes out: candidates, numbered entries and grants.

An entry keeps its number for ever. What it carries may only shrink: `entries`
holds what it carried when it last went; every time that this was something
new is an entry of the decision log.
"""

import json
from collections.abc import Iterable, Sequence

from tocsin.identity.names import OrgId
from tocsin.store import deliveries
from tocsin.store.connection import Connections, Row
from tocsin.store.model import Dealings, EntryKind, Feed, FeedEntry, NewEntry, Position, Waiting
from tocsin.store.records import row_id

_DEALINGS = """
    SELECT
        (SELECT json_group_array(n.org) FROM recipients AS n WHERE n.record = r.id),
        (SELECT json_group_array(g.path) FROM grants AS g WHERE g.partner = ?1 AND g.record = r.id),
        (SELECT json_group_array(json_array(e.kind, json(e.disclosed))) FROM
            (SELECT kind, disclosed FROM entries INDEXED BY entries_by_record
                WHERE partner = ?1 AND record = r.id AND kind <> 'retraction' AND NOT void ORDER BY sequence) AS e),
        EXISTS (SELECT 1 FROM requests AS q WHERE q.peer = ?1 AND q.record = r.id AND q.state = 'open')
        FROM records AS r WHERE r.digest = ?2
"""


class SqliteFeeds:
    """Keep what goes out to each partner; see `delivery.Feeds`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def queue(self, partner: str, digest: str, *, now: int) -> bool:
        """Make a record a candidate for a partner's feed."""
        with self._db.joined():
            added = self._db.execute(
                "INSERT OR IGNORE INTO candidates (partner, record, queued_at) VALUES (?, ?, ?)",
                (partner, row_id(self._db, digest), now),
            )
            return added == 1

    def queue_for(self, partners: Iterable[str], digest: str, *, now: int) -> None:
        """Make a record a candidate for the feeds of some partners."""
        with self._db.joined():
            record = row_id(self._db, digest)
            self._db.execute_many(
                "INSERT OR IGNORE INTO candidates (partner, record, queued_at) VALUES (?, ?, ?)",
                [(partner, record, now) for partner in partners],
            )

    def queue_all(self, partner: str, *, now: int, relayed: bool = False) -> None:
        """Make every current own record, and what others let us pass on, a candidate for a feed, in one statement."""
        with self._db.joined():
            self._db.execute(
                "INSERT OR IGNORE INTO candidates (partner, record, queued_at)"
                " SELECT ?, id, ? FROM records"
                " WHERE standing = 'current' AND (received_from = '' OR (? AND relay = 'community'))",
                (partner, now, relayed),
            )

    def queue_held(self, partner: str, *, now: int) -> None:
        """Make every record that a partner holds a candidate for its feed."""
        with self._db.joined():
            self._db.execute(
                "INSERT OR IGNORE INTO candidates (partner, record, queued_at)"
                " SELECT partner, record, ? FROM holders WHERE partner = ?",
                (now, partner),
            )

    def candidates(self, partner: str, *, after: str = "", limit: int) -> tuple[str, ...]:
        """Return digests of candidates, in the order in which their records were stored."""
        rows = self._db.rows(
            "SELECT r.digest FROM candidates AS c JOIN records AS r ON r.id = c.record WHERE c.partner = ?"
            " AND c.record > ifnull((SELECT id FROM records WHERE digest = ?), 0)"
            " ORDER BY c.record LIMIT ?",
            (partner, after, limit),
        )
        return tuple(str(digest) for (digest,) in rows)

    def drop(self, partner: str, digests: Iterable[str]) -> None:
        """Take candidates off the queue."""
        with self._db.joined():
            self._db.execute_many(
                "DELETE FROM candidates WHERE partner = ? AND record = (SELECT id FROM records WHERE digest = ?)",
                [(partner, digest) for digest in digests],
            )

    def waiting(self, partner: str) -> int:
        """Count the candidates."""
        return self._db.number("SELECT count(*) FROM candidates WHERE partner = ?", (partner,))

    def oldest_waiting(self, partner: str) -> int | None:
        """Return since when the oldest candidate has waited."""
        row = self._db.row("SELECT min(queued_at) FROM candidates WHERE partner = ?", (partner,))
        return row[0] if row is not None and isinstance(row[0], int) else None

    def deliveries(self, partner: str, *, digest: str = "", after: str, limit: int) -> tuple[Waiting, ...]:
        """Return what is on its way to a partner, or of one record (empty: all), by partner and then by record."""
        return deliveries.find(self._db, partner, digest=digest, after=after, limit=limit)

    def holders(self, issuer: str, record_id: str) -> frozenset[OrgId]:
        """Return the partners that were ever sent a version of a record, or are known to hold one."""
        rows = self._db.rows(
            "SELECT h.partner FROM records AS r JOIN holders AS h ON h.record = r.id"
            " WHERE r.issuer = ? AND r.record_id = ?",
            (issuer, record_id),
        )
        return frozenset(OrgId(str(partner)) for (partner,) in rows)

    def note_holder(self, partner: str, digest: str) -> None:
        """Keep that a partner holds a record, of which no entry of its feed tells."""
        with self._db.joined():
            self._db.execute(
                "INSERT OR IGNORE INTO holders (record, partner) VALUES (?, ?)", (row_id(self._db, digest), partner)
            )

    def get(self, partner: str) -> Feed | None:
        """Return the feed of a partner."""
        row = self._db.row(
            "SELECT partner, feed_id, head, acknowledged, opened_at, acknowledged_at FROM feeds WHERE partner = ?",
            (partner,),
        )
        return None if row is None else Feed(*row)  # type: ignore[arg-type]

    def open(self, partner: str, *, feed_id: str, now: int) -> Feed:
        """Return the feed of a partner, making it where there is none."""
        with self._db.joined():
            feed = self.get(partner)
            if feed is None:
                feed = Feed(partner, feed_id, head=0, acknowledged=0, opened_at=now, acknowledged_at=None)
                self._db.execute(
                    "INSERT INTO feeds (partner, feed_id, opened_at) VALUES (?, ?, ?)", (partner, feed_id, now)
                )
            return feed

    def append(self, partner: str, entries: Sequence[NewEntry], *, after: int, now: int) -> None:
        """Give entries the numbers behind the last one; a record entry makes the partner a holder."""
        with self._db.joined():
            grown = self._db.execute(
                "UPDATE feeds SET head = head + ?1, last_sent_at = ?2 WHERE partner = ?3 AND head = ?4",
                (len(entries), now, partner, after),
            )
            if grown != 1:
                raise RuntimeError("the feed has another head than its entries were numbered for")
            self._db.execute_many(
                "INSERT INTO entries (partner, sequence, kind, record, disclosed, tag, sent_at)"
                " VALUES (?, ?, ?, (SELECT id FROM records WHERE digest = ?), ?, ?, ?)",
                [
                    (partner, sequence, new.kind, new.digest, _paths_text(new.disclosed), new.tag, now)
                    for sequence, new in enumerate(entries, start=after + 1)
                ],
            )
            self._db.execute_many(
                "INSERT OR IGNORE INTO holders (record, partner) SELECT id, ? FROM records WHERE digest = ?",
                [(partner, new.digest) for new in entries if new.kind is EntryKind.RECORD],
            )

    def renew(self, partner: str, *, feed_id: str, now: int) -> None:
        """Begin the feed of a partner anew, under another name."""
        with self._db.joined():
            self.close(partner, now=now)
            self.open(partner, feed_id=feed_id, now=now)

    def close(self, partner: str, *, now: int) -> None:
        """End a partner's feed: what is current is a candidate for the next one, and what it holds that is over."""
        with self._db.joined():
            self._db.execute("DELETE FROM entries WHERE partner = ?", (partner,))
            self._db.execute("DELETE FROM feeds WHERE partner = ?", (partner,))
            self.queue_all(partner, now=now, relayed=True)
            self.queue_held(partner, now=now)

    def partners(self) -> tuple[str, ...]:
        """Return the partners that have a feed."""
        return tuple(str(partner) for (partner,) in self._db.rows("SELECT partner FROM feeds ORDER BY partner"))

    def position(self, partner: str, sequence: int) -> Position | None:
        """Return the position behind an entry, with its tag; None where there is no such entry."""
        row = self._db.row(
            "SELECT f.feed_id, e.tag FROM feeds AS f"
            " LEFT JOIN entries AS e ON e.partner = f.partner AND e.sequence = ?2"
            " WHERE f.partner = ?1 AND (e.sequence IS NOT NULL OR ?2 = 0)",
            (partner, sequence),
        )
        return None if row is None else Position(str(row[0]), sequence, str(row[1] or ""))

    def entries(self, partner: str, *, after: int, limit: int) -> tuple[FeedEntry, ...]:
        """Return numbered entries behind a number."""
        rows = self._db.rows(
            "SELECT e.sequence, e.kind, r.digest, e.disclosed, e.void, e.tag, e.sent_at FROM entries AS e"
            " JOIN records AS r ON r.id = e.record WHERE e.partner = ? AND e.sequence > ? ORDER BY e.sequence LIMIT ?",
            (partner, after, limit),
        )
        return tuple(_entry(row) for row in rows)

    def narrow(self, partner: str, sequence: int, *, disclosed: frozenset[str]) -> None:
        """Keep that an entry went again with fewer fields."""
        with self._db.joined():
            self._db.execute(
                "UPDATE entries SET disclosed = ? WHERE partner = ? AND sequence = ?",
                (_paths_text(disclosed), partner, sequence),
            )

    def void(self, partner: str, sequence: int) -> None:
        """Keep that an entry carries nothing any more."""
        with self._db.joined():
            self._db.execute("UPDATE entries SET void = 1 WHERE partner = ? AND sequence = ?", (partner, sequence))

    def dealings(self, partner: str, digest: str) -> Dealings:
        """Return what there is between us and a partner about a record, in one statement: every page asks."""
        row = self._db.row(_DEALINGS, (partner, digest))
        if row is None:
            return Dealings()
        *lists, asks = row
        recipients, granted, went = (json.loads(str(each)) for each in lists)
        return Dealings(frozenset(recipients), frozenset(granted), _sent(went), bool(asks))

    def sent(self, partner: str, digest: str) -> frozenset[str] | None:
        """Return the field paths of a record that went to a partner."""
        return self.dealings(partner, digest).sent

    def told(self, partner: str, issuer: str, record_id: str) -> frozenset[str]:
        """Return the digests of the retractions of a record that went to a partner."""
        rows = self._db.rows(
            "SELECT e.disclosed FROM records AS r CROSS JOIN entries AS e INDEXED BY entries_by_record"
            " ON e.record = r.id AND e.partner = ?"
            " WHERE r.issuer = ? AND r.record_id = ? AND e.kind = 'retraction' AND NOT e.void",
            (partner, issuer, record_id),
        )
        return frozenset(digest for (disclosed,) in rows for digest in json.loads(str(disclosed)))

    def holds(self, partner: str, digest: str, *, before: int) -> bool:
        """Say whether an entry below this number still carries the record itself."""
        row = self._db.row(
            "SELECT 1 FROM entries AS e JOIN records AS r ON r.id = e.record"
            " WHERE e.partner = ? AND r.digest = ? AND e.kind = 'record' AND NOT e.void AND e.sequence < ?",
            (partner, digest, before),
        )
        return row is not None

    def acknowledge(self, partner: str, sequence: int, *, now: int) -> None:
        """Keep how far the partner has stored its feed."""
        with self._db.joined():
            self._db.execute(
                "UPDATE feeds SET acknowledged = ?2, acknowledged_at = ?3 WHERE partner = ?1 AND acknowledged < ?2",
                (partner, sequence, now),
            )

    def grant(self, partner: str, digest: str, paths: Iterable[str], *, now: int) -> None:
        """Keep that fields of a record were revealed to a partner by name."""
        with self._db.joined():
            record = row_id(self._db, digest)
            self._db.execute_many(
                "INSERT OR IGNORE INTO grants (partner, record, path, granted_at) VALUES (?, ?, ?, ?)",
                [(partner, record, path, now) for path in paths],
            )

    def granted(self, partner: str, digest: str) -> frozenset[str]:
        """Return the field paths that were revealed by name."""
        return self.dealings(partner, digest).granted

    def grants(self) -> dict[tuple[str, str], frozenset[str]]:
        """Return everything that was revealed by name, by partner and digest."""
        found: dict[tuple[str, str], set[str]] = {}
        for partner, digest, path in self._db.rows(
            "SELECT g.partner, r.digest, g.path FROM grants AS g JOIN records AS r ON r.id = g.record"
        ):
            found.setdefault((str(partner), str(digest)), set()).add(str(path))
        return {of: frozenset(paths) for of, paths in found.items()}

    def withdraw_grants(self, partner: str) -> None:
        """Forget every field that was revealed to a partner by name; what was sent stays in the history."""
        with self._db.joined():
            self._db.execute("DELETE FROM grants WHERE partner = ?", (partner,))


def _paths_text(paths: frozenset[str]) -> str:
    return json.dumps(sorted(paths))


def _sent(went: Sequence[tuple[str, Sequence[str]]]) -> frozenset[str] | None:
    """Return the field paths that went, by entries with kind and paths; None where the record itself never did."""
    paths: frozenset[str] | None = None
    for kind, disclosed in went:
        if kind == EntryKind.RECORD:
            paths = paths or frozenset()
        if paths is not None:  # further disclosures are of use only behind the record itself
            paths |= frozenset(disclosed)
    return paths


def _entry(row: Row) -> FeedEntry:
    sequence, kind, digest, disclosed, void, tag, sent_at = row
    return FeedEntry(
        sequence=int(sequence or 0),
        kind=EntryKind.VOID if void else EntryKind(str(kind)),
        digest=str(digest),
        disclosed=frozenset() if void else frozenset(json.loads(str(disclosed))),
        tag=str(tag),
        sent_at=int(sent_at or 0),
    )
