"""What was signed for is kept with its page, handed over in order, and found by the record that it is about."""

import pytest

from tests.store.making import make_record, steps
from tests.support.organisations import NOW
from tocsin.errors import MalformedRequest
from tocsin.store.evidence import AnswerRow, PageRow, ReceiptRow
from tocsin.store.model import EntryKind, NewEntry, Outcome, Position, Verdict
from tocsin.store.receipts import PAGES_KEPT

B, C = "lab-b.example", "aisi.example"


def page(number=1, *, feed="feed-b", first=1, last=2):
    return PageRow(f"page {number}", f"statement {number}", feed, first, last, NOW)


def receipt(number=1, *, of=None, peer=B, given=False, chain="chain", refused=0):
    return ReceiptRow(
        peer, given, chain, number, f"{chain} {number}", f"signed {chain} {number}", of or page(), NOW, refused
    )


@pytest.fixture
def records(store):
    made = [make_record({"title": f"n{number}"}) for number in range(3)]
    for record in made:
        store.records.add(record, now=NOW)
    return [record.digest for record in made]


@pytest.fixture
def sent(store, records):
    """Send three records to B, and void the last entry."""
    store.feeds.open(B, feed_id="feed-b", now=NOW)
    new = [NewEntry(EntryKind.RECORD, digest, frozenset(), "t") for digest in records]
    store.feeds.append(B, new, after=0, now=NOW)
    return records


class TestPages:
    def test_a_page_is_found_by_the_partner_it_was_made_for(self, store):
        store.receipts.keep_page(B, page())
        store.receipts.keep_page(B, page())
        assert store.receipts.page(B, "page 1") == page()
        assert store.receipts.page(C, "page 1") is store.receipts.page(B, "page 2") is None

    def test_of_pages_without_a_receipt_few_are_kept(self, store):
        store.receipts.keep_page(B, page(0))
        store.receipts.hold(receipt(of=page(0)), [], now=NOW)
        for number in range(1, PAGES_KEPT + 3):
            store.receipts.keep_page(B, page(number))
        store.receipts.keep_page(C, page(1))
        found = [number for number in range(PAGES_KEPT + 3) if store.receipts.page(B, f"page {number}")]
        assert found == [0, *range(3, PAGES_KEPT + 3)]
        assert store.receipts.page(C, "page 1")

    def test_a_page_costs_the_same_however_many_were_signed_for(self, store):
        def cost(number):
            return (
                steps(store, lambda: store.receipts.keep_page(B, page(number))),
                steps(store, lambda: store.receipts.hold(receipt(number, of=page(number)), [], now=NOW)),
                steps(store, lambda: store.receipts.page(B, f"page {number}")),
                steps(store, lambda: store.receipts.count_of(B, f"page {number}")),
                steps(store, lambda: store.receipts.give(receipt(number, of=page(number), given=True))),
                steps(store, lambda: store.receipts.taken(B, f"chain {number}")),
                steps(store, lambda: store.receipts.drop_pending(B)),
            )

        before = cost(1)
        for number in range(2, 200):
            cost(number)
        assert cost(200) == pytest.approx(before, abs=20)


class TestHolding:
    def test_the_last_one_is_the_head_of_its_chain(self, store):
        assert store.receipts.last(B, given=False) is None
        store.receipts.hold(receipt(1), [], now=NOW)
        store.receipts.hold(receipt(2), [], now=NOW)
        store.receipts.hold(receipt(1, chain="again"), [], now=NOW)
        assert store.receipts.last(B, given=False) == receipt(1, chain="again")
        assert store.receipts.last(B, given=True) is store.receipts.last(C, given=False) is None

    def test_each_entry_has_its_answer(self, store, sent):
        verdicts = [
            Verdict(1, Outcome.STORED, sent[0]),
            Verdict(2, Outcome.REFUSED, sent[1], "NOT_PERMITTED"),
            Verdict(3, Outcome.VOID),
        ]
        store.receipts.hold(receipt(of=page(last=3)), verdicts, now=NOW + 1)
        assert store.receipts.answers(sent[0]) == (
            AnswerRow(B, 1, sent[0], EntryKind.RECORD, Outcome.STORED, "", NOW + 1),
        )
        assert store.receipts.answers(sent[1])[0].reason == "NOT_PERMITTED"
        assert store.receipts.answers(sent[2]) == ()

    def test_what_was_said_again_does_not_hide_what_was_said_first(self, store, sent):
        for number, outcome in enumerate((Outcome.REFUSED, Outcome.STORED, Outcome.UNCHANGED), start=1):
            store.receipts.hold(receipt(number), [Verdict(1, outcome, sent[0])], now=NOW + number)
        (answer,) = store.receipts.answers(sent[0])
        assert (answer.outcome, answer.at) == (Outcome.STORED, NOW + 2)

    def test_a_feed_that_began_anew_has_answers_of_its_own(self, store, sent):
        store.receipts.hold(receipt(1), [Verdict(1, Outcome.STORED, sent[0])], now=NOW)
        store.feeds.renew(B, feed_id="another", now=NOW)
        store.receipts.hold(receipt(2, of=page(2)), [Verdict(2, Outcome.STORED, sent[1])], now=NOW)
        assert len(store.receipts.answers(sent[0])) == 1
        assert store.receipts.answers(sent[1]) == ()


