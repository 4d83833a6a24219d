"""This module reads TOML, YAML and JSON files that people write, and knows on which line each value stands.

The value of a file is what JSON can hold: a date or a time becomes its text,
a time in UTC. A place in it is written as problems name it: `subjects[0].name`.

YAML is read without anything that surprises: no aliases (a few lines of them
unfold to gigabytes), no tags of its own, no second document, no equal keys.
"""

import datetime
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

import yaml

from tocsin.encoding import MAX_DEPTH, parse_json
from tocsin.errors import MalformedContent, MalformedEncoding

Format = Literal["toml", "yaml", "json"]
FindLines = Callable[[], Mapping[str, int]]

# The longest record is 1 MiB when it is signed: nothing that is longer can become one.
MAX_FILE_BYTES = 2**20

# Where a TOML value goes over more lines than these, the lines after it are not looked for: trying costs time.
MAX_VALUE_LINES = 200

_TOML_LINE = re.compile(r"\(at line ([0-9]+),")

# How the library says that a text does not fit the tag that stands before it (`!!bool soon`), or is out of range.
_YAML_MISFITS = (ValueError, OverflowError, AttributeError, LookupError)

_YAML_TYPES = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
_YAML_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in _YAML_TYPES)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and a way to find the line of each place in it."""

    value: dict[str, object]
    find_lines: FindLines


def parse_document(data: bytes, *, format: Format, name: str) -> Document:
    """Read a file; `name` stands in errors.

    Raises MalformedContent with the name and, where it is known, the line.
    """
    if len(data) > MAX_FILE_BYTES:
        raise MalformedContent(f"longer than {MAX_FILE_BYTES} bytes", where=name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse("not UTF-8", name=name, line=data.count(b"\n", 0, error.start) + 1)
    value, find_lines = _PARSERS[format](text, name)
    if not isinstance(value, dict):
        raise MalformedContent("not a group of fields", where=name)
    return Document(value, find_lines)


def _refuse(problem: str, *, name: str, line: int) -> NoReturn:
    raise MalformedContent(problem, where=f"{name}:{line}" if line else name)


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _as_claim(value: object, depth: int = 0) -> object:
    """Return a value as claims write it: dates and times as text. Raises ValueError where it is too deep."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {str(key): _as_claim(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_claim(inner, depth + 1) for inner in value]
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value


def _parse_toml(text: str, name: str) -> tuple[object, FindLines]:
    """Read TOML."""
    try:
        value = _as_claim(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        problem = str(error)
        at = _TOML_LINE.search(problem)
        _refuse(f"not TOML: {problem[:1].lower()}{problem[1:]}", name=name, line=int(at[1]) if at else 0)
    except RecursionError:
        _refuse(f"not TOML: more than {MAX_DEPTH} levels", name=name, line=0)
    except (ValueError, OverflowError):
        _refuse("not TOML that JSON can hold: a number, a date or a depth out of range", name=name, line=0)
    return value, lambda: dict(_toml_lines(text))


def _toml_lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield the places of a sound TOML file with their lines; what is inside a value has the line of its key."""
    table, last = "", dict[str, int]()
    for line, statement, is_header in _toml_statements(text):
        if not is_header:
            for place in _places(statement, table):
                yield place, line
            continue
        table = ""
        level: object = statement
        while isinstance(level, dict) and level:
            ((key, level),) = level.items()
            table = _join(table, key)
            if isinstance(level, list):
                last[table] = last.get(table, -1) + 1
            if table in last:
                table = f"{table}[{last[table]}]"
        yield table, line


def _toml_statements(text: str) -> Iterator[tuple[int, dict[str, object], bool]]:
    """Yield each header or assignment, read by itself, with its first line."""
    pending: list[str] = []
    for line, piece in enumerate(text.split("\n"), 1):
        pending.append(piece)
        # a value over several lines ends where one of these stands
        if len(pending) > 1 and not any(end in piece for end in ('"""', "'''", "]", "}")):
            continue
        if len(pending) > MAX_VALUE_LINES:
            return
        try:
            statement = tomllib.loads("\n".join(pending))
        except ValueError:
            continue
        yield line - len(pending) + 1, statement, pending[0].lstrip().startswith("[")
        pending = []


def _places(value: object, place: str) -> Iterator[str]:
    """Yield the places of everything inside a value."""
    inner: Iterator[tuple[str, object]] = iter(())
    if isinstance(value, dict):
        inner = ((_join(place, key), one) for key, one in value.items())
    elif isinstance(value, list):
        inner = ((f"{place}[{index}]", one) for index, one in enumerate(value))
    for inner_place, one in inner:
        yield inner_place
        yield from _places(one, inner_place)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases and without depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node, unless it is an alias or too deep."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or self.depth > MAX_DEPTH:
            problem = f"more than {MAX_DEPTH} levels" if self.depth > MAX_DEPTH else "an alias, which is not accepted"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _parse_yaml(text: str, name: str) -> tuple[object, FindLines]:
    """Read YAML."""
    lines: dict[str, int] = {}
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        value = _from_node(loader, root, "", lines) if root is not None else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = filter(None, (getattr(error, "context", None), getattr(error, "problem", None)))
        _refuse(
            f"not YAML: {', '.join(said) or 'a character that is not accepted'}",
            name=name,
            line=mark.line + 1 if mark else 0,
        )
    except (ValueError, OverflowError):  # from the scanner, which asks no limits of an escape such as "\U00110000"
        _refuse("not YAML: an escape for no character", name=name, line=0)
    return value, lambda: lines


def _from_node(loader: yaml.SafeLoader, node: yaml.Node, place: str, lines: dict[str, int]) -> object:
    """Return the value of a node, and note on which lines its parts stand."""
    if node.tag not in _YAML_TAGS:
        raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} is not accepted", problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        members: dict[str, object] = {}
        for key, inner in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key that is no text", problem_mark=key.start_mark)
            if key.value in members:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands twice", problem_mark=key.start_mark)
            here = _join(place, key.value)
            lines[here] = key.start_mark.line + 1
            members[key.value] = _from_node(loader, inner, here, lines)
        return members
    if isinstance(node, yaml.SequenceNode):
        return [_from_element(loader, inner, f"{place}[{index}]", lines) for index, inner in enumerate(node.value)]
    try:
        return _as_claim(loader.construct_object(node))
    except _YAML_MISFITS as error:
        problem = "a number or a date out of range, or a text that its tag does not fit"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


def _from_element(loader: yaml.SafeLoader, node: yaml.Node, place: str, lines: dict[str, int]) -> object:
    """Return the value of an element of a list, and note its line."""
    lines[place] = node.start_mark.line + 1
    return _from_node(loader, node, place, lines)


def _parse_json(text: str, name: str) -> tuple[object, FindLines]:
    """Read JSON."""
    try:
        value = parse_json(text.encode())
    except MalformedEncoding as error:
        _refuse(error.message, name=name, line=getattr(error.__cause__, "lineno", 0))
    return value, lambda: _json_lines(text)


def _json_lines(text: str) -> Mapping[str, int]:
    """Return the lines of a sound JSON file.

    JSON is YAML but for tabs, which YAML refuses outside texts and JSON inside
    them. The odd text that YAML does not read costs the lines, nothing else.
    """
    try:
        _, find_lines = _parse_yaml(text.replace("\t", " "), "")
        return find_lines()
    except MalformedContent:
        return {}


_PARSERS: Mapping[Format, Callable[[str, str], tuple[object, FindLines]]] = {
    "toml": _parse_toml,
    "yaml": _parse_yaml,
    "json": _parse_json,
}
