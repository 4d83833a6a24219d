"""This module holds the clauses of policy files, as values that are ready to decide by.

    Policy                   policies/<partner>.toml
    ├── shares: Share…       first match wins
    └── accept: Accept       what is taken from the partner
    Floor                    policies/floor.toml
    ├── nevers: Never…       can only take away
    └── requires: Require…   can only ask for more people

Moments are unix seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tocsin.identity.names import OrgId
from tocsin.policy.condition import Condition
from tocsin.policy.reach import Reach, covered_leaves, reach
from tocsin.schema.contract import TLPS, Disclosure

RANKS: Mapping[str, int] = MappingProxyType({tlp: rank for rank, tlp in enumerate(TLPS)})
"""How restrictive each marking is; one that is not here is known to nobody."""

RELAYED_TLPS: Final = TLPS[: RANKS["GREEN"] + 1]
"""Under others no record is passed on, whatever its origin or a policy allows: TLP:AMBER ends with who was sent it."""
MOST_RELAYED_CLASS: Final = Disclosure.COMMUNITY
"""Further fields are between the origin and those it sent them to."""

DEFAULT_MAX_MB_PER_HOUR: Final = 256
"""Megabytes (2^20 bytes) an hour taken from a partner whose file says nothing: 2000 records of 128 KiB."""


@dataclass(frozen=True, slots=True)
class Share:
    """A rule that lets records go: matchers first, then which of their fields, then what they wait for.

    A rule that is `relayed` speaks of what other organisations issued, and of
    nothing else; one that is not, of our own records. `kinds` is spelled out
    (never `*`). `reveal` adds NAMED fields for
    recipients named for the record. `withhold` counts until `withhold_until`,
    or for good. `reason` and `name_withheld` are for the partner: why fields
    stay, and whether it is told which. `hold` is seconds after issue,
    `approvals` how many further people must agree.
    """

    name: str
    line: int
    kinds: frozenset[str]
    max_tlp: str
    classes: Disclosure
    condition: Condition | None = None
    reveal: frozenset[str] = frozenset()
    withhold: frozenset[str] = frozenset()
    withhold_until: int | None = None
    reason: str = ""
    name_withheld: bool = False
    hold: int = 0
    approvals: int = 0
    relayed: bool = False
    reaches: Mapping[str, Reach] = field(init=False, repr=False, compare=False)
    unbound: Mapping[str, Reach] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the fields that the rule reaches, once for each kind: with `withhold`, and when that is over."""
        reaches = self._reaches(self.withhold)
        unbound = reaches if self.withhold_until is None else self._reaches(frozenset())
        object.__setattr__(self, "reaches", reaches)
        object.__setattr__(self, "unbound", unbound)

    @property
    def tlps(self) -> tuple[str, ...]:
        """Return the markings that the rule covers, the least restrictive first."""
        most = TLPS[: RANKS[self.max_tlp] + 1]
        return tuple(tlp for tlp in most if tlp in RELAYED_TLPS) if self.relayed else most

    def covers(self, *, kind: str, tlp: str, own: bool) -> bool:
        """Say whether a record is of the rule's side, and kind and marking within it; an unknown value is not."""
        return self.relayed is not own and kind in self.kinds and tlp in self.tlps

    def reach(self, kind: str, *, now: int) -> Reach:
        """Return what the rule does to the fields of a kind at a moment."""
        is_over = self.withhold_until is not None and self.withhold_until <= now
        return (self.unbound if is_over else self.reaches)[kind]

    def _reaches(self, withhold: frozenset[str]) -> Mapping[str, Reach]:
        """Return what the rule does to the fields of each of its kinds where it withholds these."""
        most = MOST_RELAYED_CLASS if self.relayed else None
        reaches = {
            kind: reach(kind, classes=self.classes, reveal=self.reveal, withhold=withhold, most=most)
            for kind in self.kinds
        }
        return MappingProxyType(reaches)


@dataclass(frozen=True, slots=True)
class Never:
    """A rule of the floor: takes fields away, or the whole record where it names none.

    `partners` empty means every partner; `until` that it is over from then on.
    `reason` replaces the share rule's for the fields that it takes.
    """

    name: str
    line: int
    kinds: frozenset[str]
    min_tlp: str
    condition: Condition | None = None
    partners: frozenset[OrgId] = frozenset()
    fields: frozenset[str] = frozenset()
    reason: str = ""
    until: int | None = None
    taken: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the fields that the rule takes, once for each kind."""
        taken = {kind: covered_leaves(kind, self.fields) for kind in self.kinds}
        object.__setattr__(self, "taken", MappingProxyType(taken))

    def covers(self, *, kind: str, tlp: str, partner: OrgId, now: int) -> bool:
        """Say whether the rule speaks about such a record and partner at a moment."""
        if self.until is not None and self.until <= now:
            return False
        return _speaks_of(self, kind=kind, tlp=tlp, partner=partner)


@dataclass(frozen=True, slots=True)
class Require:
    """A rule of the floor: so many further people must agree before such a record goes."""

    name: str
    line: int
    kinds: frozenset[str]
    min_tlp: str
    approvals: int
    condition: Condition | None = None
    partners: frozenset[OrgId] = frozenset()

    def covers(self, *, kind: str, tlp: str, partner: OrgId) -> bool:
        """Say whether the rule speaks about such a record and partner."""
        return _speaks_of(self, kind=kind, tlp=tlp, partner=partner)


@dataclass(frozen=True, slots=True)
class Accept:
    """What is taken from a partner.

    `relayed`: also what others issued and it passes on. `legal_hold`: an
    origin that asks us to delete is answered that what it sent is withdrawn,
    and kept, since the law here does not let us delete.
    """

    kinds: frozenset[str]
    max_per_hour: int
    max_mb_per_hour: int = DEFAULT_MAX_MB_PER_HOUR
    relayed: bool = False
    legal_hold: bool = False

    @property
    def max_bytes_per_hour(self) -> int:
        """Return the most bytes of pages that are taken in an hour."""
        return self.max_mb_per_hour * 2**20


@dataclass(frozen=True, slots=True)
class Policy:
    """One partner's file. `digest` is the SHA-256 of the text in hex."""

    partner: OrgId
    agreement: str
    expires: int | None
    shares: tuple[Share, ...]
    accept: Accept | None
    file: str
    digest: str

    moments: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note the moments at which the policy by itself comes to say something else."""
        limits = (self.expires, *(share.withhold_until for share in self.shares))
        object.__setattr__(self, "moments", tuple(limit for limit in limits if limit is not None))

    @property
    def relays(self) -> bool:
        """Say whether a rule lets records of other organisations go on to the partner."""
        return any(share.relayed for share in self.shares)


@dataclass(frozen=True, slots=True)
class Floor:
    """What holds for the whole organisation, whatever a partner's file says."""

    nevers: tuple[Never, ...]
    file: str
    digest: str
    requires: tuple[Require, ...] = ()

    moments: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note the moments at which the floor by itself comes to say something else."""
        limits = tuple(never.until for never in self.nevers if never.until is not None)
        object.__setattr__(self, "moments", limits)


def _speaks_of(rule: Never | Require, *, kind: str, tlp: str, partner: OrgId) -> bool:
    """Say whether a record and partner are within a rule of the floor: an unknown marking is above all others."""
    if kind not in rule.kinds or (rule.partners and partner not in rule.partners):
        return False
    return tlp not in RANKS or RANKS[tlp] >= RANKS[rule.min_tlp]
