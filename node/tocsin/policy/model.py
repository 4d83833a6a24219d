"""This module holds what policy files say, as values that are ready to decide by.

    PolicySet
    ├── policies   partner -> Policy        policies/<partner>.toml, where it has no problem
    │              ├── shares: Share…       first match wins
    │              └── accept               what is taken from the partner
    ├── floor      nevers: Never…           policies/floor.toml: can only take away
    └── problems   Problem(file, line, message)

A partner without a policy, and everybody while there is no floor, gets nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tocsin.identity.names import OrgId
from tocsin.policy.condition import Condition
from tocsin.policy.reach import Reach, covered_leaves, reach
from tocsin.schema.contract import TLPS, Disclosure


@dataclass(frozen=True, slots=True)
class Share:
    """A rule that lets records go: matchers first, then which of their fields.

    `kinds` is spelled out (never `*`). `reveal` adds NAMED fields for
    recipients named for the record. `reason` and `name_withheld` are for the
    partner: why fields stay, and whether it is told which.
    """

    name: str
    line: int
    kinds: frozenset[str]
    max_tlp: str
    classes: Disclosure
    condition: Condition | None = None
    reveal: frozenset[str] = frozenset()
    withhold: frozenset[str] = frozenset()
    reason: str = ""
    name_withheld: bool = False
    reaches: Mapping[str, Reach] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the fields that the rule reaches, once for each kind."""
        reaches = {
            kind: reach(kind, classes=self.classes, reveal=self.reveal, withhold=self.withhold) for kind in self.kinds
        }
        object.__setattr__(self, "reaches", MappingProxyType(reaches))

    def covers(self, *, kind: str, tlp: str) -> bool:
        """Say whether kind and marking are within the rule; an unknown value of either is not."""
        return kind in self.kinds and tlp in TLPS and TLPS.index(tlp) <= TLPS.index(self.max_tlp)


@dataclass(frozen=True, slots=True)
class Never:
    """A rule of the floor: takes fields away, or the whole record where it names none.

    `partners` empty means every partner. `reason` replaces the share rule's
    for the fields that it takes.
    """

    name: str
    line: int
    kinds: frozenset[str]
    min_tlp: str
    condition: Condition | None = None
    partners: frozenset[OrgId] = frozenset()
    fields: frozenset[str] = frozenset()
    reason: str = ""
    taken: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the fields that the rule takes, once for each kind."""
        taken = {kind: covered_leaves(kind, self.fields) for kind in self.kinds}
        object.__setattr__(self, "taken", MappingProxyType(taken))

    def covers(self, *, kind: str, tlp: str, partner: OrgId) -> bool:
        """Say whether the rule speaks about such a record and partner."""
        if kind not in self.kinds or (self.partners and partner not in self.partners):
            return False
        return tlp not in TLPS or TLPS.index(tlp) >= TLPS.index(self.min_tlp)


@dataclass(frozen=True, slots=True)
class Accept:
    """What is taken from a partner."""

    kinds: frozenset[str]
    max_per_hour: int


@dataclass(frozen=True, slots=True)
class Policy:
    """One partner's file. `expires` is in unix seconds; `digest` is the SHA-256 of the text in hex."""

    partner: OrgId
    agreement: str
    expires: int | None
    shares: tuple[Share, ...]
    accept: Accept | None
    file: str
    digest: str


@dataclass(frozen=True, slots=True)
class Floor:
    """What the whole organisation never shares, whatever a partner's file says."""

    nevers: tuple[Never, ...]
    file: str
    digest: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a policy file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        """Return place and message on one line."""
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policy files of a home; `digests` has every file read, also those with problems."""

    policies: Mapping[OrgId, Policy]
    floor: Floor | None
    problems: tuple[Problem, ...]
    digests: Mapping[str, str]
