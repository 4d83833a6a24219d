"""Nothing that does not go shows: neither what policy hides, nor what waits, nor that anything was decided about it.

The log of its issuer says that something was issued, and no more (docs/threats.md, "What shows, and to whom").
"""

from dataclasses import replace

import pytest

from tests.exchange.parties import APPROVED, HELD, OPEN, A, B, C
from tests.support.organisations import NOW
from tocsin.policy.model import PolicySet

EMBARGO = {"embargo": {"state": "agreed", "until": "2027-01-01T00:00:00Z"}}

# Records marked CLEAR go at once; what is marked otherwise goes by the second rule, if at all.
AT_ONCE = OPEN.replace('"AMBER"', '"CLEAR"').replace('"open"', '"at once"')
HIDDEN = {
    "nothing": ("", lambda a: None),
    "a record beyond the rules": (OPEN, lambda a: a.post(tlp="RED")),
    "a record for another": (OPEN, lambda a: a.post(to=[C])),
    "a record under embargo": (OPEN, lambda a: a.post(EMBARGO)),
    "a record that is held": (HELD, lambda a: a.post()),
    "a record that waits for people": (APPROVED, lambda a: a.post()),
    "a record that people said no to": (APPROVED, lambda a: (a.post(), a.decide(*a.proposals(), approve=False))),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_a_partner_sees_the_same_whatever_does_not_go(a, case):
    rules, hide = HIDDEN[case]
    a.set_policies(lab_b=AT_ONCE + rules)
    a.post({"title": "one"}, tlp="CLEAR")
    first = a.page_for(B)
    hide(a)
    assert a.page_for(B, first.cursor) is None
    assert a.store.feeds.get(B).head == 1
    a.post({"title": "two"}, tlp="CLEAR")
    second = a.page_for(B, first.cursor)
    assert [entry.sequence for entry in second.entries] == [2]
    assert (first.more, second.more) == (False, False)
    assert a.page_for(B, second.cursor) is None


@pytest.mark.parametrize("case", HIDDEN)
def test_the_log_shows_that_something_was_issued_and_nothing_of_it(a, b, case):
    rules, hide = HIDDEN[case]
    a.set_policies(lab_b=AT_ONCE + rules)
    b.hears(a)
    hide(a)
    b.hears(a)
    entries = b.store.logs.entries(A, start=0, limit=10)
    assert [len(entry) for entry in entries] == ([] if case == "nothing" else [64])
    for row in a.store._db.rows("SELECT issuer, record_id, digest FROM records"):
        assert not any(str(word).encode() in entry for word in row for entry in entries)


NOBODY = {
    "a partner without a policy": lambda policies: replace(policies, policies={}),
    "a floor that is not in order": lambda policies: replace(policies, floor=None),
    "an empty set": lambda policies: PolicySet({}, None, ()),
    "a policy of another partner": lambda policies: replace(policies, policies={B: policies.policies[C]}),
    "an agreement that has expired": lambda policies: replace(
        policies, policies={B: replace(policies.policies[B], expires=NOW)}
    ),
    "a rule for no kind": lambda policies: replace(
        policies,
        policies={
            B: replace(policies.policies[B], shares=(replace(policies.policies[B].shares[0], kinds=frozenset()),))
        },
    ),
}


@pytest.mark.parametrize("case", NOBODY)
@pytest.mark.parametrize("agreed", [False, True], ids=["queued", "agreed to"])
def test_nothing_is_sent_by(a, case, agreed):
    if agreed:
        a.set_policies(lab_b=APPROVED)
    record = a.post()
    if agreed:
        a.decide(*a.proposals())
    a.policies = NOBODY[case](a.policies)
    assert a.page_for(B) is None
    assert a.store.feeds.sent(B, record.digest) is None


def test_a_recipient_that_is_nobody_is_not_everybody(a):
    a.post(to=["nobody.example"])
    for partner in (B, C):
        assert a.page_for(partner) is None


def test_who_looks_at_it_is_not_told_to_the_partner(a, b):
    a.set_policies(lab_b=APPROVED)
    a.post()
    a.decide(*a.proposals())
    page = a.page_for(B)
    text = str(page)
    for name in ("releaser-1", "analyst-1", a.proposals(open_only=False)[0].id):
        assert name not in text
    assert b.take(page, sender=A).records == 1
