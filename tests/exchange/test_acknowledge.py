"""A receipt counts where its giver signed it, for a page that was made for it, behind the last one that is held."""

from dataclasses import replace

import pytest

from tests.exchange.parties import HOUR, OPEN, RELAYED, A, B, C, founded
from tests.support.organisations import NOW, record_key
from tocsin.errors import MalformedRequest, OriginStopped, QuotaExceeded, ReceiptRefused, StaleCursor
from tocsin.exchange import chain, reread
from tocsin.exchange.acknowledge import MOST_LOGGED, MOST_RECEIPTS, last_held, take_receipts
from tocsin.exchange.directory import KnownPeer
from tocsin.exchange.outbox import Limits
from tocsin.exchange.receipt import load_receipt, sign_receipt
from tocsin.exchange.recovery import keep_recovered, what_is_held
from tocsin.exchange.reread import Rereading
from tocsin.exchange.rollback import FEED_SECONDS
from tocsin.records.jws import CLOCK_SKEW
from tocsin.records.retraction import Action
from tocsin.store.model import EntryKind, Outcome, PeerRole, PeerState, Standing, Verdict
from tocsin.store.sqlite import open_store

ONE = Limits(entries=1)


def given(a, b, *, pages=1):
    """Have B take some pages of A, and return its receipts, which A does not have."""
    for number in range(pages):
        a.post({"title": f"page {number}"})
        b.take(a.page_for(B, b.cursor_of(A), limits=ONE))
    return b.receipts_for(A)


def signed(receipt, *, by=B, **changes):
    return sign_receipt(replace(receipt, statement="", **changes), signer=founded(by).delivery).statement


def begin_chain(b):
    """Have B sign what A did not take in another chain."""
    chain.begin_chain(b.store, A, signer=b.founded.delivery, random=b.office.random, now=b.now)


def restore(party, name):
    """Put a party's store back to what was copied under this name."""
    party.store.close()
    folder = name.parent
    for leftover in folder.glob(f"{party.org}.db*"):
        leftover.unlink()
    name.rename(folder / f"{party.org}.db")
    party.store = open_store(folder / f"{party.org}.db")


def go_on_with(party, org):
    """Take from an origin again that was stopped, as people say it."""
    party.store.logs.resume(org, now=party.now)
    party.store.logs.cut(org, 0)


def test_what_is_no_text_of_a_receipt_is_refused_before_anything_is_noted(a):
    with pytest.raises(MalformedRequest) as refused:
        a.take_receipts(["é"], giver=B)
    assert refused.value.reason == "BAD_REQUEST"
    assert a.logged("receipt-refused") == []


class TestTaking:
    def test_receipts_say_what_became_of_each_entry_and_move_the_feed(self, a, b):
        receipts = given(a, b, pages=2)
        a.take_receipts(receipts, giver=B)
        assert a.store.feeds.get(B).acknowledged == 2
        assert last_held(a.store, B) == load_receipt(receipts[-1]).digest
        for entry in a.store.feeds.entries(B, after=0, limit=9):
            (answer,) = a.store.receipts.answers(entry.digest)
            assert (answer.partner, answer.sequence, answer.kind) == (B, entry.sequence, EntryKind.RECORD)
            assert answer.outcome is Outcome.STORED

    def test_the_same_again_changes_nothing(self, a, b):
        receipts = given(a, b, pages=3)
        a.take_receipts(receipts, giver=B)
        before = a.state()
        for again in (receipts, receipts[:1], receipts[1:], receipts[-1:]):
            a.take_receipts(again, giver=B)
        assert a.state() == before

    def test_nothing_is_held_before_the_first(self, a):
        assert last_held(a.store, B) == ""

    def test_a_receipt_for_a_part_of_a_page_moves_the_feed_that_far(self, a, b):
        for number in range(4):
            a.post({"title": f"n{number}"})
        b.accept(A, replace(b.policies.policies[A].accept, max_per_hour=3))
        b.take(a.page_for(B))
        b.hand_over(a)
        assert a.store.feeds.get(B).acknowledged == 3
        a.now = b.now = NOW + HOUR
        b.accept(A, replace(b.policies.policies[A].accept, max_per_hour=9))
        b.pull(a)
        assert a.store.feeds.get(B).acknowledged == 4

    def test_a_chain_that_begins_anew_is_taken(self, a, b):
        first, _ = given(a, b, pages=2)
        a.take_receipts([first], giver=B)
        begin_chain(b)
        b.hand_over(a)
        assert a.store.feeds.get(B).acknowledged == 2
        assert b.receipts_for(A) == ()

    def test_those_before_one_that_is_refused_stay(self, a, b):
        first, second, third = given(a, b, pages=3)
        with pytest.raises(ReceiptRefused):
            a.take_receipts([first, third], giver=B)
        assert a.store.feeds.get(B).acknowledged == 1
        a.take_receipts([second, third], giver=B)
        assert a.store.feeds.get(B).acknowledged == 3

    def test_a_receipt_for_a_feed_that_has_begun_anew_is_kept_and_moves_nothing(self, a, b):
        receipts = given(a, b)
        a.store.feeds.renew(B, feed_id="A" * 22, now=NOW)
        a.take_receipts(receipts, giver=B)
        assert a.store.feeds.get(B).acknowledged == 0
        assert last_held(a.store, B) == load_receipt(receipts[0]).digest


