"""This module derives the coarse twins of content, and refuses content whose twins contradict it.

A twin is a field that the contract marks as following from another one of its
group (`tocsin.schema.coarse`). Nobody writes it: the origin derives it when it
issues a record and signs it like any other field, so that a partner can have
the month without the day. Whoever has both can see whether they agree.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple, cast

from tocsin.errors import MalformedRecord
from tocsin.schema.coarse import Coarse
from tocsin.schema.contract import KINDS, Field


class _Group(NamedTuple):
    """The twins of a group, and the groups inside it that have some: name, whether it is a list, what it holds."""

    twins: tuple[tuple[str, Coarse], ...]
    inner: tuple[tuple[str, bool, "_Group"], ...]


def derive_twins(kind: str, content: Mapping[str, object]) -> dict[str, object]:
    """Return the content with a twin beside each exact value that has one.

    The caller MUST have checked the content against its kind.
    """
    return _derive(_twins_of(kind), content)


def drop_twins(kind: str, content: Mapping[str, object]) -> dict[str, object]:
    """Return the content of a record as somebody wrote it, to be changed and issued again."""
    return _drop(_twins_of(kind), content)


def verify_twins(kind: str, content: Mapping[str, object]) -> None:
    """Refuse content, as far as it is disclosed, in which a twin does not follow from the exact value beside it.

    The caller MUST have checked the content against its kind.

    Raises MalformedRecord (BAD_CLAIM).
    """
    for path, exact in _contradictions(_twins_of(kind), content):
        raise MalformedRecord(f"content.{path} does not follow from {exact} beside it", reason="BAD_CLAIM")


@cache
def _twins_of(kind: str) -> _Group:
    """Find the twins of a kind."""
    return _collect(KINDS[kind].fields)


def _collect(fields: tuple[Field, ...]) -> _Group:
    groups = ((field.name, field.repeated, _collect(field.fields)) for field in fields if field.fields)
    return _Group(
        twins=tuple((field.name, field.coarse) for field in fields if field.coarse is not None),
        inner=tuple(one for one in groups if any(one[2])),
    )


def _derive(group: _Group, members: Mapping[str, object]) -> dict[str, object]:
    made = dict(members)
    for name, coarse in group.twins:
        value = coarse.derive(members)
        if value is not None:
            made[name] = value
    for name, repeated, inner in group.inner:
        if name in made:
            derived = [_derive(inner, one) for one in _elements(made[name], repeated=repeated)]
            made[name] = derived if repeated else derived[0]
    return made


def _drop(group: _Group, members: Mapping[str, object]) -> dict[str, object]:
    twins = {name for name, _ in group.twins}
    written = {name: value for name, value in members.items() if name not in twins}
    for name, repeated, inner in group.inner:
        if name in written:
            elements = [_drop(inner, one) for one in _elements(written[name], repeated=repeated)]
            written[name] = elements if repeated else elements[0]
    return written


def _contradictions(group: _Group, members: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the place of each twin that is not what it should be, and the field that it is the twin of."""
    for name, coarse in group.twins:
        if name in members and coarse.derive(members) not in (None, members[name]):
            yield name, coarse.of
    for name, repeated, inner in group.inner:
        for element in _elements(members[name], repeated=repeated) if name in members else ():
            for place, exact in _contradictions(inner, element):
                yield f"{name}.{place}", exact


def _elements(value: object, *, repeated: bool) -> list[Mapping[str, object]]:
    return cast("list[Mapping[str, object]]", value if repeated else [value])
