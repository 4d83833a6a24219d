"""What was taken back stays so, in whatever order it, the record and its other versions come."""

from itertools import permutations
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.making import make_record, make_retraction, record_id, seen_by_others
from tests.support.organisations import NOW, found
from tests.support.stores import new_store
from tocsin.errors import MalformedRequest
from tocsin.records.record import VerifiedRecord
from tocsin.records.retraction import Action
from tocsin.store.model import Added, RecordFilter, Standing

CURRENT, REPLACED, EQUIVOCAL, WITHDRAWN, PURGED = (Standing(name) for name in Standing)
NAME = record_id("taken back")
ONE, TWO, THREE = (make_record({"title": f"version {number}"}, record_id=NAME, version=number) for number in (1, 2, 3))
TWIN = make_record({"title": "another version 2"}, record_id=NAME, version=2)
CORRECT_1, CORRECT_2 = (make_retraction(record, Action.CORRECT) for record in (ONE, TWO))
WITHDRAW = make_retraction(TWO, tlp="AMBER")
PURGE = make_retraction(ONE, Action.PURGE, tlp="RED")

WHERE_THEY_STAND = {
    "nothing is over": ((ONE, TWO), (REPLACED, CURRENT)),
    "a correction": ((ONE, CORRECT_1), (REPLACED,)),
    "a correction and what it points to": ((ONE, TWO, CORRECT_1), (REPLACED, CURRENT)),
    "two corrections": ((ONE, TWO, CORRECT_1, CORRECT_2), (REPLACED, REPLACED)),
    "a correction of an old version": ((TWO, THREE, CORRECT_1), (REPLACED, CURRENT)),
    "evidence": ((TWO, TWIN), (EQUIVOCAL, EQUIVOCAL)),
    "evidence that a later version stands above": ((TWO, TWIN, THREE), (EQUIVOCAL, EQUIVOCAL, CURRENT)),
    "evidence that was corrected": ((TWO, TWIN, CORRECT_2), (EQUIVOCAL, EQUIVOCAL)),
    "a withdrawal": ((ONE, TWO, WITHDRAW), (WITHDRAWN, WITHDRAWN)),
    "a withdrawal, and a later version": ((WITHDRAW, THREE), (WITHDRAWN,)),
    "a withdrawal and a correction": ((ONE, TWO, WITHDRAW, CORRECT_1), (WITHDRAWN, WITHDRAWN)),
    "a withdrawal of evidence": ((TWO, TWIN, WITHDRAW), (WITHDRAWN, WITHDRAWN)),
    "a purge": ((ONE, TWO, PURGE), (PURGED, PURGED)),
    "a purge and everything weaker": ((TWO, PURGE, WITHDRAW, CORRECT_1), (PURGED,)),
    "a purge of evidence": ((TWO, TWIN, PURGE), (PURGED, PURGED)),
}


def take(store, thing, *, keep=False):
    """Do what a node does with what comes in; `keep` says that it may not delete."""
    if isinstance(thing, VerifiedRecord):
        return store.records.add(thing, received_from="lab-b.example", now=NOW)
    with store.transaction():
        added = store.retractions.add(thing, received_from="lab-b.example", now=NOW)
        if thing.action is Action.PURGE and not keep:
            for version in store.records.history(thing.issuer, thing.record_id):
                store.records.erase(version.digest)
    return added


def state_of(store, things):
    return {
        thing.digest: (stored.standing, stored.marking, stored.token, stored.title)
        for thing in things
        if isinstance(thing, VerifiedRecord) and (stored := store.records.get(thing.digest))
    }


@pytest.mark.parametrize("case", WHERE_THEY_STAND)
def test_the_order_of_arrival_does_not_matter(tmp_path, case):
    things, standings = WHERE_THEY_STAND[case]
    ends = []
    for number, order in enumerate(permutations(things)):
        with new_store(tmp_path / f"{number}.db") as store:
            for thing in (*order, order[0]):
                take(store, thing)
            ends.append(state_of(store, things))
            assert list(store.problems()) == []
    assert [state[0] for state in ends[0].values()] == list(standings)
    assert all(end == ends[0] for end in ends)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations([ONE, TWO, TWIN, THREE, CORRECT_1, CORRECT_2, WITHDRAW, PURGE]), length=st.integers(1, 8))