REFUSED = {
    "by another organisation": (lambda good: signed(good, by=C), "BAD_RECEIPT"),
    "of another organisation": (lambda good: signed(good, by=C, issuer=C), "BAD_RECEIPT"),
    "for another": (lambda good: signed(good, audience=C), "BAD_RECEIPT"),
    "from the future": (lambda good: signed(good, issued_at=NOW + CLOCK_SKEW + 1), "BAD_RECEIPT"),
    "changed": (lambda good: good.statement[:-4] + "AAAA", "BAD_RECEIPT"),
    "no receipt": (lambda good: "receipt", "BAD_RECEIPT"),
    "a page": (lambda good: None, "BAD_RECEIPT"),
    "of another feed": (
        lambda good: signed(good, feed_id="A" * 22, cursor=good.cursor.replace(good.feed_id, "A" * 22)),
        "BAD_RECEIPT",
    ),
    "of more than the page has": (lambda good: signed(good, last=2), "BAD_RECEIPT"),
    "of another record": (
        lambda good: signed(good, verdicts=(Verdict(1, Outcome.STORED, digest="D" * 43),)),
        "BAD_RECEIPT",
    ),
    "with another tag": (lambda good: signed(good, cursor=f"{good.feed_id}.1.{'A' * 11}"), "BAD_RECEIPT"),
    "with no tag": (lambda good: signed(good, cursor=f"{good.feed_id}.1"), "BAD_RECEIPT"),
    "without those before it": (lambda good: signed(good, number=2, previous="D" * 43), "BAD_CHAIN"),
    "for what was never sent": (lambda good: signed(good, page="D" * 43), "NEVER_SENT"),
}


class TestRefused:
    @pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED)
    def test_a_receipt_that_says_nothing_of_what_was_sent_is_refused_and_shown(self, a, b, make, reason):
        (good,) = given(a, b)
        before = a.state()
        statement = make(load_receipt(good)) or a.page_for(B).statement
        with pytest.raises(ReceiptRefused) as refused:
            a.take_receipts([statement], giver=B)
        assert refused.value.reason == reason
        assert a.state() == before
        (entry,) = a.logged("receipt-refused")
        assert (entry["partner"], entry["details"]["reason"]) == (B, reason)
        a.take_receipts([good], giver=B)

    @pytest.mark.parametrize("change", [{"number": 3}, {"previous": "D" * 43}, {"chain": "A" * 22}])
    def test_a_receipt_that_does_not_follow_is_refused(self, a, b, change):
        first, second = given(a, b, pages=2)
        a.take_receipts([first], giver=B)
        with pytest.raises(ReceiptRefused) as refused:
            a.take_receipts([signed(load_receipt(second), **change)], giver=B)
        assert refused.value.reason == "BAD_CHAIN"

    def test_another_receipt_in_the_place_of_one_that_is_held_is_refused(self, a, b):
        (good,) = given(a, b)
        a.take_receipts([good], giver=B)
        with pytest.raises(ReceiptRefused) as refused:
            a.take_receipts([signed(load_receipt(good), issued_at=NOW + 1)], giver=B)
        assert refused.value.reason == "BAD_CHAIN"

    def test_a_receipt_of_one_partner_for_the_page_of_another_was_never_sent(self, a, b, c):
        (good,) = given(a, b)
        with pytest.raises(ReceiptRefused) as refused:
            a.take_receipts([signed(load_receipt(good), by=C, issuer=C)], giver=C)
        assert refused.value.reason == "NEVER_SENT"

    def test_a_page_under_a_key_that_was_revoked_since_was_never_sent(self, a, b):
        (good,) = given(a, b)
        ours = a.founded.organisation
        key = record_key(a.founded.delivery, status="revoked", revoked_at=NOW)
        fields = {name: getattr(ours, name) for name in type(ours).__dataclass_fields__}
        revoked = type(ours)(**fields | {"delivery_keys": {key.key_id: key}})
        office = replace(a.office, organisation=revoked)
        peer = KnownPeer(b.founded.organisation, PeerRole.MEMBER, PeerState.ACTIVE)
        with pytest.raises(ReceiptRefused) as refused:
            take_receipts(office, peer, [good], now=NOW)
        assert refused.value.reason == "NEVER_SENT"

    def test_more_than_a_message_holds_are_not_looked_at(self, a):
        with pytest.raises(MalformedRequest):
            a.take_receipts(["x"] * (MOST_RECEIPTS + 1), giver=B)

    def test_the_decision_log_is_no_place_for_a_partner_to_write_to(self, a):
        for _ in range(MOST_LOGGED + 8):
            with pytest.raises(ReceiptRefused):
                a.take_receipts(["x"], giver=B)
        assert len(a.logged("receipt-refused")) == MOST_LOGGED
        a.now += HOUR + 1
        with pytest.raises(ReceiptRefused):
            a.take_receipts(["x"], giver=B)
        assert len(a.logged("receipt-refused")) == MOST_LOGGED + 1


