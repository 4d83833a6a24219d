"""What comes in is stored once, with the cursor; what is bad in it is refused, and nothing stops the feed."""

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest

from tests.exchange import notary
from tests.exchange.pages import ANOTHER_FEED, FEED, a_tag, cursor, further, log, page_of, proved, raw, raw_of
from tests.exchange.parties import HOUR, NARROW, A, B, C, founded
from tests.store.making import make_record, record_id
from tests.support.organisations import NOW
from tocsin.errors import (
    IdentityOutdated,
    NotPermitted,
    OriginStopped,
    PeerMisbehaved,
    QuotaExceeded,
    RecordExpired,
    StaleCursor,
)
from tocsin.exchange import chain, check, receive
from tocsin.exchange.check import Terms, check_entries
from tocsin.exchange.entry import PageEntry
from tocsin.exchange.outbox import Limits
from tocsin.exchange.quota import QUOTA_SECONDS
from tocsin.exchange.receipt import load_receipt, verify_receipt_of_page
from tocsin.policy.clauses import Accept
from tocsin.release.ledger import entry_of
from tocsin.store.intake import SqliteIntake
from tocsin.store.model import EntryKind, Standing, WithheldPath
from tocsin.watch.origins import Watch

EVERY = frozenset({"finding", "incident", "evaluation"})


def refusals(party, peer=A):
    return [(refusal.sequence, refusal.reason) for refusal in party.store.intake.refusals(peer)]


