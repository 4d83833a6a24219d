"""This module says in words why a partner gets a record and its fields, or does not.

It decides nothing: it asks `decide`, and puts beside each field of the record
what its contract, the rule and the floor say about it; what would change that
is tried (`tocsin.policy.whatif`). For the organisation's own people only: an
explanation names what the partner must not learn of.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tocsin.identity.names import OrgId
from tocsin.policy.clauses import Floor, Never, Policy, Share
from tocsin.policy.decide import Decision, Denial
from tocsin.policy.facts import Facts
from tocsin.policy.moments import moment_text
from tocsin.policy.question import Question
from tocsin.policy.reach import Cause, Leaf, leaves
from tocsin.policy.whatif import WhatIf
from tocsin.policy.withheld import Withholding
from tocsin.records.record import VerifiedRecord
from tocsin.schema.contract import Disclosure


@dataclass(frozen=True, slots=True)
class FieldVerdict:
    """What becomes of one field.

    `disclosure` is None where the contract does not know the field. `until` is
    when it goes by itself, in unix seconds; 0: never.
    """

    path: str
    shared: bool
    disclosure: Disclosure | None
    why: str
    reason: str = ""
    until: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, what it means for each field, and what would change it.

    `waits` are those of the hints that say when or by whose agreement it goes:
    for who has waited already, they are over.
    """

    decision: Decision
    fields: tuple[FieldVerdict, ...]
    hints: tuple[str, ...]
    waits: tuple[str, ...] = ()


_REMEDIES: Final = {
    Denial.CLOCK: "ask as of a time after {signed}, when the record was signed; if it is now, set the clock",
    Denial.NO_FLOOR: "run `tocsin policy check` and put floor.toml in order",
    Denial.NO_POLICY: "run `tocsin policy check`: it says what is wrong with {partner}.toml, or that it is missing",
    Denial.EXPIRED: "it would go by an agreement that is renewed: `expires` in {file}",
    Denial.NOT_RELAYED: "it would be weighed if {issuer} had signed `relay = community` into it",
    Denial.NARROWED: "it would be weighed if {partner} were among its recipients: `post --to {partner}`",
    Denial.EMBARGOED: "it would be weighed if {partner} were named for it: `post --to {partner}`",
    Denial.FLOOR: "it would be weighed if the rule {rule!r} at {file}:{line} did not cover it",
    Denial.CONDITION_UNKNOWN: "ask for numbers and times first in the condition at {file}:{line}: has(content.…) && …",
    Denial.NOTHING_LEFT: "it would go if the rule at {file}:{line} shared at least one more of its fields",
}
_WOULD_BE_SHARED: Final = {
    Cause.ABOVE_CLASS: "if `classes` at {place} were {widest}",
    Cause.LISTED: "if not named in `withhold` at {place}",
    Cause.NO_REVEAL: "if named in `reveal` at {place}, and {partner} for the record",
    Cause.NOT_NAMED: "if {partner} were named for the record: `post --to {partner}`, or `reveal`",
}


def explain(
    record: VerifiedRecord,
    *,
    partner: OrgId,
    policy: Policy | None,
    floor: Floor | None,
    recipients: frozenset[OrgId],
    granted: frozenset[str],
    now: int,
    own: bool = True,
) -> Explanation:
    """Explain what `decide` says for the same arguments."""
    asked = WhatIf(record, partner, policy, floor, recipients, granted, now, own)
    decision = asked.decide()
    question = Question(
        record, partner, recipients, granted, now, Facts(record, marking=record.marking_at(now), own=own)
    )
    hints = [*_remedies(decision, question, policy)]
    waits: tuple[str, ...] = ()
    verdicts = tuple(_kept(path, leaf) for path, leaf in _fields(record))
    if decision.withholding is not None and floor is not None:
        weighing = _Weighing(decision, decision.withholding, floor, partner)
        verdicts = tuple(weighing.verdict(path, leaf) for path, leaf in _fields(record))
        waits = tuple(_waits(decision, question, floor))
        hints += [*waits, *weighing.hints(verdicts)]
    return Explanation(decision, verdicts, (*hints, *asked.sentences()), waits)


