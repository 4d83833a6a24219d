"""This module turns a response of the desk into a JSON document.

Names are those of the contract. Enums are written as claims (`high`,
`AMBER+STRICT`), times as RFC 3339 UTC, bytes as base64, numbers as numbers.
Every field is there: an absent message is `null`, everything else has its
empty value, so a script never asks whether a key exists.
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.schema.contract import enum_claim

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


def document(message: Message) -> dict[str, object]:
    """Return a message as people read it in JSON."""
    fields: Sequence[FieldDescriptor] = message.DESCRIPTOR.fields  # type: ignore[assignment]
    return {field.name: _field(message, field) for field in fields}


def content_of(struct: Struct) -> dict[str, object]:
    """Return free-form content as plain values, by name because a Struct keeps no order; whole numbers are integers."""
    return {name: _whole(value) for name, value in sorted(MessageToDict(struct).items())}


def claim(descriptor: EnumDescriptor, number: int) -> str:
    """Return an enum value as it is written in claims; empty where it is unspecified."""
    return enum_claim(descriptor.name, number) if number else ""


def timestamp_text(time: Timestamp) -> str:
    """Return a time as RFC 3339 UTC to the second."""
    return rfc3339(time.seconds)


def rfc3339(seconds: int) -> str:
    """Return unix seconds as RFC 3339 UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: int) -> str:
    """Return a length of time as people say it, in its largest unit: `12 s`, `5 min`, `3 h`, `9 d`."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds // length:,} {unit}"
    return f"{seconds} s"


def counted(number: int, one: str, many: str = "") -> str:
    """Return how many there are of something: `1 record`, `2,000 records`; `many` where it takes more than an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _whole(value: object) -> object:
    """Return a value with whole numbers as integers, however deep: a Struct has only doubles."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in sorted(value.items())}
    return value


def _field(message: Message, field: FieldDescriptor) -> object:
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_value(field, item) for item in value]
    if field.message_type is not None and not message.HasField(field.name):
        return None
    return _value(field, value)


def _value(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, Struct):
        return content_of(value)
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    if isinstance(value, Message):
        return document(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if field.enum_type is not None and isinstance(value, int):
        return claim(field.enum_type, value)
    return value
