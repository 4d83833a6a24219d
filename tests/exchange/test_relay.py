"""What others issued is passed on where origin, marking, policy and receiver agree: fewer fields, no loops."""

import pytest

from tests.exchange.parties import OPEN, RELAYED, A, B, C
from tests.support.organisations import NOW
from tests.watch.branches import entry
from tocsin.exchange import outbox
from tocsin.exchange.outbox import Limits
from tocsin.exchange.page import PAGE_TYPE
from tocsin.exchange.receive import read_again
from tocsin.policy.clauses import Accept
from tocsin.records.jws import parse_claims, parse_jws
from tocsin.records.retraction import Action
from tocsin.store.model import PeerState, RecordFilter, Standing
from tocsin.tlog.log import TransparencyLog

EVERY = frozenset({"finding", "incident", "evaluation"})
NEWS = OPEN + RELAYED
TAKES = Accept(EVERY, 2000, relayed=True)


@pytest.fixture
def line(a, b, c):
    """Return three parties in a line: a and c exchange nothing, but c holds a's identity; b passes on what it may."""
    c.store.peers.set_state(A, PeerState.KNOWN)
    a.store.peers.set_state(C, PeerState.SUSPENDED)
    b.set_policies(lab_a=NEWS, aisi=NEWS)
    c.accept(B, TAKES)
    a.accept(B, TAKES)
    return a, b, c


def claims(page):
    return parse_claims(parse_jws(page.statement, typ=PAGE_TYPE))["entries"]


def shown(party):
    return sorted(record.title for record in party.store.records.list(RecordFilter()).records)


def test_a_record_goes_on_with_its_origins_signature_and_what_is_for_the_community(line):
    a, b, c = line
    record = a.post(relay="community", partners=[B])
    b.pull(a)
    (entry,) = claims(b.page_for(C))
    assert entry["origin"] == A, "the hop is stated"
    c.pull(b)
    at_b, at_c = (party.store.records.get(record.digest) for party in (b, c))
    assert (at_c.issuer, at_c.received_from) == (A, B)
    assert at_c.content["subjects"] == [{"kind": "model"}, {"kind": "agent"}]
    assert at_c.content.keys() <= at_b.content.keys()
    assert c.store.intake.withheld(record.digest) == ()


@pytest.mark.parametrize(
    "draft", [{}, {"relay": "none"}, {"relay": "community", "tlp": "AMBER"}], ids=["unsaid", "no", "a marking above"]
)
def test_what_its_origin_or_its_marking_keeps_goes_no_further(line, draft):
    a, b, _ = line
    a.post(partners=[B], **draft)
    b.pull(a)
    assert shown(b) != []
    assert b.page_for(C) is None


def test_what_cannot_be_proved_does_not_stand_in_the_way_of_what_can(line, monkeypatch):
    """Nothing is read of its origin's log any more: people have gone on with that after it was caught."""
    monkeypatch.setattr(outbox, "MOST_CONSIDERED", 1)
    a, b, _ = line
    passed_on = a.post(relay="community", partners=[B])
    b.pull(a)
    own = b.post(partners=[C])
    b.store.logs.cut(A, 0)
    assert [entry.digest for entry in b.page_for(C).entries] == [own.digest]
    b.hears(a)
    assert [entry.digest for entry in b.page_for(C).entries] == [own.digest, passed_on.digest]


@pytest.mark.parametrize("considered", [1, 1024])
def test_what_an_origin_has_taken_out_of_its_log_stands_in_nobodys_way(line, monkeypatch, considered):
    """It shows a log again, under another key perhaps, that has something else."""
    monkeypatch.setattr(outbox, "MOST_CONSIDERED", considered)
    a, b, _ = line
    for number in range(3):
        a.post({"title": f"n{number}"}, relay="community", partners=[B])
    b.pull(a)
    own = b.post(partners=[C])
    b.store.logs.cut(A, 0)
    TransparencyLog(b.store.logs, A).append([entry("something else")], now=NOW)
    b.store.logs.set_checkpoint(A, "", signed=1, now=NOW)
    page = b.page_for(C, limits=Limits(entries=1))
    assert [each.digest for each in page.entries] == [own.digest]
    assert b.page_for(C, page.cursor) is None
    assert b.store.feeds.waiting(C) == 3, "it may be there again"


