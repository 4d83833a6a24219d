"""This module reads TOML and remembers the line of every table and key.

`tomllib` checks the whole text, but says nothing of places. So the text is
read once more statement by statement: lines are gathered until they are a
TOML document by themselves, which is exactly when a statement ends, also one
that goes over several lines. A policy is flat, so a statement is a header or
one key.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tocsin.policy.model import Problem
from tocsin.policy.spelling import did_you_mean

MAX_LENGTH: Final = 65_536
"""Most characters of a policy file: fifty pages; what is longer is not a policy."""

MOST_SECONDS: Final = 3660 * 86_400
"""The longest delay, ten years: what must stay longer is better withheld."""

_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}
_AT_LINE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY: Final = re.compile(r"""\s*(?:[A-Za-z0-9_.-]+|"[^"\n]*"|'[^'\n]*')\s*=\s*""")


@dataclass(frozen=True, slots=True)
class Statement:
    """A header or a key as it is written: the line that it begins at, and its text."""

    line: int
    text: str

    @property
    def value_at(self) -> int:
        """Return where in the text the value of a key begins."""
        found = _KEY.match(self.text)
        return found.end() if found else 0

    def place(self, offset: int) -> tuple[int, int, str]:
        """Return line, column and the whole line of an offset in the text."""
        before = self.text[:offset]
        return (
            self.line + before.count("\n"),
            offset - before.rfind("\n"),
            self.text.split("\n")[before.count("\n")].rstrip("\r"),
        )


@dataclass(slots=True)
class Section:
    """A table, or what stands before the first one (then without a name)."""

    name: str
    header: Statement
    is_listed: bool = False
    values: dict[str, object] = field(default_factory=dict)
    statements: dict[str, Statement] = field(default_factory=dict)

    @property
    def line(self) -> int:
        """Return the line of the header."""
        return self.header.line


def parse_document(text: str, *, file: str, problems: list[Problem]) -> tuple[Section, ...]:
    """Return the sections of a TOML document in their order, the nameless one first; none where it is not TOML."""
    if len(text) > MAX_LENGTH:
        problems.append(Problem(file, 1, f"longer than {MAX_LENGTH} characters"))
        return ()
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _AT_LINE.search(str(error))
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        source = text.split("\n")[line - 1].rstrip("\r")
        column = int(place[2]) if place and place[2] else len(source) + 1
        problems.append(Problem(file, line, f"not TOML: {_AT_LINE.sub('', str(error))}", column, source))
        return ()
    sections = [Section("", Statement(1, text.split("\n")[0]))]
    for written, statement in _statements(text):
        if written.text.lstrip().startswith("["):
            is_listed = written.text.lstrip().startswith("[[")
            sections.append(Section(_header(statement), written, is_listed=is_listed))
        else:
            key, value = next(iter(statement.items()))
            sections[-1].values[key] = value
            sections[-1].statements[key] = written
    return tuple(sections)


def _statements(text: str) -> Iterator[tuple[Statement, dict[str, object]]]:
    """Yield each header and key of a document as written, and as read."""
    begin, pending = 1, ""
    for number, line in enumerate(text.split("\n"), start=1):
        pending += line + "\n"
        try:
            statement = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        if statement:
            yield Statement(begin, pending), statement
        begin, pending = number + 1, ""


def _header(statement: dict[str, object]) -> str:
    """Return the name in a table's header, dotted where it is."""
    names = []
    inner: object = statement
    while isinstance(inner, dict) and inner:
        name, inner = next(iter(inner.items()))
        names.append(name)
        inner = inner[0] if isinstance(inner, list) else inner
    return ".".join(names)


def _margin(written: Statement) -> int:
    """Return where the first character of a statement stands."""
    return len(written.text) - len(written.text.lstrip())


def _find_text(text: str, value: str, *, start: int) -> int:
    """Return where a text is written in a value, or -1."""
    found = (text.find(quote + value + quote, start) for quote in "\"'")
    return min((offset for offset in found if offset >= 0), default=-1)


