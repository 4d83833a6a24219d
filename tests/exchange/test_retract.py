"""Whoever holds a version of a record learns that it is over; whoever never got one learns nothing."""

from dataclasses import replace

import pytest

from tests.exchange.pages import without_proof
from tests.exchange.parties import APPROVED, AUTHOR, HELD, NARROW, OPEN, RELAYED, A, B, C
from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.errors import Conflict, NotPermitted, StaleCursor
from tocsin.exchange.outbox import Limits
from tocsin.records.envelope import Downgrade
from tocsin.records.jws import CLOCK_SKEW
from tocsin.records.retraction import Action
from tocsin.store.model import PeerState, Standing
from tocsin.v1 import exchange_service_pb2 as v1

CLEAR_ONLY = OPEN.replace('"AMBER"', '"CLEAR"')


def kinds(page):
    if page is None:
        return []
    return [v1.EntryKind.Name(entry.kind).removeprefix("ENTRY_KIND_").lower() for entry in page.entries]


def fresh(a, partner):
    """Return the kinds of what a partner is sent beyond what it has acknowledged."""
    feed = a.store.feeds.get(partner)
    position = a.store.feeds.position(partner, feed.acknowledged) if feed else None
    cursor = ".".join(map(str, position)) if position and position.sequence else ""
    return kinds(a.page_for(partner, cursor))


def standing(party, record):
    return party.store.records.get(record.digest).standing


