"""This module finds rules that do nothing: what is written in a policy should have an effect.

A rule has none where no record can match it, where earlier rules cover all
that it covers, where nothing is left of what it would share, or where the
floor takes all of that. Conditions over closed vocabularies are tried with
every combination of values there is; of others nothing is said. So what is
found is certain, and not all there is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Final, NamedTuple

from tocsin.identity.names import OrgId
from tocsin.policy.claims import Claims
from tocsin.policy.clauses import RANKS, Floor, Never, Require, Share
from tocsin.policy.condition import Condition, Truth
from tocsin.policy.reach import plain
from tocsin.schema.contract import ELEMENT, KINDS, STATUSES, TLPS, Field, Shape

MOST_COMBINATIONS: Final = 5000
"""Combinations of values that are tried: a tenth of a second for a rule that never matches, less for all others."""

_FREE: Final = frozenset({"iss"})
"""Claims of the envelope whose values are not a closed vocabulary."""


class _Sample(NamedTuple):
    """A record that could be, as far as conditions look at it."""

    kind: str
    tlp: str
    claims: Claims

    def ask(self, condition: Condition | None, *, own: bool = True) -> Truth:
        """Evaluate a condition over it; what another's record does not have may be hidden."""
        return Truth.YES if condition is None else condition.evaluate(self.claims, own=own)


def find_shadow(share: Share, earlier: Sequence[Share]) -> Share | None:
    """Return an earlier rule that applies to everything that a rule covers, so that it is never reached."""
    for other in earlier:
        is_wider = RANKS[other.max_tlp] >= RANKS[share.max_tlp] and other.kinds >= share.kinds
        if (
            is_wider
            and other.relayed is share.relayed
            and (other.condition is None or other.condition == share.condition)
        ):
            return other
    return None


def is_taken_earlier(share: Share, earlier: Sequence[Share]) -> bool:
    """Say whether earlier rules together apply to every record that a rule could, as far as that can be tried."""
    beside = [other for other in earlier if other.relayed is share.relayed]
    trying = [other for other in beside if _samples(share.kinds, share.tlps, [other.condition]) is not None]
    samples = _samples(share.kinds, share.tlps, [rule.condition for rule in (share, *trying)])
    if samples is None or not trying:
        return False
    own = not share.relayed
    return not any(
        sample.ask(share.condition, own=own) is Truth.YES and not any(_applies(other, sample) for other in trying)
        for sample in samples
    )


def matches_nothing(rule: Share | Never | Require) -> bool:
    """Say whether no record there can be makes the condition of a rule true, as far as that can be tried."""
    if rule.condition is None:
        return False
    # Not known counts as a match for the rules of a floor, and denies a record for a share rule.
    if isinstance(rule, Share):
        tlps, own, idle = rule.tlps, not rule.relayed, {Truth.NO, Truth.UNKNOWN}
    else:
        tlps, own, idle = TLPS[RANKS[rule.min_tlp] :], True, {Truth.NO}
    reads_tlp = any("tlp" in checked.variables for checked in rule.condition.checked.values())
    samples = _samples(rule.kinds, tlps if reads_tlp else tlps[:1], [rule.condition])
    return samples is not None and all(sample.ask(rule.condition, own=own) in idle for sample in samples)


def shares_nothing(share: Share) -> bool:
    """Say whether a rule lets no field out, even for a recipient named for the record and when `withhold` is over."""
    return not any(_let_out(share, kind) for kind in share.kinds)


def find_taker(share: Share, floor: Floor, *, partner: OrgId) -> Never | None:
    """Return a rule of the floor for good and without a condition, where such rules take all that a rule would share.

    None where something is left of it for some kind and marking.
    """
    nevers = [never for never in floor.nevers if never.condition is None and never.until is None]
    taker: Never | None = None
    for kind, tlp in product(sorted(share.kinds), share.tlps):
        left = _let_out(share, kind)
        for never in nevers:
            if left and never.covers(kind=kind, tlp=tlp, partner=partner, now=0):
                left = left - never.taken[kind] if never.fields else frozenset()
                taker = taker or never
        if left:
            return None
    return taker


