"""This module finds current records page by page, newest first.

A page token is opaque to callers: base64url of the JSON text
`[issued_at, row, filter]`, the last record of the page before and a digest of
the filter that it belongs to. Going on from a place costs the same on every
page, and records that arrive meanwhile neither repeat nor hide others. How many
match in all is counted up to a number, so that a page of a million records
costs what one of ten thousand does.
"""

import hashlib
import json
from dataclasses import astuple, dataclass

from tocsin.encoding import JSON, decode_base64url, encode_base64url, parse_json
from tocsin.errors import MalformedEncoding, MalformedRequest
from tocsin.store.connection import Connections, Value
from tocsin.store.model import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, RecordFilter

# The parameters stand in the order of RecordFilter's fields. The text is fixed: what a caller wrote never gets into it.
_MATCHING = """
    FROM records WHERE standing = 'current'
    AND (?1 = '' OR kind = ?1) AND (?2 = '' OR issuer = ?2) AND issued_at >= ?3
    AND (?4 = '' OR marking = ?4) AND (?5 = '' OR severity = ?5)
"""
# What was issued in the same second, and what was before: each is found in the index; `(issued_at, id) < (?6, ?7)`
# would be looked for by its first half alone. Thousands are issued in one second where another system is imported.
_BEHIND = f"""
    SELECT issued_at, id FROM (
        SELECT * FROM (SELECT issued_at, id {_MATCHING} AND issued_at = ?6 AND id < ?7 ORDER BY id DESC LIMIT ?8)
        UNION ALL
        SELECT * FROM (SELECT issued_at, id {_MATCHING} AND issued_at < ?6 ORDER BY issued_at DESC, id DESC LIMIT ?8))
    ORDER BY issued_at DESC, id DESC LIMIT ?8
"""  # noqa: S608 (fixed text, as said above)
# The most that is counted: a millisecond of a page that takes three, and a number that nobody reads through.
MOST_COUNTED = 10_000
_COUNTED = f"SELECT count(*) FROM (SELECT 1 {_MATCHING} LIMIT ?6)"  # noqa: S608 (fixed text, as said above)
_BEFORE_ALL = (2**63 - 1, 2**63 - 1)
_AGAIN = "begin again without a page token"


@dataclass(frozen=True, slots=True)
class Found:
    """Hold the rows of one page, and what a caller needs to go on."""

    ids: tuple[int, ...]
    next_page_token: str
    total: int
    more_than_total: bool


def find(db: Connections, where: RecordFilter, *, page_size: int, page_token: str) -> Found:
    """Return one page of the records that match."""
    limit = page_limit(page_size)
    after = _parse_token(page_token, where) if page_token else _BEFORE_ALL
    counted = db.number(_COUNTED, (*astuple(where), MOST_COUNTED + 1))
    rows = db.rows(_BEHIND, (*astuple(where), *after, limit + 1))
    ids = tuple(int(row or 0) for _, row in rows[:limit])
    token = _token(rows[limit - 1], where) if len(rows) > limit else ""
    total = min(counted, MOST_COUNTED)
    return Found(ids=ids, next_page_token=token, total=total, more_than_total=counted > total)


def page_limit(asked: int) -> int:
    """Return how many records to return where `asked` are wanted. Raises MalformedRequest."""
    if asked < 0:
        hint = f"0 means {PAGE_SIZE_DEFAULT}; more than {PAGE_SIZE_MAX} is cut to {PAGE_SIZE_MAX}"
        raise MalformedRequest(f"{asked} records cannot be returned", hint=hint)
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def place(row: Value, *, of: str) -> str:
    """Return the token of a listing whose rows are found by one number; `of` says which listing."""
    return encode_base64url(json.dumps([of, row]).encode())


def parse_place(token: str, *, of: str) -> int:
    """Return the number behind which to go on. Raises MalformedRequest."""
    match _parse(token):
        case [str(listed), int(row)] if listed == of:
            return row
    raise MalformedRequest("the page token is not one of this listing", hint=_AGAIN)


def _parse(token: str) -> JSON:
    """Return what a token says; None where it is none."""
    try:
        return parse_json(decode_base64url(token))
    except MalformedEncoding:
        return None


def _fingerprint(where: RecordFilter) -> str:
    """Return a short digest of a filter."""
    return hashlib.sha256(json.dumps(astuple(where)).encode()).hexdigest()[:16]


def _token(row: tuple[Value, ...], where: RecordFilter) -> str:
    return encode_base64url(json.dumps([*row, _fingerprint(where)]).encode())


def _parse_token(token: str, where: RecordFilter) -> tuple[int, int]:
    """Return where to go on. Raises MalformedRequest for a token of another filter, or of nobody's making."""
    match _parse(token):
        case [int(issued_at), int(row), str(fingerprint)]:
            if fingerprint == _fingerprint(where):
                return issued_at, row
            raise MalformedRequest("the page token belongs to a listing with other filters", hint=_AGAIN)
    raise MalformedRequest("the page token is not one that this node has made", hint=_AGAIN)
