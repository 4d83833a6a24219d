"""What every store must do with what goes out, what came in, and with peers."""

from contextlib import suppress
from dataclasses import replace

import pytest

from tests.store.making import make_record, steps
from tests.support.organisations import NOW
from tocsin.errors import Conflict, MalformedRequest, NotFound
from tocsin.store.evidence import PageRow, ReceiptRow
from tocsin.store.model import (
    Dealings,
    DisclosureRequest,
    Due,
    DueKind,
    EntryKind,
    NewEntry,
    Outcome,
    PeerCounts,
    PeerRole,
    PeerState,
    Position,
    ReviewState,
    Taken,
    Verdict,
    Waiting,
    WithheldPath,
)

B, C = "lab-b.example", "aisi.example"


@pytest.fixture
def records(store):
    made = [make_record({"title": f"n{number}"}) for number in range(3)]
    for record in made:
        store.records.add(record, now=NOW)
    return [record.digest for record in made]


@pytest.fixture
def feed(store):
    return store.feeds.open(B, feed_id="feed-b", now=NOW)


def append(store, digest, *paths, kind=EntryKind.RECORD, to=B, tag="tag"):
    """Give an entry the next number, and return it."""
    after = store.feeds.get(to).head
    store.feeds.append(to, [NewEntry(kind, digest, frozenset(paths), tag)], after=after, now=NOW)
    return store.feeds.get(to).head


@pytest.mark.usefixtures("feed")
def test_what_is_asked_for_each_entry_costs_the_same_in_a_long_feed(store, records):
    asked = store.records.get(records[1])
    questions = (
        lambda: store.feeds.sent(B, asked.digest),
        lambda: store.feeds.holds(B, asked.digest, before=9),
        lambda: store.feeds.told(B, asked.issuer, asked.record_id),
    )
    append(store, records[1])
    before = [steps(store, question) for question in questions]
    for _ in range(200):
        append(store, records[0])
    assert [steps(store, question) for question in questions] == pytest.approx(before, abs=20)


class TestCandidates:
    def test_a_candidate_is_queued_once_for_each_partner(self, store, records):
        assert store.feeds.queue(B, records[0], now=NOW)
        assert not store.feeds.queue(B, records[0], now=NOW)
        assert store.feeds.queue(C, records[0], now=NOW)
        assert store.feeds.waiting(B) == store.feeds.waiting(C) == 1

    def test_candidates_come_in_the_order_of_their_records(self, store, records):
        for digest in reversed(records):
            store.feeds.queue(B, digest, now=NOW)
        assert store.feeds.candidates(B, limit=10) == tuple(records)
        assert store.feeds.candidates(B, limit=2) == tuple(records[:2])
        store.feeds.drop(B, records[:2])
        assert store.feeds.candidates(B, limit=10) == (records[2],)

    def test_what_is_not_held_cannot_wait(self, store):
        with pytest.raises(NotFound):
            store.feeds.queue(B, "nothing", now=NOW)


