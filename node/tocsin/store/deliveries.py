"""This module finds what is on its way to partners: what waits, what went and is not acknowledged, what was refused."""

import re

from tocsin.errors import MalformedRequest
from tocsin.store.connection import Connections, Row
from tocsin.store.model import Outcome, Waiting

# In the order of the fields of `Waiting`. What is due counts from when its record was stored.
_WAITING = """
    SELECT partner, digest, since, sequence, due_at, outcome, reason FROM (
        SELECT c.partner, r.digest, c.queued_at AS since, 0 AS sequence, 0 AS due_at, '' AS outcome, '' AS reason
            FROM candidates AS c JOIN records AS r ON r.id = c.record
        UNION ALL
        SELECT d.partner, r.digest, r.stored_at, 0, d.due_at, '', ''
            FROM dues AS d JOIN records AS r ON r.id = d.record WHERE d.partner <> ''
        UNION ALL
        SELECT e.partner, r.digest, e.sent_at, e.sequence, 0, '', ''
            FROM feeds AS f JOIN entries AS e ON e.partner = f.partner AND e.sequence > f.acknowledged
            JOIN records AS r ON r.id = e.record
            WHERE NOT e.void AND NOT EXISTS (SELECT 1 FROM answers AS a WHERE a.outcome = 'refused'
                AND a.partner = e.partner AND a.feed_id = f.feed_id AND a.sequence = e.sequence)
        UNION ALL
        SELECT a.partner, r.digest, e.sent_at, a.sequence, 0, a.outcome, a.reason
            FROM answers AS a JOIN feeds AS f ON f.partner = a.partner AND f.feed_id = a.feed_id
            JOIN entries AS e ON e.partner = a.partner AND e.sequence = a.sequence
            JOIN records AS r ON r.id = a.record
            WHERE a.outcome = 'refused' AND NOT e.void
    )
    WHERE {whose} AND {which} AND (partner, digest, sequence, due_at) > (?2, ?3, ?4, ?5)
    ORDER BY partner, digest, sequence, due_at LIMIT ?6
"""
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)  # what the store can compare with
_BEFORE_ALL = ("", "", -1, -1)


def find(db: Connections, partner: str, *, digest: str, after: str, limit: int) -> tuple[Waiting, ...]:
    """Return what is on its way, behind what was returned last."""
    place = _parse_place(after) if after else _BEFORE_ALL
    # Each stands there by itself: behind an OR it would not reach the indexes of the tables below.
    whose = "partner = ?1" if partner else "?1 = ''"
    which = "digest = ?7" if digest else "?7 = ''"
    rows = db.rows(_WAITING.format(whose=whose, which=which), (partner, *place, limit, digest))
    return tuple(_waiting(row) for row in rows)


def _parse_place(text: str) -> tuple[str, str, int, int]:
    """Return where to go on. Raises MalformedRequest."""
    match text.split(" "):
        case [partner, digest, sequence, due_at] if _NUMBER.fullmatch(sequence) and _NUMBER.fullmatch(due_at):
            return partner, digest, int(sequence), int(due_at)
    raise MalformedRequest("this is not a place in the outbox", hint="begin again without a page token")


def _waiting(row: Row) -> Waiting:
    partner, digest, since, sequence, due_at, outcome, reason = row
    return Waiting(
        partner=str(partner),
        digest=str(digest),
        since=int(since or 0),
        sequence=int(sequence or 0),
        due_at=int(due_at or 0),
        outcome=Outcome(str(outcome)) if outcome else None,
        reason=str(reason),
    )
