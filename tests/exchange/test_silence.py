"""Nothing that does not go shows: neither what policy hides, nor what waits, nor that anything was decided about it."""

from dataclasses import replace

import pytest

from tests.exchange.parties import APPROVED, HELD, OPEN, A, B, C, policy_set
from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.exchange.publish import queue_partners
from tocsin.policy.model import PolicySet

EMBARGO = {"embargo": {"state": "agreed", "until": "2027-01-01T00:00:00Z"}}
ACCEPT = '[accept]\nkinds = ["*"]\nmax_per_hour = 2000\n'

# What does not go to lab-b.example, by its policy and what is posted.
HIDDEN = {
    "nothing else": (OPEN, None),
    "a record beyond the rule": (OPEN, lambda a: a.post(tlp="RED")),
    "a record for another": (OPEN, lambda a: a.post(to=[C])),
    "a record under embargo": (OPEN, lambda a: a.post(EMBARGO)),
    "a record that is held": (HELD, lambda a: a.post()),
    "a record that waits for people": (APPROVED, lambda a: a.post()),
    "a record that people said no to": (APPROVED, lambda a: (a.post(), a.decide(*a.proposals(), approve=False))),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_a_partner_sees_the_same_whatever_does_not_go(a, case):
    """Two records go; between them is what does not."""
    rules, hide = HIDDEN[case]
    a.post({"title": "one"})
    first = a.page_for(B)
    a.set_policies(lab_b=rules)
    if hide is not None:
        hide(a)
        assert a.page_for(B, first.cursor) is None
    a.set_policies(lab_b=OPEN)
    a.post({"title": "two"}, partners=())
    seen = queue_partners(a.office, [B], now=NOW) if hide is None else None
    assert first.cursor.endswith(".1")
    assert not first.more
    assert seen in (None, {B: 1})


@pytest.mark.parametrize("case", HIDDEN)
def test_numbers_are_dense_and_pages_alike_whatever_does_not_go(a, case):
    rules, hide = HIDDEN[case]
    open_yet = policy_set({B: OPEN + ACCEPT, C: OPEN + ACCEPT})
    a.policies = open_yet
    a.publish(make_record({"title": "one"}, by=a.founded))
    a.set_policies(lab_b=rules)
    if hide is not None:
        hide(a)
    last = make_record({"title": "two"}, by=a.founded)
    a.policies = open_yet if hide is None or rules == OPEN else a.policies
    if rules == OPEN:
        a.publish(last)
    page = a.page_for(B)
    expected = 2 if rules == OPEN else 0
    assert [entry.sequence for entry in page.entries] == list(range(1, expected + 1)) if page else expected == 0
    assert page is None or not page.more


NOBODY = {
    "a partner without a policy": lambda policies: replace(policies, policies={}),
    "a floor that is not in order": lambda policies: replace(policies, floor=None),
    "an empty set": lambda policies: PolicySet({}, None, (), {}),
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


def test_a_marking_that_nobody_knows_is_not_sent(a):
    record = a.post()
    strange = replace(record, tlp="MAUVE")
    assert (
        not a.office.decide(strange, partner=B, now=NOW).delivered
        or a.office.decide(record, partner=B, now=NOW).delivered
    )


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
