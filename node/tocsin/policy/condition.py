"""This module compiles and evaluates the conditions of rules, written in CEL.

A condition must type-check against the contract for every kind that its rule
names, may compare a closed vocabulary only with values of it, and must read
fields in a way that can be followed (`tocsin.policy.expression`): the language
by itself reads an absent field as its default, and so fails open.

Its answer is one of three. *Unknown* stands for: it reads a field that this
holding does not have, and the record is not ours (or the field is a number or
a time, which has no empty value); or the evaluation failed. Who asks must then
choose the safe side. The engine stops after 10,000 steps of its macros and
matches regular expressions in linear time, so a condition cannot run away.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Final

from cel_expr_python import cel

from tocsin.errors import MalformedPolicy
from tocsin.policy.claims import ENVELOPE, PACKAGE, Claims, pool
from tocsin.policy.expression import ROOT, Reading, read_expression
from tocsin.policy.spelling import did_you_mean
from tocsin.schema.contract import ELEMENT, KINDS, Field, Shape

MAX_LENGTH: Final = 4096
"""Most characters of a condition: enough for a page of counsel's cases, little enough to compile in milliseconds."""

_TYPES: Final = {
    Shape.TEXT: cel.Type.STRING,
    Shape.CHOICE: cel.Type.STRING,
    Shape.INTEGER: cel.Type.INT,
    Shape.NUMBER: cel.Type.DOUBLE,
    Shape.FLAG: cel.Type.BOOL,
    Shape.TIME: cel.Type.TIMESTAMP,
}
_BLOCK: Final = re.compile(r"(?:^|\n)?(?:INVALID_ARGUMENT: )?ERROR: <input>:\d+:\d+: ")
_OPERATOR: Final = re.compile(r"'(?:_(\S+)_|@in)'")
_UNDECLARED: Final = re.compile(r"undeclared reference to '(\w+)'")


class Truth(Enum):
    """The answer of a condition."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class _Checked:
    """A condition as compiled for one kind."""

    expression: cel.Expression
    variables: frozenset[str]
    tops: frozenset[str]
    reads: frozenset[str]
    wholes: frozenset[str]
    untested_times: frozenset[str]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that holds, does not hold, or cannot be told. Made by `compile_condition`."""

    text: str
    checked: Mapping[str, _Checked] = field(repr=False, compare=False)

    def evaluate(self, claims: Claims, *, own: bool) -> Truth:
        """Evaluate over what this node holds of a record.

        `own` says that the holding is the origin's, in which an absent field is
        known to be absent.
        """
        checked = self.checked.get(claims.kind)
        if checked is None:
            return Truth.UNKNOWN
        # A list or group used as a whole may have hidden parts that nobody can see are missing.
        needed = checked.untested_times if own else checked.reads
        if (not own and checked.wholes) or not all(claims.holds(path) for path in needed):
            return Truth.UNKNOWN
        try:
            answer = checked.expression.eval(data=claims.bind(checked.variables, tops=checked.tops)).value()
        except (RuntimeError, TypeError, ValueError):  # the engine's budget; a value that its type does not hold
            return Truth.UNKNOWN
        # A failed evaluation comes back as an error value, which is neither.
        return Truth.YES if answer is True else Truth.NO if answer is False else Truth.UNKNOWN


def compile_condition(text: str, *, kinds: Iterable[str]) -> Condition:
    """Compile a condition for every kind that its rule names.

    Raises MalformedPolicy with an entry in `details` for each problem; one that
    points at the place in the text has that on further lines.
    """
    kinds = sorted(kinds)
    if len(text) > MAX_LENGTH:
        raise MalformedPolicy("condition too long", details=(f"longer than {MAX_LENGTH} characters",))
    checked: dict[str, _Checked] = {}
    problems: dict[str, list[str]] = {}
    for kind in kinds:
        try:
            checked[kind] = _compile(text, kind)
        except MalformedPolicy as error:
            for detail in error.details:
                problems.setdefault(detail, []).append(kind)
    if problems:
        details = tuple(_of_kinds(detail, [] if where == kinds else where) for detail, where in problems.items())
        raise MalformedPolicy("condition does not fit the contract", details=details)
    return Condition(text, checked)


