"""This module decides whether a record goes to a partner, and which of its fields.

It is an allow-list: a field goes only because a rule reached it. Steps, in
order; the first that says no ends it:

1. Somebody must be allowed to be asked at all: the floor is readable, the
   partner has a policy, the agreement has not expired, the record is ours,
   and it is not narrowed to others.
2. The first `[[share]]` rule that covers kind and marking, and whose condition
   holds, applies. A condition whose answer is not known denies the record:
   the next rule is not tried.
3. Each `[[never]]` rule of the floor that covers the record takes its fields
   away, or denies the record where it names none. Not known counts as a match.
4. What is left goes: open fields, and NAMED fields where the partner is named
   for the record or was granted the field. Groups go with what is inside them.
5. A record of which nothing would go but its plain claims does not go.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tocsin.identity.names import OrgId
from tocsin.policy.condition import Condition, Truth
from tocsin.policy.model import Floor, Never, Policy, Share
from tocsin.policy.reach import Cause, covered_leaves, leaves, plain, secret
from tocsin.records.record import VerifiedRecord


class Denial(StrEnum):
    """Why a record does not go to a partner at all."""

    NO_FLOOR = "there is no floor.toml in order, so nothing is sent to anybody"
    NO_POLICY = "there is no policy in order for the partner"
    EXPIRED = "the agreement with the partner has expired"
    NOT_OWN = "it is another organisation's record, and those are not passed on"
    NARROWED = "it is narrowed to other recipients"
    NO_RULE = "no share rule covers it"
    CONDITION_UNKNOWN = "whether the rule's condition holds cannot be told from what it has"
    FLOOR = "the floor never shares such a record"
    NOTHING_LEFT = "every field that could be withheld would be"


@dataclass(frozen=True, slots=True)
class Withheld:
    """A field that the record has and the partner does not get; `reason` is for the partner, `why` for us."""

    path: str
    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What goes to a partner, by which rule, and why.

    `disclosed` holds leaves and containers, for `VerifiedRecord.present`.
    `withheld` never holds LOCAL fields, nor fields that the contract does not
    know; a group of which nothing goes stands for all that is inside it.
    Whether the partner may be told is `named`: what is told is `told`.
    """

    delivered: bool
    rule: str
    file: str
    line: int
    why: str
    agreement: str
    disclosed: frozenset[str] = frozenset()
    withheld: tuple[Withheld, ...] = ()
    named: bool = False
    denial: Denial | None = None

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
) -> Decision:
    """Decide what a partner gets of a record (steps 1 to 5 above).

    `recipients` are the organisations that the record was narrowed to (empty:
    not narrowed); `granted` the NAMED fields revealed to this partner; `own`
    says that this organisation is the record's origin.
    """
    # 1.
    if floor is None:
        return _denied(policy, Denial.NO_FLOOR)
    if policy is None or policy.partner != partner:
        return _denied(None, Denial.NO_POLICY)
    barred = _barred(policy, recipients=recipients, now=now, own=own)
    if barred:
        return _denied(policy, barred)
    # 2.
    share, truth = first_share(record, policy, own=own)
    if share is None:
        return _denied(policy, Denial.NO_RULE)
    if truth is Truth.UNKNOWN:
        return _denied(policy, Denial.CONDITION_UNKNOWN, rule=share)
    # 3.
    nevers = matching_nevers(record, floor, partner=partner, own=own)
    whole = next((never for never in nevers if not never.fields), None)
    if whole is not None:
        return _denied(policy, Denial.FLOOR, rule=whole, file=floor.file)
    # 4.
    going = _going(record, share, nevers, is_named=partner in recipients, granted=granted)
    # 5.
    if going <= plain(record.kind):
        return _denied(policy, Denial.NOTHING_LEFT, rule=share)
    return _delivered(record, policy, share, nevers, going)


def first_share(record: VerifiedRecord, policy: Policy, *, own: bool) -> tuple[Share | None, Truth]:
    """Return the first rule that covers the record and whose condition does not plainly fail."""
    for share in policy.shares:
        if share.covers(kind=record.kind, tlp=record.tlp):
            truth = ask(share.condition, record, own=own)
            if truth is not Truth.NO:
                return share, truth
    return None, Truth.NO


