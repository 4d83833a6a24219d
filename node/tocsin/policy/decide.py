"""This module decides whether a record goes to a partner, and which of its fields.

It is an allow-list: a field goes only because a rule reached it. Steps, in
order; the first that says no ends it:

1. Somebody must be allowed to be asked at all: the clock is not before the
   record, the floor is readable, the partner has a policy, the agreement has
   not expired, the record is ours or may be passed on (below) and may still be
   kept, it is not narrowed to others, and no embargo is on it for all but those
   it is narrowed to.
2. The first `[[share]]` rule that is about our own records (or about those of
   others, where this is one), covers kind and marking, and whose condition
   holds, applies. A condition whose answer is not known denies the record:
   the next rule is not tried.
3. Each `[[never]]` rule of the floor that covers the record takes its fields
   away, or denies the record where it names none. Not known counts as a match.
4. What is left goes: open fields, and NAMED fields where the partner is named
   for the record or was granted the field. Groups go with what is inside them.
5. A record of which nothing would go but its plain claims does not go.
6. It waits until the rule's `hold` is over, and for as many people as the rule
   or a `[[require]]` of the floor that covers it ask for: the larger number.
   Not known counts as a match. Who makes it wait is `tocsin.release`.

The marking is the one that holds at the moment of the decision.

A record of another organisation is passed on where that organisation signed
`relay = community`, its marking is TLP:CLEAR or TLP:GREEN, and the partner is
not that organisation. Of its fields nothing above class COMMUNITY goes, nobody
is named for it, and nobody is told what stays: that is for its origin to say.
Who sent it to us, and does not get it back, is not known here
(`tocsin.release.office`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tocsin.identity.names import OrgId
from tocsin.policy.clauses import RELAYED_TLPS, Floor, Never, Policy, Share
from tocsin.policy.condition import Truth
from tocsin.policy.facts import Facts
from tocsin.policy.moments import first_after
from tocsin.policy.question import Question
from tocsin.policy.reach import plain
from tocsin.policy.withheld import Withheld, Withholding
from tocsin.records.envelope import MAY_RELAY
from tocsin.records.record import VerifiedRecord


class Denial(StrEnum):
    """Why a record does not go to a partner at all."""

    CLOCK = "the clock is missing or wrong: the record was signed after what it says is now"
    NO_FLOOR = "there is no floor.toml in order, so nothing is sent to anybody"
    NO_POLICY = "there is no policy in order for the partner"
    EXPIRED = "the agreement with the partner has expired"
    ITS_ORIGIN = "it is the partner's own record"
    NOT_RELAYED = "it is another organisation's record, which has not allowed that it be passed on"
    RELAYED_TLP = "it is another organisation's record, and only TLP:CLEAR and TLP:GREEN are passed on"
    RETENTION = "it is past the date until which it may be kept"
    NARROWED = "it is narrowed to other recipients"
    EMBARGOED = "it is under embargo, and the partner is not named for it"
    NO_RULE = "no share rule covers it"
    CONDITION_UNKNOWN = "whether the rule's condition holds cannot be told from what it has"
    FLOOR = "the floor never shares such a record"
    NOTHING_LEFT = "every field that could be withheld would be"


@dataclass(frozen=True, slots=True)
class Decision:
    """What goes to a partner, by which rule, and why.

    `disclosed` holds leaves and containers, for `VerifiedRecord.present`.
    `withheld` never holds LOCAL fields, nor fields that the contract does not
    know; a group of which nothing goes stands for all that is inside it.
    Whether the partner may be told is `named`: what is told is `told`.

    Moments are unix seconds. What is delivered goes at `not_before` (0: at
    once), and after so many further people agreed as `approvals` says.
    `wider_at` is the next moment at which more may go, of a denied record too;
    `valid_until` the next at which the answer may be another at all. None: never.
    """

    delivered: bool
    rule: str
    file: str
    line: int
    why: str
    agreement: str
    disclosed: frozenset[str] = frozenset()
    withholding: Withholding | None = field(default=None, repr=False)
    named: bool = False
    denial: Denial | None = None
    not_before: int = 0
    approvals: int = 0
    wider_at: int | None = None
    valid_until: int | None = None

    @property
    def withheld(self) -> tuple[Withheld, ...]:
        """Return the fields of a delivered record that stay."""
        return self.withholding.withheld() if self.withholding else ()

    @property
    def told(self) -> tuple[Withheld, ...]:
        """Return the withheld fields that the partner is told of."""
        return self.withheld if self.named else ()


def decide(
    record: VerifiedRecord,
    *,
    partner: OrgId,
    policy: Policy | None,
    floor: Floor | None,
    recipients: frozenset[OrgId],
    granted: frozenset[str],
    now: int,
    own: bool = True,
    facts: Facts | None = None,
) -> Decision:
    """Decide what a partner gets of a record (steps 1 to 6 above).

    `recipients` are the organisations that the record was narrowed to (empty:
    not narrowed); `granted` the NAMED fields revealed to this partner; `own`
    says that this organisation is the record's origin; else it is asked
    whether the record is passed on. `facts` is what is known of it already.
    """
    facts = facts or Facts(record, marking=record.marking_at(now), own=own)
    question = Question(record, partner, recipients, granted, now, facts)
    # 1.
    barred = _barred(question, policy, floor)
    if barred or policy is None or floor is None:
        return _denied(question, policy, floor, barred or Denial.NO_POLICY)
    # 2.
    share, truth = question.first_share(policy)
    if share is None:
        return _denied(question, policy, floor, Denial.NO_RULE)
    if truth is Truth.UNKNOWN:
        return _denied(question, policy, floor, Denial.CONDITION_UNKNOWN, rule=share)
    # 3.
    nevers = question.matching_nevers(floor)
    whole = next((never for never in nevers if not never.fields), None)
    if whole is not None:
        return _denied(question, policy, floor, Denial.FLOOR, rule=whole, nevers=nevers)
    # 4.
    going = _going(question, share, nevers)
    # 5.
    if going <= plain(record.kind):
        return _denied(question, policy, floor, Denial.NOTHING_LEFT, rule=share, nevers=nevers)
    # 6.
    return _delivered(question, policy, floor, share, nevers, going)


def _barred(question: Question, policy: Policy | None, floor: Floor | None) -> Denial | None:
    """Return why no rule is asked at all, if so."""
    now, moments = question.now, question.facts.moments
    if now < moments.earliest:
        return Denial.CLOCK
    if floor is None:
        return Denial.NO_FLOOR
    if policy is None or policy.partner != question.partner:
        return Denial.NO_POLICY
    if policy.expires is not None and policy.expires <= now:
        return Denial.EXPIRED
    if not question.facts.own and (denial := _not_passed_on(question)):
        return denial
    if moments.retention_end is not None and moments.retention_end <= now:
        return Denial.RETENTION
    if question.is_named:
        return None
    if question.recipients:
        return Denial.NARROWED
    is_embargoed = moments.embargo_end is not None and now < moments.embargo_end
    return Denial.EMBARGOED if is_embargoed else None


def _not_passed_on(question: Question) -> Denial | None:
    """Return why another organisation's record goes no further whatever the rules say, if so."""
    if question.record.issuer == question.partner:
        return Denial.ITS_ORIGIN
    if question.record.relay != MAY_RELAY:
        return Denial.NOT_RELAYED
    return None if question.facts.marking in RELAYED_TLPS else Denial.RELAYED_TLP


