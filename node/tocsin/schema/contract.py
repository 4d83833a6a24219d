"""This module turns the descriptors of the contract into plain values: kinds, fields, vocabularies.

A **field path** names a field of a kind wherever it stands: `title`,
`subjects[*].version`. All elements of a list are treated alike, so that a
path never holds an index, and `[*]` stands only before a sub-field.

A field's **effective class** is its own disclosure class, else that of the
nearest group around it. A group is disclosed exactly when something inside it
is: its class is nothing but the default of its fields.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType

from google.protobuf.descriptor import Descriptor, EnumDescriptor, EnumValueDescriptor, FieldDescriptor

from tocsin.errors import MalformedName
from tocsin.schema.coarse import Coarse, read_coarse
from tocsin.v1 import (
    common_pb2,
    desk_service_pb2,
    evaluation_pb2,
    exchange_service_pb2,
    finding_pb2,
    incident_pb2,
    record_pb2,
)

ELEMENT = "[*]"  # stands for every element of a list in a field path

SCHEMA = "tocsin.v1"  # what records state as their `schema`

# Limits of a field that states none: no text and no list is without an end.
DEFAULT_MAX_LENGTH = 500
DEFAULT_MAX_ITEMS = 64

# How many digests an object or a list shows, whatever it holds; beyond the last, multiples of it.
BUCKETS = (8, 16, 32, 64)

_TIMESTAMP = "google.protobuf.Timestamp"
_UNSIGNED = (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)


class Shape(StrEnum):
    """What the value of a field, or each element of its list, is."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    TIME = "time"
    CHOICE = "choice"
    GROUP = "group"


class Disclosure(IntEnum):
    """How far a field may travel when no policy says otherwise; a larger class is more restricted."""

    ALWAYS = 1
    COMMUNITY = 2
    PARTNER = 3
    NAMED = 4
    LOCAL = 5


