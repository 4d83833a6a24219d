"""This module makes what a node holds of a record, as far as policy looks at it, without signing anything."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from tocsin.identity.names import OrgId
from tocsin.policy.clauses import Accept, Floor, Never, Policy, Require, Share
from tocsin.policy.condition import Complaint, Condition, compile_condition
from tocsin.records.envelope import NO_RELAY, Downgrade, Envelope
from tocsin.records.record import VerifiedRecord
from tocsin.schema.contract import KINDS, Disclosure

OURS = OrgId("lab-a.example")
PARTNER = OrgId("lab-b.example")
OTHER = OrgId("aisi.example")
THIRD = OrgId("university.example")
NOW = 1_800_000_000

FINDING: dict[str, Any] = {
    "title": "A title",
    "finding_kind": "vulnerability",
    "severity": "high",
    "summary": "A summary",
    "details": "Details",
    "hazard_category": ["cyber"],
    "subjects": [
        {"kind": "model", "name": "M", "version": "3", "checkpoint": "m3-rc1"},
        {"kind": "system", "name": "S"},
    ],
    "prompts": ["one", "two"],
    "poc": "code",
    "evidence": [{"name": "log.txt", "custody": ["somebody"]}],
    "infohazard_detail": "never",
    "discoverers": [{"name": "nobody"}],
}
EVERYTHING = frozenset(KINDS)


@dataclass(frozen=True, slots=True)
class Holding:
    """The attributes of a VerifiedRecord that policy reads."""

    content: dict[str, Any]
    paths: frozenset[str]
    kind: str = "finding"
    tlp: str = "GREEN"
    status: str = "issued"
    issuer: OrgId = field(default=OURS)
    issued_at: int = NOW
    retention_until: str = ""
    relay: str = NO_RELAY
    downgrade_at: tuple[Downgrade, ...] = ()

    marking_at = Envelope.marking_at

    @property
    def digest(self) -> str:
        return repr(self)


def holding(content: dict[str, Any] | None = None, **envelope: Any) -> VerifiedRecord:
    """Make a holding of some content."""
    content = FINDING if content is None else content
    return cast("VerifiedRecord", Holding(content, frozenset(walk(content)), **envelope))


def walk(value: Any, path: str = "") -> Iterator[str]:
    """Yield the field path of everything in content; an element of a list has the path of the list."""
    if path:
        yield path.removesuffix("[*]")
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from walk(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for element in value:
            yield from walk(element, path + "[*]")


def when(text: str, *kinds: str) -> Condition:
    """Compile a condition, about findings where no kind is named."""
    complaints: list[Complaint] = []
    condition = compile_condition(text, kinds=kinds or ("finding",), complaints=complaints)
    assert condition is not None, complaints
    return condition


def share(**changes: Any) -> Share:
    """Make a rule that shares whatever a partner may get without being named."""
    values: dict[str, Any] = {
        "name": "open",
        "line": 3,
        "kinds": EVERYTHING,
        "max_tlp": "RED",
        "classes": Disclosure.PARTNER,
    }
    return Share(**values | changes)


def never(**changes: Any) -> Never:
    """Make a rule of the floor that covers everything."""
    return Never(**{"name": "stop", "line": 2, "kinds": EVERYTHING, "min_tlp": "CLEAR"} | changes)


def require(**changes: Any) -> Require:
    """Make a demand of the floor for one approval of everything."""
    values: dict[str, Any] = {"name": "", "line": 2, "kinds": EVERYTHING, "min_tlp": "CLEAR", "approvals": 1}
    return Require(**values | changes)


def policy(*shares: Share, **changes: Any) -> Policy:
    """Make a policy for the partner."""
    values: dict[str, Any] = {
        "partner": PARTNER,
        "agreement": "MOU 7",
        "expires": None,
        "shares": shares,
        "accept": Accept(EVERYTHING, 2000),
        "file": f"{PARTNER}.toml",
        "digest": "",
    }
    return Policy(**values | changes)


def floor(*rules: Never | Require) -> Floor:
    """Make a floor."""
    nevers = tuple(rule for rule in rules if isinstance(rule, Never))
    requires = tuple(rule for rule in rules if isinstance(rule, Require))
    return Floor(nevers, "floor.toml", "", requires)