def matching_nevers(record: VerifiedRecord, floor: Floor, *, partner: OrgId, own: bool) -> tuple[Never, ...]:
    """Return the rules of the floor that match, or that may."""
    return tuple(
        never
        for never in floor.nevers
        if never.covers(kind=record.kind, tlp=record.tlp, partner=partner)
        and ask(never.condition, record, own=own) is not Truth.NO
    )


def ask(condition: Condition | None, record: VerifiedRecord, *, own: bool) -> Truth:
    """Evaluate a rule's condition; a rule without one always applies."""
    if condition is None:
        return Truth.YES
    envelope = {"iss": record.issuer, "kind": record.kind, "status": record.status, "tlp": record.tlp}
    return condition.evaluate(record.kind, record.content, envelope=envelope, own=own)


def _barred(policy: Policy, *, recipients: frozenset[OrgId], now: int, own: bool) -> Denial | None:
    """Return why no rule of a policy is asked at all, if so."""
    if policy.expires is not None and policy.expires <= now:
        return Denial.EXPIRED
    if not own:
        return Denial.NOT_OWN
    return Denial.NARROWED if recipients and policy.partner not in recipients else None


def _going(
    record: VerifiedRecord, share: Share, nevers: Iterable[Never], *, is_named: bool, granted: frozenset[str]
) -> frozenset[str]:
    """Return the leaves of the record that go; plain ones always do."""
    reach = share.reaches[record.kind]
    named = reach.named if is_named else reach.named & covered_leaves(record.kind, granted)
    going = record.paths & (reach.open | named)
    for never in nevers:
        going -= never.taken[record.kind]
    return going


def _containers(kind: str, going: frozenset[str]) -> frozenset[str]:
    """Return the groups and lists around what goes."""
    contract = leaves(kind)
    return frozenset(box for path in going for box in contract[path].containers)


def _withheld(
    record: VerifiedRecord, share: Share, nevers: tuple[Never, ...], going: frozenset[str]
) -> tuple[Withheld, ...]:
    """Name what stays, each wholly hidden group once, so that hiding it hides the names inside it."""
    contract = leaves(record.kind)
    named: dict[str, Withheld] = {}
    for path in sorted((record.paths & contract.keys()) - going - secret(record.kind)):
        outer = next((box for box in contract[path].containers if box not in going), path)
        found = Withheld(outer, *_why(path, record.kind, share, nevers))
        before = named.get(outer, found)
        if before != found:  # say of a group only what holds for all of it
            reason = found.reason if before.reason == found.reason else ""
            found = Withheld(outer, reason, "nothing inside it goes")
        named[outer] = found
    return tuple(named.values())


def _why(path: str, kind: str, share: Share, nevers: Iterable[Never]) -> tuple[str, str]:
    """Return the reason for the partner, and ours, why a field of a delivered record stays."""
    for never in nevers:
        if path in never.taken[kind]:
            return never.reason or share.reason, Cause.FLOOR
    return share.reason, share.reaches[kind].closed[path]


def _delivered(
    record: VerifiedRecord, policy: Policy, share: Share, nevers: tuple[Never, ...], going: frozenset[str]
) -> Decision:
    """Say yes, by the rule that applies."""
    around = _containers(record.kind, going)
    return Decision(
        delivered=True,
        rule=share.name,
        file=policy.file,
        line=share.line,
        why="it is the first rule that covers the record",
        agreement=policy.agreement,
        disclosed=going | (around & record.paths),
        withheld=_withheld(record, share, nevers, going | around),
        named=share.name_withheld,
    )


def _denied(policy: Policy | None, denial: Denial, *, rule: Share | Never | None = None, file: str = "") -> Decision:
    """Say no, by a rule where one did."""
    return Decision(
        delivered=False,
        rule=rule.name if rule else "",
        file=file or (policy.file if policy else ""),
        line=rule.line if rule else 0,
        why=denial,
        agreement=policy.agreement if policy else "",
        denial=denial,
    )
