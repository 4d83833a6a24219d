"""This module says what a record is called where people read lists.

The title is a field like any other and may be withheld. Then what the holding
still says of the matter stands for it, and in the end a piece of its id:

    near_miss, 2026-03      cyber-range-v2, cyber_offense      finding 1f0d6a3c
"""

from collections.abc import Mapping

from tocsin.store.model import StoredRecord

STANDINS: Mapping[str, tuple[str, ...]] = {
    "finding": ("finding_kind", "severity", "hazard_category"),
    "incident": ("incident_class", "happened_in", "hazard_category"),
    "evaluation": ("protocol.id", "domain", "evaluated_in"),
}
"""Fields of each kind that tell one record from another when the title is not there."""
CHARACTERS_OF_AN_ID = 8
"""Enough of a record id to tell a page of records apart."""


def title_of(kind: str, content: Mapping[str, object], *, record_id: str) -> str:
    """Return the title of a record, or what stands for one in this holding."""
    title = content.get("title")
    if isinstance(title, str) and one_line(title):
        return one_line(title)
    words = ", ".join(word for path in STANDINS.get(kind, ()) if (word := one_line(_word(content, path))))
    return words or f"{kind} {record_id[:CHARACTERS_OF_AN_ID]}"


def name_of(record: StoredRecord) -> str:
    """Return what a stored record is called."""
    return one_line(record.title) or title_of(record.kind, record.content, record_id=record.record_id)


def one_line(text: str) -> str:
    """Return a text on one line: a title must not look like what stands below it, or like another record."""
    return " ".join(text.split())


def _word(content: Mapping[str, object], path: str) -> str:
    """Return a text in the content, or the first text of a list."""
    value: object = content
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str) else ""


def severity_of(content: Mapping[str, object]) -> str:
    """Return the severity of a finding where this holding says it."""
    return _word(content, "severity")
