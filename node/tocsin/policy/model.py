"""This module holds what all policy files of a home say together, and answers by them.

    PolicySet
    ├── policies   partner -> Policy        policies/<partner>.toml, where it has no problem
    ├── floor      Floor                    policies/floor.toml, likewise
    └── problems   Problem(file, line, message)

A partner without a policy, and everybody while there is no floor, gets nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tocsin.identity.names import OrgId
from tocsin.policy.clauses import Floor, Policy
from tocsin.policy.decide import Decision, decide
from tocsin.policy.memory import Memory, facts_of
from tocsin.records.record import VerifiedRecord


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a policy file; `column`, from 1, and the line itself in `source` where they are known.

    `line` 0 is for what is wrong with all files together.
    """

    file: str
    line: int
    message: str
    column: int = 0
    source: str = ""

    def __str__(self) -> str:
        """Return place and message on one line."""
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"

    @property
    def shown(self) -> str:
        """Return the message, and below it the line with a caret under the place."""
        if not self.column:
            return self.message
        # Tabs stay, so that the caret stands under its place however wide they are.
        margin = "".join("\t" if sign == "\t" else " " for sign in self.source[: self.column - 1])
        return f"{self.message}\n  | {self.source}\n  | {margin}^"


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policy files of a home.

    `warnings` are no mistakes in one file, yet two files contradict each other: the floor takes all that a rule shares.
    """

    policies: Mapping[OrgId, Policy]
    floor: Floor | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    _memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    def relays_to(self, partner: OrgId) -> bool:
        """Say whether a rule passes records of others on to a partner."""
        policy = self.policies.get(partner)
        return policy is not None and policy.relays

    def decide(
        self,
        record: VerifiedRecord,
        *,
        partner: OrgId,
        recipients: frozenset[OrgId],
        granted: frozenset[str],
        now: int,
        own: bool = True,
    ) -> Decision:
        """Decide what a partner gets of a record, or remember what was decided before (`tocsin.policy.decide`).

        A decision depends on these files, the signed record, the partner, whom
        the record was narrowed to, what was granted and the time. It is
        remembered by all of that: for a time until the moment that it names
        itself. What is held of another's record may grow, so that is not.
        """
        key = (record.digest, partner, recipients, granted)
        known = self._memory.recall(key, now=now) if own else None
        if known is not None:
            return known
        decision = self.decide_once(record, partner=partner, recipients=recipients, granted=granted, now=now, own=own)
        if own:
            self._memory.keep(key, decision, now=now)
        return decision

    def decide_once(
        self,
        record: VerifiedRecord,
        *,
        partner: OrgId,
        recipients: frozenset[OrgId],
        granted: frozenset[str],
        now: int,
        own: bool = True,
    ) -> Decision:
        """Decide what nobody will ask again, such as a step of a plan: remembering it would push out what is asked."""
        return decide(
            record,
            partner=partner,
            policy=self.policies.get(partner),
            floor=self.floor,
            recipients=recipients,
            granted=granted,
            now=now,
            own=own,
            facts=facts_of(record, now=now) if own else None,
        )
