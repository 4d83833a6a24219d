"""This module names fields as policies do, and refuses content in which one cannot be withheld alone.

    ("content", "subjects", 0, "version")   subjects[*].version
    ("content", "subjects", 0)              subjects

All elements of a list are treated alike, so no path holds an index.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from tocsin.encoding import JSON
from tocsin.errors import MalformedRecord
from tocsin.records.disclosure import ELLIPSIS, SD, Disclosure, Path
from tocsin.records.envelope import PLAIN
from tocsin.schema.contract import ELEMENT

CONTENT = "content"

MOST_PATHS = 4096
"""Paths that are remembered: records repeat the same few hundred, and each step of one is looked at once."""

# A name with a dot or a bracket in it could be written so that it reads as the path of another field.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


@lru_cache(MOST_PATHS)
def field_path(path: Path) -> str:
    """Return the field path of what stands at a path below `content`, in a record that was verified."""
    text = ""
    for step in path[1:]:
        text += ELEMENT if isinstance(step, int) else f".{step}" if text else step
    return text.removesuffix(ELEMENT)


def read_paths(claims: Mapping[str, JSON], *, disclosures: Iterable[Disclosure]) -> frozenset[str]:
    """Return the field paths of the content that was signed plain and of the disclosures.

    Nothing may be hidden beside content, and content must be laid out so that
    each value is a disclosure of its own or stands plain at the top: otherwise
    whoever discloses a group would disclose fields that a policy withholds.
    Content of a newer contract keeps to that too.

    Raises MalformedRecord (MISSING_CLAIM, BAD_STRUCTURE, BAD_CLAIM).
    """
    paths = set()
    for _, path, value in disclosures:
        paths.add(_verified_path(path))
        if isinstance(value, (dict, list)):
            _verify_recursive(value)
    content = claims[CONTENT]
    if SD in claims or not isinstance(content, dict):
        raise MalformedRecord("something beside content is hidden, or content is no object", reason="BAD_STRUCTURE")
    for name, value in content.items():
        if name != SD:
            if isinstance(value, (dict, list)):
                raise MalformedRecord("a group or list in content cannot be withheld", reason="BAD_STRUCTURE")
            _verify_name(name)
            paths.add(name)
    return frozenset(paths)


def _verify_name(step: str | int) -> None:
    if isinstance(step, str) and not _NAME.fullmatch(step):
        raise MalformedRecord("a field has a name that no contract could give it", reason="BAD_CLAIM")


@lru_cache(MOST_PATHS)
def _verified_path(path: Path) -> str:
    """Return the field path of a disclosure; refuse one beside content, or behind a name that no field can have.

    What passes is remembered, so every name is looked at: a longer one must not be kept.
    """
    if path[0] in PLAIN and path[0] != CONTENT:
        raise MalformedRecord(f"{path[0]} must be plain", reason="MISSING_CLAIM")
    if path[0] != CONTENT:
        raise MalformedRecord("something beside content is hidden", reason="BAD_STRUCTURE")
    for step in path[1:]:
        _verify_name(step)
    return field_path(path)


def _verify_recursive(value: dict[str, JSON] | list[JSON]) -> None:
    """Check that a group or list holds nothing but digests."""
    if isinstance(value, dict):
        is_recursive = value.keys() == {SD}
    else:
        is_recursive = all([isinstance(element, dict) and ELLIPSIS in element for element in value])
    if not is_recursive:
        raise MalformedRecord("a part of a group or list cannot be withheld alone", reason="BAD_STRUCTURE")
