"""This module compiles and evaluates the conditions of rules, written in CEL.

A condition must type-check against the contract for every kind that its rule
names, may compare a closed vocabulary only with values of it, and must read
fields in a way that can be followed (`tocsin.policy.expression`): the language
by itself reads an absent field as its default, and so fails open.

Its answer is one of three. *Unknown* stands for: it reads a field that this
holding does not have, and the record is not ours (or the field is a number or
a time, which has no empty value); or the evaluation failed. Who asks must then
choose the safe side. The engine stops after 10,000 steps of its macros and
matches regular expressions in linear time, and what a step may cost is bounded
when the file is read (`tocsin.policy.cost`), so a condition cannot run away.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

from cel_expr_python import cel

from tocsin.policy.checked import parse_checked
from tocsin.policy.claims import ENVELOPE, PACKAGE, Claims, pool
from tocsin.policy.cost import BUDGET, estimate
from tocsin.policy.expression import NOWHERE, ROOT, Reading, read_expression
from tocsin.policy.spelling import did_you_mean
from tocsin.policy.wording import SYNTAX, plain_words, type_name
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
_ERROR: Final = re.compile(r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?P<said>.*)")
_UNDEFINED: Final = re.compile(r"undefined field '(\w+)'")
_UNDECLARED: Final = re.compile(r"undeclared reference to '(\w+)'")


_DEAR: Final = "may look at {cost:,} characters of a record, and {budget:,} are the most: put fewer macros into macros"


class Complaint(NamedTuple):
    """Something wrong with a condition: line and column in its text, from 1; column 0 where the place is not known."""

    message: str
    line: int = 1
    column: int = 0


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
    ordered: frozenset[str]
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


def compile_condition(text: str, *, kinds: Iterable[str], complaints: list[Complaint]) -> Condition | None:
    """Compile a condition for every kind that its rule names.

    Returns None, with all that is wrong added to `complaints`, where it does not fit one of them.
    """
    kinds = sorted(kinds)
    if len(text) > MAX_LENGTH:
        complaints.append(Complaint(f"longer than {MAX_LENGTH} characters"))
        return None
    checked: dict[str, _Checked] = {}
    found: dict[Complaint, list[str]] = {}
    for kind in kinds:
        problems: list[Complaint] = []
        compiled = _compile(text, kind, problems)
        if compiled is not None:
            checked[kind] = compiled
        for problem in dict.fromkeys(problems):
            found.setdefault(problem, []).append(kind)
    complaints.extend(_of_kinds(problem, [] if where == kinds else where) for problem, where in found.items())
    return None if found else Condition(text, checked)


def _compile(text: str, kind: str, problems: list[Complaint]) -> _Checked | None:
    """Compile a condition for one kind; None where there is a problem."""
    try:
        expression = _environment(kind).compile(text)
    except RuntimeError as error:
        problems.extend(_read_errors(str(error), kind))
        return None
    if expression.return_type() != cel.Type.BOOL:
        kind_of_value = type_name(expression.return_type().name().lower())
        problems.append(Complaint(f"neither true nor false but {kind_of_value}: compare it with something"))
        return None
    parsed = parse_checked(expression.serialize())
    reading = read_expression(parsed, variables=tuple(_variables(kind)))
    problems.extend(_at(text, objection.message, objection.offset) for objection in reading.problems)
    problems.extend(_foreign_values(reading, kind, text))
    cost = estimate(parsed.expression, kind=kind)
    if cost > BUDGET:
        problems.append(Complaint(_DEAR.format(cost=cost, budget=BUDGET)))
    if problems:
        return None
    fields = {path: field for path in reading.reads if (field := _field(kind, path))}
    return _Checked(
        expression=expression,
        variables=frozenset(reading.variables),
        tops=frozenset(_top(path) for path in fields),
        reads=frozenset(fields),
        wholes=frozenset(path for path in reading.wholes & fields.keys() if fields[path].shape is Shape.GROUP),
        ordered=frozenset(reading.ordered & fields.keys()),
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


def _foreign_values(reading: Reading, kind: str, text: str) -> Iterator[Complaint]:
    """Yield a problem for each text compared with a closed vocabulary that does not have it.

    Such a comparison never holds: a slip of the pen in `[[never]]` would share what must not be shared.
    """
    for path, value, offset in reading.compared:
        field = _field(kind, path)
        vocabulary = field.choices if field else ENVELOPE[path]
        if value and vocabulary and value not in vocabulary:
            yield _at(text, f"{value!r} is not a value of {path}{did_you_mean(value, vocabulary)}", offset)


def _at(text: str, message: str, offset: int) -> Complaint:
    """Return a problem with the place that an offset in the text is."""
    if offset == NOWHERE:
        return Complaint(message)
    before = text[:offset]
    return Complaint(message, before.count("\n") + 1, offset - before.rfind("\n"))


def _read_errors(message: str, kind: str) -> Iterator[Complaint]:
    """Yield the compiler's problems; where a text cannot be read at all, the first place where that shows."""
    blocks = list(_ERROR.finditer(message.removesuffix(" [INVALID_ARGUMENT]")))
    unread = [block for block in blocks if block["said"].startswith(SYNTAX)]
    for block in unread[:1] or blocks:
        said = block["said"].replace(" (in container '')", "")
        yield Complaint(plain_words(said) + _guess(said, kind), int(block["line"]), int(block["column"]))
    if not blocks:
        yield Complaint("nested too deeply")


def _guess(said: str, kind: str) -> str:
    """Return what the author may have meant by a name that is none."""
    undeclared, undefined = _UNDECLARED.search(said), _UNDEFINED.search(said)
    if undeclared and not any(other.has(undeclared[1]) for other in KINDS.values()):
        return did_you_mean(undeclared[1], _variables(kind)) or "; a text stands in quotes"
    if undefined:
        return did_you_mean(undefined[1], {path.rpartition(".")[2] for path in KINDS[kind].paths()})
    return ""


def _of_kinds(problem: Complaint, kinds: list[str]) -> Complaint:
    """Add the kinds that a problem is about, where it is not about all of the rule's."""
    return problem._replace(message=f"{problem.message}, in records of kind {', '.join(kinds)}") if kinds else problem
