"""This module finds records by the words they contain.

Every word of a query is quoted, so that none is an operator, a column filter
or a prefix to SQLite's FTS5 (https://www.sqlite.org/fts5.html, section 3):
what somebody types is what is looked for. The index holds what this node may
read, for its own people; nothing a peer can ask reads it.
"""

from tocsin.errors import MalformedRequest
from tocsin.records.record import VerifiedRecord
from tocsin.store.connection import Connections

MAX_WORDS = 32  # of a query; each costs a look into the index
MAX_CHARACTERS = 1000  # of a query
MOST_RANKED = 10_000
"""Records that are ranked, each for two microseconds: of a word that more have, those that were stored last."""

# The weights are those of title, body and names: a word in the title says most about what a record is about.
_FIND = """
    SELECT id FROM (
        SELECT search.rowid AS id, bm25(search, 4.0, 1.0, 2.0) AS score FROM search
        WHERE search MATCH ?1 AND EXISTS (SELECT 1 FROM records WHERE id = search.rowid AND standing = 'current')
        ORDER BY search.rowid DESC LIMIT ?2)
    ORDER BY score, id DESC LIMIT ?3
"""


def find(db: Connections, text: str, *, limit: int) -> tuple[int, ...]:
    """Return the rows of current records that contain every word, best first; of none where there is no word."""
    query = match_expression(text)
    if not query:
        return ()
    rows = db.rows(_FIND, (query, MOST_RANKED, limit))
    return tuple(int(row or 0) for (row,) in rows)


def match_expression(text: str) -> str:
    """Return the FTS5 expression that means every word, literally. Raises MalformedRequest for a text too long."""
    words = [word for word in text.replace("\0", " ").split() if any(character.isalnum() for character in word)]
    if len(text) > MAX_CHARACTERS or len(words) > MAX_WORDS:
        raise MalformedRequest(f"a search is at most {MAX_WORDS} words and {MAX_CHARACTERS} characters")
    return " ".join('"' + word.replace('"', '""') + '"' for word in words)


def add(db: Connections, row: int, record: VerifiedRecord) -> None:
    """Index a record that was not held before."""
    db.execute("INSERT INTO search (rowid, title, body, names) VALUES (?, ?, ?, ?)", (row, *_texts(record)))


def replace(db: Connections, row: int, record: VerifiedRecord) -> None:
    """Index a record anew, with what more of it is disclosed now."""
    db.execute("UPDATE search SET title = ?, body = ?, names = ? WHERE rowid = ?", (*_texts(record), row))


def _texts(record: VerifiedRecord) -> tuple[str, str, str]:
    """Return title, everything else that is written in the record, and its names."""
    content = record.content
    title = content.get("title")
    body: list[str] = []
    for name, value in content.items():
        if name != "title":
            _collect(value, body)
    names = f"{record.record_id} {record.digest} {record.issuer}"
    return title if isinstance(title, str) else "", "\n".join(body), names


def _collect(value: object, texts: list[str]) -> None:
    """Add every text in a JSON value."""
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, dict):
        for member in value.values():
            _collect(member, texts)
    elif isinstance(value, list):
        for element in value:
            _collect(element, texts)
