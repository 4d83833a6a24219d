"""What comes in is stored once, with the cursor; what is bad in it is refused, and nothing stops the feed."""

import threading
from types import SimpleNamespace
from typing import ClassVar

import pytest

from tests.exchange.parties import NARROW, A, B, C, founded
from tests.store.making import make_record, record_id
from tests.support.organisations import NOW
from tocsin.errors import NotPermitted, PeerMisbehaved, QuotaExceeded
from tocsin.exchange import receive
from tocsin.exchange.outbox import Limits
from tocsin.exchange.page import PageEntry, build_page
from tocsin.exchange.receive import QUOTA_SECONDS, check_entries
from tocsin.policy.clauses import Accept
from tocsin.records.disclosure import digest_of
from tocsin.store.intake import SqliteIntake
from tocsin.store.model import EntryKind, Standing, WithheldPath

FEED = "A" * 22
EVERY = frozenset({"finding", "incident", "evaluation"})


def page_of(*entries, first=1, feed=FEED, sender=A, audience=B):
    """Return a page of records and further disclosures, numbered from `first`, signed by their sender."""
    numbered = [
        PageEntry(first + place, EntryKind.RECORD, entry.digest, entry.token)
        if not isinstance(entry, PageEntry)
        else PageEntry(first + place, entry.kind, entry.digest, entry.presentation, entry.disclosures, entry.withheld)
        for place, entry in enumerate(entries)
    ]
    delivery = founded(sender).delivery
    return build_page(numbered, feed_id=feed, sender=sender, audience=audience, signer=delivery, now=NOW, more=False)


def further(record, *paths, withheld=()):
    disclosures = record.disclosures_for(frozenset(paths))
    return PageEntry(0, EntryKind.DISCLOSURES, record.digest, disclosures=disclosures, withheld=withheld)


def raw(record, presentation):
    return PageEntry(0, EntryKind.RECORD, record.digest, presentation)


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
        assert received.cursor.endswith(".2")

    def test_a_new_feed_of_a_known_peer_begins_at_its_beginning(self, b):
        record = make_record()
        b.take(page_of(record))
        with pytest.raises(PeerMisbehaved):
            b.take(page_of(make_record(), first=2, feed="B" * 21 + "A"))
        received = b.take(page_of(record, make_record(), feed="B" * 21 + "A"))
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
        verify = receive._check_entry
        monkeypatch.setattr(
            receive,
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
        assert received.cursor.endswith(".2")

    BAD: ClassVar = {
        "another organisation's record": (lambda: make_record(by=founded(C)), "KEY_NOT_OF_ISSUER"),
        "a record that claims to be theirs": (
            lambda: make_record(by=SimpleNamespace(organisation=founded(A).organisation, record=founded(C).record)),
            "KEY_NOT_OF_ISSUER",
        ),
        "an expired record": (lambda: make_record(exp=NOW - 1000), "NOT_VALID_NOW"),
        "a record from the future": (lambda: make_record(now=NOW + 1000), "NOT_VALID_NOW"),
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


def raw_of(token):
    return PageEntry(0, EntryKind.RECORD, digest_of(token.partition("~")[0]), token)


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
        entry = PageEntry(0, EntryKind.RECORD, record.digest, record.present(frozenset({"title"})), withheld=told)
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

    def test_two_records_under_one_version_are_kept_as_evidence(self, b):
        name = record_id("equivocation")
        pair = [make_record({"title": title}, record_id=name) for title in ("to b", "to c")]
        received = b.take(page_of(*pair))
        assert (received.records, received.refused) == (1, 1)
        assert refusals(b) == [(2, "EQUIVOCATION")]
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
        with pytest.raises(QuotaExceeded) as refused:
            few.take(page)
        assert refused.value.metadata["cursor"] == few.cursor_of(A) == f"{FEED}.3"
        assert few.store.records.counts().received == 3
        received = few.take(page, now=NOW + QUOTA_SECONDS + 1)
        assert (received.records, few.cursor_of(A)) == (2, f"{FEED}.5")

    def test_void_entries_cost_nothing(self, few):
        voids = [PageEntry(0, EntryKind.VOID)] * 9
        assert few.take(page_of(*voids, make_record())).unchanged == 9

    def test_a_feed_that_is_read_again_has_no_quota_of_its_own(self, few):
        few.take(page_of(*(make_record() for _ in range(2))))
        few.store.intake.forget(A)
        with pytest.raises(QuotaExceeded):
            few.take(page_of(*(make_record() for _ in range(2))))
        assert few.store.records.counts().received == 3

    def test_feeds_under_two_names_have_one_quota(self, few):
        for feed in (FEED, "B" * 21 + "A"):
            few.take(page_of(make_record(), feed=feed))
        few.take(page_of(make_record()))
        with pytest.raises(QuotaExceeded) as refused:
            few.take(page_of(make_record(), feed="B" * 21 + "A"))
        assert refused.value.reason == "QUOTA_EXCEEDED"
        assert few.store.records.counts().received == 3

    def test_refused_records_cost_as_much_as_good_ones(self, few):
        few.take(page_of(*(make_record(exp=NOW - 1000) for _ in range(3))))
        with pytest.raises(QuotaExceeded):
            few.take(page_of(make_record(), first=4))


def test_entries_are_verified_by_a_function_of_values_alone():
    record = make_record()
    entries = page_of(raw(record, record.present(frozenset({"title"}))), further(record, "prompts")).entries
    entries = [
        PageEntry(1, EntryKind.RECORD, record.digest, entries[0].presentation),
        PageEntry(2, EntryKind.DISCLOSURES, record.digest, disclosures=tuple(entries[1].disclosures)),
    ]
    checked = check_entries(entries, sender=founded(A).organisation, kinds=EVERY, held=lambda digest: None, now=NOW)
    assert [set(item.record.content) for item in checked] == [
        {"finding_kind", "title"},
        {"finding_kind", "title", "prompts"},
    ]


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