class SectionReader:
    """Takes the keys of a section one by one and keeps a list of what is wrong with them."""

    def __init__(self, section: Section, *, file: str, problems: list[Problem]) -> None:
        self.section = section
        self.file = file
        self.problems = problems
        self.asked: set[str] = set()

    def report(self, message: str, *, key: str = "", value: str = "", offset: int | None = None) -> None:
        """Note a problem at a key, or at the section's own line.

        It points at a text among the key's values, or at an offset in what is
        written there; else at the whole value.
        """
        written = self.section.statements.get(key, self.section.header)
        if offset is None:
            found = _find_text(written.text, value, start=written.value_at) if value else -1
            offset = found if found >= 0 else written.value_at if key in self.section.statements else _margin(written)
        line, column, source = written.place(offset)
        self.problems.append(Problem(self.file, line, message, column, source))

    def report_inside(self, key: str, message: str, text: str, *, line: int, column: int) -> None:
        """Note a problem at a line and column of a text that is the value of a key.

        Where the text is written with escapes, or the column is 0, the place is the whole value.
        """
        written = self.section.statements[key]
        begin = written.text.find(text, written.value_at)
        if begin < 0 or not column:
            self.report(message, key=key)
            return
        before = text.split("\n")[: line - 1]
        self.report(message, key=key, offset=begin + sum(len(each) + 1 for each in before) + column - 1)

    def text(self, key: str, *, required: bool = False) -> str:
        """Take a text; empty where there is none."""
        value = self._take(key, required=required)
        if value is None:
            return ""
        if not isinstance(value, str) or not value.strip():
            self.report(f"{key} must be a text", key=key)
            return ""
        return value

    def texts(self, key: str, *, required: bool = False) -> tuple[str, ...]:
        """Take a list of texts; empty where there is none."""
        value = self._take(key, required=required)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.report(f'{key} must be a list of texts, such as ["…"]', key=key)
            return ()
        if not value:
            self.report(f"{key} is empty; leave it out or name something", key=key)
        return tuple(value)

    def choice(self, key: str, vocabulary: tuple[str, ...], *, required: bool = False) -> str:
        """Take one of the values of a vocabulary; empty where there is none."""
        value = self.text(key, required=required)
        if value and value not in vocabulary:
            guess = did_you_mean(value, vocabulary) or f"; it is one of {', '.join(vocabulary)}"
            self.report(f"{value!r} is not a value of {key}{guess}", key=key, value=value)
            return ""
        return value

    def flag(self, key: str) -> bool:
        """Take true or false; false where there is none."""
        value = self._take(key)
        if value is not None and not isinstance(value, bool):
            self.report(f"{key} must be true or false", key=key)
        return value is True

    def count(self, key: str, *, default: int, most: int, required: bool = False) -> int:
        """Take a whole number from 1."""
        value = self._take(key, required=required)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            self.report(f"{key} must be a whole number from 1 to {most}", key=key)
            return default
        return value

    def duration(self, key: str) -> int:
        """Take a length of time such as `72h`, as seconds; 0 where there is none."""
        value = self._take(key)
        if value is None:
            return 0
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
        if not 0 < seconds <= MOST_SECONDS:
            self.report(f'{key} must be a time such as "30m", "72h" or "7d", at most ten years', key=key)
            return 0
        return seconds

    def time(self, key: str) -> int | None:
        """Take a moment with its offset, as unix seconds."""
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None or value.microsecond:
            self.report(f"{key} must be a moment with its offset, such as 2027-06-30T00:00:00Z", key=key)
            return None
        return int(value.timestamp())

    def finish(self, refused: dict[str, str] | None = None) -> None:
        """Report the keys that nobody took; `refused` says why some that people try are not taken."""
        for key in self.section.values:
            if key not in self.asked:
                why = (refused or {}).get(key) or f"unknown key {key!r}{did_you_mean(key, sorted(self.asked))}"
                self.report(why, key=key, offset=_margin(self.section.statements[key]))

    def _take(self, key: str, *, required: bool = False) -> object:
        """Return the value of a key, or None where it is missing."""
        self.asked.add(key)
        if required and key not in self.section.values:
            name = self.section.name
            where = f"[[{name}]]" if self.section.is_listed else f"[{name}]" if name else "the file"
            self.report(f"{key} is missing in {where}")
        return self.section.values.get(key)
