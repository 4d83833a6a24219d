"""What every store must do with what waits for a decision, and with what is to be done at a time."""

from dataclasses import replace

import pytest

from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.errors import Conflict, NotFound
from tocsin.store.model import DisclosureRequest, Due, DueKind, Opinion, Proposal, ReviewState

B, C = "lab-b.example", "aisi.example"


@pytest.fixture
def digests(store):
    made = [make_record() for _ in range(2)]
    for record in made:
        store.records.add(record, now=NOW)
    return [record.digest for record in made]


def proposed(digest, name="pro-1", *, at=NOW):
    return Proposal(name, digest, f'{{"of":"{name}"}}', ReviewState.OPEN, ("analyst-1",), at, 2)


def asked(digest, name="req-1", *, peer=B, at=NOW):
    return DisclosureRequest(name, peer, digest, ("steps", "poc"), "to reproduce it", at, ReviewState.OPEN)


class TestReviews:
    def test_a_proposal_and_a_request_come_back_as_they_were_put_in(self, store, digests):
        store.reviews.propose(proposed(digests[0]))
        store.reviews.ask(asked(digests[0]))
        assert store.reviews.get("pro-1") == proposed(digests[0])
        assert store.reviews.get("req-1") == asked(digests[0])
        assert store.reviews.of(digests[0]) == (proposed(digests[0]),)
        assert store.reviews.of(digests[1]) == ()

    def test_reviews_of_both_sorts_are_listed_oldest_first(self, store, digests):
        store.reviews.propose(proposed(digests[0], at=NOW + 2))
        store.reviews.ask(asked(digests[0], at=NOW + 1))
        store.reviews.propose(proposed(digests[1], "pro-0", at=NOW + 3))
        assert [review.id for review in store.reviews.list(open_only=True)] == ["req-1", "pro-1", "pro-0"]
        assert store.reviews.count_open() == 3

    def test_what_is_decided_waits_no_more(self, store, digests):
        store.reviews.propose(proposed(digests[0]))
        store.reviews.ask(asked(digests[0]))
        store.reviews.set_state("pro-1", ReviewState.VOID)
        store.reviews.set_state("req-1", ReviewState.REJECTED)
        assert store.reviews.list(open_only=True) == ()
        assert store.reviews.count_open() == 0
        assert {review.state for review in store.reviews.list(open_only=False)} == {"void", "rejected"}

    def test_a_review_is_found_by_the_beginning_of_its_id(self, store, digests):
        for name in ("aB_c1", "aB_c2", "aB_c22", "ab_c1"):
            store.reviews.propose(proposed(digests[0], name))
        store.reviews.ask(asked(digests[0], "zz-1"))
        found = {prefix: store.reviews.get(prefix).id for prefix in ("aB_c1", "aB_c2", "aB_c22", "ab", "z", "zz-1")}
        assert found == {
            "aB_c1": "aB_c1",
            "aB_c2": "aB_c2",
            "aB_c22": "aB_c22",
            "ab": "ab_c1",
            "z": "zz-1",
            "zz-1": "zz-1",
        }

    def test_a_beginning_of_several_ids_names_them(self, store, digests):
        store.reviews.propose(proposed(digests[0], "ab1"))
        store.reviews.ask(asked(digests[0], "ab2"))
        with pytest.raises(Conflict) as refused:
            store.reviews.get("ab")
        assert refused.value.reason == "CONFLICT"
        assert refused.value.hint == "it may be ab1, ab2"

    @pytest.mark.parametrize("name", ["", "%", "_ro-1", "nothing"], ids=repr)
    def test_what_is_not_there_is_not_found(self, store, digests, name):
        store.reviews.propose(proposed(digests[0]))
        for call in (store.reviews.get, lambda review: store.reviews.set_state(review, ReviewState.VOID)):
            with pytest.raises(NotFound) as refused:
                call(name)
            assert refused.value.reason == "NOT_FOUND"

    def test_the_last_word_of_each_person_counts(self, store, digests):
        store.reviews.propose(proposed(digests[0]))
        store.reviews.propose(proposed(digests[0], "pro-2"))
        first = Opinion("counsel", True, "statement-1", NOW)
        other = Opinion("operator", True, "statement-2", NOW + 1)
        second = Opinion("counsel", False, "statement-3", NOW + 2)
        for opinion in (first, other):
            store.reviews.decide("pro-1", opinion)
        assert store.reviews.opinions("pro-1") == (first, other)
        store.reviews.decide("pro-1", second)
        assert store.reviews.opinions("pro-1") == (other, second)
        assert store.reviews.opinions("pro-2") == ()

    def test_requests_are_counted_for_each_peer(self, store, digests):
        store.reviews.ask(asked(digests[0]))
        store.reviews.ask(asked(digests[0], "req-2", at=NOW + 5))
        store.reviews.ask(asked(digests[1], "req-3", peer=C))
        assert [request.id for request in store.reviews.asked(B, digests[0])] == ["req-1", "req-2"]
        assert store.reviews.asked(B, digests[1]) == ()
        assert store.reviews.count_asked(B, since=NOW, until=NOW + 9) == 2
        assert store.reviews.count_asked(B, since=NOW + 1, until=NOW + 9) == 1
        assert store.reviews.count_asked(B, since=NOW, until=NOW) == 1

    def test_nothing_is_proposed_about_what_is_not_held(self, store):
        for call in (lambda: store.reviews.propose(proposed("nothing")), lambda: store.reviews.ask(asked("nothing"))):
            with pytest.raises(NotFound):
                call()


class TestDues:
    def test_what_is_due_comes_earliest_first(self, store, digests):
        assert store.dues.next_at() is None
        late = Due(DueKind.RETENTION, digests[0], "", NOW + 9)
        early = Due(DueKind.HOLD, digests[1], B, NOW + 1)
        for due in (late, early, early):
            store.dues.add(due)
        assert store.dues.next_at() == NOW + 1
        assert store.dues.until(NOW, limit=9) == ()
        assert store.dues.until(NOW + 1, limit=9) == (early,)
        assert store.dues.until(NOW + 9, limit=9) == (early, late)
        assert store.dues.until(NOW + 9, limit=1) == (early,)

    def test_what_is_done_is_gone_and_the_rest_stays(self, store, digests):
        due = Due(DueKind.HOLD, digests[0], B, NOW)
        others = (
            replace(due, partner=C),
            replace(due, kind=DueKind.EMBARGO),
            replace(due, digest=digests[1]),
            replace(due, due_at=NOW + 1),
        )
        for each in (due, *others):
            store.dues.add(each)
        store.dues.done(due)
        store.dues.done(due)
        assert set(store.dues.until(NOW + 1, limit=9)) == set(others)

    def test_nothing_is_due_about_what_is_not_held(self, store):
        with pytest.raises(NotFound):
            store.dues.add(Due(DueKind.HOLD, "nothing", B, NOW))