class TestEntries:
    def test_a_feed_keeps_its_first_id(self, store, feed):
        assert store.feeds.get(C) is None
        assert store.feeds.open(B, feed_id="another", now=NOW + 1) == feed == store.feeds.get(B)
        assert (feed.head, feed.acknowledged) == (0, 0)

    @pytest.mark.usefixtures("feed")
    def test_numbers_are_dense_for_each_partner(self, store, records):
        store.feeds.open(C, feed_id="feed-c", now=NOW)
        assert [append(store, digest) for digest in records] == [1, 2, 3]
        assert append(store, records[2], to=C) == 1
        assert store.feeds.get(B).head == 3
        assert [entry.sequence for entry in store.feeds.entries(B, after=1, limit=5)] == [2, 3]
        assert [entry.sequence for entry in store.feeds.entries(B, after=0, limit=2)] == [1, 2]

    @pytest.mark.usefixtures("feed")
    def test_a_number_given_in_a_transaction_that_fails_is_given_again(self, store, records):
        with suppress(ZeroDivisionError), store.transaction():
            append(store, records[0])
            assert 1 / 0, "signing failed"
        assert append(store, records[1]) == 1

    @pytest.mark.usefixtures("feed")
    def test_entries_that_were_numbered_behind_another_one_are_not_kept(self, store, records):
        append(store, records[0])
        new = [NewEntry(EntryKind.RECORD, records[1], frozenset(), "tag")]
        with pytest.raises(RuntimeError, match="another head"):
            store.feeds.append(B, new, after=0, now=NOW)
        assert [entry.digest for entry in store.feeds.entries(B, after=0, limit=9)] == [records[0]]

    @pytest.mark.usefixtures("feed")
    def test_everything_between_us_and_a_partner_about_a_record_comes_together(self, store, records):
        digest = records[0]
        assert store.feeds.dealings(B, digest) == store.feeds.dealings(B, "nothing") == Dealings()
        store.records.narrow(digest, (B, C))
        store.feeds.grant(B, digest, ["steps"], now=NOW)
        store.feeds.grant(C, digest, ["prompts"], now=NOW)
        append(store, digest, "title")
        append(store, digest, "a digest", kind=EntryKind.RETRACTION)
        asked = DisclosureRequest("q" * 43, B, digest, ("steps",), "why", NOW, ReviewState.OPEN)
        store.reviews.ask(asked)
        found = Dealings(frozenset({B, C}), frozenset({"steps"}), frozenset({"title"}), asks=True)
        assert store.feeds.dealings(B, digest) == found
        store.reviews.set_state(asked.id, ReviewState.REJECTED)
        assert store.feeds.dealings(B, digest) == replace(found, asks=False)
        assert store.feeds.dealings(C, digest) == Dealings(frozenset({B, C}), frozenset({"prompts"}), None)

    @pytest.mark.usefixtures("feed")
    def test_what_went_is_the_sum_of_the_entries_that_carry_something(self, store, records):
        digest = records[0]
        assert store.feeds.sent(B, digest) is None
        append(store, digest, "title", "summary")
        append(store, digest, "steps", kind=EntryKind.DISCLOSURES)
        assert store.feeds.sent(B, digest) == {"title", "summary", "steps"}
        store.feeds.narrow(B, 1, disclosed=frozenset({"title"}))
        assert store.feeds.sent(B, digest) == {"title", "steps"}
        assert store.feeds.holds(B, digest, before=2)
        assert not store.feeds.holds(B, digest, before=1)
        store.feeds.void(B, 1)
        assert store.feeds.sent(B, digest) is None
        assert not store.feeds.holds(B, digest, before=2)
        assert append(store, digest, "severity") == 3
        assert store.feeds.sent(B, digest) == {"severity"}
        assert [entry.kind for entry in store.feeds.entries(B, after=0, limit=9)] == ["void", "disclosures", "record"]

    @pytest.mark.usefixtures("feed")
    def test_a_retraction_carries_no_field(self, store, records):
        append(store, records[0], "title")
        append(store, records[0], "a digest", kind=EntryKind.RETRACTION)
        assert store.feeds.sent(B, records[0]) == {"title"}
        assert store.feeds.entries(B, after=1, limit=1)[0].disclosed == {"a digest"}

    @pytest.mark.usefixtures("feed")
    def test_a_position_has_the_tag_that_came_with_the_number(self, store, records):
        append(store, records[0], tag="one")
        append(store, records[1], tag="two")
        assert store.feeds.position(B, 2) == Position("feed-b", 2, "two")
        assert store.feeds.position(B, 0) == Position("feed-b", 0)
        assert store.feeds.position(B, 3) is store.feeds.position(C, 0) is None
        assert [(entry.tag, entry.sent_at) for entry in store.feeds.entries(B, after=0, limit=9)] == [
            ("one", NOW),
            ("two", NOW),
        ]

    @pytest.mark.usefixtures("feed")
    def test_who_was_sent_a_record_holds_it_whatever_became_of_the_entry(self, store, records):
        record = store.records.get(records[0])
        append(store, records[0])
        store.feeds.void(B, 1)
        append(store, records[1])
        store.feeds.note_holder(C, records[0])
        assert store.feeds.holders(record.issuer, record.record_id) == {B, C}

    @pytest.mark.usefixtures("feed")
    def test_a_feed_that_begins_anew_offers_what_is_current_and_what_is_held_that_is_over(self, store, records):
        later = make_record(record_id=store.records.get(records[0]).record_id, version=2)
        append(store, records[0])
        append(store, records[1])
        store.feeds.acknowledge(B, 2, now=NOW)
        store.records.add(later, now=NOW)
        store.feeds.renew(B, feed_id="again", now=NOW + 5)
        feed = store.feeds.get(B)
        assert (feed.feed_id, feed.head, feed.acknowledged, feed.opened_at) == ("again", 0, 0, NOW + 5)
        assert store.feeds.candidates(B, limit=9) == (*records, later.digest)
        assert store.feeds.oldest_waiting(B) == NOW + 5
        assert append(store, records[0]) == 1

    @pytest.mark.usefixtures("feed")
    def test_an_acknowledgement_never_goes_back(self, store, records):
        for digest in records:
            append(store, digest)
        store.feeds.acknowledge(B, 2, now=NOW)
        store.feeds.acknowledge(B, 1, now=NOW)
        assert store.feeds.get(B).acknowledged == 2

    def test_grants_are_for_one_record_and_one_partner(self, store, records):
        store.feeds.grant(B, records[0], ["steps", "poc"], now=NOW)
        store.feeds.grant(B, records[0], ["steps"], now=NOW)
        assert store.feeds.granted(B, records[0]) == {"steps", "poc"}
        assert store.feeds.granted(B, records[1]) == store.feeds.granted(C, records[0]) == frozenset()