def test_any_part_of_a_history_comes_to_one_end(tmp_path_factory, order, length):
    part, ends = order[:length], []
    for things in (part, part[::-1], sorted(part, key=lambda thing: thing.digest)):
        path = tmp_path_factory.mktemp("order") / "tocsin.db"
        with new_store(path) as store:
            for thing in things:
                take(store, thing)
            ends.append(state_of(store, part))
            assert store.records.counts().received == sum(state[0] is CURRENT for state in ends[-1].values()) <= 1
    assert ends[0] == ends[1] == ends[2]


class TestAdding:
    @pytest.mark.parametrize(
        ("retraction", "kept"), [pytest.param(WITHDRAW, True, id="withdrawn"), pytest.param(PURGE, False, id="purged")]
    )
    def test_what_comes_behind_its_retraction_is_no_news(self, store, retraction, kept):
        assert take(store, retraction)
        assert take(store, TWO) is Added.RETRACTED
        assert take(store, TWO) is Added.RETRACTED
        assert bool(store.records.token(TWO.digest)) is kept
        assert bool(store.records.get(TWO.digest).title) is kept
        assert store.records.search("version") == ()
        assert store.records.list(RecordFilter()).total == 0

    def test_one_that_is_kept_already_is_said_to_be(self, store):
        assert take(store, PURGE)
        assert not take(store, PURGE)

    SAID: ClassVar = {
        "withdrawn twice": (WITHDRAW, make_retraction(TWO, Action.WITHDRAW, now=NOW + 1), False),
        "withdrawn under a stricter marking": (WITHDRAW, make_retraction(TWO, Action.WITHDRAW, tlp="RED"), True),
        "corrected when it was purged": (PURGE, make_retraction(TWO, Action.CORRECT, now=NOW + 1), False),
        "corrected up to an earlier version": (CORRECT_2, make_retraction(ONE, Action.CORRECT, now=NOW + 1), False),
        "corrected up to an earlier version, under a stricter marking": (
            CORRECT_2,
            make_retraction(ONE, Action.CORRECT, tlp="RED"),
            True,
        ),
        "purged when it was withdrawn": (WITHDRAW, PURGE, True),
    }

    @pytest.mark.parametrize(("first", "second", "says_more"), SAID.values(), ids=SAID)
    def test_an_origin_that_says_again_what_it_said_fills_nothing(self, store, first, second, says_more):
        for thing in (ONE, TWO, first):
            take(store, thing)
        assert take(store, second) is says_more
        assert (second.digest in {row.digest for row in store.retractions.of(ONE.issuer, NAME)}) is says_more

    def test_what_was_withdrawn_does_not_grow(self, store):
        take(store, seen_by_others(TWO, "title"))
        take(store, WITHDRAW)
        assert take(store, TWO) is Added.RETRACTED
        assert "summary" not in store.records.get(TWO.digest).content

    def test_a_retraction_counts_for_the_records_of_its_issuer(self, store):
        other = found("lab-b.example")
        theirs = make_record(record_id=NAME, by=other)
        take(store, ONE)
        take(store, theirs)
        take(store, PURGE)
        assert store.records.get(ONE.digest).standing is PURGED
        assert store.records.get(theirs.digest).standing is CURRENT


class TestPurging:
    def test_what_may_not_be_deleted_is_withdrawn_until_it_may(self, store):
        take(store, TWO)
        take(store, PURGE, keep=True)
        assert store.records.get(TWO.digest).standing is WITHDRAWN
        assert store.records.token(TWO.digest)
        assert take(store, THREE) is Added.RETRACTED
        assert store.records.token(THREE.digest) is None, "there is nothing to keep for the law of what was not here"
        store.records.erase(TWO.digest)
        assert store.records.get(TWO.digest).standing is PURGED

    def test_what_its_date_has_erased_is_purged_as_well(self, store):
        take(store, TWO)
        store.records.erase(TWO.digest)
        assert store.records.get(TWO.digest).standing is CURRENT
        take(store, PURGE, keep=True)
        assert store.records.get(TWO.digest).standing is PURGED


