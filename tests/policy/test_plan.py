from dataclasses import replace

import pytest

from tests.policy.holdings import NOW, OTHER, PARTNER, floor, holding, never, policy, share
from tocsin.policy.model import PolicySet
from tocsin.policy.plan import Change, compare
from tocsin.schema.contract import Disclosure

WIDE = share()
NARROW = share(classes=Disclosure.COMMUNITY)


def of(*shares, ground=None) -> PolicySet:
    """Make a set; its digests are told by what it says."""
    rules, below = policy(*shares, digest=repr(shares)), floor() if ground is None else ground
    return PolicySet({PARTNER: rules}, replace(below, digest=repr(below)), ())


def weigh(before: PolicySet, after: PolicySet, **changes) -> Change | None:
    asked = {"partner": PARTNER, "recipients": frozenset(), "granted": frozenset(), "now": NOW} | changes
    return compare(holding(), before=before, after=after, **asked)


def test_a_loosened_rule_releases_the_fields_that_did_not_go():
    change = weigh(of(NARROW), of(WIDE))
    assert change is not None
    assert change.released == {"details", "subjects[*].name", "subjects[*].version"}
    assert (change.stopped, change.whole) == (frozenset(), False)


def test_a_tightened_rule_stops_the_same():
    loosened, tightened = weigh(of(NARROW), of(WIDE)), weigh(of(WIDE), of(NARROW))
    assert tightened is not None
    assert loosened is not None
    assert (tightened.stopped, tightened.released) == (loosened.released, loosened.stopped)


def test_a_new_rule_releases_the_record():
    change = weigh(of(), of(WIDE))
    assert change is not None
    assert change.whole
    assert "title" in change.released
    assert "finding_kind" not in change.released, "what stands open in every record is not released by a rule"


@pytest.mark.parametrize(
    ("released", "before", "after"),
    [
        (True, share(approvals=1), share()),
        (True, share(hold=3600), share()),
        (False, share(), share(approvals=1)),
        (False, share(), share(hold=3600)),
    ],
)
def test_waiting_less_is_a_release_and_waiting_more_a_stop(released, before, after):
    change = weigh(of(before), of(after))
    assert change is not None
    assert bool(change.released) is released
    assert bool(change.stopped) is not released


def test_a_hold_that_is_over_is_no_difference():
    assert weigh(of(share(hold=3600)), of(share()), now=NOW + 3600) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(of(WIDE), of(WIDE), id="the same files"),
        pytest.param(of(NARROW), of(replace(NARROW, name="renamed")), id="another name"),
        pytest.param(of(), of(share(max_tlp="CLEAR")), id="a rule that does not cover it"),
    ],
)
def test_nothing_changes(before, after):
    assert weigh(before, after) is None


def test_the_floor_counts_like_the_policy():
    change = weigh(of(WIDE), of(WIDE, ground=floor(never(partners=frozenset({PARTNER})))))
    assert change is not None
    assert change.whole
    assert weigh(of(WIDE), of(WIDE, ground=floor(never(partners=frozenset({OTHER}))))) is None