def _let_out(share: Share, kind: str) -> frozenset[str]:
    """Return the leaves that a rule lets out at most, but for those that stand open in every record."""
    reach = share.unbound[kind]
    return (reach.open | reach.named) - plain(kind)


def _applies(share: Share, sample: _Sample) -> bool:
    """Say whether a rule is the last that is tried for a record."""
    own = not share.relayed
    is_covered = share.covers(kind=sample.kind, tlp=sample.tlp, own=own)
    return is_covered and sample.ask(share.condition, own=own) is not Truth.NO


def _samples(
    kinds: Iterable[str], tlps: Sequence[str], conditions: Sequence[Condition | None]
) -> Iterator[_Sample] | None:
    """Return every record that could be, as far as the conditions look; None where that is no closed number."""
    spaces: dict[str, Mapping[str, tuple[object, ...]]] = {}
    for kind in sorted(kinds):
        values = _values(kind, conditions, tlps)
        if values is None:
            return None
        spaces[kind] = values
    count = sum(prod(map(len, values.values())) for values in spaces.values())
    return _make(spaces) if count <= MOST_COMBINATIONS else None


def _make(spaces: Mapping[str, Mapping[str, tuple[object, ...]]]) -> Iterator[_Sample]:
    """Yield a record for every combination of values."""
    for kind, values in spaces.items():
        for chosen in product(*values.values()):
            picked = dict(zip(values, chosen, strict=True))
            envelope = {name: str(picked.pop(name)) for name in ("tlp", "status")}
            content: dict[str, object] = {}
            for path, value in picked.items():
                if value is not None:
                    _put(content, path, value)
            claims = Claims(kind, content, envelope=envelope | {"kind": kind, "iss": ""})
            yield _Sample(kind, envelope["tlp"], claims)


def _values(
    kind: str, conditions: Sequence[Condition | None], tlps: Sequence[str]
) -> dict[str, tuple[object, ...]] | None:
    """Return what each claim that conditions look at can be; None where one of them is open."""
    checked = [condition.checked[kind] for condition in conditions if condition and kind in condition.checked]
    looked_at = frozenset[str]().union(*(each.variables for each in checked))
    if looked_at & _FREE:
        return None
    # A marking counts also where no condition reads it: the rules before may cover only some.
    values: dict[str, tuple[object, ...]] = {"tlp": tuple(tlps)}
    values["status"] = STATUSES if "status" in looked_at else STATUSES[:1]
    ordered = frozenset[str]().union(*(each.ordered for each in checked))
    for path in sorted(frozenset[str]().union(*(each.reads for each in checked))):
        field = KINDS[kind].field(path.removesuffix(ELEMENT))
        vocabulary = None if field.repeated and field.path in ordered else _vocabulary(field)
        if vocabulary is None:
            return None
        values[field.path] = vocabulary
    return values


def _vocabulary(field: Field) -> tuple[object, ...] | None:
    """Return everything that a field can be, absent (None) among it; None where that is open, or too much."""
    if ELEMENT in field.path or field.shape not in {Shape.CHOICE, Shape.FLAG}:
        return None
    single = (False, True) if field.shape is Shape.FLAG else field.choices
    if not field.repeated:
        return (None, *single)
    if 2 ** len(single) > MOST_COMBINATIONS:
        return None
    return _subsets(tuple(single))


@lru_cache(64)  # two hundred partners ask about the same few vocabularies, each several times
def _subsets(values: tuple[object, ...]) -> tuple[list[object], ...]:
    """Return every list of different values, shorter ones and none first."""
    masks = sorted(range(2 ** len(values)), key=int.bit_count)
    return tuple([value for place, value in enumerate(values) if mask >> place & 1] for mask in masks)


def _put(content: dict[str, object], path: str, value: object) -> None:
    """Put a value at a path of groups."""
    *groups, name = path.split(".")
    inner = content
    for group in groups:
        into = inner.setdefault(group, {})
        inner = into if isinstance(into, dict) else {}
    inner[name] = value