def _compile(text: str, kind: str) -> _Checked:
    """Compile a condition for one kind."""
    variables = _variables(kind)
    try:
        expression = _environment(kind).compile(text)
    except RuntimeError as error:
        raise MalformedPolicy("does not type-check", details=_carets(str(error), variables)) from None
    if expression.return_type() != cel.Type.BOOL:
        detail = f"neither true nor false but {expression.return_type().name().lower()}"
        raise MalformedPolicy("not a condition", details=(detail,))
    reading = read_expression(expression.serialize(), variables=tuple(variables))
    problems = (*dict.fromkeys(reading.problems), *_foreign_values(reading, kind))
    if problems:
        raise MalformedPolicy("cannot be followed", details=problems)
    fields = {path: field for path in reading.reads if (field := _field(kind, path))}
    return _Checked(
        expression=expression,
        variables=frozenset(reading.variables),
        tops=frozenset(_top(path) for path in fields),
        reads=frozenset(fields),
        wholes=frozenset(path for path in reading.wholes & fields.keys() if fields[path].shape is Shape.GROUP),
        untested_times=frozenset(path for path in fields.keys() - reading.tested if fields[path].shape is Shape.TIME),
    )


@cache
def _variables(kind: str) -> Mapping[str, cel.Type]:
    """Return the variables of a kind with their types."""
    fields = {field.name: _type(field) for field in KINDS[kind].fields}
    fields[ROOT] = cel.Type(f"{PACKAGE}.{KINDS[kind].message}")
    return MappingProxyType(fields | dict.fromkeys(ENVELOPE, cel.Type.STRING))


@cache
def _environment(kind: str) -> cel.Env:
    """Return what conditions about a kind are compiled in: the standard library and the variables, no more."""
    return cel.NewEnv(descriptor_pool=pool(), variables=_variables(kind))


def _type(field: Field) -> cel.Type:
    """Return the type of a variable."""
    single = cel.Type(f"{PACKAGE}.{field.group}") if field.shape is Shape.GROUP else _TYPES[field.shape]
    return cel.Type.List(single) if field.repeated else single


def _top(path: str) -> str:
    """Return the variable that a path begins with."""
    return path.partition(".")[0].removesuffix(ELEMENT)


def _field(kind: str, path: str) -> Field | None:
    """Return the content field at a path, for an element its list; None for a claim of the envelope."""
    return None if _top(path) in ENVELOPE else KINDS[kind].field(path.removesuffix(ELEMENT))


def _foreign_values(reading: Reading, kind: str) -> Iterator[str]:
    """Yield a problem for each text compared with a closed vocabulary that does not have it.

    Such a comparison never holds: a slip of the pen in `[[never]]` would share what must not be shared.
    """
    for path, text in dict.fromkeys(reading.compared):
        field = _field(kind, path)
        vocabulary = field.choices if field else ENVELOPE[path]
        if text and vocabulary and text not in vocabulary:
            yield f"{text!r} is not a value of {path}{did_you_mean(text, vocabulary)}"


def _carets(message: str, variables: Iterable[str]) -> tuple[str, ...]:
    """Return the compiler's problems, each with the place in the text below it."""
    problems = []
    for block in _BLOCK.split(message.removesuffix(" [INVALID_ARGUMENT]"))[1:]:
        said, newline, shown = block.strip("\n").partition("\n")
        said = _OPERATOR.sub(lambda found: f"'{found[1] or 'in'}'", said.replace(" (in container '')", ""))
        unknown = _UNDECLARED.search(said)
        is_elsewhere = unknown and any(kind.has(unknown[1]) for kind in KINDS.values())
        hint = did_you_mean(unknown[1], variables) if unknown and not is_elsewhere else ""
        problems.append(said + hint + newline + shown)
    return tuple(problems) or ("nested too deeply",)


def _of_kinds(detail: str, kinds: list[str]) -> str:
    """Add the kinds that a problem is about to its first line, where it is not about all of the rule's."""
    said, newline, shown = detail.partition("\n")
    return f"{said}, in records of kind {', '.join(kinds)}{newline}{shown}" if kinds else detail
