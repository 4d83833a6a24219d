"""Pages that are asked for at the same time are made together, and each fails alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.exchange.parties import A, B, C, Party, founded
from tests.store.test_sqlite import overfill
from tests.support.organisations import NOW
from tocsin.errors import Overloaded, StaleCursor, StoreCorrupt
from tocsin.exchange import outbox, rounds
from tocsin.exchange.rounds import Rounds
from tocsin.store.model import AuditFilter


@pytest.fixture
def held(monkeypatch):
    """Return how many pages were made in each round."""
    sizes, hold = [], rounds._hold

    def holding(office, asks):
        sizes.append(len(asks))
        hold(office, asks)

    monkeypatch.setattr(rounds, "_hold", holding)
    return sizes


def ask(a, shared, cursors):
    """Ask for the pages of several partners at once, and return each, or what was raised."""
    office, begun = a.office, threading.Barrier(len(cursors))

    def one(partner):
        begun.wait()
        signer = founded(A).delivery
        return outbox.next_page(office, partner, cursors[partner], signer=signer, now=a.now, rounds=shared)

    with ThreadPoolExecutor(len(cursors)) as pool:
        calls = {partner: pool.submit(one, partner) for partner in cursors}
        return {partner: call.exception() or call.result() for partner, call in calls.items()}


class Gathering(Rounds):
    """Holds its first round when so many have asked."""

    def __init__(self, count):
        super().__init__()
        self._count = count

    def _next(self):
        while len(self._asked) < self._count:
            threading.Event().wait(0.001)
        self._count = 0
        return super()._next()


def seals(a):
    return [bool(row.seal) for row in a.store.audit.list(AuditFilter(act="sent"), limit=9)]


def test_pages_of_one_round_are_kept_together_and_sealed_once(a, held):
    record = a.post()
    pages = ask(a, Gathering(2), {B: "", C: ""})
    assert {org: [entry.digest for entry in page.entries] for org, page in pages.items()} == {
        B: [record.digest],
        C: [record.digest],
    }
    assert (held, seals(a)) == ([2], [False, True])
    assert {a.store.feeds.waiting(org) for org in (B, C)} == {0}


def test_each_page_says_what_its_own_partner_gets(a, held):
    for_all, for_one = a.post(), a.post(to=[C])
    pages = ask(a, Gathering(2), {B: "", C: ""})
    assert held == [2]
    assert [entry.digest for entry in pages[B].entries] == [for_all.digest]
    assert [entry.digest for entry in pages[C].entries] == [for_all.digest, for_one.digest]


def test_a_page_that_fails_leaves_the_others_theirs(a, held, monkeypatch):
    a.post()
    make = outbox._make_page

    def fail_for_c(partner, *given, **named):
        made = make(partner, *given, **named)
        if partner == C:
            raise StoreCorrupt("a bug met with one partner")
        return made

    monkeypatch.setattr(outbox, "_make_page", fail_for_c)
    pages = ask(a, Gathering(2), {B: "", C: ""})
    assert held == [2]
    assert isinstance(pages[C], StoreCorrupt)
    assert len(pages[B].entries) == 1
    assert (a.store.feeds.get(B).head, a.store.feeds.get(C)) == (1, None)
    assert [row.partner for row in a.store.audit.list(AuditFilter(act="sent"), limit=9)] == [B]
    assert a.store.feeds.waiting(C) == 1


def test_a_round_that_cannot_be_kept_gives_nobody_a_page(a, held, monkeypatch):
    a.post()
    log = type(a.office.log)

    def full(*given, **named):
        raise OSError("no space")

    monkeypatch.setattr(log, "append", full)
    pages = ask(a, Gathering(2), {B: "", C: ""})
    assert held == [2, 1, 1]
    assert [str(page) for page in pages.values()] == ["no space", "no space"]
    assert (a.store.feeds.get(B), a.store.feeds.get(C)) == (None, None)


def test_a_round_that_does_not_begin_is_not_tried_again_for_each(a, held, monkeypatch):
    a.post()
    monkeypatch.setattr(Party, "policies", property(lambda _: pytest.fail("the disk hangs")), raising=False)
    pages = ask(a, Gathering(2), {B: "", C: ""})
    assert held == [2]
    assert [str(page) for page in pages.values()] == ["the disk hangs"] * 2


@pytest.mark.parametrize("full", [B, C])
def test_a_page_that_the_disk_has_no_room_for_takes_no_other_page_with_it(a, held, monkeypatch, full):
    """SQLite takes the whole transaction back by itself then: what is written behind it would be kept at once."""
    (other,) = {B, C} - {full}
    a.post()
    make = outbox._make_page

    def fill_disk(partner, *given, **named):
        made = make(partner, *given, **named)
        if partner == full:
            overfill(a.store)
        return made

    monkeypatch.setattr(outbox, "_make_page", fill_disk)
    pages = ask(a, Gathering(2), {B: "", C: ""})
    assert held == [2, 1, 1]
    assert (type(pages[full]), pages[full].reason) == (Overloaded, "NO_SPACE")
    assert len(pages[other].entries) == 1
    assert (a.store.feeds.get(full), a.store.feeds.get(other).head) == (None, 1)
    assert [row.partner for row in a.store.audit.list(AuditFilter(act="sent"), limit=9)] == [other]


def test_a_cursor_of_another_feed_is_the_trouble_of_its_own_partner(a, held):
    a.post()
    pages = ask(a, Gathering(1), {B: "", C: "A" * 22 + ".7"})
    assert isinstance(pages[C], StaleCursor)
    assert len(pages[B].entries) == 1


def test_a_round_looks_at_no_more_records_than_a_page_holds(a, held, monkeypatch):
    monkeypatch.setattr(rounds, "MOST_LOOKED_AT", 5)
    for number in range(3):
        a.post({"title": f"n{number}"})
    pages = ask(a, Gathering(2), {B: "", C: ""})
    assert [len(page.entries) for page in pages.values()] == [3, 3]
    assert held == [1, 1]


def test_a_round_loads_no_more_text_than_a_page_is_made_from(a, held, monkeypatch):
    monkeypatch.setattr(rounds, "MOST_CHARACTERS", len(a.post().token))
    pages = ask(a, Gathering(2), {B: "", C: ""})
    assert [len(page.entries) for page in pages.values()] == [1, 1]
    assert held == [1, 1]


def test_nothing_goes_when_our_log_was_stopped_while_the_page_was_asked_for(a, monkeypatch):
    record, ahead = a.post(), outbox._verify_ahead

    def then_stopped(*given, **named):
        found = ahead(*given, **named)
        a.store.logs.stop(A, "the home was put back", now=NOW)
        return found

    monkeypatch.setattr(outbox, "_verify_ahead", then_stopped)
    assert a.page_for(B) is None
    assert a.store.feeds.candidates(B, limit=9) == (record.digest,)
    assert a.store.feeds.get(B) is None


def test_who_asks_alone_waits_for_nobody(a, held):
    a.post()
    assert len(ask(a, Rounds(), {B: ""})[B].entries) == 1
    assert held == [1]