_SHAPES = {
    FieldDescriptor.CPPTYPE_STRING: Shape.TEXT,
    FieldDescriptor.CPPTYPE_INT32: Shape.INTEGER,
    FieldDescriptor.CPPTYPE_INT64: Shape.INTEGER,
    FieldDescriptor.CPPTYPE_UINT32: Shape.INTEGER,
    FieldDescriptor.CPPTYPE_UINT64: Shape.INTEGER,
    FieldDescriptor.CPPTYPE_FLOAT: Shape.NUMBER,
    FieldDescriptor.CPPTYPE_DOUBLE: Shape.NUMBER,
    FieldDescriptor.CPPTYPE_BOOL: Shape.FLAG,
    FieldDescriptor.CPPTYPE_ENUM: Shape.CHOICE,
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a kind, with everything that the contract says of it."""

    name: str
    path: str
    shape: Shape
    repeated: bool
    disclosure: Disclosure
    required: bool
    min_length: int
    max_length: int
    max_items: int
    pattern: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    group: str
    fields: tuple["Field", ...]
    example: str
    coarse: Coarse | None

    @property
    def is_plain(self) -> bool:
        """Say whether the field stands in the open inside `content`: a top-level ALWAYS scalar."""
        return self.disclosure is Disclosure.ALWAYS and not (self.repeated or self.fields or "." in self.path)

    def walk(self) -> Iterator["Field"]:
        """Yield the field and everything inside it, in order."""
        yield self
        for inner in self.fields:
            yield from inner.walk()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record: the claim that names it, its message, and its fields in order."""

    name: str
    message: str
    fields: tuple[Field, ...]
    _by_path: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the fields by their path."""
        index = {inner.path: inner for top in self.fields for inner in top.walk()}
        object.__setattr__(self, "_by_path", MappingProxyType(index))

    def field(self, path: str) -> Field:
        """Return the field at a path.

        Raises MalformedName where there is none, with the nearest path as a hint.
        """
        found = self._by_path.get(path)
        if found is None:
            near = difflib.get_close_matches(path, self._by_path, 1)
            raise MalformedName(f"{self.name} has no field {path!r}", hint=f"did you mean {near[0]!r}?" if near else "")
        return found

    def has(self, path: str) -> bool:
        """Say whether there is a field at a path."""
        return path in self._by_path

    def paths(self) -> tuple[str, ...]:
        """Return the paths of all fields, each group before what is inside it."""
        return tuple(self._by_path)


def bucket(count: int) -> int:
    """Return how many digests stand for `count` fields or elements, so that the count does not show."""
    for size in BUCKETS:
        if count <= size:
            return size
    return -(-count // BUCKETS[-1]) * BUCKETS[-1]


def _claim_of(value: EnumValueDescriptor) -> str:
    """Return how an enum value is written in claims."""
    stated: str = value.GetOptions().Extensions[record_pb2.claim]
    return stated or value.name.removeprefix(_prefix(value.type)).lower()


def choices(enum_name: str) -> tuple[str, ...]:
    """Return the vocabulary of an enum of the contract, in order, without the unspecified value.

    Raises KeyError for an enum that the contract does not have.
    """
    return tuple(_VOCABULARIES[enum_name])


def enum_number(enum_name: str, claim: str) -> int:
    """Return the number of an enum value by its claim; the empty text is the unspecified value.

    Raises MalformedName for a claim that is not in the vocabulary.
    """
    if not claim:
        return 0
    vocabulary = _VOCABULARIES[enum_name]
    if claim not in vocabulary:
        raise MalformedName(f"{claim!r} is none of {', '.join(vocabulary)}")
    return vocabulary[claim]


def enum_claim(enum_name: str, number: int) -> str:
    """Return the claim of an enum value by its number: empty for the unspecified value.

    Raises MalformedName for a number that the enum does not have.
    """
    if not number:
        return ""
    for claim, known in _VOCABULARIES[enum_name].items():
        if known == number:
            return claim
    raise MalformedName(f"{enum_name} has no value {number}")


def _prefix(enum: EnumDescriptor) -> str:
    """Return what all value names of an enum begin with: `SEVERITY_` for `Severity`."""
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")


def _read_fields(message: Descriptor, *, prefix: str, inherited: Disclosure | None) -> tuple[Field, ...]:
    """Read the fields of a message that stands at `prefix`."""
    return tuple(_read_field(one, message=message, prefix=prefix, inherited=inherited) for one in message.fields)


def _read_field(
    descriptor: FieldDescriptor, *, message: Descriptor, prefix: str, inherited: Disclosure | None
) -> Field:
    """Read one field of a message and everything inside it."""
    rules: record_pb2.FieldRules = descriptor.GetOptions().Extensions[record_pb2.field]
    path = prefix + descriptor.name
    disclosure = Disclosure(rules.disclosure) if rules.disclosure else inherited
    if disclosure is None:
        raise RuntimeError(f"the contract states no disclosure class for {descriptor.full_name}")
    shape, group = _shape_of(descriptor)
    repeated = descriptor.is_repeated
    inner: tuple[Field, ...] = ()
    if group is not None:
        inner = _read_fields(group, prefix=f"{path}{ELEMENT if repeated else ''}.", inherited=disclosure)
    unsigned = descriptor.cpp_type in _UNSIGNED
    coarse = _read_coarse(rules.coarse, message) if rules.HasField("coarse") else None
    return Field(
        name=descriptor.name,
        path=path,
        shape=shape,
        repeated=repeated,
        disclosure=disclosure,
        required=rules.required,
        min_length=rules.min_length or int(rules.required and shape is Shape.TEXT and not repeated),
        max_length=rules.max_length or DEFAULT_MAX_LENGTH,
        max_items=rules.max_items or DEFAULT_MAX_ITEMS,
        pattern=coarse.pattern if coarse is not None else rules.pattern,
        minimum=rules.minimum if rules.HasField("minimum") else 0 if unsigned else None,
        maximum=rules.maximum if rules.HasField("maximum") else None,
        choices=choices(descriptor.enum_type.name) if descriptor.enum_type is not None else (),
        group=group.name if group is not None else "",
        fields=inner,
        example=rules.example,
        coarse=coarse,
    )


def _read_coarse(stated: record_pb2.Coarse, message: Descriptor) -> Coarse:
    """Read how a coarse twin follows from the exact field of its message."""
    exact = message.fields_by_name[stated.of]
    return read_coarse(stated, integer=exact.cpp_type in _UNSIGNED and not stated.per)


def _shape_of(descriptor: FieldDescriptor) -> tuple[Shape, Descriptor | None]:
    """Return the shape of a field, and the message of a group."""
    message = descriptor.message_type
    if message is None:
        return _SHAPES[descriptor.cpp_type], None
    if message.full_name == _TIMESTAMP:
        return Shape.TIME, None
    return Shape.GROUP, message


def _read_kinds() -> Mapping[str, Kind]:
    """Read every kind of record: RECORD_KIND_FINDING is the message `Finding`."""
    messages = {
        name: message for module in _CONTENT for name, message in module.DESCRIPTOR.message_types_by_name.items()
    }
    kinds = {}
    for name in choices("RecordKind"):
        message = messages[name.title().replace("_", "")]
        kinds[name] = Kind(name, message.name, _read_fields(message, prefix="", inherited=None))
    return MappingProxyType(kinds)


_CONTENT = (finding_pb2, incident_pb2, evaluation_pb2)

_VOCABULARIES: dict[str, dict[str, int]] = {
    name: {_claim_of(value): value.number for value in enum.values if value.number}
    for module in (record_pb2, common_pb2, *_CONTENT, exchange_service_pb2, desk_service_pb2)
    for name, enum in module.DESCRIPTOR.enum_types_by_name.items()
}

TLPS = choices("Tlp")
PAPS = choices("Pap")
STATUSES = choices("RecordStatus")
PERMITTED_USES = choices("PermittedUse")
RELAYS = choices("Relay")
RETRACTION_REASONS = choices("RetractionReason")
WITHHOLD_REASONS = choices("WithholdReason")

KINDS: Mapping[str, Kind] = _read_kinds()
