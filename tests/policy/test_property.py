"""Random records under random policies: what is delivered is what fifty independent lines allow."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy import reference
from tests.policy.holdings import NOW, OTHER, OURS, PARTNER, THIRD, floor, holding, never, policy, require, share, when
from tocsin.policy.clauses import RELAYED_TLPS, Floor, Policy
from tocsin.policy.decide import Decision, Denial, decide
from tocsin.policy.reach import leaves
from tocsin.records.envelope import Downgrade
from tocsin.records.record import VerifiedRecord
from tocsin.schema.contract import KINDS, TLPS, Disclosure

# Each condition beside what it means for an own record, over fields that all kinds have and the marking, and what it
# reads: where one of them is missing, nothing is known of another's record. None is unknown.
CONDITIONS = {
    "": (lambda content, tlp: True, ""),
    'title == "x"': (lambda content, tlp: content.get("title", "") == "x", "title"),
    'summary != "x"': (lambda content, tlp: content.get("summary", "") != "x", "summary"),
    'tlp in ["GREEN", "CLEAR"]': (lambda content, tlp: tlp in {"GREEN", "CLEAR"}, ""),
    'embargo.until < timestamp("2030-01-01T00:00:00Z")': (
        lambda content, tlp: True if "until" in content.get("embargo", {}) else None,
        "embargo.until",
    ),
    'has(embargo.until) || title == "x"': (
        lambda content, tlp: "until" in content.get("embargo", {}) or content.get("title", "") == "x",
        "embargo.until title",
    ),
    "1 / (size(title) - 1) == 1": (lambda content, tlp: None if "title" in content else False, "title"),
}
COMPILED = {text: when(text, *KINDS) for text in CONDITIONS if text}
STRANGE = ("new", "subjects[*].new", "embargo.new.deep", "title_copy", "steps[*].description_2")
PATHS = {kind: sorted(leaves(kind)) for kind in KINDS}
GROUPS = {kind: sorted({box for leaf in leaves(kind).values() for box in leaf.containers}) for kind in KINDS}


def stamp(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


MOMENTS = (NOW - 1000, NOW - 1, NOW, NOW + 1, NOW + 1000)


def content_of(paths: Iterable[str], until: str) -> dict[str, Any]:
    """Return content that has exactly the leaves given."""
    content: dict[str, Any] = {}
    for path in paths:
        *groups, name = path.split(".")
        inner = content
        for group in groups:
            empty: Any = [{}] if group.endswith("[*]") else {}
            found = inner.setdefault(group.removesuffix("[*]"), empty)
            inner = found[0] if isinstance(found, list) else found
        inner[name] = until if name == "until" else "x"
    return content


class Drawn:
    """A record, and rules as plain mappings that fit it more often than not, all from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - nothing is secret here, and the seed says it all
        self.kind = self.one_of(*KINDS)
        self.own = self.one_of(True, True, False)
        self.somewhere = PATHS[self.kind] + GROUPS[self.kind]
        self.record = self.draw_record()
        self.shares = [self.share() for _ in range(self.one_of(0, 1, 2, 3, 4))]
        rules = [self.never() for _ in range(self.one_of(0, 0, 1, 2))]
        rules += [self.require() for _ in range(self.one_of(0, 0, 1, 2))]
        self.floor = self.rarely(None, rules)
        self.policy = {"partner": PARTNER, "expires": self.rarely(NOW, self.one_of(None, NOW + 1))}
        named = ((), (PARTNER,), (PARTNER, OTHER)) if self.own else ((),)
        self.asked = {
            "partner": self.rarely(OTHER, PARTNER),
            "recipients": self.rarely(frozenset({OTHER}), frozenset(self.one_of(*named))),
            "granted": self.some(self.somewhere, 20),
            "now": self.rarely(NOW - 400, self.one_of(NOW - 1, NOW, NOW + 1)),
            "own": self.own,
        }

    @cached_property
    def files(self) -> tuple[Policy, Floor | None]:
        rules = policy(*(share(**compiled(rule)) for rule in self.shares), **self.policy)
        made = [(never if "fields" in rule else require)(**compiled(rule)) for rule in self.floor or ()]
        return rules, None if self.floor is None else floor(*made)

    def decide(self, **changes: Any) -> Decision:
        rules, below = self.files
        return decide(self.record, policy=rules, floor=below, **self.asked | changes)

    def allowed(self) -> tuple[set[str], int, int] | None:
        rules = self.policy | {"shares": [with_meaning(rule, own=self.own) for rule in self.shares]}
        below = None if self.floor is None else [with_meaning(rule, own=self.own) for rule in self.floor]
        return reference.allowed(self.record, policy=rules, floor=below, **self.asked)

    def draw_record(self) -> VerifiedRecord:
        content = content_of(self.some([*PATHS[self.kind], *STRANGE], 40), stamp(self.one_of(*MOMENTS)))
        if "embargo" in content and self.one_of(True, False):
            content["embargo"]["state"] = self.one_of("agreed", "lifted", "broken")
        tlps = TLPS if self.own else self.rarely(TLPS, self.one_of(RELAYED_TLPS, RELAYED_TLPS, TLPS[:3]))
        ranks = sorted({self.random.randrange(len(tlps)) for _ in range(self.one_of(1, 1, 2, 3))}, reverse=True)
        steps = zip(sorted(self.random.sample(MOMENTS, len(ranks) - 1)), ranks[1:], strict=True)
        return holding(
            content,
            kind=self.kind,
            tlp=TLPS[ranks[0]],
            downgrade_at=tuple(Downgrade(stamp(moment), TLPS[rank]) for moment, rank in steps),
            issuer=OURS if self.own else self.rarely(PARTNER, THIRD),
            relay=self.rarely("none", "community"),
            retention_until=self.rarely(stamp(NOW), self.one_of("", stamp(NOW + 1000))),
        )

    def one_of(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def rarely(self, this: Any, that: Any) -> Any:
        return this if self.random.random() < 0.03 else that

    def some(self, of: list[str], most: int) -> frozenset[str]:
        return frozenset(self.random.sample(of, self.random.randint(0, min(most, len(of)))))

    def share(self) -> dict[str, Any]:
        return {
            "kinds": self.rarely(frozenset(KINDS) - {self.kind}, frozenset(KINDS)),
            "max_tlp": self.one_of("RED", "RED", "RED", *TLPS),
            "when": self.one_of("", "", "", "", *CONDITIONS),
            "classes": self.one_of(Disclosure.ALWAYS, Disclosure.COMMUNITY, Disclosure.PARTNER, Disclosure.PARTNER),
            "reveal": self.some(self.somewhere, 20),
            "withhold": self.some(self.somewhere, 8),
            "withhold_until": self.one_of(None, None, *MOMENTS),
            "hold": self.one_of(0, 0, 3600),
            "approvals": self.one_of(0, 0, 1, 2),
            "relayed": self.rarely(self.own, not self.own),
        }

    def never(self) -> dict[str, Any]:
        fields = self.some(self.somewhere, 20) if self.one_of(*range(8)) else frozenset()
        return self.of_the_floor() | {"fields": fields, "until": self.one_of(None, None, *MOMENTS)}

    def require(self) -> dict[str, Any]:
        return self.of_the_floor() | {"approvals": self.one_of(1, 2, 3)}

    def of_the_floor(self) -> dict[str, Any]:
        return {
            "kinds": self.one_of(frozenset(KINDS), frozenset(KINDS) - {self.kind}),
            "min_tlp": self.one_of(*TLPS),
            "when": self.one_of(*CONDITIONS),
            "partners": self.one_of(frozenset(), frozenset(), frozenset({PARTNER}), frozenset({OTHER})),
        }


MOST = 100_000 if os.environ.get("TOCSIN_FUZZ") else 1500


@pytest.mark.timeout(1800)  # the full run takes minutes
@settings(max_examples=MOST)
@given(st.integers(0, 2**64))
def test_what_is_delivered_is_what_the_reference_allows(seed):
    drawn = Drawn(seed)
    decision, contract = drawn.decide(), leaves(drawn.kind)
    allowed, not_before, approvals = drawn.allowed() or (set(), 0, 0)
    assert {path for path in decision.disclosed if path in contract} == allowed
    assert decision.delivered is bool(allowed)
    assert (decision.not_before, decision.approvals) == (not_before, approvals)
    assert decision.disclosed - allowed == {box for path in allowed for box in contract[path].containers}, "orphans"
    assert decision.disclosed <= drawn.record.paths


@settings(max_examples=MOST // 5)
@given(st.integers(0, 2**64))
def test_nothing_changes_before_the_moment_that_a_decision_names_and_nothing_widens_before_the_other(seed):
    drawn = Drawn(seed)
    decision = drawn.decide()
    near = {moment + after for moment in (*MOMENTS, drawn.asked["now"]) for after in (0, 300)}
    for moment in sorted(moment for moment in near if moment >= drawn.asked["now"]):
        later = drawn.decide(now=moment)
        if decision.valid_until is None or moment < decision.valid_until:
            assert replace(later, withholding=None) == replace(decision, withholding=None)
            assert later.withheld == decision.withheld
        if decision.wider_at is None or moment < decision.wider_at:
            assert later.disclosed <= decision.disclosed
    for found in decision.withheld:
        if found.until:
            assert found.until > drawn.asked["now"]


@settings(max_examples=MOST // 5)
@given(st.integers(0, 2**64))
def test_what_is_told_to_be_withheld_is_nothing_that_goes_and_nothing_local(seed):
    drawn = Drawn(seed)
    decision, contract = drawn.decide(), leaves(drawn.kind)
    for found in decision.withheld:
        assert found.path in drawn.record.paths - decision.disclosed
        inside = {path for path in contract if path == found.path or found.path in contract[path].containers}
        assert any(contract[path].disclosure < Disclosure.LOCAL for path in inside & drawn.record.paths)


def test_the_drawn_cases_reach_every_way_to_decide():
    drawn = [Drawn(seed) for seed in range(900)]
    denials = Counter((one.own, one.decide().denial) for one in drawn)
    assert {denial for _, denial in denials} == {None, *Denial}
    assert denials[True, None] > 120
    assert denials[False, None] > 36


def with_meaning(rule: dict[str, Any], *, own: bool) -> dict[str, Any]:
    meaning, reads = CONDITIONS[rule["when"]]
    needed = () if own else reads.split()

    def holds(content: dict[str, Any], tlp: str) -> bool | None:
        return meaning(content, tlp) if all(is_present(path, content) for path in needed) else None

    return rule | {"when": holds}


def is_present(path: str, content: Any) -> bool:
    name, _, rest = path.partition(".")
    return name in content and (not rest or is_present(rest, content[name]))


def compiled(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rule.items() if name != "when"} | {"condition": COMPILED.get(rule["when"])}