class TestTakingBack:
    @pytest.mark.parametrize(
        ("action", "becomes"), [(Action.WITHDRAW, Standing.WITHDRAWN), (Action.PURGE, Standing.PURGED)]
    )
    def test_every_holder_is_told_and_does_as_it_is_asked(self, a, b, c, action, becomes):
        record = a.post(to=[B])
        b.pull(a)
        assert a.retract(record, action, reason="error").told == (B,)
        (brought,) = b.pull(a)
        assert brought.retractions == 1
        assert standing(a, record) is standing(b, record) is becomes
        assert (b.store.records.token(record.digest) is None) == (action is Action.PURGE)
        assert a.page_for(C) is None
        (entry,) = a.logged("retracted")
        assert (entry["person"], entry["details"]["action"], entry["details"]["reason"]) == (AUTHOR, action, "error")

    def test_a_holder_that_policy_lets_have_nothing_any_more_is_told_all_the_same(self, a, b):
        record = a.post()
        b.pull(a)
        for rules in ("", "expires = 2026-01-01T00:00:00Z\n" + OPEN):
            a.set_policies(lab_b=rules)
        a.policies = replace(a.policies, floor=None)
        a.retract(record)
        b.pull(a)
        assert standing(b, record) is Standing.WITHDRAWN

    def test_whoever_never_got_it_learns_nothing(self, a, b, c):
        a.set_policies(aisi=CLEAR_ONLY, lab_b=HELD)
        record = a.post()
        a.retract(record)
        assert a.page_for(B) is None
        assert a.page_for(C) is None
        a.now += 4 * 86_400
        a.keep_time()
        assert a.page_for(B) is None

    def test_who_was_sent_it_and_has_not_taken_it_yet_gets_nothing_of_it(self, a, b):
        record = a.post()
        a.page_for(B)
        a.retract(record, Action.PURGE)
        assert kinds(a.page_for(B)) == ["void", "retraction"]
        b.pull(a)
        assert b.store.records.token(record.digest) is None

    def test_nothing_of_it_is_proposed_or_sent_any_more(self, a):
        a.set_policies(lab_b=APPROVED)
        record = a.post()
        (proposal,) = a.proposals()
        a.retract(record)
        assert a.proposals() == []
        with pytest.raises(Conflict):
            a.decide(proposal)
        assert a.apply(lab_b=OPEN) == {}
        assert a.page_for(B) is None

    def test_a_suspended_partner_is_told_when_it_is_back(self, a, b):
        record = a.post()
        b.pull(a)
        a.store.peers.set_state(B, PeerState.SUSPENDED)
        a.retract(record)
        a.store.peers.set_state(B, PeerState.ACTIVE)
        b.pull(a)
        assert standing(b, record) is Standing.WITHDRAWN

    def test_whoever_has_the_name_of_a_removed_partner_is_told_nothing(self, a, b):
        record = a.post()
        b.pull(a)
        a.store.peers.set_state(B, PeerState.REMOVED)
        assert a.retract(record).told == ()

    def test_a_stronger_one_is_told_as_well_and_the_same_again_is_refused(self, a, b):
        record = a.post()
        b.pull(a)
        a.retract(record)
        b.pull(a)
        a.retract(record, Action.PURGE)
        b.pull(a)
        assert standing(b, record) is Standing.PURGED
        for action in (Action.WITHDRAW, Action.PURGE):
            with pytest.raises(Conflict) as refused:
                a.retract(record, action)
            assert refused.value.reason == "RETRACTED"
        assert b.pull(a) == []

    def test_two_that_were_never_fetched_are_one_entry(self, a, b):
        record = a.post()
        b.pull(a)
        a.retract(record)
        a.retract(record, Action.PURGE)
        assert fresh(a, B) == ["retraction"]
        b.pull(a)
        assert standing(b, record) is Standing.PURGED

    def test_only_the_origin_takes_a_record_back(self, a, b):
        record = a.post()
        b.pull(a)
        with pytest.raises(NotPermitted):
            b.retract(record)

    def test_it_does_not_come_back(self, a, b):
        record = a.post()
        b.pull(a)
        a.retract(record)
        with pytest.raises(Conflict) as refused:
            a.publish(make_record(by=a.founded, record_id=record.record_id, version=2, supersedes=record.digest))
        assert refused.value.reason == "RETRACTED"
        with pytest.raises(Conflict) as refused:
            a.amend(record)
        assert refused.value.reason == "RETRACTED"

    def test_a_retraction_asked_for_again_is_what_it_was(self, a, b):
        record = a.post()
        first = a.page_for(B)
        a.retract(record)
        told = a.page_for(B, first.cursor)
        a.retract(record, Action.PURGE)
        again = a.page_for(B, first.cursor, limits=Limits(entries=1))
        assert without_proof(again.entries[0]) == without_proof(told.entries[0])
        assert again.cursor == told.cursor
        assert kinds(a.page_for(B)) == ["void", "retraction", "retraction"]
        b.pull(a)
        assert b.store.records.token(record.digest) is None
        assert standing(a, record) is Standing.PURGED

    def test_a_clock_that_is_behind_sends_none_and_loses_none(self, a, b):
        record = a.post()
        b.pull(a)
        a.retract(record)
        assert a.page_for(B, b.cursor_of(A), now=NOW - CLOCK_SKEW - 1) is None
        b.pull(a)
        assert standing(b, record) is Standing.WITHDRAWN

    def test_all_of_it_is_stored_or_nothing(self, a, b, monkeypatch):
        record = a.post()
        b.pull(a)
        before = a.state()
        monkeypatch.setattr(type(a.store.feeds), "queue", lambda *_, **__: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            a.retract(record, Action.PURGE)
        assert a.state() == before


class TestAmending:
    def test_whoever_may_have_the_next_version_just_gets_it(self, a, b):
        first = a.post({"title": "one"})
        b.pull(a)
        second, published = a.amend(first, {"title": "two"})
        assert (published.queued, published.told) == ((B, C), ())
        assert fresh(a, B) == ["record"]
        b.pull(a)
        assert standing(b, first) is Standing.REPLACED
        assert b.store.records.get(second.digest).title == "two"
        (entry,) = a.logged("amended")
        assert (entry["digest"], entry["details"]["successor"]) == (first.digest, second.digest)

    def test_whoever_may_not_is_told_that_theirs_is_over_and_how_it_is_marked(self, a, b, c):
        first = a.post(tlp="CLEAR")
        for party in (b, c):
            party.pull(a)
        a.set_policies(lab_b=CLEAR_ONLY)
        second, published = a.amend(first, tlp="AMBER")
        assert (published.queued, published.told) == ((C,), (B,))
        (brought,) = b.pull(a)
        assert (brought.records, brought.retractions) == (0, 1)
        held = b.store.records.get(first.digest)
        assert (held.standing, held.marking) == (Standing.REPLACED, "AMBER")
        assert b.store.records.token(second.digest) is None
        c.pull(a)
        assert standing(c, second) is Standing.CURRENT

    @pytest.mark.parametrize("rules", [HELD, APPROVED], ids=["held", "people must agree"])
    def test_whoever_gets_it_later_is_told_now(self, a, b, rules):
        first = a.post()
        b.pull(a)
        a.set_policies(lab_b=rules)
        second, published = a.amend(first)
        assert (published.waiting, published.told) == ((B,), (B,))
        b.pull(a)
        assert standing(b, first) is Standing.REPLACED
        if rules is HELD:
            a.now += 4 * 86_400
            a.keep_time()
        else:
            a.decide(*a.proposals())
        b.now = a.now
        b.pull(a)
        assert standing(b, second) is Standing.CURRENT

    def test_whoever_has_only_an_older_version_is_told_by_the_newest_correction(self, a, b):
        first = a.post(tlp="CLEAR")
        b.pull(a)
        a.set_policies(lab_b=CLEAR_ONLY)
        second, _ = a.amend(first, tlp="GREEN")
        third, _ = a.amend(second, tlp="AMBER")
        (entry,) = a.page_for(B, b.cursor_of(A)).entries
        assert entry.digest == first.digest
        b.pull(a)
        assert b.store.records.get(first.digest).marking == "AMBER"
        assert a.page_for(B, b.cursor_of(A)) is None
        assert third.version == 3

    def test_a_withdrawal_comes_after_a_correction(self, a, b):
        first = a.post(tlp="CLEAR")
        b.pull(a)
        a.set_policies(lab_b=CLEAR_ONLY)
        second, _ = a.amend(first, tlp="AMBER")
        b.pull(a)
        a.retract(second)
        b.pull(a)
        assert standing(b, first) is Standing.WITHDRAWN

    def test_whoever_never_got_one_learns_nothing(self, a, b):
        a.set_policies(lab_b=CLEAR_ONLY)
        first = a.post(tlp="AMBER")
        _, published = a.amend(first, tlp="AMBER")
        assert (published.queued, published.told) == ((C,), ())
        assert a.page_for(B) is None

    def test_whoever_was_to_get_the_next_version_and_does_not_after_all_is_told(self, a, b):
        first = a.post()
        b.pull(a)
        second, _ = a.amend(first, {"title": "two"})
        assert kinds(a.page_for(B, b.cursor_of(A))) == ["record"], "the page is lost on its way"
        a.apply(lab_b=CLEAR_ONLY)
        b.pull(a)
        assert standing(b, first) is Standing.REPLACED
        assert b.store.records.token(second.digest) is None

    def test_as_is_whoever_was_to_get_it_with_a_page_that_was_never_made(self, a, b):
        first = a.post()
        b.pull(a)
        for title in ("beside it", "and another"):
            a.post({"title": title})
        a.amend(first, {"title": "two"})
        b.take(a.page_for(B, b.cursor_of(A), limits=Limits(entries=2)))
        b.hand_over(a)
        assert len(a.store.feeds.candidates(B, limit=9)) == 1, "the next version waits, and the first is off the queue"
        a.apply(lab_b=CLEAR_ONLY)
        b.pull(a)
        assert standing(b, first) is Standing.REPLACED

    def test_a_version_that_is_not_the_current_one_is_not_amended(self, a):
        first = a.post()
        a.amend(first)
        with pytest.raises(Conflict) as refused:
            a.amend(first, {"title": "again"})
        assert refused.value.reason == "CONFLICT"
        assert len(a.logged("amended")) == 1


class TestFeedBegunAnew:
    def test_holders_are_told_again_what_is_over(self, a, b):
        record = a.post()
        b.pull(a)
        a.retract(record)
        b.pull(a)
        a.store.feeds.renew(B, feed_id="A" * 22, now=NOW)
        with pytest.raises(StaleCursor):
            a.page_for(B, b.cursor_of(A))
        b.store.intake.forget(A)
        (brought,) = b.pull(a)
        assert (brought.retractions, brought.records) == (1, 0)


NOT_PASSED_ON = {
    "its origin keeps it": ({"relay": "none"}, RELAYED),
    "its marking is too high": ({"relay": "community", "tlp": "AMBER"}, RELAYED),
    "the rules are about our own": ({"relay": "community"}, OPEN),
    "there are no rules": ({"relay": "community"}, ""),
}


class TestPassedOn:
    @pytest.fixture
    def passed_on(self, a, b, c):
        """Return a record of A that C has from B; C gets nothing from A."""
        a.set_policies(aisi="")
        b.set_policies(aisi=RELAYED)
        record = a.post(relay="community")
        b.pull(a)
        c.pull(b)
        return record

    def test_a_record_is_passed_on_with_fewer_fields_and_its_origin_is_said(self, b, c, passed_on):
        held = c.store.records.get(passed_on.digest)
        assert (held.issuer, held.received_from) == (A, B)
        assert set(held.token.split("~")) < set(b.store.records.token(passed_on.digest).split("~"))
        assert "prompts" not in held.content
        (sent,) = b.logged("sent")
        assert sent["details"]["origin"] == A

    def test_it_goes_back_to_nobody(self, a, b, c, passed_on):
        a.set_policies(lab_b=RELAYED)
        b.set_policies(lab_a=RELAYED)
        c.set_policies(lab_a=RELAYED, lab_b=RELAYED)
        for party, others in ((b, (a,)), (c, (a, b))):
            party.apply()
            for other in others:
                assert party.page_for(other.org) is None, f"{party.org} to {other.org}"

    def test_it_goes_on_where_a_rule_about_others_comes_in_force_later(self, a, b, c):
        a.set_policies(aisi="")
        record = a.post(relay="community")
        b.pull(a)
        assert c.pull(b) == []
        assert b.apply(aisi=RELAYED) == {C: 1}
        c.pull(b)
        assert c.store.records.get(record.digest).received_from == B

    @pytest.mark.parametrize(("draft", "rules"), NOT_PASSED_ON.values(), ids=NOT_PASSED_ON)
    def test_it_is_not_passed_on_where(self, a, b, c, draft, rules):
        a.set_policies(aisi="")
        b.set_policies(aisi=rules)
        a.post(**draft)
        b.pull(a)
        assert b.page_for(C) is None

    def test_it_is_not_passed_on_where_nobody_vouches_for_the_origin_any_more(self, a, b, c):
        a.set_policies(aisi="")
        b.set_policies(aisi=RELAYED)
        a.post(relay="community")
        b.pull(a)
        b.store.peers.set_state(A, PeerState.REMOVED)
        assert b.page_for(C) is None

    @pytest.mark.parametrize("action", [Action.WITHDRAW, Action.PURGE])
    def test_its_retraction_goes_on_as_well(self, a, b, c, passed_on, action):
        a.retract(passed_on, action)
        b.pull(a)
        (brought,) = c.pull(b)
        assert brought.retractions == 1
        assert standing(c, passed_on) is standing(a, passed_on)

    def test_its_next_version_goes_on_or_else_that_it_is_over(self, a, b, c, passed_on):
        second, _ = a.amend(passed_on, relay="community", partners=[B])
        b.pull(a)
        c.pull(b)
        assert standing(c, second) is Standing.CURRENT
        third, _ = a.amend(second, relay="none", partners=[B])
        b.pull(a)
        c.pull(b)
        assert c.store.records.token(third.digest) is None

    def test_a_lower_marking_lets_it_go_on(self, a, b, c):
        a.set_policies(aisi="")
        b.set_policies(aisi=RELAYED)
        later = "2026-03-08T12:00:00Z"
        record = a.post(relay="community", tlp="AMBER", downgrade_at=(Downgrade(later, "GREEN"),))
        b.pull(a)
        assert b.page_for(C) is None
        b.now = c.now = NOW + 8 * 86_400
        b.keep_time()
        c.pull(b)
        assert c.store.records.get(record.digest).received_from == B

    def test_narrower_rules_make_what_is_asked_for_again_void(self, b, c, passed_on):
        b.set_policies(aisi="")
        assert kinds(b.page_for(C)) == ["void"]
        b.set_policies(aisi=RELAYED + NARROW)
        assert c.pull(b) == []