class TestDeliveries:
    """What is on its way: what waits, what is due, what went, what was refused."""

    @pytest.fixture(autouse=True)
    def moving(self, store, records):
        for partner in (B, C):
            store.feeds.open(partner, feed_id=f"feed of {partner}", now=NOW)
            for digest in records:
                append(store, digest, to=partner)
        store.feeds.acknowledge(B, 2, now=NOW)
        store.feeds.void(C, 1)
        page = PageRow("page", "a statement", f"feed of {B}", 1, 2, NOW)
        receipt = ReceiptRow(B, False, "chain", 1, "receipt", "signed", page, NOW, 1)
        verdicts = [Verdict(1, Outcome.REFUSED, records[0], "NOT_PERMITTED"), Verdict(2, Outcome.STORED, records[1])]
        store.receipts.hold(receipt, verdicts, now=NOW)
        store.feeds.queue(B, records[1], now=NOW + 3)
        store.dues.add(Due(DueKind.HOLD, records[1], B, NOW + 60))
        store.dues.add(Due(DueKind.DOWNGRADE, records[1], "", NOW + 70))

    def test_each_stands_there_with_its_place(self, store, records):
        assert store.feeds.deliveries(B, after="", limit=9) == tuple(
            sorted(
                [
                    Waiting(B, records[0], NOW, 1, outcome=Outcome.REFUSED, reason="NOT_PERMITTED"),
                    Waiting(B, records[1], NOW + 3),
                    Waiting(B, records[1], NOW, due_at=NOW + 60),
                    Waiting(B, records[2], NOW, 3),
                ],
                key=lambda waiting: (waiting.digest, waiting.sequence, waiting.due_at),
            )
        )

    def test_what_is_asked_of_one_record_costs_the_same_however_much_waits(self, store, records):
        def of_one():
            return store.feeds.deliveries(B, digest=records[1], after="", limit=9)

        assert of_one() == (Waiting(B, records[1], NOW + 3), Waiting(B, records[1], NOW, due_at=NOW + 60))
        before = steps(store, of_one)
        for number in range(50):
            store.dues.add(Due(DueKind.HOLD, records[2], B, NOW + 80 + number))
        assert steps(store, of_one) == pytest.approx(before, abs=20)

    def test_one_goes_on_behind_any_of_them(self, store):
        everything = store.feeds.deliveries("", after="", limit=9)
        assert [waiting.partner for waiting in everything] == [C, C, B, B, B, B]
        for number, waiting in enumerate(everything, start=1):
            place = f"{waiting.partner} {waiting.digest} {waiting.sequence} {waiting.due_at}"
            assert store.feeds.deliveries("", after=place, limit=9) == everything[number:]

    @pytest.mark.parametrize("place", ["b", "b d x 0", "b d 1", "b d 1 -1", f"b d {2**63} 0"])
    def test_another_place_is_refused(self, store, place):
        with pytest.raises(MalformedRequest):
            store.feeds.deliveries("", after=place, limit=9)


