"""This module writes, for each kind of record, a commented TOML file to fill in.

The words are the comments of the contract: they come from `contract.binpb`,
the descriptors with their source information, which `proto/generate.py`
writes beside the generated modules. A line of explanation begins with `# `;
a field that may be left out begins with `#` alone, so that removing that one
character puts it to use.
"""

import importlib.resources
import json
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache

from google.protobuf import descriptor_pb2

from tocsin.schema.contract import ELEMENT, KINDS, TLPS, Disclosure, Field, Kind, Shape
from tocsin.schema.files import SETTINGS_KEY

WIDTH = 100

# The marking of a template: nothing is shared further than its reader thought about.
_TLP = "AMBER"

_CLASSES = {
    Disclosure.ALWAYS: "goes wherever the record goes",
    Disclosure.COMMUNITY: "any member of the exchange that a policy lets the record reach",
    Disclosure.PARTNER: "organisations whose policy says so",
    Disclosure.NAMED: "only recipients named for this record, where their policy reveals the field",
    Disclosure.LOCAL: "never leaves this node",
}

_SAMPLES = {
    Shape.TEXT: '""',
    Shape.INTEGER: "0",
    Shape.NUMBER: "0.0",
    Shape.FLAG: "false",
    Shape.TIME: "2026-03-01T12:00:00Z",
}

# Numbers of `message_type` in FileDescriptorProto and of `field` in DescriptorProto (descriptor.proto).
_MESSAGES, _FIELDS = 4, 2


@cache
def template(kind: str) -> str:
    """Return the TOML file to fill in for a kind. Raises KeyError for an unknown kind."""
    found = KINDS[kind]
    groups = [field for field in found.fields if field.shape is Shape.GROUP]
    lines = [*_heading(found)]
    for field in _required_first([field for field in found.fields if field.shape is not Shape.GROUP]):
        lines += ["", *_assignment(found, field, needed=field.required)]
    for field in _required_first(groups):
        lines += _table(found, field, needed=field.required)
    return "\n".join(lines) + "\n"


def field_doc(kind: str, path: str) -> str:
    """Return the comment of the contract on a field.

    Raises KeyError for an unknown kind and MalformedName for an unknown path.
    """
    found = KINDS[kind]
    field = found.field(path)
    parent = path.rpartition(".")[0].removesuffix(ELEMENT)
    message = found.field(parent).group if parent else found.message
    return _comments()[f"{message}.{field.name}"]


@cache
def _comments() -> Mapping[str, str]:
    """Read the comment of each field of the contract, by `Message.field`."""
    packed = importlib.resources.files("tocsin.v1").joinpath("contract.binpb").read_bytes()
    comments = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(packed).file:
        for location in file.source_code_info.location:
            match list(location.path):
                case [level, message, inner, index] if (level, inner) == (_MESSAGES, _FIELDS):
                    owner = file.message_type[message]
                    said = " ".join(location.leading_comments.split())
                    comments[f"{owner.name}.{owner.field[index].name}"] = said
    return comments


def _required_first(fields: list[Field]) -> list[Field]:
    return sorted(fields, key=lambda field: not field.required)


def _heading(kind: Kind) -> Iterator[str]:
    """Yield how to use the file, and the envelope settings."""
    yield from _wrap(
        f"A record of the kind `{kind.name}`. Fill in what stands open. What begins with `#` and no space may be left "
        "out: remove the `#` to use it, and for a group also that of its [heading]. The capital word says how "
        "far a field may travel; nothing travels at all unless a policy says so:"
    )
    for disclosure, meaning in _CLASSES.items():
        yield f"#   {disclosure.name:<10} {meaning}"
    yield ""
    yield f'{SETTINGS_KEY}.kind = "{kind.name}"'
    yield from _wrap(f"Traffic Light Protocol: {', '.join(TLPS)}.")
    yield f'{SETTINGS_KEY}.tlp = "{_TLP}"'
    yield from _wrap("Lower the marking at these times, each step further down.")
    yield f'#{SETTINGS_KEY}.downgrade_at = [{{ at = 2027-01-01T00:00:00Z, tlp = "GREEN" }}]'
    yield from _wrap("Send it to these partners only; without this line, to all whom policy allows.")
    yield f'#{SETTINGS_KEY}.to = ["lab-b.example"]'


def _table(kind: Kind, group: Field, *, needed: bool) -> Iterator[str]:
    """Yield a group: its heading, its fields, then the groups inside it."""
    name = group.path.replace(ELEMENT, "")
    yield ""
    yield from _wrap(field_doc(kind.name, group.path))
    if group.repeated:
        yield from _wrap("A list: repeat the heading for each further element.")
    yield _mark(f"[[{name}]]" if group.repeated else f"[{name}]", needed=needed)
    for field in group.fields:
        if field.shape is not Shape.GROUP:
            yield from _assignment(kind, field, needed=needed and field.required)
    for field in group.fields:
        if field.shape is Shape.GROUP:
            yield from _table(kind, field, needed=needed and field.required)


def _assignment(kind: Kind, field: Field, *, needed: bool) -> Iterator[str]:
    """Yield a field that is no group; a twin is told of, and not asked for."""
    if field.coarse is not None:
        said = field_doc(kind.name, field.path)
        yield from _wrap(f"`{field.name}` follows from {field.coarse.of} and is not written. {said} {_rules(field)}")
        return
    yield from _wrap(f"{field_doc(kind.name, field.path)} {_rules(field)}")
    value = '""' if needed else _sample(field)
    yield _mark(f"{field.name} = {f'[{value}]' if field.repeated else value}", needed=needed)


def _mark(line: str, *, needed: bool) -> str:
    return line if needed else f"#{line}"


def _rules(field: Field) -> str:
    """Return class, vocabulary and example of a field in words."""
    parts = [field.disclosure.name]
    if field.choices:
        parts.append(f"one of {', '.join(field.choices)}")
    elif field.required and field.example:
        parts.append(f"such as {field.example}")
    return f"({'; '.join(parts)})"


def _sample(field: Field) -> str:
    """Return a TOML value that shows how the field is written."""
    example = field.example or (field.choices[0] if field.choices else "")
    if not example:
        return _SAMPLES[field.shape]
    # a JSON string is a TOML basic string
    return json.dumps(example, ensure_ascii=False) if field.shape in (Shape.TEXT, Shape.CHOICE) else example


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
