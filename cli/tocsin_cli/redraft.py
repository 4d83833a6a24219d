"""This module writes a record that was posted as the TOML file that somebody could have posted it from.

    record.kind = "finding"
    record.tlp = "AMBER"

    title = "Tool output can redirect an agent's next action"
    summary = "It follows what it reads."

    [[subjects]]
    kind = "agent"

Reading the file again gives exactly the content of the record, without the
coarse twins, which nobody writes. A character that nobody can see is written
as its escape, so that an editor shows it and no terminal obeys it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from tocsin.schema.contract import KINDS, Field
from tocsin.schema.files import SETTINGS_KEY
from tocsin.schema.twin import drop_twins
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli.document import content_of, document
from tocsin_cli.view import kind_of

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_LONGEST_ITEM_LINE = 80
"""Characters of a list on one line; a longer one has a line for each element."""
_SETTINGS = ("kind", "tlp", "pap", "permitted_use", "relay", "retention_until")
"""Settings that a draft and the envelope of a record call by the same name."""


def redraft(record: v1.Record) -> str:
    """Return a record as a draft: its settings, then its content in the order of the contract."""
    kind, content = kind_of(record), content_of(record.content)
    fields: tuple[Field, ...] = ()
    if kind in KINDS:
        content, fields = drop_twins(kind, content), KINDS[kind].fields
    return "\n".join((*_settings(record), "", *_table(content, fields))) + "\n"


def _settings(record: v1.Record) -> Iterator[str]:
    claims = document(record.envelope)
    for name in _SETTINGS:
        if value := claims[name]:
            yield f"{SETTINGS_KEY}.{name} = {_value(value)}"
    if steps := claims["downgrade_at"]:
        yield f"{SETTINGS_KEY}.downgrade_at = {_value(steps)}"
    if record.recipients:
        yield f"{SETTINGS_KEY}.to = {_value(list(record.recipients))}"


def _table(members: Mapping[str, object], fields: Sequence[Field], *, prefix: str = "") -> Iterator[str]:
    """Yield the members of a group: values first, because what follows a heading belongs to that group."""
    known = {field.name: field for field in fields}
    names = [name for name in dict.fromkeys((*known, *members)) if name in members]
    groups = [name for name in names if _is_group(members[name])]
    yield from (f"{_key(name)} = {_value(members[name])}" for name in names if name not in groups)
    for name in groups:
        inner, path = known[name].fields if name in known else (), prefix + _key(name)
        value = members[name]
        heading = f"[[{path}]]" if isinstance(value, list) else f"[{path}]"
        for element in cast("list[Mapping[str, object]]", value if isinstance(value, list) else [value]):
            yield from ("", heading, *_table(element, inner, prefix=f"{path}."))


def _is_group(value: object) -> bool:
    """Say whether a value has headings: a group, or a list of nothing but groups."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def _value(value: object) -> str:
    """Return a value that stands behind an equals sign."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        items = [_value(item) for item in value]
        line = f"[{', '.join(items)}]"
        return line if len(line) <= _LONGEST_ITEM_LINE else "".join(("[\n", *(f"  {item},\n" for item in items), "]"))
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(name)} = {_value(item)}' for name, item in value.items())} }}"
    return repr(value)


def _text(text: str) -> str:
    """Return a basic string, over several lines where the text has several (TOML 1.0, String)."""
    lines = ["".join(map(_character, line)) for line in text.split("\n")]
    # The newline behind the opening quotes is none of the text.
    return f'"{lines[0]}"' if len(lines) == 1 else '"""\n' + "\n".join(lines) + '"""'


def _character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\u{ord(character):04X}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08X}"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)
