"""This module names fields as policies do, and refuses content in which one cannot be withheld alone.

    ("content", "subjects", 0, "version")   subjects[*].version
    ("content", "subjects", 0)              subjects

All elements of a list are treated alike, so no path holds an index.
"""

import re
from collections.abc import Iterable, Mapping

from tocsin.encoding import JSON
from tocsin.errors import MalformedRecord
from tocsin.records.disclosure import ELLIPSIS, SD, Disclosure, Path
from tocsin.records.envelope import PLAIN
from tocsin.schema.contract import ELEMENT

CONTENT = "content"

# A name with a dot or a bracket in it could be written so that it reads as the path of another field.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


def field_path(path: Path) -> str:
    """Return the field path of what stands at a path below `content`."""
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
    for disclosure in disclosures:
        _verify_place(disclosure.path)
        _verify_recursive(disclosure.value)
        _verify_name(disclosure.path[-1])
        paths.add(field_path(disclosure.path))
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


def _verify_place(path: Path) -> None:
    if path[0] in PLAIN and path[0] != CONTENT:
        raise MalformedRecord(f"{path[0]} must be plain", reason="MISSING_CLAIM")
    if path[0] != CONTENT:
        raise MalformedRecord("something beside content is hidden", reason="BAD_STRUCTURE")


def _verify_recursive(value: JSON) -> None:
    """Check that a group or list holds nothing but digests."""
    is_recursive = True
    if isinstance(value, dict):
        is_recursive = value.keys() == {SD}
    elif isinstance(value, list):
        is_recursive = all([isinstance(element, dict) and ELLIPSIS in element for element in value])
    if not is_recursive:
        raise MalformedRecord("a part of a group or list cannot be withheld alone", reason="BAD_STRUCTURE")
