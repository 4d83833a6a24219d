"""This module keeps what was signed for: pages, the receipts for them, and what they say of each entry.

A page lies once, whichever receipts there are for it. `given` is ours: a
receipt that we signed for a peer's page. The others are partners', for pages
of ours.
"""

from collections.abc import Iterable

from tocsin.store import listing
from tocsin.store.connection import Connections, Row, Value
from tocsin.store.evidence import AnswerRow, PageRow, ReceiptRow
from tocsin.store.model import EntryKind, Outcome, Verdict

PAGES_KEPT = 64  # of a partner, for which there is no receipt: more than may be on their way at once

_SELECT = """
    SELECT t.id, t.peer, t.given, t.chain, t.number, t.digest, t.statement, t.at, t.refused,
        p.digest, p.statement, p.feed_id, p.first, p.last, p.at
    FROM receipts AS t JOIN pages AS p ON p.id = t.page
"""
# Which pages an entry about a record stood on: of our feeds the answers say it, of a peer's feed the verdicts.
_LIST = """
    WHERE t.given = ?1 AND (?2 = '' OR t.peer = ?2)
        AND (t.peer, t.id) > (coalesce((SELECT peer FROM receipts WHERE id = ?3), ''), ?3)
        AND (?4 = ''
            OR t.given AND EXISTS (SELECT 1 FROM verdicts AS v WHERE v.digest = ?4
                AND v.peer = t.peer AND v.feed_id = p.feed_id AND v.sequence BETWEEN p.first AND p.last)
            OR NOT t.given AND EXISTS (SELECT 1 FROM answers AS a JOIN records AS r ON r.id = a.record
                WHERE r.digest = ?4
                AND a.partner = t.peer AND a.feed_id = p.feed_id AND a.sequence BETWEEN p.first AND p.last))
        ORDER BY t.peer, t.id LIMIT ?5
"""


