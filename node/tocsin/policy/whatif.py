"""This module says what would let more go, by asking: each sentence was tried on a record that differs in one thing.

What may differ is time (nothing else has to be done), the marking, one value
of a closed vocabulary that a condition reads, and whether the partner is
named. A sentence says what the record would have to be, and never that it
should be: a marking is lowered by a new version and for a reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tocsin.encoding import JSON
from tocsin.identity.names import OrgId
from tocsin.policy.clauses import RANKS, Floor, Policy
from tocsin.policy.condition import Condition
from tocsin.policy.decide import Decision, decide
from tocsin.policy.moments import moment_text
from tocsin.policy.reach import leaves
from tocsin.records.record import VerifiedRecord
from tocsin.schema.contract import ELEMENT, KINDS, STATUSES, TLPS, Shape

MOST_MOMENTS = 8
"""Moments ahead that are tried: a record with more steps than that is rare, and later ones can be asked for."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The question that was decided, to be asked again a little differently."""

    record: VerifiedRecord
    partner: OrgId
    policy: Policy | None
    floor: Floor | None
    recipients: frozenset[OrgId]
    granted: frozenset[str]
    now: int
    own: bool

    def decide(self) -> Decision:
        """Decide the question as it stands."""
        return decide(
            self.record,
            partner=self.partner,
            policy=self.policy,
            floor=self.floor,
            recipients=self.recipients,
            granted=self.granted,
            now=self.now,
            own=self.own,
        )

    def sentences(self) -> Iterator[str]:
        """Yield what would let more go."""
        base = self.decide()
        yield from self._later(base)
        yield from self._by_marking(base)
        if not base.delivered and self.own:
            yield from self._by_value(base)

    def _later(self, base: Decision) -> Iterator[str]:
        """Say what goes later by itself."""
        decision = base
        for _ in range(MOST_MOMENTS):
            if decision.wider_at is None:
                return
            moment = decision.wider_at
            later = replace(self, now=moment).decide()
            yield from self._gained(decision, later, f"will be shared from {moment_text(moment)}")
            decision = later

    def _by_marking(self, base: Decision) -> Iterator[str]:
        """Say what would go under the first lower marking that lets more go."""
        marking = self.record.marking_at(self.now)
        for tlp in reversed(TLPS[: RANKS.get(marking, 0)]):
            lower = replace(self.record, tlp=tlp, downgrade_at=())
            said = list(self._gained(base, replace(self, record=lower).decide(), f"would be shared if tlp were {tlp}"))
            if said:
                yield from said
                return

    def _by_value(self, base: Decision) -> Iterator[str]:
        """Say which other value of a vocabulary that a condition reads would let a denied record go."""
        for path in sorted(self._vocabularies()):
            for words, changed in _others(self.record, path):
                decision = replace(self, record=changed).decide()
                yield from self._gained(base, decision, f"would be shared if {path} {words}")

    def _vocabularies(self) -> set[str]:
        """Return the fields of closed vocabularies that conditions about such records read, and `status` likewise."""
        kind, found = self.record.kind, set[str]()
        for condition in self._conditions():
            checked = condition.checked.get(kind)
            if checked is not None:
                found |= {path.removesuffix(ELEMENT) for path in checked.reads} | (checked.variables & {"status"})
        closed = {Shape.CHOICE, Shape.FLAG}
        return {path for path in found if path == "status" or (ELEMENT not in path and _shape(kind, path) in closed)}

    def _conditions(self) -> Iterator[Condition]:
        """Yield the conditions that have a say in the answer."""
        shares = (share.condition for share in (self.policy.shares if self.policy else ()))
        nevers = (never.condition for never in (self.floor.nevers if self.floor else ()))
        yield from (condition for condition in (*shares, *nevers) if condition is not None)

    def _gained(self, before: Decision, after: Decision, words: str) -> Iterator[str]:
        """Say of a record, or of the fields of one that goes already, what a difference would let go."""
        known = leaves(self.record.kind)
        gained = [path for path in known if path in after.disclosed - before.disclosed]
        if gained:
            yield f"{', '.join(gained)}: {words}" if before.delivered else words


def _shape(kind: str, path: str) -> Shape:
    """Return what the value of a field is."""
    return KINDS[kind].field(path).shape


def _others(record: VerifiedRecord, path: str) -> Iterator[tuple[str, VerifiedRecord]]:
    """Yield the record with another value at a path, in words and as a whole."""
    if path == "status":
        for status in STATUSES:
            if status != record.status:
                yield f"were {status}", replace(record, status=status)
        return
    field, value = KINDS[record.kind].field(path), _value(record.content, path)
    if field.repeated:
        held = value if isinstance(value, list) else []
        for one in field.choices:
            without = [each for each in held if each != one]
            words = f"did not have {one}" if one in held else f"had {one}"
            yield words, _with(record, path, without if one in held else [*held, one])
        return
    single: Sequence[JSON] = (False, True) if field.shape is Shape.FLAG else field.choices
    for other in single:
        if other != value:
            yield f"were {str(other).lower() if field.shape is Shape.FLAG else other}", _with(record, path, other)


def _value(content: Mapping[str, JSON], path: str) -> JSON:
    """Return the value at a path of groups; None where there is none."""
    value: JSON = dict(content)
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _with(record: VerifiedRecord, path: str, value: JSON) -> VerifiedRecord:
    """Return a record that has another value at a path of groups; nobody signed it, and it goes nowhere."""
    return replace(record, content=_put(record.content, path.split("."), value))


def _put(content: Mapping[str, JSON], names: Sequence[str], value: JSON) -> dict[str, JSON]:
    """Return content with another value at a path."""
    name, *rest = names
    inner = content.get(name)
    return {**content, name: _put(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}