class TestRollback:
    @pytest.fixture
    def put_back(self, a, b, tmp_path):
        """Return A as it was before B took its second record, much later."""
        a.post({"title": "one"})
        b.pull(a)
        copy = tmp_path / "copy"
        a.store.snapshot(copy)
        a.post({"title": "two"})
        b.pull(a)
        restore(a, copy)
        a.now = b.now = NOW + FEED_SECONDS
        return a

    def test_a_cursor_behind_the_head_of_the_feed_shows_it(self, put_back, b):
        before = put_back.store.feeds.get(B).feed_id
        with pytest.raises(StaleCursor) as refused:
            put_back.page_for(B, b.cursor_of(A))
        assert refused.value.reason == "STALE_CURSOR"
        assert put_back.store.feeds.get(B).feed_id != before
        assert len(put_back.logged("rolled-back")) == 1
        assert set(put_back.store.recoveries.open()) == {B, C}

    def test_a_number_that_was_given_again_shows_it_by_its_tag(self, put_back, b):
        other = put_back.post({"title": "another two"})
        page = put_back.page_for(B, f"{b.cursor_of(A).split('.')[0]}.0")
        assert page.entries[-1].digest == other.digest
        with pytest.raises(StaleCursor):
            put_back.page_for(B, b.cursor_of(A))
        assert len(put_back.logged("rolled-back")) == 1
        b.store.intake.forget(A)
        with pytest.raises(OriginStopped) as refused:
            b.pull(put_back)
        assert refused.value.reason == "ORIGIN_STOPPED", "what was signed since is another history"
        assert [row.kind for row in b.store.logs.evidence(A)] == ["fork"]
        go_on_with(b, A)
        put_back.now = b.now = b.now + 1
        b.take(put_back.page_for(B))
        assert b.store.records.token(other.digest) is not None
        with pytest.raises(ReceiptRefused) as refused:
            b.hand_over(put_back)
        assert refused.value.reason == "BAD_CHAIN", "it has forgotten the chain as well"
        begin_chain(b)
        b.hand_over(put_back)
        assert put_back.store.feeds.get(B).acknowledged == 2

    def test_a_receipt_for_what_is_lost_shows_it(self, a, b, tmp_path):
        given(a, b)
        copy = tmp_path / "copy"
        a.store.snapshot(copy)
        receipts = given(a, b)
        restore(a, copy)
        a.now = b.now = NOW + FEED_SECONDS
        with pytest.raises(ReceiptRefused) as refused:
            a.take_receipts(receipts, giver=B)
        assert refused.value.reason == "NEVER_SENT"
        assert len(a.logged("rolled-back")) == 1

    def test_a_partner_that_makes_cursors_up_has_its_feed_made_anew_once_an_hour(self, a, b):
        a.post()
        b.pull(a)
        begun = a.store.feeds.get(B).feed_id
        for _ in range(3):
            with pytest.raises(StaleCursor):
                a.page_for(B, begun + ".7.AAAAAAAAAAA")
        assert a.store.feeds.get(B).feed_id == begun
        assert len(a.logged("rolled-back")) == 1, "the peers are asked all the same, and once"
        a.now += FEED_SECONDS + 1
        names = set()
        for _ in range(3):
            names.add(a.store.feeds.get(B).feed_id)
            with pytest.raises(StaleCursor):
                a.page_for(B, a.store.feeds.get(B).feed_id + ".7.AAAAAAAAAAA")
        assert len(names) == 2
        assert len(a.logged("rolled-back")) == 2

    def test_nobody_who_is_stopped_is_asked(self, put_back, b):
        put_back.store.peers.set_state(C, PeerState.SUSPENDED)
        with pytest.raises(StaleCursor):
            put_back.page_for(B, b.cursor_of(A))
        assert set(put_back.store.recoveries.open()) == {B}

    def test_what_a_peer_gave_back_is_not_sent_as_ours_and_can_be_taken_back(self, a, b, c, tmp_path):
        copy = tmp_path / "copy"
        a.store.snapshot(copy)
        lost = a.post({"title": "lost"}, relay="community", partners=[B])
        b.pull(a)
        restore(a, copy)
        for peer in (b, c):
            a.hears(peer)
        keep_recovered(a.office, B, what_is_held(b.store, A, ""), now=NOW)
        held = a.store.records.get(lost.digest)
        assert (held.received_from, held.standing) == (B, Standing.CURRENT)
        a.set_policies(lab_b=OPEN + RELAYED, aisi=OPEN + RELAYED)
        a.apply()
        for partner in (B, C):
            a.store.feeds.queue(partner, lost.digest, now=NOW)
            assert a.page_for(partner) is None
        assert a.retract(lost, Action.PURGE).told == (B,)
        assert a.page_for(C) is None
        b.store.intake.forget(A)
        b.take(a.page_for(B))
        assert b.store.records.token(lost.digest) is None

    def test_a_retraction_that_was_given_back_goes_to_whoever_it_had_not_reached(self, a, b, c, tmp_path):
        record = a.post()
        b.pull(a)
        c.pull(a)
        copy = tmp_path / "copy"
        a.store.snapshot(copy)
        a.retract(record, Action.PURGE)
        b.pull(a)
        restore(a, copy)
        for peer in (b, c):
            a.hears(peer)
        keep_recovered(a.office, B, what_is_held(b.store, A, "retractions."), now=NOW)
        assert a.store.records.token(record.digest) is None
        c.pull(a)
        assert c.store.records.token(record.digest) is None


