"""Random records under random policies: what is delivered is what thirty independent lines allow."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.policy import reference
from tests.policy.holdings import NOW, OTHER, PARTNER, floor, holding, never, policy, share
from tocsin.policy.condition import compile_condition
from tocsin.policy.decide import decide
from tocsin.policy.reach import leaves
from tocsin.schema.contract import KINDS, TLPS, WITHHOLD_REASONS, Disclosure

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
COMPILED = {text: compile_condition(text, kinds=KINDS) for text in CONDITIONS if text}
STRANGE = ("new", "subjects[*].new", "embargo.new.deep", "title_copy", "steps[*].description_2")
PATHS = {kind: sorted(leaves(kind)) for kind in KINDS}
GROUPS = {kind: sorted({box for leaf in leaves(kind).values() for box in leaf.containers}) for kind in KINDS}


def content_of(paths: list[str]) -> dict[str, Any]:
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


def subset(of: list[str], most: int) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(of), max_size=most)


@st.composite
def cases(draw):
    """Draw a record, and rules as plain mappings that fit it more often than not."""
    kind = draw(st.sampled_from(list(KINDS)))
    somewhere = PATHS[kind] + GROUPS[kind]
    kinds = st.sampled_from([frozenset(KINDS), frozenset({kind}), frozenset(KINDS) - {kind}])
    when = st.sampled_from(["", "", "", *CONDITIONS])
    shares = st.fixed_dictionaries({
        "kinds": kinds, "max_tlp": st.sampled_from(TLPS), "when": when,
        "classes": st.sampled_from([Disclosure.ALWAYS, Disclosure.COMMUNITY, Disclosure.PARTNER]),
        "reveal": subset(somewhere, 8), "withhold": subset(somewhere, 4),
        "reason": st.sampled_from(("", *WITHHOLD_REASONS)),
    })  # fmt: skip
    nevers = st.fixed_dictionaries({
        "kinds": kinds, "min_tlp": st.sampled_from(TLPS), "when": when, "fields": subset(somewhere, 4),
    })  # fmt: skip
    return {
        "kind": kind,
        "tlp": draw(st.sampled_from(TLPS)),
        "paths": draw(st.lists(st.sampled_from([*PATHS[kind], *STRANGE]), max_size=25, unique=True)),
        "shares": draw(st.lists(shares, max_size=3)),
        "floor": draw(st.one_of(st.none(), st.lists(nevers, max_size=2))),
        "partner": draw(st.sampled_from([PARTNER] * 9 + [OTHER])),
        "expires": draw(st.sampled_from([None, NOW + 1, NOW])),
        "recipients": draw(st.sampled_from([frozenset(), {PARTNER}, {PARTNER, OTHER}, {OTHER}])),
        "granted": draw(subset(somewhere, 6)),
        "own": draw(st.sampled_from([True] * 9 + [False])),
    }


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_what_is_delivered_is_what_the_reference_allows(case):
    record = holding(content_of(case["paths"]), kind=case["kind"], tlp=case["tlp"])
    named = {"partner": case["partner"], "granted": frozenset(case["granted"]), "now": NOW, "own": case["own"]}
    named["recipients"] = frozenset(case["recipients"])
    decision = decide(record, policy=as_policy(case), floor=as_floor(case["floor"]), **named)

    rules = {"partner": PARTNER, "expires": case["expires"], "shares": [with_meaning(one) for one in case["shares"]]}
    below = None if case["floor"] is None else [with_meaning(one) for one in case["floor"]]
    allowed = reference.allowed(record, policy=rules, floor=below, **named)

    contract = leaves(case["kind"])
    assert {path for path in decision.disclosed if path in contract} == allowed
    assert decision.delivered is bool(allowed)
    assert decision.disclosed - allowed == {box for path in allowed for box in contract[path].containers}, "orphans"
    assert decision.disclosed <= record.paths
    told = {found.path for found in decision.withheld}
    assert not told & decision.disclosed
    assert not any(path in contract and contract[path].disclosure is Disclosure.LOCAL for path in told)
    assert not any("new" in path or path.endswith(("_copy", "_2")) for path in told)


def with_meaning(rule: dict[str, Any]) -> dict[str, Any]:
    return rule | {"when": CONDITIONS[rule["when"]]}


def compiled(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rule.items() if name != "when"} | {"condition": COMPILED.get(rule["when"])}


def as_policy(case: dict[str, Any]):
    return policy(*(share(**compiled(rule)) for rule in case["shares"]), expires=case["expires"])


def as_floor(rules: list[dict[str, Any]] | None):
    return None if rules is None else floor(*(never(**compiled(rule)) for rule in rules))
