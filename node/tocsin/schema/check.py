"""This module says whether content keeps to the contract of its kind, with every problem at once.

Each kind is compiled once into a tree of small functions, one for each field.
A function returns the problems of a value, none of them in the usual case, so
that sound content costs some tens of microseconds.

There are two readings of the same contract. At its origin content is whole:
required fields are there, no name is unknown, and nobody has written what is
derived. What a recipient sees is a
part of it, perhaps of a newer contract: nothing is required, a name that is
not known here is left alone, and a vocabulary may have grown. Shapes, patterns
and limits hold for both: a newer contract may not loosen them.
"""

import datetime
import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from tocsin.encoding import MAX_INTEGER
from tocsin.errors import MalformedContent
from tocsin.schema.contract import KINDS, Field, Shape

# RFC 3339 in UTC; the days of a month are left to the calendar. Leap seconds are refused: unix time has none.
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?Z")

# What a value of a vocabulary looks like, whichever it is.
_CLAIM = re.compile(r"[A-Za-z0-9+#_.-]{1,64}")

# More problems than anybody reads at once.
MAX_DETAILS = 100

# A name that is no field is shown only so far.
MAX_NAME_SHOWN = 80

# What counts as payload where a finding involves child sexual abuse material: such a finding takes none.
PAYLOAD = ("steps", "prompts", "poc", "infohazard_detail", "evidence", "source")

# Where in the value, and what is wrong there: ("[0].version", "longer than 100 characters").
Problem = tuple[str, str]
Check = Callable[[object], tuple[Problem, ...]]

_NONE: tuple[Problem, ...] = ()


def check_content(kind: str, content: Mapping[str, object]) -> None:
    """Refuse whole content, at its origin, that does not keep to the contract.

    Raises MalformedContent with a line for each problem in `details`, and
    KeyError for a kind that the contract does not have.
    """
    problems = _compile(kind, True)(content)
    if content.get("contains_csam") is True:
        problems += tuple((name, "not accepted in a record that involves csam") for name in PAYLOAD if name in content)
    _refuse(kind, problems)


def check_disclosed(kind: str, content: Mapping[str, object]) -> None:
    """Refuse disclosed content whose known fields do not keep to the contract.

    Nothing is required, and unknown names are left alone. Raises as
    `check_content` does.
    """
    _refuse(kind, _compile(kind, False)(content))


def is_time(value: object) -> bool:
    """Say whether a value is the text of a time in UTC as claims write it: `2026-03-01T12:00:00Z`."""
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        return False
    try:
        datetime.datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def unix_seconds(time: str) -> int:
    """Return the first whole unix second at which a time, as `is_time` accepts it, has come."""
    return math.ceil(datetime.datetime.fromisoformat(time).timestamp())


def _refuse(kind: str, problems: tuple[Problem, ...]) -> None:
    """Raise where there are problems."""
    if not problems:
        return
    lines = [f"{where.removeprefix('.') or 'content'}: {problem}" for where, problem in problems]
    more = len(lines) - MAX_DETAILS
    if more > 0:
        lines[MAX_DETAILS:] = [f"and {more} more"]
    message = lines[0] if len(lines) == 1 else f"{len(problems)} problems, the first is {lines[0]}"
    raise MalformedContent(f"the content is no valid {kind}: {message}", details=tuple(lines))


@cache
def _compile(kind: str, whole: bool) -> Check:
    """Make the check of a kind."""
    return _group_check(KINDS[kind].fields, whole=whole)


def _field_check(field: Field, *, whole: bool) -> Check:
    """Make the check of a field: of its value, or of each element of its list."""
    if whole and field.coarse is not None:
        return _twin_check(field.coarse.of)
    if field.shape is Shape.GROUP:
        one = _group_check(field.fields, whole=whole)
    elif field.shape is Shape.CHOICE:
        one = _choice_check(field, whole=whole)
    else:
        one = _MAKERS[field.shape](field)
    return _list_check(one, field.max_items, required=whole and field.required) if field.repeated else one


def _twin_check(exact: str) -> Check:
    """Make the check of a coarse twin where content is written: nobody writes one."""
    written = (("", f"follows from {exact} when the record is issued: write {exact}, and leave this out"),)
    return lambda _value: written


def _group_check(fields: tuple[Field, ...], *, whole: bool) -> Check:
    """Make the check of a group."""
    checks = {field.name: _field_check(field, whole=whole) for field in fields}
    required = tuple(field.name for field in fields if field.required) if whole else ()

    def check(value: object) -> tuple[Problem, ...]:
        if not isinstance(value, Mapping):
            return (("", "not a group of fields"),)
        problems = _NONE
        for name, inner in value.items():
            inner_check = checks.get(name)
            if inner_check is not None:
                found = inner_check(inner)
                if found:
                    problems += tuple((f".{name}{where}", problem) for where, problem in found)
            elif whole:
                problems += (_unknown(name, checks if len(problems) < MAX_DETAILS else ()),)
        for name in required:
            if name not in value:
                problems += ((f".{name}", "missing"),)
        return problems

    return check