def test_nothing_comes_back_to_its_origin_nor_to_whom_it_came_from(line):
    a, b, c = line
    a.post(relay="community", partners=[B])
    b.pull(a)
    c.set_policies(lab_b=NEWS, lab_a=NEWS)
    c.accept(B, TAKES)
    c.pull(b)
    assert b.page_for(A) is None
    assert c.page_for(B) is None
    assert c.page_for(A) is None


@pytest.mark.parametrize(
    ("reason", "prepare"),
    [
        pytest.param("NOT_PERMITTED", lambda c: c.accept(B, Accept(EVERY, 2000)), id="a policy that does not take it"),
        pytest.param(
            "KEY_NOT_OF_ISSUER",
            lambda c: c.store.peers.set_state(A, PeerState.PENDING),
            id="an origin whose fingerprint nobody confirmed",
        ),
        pytest.param(
            "KEY_NOT_OF_ISSUER", lambda c: c.store.peers.set_state(A, PeerState.REMOVED), id="an origin that is gone"
        ),
    ],
)
def test_who_does_not_take_it_or_does_not_know_its_origin_refuses_it_and_goes_on(line, reason, prepare):
    a, b, c = line
    prepare(c)
    a.post(relay="community", partners=[B])
    b.pull(a)
    b.post({"title": "our own"}, partners=[C])
    c.pull(b)
    assert [refusal.reason for refusal in c.store.intake.refusals(B)] == [reason]
    assert shown(c) == ["our own"]

    c.store.peers.set_state(A, PeerState.KNOWN)
    c.accept(B, TAKES)
    assert read_again(c.store, B)
    c.pull(b)
    assert len(shown(c)) == 2
    assert not read_again(c.store, B), "nothing is left that was refused for it"


def test_what_was_there_before_the_rule_goes_when_the_rule_is_applied(line):
    a, b, c = line
    b.set_policies(aisi=OPEN)
    record = a.post(relay="community", partners=[B])
    b.pull(a)
    assert b.page_for(C) is None
    assert b.apply(aisi=NEWS) == {C: 1}
    c.pull(b)
    assert c.store.records.get(record.digest).standing is Standing.CURRENT


@pytest.mark.parametrize("action", [Action.WITHDRAW, Action.PURGE])
def test_a_retraction_goes_the_same_way_whatever_the_relays_policy_says_by_then(line, action):
    a, b, c = line
    record = a.post(relay="community", partners=[B])
    b.pull(a)
    c.pull(b)
    b.set_policies(aisi="")
    a.retract(record, action)
    b.pull(a)
    c.pull(b)
    for party in (b, c):
        held = party.store.records.get(record.digest)
        assert held.standing is (Standing.WITHDRAWN if action is Action.WITHDRAW else Standing.PURGED)
        assert bool(held.token) is (action is Action.WITHDRAW)


def test_a_record_that_comes_by_two_ways_is_one_with_the_fields_of_both(line):
    a, b, c = line
    record = a.post(relay="community", partners=[B])
    b.pull(a)
    c.pull(b)
    a.store.peers.set_state(C, PeerState.ACTIVE)
    c.store.peers.set_state(A, PeerState.ACTIVE)
    a.store.feeds.queue(C, record.digest, now=a.now)
    (received,) = c.pull(a)
    assert (received.records, received.refused) == (0, 0)
    assert shown(c) == [record.content["title"]]
    assert c.store.records.get(record.digest).content["subjects"] == record.content["subjects"]
