"""This module keeps what waits for somebody's decision: proposed releases with what people said to them, and requests.

Proposals and requests lie in tables of their own and are found by one sort
of id: to the people who decide, both are reviews.
"""

import json
from collections.abc import Iterable

from tocsin.errors import Conflict, NotFound
from tocsin.store.connection import Connections, Row
from tocsin.store.model import DisclosureRequest, Opinion, Proposal, ReviewState
from tocsin.store.records import row_id

CANDIDATES_SHOWN = 5  # of an ambiguous prefix

_PROPOSALS = """
    SELECT p.id, r.digest, p.body, p.state, p.proposed_by, p.proposed_at, p.approvals_needed
        FROM proposals AS p JOIN records AS r ON r.id = p.record
"""
_REQUESTS = """
    SELECT q.id, q.peer, r.digest, q.paths, q.why, q.asked_at, q.state
        FROM requests AS q JOIN records AS r ON r.id = q.record
"""
# '~' stands behind every character of an id; a whole id stands before those that begin with it.
_BEGINNING = "WHERE {0}.id >= ?1 AND {0}.id < ?1 || '~' ORDER BY {0}.id LIMIT ?2"


class SqliteReviews:
    """Keep what waits for somebody's decision; see `decisions.Reviews`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def propose(self, proposal: Proposal) -> None:
        """Keep a proposal."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO proposals (id, record, body, state, proposed_by, proposed_at, approvals_needed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    proposal.id,
                    row_id(self._db, proposal.digest),
                    proposal.body,
                    proposal.state,
                    json.dumps(proposal.proposed_by),
                    proposal.proposed_at,
                    proposal.approvals_needed,
                ),
            )

    def get(self, prefix: str) -> Proposal | DisclosureRequest:
        """Return a review by the beginning of its id."""
        found: list[Proposal | DisclosureRequest] = []
        if prefix:
            limits = (prefix, CANDIDATES_SHOWN + 1)
            found += [_proposal(row) for row in self._db.rows(f"{_PROPOSALS} {_BEGINNING.format('p')}", limits)]
            found += [_request(row) for row in self._db.rows(f"{_REQUESTS} {_BEGINNING.format('q')}", limits)]
        if not found:
            raise _nothing(prefix)
        whole = [review for review in found if review.id == prefix]
        if len(found) > 1 and not whole:
            shown = ", ".join(sorted(review.id for review in found)[:CANDIDATES_SHOWN])
            raise Conflict(f"{prefix!r} stands for several reviews", reason="CONFLICT", hint=f"it may be {shown}")
        return (whole or found)[0]

    def of(self, digest: str) -> tuple[Proposal, ...]:
        """Return every proposal about a record, oldest first."""
        rows = self._db.rows(f"{_PROPOSALS} WHERE r.digest = ? ORDER BY p.number", (digest,))
        return tuple(_proposal(row) for row in rows)

    def list(self, *, open_only: bool) -> tuple[Proposal | DisclosureRequest, ...]:
        """Return the reviews, oldest first."""
        where = "state = 'open'" if open_only else "number > 0"
        proposals = [_proposal(row) for row in self._db.rows(f"{_PROPOSALS} WHERE p.{where} ORDER BY p.number")]
        requests = [_request(row) for row in self._db.rows(f"{_REQUESTS} WHERE q.{where} ORDER BY q.number")]
        return tuple(sorted((*proposals, *requests), key=_opened_at))

    def count_open(self) -> int:
        """Count those that wait."""
        return self._db.number(
            "SELECT (SELECT count(*) FROM proposals WHERE state = 'open')"
            " + (SELECT count(*) FROM requests WHERE state = 'open')"
        )

    def set_state(self, review: str, state: ReviewState) -> None:
        """Keep where a review stands."""
        with self._db.transaction():
            changed = self._db.execute("UPDATE proposals SET state = ? WHERE id = ?", (state, review))
            changed += self._db.execute("UPDATE requests SET state = ? WHERE id = ?", (state, review))
            if not changed:
                raise _nothing(review)

    def decide(self, proposal: str, opinion: Opinion) -> None:
        """Keep what a person decided, in place of what the same person decided before."""
        with self._db.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO opinions (proposal, person, approves, statement, at) VALUES (?, ?, ?, ?, ?)",
                (proposal, opinion.person, opinion.approves, opinion.statement, opinion.at),
            )

    def opinions(self, proposal: str) -> tuple[Opinion, ...]:
        """Return what people decided, oldest first."""
        rows = self._db.rows(
            "SELECT person, approves, statement, at FROM opinions WHERE proposal = ? ORDER BY number", (proposal,)
        )
        return tuple(Opinion(str(person), bool(approves), str(act), int(at or 0)) for person, approves, act, at in rows)

    def ask(self, request: DisclosureRequest) -> None:
        """Keep what a partner asks for."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO requests (id, peer, record, paths, why, asked_at, state) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    request.id,
                    request.peer,
                    row_id(self._db, request.digest),
                    json.dumps(request.paths),
                    request.why,
                    request.asked_at,
                    request.state,
                ),
            )

    def asked(self, peer: str, digest: str) -> tuple[DisclosureRequest, ...]:
        """Return what a partner asked for of a record, oldest first."""
        rows = self._db.rows(f"{_REQUESTS} WHERE q.peer = ? AND r.digest = ? ORDER BY q.number", (peer, digest))
        return tuple(_request(row) for row in rows)

    def count_asked(self, peer: str, *, since: int, until: int) -> int:
        """Count what a partner asked for between these times."""
        asked = "SELECT count(*) FROM requests WHERE peer = ? AND asked_at BETWEEN ? AND ?"
        return self._db.number(asked, (peer, since, until))


def _nothing(name: str) -> NotFound:
    return NotFound(f"there is no review {name!r}", hint="see `tocsin review list`")


def _opened_at(review: Proposal | DisclosureRequest) -> int:
    return review.proposed_at if isinstance(review, Proposal) else review.asked_at


def _texts(value: object) -> tuple[str, ...]:
    listed: Iterable[str] = json.loads(str(value))
    return tuple(listed)


def _proposal(row: Row) -> Proposal:
    """Read a row of `_PROPOSALS`."""
    name, digest, body, state, proposed_by, proposed_at, needed = row
    return Proposal(
        id=str(name),
        digest=str(digest),
        body=str(body),
        state=ReviewState(str(state)),
        proposed_by=_texts(proposed_by),
        proposed_at=int(proposed_at or 0),
        approvals_needed=int(needed or 0),
    )


def _request(row: Row) -> DisclosureRequest:
    """Read a row of `_REQUESTS`."""
    name, peer, digest, paths, why, asked_at, state = row
    return DisclosureRequest(
        id=str(name),
        peer=str(peer),
        digest=str(digest),
        paths=_texts(paths),
        why=str(why),
        asked_at=int(asked_at or 0),
        state=ReviewState(str(state)),
    )