class TestIntake:
    def test_the_cursor_moves_with_its_verdicts(self, store):
        assert store.intake.cursor(B) is None
        verdicts = [
            Verdict(1, Outcome.STORED, "d1"),
            Verdict(2, Outcome.REFUSED, "d2", "BAD_SIGNATURE"),
            Verdict(3, Outcome.VOID),
        ]
        store.intake.move(B, Position("feed", 3), verdicts, now=NOW)
        assert store.intake.cursor(B) == Position("feed", 3)
        store.intake.move(B, Position("feed", 4, "tag"), [], now=NOW)
        assert store.intake.cursor(B) == Position("feed", 4, "tag")
        assert [(r.sequence, r.digest, r.reason, r.at) for r in store.intake.refusals(B)] == [
            (2, "d2", "BAD_SIGNATURE", NOW)
        ]

    def test_what_came_is_counted_for_a_day(self, store):
        for now in (NOW, NOW, NOW + 1):
            store.intake.note_taken(B, entries=2, size=1000, now=now)
        assert store.intake.taken_within(B, 1, now=NOW + 1) == Taken(6, 3000)
        assert store.intake.taken_within(B, 0, now=NOW + 1) == Taken(2, 1000)
        assert store.intake.taken_within(C, 1, now=NOW + 1) == Taken(0, 0)
        store.intake.note_taken(B, entries=1, size=10, now=NOW + 86_402)
        assert store.intake.taken_within(B, NOW, now=NOW + 86_402) == Taken(1, 10)

    def test_what_came_while_a_clock_was_ahead_fills_no_hour_once_it_is_right(self, store):
        store.intake.note_taken(B, entries=2000, size=10, now=NOW + 10**9)
        assert store.intake.taken_within(B, 3600, now=NOW) == Taken(0, 0)

    def test_a_feed_can_be_read_again_from_its_beginning(self, store):
        for _ in range(2):
            store.intake.move(B, Position("feed", 1), [Verdict(1, Outcome.STORED, "d1")], now=NOW)
            store.intake.forget(B)
            assert store.intake.cursor(B) is None

    def test_the_latest_word_on_what_is_withheld_counts(self, store, records):
        digest = records[0]
        store.intake.note_withheld(B, digest, [WithheldPath("steps", "infohazard", NOW), WithheldPath("poc", "")])
        store.intake.note_withheld(B, digest, [WithheldPath("poc", "embargo", NOW + 9)])
        assert store.intake.withheld(digest) == (("poc", "embargo", NOW + 9),)
        store.intake.note_withheld(C, digest, [WithheldPath("steps", "")])
        assert store.intake.withheld(digest) == (("poc", "embargo", NOW + 9), ("steps", "", 0))


class TestPeers:
    def add(self, store, org=B, state=PeerState.ACTIVE):
        return store.peers.add(org, document=b"doc", role=PeerRole.MEMBER, state=state, now=NOW)

    def test_a_peer_is_kept_and_changed(self, store):
        added = self.add(store)
        assert store.peers.get(B) == added
        assert (added.org, added.role, added.state, added.document) == (B, "member", "active", b"doc")
        assert store.peers.set_state(B, PeerState.SUSPENDED).state is PeerState.SUSPENDED
        assert store.peers.set_role(B, PeerRole.READER).role is PeerRole.READER
        assert store.peers.set_document(B, b"newer").document == b"newer"

    def test_peers_are_listed_by_name_without_the_removed(self, store):
        self.add(store, B)
        self.add(store, C)
        assert [peer.org for peer in store.peers.list()] == [C, B]
        store.peers.set_state(B, PeerState.REMOVED)
        assert [peer.org for peer in store.peers.list()] == [C]
        assert store.peers.get(B).state is PeerState.REMOVED

    def test_a_peer_is_added_once_and_a_removed_one_again(self, store):
        self.add(store)
        with pytest.raises(Conflict) as refused:
            self.add(store)
        assert refused.value.reason == "CONFLICT"
        store.peers.note_error(B, reason="PEER_UNREACHABLE", message="no answer", now=NOW)
        store.peers.set_state(B, PeerState.REMOVED)
        assert self.add(store, state=PeerState.PENDING).last_error == ""

    def test_a_stranger_is_not_found(self, store):
        for call in (store.peers.get, lambda org: store.peers.set_state(org, PeerState.ACTIVE)):
            with pytest.raises(NotFound):
                call("stranger.example")

    def test_an_error_lasts_until_something_goes_right(self, store):
        self.add(store)
        store.peers.note_sent(B, now=NOW + 1)
        store.peers.note_error(B, reason="PEER_UNREACHABLE", message="no answer", now=NOW + 2)
        peer = store.peers.get(B)
        assert (peer.last_error_reason, peer.last_error, peer.last_error_at) == (
            "PEER_UNREACHABLE",
            "no answer",
            NOW + 2,
        )
        store.peers.note_received(B, now=NOW + 3)
        peer = store.peers.get(B)
        assert (peer.last_error_reason, peer.last_received_at, peer.last_sent_at) == ("", NOW + 3, NOW + 1)

    def test_counts_are_of_one_peer(self, store, records, feed):
        assert store.peers.counts(C) == PeerCounts(0, 0, 0, 0, 0)
        append(store, records[0])
        append(store, records[1])
        store.feeds.acknowledge(B, 1, now=NOW)
        store.feeds.queue(B, records[2], now=NOW)
        store.intake.move(B, Position("f", 1), [Verdict(1, Outcome.REFUSED, "d", "BAD_ALG")], now=NOW)
        assert store.peers.counts(B) == PeerCounts(0, 1, 2, 1, 1)