class TestMarkings:
    def test_the_stricter_marking_counts(self, store):
        take(store, ONE)
        take(store, make_retraction(ONE, tlp="CLEAR"))
        assert store.records.get(ONE.digest).marking == "GREEN"
        take(store, PURGE)
        assert store.records.get(ONE.digest).marking == "RED"

    def test_a_correction_speaks_of_the_versions_up_to_its_own(self, store):
        take(store, make_retraction(ONE, Action.CORRECT, tlp="RED"))
        take(store, ONE)
        take(store, TWO)
        assert [version.marking for version in store.records.history(ONE.issuer, NAME)] == ["RED", "GREEN"]

    def test_a_schedule_does_not_lower_it(self, store):
        take(store, ONE)
        take(store, WITHDRAW)
        store.records.remark(ONE.digest, "CLEAR")
        assert store.records.get(ONE.digest).marking == "AMBER"


class TestReading:
    def test_the_strongest_comes_first(self, store):
        for retraction in (CORRECT_1, CORRECT_2, WITHDRAW, PURGE):
            take(store, retraction)
        assert [row.digest for row in store.retractions.of(ONE.issuer, NAME)] == [
            PURGE.digest,
            WITHDRAW.digest,
            CORRECT_2.digest,
            CORRECT_1.digest,
        ]
        assert store.retractions.of("lab-b.example", NAME) == ()

    def test_they_are_listed_newest_first_without_corrections(self, store):
        records = [make_record() for _ in range(5)]
        made = [make_retraction(record) for record in records]
        for retraction in (CORRECT_1, *made):
            take(store, retraction)
        listed, token = [], ""
        while True:
            rows, token = store.retractions.list(page_size=2, page_token=token)
            listed += [row.digest for row in rows]
            if not token:
                break
        assert listed == [retraction.digest for retraction in reversed(made)]
        digests = sorted(retraction.digest for retraction in (CORRECT_1, *made))
        assert [row.digest for row in store.retractions.issued(ONE.issuer)] == digests
        assert [row.digest for row in store.retractions.issued("", after=digests[2])] == digests[3:]
        with pytest.raises(MalformedRequest):
            store.retractions.list(page_token="of another listing")

    def test_everything_said_is_kept(self, store):
        retraction = make_retraction(ONE, reason="error", now=NOW - 5)
        store.retractions.add(retraction, person="analyst-1", now=NOW)
        (row,) = store.retractions.of(ONE.issuer, NAME)
        assert (row.token, row.reason, row.issued_at, row.person, row.received_from, row.stored_at) == (
            retraction.token,
            "error",
            NOW - 5,
            "analyst-1",
            "",
            NOW,
        )

    def test_a_history_and_what_an_issuer_has_signed(self, store):
        for record in (TWO, TWIN, ONE):
            take(store, record)
        assert [version.version for version in store.records.history(ONE.issuer, NAME)] == [1, 2, 2]
        digests = sorted(record.digest for record in (ONE, TWO, TWIN))
        assert [record.digest for record in store.records.issued(ONE.issuer, after="", limit=2)] == digests[:2]
        assert [record.digest for record in store.records.issued(ONE.issuer, after=digests[1], limit=2)] == digests[2:]
        store.records.erase(digests[2])
        assert store.records.issued(ONE.issuer, after=digests[1], limit=2) == ()

    def test_evidence_of_two_stories_outlives_their_withdrawal(self, store):
        for thing in (TWO, TWIN, PURGE):
            take(store, thing)
        assert store.records.equivocations() == ((ONE.issuer, NAME, 2, (TWO.digest, TWIN.digest)),)