class TestOrder:
    def test_the_same_page_again_changes_nothing(self, a, b):
        a.post()
        page = a.page_for(B)
        first = b.take(page)
        before = b.state()
        again = b.take(page, now=NOW)
        assert (again.cursor, again.records, again.unchanged) == (first.cursor, 0, 1)
        assert b.state() == before

    def test_a_page_for_another_is_refused(self, a, b, c):
        a.post()
        before = c.state()
        with pytest.raises(PeerMisbehaved, match="another audience"):
            c.take(a.page_for(B))
        assert c.state() == before

    def test_a_hole_is_refused(self, a, b):
        for number in range(3):
            a.post({"title": f"n{number}"})
        one = a.page_for(B, limits=Limits(entries=1))
        two = a.page_for(B, one.cursor, limits=Limits(entries=1))
        three = a.page_for(B, two.cursor)
        for page in (two, three):
            before = b.state()
            with pytest.raises(PeerMisbehaved, match="stored only up to 0"):
                b.take(page)
            assert b.state() == before
        b.take(one)
        with pytest.raises(PeerMisbehaved, match="stored only up to 1"):
            b.take(three)
        b.take(two)
        assert b.take(three).records == 1

    def test_a_page_that_overlaps_brings_what_is_new_in_it(self, a, b):
        a.post({"title": "one"})
        b.take(a.page_for(B))
        a.post({"title": "two"})
        received = b.take(a.page_for(B))
        assert (received.records, received.unchanged) == (1, 0)
        assert received.cursor.split(".")[1] == "2"

    def test_a_new_feed_of_a_known_peer_begins_at_its_beginning(self, b):
        record = make_record()
        b.take(page_of(record))
        with pytest.raises(PeerMisbehaved):
            b.take(page_of(make_record(), first=2, feed=ANOTHER_FEED))
        received = b.take(page_of(record, make_record(), feed=ANOTHER_FEED))
        assert (received.records, received.unchanged) == (1, 1)

    def test_two_that_take_the_same_page_at_once_store_it_once(self, a, b):
        for number in range(20):
            a.post({"title": f"n{number}"})
        page, outcomes = a.page_for(B), []
        threads = [threading.Thread(target=lambda: outcomes.append(b.take(page))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(received.records for received in outcomes) == [0, 0, 0, 20]
        assert b.store.records.counts().received == 20

    def test_a_page_that_another_call_stored_meanwhile_brings_nothing_more(self, a, b, monkeypatch):
        a.post()
        page, verify, first = a.page_for(B), receive.check_entries, []

        def verify_late(*args, **kwargs):
            if not first:  # between looking at the cursor and the commit
                with monkeypatch.context() as patch:
                    patch.setattr(receive, "check_entries", verify)
                    first.append(b.take(page))
                before.extend(b.state())
            return verify(*args, **kwargs)

        before = []
        monkeypatch.setattr(receive, "check_entries", verify_late)
        late = b.take(page)
        assert (first[0].records, late.records, late.unchanged) == (1, 0, 1)
        assert late.cursor == first[0].cursor
        assert b.state() == before

    def test_the_cursor_moves_with_the_records_or_not_at_all(self, a, b, monkeypatch):
        a.post()
        page, before = a.page_for(B), b.state()

        def fail(*args, **kwargs):
            raise OSError("no space")

        with monkeypatch.context() as patch:
            patch.setattr(SqliteIntake, "move", fail)
            with pytest.raises(OSError, match="no space"):
                b.take(page)
        assert b.state() == before
        assert b.take(page).records == 1

    def test_no_record_is_verified_inside_the_transaction(self, a, b, monkeypatch):
        a.post()
        page, inside = a.page_for(B), []
        verify = check._check_entry
        monkeypatch.setattr(
            check,
            "_check_entry",
            lambda *args, **kwargs: (inside.append(b.store._db._writing_thread), verify(*args, **kwargs))[1],
        )
        b.take(page)
        assert inside == [None]


class TestRefusals:
    def test_a_bad_record_stops_nothing_and_leaves_nothing_but_its_verdict(self, b):
        good, forged = make_record(), make_record()
        flipped = forged.token.replace("~", "~" + "WyJhIiwiYiIsImMiXQ~", 1)
        received = b.take(page_of(raw(forged, flipped), good))
        assert (received.records, received.refused) == (1, 1)
        assert refusals(b) == [(1, "BAD_DISCLOSURE")]
        assert b.store.records.token(forged.digest) is None
        assert received.cursor == cursor(2)

    BAD: ClassVar = {
        "another organisation's record": (lambda: make_record(by=founded(C)), "KEY_NOT_OF_ISSUER"),
        "an expired record": (lambda: make_record(exp=NOW - 1000), "NOT_VALID_NOW"),
        "a token that is no record": (lambda: raw_of("e30.e30.AA~"), "BAD_ALG"),
        "a key binding where none is expected": (lambda: raw_of(make_record().token + "e30.e30.AA"), "BAD_FORM"),
    }

    @pytest.mark.parametrize("case", BAD)
    def test_each_refusal_says_why(self, b, case):
        make, reason = self.BAD[case]
        received = b.take(page_of(make()))
        assert (received.records, received.refused) == (0, 1)
        assert refusals(b) == [(1, reason)]
        assert b.store.records.counts().received == 0

    def test_kinds_that_policy_does_not_accept_are_refused(self, a, b):
        a.post()
        b.accept(A, Accept(frozenset({"incident"}), 10))
        assert b.take(a.page_for(B)).refused == 1
        assert refusals(b) == [(1, "NOT_PERMITTED")]

    def test_nothing_at_all_is_taken_where_policy_accepts_nothing(self, a, b):
        a.post()
        del b.policies.policies[A]
        before = b.state()
        with pytest.raises(NotPermitted) as refused:
            b.take(a.page_for(B))
        assert refused.value.reason == "NOT_PERMITTED"
        assert b.state() == before

    def test_further_disclosures_of_what_is_not_held_are_refused(self, b):
        assert b.take(page_of(further(make_record(), "prompts"))).refused == 1
        assert refusals(b) == [(1, "BAD_FORM")]

    def test_disclosures_that_do_not_belong_leave_the_holding_as_it_was(self, b):
        record, other = make_record(), make_record()
        little = record.present(frozenset({"title"}))
        theirs = other.disclosures_for(frozenset({"title"}))
        stray = PageEntry(0, EntryKind.DISCLOSURES, record.digest, disclosures=theirs)
        received = b.take(page_of(raw(record, little), stray))
        assert (received.records, received.refused) == (1, 1)
        assert b.store.records.token(record.digest) == little


class TestGrowing:
    def test_what_is_held_is_the_union_of_what_came(self, b):
        record = make_record()
        title, summary = (record.present(frozenset({path})) for path in ("title", "summary"))
        b.take(page_of(raw(record, title), raw(record, summary)))
        assert b.store.records.get(record.digest).content.keys() == {"finding_kind", "title", "summary"}
        received = b.take(page_of(raw(record, title), first=3))
        assert (received.unchanged, received.disclosures) == (1, 0)
        received = b.take(page_of(further(record, "prompts"), first=4))
        assert received.disclosures == 1
        assert b.store.records.get(record.digest).content["prompts"] == record.content["prompts"]

    def test_what_is_held_is_not_called_withheld(self, b):
        record = make_record()
        told = (WithheldPath("prompts", "infohazard"), WithheldPath("title", ""))
        entry = raw(record, record.present(frozenset({"title"})), withheld=told)
        b.take(page_of(entry))
        assert b.store.intake.withheld(record.digest) == (("prompts", "infohazard", 0),)
        b.take(page_of(further(record, "prompts"), first=2))
        assert b.store.intake.withheld(record.digest) == ()

    def test_versions_arrive_in_any_order(self, b):
        name = record_id("out of order")
        two = make_record({"title": "two"}, record_id=name, version=2)
        one = make_record({"title": "one"}, record_id=name)
        b.take(page_of(two, one))
        assert b.store.records.find(name).digest == two.digest
        assert b.store.records.get(one.digest).standing is Standing.REPLACED


class TestEquivocation:
    """Two records under one id and version."""

    @pytest.fixture
    def pair(self):
        name = record_id("equivocation")
        return [make_record({"title": title}, record_id=name) for title in ("to b", "to c")]

    def refused(self, b, page):
        """Return the kinds of what is held against the sender of a page, of which nothing is taken."""
        before = b.state()
        with pytest.raises(OriginStopped) as refused:
            b.take(page)
        assert refused.value.reason == "ORIGIN_STOPPED"
        assert b.state() == before
        return [row.kind for row in b.store.logs.evidence(A)]

    def test_an_origin_whose_log_has_both_is_stopped_before_either_is_taken(self, b, pair):
        assert self.refused(b, page_of(*pair)) == ["entries"]

    def test_an_origin_whose_log_has_the_other_one_is_stopped_as_well(self, b, pair):
        logged, hidden = pair
        b.take(page_of(logged))
        page = page_of(raw(hidden, hidden.token, proof=notary.prove(A, entry_of(logged))), first=2)
        assert self.refused(b, page) == ["record"]
        assert b.store.records.get(logged.digest).standing is Standing.CURRENT

    def go_on_with(self, b):
        """Take from A again, as people say it, and read its log anew."""
        b.store.logs.resume(A, now=b.now)
        b.store.logs.cut(A, 0)
        b.now += 1

    def test_what_people_have_gone_on_with_does_not_stop_it_again(self, b, pair):
        page = page_of(*pair)
        assert self.refused(b, page) == ["entries"]
        self.go_on_with(b)
        received = b.take(page_of(*pair, make_record(), now=b.now))
        assert (received.records, received.refused) == (2, 1)
        assert refusals(b) == [(2, "EQUIVOCATION")]
        assert {b.store.records.get(record.digest).standing for record in pair} == {Standing.EQUIVOCAL}

    def test_nor_when_others_find_out_later(self, b, c, pair):
        self.refused(b, page_of(*pair))
        self.go_on_with(b)
        b.take(page_of(make_record(), now=b.now))
        c.now = b.now = b.now + HOUR
        with pytest.raises(OriginStopped):
            c.take(page_of(*pair, now=c.now, audience=C))
        b.hears(c)
        assert (b.store.logs.get(A).stopped, len(b.store.logs.evidence(A))) == ("", 1)

    def test_a_third_record_does(self, b, pair):
        self.refused(b, page_of(*pair))
        self.go_on_with(b)
        b.take(page_of(*pair, now=b.now))
        third = make_record({"title": "to d"}, record_id=pair[0].record_id)
        assert self.refused(b, page_of(third, first=3, now=b.now)) == ["entries", "entries"]

    def test_nor_does_a_record_that_its_log_does_not_have(self, b, pair):
        logged, hidden = pair
        b.take(page_of(logged))
        proof = notary.prove(A, entry_of(logged))
        assert self.refused(b, page_of(raw(hidden, hidden.token, proof=proof), first=2)) == ["record"]
        self.go_on_with(b)
        received = b.take(page_of(raw(hidden, hidden.token, proof=proof), make_record(), first=2, now=b.now))
        assert (received.records, received.refused) == (1, 1)
        assert refusals(b) == [(2, "NOT_INCLUDED")]
        assert b.store.records.get(logged.digest).standing is Standing.CURRENT

    def test_one_that_was_taken_before_there_were_logs_is_kept_as_evidence_with_the_other(self, b, pair):
        b.store.records.add(pair[0], received_from=A, now=NOW)
        received = b.take(page_of(pair[1]))
        assert (received.records, received.refused) == (0, 1)
        assert refusals(b) == [(1, "EQUIVOCATION")]
        assert {b.store.records.get(record.digest).standing for record in pair} == {Standing.EQUIVOCAL}
        assert len(b.store.records.equivocations()) == 1


class TestQuota:
    @pytest.fixture
    def few(self, b):
        b.accept(A, Accept(EVERY, 3))
        return b

    def test_over_quota_is_refused_before_any_record_is_looked_at(self, few, monkeypatch):
        few.take(page_of(*(make_record() for _ in range(3))))
        before = few.state()
        monkeypatch.setattr(receive, "check_entries", None)
        with pytest.raises(QuotaExceeded) as refused:
            few.take(page_of(make_record(), first=4))
        assert refused.value.reason == "QUOTA_EXCEEDED"
        assert int(refused.value.metadata["retry_after_seconds"]) > 0
        assert few.state() == before

    def test_what_fits_is_stored_and_the_rest_comes_later(self, few):
        page = page_of(*(make_record() for _ in range(5)))
        received = few.take(page)
        assert (received.records, received.cursor) == (3, cursor(3))
        assert [one.sequence for one in received.receipt.verdicts] == [1, 2, 3]
        with pytest.raises(QuotaExceeded):
            few.take(page)
        received = few.take(page, now=NOW + QUOTA_SECONDS + 1)
        assert (received.records, few.cursor_of(A)) == (2, cursor(5))

    def test_bytes_count_as_well(self, b):
        b.accept(A, Accept(EVERY, 1000, max_mb_per_hour=1))
        large = [make_record({"prompts": ["x" * 16_000] * 25}) for _ in range(3)]
        page = page_of(*large)
        assert b.take(page).records == 1
        with pytest.raises(QuotaExceeded) as refused:
            b.take(page)
        assert refused.value.reason == "QUOTA_EXCEEDED"

    def test_void_entries_cost_nothing(self, few):
        voids = [PageEntry(0, EntryKind.VOID)] * 9
        assert few.take(page_of(*voids, make_record())).unchanged == 9

    def test_a_feed_that_is_read_again_has_no_quota_of_its_own(self, few):
        few.take(page_of(*(make_record() for _ in range(2))))
        few.store.intake.forget(A)
        few.take(page_of(*(make_record() for _ in range(2))))
        assert few.store.records.counts().received == 3

    def test_feeds_under_two_names_have_one_quota(self, few):
        for feed in (FEED, ANOTHER_FEED):
            few.take(page_of(make_record(), feed=feed))
        few.take(page_of(make_record()))
        with pytest.raises(QuotaExceeded) as refused:
            few.take(page_of(make_record(), feed=ANOTHER_FEED))
        assert refused.value.reason == "QUOTA_EXCEEDED"
        assert few.store.records.counts().received == 3

    def test_refused_records_cost_as_much_as_good_ones(self, few):
        few.take(page_of(*(make_record(exp=NOW - 1000) for _ in range(3))))
        with pytest.raises(QuotaExceeded):
            few.take(page_of(make_record(), first=4))


def test_entries_are_verified_by_a_function_that_stores_nothing(b):
    record = make_record()
    little = record.present(frozenset({"title"}))
    entries = [*map(proved, log([raw(record, little), further(record, "prompts")]))]
    notary.read_on(b, A)
    before = b.state()
    watch = Watch(b.office, b.origin, now=NOW)
    sender = founded(A).organisation
    terms = Terms(sender, B, Accept(EVERY, 10), lambda org: None, lambda digest: None, watch, b.office, NOW)
    assert [set(item.record.content) for item in check_entries(entries, terms)] == [
        {"finding_kind", "title"},
        {"finding_kind", "title", "prompts"},
    ]
    assert b.state() == before


class TestTime:
    """One of two clocks is wrong: nothing of it is lost."""

    def test_a_page_ends_before_what_is_from_the_future(self, b):
        early = make_record(now=NOW + 1000)
        page = page_of(make_record(), early, make_record())
        received = b.take(page)
        assert (received.records, received.refused, received.cursor) == (1, 0, cursor(1))
        before = b.state()
        with pytest.raises(RecordExpired) as refused:
            b.take(page)
        assert refused.value.reason == "NOT_VALID_NOW"
        assert int(refused.value.metadata["retry_after_seconds"]) > 0
        assert b.state() == before
        assert b.take(page, now=NOW + 1000).records == 2

    def test_a_page_ends_before_what_the_sender_signed_with_a_key_that_is_not_known_yet(self, b):
        newer = make_record(by=SimpleNamespace(organisation=founded(A).organisation, record=founded(C).record))
        received = b.take(page_of(make_record(), newer))
        assert (received.records, received.refused) == (1, 0)
        before = b.state()
        with pytest.raises(IdentityOutdated, match="a key that is not in its identity document") as caught:
            b.take(page_of(newer, first=2))
        assert caught.value.reason == "IDENTITY_OUTDATED"
        assert b.state() == before

    def test_a_page_from_the_future_is_not_taken(self, b):
        before = b.state()
        with pytest.raises(PeerMisbehaved, match="future"):
            b.take(page_of(make_record(), now=NOW + 1000))
        assert b.state() == before


class TestStatements:
    def test_a_page_that_states_more_than_it_discloses_is_not_taken(self, b):
        record = make_record()
        entry = replace(raw(record, record.present(frozenset({"title"}))), disclosed=("prompts", "title"))
        before = b.state()
        with pytest.raises(PeerMisbehaved, match="does not disclose"):
            b.take(page_of(make_record(), entry))
        assert b.state() == before

    def test_every_page_has_a_receipt_that_is_signed_with_it(self, a, b):
        for number in range(3):
            a.post({"title": f"n{number}"})
        page = a.page_for(B)
        receipt = b.take(page).receipt
        assert b.receipts_for(A) == (receipt.statement,)
        stated = verify_receipt_of_page(receipt, page.statement, sender=founded(A).organisation)
        assert [entry["digest"] for entry in stated.entries] == [verdict.digest for verdict in receipt.verdicts]

    def test_receipts_hang_together(self, b):
        given = [b.take(page_of(make_record(), first=place)).receipt for place in (1, 2, 3)]
        assert [receipt.number for receipt in given] == [1, 2, 3]
        assert [receipt.previous for receipt in given] == ["", given[0].digest, given[1].digest]
        assert len({receipt.chain for receipt in given}) == 1

    def test_a_page_of_which_everything_is_held_has_no_second_receipt(self, b):
        page = page_of(make_record())
        b.take(page)
        assert b.take(page).receipt is None
        assert len(b.receipts_for(A)) == 1

    def test_a_receipt_says_what_was_refused_and_why(self, b):
        receipt = b.take(page_of(make_record(exp=NOW - 1000), make_record())).receipt
        assert [(one.outcome, one.reason) for one in receipt.verdicts] == [("refused", "NOT_VALID_NOW"), ("stored", "")]
        assert receipt.refused == 1

    def test_no_receipt_without_what_it_is_about(self, b, monkeypatch):
        def fail(*args, **kwargs):
            raise OSError("no space")

        before = b.state()
        with monkeypatch.context() as patch:
            patch.setattr(receive, "give_receipt", fail)
            with pytest.raises(OSError, match="no space"):
                b.take(page_of(make_record()))
        assert b.state() == before


class TestChain:
    def sign_again(self, b, **more):
        chain.begin_chain(b.store, A, signer=b.founded.delivery, random=b.office.random, now=NOW + 60, **more)
        return [load_receipt(statement) for statement in b.receipts_for(A)]

    @pytest.fixture
    def given(self, b):
        return [b.take(page_of(make_record(), first=place)).receipt for place in (1, 2, 3)]

    def test_what_is_signed_again_says_the_same_in_another_chain(self, b, given):
        again = self.sign_again(b)
        assert [one.verdicts for one in again] == [one.verdicts for one in given]
        assert [one.number for one in again] == [1, 2, 3]
        assert [one.previous for one in again] == ["", again[0].digest, again[1].digest]
        assert {one.chain for one in again}.isdisjoint({one.chain for one in given})

    def test_one_that_is_never_taken_is_left_out(self, b, given):
        assert [one.first for one in self.sign_again(b, but=given[0].digest)] == [2, 3]

    def test_what_was_taken_is_not_given_again(self, b, given):
        b.store.receipts.taken(A, given[1].digest)
        assert [one.first for one in self.sign_again(b)] == [3]

    def behind(self, b, last):
        office = b.office
        statements = chain.pending_behind(b.store, A, last, signer=b.founded.delivery, random=office.random, now=NOW)
        return [load_receipt(statement) for statement in statements]

    def test_a_sender_is_given_what_is_behind_the_one_that_it_holds(self, b, given):
        assert self.behind(b, "") == given
        assert self.behind(b, given[0].digest) == given[1:]
        assert self.behind(b, given[2].digest) == []

    def test_a_sender_that_holds_another_than_we_think_gets_a_chain_that_begins(self, b, given):
        b.store.receipts.taken(A, given[0].digest)
        behind = self.behind(b, "")  # its store was put back to before the first
        assert [(one.number, one.first) for one in behind] == [(1, 2), (2, 3)]

    def test_a_message_holds_no_more_than_it_may(self, b, given, monkeypatch):
        monkeypatch.setattr(chain, "MOST_CHARACTERS", len(given[0].statement) + 1)
        assert b.receipts_for(A) == (given[0].statement,)


class TestPushed:
    """Where the sender chooses where a page begins, it is told where it has to."""

    def refused(self, b, page):
        before = b.state()
        with pytest.raises(StaleCursor) as refused:
            b.take(page, pushed=True)
        assert refused.value.reason == "STALE_CURSOR"
        assert b.state() == before
        return refused.value.metadata["cursor"]

    def test_a_page_that_follows_is_taken(self, b):
        b.take(page_of(make_record()), pushed=True)
        assert b.take(page_of(make_record(), first=2), pushed=True).records == 1

    def test_a_page_with_a_hole_before_it_is_told_the_place(self, b):
        assert self.refused(b, page_of(make_record(), first=2)) == ""
        b.take(page_of(make_record()))
        assert self.refused(b, page_of(make_record(), first=3)) == cursor(1)

    def test_the_same_page_again_changes_nothing(self, b):
        page = page_of(make_record())
        b.take(page, pushed=True)
        assert b.take(page, pushed=True).unchanged == 1

    def test_a_page_that_begins_earlier_brings_what_is_new_in_it(self, b):
        one, two = make_record(), make_record()
        b.take(page_of(one), pushed=True)
        assert b.take(page_of(one, two), pushed=True).records == 1

    def test_a_sender_whose_store_was_put_back_is_told_so(self, b):
        b.take(page_of(*(make_record() for _ in range(3))))
        assert self.refused(b, page_of(make_record())) == cursor(3)
        numbered_again = replace(raw_of(make_record().token), tag=a_tag())
        assert self.refused(b, page_of(numbered_again, make_record(), first=3)) == cursor(3)

    def test_a_new_feed_begins_at_its_beginning(self, b):
        b.take(page_of(make_record()))
        assert self.refused(b, page_of(make_record(), first=2, feed=ANOTHER_FEED)) == cursor(1)
        assert b.take(page_of(make_record(), feed=ANOTHER_FEED), pushed=True).records == 1


def test_a_peer_learns_nothing_from_what_is_withheld_from_it(a, b, c):
    """Canaries in every field that policy withholds are nowhere in the receiver's store."""
    canaries = [f"canary{number:03}" for number in range(4)]
    a.set_policies(lab_b=NARROW)
    a.post(
        {
            "subjects": [{"kind": "model", "name": canaries[0], "version": canaries[1]}],
            "prompts": [canaries[2]],
            "infohazard_detail": canaries[3],
        }
    )
    a.post({"title": "never for b"}, to=[C])
    b.pull(a)
    with b.store.transaction():
        dump = "\n".join(b.store._db._database.conn.iterdump())
    assert "Prompt injection" in dump
    assert not [canary for canary in [*canaries, "never for b"] if canary in dump]
