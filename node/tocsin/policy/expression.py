"""This module finds out which fields a type-checked expression looks at.

Paths come out as field paths: `subjects.exists(s, s.name == "x")` reads
`subjects` and `subjects[*].name`, and `has(content.summary)` reads `summary`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tocsin.policy.checked import Checked, Node, children, is_index
from tocsin.schema.contract import ELEMENT

_IN: Final = "@in"
_COMPARISONS: Final = frozenset({"_==_", "_!=_", _IN})
_UNTYPED: Final = "dyn"

ROOT: Final = "content"
"""The variable that holds all fields, so that `has()` can ask for one at the top: it takes nothing but members."""

NOWHERE: Final = -1
"""The offset of what stands nowhere in the text: a macro writes parts of its own."""

Scope = Mapping[str, str | None]
"""Variables of the macros around an expression, each with the path it stands for, if any."""


class Comparison(NamedTuple):
    """A field and a text that it is compared with; `offset` is where the text stands."""

    path: str
    text: str
    offset: int


class Objection(NamedTuple):
    """Something that cannot be followed, and where it stands."""

    message: str
    offset: int


@dataclass(slots=True)
class Reading:
    """What an expression looks at.

    `variables` are those that must be bound; `reads` all field paths; `wholes`
    those used for themselves and not only to get at something inside; `tested`
    those inside `has()`; `ordered` those of which not only the elements count,
    but how many there are, and in which order; `compared` the texts that fields are compared with;
    `problems` what cannot be followed, and is therefore not allowed.
    """

    variables: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    wholes: set[str] = field(default_factory=set)
    tested: set[str] = field(default_factory=set)
    ordered: set[str] = field(default_factory=set)
    compared: list[Comparison] = field(default_factory=list)
    problems: list[Objection] = field(default_factory=list)


def read_expression(checked: Checked, *, variables: Sequence[str]) -> Reading:
    """Return what a type-checked expression looks at; raises RuntimeError as `parse_checked` does."""
    reader = _Reader(frozenset(variables), checked.offsets)
    reader.visit(checked.expression, {})
    return reader.found


class _Reader:
    """Walks an expression once and keeps what it finds."""

    def __init__(self, variables: frozenset[str], offsets: Mapping[int, int]) -> None:
        self.variables = variables
        self.offsets = offsets
        self.found = Reading()

    def visit(self, node: Node, scope: Scope) -> None:
        """Note what a node and all below it look at."""
        kind = node.WhichOneof("kind")
        if kind is None:  # not to be passed over: it could read anything
            raise RuntimeError("the condition engine returns a node of an unknown kind")
        if kind == "comprehension_expr":
            self._visit_comprehension(node.comprehension_expr, scope)
        elif kind == "ident_expr" or kind == "select_expr" or is_index(node):
            self._visit_place(node, scope)
        else:
            if kind == "call_expr":
                self._visit_call(node, scope)
            for child in children(node):
                self._visit_argument(child, scope, of=node.call_expr.function)

    def _visit_argument(self, node: Node, scope: Scope, *, of: str) -> None:
        """Note what an argument looks at; `in` asks a list for its elements, whatever their order."""
        path = self._path(node, scope) if of == _IN else None
        if path:
            self.found.reads.add(path)
            self.found.wholes.add(path)
        else:
            self.visit(node, scope)

    def _visit_place(self, node: Node, scope: Scope) -> None:
        """Note a variable, a member of a group or an element of a list."""
        path = self._path(node, scope)
        if path:
            self.found.reads.add(path)
            (self.found.tested if node.select_expr.test_only else self.found.wholes).add(path)
            self.found.ordered |= set() if node.select_expr.test_only else {path}
        elif path is not None:
            self._object(f"{ROOT} is nothing by itself: read a field of it, as in has({ROOT}.summary)", node)
        elif is_index(node):
            self.visit(node.call_expr.args[0], scope)
        elif node.WhichOneof("kind") == "select_expr":
            why = "read fields of a variable, an element or a macro's variable"
            self._object(f"cannot follow .{node.select_expr.field}: {why}", node)

    def _visit_comprehension(self, loop: Node, scope: Scope) -> None:
        """Note what `exists`, `all`, `filter` and `map` go over, and what they read of each element."""
        over = self._path(loop.iter_range, scope)
        if over:
            self.found.reads.add(over)
        else:
            self.visit(loop.iter_range, scope)
        inner = {**scope, loop.iter_var: over + ELEMENT if over else None, loop.accu_var: None}
        for part in (loop.accu_init, loop.loop_condition, loop.loop_step, loop.result):
            self.visit(part, inner)

    def _object(self, message: str, node: Node) -> None:
        """Note what cannot be followed."""
        self.found.problems.append(Objection(message, self.offsets.get(node.id, NOWHERE)))

    def _visit_call(self, node: Node, scope: Scope) -> None:
        """Note texts that a field is compared with, so that a value outside its vocabulary is noticed."""
        call = node.call_expr
        if call.function == _UNTYPED:
            self._object("dyn() would switch the type check off", node)
        if call.function in _COMPARISONS:
            left, right = call.args
            for place, other in ((left, right), (right, left)):
                path = self._path(place, scope)
                if path:
                    for text, written in _texts(other):
                        self.found.compared.append(Comparison(path, text, self.offsets.get(written.id, NOWHERE)))

    def _path(self, node: Node, scope: Scope) -> str | None:
        """Return the field path that a node stands for, if any; that of all content is empty."""
        kind = node.WhichOneof("kind")
        if kind == "ident_expr":
            return self._variable(node.ident_expr.name, scope)
        if kind == "select_expr":
            outer = self._path(node.select_expr.operand, scope)
            if outer is None:
                return None
            return f"{outer}.{node.select_expr.field}" if outer else str(node.select_expr.field)
        if is_index(node):
            outer = self._path(node.call_expr.args[0], scope)
            self.visit(node.call_expr.args[1], scope)
            if outer:  # which element that is depends on all of them
                self.found.wholes.add(outer)
                self.found.reads.add(outer)
                self.found.ordered.add(outer)
            return outer and outer + ELEMENT
        return None

    def _variable(self, name: str, scope: Scope) -> str | None:
        """Return the path that a name stands for; `.title` is the field also where a macro's variable is `title`."""
        if name in scope:
            return scope[name]
        outermost = name.removeprefix(".")
        if outermost not in self.variables:
            return None
        self.found.variables.add(outermost)
        return "" if outermost == ROOT else outermost


def _texts(node: Node) -> Iterator[tuple[str, Node]]:
    """Yield the texts that are written out in a constant or a list of constants, each with its node."""
    if node.const_expr.HasField("string_value"):
        yield node.const_expr.string_value, node
    for element in node.list_expr.elements:
        yield from _texts(element)
