"""This module turns one foreign record into content that the contract accepts, or into a reason why not."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.encoding import dump_json
from tocsin.errors import MalformedContent
from tocsin.schema.check import check_content
from tocsin.schema.contract import DEFAULT_MAX_ITEMS

# Bytes above which the original is not kept: a record with all its disclosures must stay below 1 MiB.
MAX_ORIGINAL = 400_000

# The contract's limit for the one line that says what a record is.
MAX_TITLE = 300

# Each part of a group is a disclosure of its own, and a record has at most 512; the original keeps the rest.
MAX_GROUPS = 32


@dataclass(frozen=True, slots=True)
class Mapped:
    """Content ready to post.

    `digest` names the original whatever file it stood in: hex SHA-256 of its canonical JSON.
    """

    kind: str
    content: dict[str, Any]
    where: str
    digest: str


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A record that could not be mapped: `where` is `file:line`."""

    where: str
    reason: str


def mapped(
    kind: str, content: Mapping[str, Any], *, source: str, original: Mapping[str, Any], where: str
) -> Mapped | Unmapped:
    """Add the original to the content, drop what is empty, and hold the result against the contract."""
    text = _canonical(original)
    whole = {**content, "source": {"format": source, "original": text.decode() if len(text) <= MAX_ORIGINAL else ""}}
    filled = pruned(whole)
    try:
        check_content(kind, filled)
    except MalformedContent as problem:
        return Unmapped(where, "; ".join(problem.details) or str(problem))
    return Mapped(kind, filled, where, hashlib.sha256(text).hexdigest())


def pruned(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Drop empty texts, groups, lists and nulls, all the way down: absent is absent."""
    if isinstance(value, Mapping):
        return {name: kept for name, item in value.items() if not is_empty(kept := pruned(item))}
    if isinstance(value, list | tuple):
        return [kept for item in value if not is_empty(kept := pruned(item))]
    return value


def is_empty(value: object) -> bool:
    """Tell whether a value says nothing; zero and false do say something."""
    return value is None or value == "" or (isinstance(value, dict | list) and not value)


def clip(text: str, length: int = MAX_TITLE) -> str:
    """Shorten to one line of at most `length` characters; the original keeps the rest."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def distinct(values: Iterable[str]) -> list[str]:
    """Keep the first of equal values, in order, up to the contract's limit for a list."""
    return list(dict.fromkeys(value for value in values if value))[:DEFAULT_MAX_ITEMS]


def text_of(value: object) -> str:
    """Read `value` as a text, or as a text under `value` (AVID's `{lang, value}`); anything else is empty."""
    if isinstance(value, Mapping):
        value = value.get("value")
    return value.strip() if isinstance(value, str) else ""


def word_of(value: object, vocabulary: frozenset[str], *, otherwise: str = "") -> str:
    """Read `value` as a word of a vocabulary, in whatever case it is written."""
    word = text_of(value).lower()
    return word if word in vocabulary else otherwise


def group_of(value: object) -> Mapping[str, Any]:
    """Read `value` as a group; anything else is an empty one."""
    return value if isinstance(value, Mapping) else {}


def list_of(value: object) -> list[Any]:
    """Read `value` as a list; anything else is an empty one."""
    return value if isinstance(value, list) else []


def _canonical(original: Mapping[str, Any]) -> bytes:
    """Encode with sorted names, so that the same record in another file has the same digest."""
    return dump_json(_sorted(original))


def _sorted(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
