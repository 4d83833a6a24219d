"""Random records under random policies: what is delivered is what thirty independent lines allow."""

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy import reference
from tests.policy.holdings import NOW, OTHER, PARTNER, floor, holding, never, policy, share, when
from tocsin.policy.decide import Decision, Denial, decide
from tocsin.policy.reach import leaves
from tocsin.schema.contract import KINDS, TLPS, Disclosure

# Each condition beside what it means, over fields that all kinds have; None is unknown.
CONDITIONS = {
    "": lambda content: True,
    'title == "x"': lambda content: content.get("title", "") == "x",
    'summary != "x"': lambda content: content.get("summary", "") != "x",
    'embargo.until < timestamp("2030-01-01T00:00:00Z")': lambda content: (
        True if "until" in content.get("embargo", {}) else None
    ),
    'has(embargo.until) || title == "x"': lambda content: (
        "until" in content.get("embargo", {}) or content.get("title", "") == "x"
    ),
    "1 / (size(title) - 1) == 1": lambda content: None if "title" in content else False,
}
COMPILED = {text: when(text, *KINDS) for text in CONDITIONS if text}
STRANGE = ("new", "subjects[*].new", "embargo.new.deep", "title_copy", "steps[*].description_2")
PATHS = {kind: sorted(leaves(kind)) for kind in KINDS}
GROUPS = {kind: sorted({box for leaf in leaves(kind).values() for box in leaf.containers}) for kind in KINDS}


def content_of(paths: Iterable[str]) -> dict[str, Any]:
    """Return content that has exactly the leaves given."""
    content: dict[str, Any] = {}
    for path in paths:
        *groups, name = path.split(".")
        inner = content
        for group in groups:
            empty: Any = [{}] if group.endswith("[*]") else {}
            found = inner.setdefault(group.removesuffix("[*]"), empty)
            inner = found[0] if isinstance(found, list) else found
        inner[name] = "2026-01-01T00:00:00Z" if name == "until" else "x"
    return content


class Drawn:
    """A record, and rules as plain mappings that fit it more often than not, all from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - nothing is secret here, and the seed says it all
        self.kind = self.one_of(*KINDS)
        self.somewhere = PATHS[self.kind] + GROUPS[self.kind]
        self.record = holding(
            content_of(self.some([*PATHS[self.kind], *STRANGE], 40)), kind=self.kind, tlp=self.one_of(*TLPS)
        )
        self.shares = [self.share() for _ in range(self.one_of(0, 1, 2, 3, 4))]
        self.floor = self.rarely(None, [self.never() for _ in range(self.one_of(0, 0, 1, 2))])
        self.policy = {"partner": PARTNER, "expires": self.rarely(NOW, self.one_of(None, NOW + 1))}
        self.asked = {
            "partner": self.rarely(OTHER, PARTNER),
            "recipients": self.rarely(frozenset({OTHER}), frozenset(self.one_of((), (PARTNER,), (PARTNER, OTHER)))),
            "granted": self.some(self.somewhere, 20),
            "now": NOW,
            "own": self.rarely(False, True),
        }

    def decide(self) -> Decision:
        rules = policy(*(share(**compiled(rule)) for rule in self.shares), **self.policy)
        below = None if self.floor is None else floor(*(never(**compiled(rule)) for rule in self.floor))
        return decide(self.record, policy=rules, floor=below, **self.asked)

    def allowed(self) -> set[str]:
        rules = self.policy | {"shares": [with_meaning(rule) for rule in self.shares]}
        below = None if self.floor is None else [with_meaning(rule) for rule in self.floor]
        return reference.allowed(self.record, policy=rules, floor=below, **self.asked)

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
        }

    def never(self) -> dict[str, Any]:
        return {
            "kinds": self.one_of(frozenset(KINDS), frozenset(KINDS) - {self.kind}),
            "min_tlp": self.one_of(*TLPS),
            "when": self.one_of(*CONDITIONS),
            "fields": self.rarely(frozenset(), self.some(self.somewhere, 20)),
        }


@settings(max_examples=3000)
@given(st.integers(0, 2**64))
def test_what_is_delivered_is_what_the_reference_allows(seed):
    drawn = Drawn(seed)
    decision, allowed, contract = drawn.decide(), drawn.allowed(), leaves(drawn.kind)
    assert {path for path in decision.disclosed if path in contract} == allowed
    assert decision.delivered is bool(allowed)
    assert decision.disclosed - allowed == {box for path in allowed for box in contract[path].containers}, "orphans"
    assert decision.disclosed <= drawn.record.paths


@settings(max_examples=1000)
@given(st.integers(0, 2**64))
def test_what_is_told_to_be_withheld_is_nothing_that_goes_and_nothing_local(seed):
    drawn = Drawn(seed)
    decision, contract = drawn.decide(), leaves(drawn.kind)
    for found in decision.withheld:
        assert found.path in drawn.record.paths - decision.disclosed
        inside = {path for path in contract if path == found.path or found.path in contract[path].containers}
        assert any(contract[path].disclosure < Disclosure.LOCAL for path in inside & drawn.record.paths)


def test_the_drawn_cases_reach_every_way_to_decide():
    denials = Counter(Drawn(seed).decide().denial for seed in range(500))
    assert set(denials) == {None, *Denial}
    assert denials[None] > 150


def with_meaning(rule: dict[str, Any]) -> dict[str, Any]:
    return rule | {"when": CONDITIONS[rule["when"]]}


def compiled(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rule.items() if name != "when"} | {"condition": COMPILED.get(rule["when"])}