class SqliteReceipts:
    """Keep what was signed for; see `delivery.Receipts`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def keep_page(self, partner: str, page: PageRow) -> None:
        """Keep the statement of a page that was made for a partner, and few of those without a receipt."""
        with self._db.joined():
            self._keep(partner, page, given=False)
            self._db.execute(
                "DELETE FROM pages WHERE id IN"
                " (SELECT id FROM pages WHERE peer = ? AND NOT signed ORDER BY id DESC LIMIT -1 OFFSET ?)",
                (partner, PAGES_KEPT),
            )

    def page(self, partner: str, digest: str) -> PageRow | None:
        """Return a page that was made for a partner, by the digest of its statement."""
        row = self._db.row(
            "SELECT digest, statement, feed_id, first, last, at FROM pages WHERE peer = ? AND given = 0 AND digest = ?",
            (partner, digest),
        )
        return None if row is None else PageRow(*row)  # type: ignore[arg-type]

    def count_of(self, partner: str, digest: str) -> int:
        """Count the receipts of a partner for one page."""
        return self._db.number(
            "SELECT count(*) FROM receipts AS t JOIN pages AS p ON p.id = t.page"
            " WHERE p.peer = ? AND p.given = 0 AND p.digest = ?",
            (partner, digest),
        )

    def hold(self, receipt: ReceiptRow, verdicts: Iterable[Verdict], *, now: int) -> None:
        """Keep a receipt that a partner gave, and what it says of each entry of the page."""
        with self._db.joined():
            self._receipt(receipt, pending=False)
            # Of a feed that was begun anew nothing is left to say which entry it was. What a partner says the
            # second time, that it has something already, does not take the place of what it said first.
            self._db.execute_many(
                "INSERT INTO answers (partner, feed_id, sequence, record, kind, outcome, reason, at)"
                " SELECT e.partner, f.feed_id, e.sequence, e.record, e.kind, ?4, ?5, ?6"
                " FROM entries AS e JOIN feeds AS f ON f.partner = e.partner"
                " WHERE e.partner = ?1 AND f.feed_id = ?2 AND e.sequence = ?3"
                " ON CONFLICT DO UPDATE SET outcome = ?4, reason = ?5, at = ?6 WHERE ?4 <> 'unchanged'",
                [
                    (receipt.peer, receipt.page.feed_id, verdict.sequence, verdict.outcome, verdict.reason, now)
                    for verdict in verdicts
                    if verdict.outcome is not Outcome.VOID
                ],
            )

    def give(self, receipt: ReceiptRow) -> None:
        """Keep a receipt that we gave a peer; it is pending until it was taken."""
        with self._db.joined():
            self._receipt(receipt, pending=True)

    def last(self, peer: str, *, given: bool) -> ReceiptRow | None:
        """Return the last receipt of a direction, in whatever chain."""
        row = self._db.row(f"{_SELECT} WHERE t.given = ? AND t.peer = ? ORDER BY t.id DESC LIMIT 1", (given, peer))
        return None if row is None else _receipt(row)

    def numbered(self, peer: str, chain: str, number: int) -> ReceiptRow | None:
        """Return the receipt of a peer with this place in a chain."""
        where = "WHERE t.given = 0 AND t.peer = ? AND t.chain = ? AND t.number = ?"
        row = self._db.row(f"{_SELECT} {where}", (peer, chain, number))
        return None if row is None else _receipt(row)

    def pending(self, peer: str, *, limit: int) -> tuple[ReceiptRow, ...]:
        """Return receipts that we gave and that the peer may not have, in the order of their numbers."""
        rows = self._db.rows(f"{_SELECT} WHERE t.peer = ? AND t.pending ORDER BY t.id LIMIT ?", (peer, limit))
        return tuple(_receipt(row) for row in rows)

    def taken(self, peer: str, digest: str) -> None:
        """Keep that a peer has a receipt, and so those before it."""
        with self._db.joined():
            self._db.execute(
                "UPDATE receipts SET pending = 0 WHERE peer = ?1 AND pending"
                " AND id <= (SELECT id FROM receipts WHERE peer = ?1 AND pending AND digest = ?2)",
                (peer, digest),
            )

    def drop_pending(self, peer: str) -> tuple[ReceiptRow, ...]:
        """Forget the pending receipts and return them, to be signed again in another chain."""
        with self._db.joined():
            dropped = self.pending(peer, limit=-1)
            self._db.execute("DELETE FROM receipts WHERE peer = ? AND pending", (peer,))
            self._db.execute_many(
                "DELETE FROM pages WHERE peer = ? AND given = 1 AND digest = ?"
                " AND NOT EXISTS (SELECT 1 FROM receipts WHERE page = pages.id)",
                [(peer, row.page.digest) for row in dropped],
            )
            return dropped

    def list(
        self, *, given: bool, peer: str = "", digest: str = "", page_size: int = 0, page_token: str = ""
    ) -> tuple[tuple[ReceiptRow, ...], str]:
        """Return receipts by peer and then in their order, those about one record only, and the next page's token."""
        limit = listing.page_limit(page_size)
        of = f"receipts {given} {peer} {digest}"
        after = listing.parse_place(page_token, of=of) if page_token else 0
        rows = self._db.rows(_SELECT + _LIST, (given, peer, after, digest, limit + 1))
        token = listing.place(rows[limit - 1][0], of=of) if len(rows) > limit else ""
        return tuple(_receipt(row) for row in rows[:limit]), token

    def answers(self, digest: str) -> tuple[AnswerRow, ...]:
        """Return what partners said of the entries about a record, oldest first."""
        rows = self._db.rows(
            "SELECT a.partner, a.sequence, r.digest, a.kind, a.outcome, a.reason, a.at"
            " FROM answers AS a JOIN records AS r ON r.id = a.record WHERE r.digest = ?"
            " ORDER BY a.at, a.partner, a.sequence",
            (digest,),
        )
        return tuple(_answer(row) for row in rows)

    def _receipt(self, receipt: ReceiptRow, *, pending: bool) -> None:
        self._keep(receipt.peer, receipt.page, given=receipt.given)
        page = self._db.number(
            "SELECT id FROM pages WHERE peer = ? AND given = ? AND digest = ?",
            (receipt.peer, receipt.given, receipt.page.digest),
        )
        self._db.execute("UPDATE pages SET signed = 1 WHERE id = ? AND NOT signed", (page,))
        self._db.execute(
            "INSERT INTO receipts (peer, given, chain, number, digest, statement, page, at, refused, pending)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                receipt.peer,
                receipt.given,
                receipt.chain,
                receipt.number,
                receipt.digest,
                receipt.statement,
                page,
                receipt.at,
                receipt.refused,
                pending,
            ),
        )

    def _keep(self, peer: str, page: PageRow, *, given: bool) -> None:
        """Keep a page once."""
        values: tuple[Value, ...] = (page.statement, page.feed_id, page.first, page.last, page.at)
        self._db.execute(
            "INSERT OR IGNORE INTO pages (peer, given, digest, statement, feed_id, first, last, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (peer, given, page.digest, *values),
        )


def _receipt(row: Row) -> ReceiptRow:
    """Read a row of `_SELECT`."""
    _, peer, given, chain, number, digest, statement, at, refused, *page = row
    return ReceiptRow(
        peer=str(peer),
        given=bool(given),
        chain=str(chain),
        number=int(number or 0),
        digest=str(digest),
        statement=str(statement),
        page=PageRow(*page),  # type: ignore[arg-type]
        at=int(at or 0),
        refused=int(refused or 0),
    )


def _answer(row: Row) -> AnswerRow:
    partner, sequence, digest, kind, outcome, reason, at = row
    return AnswerRow(
        partner=str(partner),
        sequence=int(sequence or 0),
        digest=str(digest),
        kind=EntryKind(str(kind)),
        outcome=Outcome(str(outcome)),
        reason=str(reason),
        at=int(at or 0),
    )
