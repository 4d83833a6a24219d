"""Records go from one organisation to others: what policy allows, in order, once, and nothing more."""

import threading
import time
from dataclasses import replace

import pytest

from tests.exchange.pages import without_proof
from tests.exchange.parties import APPROVED, AUTHOR, NARROW, OPEN, A, B, C
from tests.store.making import make_record, record_id
from tests.support.organisations import NOW, found, record_key, signer
from tocsin.errors import Conflict, MalformedCursor, StaleCursor, StoreCorrupt
from tocsin.exchange import outbox
from tocsin.exchange.outbox import Limits
from tocsin.exchange.publish import queue_partners, weigh_queued
from tocsin.exchange.rollback import Place
from tocsin.exchange.status import status_of
from tocsin.records.record import parse_record
from tocsin.release import known
from tocsin.release.presentation import presentation
from tocsin.store.model import PeerState, RecordFilter, Standing
from tocsin.v1 import exchange_service_pb2 as v1

CLEAR = OPEN.replace('"AMBER"', '"CLEAR"')


def kinds(page):
    return [v1.EntryKind.Name(entry.kind).removeprefix("ENTRY_KIND_").lower() for entry in page.entries]


def sequences(page):
    return [entry.sequence for entry in page.entries]


def shown(party):
    return {record.title for record in party.store.records.list(RecordFilter(), page_size=500).records}


def preview(party, record, partner):
    return presentation(record, party.office.decide(record, partner=partner, now=party.now))


class TestDelivery:
    def test_each_partner_gets_what_its_policy_allows_and_the_origins_signature_with_it(self, a, b, c):
        a.set_policies(aisi=NARROW)
        record = a.post()
        for party in (b, c):
            (received,) = party.pull(a)
            assert (received.records, received.refused) == (1, 0)
        at_b, at_c = b.store.records.get(record.digest), c.store.records.get(record.digest)
        assert at_b.content["subjects"] == record.content["subjects"]
        assert at_c.content["subjects"] == [{"kind": "model"}, {"kind": "agent"}]
        assert at_c.title == record.content["title"]
        assert (at_b.issuer, at_b.received_from, at_b.stored_at) == (A, A, NOW)
        for held in (at_b, at_c):
            assert "infohazard_detail" not in held.content
            assert "prompts" not in held.content

    def test_preview_is_delivery_byte_for_byte(self, a, b):
        record = a.post()
        expected = preview(a, record, B)
        (entry,) = a.page_for(B).entries
        assert entry.presentation == expected
        b.pull(a)
        assert b.store.records.get(record.digest).token == expected

    def test_the_receiver_learns_what_was_withheld_and_why_where_policy_names_it(self, a, b):
        record = a.post()
        b.pull(a)
        assert b.store.intake.withheld(record.digest) == (("prompts", "infohazard", 0),)
        a.set_policies(lab_b=NARROW.replace("name_withheld = true", ""))
        silent = a.post()
        b.pull(a)
        assert b.store.intake.withheld(silent.digest) == ()

    def test_a_record_narrowed_to_one_partner_goes_to_no_other(self, a, b, c):
        record = a.post(to=[C])
        assert b.pull(a) == []
        assert [received.records for received in c.pull(a)] == [1]
        assert "prompts" in c.store.records.get(record.digest).content, "named for the record, and revealed by policy"

    def test_hidden_records_leave_no_gap(self, a, b):
        for number in range(6):
            a.post({"title": f"n{number}"}, tlp="RED" if number % 2 else "GREEN")
        page = a.page_for(B)
        assert sequences(page) == [1, 2, 3]
        assert not page.more
        b.pull(a)
        assert shown(b) == {"n0", "n2", "n4"}
        assert a.store.feeds.waiting(B) == 0

    def test_a_second_pull_moves_nothing(self, a, b):
        a.post()
        assert len(b.pull(a)) == 1
        before = b.state()
        assert b.pull(a) == []
        assert b.state() == before
        assert a.store.feeds.get(B).acknowledged == 1

    def test_nothing_is_sent_without_policy_floor_or_agreement(self, a, b):
        for change in ("no policy", "no rule", "expired", "no floor"):
            a.set_policies(lab_b=OPEN)
            record = a.post({"title": change})
            if change == "no policy":
                others = {org: policy for org, policy in a.policies.policies.items() if org != B}
                a.policies = replace(a.policies, policies=others)
            elif change == "no rule":
                a.set_policies(lab_b="")
            elif change == "expired":
                a.set_policies(lab_b="expires = 2026-01-01T00:00:00Z\n" + OPEN)
            else:
                a.policies = replace(a.policies, floor=None)
            assert a.page_for(B) is None, change
            assert a.store.feeds.sent(B, record.digest) is None
            assert a.store.feeds.waiting(B) == 0
        assert a.store.feeds.get(B).head == 0


