"""This module shows a record's claims to the condition language, with the types of the contract.

Variables are the top-level fields of the kind; `content`, a group of all of
them, for `has(content.summary)`; and four claims of the envelope: `iss`,
`kind`, `status`, `tlp`. Text, vocabulary values and dates of a stated
granularity are strings; times are timestamps; groups are messages of a
descriptor pool that is derived from the contract.

What a record does not have reads as empty: `""`, `[]`, `false`, a group
without fields. Numbers and times have no empty value: a top-level one is left
unbound and one inside a group is null (a time: `tocsin.policy.condition`
looks whether it is there), so that a comparison with it has no answer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import datetime
from functools import cache
from typing import Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2

from tocsin.policy.expression import ROOT
from tocsin.schema.contract import ELEMENT, KINDS, STATUSES, TLPS, Field, Shape

PACKAGE: Final = "claims"
ENVELOPE: Final[Mapping[str, tuple[str, ...]]] = {
    "iss": (),
    "kind": tuple(KINDS),
    "status": STATUSES,
    "tlp": TLPS,
}
"""Claims of the envelope that a condition may read, each with its vocabulary where it is closed."""

_Proto = descriptor_pb2.FieldDescriptorProto
_LISTED: Final = {
    Shape.TEXT: _Proto.TYPE_STRING,
    Shape.CHOICE: _Proto.TYPE_STRING,
    Shape.INTEGER: _Proto.TYPE_INT64,
    Shape.NUMBER: _Proto.TYPE_DOUBLE,
    Shape.FLAG: _Proto.TYPE_BOOL,
}
# A wrapper tells an absent number from zero; inside a list there is nothing to tell.
_MESSAGES: Final = {
    Shape.TIME: ".google.protobuf.Timestamp",
    Shape.INTEGER: ".google.protobuf.Int64Value",
    Shape.NUMBER: ".google.protobuf.DoubleValue",
}
_WRAPPED: Final = frozenset({Shape.INTEGER, Shape.NUMBER})
_EMPTY: Final[Mapping[Shape, object]] = {Shape.TEXT: "", Shape.CHOICE: "", Shape.FLAG: False}


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """Return a pool with a message for every kind and every group of the contract."""
    file = descriptor_pb2.FileDescriptorProto(
        name="claims.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[timestamp_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in _contract_groups().items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, start=1):
            message.field.append(_member(field, number))
    derived = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR):
        derived.AddSerializedFile(known.serialized_pb)
    derived.AddSerializedFile(file.SerializeToString())
    return derived


class Claims:
    """What this node holds of one record, as conditions read it; what was asked for once is kept."""

    def __init__(self, kind: str, content: Mapping[str, object], *, envelope: Mapping[str, str]) -> None:
        self.kind = kind
        self._content = content
        self._values: dict[str, object] = dict(envelope)

    def bind(self, variables: Iterable[str], *, tops: Set[str]) -> dict[str, object]:
        """Return the values of the named variables, as far as they have one; `tops` are the fields looked at."""
        values: dict[str, object] = {}
        for name in variables:
            if name == ROOT:
                looked_at = {top: self._content[top] for top in tops & self._content.keys()}
                values[name] = _message(KINDS[self.kind].message, looked_at)
                continue
            if name not in self._values:
                self._values[name] = _value(KINDS[self.kind].field(name), self._content.get(name))
            if self._values[name] is not None:
                values[name] = self._values[name]
        return values

    def holds(self, path: str) -> bool:
        """Say whether a field is there: in a list, in each of its elements."""
        return is_present(path, self._content)


def is_present(path: str, content: object) -> bool:
    """Say whether a field is there: in a list, in each of its elements."""
    name, _, rest = path.partition(".")
    bare = name.removesuffix(ELEMENT)
    if not isinstance(content, Mapping) or bare not in content:
        return False
    value = content[bare]
    if isinstance(value, list):
        return bool(value) and (not rest or all(is_present(rest, element) for element in value))
    return not rest or is_present(rest, value)


def _value(field: Field, value: object) -> object:
    """Return a claim as the condition language takes it; None leaves the variable unbound."""
    if field.repeated:
        return [_single(field, element) for element in value] if isinstance(value, list) else []
    if value is None:
        return _message(field.group, {}) if field.shape is Shape.GROUP else _EMPTY.get(field.shape)
    return _single(field, value)


def _single(field: Field, value: object) -> object:
    """Return one claim, or one element of a list of them."""
    match field.shape, value:
        case Shape.GROUP, dict():
            return _message(field.group, value)
        case Shape.TIME, str():
            return datetime.fromisoformat(value)
        case Shape.NUMBER, int():
            return float(value)
        case _:
            return value


def _message(name: str, value: Mapping[str, object]) -> object:
    """Return a group as a message; names that the contract does not know cannot be asked for."""
    made, fields = _group(name)
    return made(**{key: _member_value(fields[key], inner) for key, inner in value.items() if key in fields})


@cache
def _group(name: str) -> tuple[Callable[..., object], Mapping[str, Field]]:
    """Return the class of a group's message, and its fields by name."""
    made = message_factory.GetMessageClass(pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))
    return made, {field.name: field for field in _contract_groups()[name]}


def _member_value(field: Field, value: object) -> object:
    """Return a claim as the field of a message takes it."""
    if field.repeated:
        return [_single(field, element) for element in value] if isinstance(value, list) else []
    return {"value": value} if field.shape in _WRAPPED else _single(field, value)


@cache
def _contract_groups() -> Mapping[str, tuple[Field, ...]]:
    """Return the fields of every group of the contract and of every kind, by the name of its message."""
    groups = {field.group: field.fields for kind in KINDS.values() for field in _groups(kind.fields)}
    return groups | {kind.message: kind.fields for kind in KINDS.values()}


def _groups(fields: Iterable[Field]) -> Iterator[Field]:
    """Yield every group at or below the given fields."""
    for field in fields:
        if field.shape is Shape.GROUP:
            yield field
            yield from _groups(field.fields)


def _member(field: Field, number: int) -> descriptor_pb2.FieldDescriptorProto:
    """Return the descriptor of a field inside a group."""
    label = _Proto.LABEL_REPEATED if field.repeated else _Proto.LABEL_OPTIONAL
    member = _Proto(name=field.name, number=number, label=label)
    if field.shape is Shape.GROUP:
        member.type, member.type_name = _Proto.TYPE_MESSAGE, f".{PACKAGE}.{field.group}"
    elif field.shape in _MESSAGES and (not field.repeated or field.shape not in _LISTED):
        member.type, member.type_name = _Proto.TYPE_MESSAGE, _MESSAGES[field.shape]
    else:
        member.type = _LISTED[field.shape]
    return member