class TestGiving:
    def test_they_are_pending_until_they_were_taken(self, store):
        given = [receipt(number, of=page(number), given=True) for number in (1, 2, 3)]
        for each in given:
            store.receipts.give(each)
        assert store.receipts.pending(B, limit=2) == tuple(given[:2])
        store.receipts.taken(B, given[1].digest)
        assert store.receipts.pending(B, limit=9) == (given[2],)
        assert store.receipts.pending(C, limit=9) == ()
        assert store.receipts.page(B, "page 1") is None, "it is a page of theirs"

    def test_those_pending_are_signed_again_in_another_chain(self, store):
        for number in (1, 2):
            store.receipts.give(receipt(number, given=True))
        store.receipts.taken(B, "chain 1")
        assert store.receipts.drop_pending(B) == (receipt(2, given=True),)
        store.receipts.give(receipt(1, given=True, chain="again"))
        assert store.receipts.last(B, given=True).page == page()
        assert [each.chain for each in store.receipts.pending(B, limit=9)] == ["again"]
        assert list(store.problems()) == []


class TestListing:
    @pytest.fixture
    def listed(self, store, sent):
        store.receipts.hold(receipt(1, of=page(1, last=1)), [Verdict(1, Outcome.STORED, sent[0])], now=NOW)
        store.receipts.hold(receipt(2, of=page(2, first=2, last=3)), [Verdict(2, Outcome.STORED, sent[1])], now=NOW)
        for number in (1, 2):
            store.receipts.hold(receipt(number, peer=C, of=page(number, feed="feed-c")), [], now=NOW)
        store.intake.move(B, Position("theirs", 4), [Verdict(4, Outcome.STORED, sent[2])], now=NOW)
        store.receipts.give(receipt(1, given=True, of=page(9, feed="theirs", first=3, last=4)))

    def walk(self, store, **where):
        found, token = [], ""
        while True:
            rows, token = store.receipts.list(**where, page_size=1, page_token=token)
            found += [(row.peer, row.number) for row in rows]
            if not token:
                return found

    @pytest.mark.usefixtures("listed")
    def test_they_come_by_peer_and_then_in_order(self, store):
        assert self.walk(store, given=False) == [(C, 1), (C, 2), (B, 1), (B, 2)]
        assert self.walk(store, given=False, peer=B) == [(B, 1), (B, 2)]
        assert self.walk(store, given=True) == [(B, 1)]

    @pytest.mark.usefixtures("listed")
    def test_those_about_one_record_are_found(self, store, sent):
        assert self.walk(store, given=False, digest=sent[1]) == [(B, 2)]
        assert self.walk(store, given=True, digest=sent[2]) == [(B, 1)]
        assert self.walk(store, given=True, digest=sent[0]) == []

    @pytest.mark.usefixtures("listed")
    def test_a_token_is_of_one_listing(self, store):
        _, token = store.receipts.list(given=False, page_size=1)
        with pytest.raises(MalformedRequest):
            store.receipts.list(given=True, page_size=1, page_token=token)


def test_a_peer_is_asked_from_the_beginning_and_then_from_where_it_stopped(store):
    assert store.recoveries.begin(B, now=NOW)
    assert not store.recoveries.begin(B, now=NOW)
    assert store.recoveries.begin(C, now=NOW + 1)
    store.recoveries.advance(B, "a digest")
    assert store.recoveries.open() == {B: "a digest", C: ""}
    store.recoveries.advance(B, "")
    assert store.recoveries.open() == {C: ""}
    assert store.recoveries.begin(B, now=NOW + 2)
