"""This module holds a question to policy, and finds the rules that have a say in the answer."""

from dataclasses import dataclass

from tocsin.identity.names import OrgId
from tocsin.policy.clauses import Floor, Never, Policy, Require, Share
from tocsin.policy.condition import Truth
from tocsin.policy.facts import Facts
from tocsin.policy.reach import covered_leaves
from tocsin.records.record import VerifiedRecord

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a record: arguments of `decide`."""

    record: VerifiedRecord
    partner: OrgId
    recipients: frozenset[OrgId]
    granted: frozenset[str]
    now: int
    facts: Facts

    @property
    def is_named(self) -> bool:
        """Say whether the partner is among those that we narrowed the record to; only its origin names anybody."""
        return self.facts.own and self.partner in self.recipients

    def named(self, paths: frozenset[str]) -> frozenset[str]:
        """Return those of some NAMED leaves that the partner is named for."""
        if not self.facts.own:
            return _NONE
        if not paths or self.is_named:
            return paths
        return paths & covered_leaves(self.record.kind, self.granted) if self.granted else _NONE

    def first_share(self, policy: Policy) -> tuple[Share | None, Truth]:
        """Return the first rule that covers the record and whose condition does not plainly fail."""
        for share in policy.shares:
            if share.covers(kind=self.record.kind, tlp=self.facts.marking, own=self.facts.own):
                truth = self.facts.ask(share.condition)
                if truth is not Truth.NO:
                    return share, truth
        return None, Truth.NO

    def matching_nevers(self, floor: Floor) -> tuple[Never, ...]:
        """Return the rules of the floor that match, or that may."""
        kind, marking, partner = self.record.kind, self.facts.marking, self.partner
        return tuple(
            never
            for never in floor.nevers
            if never.covers(kind=kind, tlp=marking, partner=partner, now=self.now)
            and self.facts.ask(never.condition) is not Truth.NO
        )

    def matching_requires(self, floor: Floor) -> tuple[Require, ...]:
        """Return the demands of the floor for more people that match, or that may."""
        kind, marking, partner = self.record.kind, self.facts.marking, self.partner
        return tuple(
            require
            for require in floor.requires
            if require.covers(kind=kind, tlp=marking, partner=partner)
            and self.facts.ask(require.condition) is not Truth.NO
        )
