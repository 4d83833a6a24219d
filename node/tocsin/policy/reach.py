"""This module works out, once per rule and kind, which fields a rule reaches.

A decision is then a handful of set operations. All sets hold the paths of
*leaves*: a group goes exactly when something inside it goes, so it needs no
entry of its own. A list of values is one leaf: its elements are treated alike.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from types import MappingProxyType

from tocsin.schema.contract import ELEMENT, KINDS, Disclosure, Field, Shape


class Cause(StrEnum):
    """Why a field of a record does not go to a partner."""

    ABOVE_CLASS = "its class is above what the rule shares"
    LISTED = "the rule withholds it"
    NO_REVEAL = "only for named recipients, and the rule does not reveal it"
    NOT_NAMED = "only for named recipients, and the partner is not named for this record"
    FLOOR = "the floor takes it away"
    NOT_OURS = "of others' records nothing above class COMMUNITY is passed on"
    LOCAL = "never leaves the node"
    UNKNOWN = "unknown to the contract, so it never leaves the node"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that holds a value, and the groups and lists it stands in, outermost first."""

    path: str
    disclosure: Disclosure
    is_plain: bool
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """What one rule does to the fields of one kind.

    `open` goes whenever the rule applies; `named` only to a recipient who is
    named for the record; `closed` says why each other field stays.
    """

    open: frozenset[str]
    named: frozenset[str]
    closed: Mapping[str, Cause]


@cache
def leaves(kind: str) -> Mapping[str, Leaf]:
    """Return every leaf of a kind by path, in the order of the contract."""
    return MappingProxyType({leaf.path: leaf for field in KINDS[kind].fields for leaf in _walk(field, containers=())})


@cache
def boxes(kind: str) -> Mapping[str, frozenset[str]]:
    """Return the leaves inside every group and list of groups of a kind."""
    inside: dict[str, set[str]] = {}
    for path, leaf in leaves(kind).items():
        for box in leaf.containers:
            inside.setdefault(box, set()).add(path)
    return MappingProxyType({box: frozenset(paths) for box, paths in inside.items()})


@cache
def plain(kind: str) -> frozenset[str]:
    """Return the leaves that stand open in every record of a kind: no policy can withhold them."""
    return frozenset(path for path, leaf in leaves(kind).items() if leaf.is_plain)


@cache
def secret(kind: str) -> frozenset[str]:
    """Return the leaves of a kind that never leave the node."""
    return frozenset(path for path, leaf in leaves(kind).items() if leaf.disclosure is Disclosure.LOCAL)


@cache
def withholdable(kind: str) -> frozenset[str]:
    """Return the leaves of a kind that a policy can let go or keep."""
    return frozenset(leaves(kind)) - plain(kind) - secret(kind)


def covered(path: str, by: Iterable[str]) -> bool:
    """Say whether a path is one of those given, or stands inside one of them."""
    return any(path == outer or path.startswith((outer + ".", outer + ELEMENT)) for outer in by)


def covered_leaves(kind: str, by: Iterable[str]) -> frozenset[str]:
    """Return the leaves of a kind that the given paths cover and a policy may withhold."""
    return frozenset().union(*(_inside(kind, outer) for outer in by))


def reach(
    kind: str, *, classes: Disclosure, reveal: Iterable[str], withhold: Iterable[str], most: Disclosure | None = None
) -> Reach:
    """Sort the leaves of a kind by what a rule with these lines does to them; above `most` no line opens anything."""
    revealed, withheld = covered_leaves(kind, reveal), covered_leaves(kind, withhold)
    opened: set[str] = set()
    named: set[str] = set()
    closed: dict[str, Cause] = {}
    for path, leaf in leaves(kind).items():
        cause = _cause(leaf, classes=classes, revealed=revealed, withheld=withheld)
        if most is not None and leaf.disclosure > most and cause is not Cause.LOCAL and not leaf.is_plain:
            cause = Cause.NOT_OURS
        if cause is None:
            opened.add(path)
            continue
        closed[path] = cause
        if cause is Cause.NOT_NAMED:
            named.add(path)
    return Reach(open=frozenset(opened), named=frozenset(named), closed=MappingProxyType(closed))


def _cause(leaf: Leaf, *, classes: Disclosure, revealed: Set[str], withheld: Set[str]) -> Cause | None:
    """Return why a leaf stays, or None where the rule opens it; LOCAL comes before any line of a policy."""
    if leaf.is_plain:
        return None
    if leaf.disclosure is Disclosure.LOCAL:
        return Cause.LOCAL
    if leaf.path in withheld:
        return Cause.LISTED
    if leaf.disclosure is Disclosure.NAMED:
        return Cause.NOT_NAMED if leaf.path in revealed else Cause.NO_REVEAL
    return None if leaf.disclosure <= classes else Cause.ABOVE_CLASS


@lru_cache(maxsize=4096)  # two hundred partners withhold much the same fields
def _inside(kind: str, outer: str) -> frozenset[str]:
    """Return the leaves at and below a path that a policy may withhold."""
    return frozenset(path for path, leaf in leaves(kind).items() if not leaf.is_plain and covered(path, (outer,)))


def _walk(field: Field, *, containers: tuple[str, ...]) -> Iterator[Leaf]:
    """Yield the leaves at and below a field."""
    if field.shape is not Shape.GROUP:
        yield Leaf(field.path, field.disclosure, field.is_plain, containers)
    for inner in field.fields:
        yield from _walk(inner, containers=(*containers, field.path))