class TestReadAgain:
    def test_a_feed_is_read_again_once_an_hour_and_a_little_more(self, a, monkeypatch):
        monkeypatch.setattr(reread, "MOST_BESIDE", 2)
        for number in range(3):
            a.post({"title": f"n{number}"})
        counted = Rereading()
        a.page_for(B, reread=counted)
        for _ in range(2):
            assert len(a.page_for(B, reread=counted).entries) == 3
        with pytest.raises(QuotaExceeded) as refused:
            a.page_for(B, reread=counted)
        assert refused.value.metadata == {"retry_after_seconds": str(HOUR)}
        assert a.page_for(C, reread=counted) is not None
        a.now += HOUR
        assert a.page_for(B, reread=counted) is not None

    def test_what_is_new_is_sent_whatever_was_read_again(self, a, b, monkeypatch):
        monkeypatch.setattr(reread, "MOST_BESIDE", 0)
        a.post()
        counted = Rereading()
        page = a.page_for(B, reread=counted)
        a.page_for(B, reread=counted)
        with pytest.raises(QuotaExceeded):
            a.page_for(B, reread=counted)
        new = a.post()
        (entry,) = a.page_for(B, page.cursor, reread=counted).entries
        assert entry.digest == new.digest

    def test_a_clock_that_was_set_back_locks_nobody_out(self, monkeypatch):
        monkeypatch.setattr(reread, "MOST_BESIDE", 0)
        counted = Rereading()
        counted.count(B, 5, now=NOW)
        with pytest.raises(QuotaExceeded):
            counted.verify(B, head=5, now=NOW + 1)
        counted.verify(B, head=5, now=NOW - 86_400)