@dataclass(frozen=True, slots=True)
class _Weighing:
    """A delivered record, and all that had a say in it."""

    decision: Decision
    withholding: Withholding
    floor: Floor
    partner: OrgId

    def verdict(self, path: str, leaf: Leaf | None) -> FieldVerdict:
        """Say whether a field goes, and why."""
        if leaf is None or leaf.disclosure is Disclosure.LOCAL:
            return _kept(path, leaf)
        if path in self.decision.disclosed:
            return FieldVerdict(path, True, leaf.disclosure, self._why_shared(leaf))
        never = self.withholding.taken_by(path)
        told = (never.reason if never else "") or self.withholding.share.reason
        return FieldVerdict(
            path,
            False,
            leaf.disclosure,
            self._why_withheld(leaf, never),
            reason=told if self.decision.named else "",
            until=self.withholding.until(path),
        )

    def hints(self, fields: Iterable[FieldVerdict]) -> Iterator[str]:
        """Yield what would let more go, once for each cause."""
        place = f"{self.decision.file}:{self.decision.line}"
        for cause, condition in _WOULD_BE_SHARED.items():
            stay = [field for field in fields if self._cause(field) is cause]
            if stay:
                widest = max(field.disclosure or Disclosure.LOCAL for field in stay).name
                words = condition.format(place=place, widest=widest, partner=self.partner)
                yield f"{', '.join(field.path for field in stay)}: would be shared {words}"

    def _cause(self, field: FieldVerdict) -> Cause | None:
        """Return why the rule keeps a field; None where it is shared or the rule is not what keeps it."""
        is_the_rules = not field.shared and self.withholding.taken_by(field.path) is None
        return self.withholding.causes.get(field.path) if is_the_rules else None

    def _why_shared(self, leaf: Leaf) -> str:
        """Say what lets a field go."""
        if leaf.is_plain:
            return "open in every record"
        if leaf.disclosure is Disclosure.NAMED:
            return f"the rule reveals it, and {self.partner} is named for it"
        return f"the rule shares up to class {self.withholding.share.classes.name}"

    def _why_withheld(self, leaf: Leaf, never: Never | None) -> str:
        """Say what keeps a field."""
        if never is not None:
            return f"taken away by {never.name!r} at {self.floor.file}:{never.line}"
        cause = self.withholding.causes[leaf.path]
        if cause is Cause.ABOVE_CLASS:
            return f"the rule shares only up to class {self.withholding.share.classes.name}"
        return cause


def _fields(record: VerifiedRecord) -> Iterator[tuple[str, Leaf | None]]:
    """Yield the fields that a record has, in the order of the contract, then those that it does not know."""
    known = leaves(record.kind)
    boxes = {box for leaf in known.values() for box in leaf.containers}
    for path, leaf in known.items():
        if path in record.paths:
            yield path, leaf
    for path in sorted(record.paths - known.keys() - boxes):
        yield path, None


def _kept(path: str, leaf: Leaf | None) -> FieldVerdict:
    """Return the verdict on a field that stays whatever a rule says, or because its record stays."""
    if leaf is None:
        return FieldVerdict(path, False, None, Cause.UNKNOWN)
    why = Cause.LOCAL if leaf.disclosure is Disclosure.LOCAL else "the record does not go"
    return FieldVerdict(path, False, leaf.disclosure, why)


def _waits(decision: Decision, question: Question, floor: Floor) -> Iterator[str]:
    """Yield what a record that goes has to wait for, and who says so."""
    place = f"{decision.file}:{decision.line}"
    if decision.not_before > question.now:
        yield f"goes from {moment_text(decision.not_before)}: `hold` at {place}"
    if decision.approvals:
        requires = question.matching_requires(floor)
        demand = next((require for require in requires if require.approvals == decision.approvals), None)
        asked = f"[[require]] at {floor.file}:{demand.line}" if demand else f"`approvals` at {place}"
        people = (
            "one further person agrees" if decision.approvals == 1 else f"{decision.approvals} further people agree"
        )
        yield f"goes when {people}: {asked}"


def _remedies(decision: Decision, question: Question, policy: Policy | None) -> Iterator[str]:
    """Yield what would change a denial."""
    if decision.denial is Denial.NO_RULE and policy is not None:
        if not policy.shares:
            yield f"{policy.file} has no [[share]] rule in force: it shares nothing"
        for share in policy.shares:
            yield f"{share.name!r} at {policy.file}:{share.line} does not cover it: {_mismatch(question, share)}"
    elif decision.denial in _REMEDIES:
        place = {"file": decision.file, "line": decision.line, "rule": decision.rule}
        signed = moment_text(question.record.issued_at)
        issuer = question.record.issuer
        yield _REMEDIES[decision.denial].format(partner=question.partner, issuer=issuer, signed=signed, **place)


def _mismatch(question: Question, share: Share) -> str:
    """Say which matcher of a rule does not fit a record."""
    kind, marking = question.record.kind, question.facts.marking
    if share.relayed is question.facts.own:
        ours = "it is about records of others, and this is our own"
        return ours if share.relayed else f"it is about our own records, and this is {question.record.issuer}'s"
    if kind not in share.kinds:
        return f"it is about {', '.join(sorted(share.kinds))}, and this is of kind {kind}"
    if marking not in share.tlps:
        return f"it covers up to TLP:{share.max_tlp}, and this is TLP:{marking}"
    return f"its condition does not hold: {share.condition.text}" if share.condition else ""
