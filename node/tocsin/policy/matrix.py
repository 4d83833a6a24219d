"""This module draws policy as a table: how far records of each kind and marking go to each partner.

A cell says what goes *at most*: where conditions have a say, it holds the
widest of what the rules up to the first one without a condition let out, with
the least of what they wait for. What the floor takes without a condition is
taken off; a demand for approvals without one is added. A decision on a record
never lets out more than its cell (`tocsin.policy.decide`). Records of other
organisations have cells of their own, for the markings under which they may be
passed on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from tocsin.identity.names import OrgId
from tocsin.policy.clauses import RELAYED_TLPS, Policy, Share
from tocsin.policy.model import PolicySet
from tocsin.policy.reach import leaves, plain
from tocsin.schema.contract import KINDS, TLPS, Disclosure


@dataclass(frozen=True, slots=True)
class Cell:
    """How far records of a kind and a marking go to a partner: our own, or where it is `relayed` those of others.

    `classes` is None where nothing goes. `withheld`: some fields up to that
    class stay. `conditional`: a condition has a say. `hold` is in seconds.
    Rule, file and line are of the first rule that lets something out, or of
    the rule of the floor that keeps all.
    """

    partner: OrgId
    kind: str
    tlp: str
    classes: Disclosure | None = None
    withheld: bool = False
    conditional: bool = False
    hold: int = 0
    approvals: int = 0
    rule: str = ""
    file: str = ""
    line: int = 0
    relayed: bool = False

    @property
    def terms(self) -> tuple[object, ...]:
        """Return what goes and on what terms, whichever rule says so."""
        return (self.classes, self.withheld, self.conditional, self.hold, self.approvals)


def matrix(policies: PolicySet, partners: Iterable[OrgId], *, now: int) -> tuple[Cell, ...]:
    """Return a cell for each partner, kind and marking, in that order.

    A partner to whom a rule passes on records of others has cells for those behind its own.
    """
    every = (cell for partner in partners for cell in _cells(policies, partner, now))
    return tuple(cell for cell in every if not cell.relayed or policies.relays_to(cell.partner))


def changed_cells(before: PolicySet, after: PolicySet, *, now: int) -> tuple[tuple[Cell, Cell], ...]:
    """Return the cells in which two sets let out something else at most, or on other terms: before, and after."""
    partners = sorted(before.policies.keys() | after.policies.keys())
    pairs = (zip(_cells(before, org, now), _cells(after, org, now), strict=True) for org in partners)
    return tuple((old, new) for pair in pairs for old, new in pair if old.terms != new.terms)


def _cells(policies: PolicySet, partner: OrgId, now: int) -> Iterator[Cell]:
    """Yield every cell of a partner."""
    for relayed, tlps in ((False, TLPS), (True, RELAYED_TLPS)):
        for kind, tlp in product(KINDS, tlps):
            yield _cell(policies, Cell(partner, kind, tlp, relayed=relayed), now)


def _cell(policies: PolicySet, empty: Cell, now: int) -> Cell:
    """Fill in a cell."""
    partner, kind, tlp = empty.partner, empty.kind, empty.tlp
    policy, floor = policies.policies.get(partner), policies.floor
    if policy is None or floor is None or (policy.expires is not None and policy.expires <= now):
        return empty
    nevers = tuple(never for never in floor.nevers if never.covers(kind=kind, tlp=tlp, partner=partner, now=now))
    whole = next((never for never in nevers if not never.fields and never.condition is None), None)
    if whole is not None:
        return replace(empty, rule=whole.name, file=floor.file, line=whole.line)
    taken = frozenset().union(*(never.taken[kind] for never in nevers if never.condition is None))
    letting = [share for share in _tried(policy, empty) if _let_out(share, taken, kind, now)]
    if not letting:
        return empty
    asked = (
        require.approvals
        for require in floor.requires
        if require.condition is None and require.covers(kind=kind, tlp=tlp, partner=partner)
    )
    widest = max(letting, key=lambda share: (share.classes, len(_let_out(share, taken, kind, now))))
    conditions = (*(share.condition for share in letting), *(never.condition for never in nevers))
    return replace(
        empty,
        classes=widest.classes,
        withheld=bool(_of_class(kind, widest.classes) - (_let_out(widest, taken, kind, now) | plain(kind))),
        conditional=any(conditions),
        hold=min(share.hold for share in letting),
        approvals=max((min(share.approvals for share in letting), *asked)),
        rule=letting[0].name,
        file=policy.file,
        line=letting[0].line,
    )


def _tried(policy: Policy, cell: Cell) -> Iterator[Share]:
    """Yield the rules that may apply to a cell: up to the first that has no condition."""
    for share in policy.shares:
        if share.covers(kind=cell.kind, tlp=cell.tlp, own=not cell.relayed):
            yield share
            if share.condition is None:
                return


def _let_out(share: Share, taken: frozenset[str], kind: str, now: int) -> frozenset[str]:
    """Return the leaves that a rule lets out at most, but for those that stand open in every record."""
    reach = share.reach(kind, now=now)
    return (reach.open | reach.named) - taken - plain(kind)


@cache
def _of_class(kind: str, classes: Disclosure) -> frozenset[str]:
    """Return the leaves of a kind up to a class."""
    return frozenset(path for path, leaf in leaves(kind).items() if leaf.disclosure <= classes)