class TestPages:
    def test_pages_are_bounded_by_count_and_join_without_a_gap(self, a, b):
        for number in range(7):
            a.post({"title": f"n{number}"})
        page = a.page_for(B, limits=Limits(entries=3))
        assert (sequences(page), page.more) == ([1, 2, 3], True)
        assert [received.records for received in b.pull(a, limits=Limits(entries=3))] == [3, 3, 1]
        assert len(shown(b)) == 7

    def test_pages_are_bounded_by_bytes_and_hold_one_entry_at_least(self, a, b):
        for number in range(5):
            a.post({"title": f"n{number}", "summary": "x" * 2000})
        size = a.page_for(B, limits=Limits(entries=2)).ByteSize()
        page = a.page_for(B, limits=Limits(bytes=size * 3 // 2))
        assert 1 <= len(page.entries) < 5
        assert page.ByteSize() <= size * 3 // 2
        assert len(a.page_for(B, limits=Limits(bytes=1)).entries) == 1
        assert sum(received.records for received in b.pull(a, limits=Limits(bytes=1))) == 5

    def test_what_is_new_waits_until_everything_with_a_number_has_gone(self, a, b):
        a.post({"title": "small"})
        room = Limits(bytes=a.page_for(B).ByteSize() * 3)
        a.post({"title": "large", "details": "x" * room.bytes})
        a.page_for(B)
        a.post({"title": "new"})
        first = a.page_for(B, limits=room)  # there would be room for the new one, which is small as well
        assert (sequences(first), first.more) == ([1], True)
        b.pull(a, limits=room)
        assert shown(b) == {"small", "large", "new"}
        assert a.store.feeds.get(B).head == 3

    def test_a_full_page_of_large_records_stays_below_the_message_limit(self, a, b):
        for number in range(12):
            a.post({"title": f"n{number}", "details": "ä" * 10_000, "summary": "y" * 2000})
        page = a.page_for(B, limits=Limits(bytes=200_000))
        assert 1 < len(page.entries) < 12
        assert page.ByteSize() <= 200_000
        assert sum(received.records for received in b.pull(a, limits=Limits(bytes=200_000))) == 12

    def test_a_number_is_given_once_and_only_with_a_signed_page(self, a, b, monkeypatch):
        a.post()

        class BrokenSigner:
            key_id = a.founded.delivery.key_id
            public_key = a.founded.delivery.public_key

            def sign(self, data):
                raise OSError("the token was pulled out")

        whole = a.founded
        a.founded = replace(whole, delivery=BrokenSigner())
        with pytest.raises(OSError, match="pulled out"):
            a.page_for(B)
        a.founded = whole
        assert a.store.feeds.get(B) is None
        assert a.store.feeds.waiting(B) == 1
        assert sequences(a.page_for(B)) == [1]

    def test_a_crowd_of_denied_candidates_is_dropped_without_a_page(self, a, monkeypatch):
        monkeypatch.setattr(outbox, "MOST_CONSIDERED", 4)
        for number in range(10):
            a.post({"title": f"n{number}"})
        last = a.post({"title": "last"}, tlp="CLEAR")
        a.set_policies(lab_b=NARROW.replace("AMBER", "CLEAR"))
        page = a.page_for(B)
        assert [entry.digest for entry in page.entries] == [last.digest]
        assert sequences(page) == [1]
        assert a.page_for(B, page.cursor) is None

    def test_a_page_does_not_tell_of_what_waits_and_is_withheld(self, a, monkeypatch):
        monkeypatch.setattr(outbox, "MOST_CONSIDERED", 2)
        kept = a.post(tlp="CLEAR")
        for _ in range(3):
            a.post()
        a.set_policies(lab_b=NARROW.replace("AMBER", "CLEAR"))
        page = a.page_for(B)
        assert ([entry.digest for entry in page.entries], page.more) == ([kept.digest], False)
        assert a.store.feeds.waiting(B) == 2
        assert a.page_for(B, page.cursor) is None

    def test_a_feed_of_which_nothing_went_looks_like_none(self, a, b):
        a.post(partners=[B])
        a.set_policies(lab_b="")
        answers = []
        for partner in (B, C):
            assert a.page_for(partner) is None
            with pytest.raises(StaleCursor) as refused:
                a.page_for(partner, "A" * 22 + ".1")
            answers.append((refused.value.message, refused.value.metadata))
        assert a.store.feeds.get(B) is not None
        assert a.store.feeds.get(C) is None
        assert answers[0] == answers[1]


class TestAskedAgain:
    def test_a_page_that_was_lost_comes_again_with_the_same_numbers_and_records(self, a, b):
        a.post({"title": "one"})
        lost = a.page_for(B)
        a.post({"title": "two"})
        again = a.page_for(B)
        assert sequences(again) == [1, 2]
        assert without_proof(again.entries[0]) == without_proof(lost.entries[0])
        assert [received.records for received in b.pull(a)] == [2]

    def test_it_is_narrower_where_policy_is_narrower_today(self, a, b):
        record = a.post()
        a.page_for(B)
        a.set_policies(lab_b=NARROW)
        page = a.page_for(B)
        assert kinds(page) == ["record"]
        assert page.entries[0].presentation == preview(a, record, B)
        b.pull(a)
        assert b.store.records.get(record.digest).content["subjects"] == [{"kind": "model"}, {"kind": "agent"}]
        (wide,), (narrow,) = a.logged("sent"), a.logged("narrowed")
        assert wide["digest"] == narrow["digest"] == record.digest
        gone = set(wide["details"]["disclosed"]) - set(narrow["details"]["disclosed"])
        assert gone == {"subjects[*].name", "subjects[*].version"}

    def test_it_is_no_wider_where_policy_is_wider_today(self, a, b):
        a.set_policies(lab_b=NARROW)
        a.post()
        first = a.page_for(B)
        a.set_policies(lab_b=OPEN)
        assert a.page_for(B).entries[0] == first.entries[0]
        assert len(a.logged("sent")) == 1
        assert a.logged("narrowed") == []

    def test_it_is_void_where_policy_denies_it_today(self, a, b):
        a.post({"title": "first"})
        a.post({"title": "second"}, tlp="CLEAR")
        a.page_for(B)
        a.set_policies(lab_b=NARROW.replace("AMBER", "CLEAR"))
        page = a.page_for(B)
        assert kinds(page) == ["void", "record"]
        assert not page.entries[0].digest
        (received,) = b.pull(a)
        assert (received.records, received.unchanged) == (1, 1)
        assert shown(b) == {"second"}

    @pytest.mark.parametrize("end", ["expired", "revoked", "replaced"])
    def test_it_is_void_where_the_record_may_not_be_sent_any_more(self, a, b, end):
        name = record_id(end)
        a.post(record_id=name, exp=NOW + 1000)
        a.page_for(B)
        if end == "expired":
            a.now = NOW + 2000
        elif end == "revoked":
            key = record_key(signer(f"{A} record"), status="revoked", revoked_at=NOW)
            organisation = a.founded.organisation
            fields = {name: getattr(organisation, name) for name in type(organisation).__dataclass_fields__}
            revoked = type(organisation)(**fields | {"record_keys": {key.key_id: key}})
            a.founded = replace(a.founded, organisation=revoked)
        else:
            a.post({"title": "newer"}, record_id=name, version=2, tlp="RED")
        page = a.page_for(B)
        assert kinds(page) == ["void"]
        assert a.page_for(B, page.cursor) is None

    def test_what_was_tightened_and_loosened_again_comes_as_a_new_entry(self, a, b):
        record = a.post()
        a.page_for(B)
        a.apply(lab_b="")
        assert kinds(a.page_for(B)) == ["void"]
        a.set_policies(lab_b=OPEN)
        assert kinds(a.page_for(B)) == ["void"], "an entry that was void stays void"
        a.set_policies(lab_b="")
        assert a.apply(lab_b=OPEN) == {B: 1}
        assert kinds(a.page_for(B)) == ["void", "record"]
        b.pull(a)
        assert b.store.records.get(record.digest).token == preview(a, record, B)

    def test_further_disclosures_go_with_the_record_they_belong_to(self, a, b):
        a.set_policies(lab_b=NARROW)
        record = a.post()
        a.page_for(B)
        a.apply(lab_b=OPEN)
        assert kinds(a.page_for(B)) == ["record", "disclosures"]
        a.set_policies(lab_b="")
        assert kinds(a.page_for(B, limits=Limits(entries=1))) == ["void"]
        a.set_policies(lab_b=OPEN)
        assert kinds(a.page_for(B)) == ["void", "void"], "nothing is added to a record that is void by now"
        assert a.store.feeds.sent(B, record.digest) is None


class TestCursors:
    def test_a_cursor_that_no_node_made_is_refused(self, a):
        good = "A" * 22
        tagged = (f"{good}.1.", f"{good}.1.{'A' * 10}", f"{good}.1.{'A' * 10}B", f"{good}.1.{'A' * 11}.", f"{good}..1")
        for text in ("1", "x.1", ".", f"{good}.-1", f"{good}.01", f"{good}.1 ", f"{'A' * 21}B.1", "é.1", *tagged):
            with pytest.raises(MalformedCursor) as refused:
                a.page_for(B, text)
            assert refused.value.reason == "BAD_CURSOR"

    def test_a_cursor_of_another_feed_or_from_the_future_is_stale(self, a, b):
        a.post()
        stale = "AAAAAAAAAAAAAAAAAAAAAA.1"
        with pytest.raises(StaleCursor) as refused:
            a.page_for(B, stale)
        assert refused.value.reason == "STALE_CURSOR"
        b.pull(a)
        held = b.cursor_of(A)
        for text in (
            stale,
            held.replace(".1.", ".2."),
            held.removesuffix(held.split(".")[2])[:-1],
            a.page_for(C).cursor,
        ):
            with pytest.raises(StaleCursor) as refused:
                a.page_for(B, text)
            assert refused.value.metadata == {"cursor": held}

    def test_each_entry_has_a_tag_of_its_own_that_stays(self, a):
        for number in range(3):
            a.post({"title": f"n{number}"})
        first = a.page_for(B, limits=Limits(entries=2))
        again = a.page_for(B)
        tags = [entry.tag for entry in a.store.feeds.entries(B, after=0, limit=9)]
        assert len(set(tags)) == 3
        assert first.cursor.split(".")[1:] == ["2", tags[1]]
        assert again.cursor.split(".")[1:] == ["3", tags[2]]

    def test_entries_from_before_there_were_tags_are_found_without(self, a, b):
        a.post()
        a.page_for(B)
        with a.store.transaction():
            a.store._db.execute("UPDATE entries SET tag = ''")
        b.pull(a)
        assert b.cursor_of(A) == f"{a.store.feeds.get(B).feed_id}.1"
        new = a.post()
        (entry,) = a.page_for(B, b.cursor_of(A)).entries
        assert entry.digest == new.digest

    def test_a_receiver_that_forgot_everything_gets_everything_again(self, a, b):
        for number in range(4):
            a.post({"title": f"n{number}"})
        b.pull(a)
        b.store.intake.forget(A)
        (received,) = b.pull(a)
        assert (received.records, received.unchanged) == (0, 4)


class TestPolicyChanges:
    def test_a_loosened_file_offers_the_difference_to_its_partner_only(self, a, b, c):
        a.set_policies(lab_b=NARROW, aisi=NARROW)
        record = a.post()
        b.pull(a)
        c.pull(a)
        assert a.apply(lab_b=OPEN) == {B: 1}
        page = a.page_for(B, b.cursor_of(A))
        assert kinds(page) == ["disclosures"]
        (received,) = b.pull(a)
        assert (received.records, received.disclosures) == (0, 1)
        assert b.store.records.get(record.digest).token.count("~") == preview(a, record, B).count("~")
        assert c.pull(a) == []

    @pytest.mark.parametrize("tightened", [NARROW, "", NARROW.replace("AMBER", "CLEAR"), OPEN + "approvals = 1\n"])
    def test_a_tightened_file_sends_nothing_and_sends_nothing_again(self, a, b, tightened):
        a.post()
        b.pull(a)
        assert a.apply(lab_b=tightened) == {}
        assert b.pull(a) == []
        assert a.apply(lab_b=OPEN) == {}, "the partner holds all of it"
        assert b.pull(a) == []
        assert [entry["act"] for entry in a.logged() if entry["act"] in ("sent", "narrowed", "withdrawn")] == ["sent"]

    def test_a_tightened_file_keeps_what_was_queued_by_the_wider_one(self, a, b):
        record = a.post()
        a.apply(lab_b=NARROW)
        b.pull(a)
        assert b.store.records.get(record.digest).content["subjects"] == [{"kind": "model"}, {"kind": "agent"}]
        assert b.store.records.get(record.digest).token == preview(a, record, B)

    def test_a_changed_floor_counts_for_everybody(self, a):
        a.set_policies(floor='[[never]]\nname = "all"\nkinds = ["*"]\n')
        a.post()
        assert (a.store.feeds.waiting(B), a.store.feeds.waiting(C)) == (0, 0)
        assert a.apply() == {B: 1, C: 1}

    def test_a_partner_without_a_policy_has_nothing_to_look_at(self, a):
        a.post(partners=())
        assert queue_partners(a.office, ["nobody.example"], now=NOW) == ()

    def test_a_resumed_partner_catches_up(self, a):
        a.store.peers.set_state(B, PeerState.SUSPENDED)
        a.post(partners=(C,))
        assert weigh_queued(a.office, queue_partners(a.office, [B], now=NOW), now=NOW) == {B: 1}

    def test_what_was_queued_and_never_weighed_is_sent_or_noted_all_the_same(self, a, b):
        embargoed = a.post({"embargo": {"until": "2026-03-08T12:00:00Z"}}, partners=())
        plain = a.post(partners=())
        queue_partners(a.office, [B], now=NOW)
        b.pull(a)
        assert b.store.records.token(plain.digest) is not None
        assert b.store.records.token(embargoed.digest) is None
        assert [due.digest for due in a.store.dues.until(NOW + 30 * 86_400, limit=10)] == [embargoed.digest]
        assert a.store.feeds.waiting(B) == 0

    def test_what_waits_for_people_is_proposed_even_where_it_was_never_weighed(self, a):
        a.post(partners=())
        a.set_policies(lab_b=APPROVED)
        queue_partners(a.office, [B], now=NOW)
        assert a.page_for(B) is None
        assert len(a.proposals()) == 1


class TestOthersThatWrite:
    def test_records_are_verified_before_others_are_made_to_wait(self, a, b, monkeypatch):
        inside = []

        def verifying(token):
            inside.append(a.store._db._writing_thread is not None)
            return parse_record(token)

        monkeypatch.setattr(known, "parse_record", verifying)
        for number in range(4):
            a.post({"title": f"n{number}"}, partners=())
        a.set_policies(lab_b=CLEAR)
        a.post(tlp="CLEAR")
        a.apply(lab_b=OPEN)
        inside.clear()
        assert len(a.page_for(B).entries) == 5
        assert inside == [False] * 5
        inside.clear()
        assert len(a.page_for(B).entries) == 5, "asked for again"
        assert inside == [False] * 5

    def test_what_was_verified_counts_for_exactly_that_text(self, a, monkeypatch):
        record = a.post()
        ahead = outbox._verify_ahead

        def then_damaged(*args, **kwargs):
            found = ahead(*args, **kwargs)
            with a.store.transaction():
                a.store._db.execute("UPDATE holdings SET token = token || '!~'")
            return found

        monkeypatch.setattr(outbox, "_verify_ahead", then_damaged)
        with pytest.raises(StoreCorrupt):
            a.page_for(B)
        assert a.store.feeds.sent(B, record.digest) is None

    def test_what_is_retracted_while_the_page_is_made_does_not_go(self, a, monkeypatch):
        record = a.post()
        ahead = outbox._verify_ahead

        def then_retracted(*args, **kwargs):
            found = ahead(*args, **kwargs)
            if found.candidates:
                a.retract(record)
            return found

        monkeypatch.setattr(outbox, "_verify_ahead", then_retracted)
        assert a.page_for(B) is None

    def test_no_more_is_verified_ahead_than_memory_is_meant_for(self, a):
        for number in range(6):
            a.post({"title": f"n{number}", "details": "x" * 5000})
        office, limits = a.office, Limits(bytes=4000)
        considered = len(outbox._verify_ahead(office, B, Place(None, 0), limits=limits, now=NOW).candidates)
        ahead = {"ours": office.organisation, "now": NOW}
        verified = [one for one in a.store.feeds.candidates(B, limit=6) if office.known.verify_ahead(one, **ahead)]
        assert len(verified) == considered < 6
        assert sum(len(page.entries) for page in walk(a, B, limits)) == 6


def walk(a, partner, limits):
    """Return the pages of a feed, one behind the other."""
    pages, cursor = [], ""
    while (page := a.page_for(partner, cursor, limits=limits)) is not None:
        pages.append(page)
        cursor = page.cursor
    return pages


class TestPublish:
    def test_what_waited_for_a_policy_that_was_being_applied_goes_by_that_policy(self, a):
        a.set_policies(lab_b="")
        record = make_record(by=a.founded)
        waiting = threading.Thread(target=a.publish, args=(record,))
        with a.store.transaction():
            waiting.start()
            time.sleep(0.1)  # enough to read the policies of before, where they are read too early
            a.set_policies(lab_b=OPEN)
        waiting.join()
        assert a.store.feeds.candidates(B, limit=9) == (record.digest,)

    def test_record_and_queue_are_stored_together_or_not_at_all(self, a, monkeypatch):
        from tocsin.store.feeds import SqliteFeeds

        def fail(*args, **kwargs):
            raise OSError("no space")

        monkeypatch.setattr(SqliteFeeds, "queue_for", fail)
        with pytest.raises(OSError, match="no space"):
            a.post()
        assert a.store.records.counts().own == 0

    def test_the_log_says_who_posted_what_and_for_whom(self, a):
        record = a.post(to=[C])
        (entry,) = a.logged("posted")
        assert (entry["person"], entry["digest"]) == (AUTHOR, record.digest)
        assert entry["details"]["recipients"] == [C]
        assert a.store.records.get(record.digest).author == AUTHOR

    def test_we_never_equivocate_ourselves(self, a):
        name = record_id("once")
        first = a.post({"title": "one"}, record_id=name)
        with pytest.raises(Conflict) as refused:
            a.post({"title": "other"}, record_id=name)
        assert refused.value.reason == "EQUIVOCATION"
        assert a.store.records.get(first.digest).standing is Standing.CURRENT

    def test_publishing_the_same_record_again_sends_nothing_more(self, a, b):
        record = a.post()
        b.pull(a)
        assert a.publish(record).queued == (C,)
        assert b.pull(a) == []
        assert len(a.logged("posted")) == 1

    def test_a_record_that_would_not_verify_is_not_sent(self, a):
        record = a.post()
        other = found("lab-a.example", now=NOW + 1000).organisation
        assert replace(a.office, organisation=other).load(record.digest, now=NOW) is None

    @pytest.mark.parametrize("damage", ["token || 'WyJzIiwibmFtZSIsMV0~'", "token || '!~'", "substr(token, 2)"])
    def test_a_record_that_is_damaged_is_not_named_to_the_partner(self, a, damage):
        record = a.post()
        with a.store.transaction():
            a.store._db.execute(f"UPDATE holdings SET token = {damage}")  # noqa: S608
        with pytest.raises(StoreCorrupt) as refused:
            a.page_for(B)
        assert record.digest == refused.value.where
        assert record.digest not in str(status_of(refused.value, at_home=False))
