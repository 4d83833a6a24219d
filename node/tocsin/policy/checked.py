"""This module reads the form in which the condition engine hands out a type-checked expression.

It is a `cel.expr.CheckedExpr` message inside an `Any` (cel-spec,
proto/cel/expr/checked.proto and syntax.proto). Its generated classes are in
no package that we depend on, so the few members needed are described here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

_CHECKED: Final = "cel.expr.CheckedExpr"
_PACKAGE: Final = "tocsin.cel"
_REPEATED: Final = "*"
_MEMBERS: Final[Mapping[str, Mapping[str, tuple[int, str]]]] = {
    "CheckedExpr": {"expr": (4, "Expr"), "source_info": (5, "SourceInfo")},
    "SourceInfo": {"positions": (4, "*Position")},
    "Position": {"id": (1, "int"), "offset": (2, "int")},
    "Expr": {
        "id": (2, "int"),
        "const_expr": (3, "Constant"),
        "ident_expr": (4, "Ident"),
        "select_expr": (5, "Select"),
        "call_expr": (6, "Call"),
        "list_expr": (7, "List"),
        "struct_expr": (8, "Struct"),
        "comprehension_expr": (9, "Comprehension"),
    },
    "Constant": {"string_value": (6, "string")},
    "Ident": {"name": (1, "string")},
    "Select": {"operand": (1, "Expr"), "field": (2, "string"), "test_only": (3, "bool")},
    "Call": {"target": (1, "Expr"), "function": (2, "string"), "args": (3, "*Expr")},
    "List": {"elements": (1, "*Expr")},
    "Struct": {"entries": (2, "*Entry")},
    "Entry": {"map_key": (3, "Expr"), "value": (4, "Expr")},
    "Comprehension": {
        "iter_var": (1, "string"),
        "iter_range": (2, "Expr"),
        "accu_var": (3, "string"),
        "accu_init": (4, "Expr"),
        "loop_condition": (5, "Expr"),
        "loop_step": (6, "Expr"),
        "result": (7, "Expr"),
    },
}
"""Members by message: field number and type, `*` for a list. The map of positions is a list of pairs on the wire."""

_SCALARS: Final = {
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
}
_INDEX: Final = "_[_]"

Node = Any
"""A message of the descriptors above."""


class Checked(NamedTuple):
    """A type-checked expression, and where its parts stand in the text."""

    expression: Node
    offsets: Mapping[int, int]


def parse_checked(serialised: bytes) -> Checked:
    """Read a serialised, type-checked expression.

    Raises RuntimeError where the engine speaks another form than this module knows.
    """
    wrapped = any_pb2.Any.FromString(serialised)
    if wrapped.TypeName() != _CHECKED:
        raise RuntimeError(f"the condition engine returns {wrapped.TypeName()!r}")
    checked = _CheckedExpr.FromString(wrapped.value)
    return Checked(checked.expr, {position.id: position.offset for position in checked.source_info.positions})


def is_index(node: Node) -> bool:
    """Say whether a node takes an element of a list."""
    return bool(node.call_expr.function == _INDEX)


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes right below a call, a list or a map."""
    if node.call_expr.HasField("target"):
        yield node.call_expr.target
    yield from node.call_expr.args
    yield from node.list_expr.elements
    for entry in node.struct_expr.entries:
        if entry.HasField("map_key"):
            yield entry.map_key
        yield entry.value


def _describe() -> descriptor_pb2.FileDescriptorProto:
    """Return the descriptors of the members above."""
    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="tocsin/cel.proto", package=_PACKAGE, syntax="proto3")
    for name, members in _MEMBERS.items():
        message = file.message_type.add(name=name)
        if name in {"Expr", "Constant"}:  # a oneof, in which presence counts
            message.oneof_decl.add(name="kind")
        for member, (number, written) in members.items():
            kind = written.removeprefix(_REPEATED)
            label = types.LABEL_REPEATED if written.startswith(_REPEATED) else types.LABEL_OPTIONAL
            added = message.field.add(name=member, number=number, label=label)
            if kind in _MEMBERS:
                added.type, added.type_name = types.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                added.type = _SCALARS[kind]
            if message.oneof_decl and member != "id":
                added.oneof_index = 0
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(_describe().SerializeToString())
_CheckedExpr: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.CheckedExpr"))
