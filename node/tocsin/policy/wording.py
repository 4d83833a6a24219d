"""This module says what the condition engine complains of in the words of the people who write conditions.

The engine speaks of tokens, overloads and structs; whoever writes a policy
knows fields, texts and numbers. What it says that is not known here is passed
on as it is.
"""

import re
from collections.abc import Mapping
from typing import Final

SYNTAX: Final = "Syntax error: "

_OPERATOR: Final = re.compile(r"^(?:_(\S+)_|@(in)|([!-])_)$")
_OVERLOAD: Final = re.compile(r"found no matching overload for '([^']+)' applied to '(\(.*\)|\S+\.\(.*\))'")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']+)'")
_UNDEFINED: Final = re.compile(r"undefined field '(\w+)'")
_LIST: Final = re.compile(r"list[(<](.*)[)>]")
_AT_END: Final = "'<EOF>'"
_TYPES: Final[Mapping[str, str]] = {
    "string": "text",
    "int": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "timestamp": "a time",
    "google.protobuf.Timestamp": "a time",
}
_WORDS: Final[Mapping[str, str]] = {"and": "&&", "or": "||", "not": "!"}


def plain_words(said: str) -> str:
    """Return a complaint of the engine in plain words."""
    if said.startswith(SYNTAX):
        return _syntax(said.removeprefix(SYNTAX))
    if found := _UNDECLARED.search(said):
        return f"nothing is named {found[1]!r}"
    if found := _UNDEFINED.search(said):
        return f"no field {found[1]!r} in such a group"
    if found := _OVERLOAD.search(said):
        return _overload(found[1], found[2])
    return said


def type_name(written: str) -> str:
    """Return what people call a type of the engine."""
    if found := _LIST.fullmatch(written):
        inner = _TYPES.get(found[1], "")
        return f"a list of {inner.split()[-1]}s" if inner in {"text", "a whole number", "a number"} else "a list"
    return _TYPES.get(written, "a group")


def _syntax(said: str) -> str:
    """Say where an expression cannot be read, and why, for the mistakes that people make."""
    if "token recognition error at: '=" in said:
        return "a single = means nothing here: to compare, write =="
    if found := re.search(r"input '(and|or|not)'", said):
        return f"{found[1]!r} is written {_WORDS[found[1]]}"
    if found := re.match(r"missing '(.)' at", said):
        return f"a {found[1]} is missing"
    if _AT_END in said.partition(" expecting ")[0]:
        return "something is missing at the end"
    return "cannot be read from here on"


def _overload(operator: str, applied: str) -> str:
    """Say what does not go together, and what does."""
    found = _OPERATOR.match(operator)
    name = next(filter(None, found.groups())) if found else operator
    types = applied.removeprefix("(").removesuffix(")").split(", ")
    said = f"{name} does not go with {' and '.join(type_name(one) for one in types)}"
    if name in {"==", "!="} and any(_LIST.fullmatch(one) for one in types):
        return f'{said}: to ask whether a list has it, write "…" in the list'
    if name == "in":
        return f'{said}: after in stands a list, as in severity in ["high", "critical"]'
    if "google.protobuf.Timestamp" in types and "string" in types:
        return f'{said}: a time is written timestamp("2027-01-01T00:00:00Z")'
    return said