def _going(question: Question, share: Share, nevers: Iterable[Never]) -> frozenset[str]:
    """Return the leaves of the record that go; plain ones always do."""
    kind = question.record.kind
    reach = share.reach(kind, now=question.now)
    named = question.named(reach.named)
    going = question.record.paths & (reach.open | named if named else reach.open)
    for never in nevers:
        going -= never.taken[kind]
    return going


def _delivered(
    question: Question, policy: Policy, floor: Floor, share: Share, nevers: tuple[Never, ...], going: frozenset[str]
) -> Decision:
    """Say yes, by the rule that applies, and what it waits for."""
    record = question.record
    disclosed = going | question.facts.around(going)
    withholding = Withholding(
        kind=record.kind,
        held=record.paths,
        going=disclosed,
        share=share,
        nevers=nevers,
        named=question.named(share.unbound[record.kind].named),
        now=question.now,
    )
    asked = (require.approvals for require in question.matching_requires(floor))
    return Decision(
        delivered=True,
        rule=share.name,
        file=policy.file,
        line=share.line,
        why="it is the first rule that covers the record",
        agreement=policy.agreement,
        disclosed=disclosed,
        withholding=withholding,
        named=share.name_withheld and question.facts.own,
        not_before=record.issued_at + share.hold if share.hold else 0,
        approvals=max((share.approvals, *asked)),
        wider_at=_wider_at(question, share, nevers),
        valid_until=_valid_until(question, policy, floor),
    )


def _denied(
    question: Question,
    policy: Policy | None,
    floor: Floor | None,
    denial: Denial,
    *,
    rule: Share | Never | None = None,
    nevers: tuple[Never, ...] = (),
) -> Decision:
    """Say no, by a rule where one did."""
    named = policy if denial is not Denial.NO_POLICY else None
    file = floor.file if isinstance(rule, Never) and floor else named.file if named else ""
    if denial is Denial.CLOCK:
        wider_at: int | None = question.facts.moments.earliest
    elif denial is Denial.EMBARGOED:
        wider_at = question.facts.moments.embargo_end
    elif denial in _FINAL:
        wider_at = None
    else:
        wider_at = _wider_at(question, rule if isinstance(rule, Share) else None, nevers)
    return Decision(
        delivered=False,
        rule=rule.name if rule else "",
        file=file,
        line=rule.line if rule else 0,
        why=denial,
        agreement=named.agreement if named else "",
        denial=denial,
        wider_at=wider_at,
        valid_until=_valid_until(question, policy, floor),
    )


_FINAL = frozenset(
    {
        Denial.NO_FLOOR,
        Denial.NO_POLICY,
        Denial.EXPIRED,
        Denial.ITS_ORIGIN,
        Denial.NOT_RELAYED,
        Denial.RETENTION,
        Denial.NARROWED,
    }
)
"""What no passing of time mends."""


def _wider_at(question: Question, share: Share | None, nevers: Iterable[Never]) -> int | None:
    """Return the next moment at which more may go: a lower marking, the end of what keeps something now."""
    limits = (share.withhold_until if share else None, *(never.until for never in nevers))
    return first_after(question.now, (*question.facts.moments.downgrades, *limits))


def _valid_until(question: Question, policy: Policy | None, floor: Floor | None) -> int | None:
    """Return the next moment at which anything that the decision looks at may be different."""
    files = (*(policy.moments if policy else ()), *(floor.moments if floor else ()))
    return first_after(question.now, (*question.facts.moments.all(), *files))
