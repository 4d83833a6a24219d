"""This module estimates what a condition may cost, before it is ever evaluated.

The engine stops by itself after 10,000 steps of its macros, but a step may
join or search long texts. So the characters that a condition looks at are
counted over its expression, with every field as long and every list as full
as the contract allows, and none longer than a record: what would be too many
is refused when the file is read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Final

from tocsin.policy.checked import Node, children, is_index
from tocsin.policy.expression import ROOT
from tocsin.records.sdjwt import MAX_TOKEN
from tocsin.schema.contract import KINDS, Field, Shape

MOST_STEPS: Final = 10_000
"""The engine's own limit: so often may the macros of one evaluation go round."""
BUDGET: Final = 20_000_000
"""Characters: every prompt of a record searched nine times over, or a tenth of a second."""

_JOIN: Final = "_+_"
_AS_LARGE: Final = frozenset({"_?_:_", "string", "bytes"})
"""Functions whose value may be as large as an argument; that of all others is small."""


@dataclass(frozen=True, slots=True)
class _Extent:
    """How large a value may be: characters in all and in one element, elements, and members of a group."""

    characters: int
    each: int = 1
    items: int = 1
    members: Mapping[str, Field] = field(default_factory=lambda: MappingProxyType({}))

    def element(self) -> "_Extent":
        """Return the extent of one element of a list."""
        return _Extent(self.each, self.each, 1, self.members)


_SMALL: Final = _Extent(1)
Scope = Mapping[str, _Extent]


def estimate(expression: Node, *, kind: str) -> int:
    """Return how many characters an evaluation looks at, at most."""
    counter = _Counter()
    counter.visit(expression, _variables(kind), times=1)
    return counter.work


class _Counter:
    """Walks an expression once and adds up what it looks at."""

    def __init__(self) -> None:
        self.work = 0

    def visit(self, node: Node, scope: Scope, *, times: int) -> _Extent:
        """Count what a node does, so many times, and return the extent of its value."""
        match node.WhichOneof("kind"):
            case "ident_expr":
                return scope.get(node.ident_expr.name.removeprefix("."), _SMALL)
            case "select_expr":
                return self._select(node.select_expr, scope, times)
            case "comprehension_expr":
                return self._loop(node.comprehension_expr, scope, times)
            case "const_expr":
                return _Extent(1 + len(node.const_expr.string_value))
            case _:
                return self._call(node, scope, times)

    def _select(self, select: Node, scope: Scope, times: int) -> _Extent:
        """Take a member of a group; `has()` only asks for it."""
        outer = self.visit(select.operand, scope, times=times)
        member = outer.members.get(select.field)
        return _SMALL if select.test_only or member is None else _extent(member)

    def _call(self, node: Node, scope: Scope, times: int) -> _Extent:
        """Count every argument of a call, a list or a map as looked at."""
        arguments = [self.visit(child, scope, times=times) for child in children(node)]
        if is_index(node):
            return arguments[0].element()
        looked_at = sum(argument.characters for argument in arguments)
        self.work += min(times, MOST_STEPS) * (1 + looked_at)
        function = node.call_expr.function
        if function in _AS_LARGE:
            return max(arguments, key=lambda argument: argument.characters)
        if function and function != _JOIN:
            return _SMALL
        items = sum(argument.items for argument in arguments)
        return _Extent(looked_at, max((argument.each for argument in arguments), default=1), items)

    def _loop(self, loop: Node, scope: Scope, times: int) -> _Extent:
        """Count what a macro does for every element that it goes over."""
        over = self.visit(loop.iter_range, scope, times=times)
        inner = {**scope, loop.iter_var: over.element(), loop.accu_var: _SMALL}
        self.visit(loop.accu_init, scope, times=times)
        self.visit(loop.loop_condition, inner, times=times * over.items)
        step = self.visit(loop.loop_step, inner, times=times * over.items)
        self.visit(loop.result, inner, times=times)
        return _Extent(over.items * step.characters, step.characters, over.items)


@cache
def _variables(kind: str) -> Scope:
    """Return the extents of the variables of a kind."""
    fields = KINDS[kind].fields
    root = _Extent(1, members=MappingProxyType({field.name: field for field in fields}))
    return MappingProxyType({field.name: _extent(field) for field in fields} | {ROOT: root})


@cache
def _extent(field: Field) -> _Extent:
    """Return the extent of a field that is as long and as full as the contract allows."""
    each = _single(field)
    members = MappingProxyType({inner.name: inner for inner in field.fields})
    items = field.max_items if field.repeated else 1
    return _Extent(min(each * items, MAX_TOKEN), each, items, members)


def _single(field: Field) -> int:
    """Return the most characters of one value of a field."""
    if field.shape is Shape.GROUP:
        return _total(field.fields)
    if field.shape is Shape.CHOICE:
        return max(map(len, field.choices))
    return field.max_length if field.shape is Shape.TEXT else 1


def _total(fields: Iterable[Field]) -> int:
    """Return the most characters of some fields together."""
    return sum(_extent(inner).characters for inner in fields)