def _unknown(name: object, known: Iterable[str]) -> Problem:
    """Return the problem of a name that is no field, with the nearest field."""
    shown = str(name)[:MAX_NAME_SHOWN]
    near = difflib.get_close_matches(shown, known, 1)
    return f".{shown}", f"no such field, did you mean {near[0]!r}?" if near else "no such field"


def _list_check(one: Check, max_items: int, *, required: bool) -> Check:
    """Make the check of a list by the check of an element."""

    def check(value: object) -> tuple[Problem, ...]:
        if not isinstance(value, list):
            return (("", "not a list"),)
        if len(value) > max_items:
            return (("", f"more than {max_items} elements"),)
        if required and not value:
            return (("", "an empty list, where at least one element is required"),)
        problems = _NONE
        for index, element in enumerate(value):
            found = one(element)
            if found:
                problems += tuple((f"[{index}]{where}", problem) for where, problem in found)
        return problems

    return check


def _text_check(field: Field) -> Check:
    """Make the check of a text."""
    shortest, longest, pattern = field.min_length, field.max_length, field.pattern
    matches = re.compile(pattern).fullmatch if pattern else None
    wrong_form = (("", f"not of the form {pattern}" + (f", such as {field.example}" if field.example else "")),)
    too_short = "empty" if shortest == 1 else f"shorter than {shortest} characters"

    def check(value: object) -> tuple[Problem, ...]:
        if not isinstance(value, str):
            return (("", "not a text: write it in quotes"),)
        length = len(value)
        if length > longest:
            return (("", f"longer than {longest} characters"),)
        if length < shortest:
            return (("", too_short),)
        if matches is not None and matches(value) is None:
            return wrong_form
        if not value.isascii() and not _is_unicode(value):
            return (("", "holds half of a surrogate pair"),)
        return _NONE

    return check


def _is_unicode(text: str) -> bool:
    """Say whether a text can be written in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _choice_check(field: Field, *, whole: bool) -> Check:
    """Make the check of a value of a vocabulary; of its looks alone, where the vocabulary may have grown."""
    allowed = frozenset(field.choices)
    wrong = (("", f"none of {', '.join(field.choices)}"),)

    def check(value: object) -> tuple[Problem, ...]:
        if not isinstance(value, str):
            return wrong
        if value in allowed or (not whole and _CLAIM.fullmatch(value)):
            return _NONE
        return wrong

    return check


def _integer_check(field: Field) -> Check:
    """Make the check of an integer and of its range."""
    lowest = -MAX_INTEGER if field.minimum is None else int(field.minimum)
    highest = MAX_INTEGER if field.maximum is None else int(field.maximum)

    def check(value: object) -> tuple[Problem, ...]:
        # a bool is an int to Python, and no number to anybody else
        if not isinstance(value, int) or isinstance(value, bool):
            return (("", "not an integer"),)
        return _NONE if lowest <= value <= highest else (("", f"not between {lowest} and {highest}"),)

    return check


def _number_check(field: Field) -> Check:
    """Make the check of a number and of its range."""
    lowest = -math.inf if field.minimum is None else field.minimum
    highest = math.inf if field.maximum is None else field.maximum

    def check(value: object) -> tuple[Problem, ...]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return (("", "not a number"),)
        if isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
            return (("", "an integer beyond 2^53, which JSON readers do not agree on"),)
        if not math.isfinite(value):
            return (("", "not a finite number"),)
        if value < lowest:
            return (("", f"less than {lowest:g}"),)
        return _NONE if value <= highest else (("", f"more than {highest:g}"),)

    return check


def _flag_check(_field: Field) -> Check:
    """Make the check of a flag."""

    def check(value: object) -> tuple[Problem, ...]:
        return _NONE if isinstance(value, bool) else (("", "not true or false"),)

    return check


def _time_check(_field: Field) -> Check:
    """Make the check of a time."""

    def check(value: object) -> tuple[Problem, ...]:
        return _NONE if is_time(value) else (("", "not a time in UTC such as 2026-03-01T12:00:00Z"),)

    return check


_MAKERS: Mapping[Shape, Callable[[Field], Check]] = {
    Shape.TEXT: _text_check,
    Shape.INTEGER: _integer_check,
    Shape.NUMBER: _number_check,
    Shape.FLAG: _flag_check,
    Shape.TIME: _time_check,
}
