"""What our side looks at last, when a page is there: who sent it may have been stopped on the way."""

import pytest

from tests.exchange.links import side_of
from tests.exchange.parties import A, B
from tests.support.organisations import NOW, YEAR
from tocsin.errors import IdentityOutdated, NotFound, NotPermitted, StaleCursor
from tocsin.exchange import side as ours
from tocsin.exchange.outbox import Limits
from tocsin.store.model import PeerRole, PeerState

STOPPED = {
    "suspended": (lambda peers: peers.set_state(A, PeerState.SUSPENDED), NOW, NotPermitted, "NOT_PERMITTED"),
    "removed": (lambda peers: peers.set_state(A, PeerState.REMOVED), NOW, NotFound, "NOT_FOUND"),
    "a reader by now": (lambda peers: peers.set_role(A, PeerRole.READER), NOW, NotPermitted, "NOT_PERMITTED"),
    "out of date": (lambda peers: None, NOW + YEAR, IdentityOutdated, "IDENTITY_OUTDATED"),
}


@pytest.mark.parametrize(("stop", "now", "error", "reason"), STOPPED.values(), ids=STOPPED)
def test_a_page_of_a_peer_that_was_stopped_meanwhile_is_not_taken(a, b, stop, now, error, reason):
    a.post()
    page = a.page_for(B)
    stop(b.store.peers)
    before = b.state()
    with pytest.raises(error) as refused:
        side_of(b, now=now).accept(A, page)
    assert refused.value.reason == reason
    assert b.state() == before


def test_a_page_of_a_member_is_taken(a, b):
    a.post()
    b.hears(a)
    assert side_of(b).accept(A, a.page_for(B)).records == 1


@pytest.mark.parametrize(("asked", "entries"), [(0, 3), (2, 2), (9, 3)])
def test_a_partner_may_ask_for_smaller_pages_and_never_for_larger_ones(a, monkeypatch, asked, entries):
    monkeypatch.setattr(ours, "LIMITS", Limits(entries=3))
    for number in range(4):
        a.post({"title": f"n{number}"})
    page = side_of(a).next_page(B, "", max_entries=asked)
    assert (len(page.entries), page.more) == (entries, True)
    assert a.store.peers.get(B).last_sent_at == NOW


def test_what_a_partner_has_acknowledged_is_where_it_goes_on(a, b):
    a.post()
    b.hears(a)
    ours, theirs = side_of(a), side_of(b)
    assert (ours.acknowledged(B), ours.last_held(B)) == ("", "")
    page = ours.next_page(B, "")
    received = theirs.accept(A, page)
    receipts = theirs.receipts(A)
    ours.acknowledge(B, receipts)
    theirs.handed_over(A, receipts)
    assert ours.acknowledged(B) == page.cursor == theirs.stored(A)
    assert ours.last_held(B) == received.receipt.digest
    assert theirs.receipts(A) == ()


def test_what_a_partner_does_not_take_is_signed_again(a, b):
    a.post()
    b.hears(a)
    side = side_of(b)
    side.accept(A, side_of(a).next_page(B, ""))
    (before,) = side.receipts(A)
    side.sign_again(A)
    (after,) = side.receipts(A)
    assert before != after
    side.handed_over(A, [after])
    assert side.receipts(A) == ()


def test_a_page_that_the_sender_chose_is_told_its_place(a, b):
    for number in range(3):
        a.post({"title": f"n{number}"})
    b.hears(a)
    first = a.page_for(B, limits=Limits(entries=1))
    second = a.page_for(B, first.cursor, limits=Limits(entries=1))
    side = side_of(b)
    with pytest.raises(StaleCursor) as refused:
        side.accept(A, second, pushed=True)
    assert refused.value.metadata["cursor"] == ""
    side.accept(A, first, pushed=True)
    assert len(side.receipts_behind(A, "")) == 1


ORIGINS = {
    PeerState.PENDING: False,
    PeerState.ACTIVE: True,
    PeerState.SUSPENDED: True,
    PeerState.KNOWN: True,
    PeerState.REMOVED: False,
}


@pytest.mark.parametrize(("state", "counts"), ORIGINS.items())
def test_keys_count_for_what_others_pass_on_where_somebody_confirmed_them(a, state, counts):
    a.store.peers.set_state(B, state)
    assert (side_of(a).origin(B) is not None) is counts
    assert side_of(a).origin("nobody.example") is None
    assert side_of(a).origin(A) is a.founded.organisation


def test_what_a_peer_says_its_clock_is_is_known(a):
    side = side_of(a)
    side.note_clock(B, NOW + 7)
    assert side.contacts.clock_ahead(B) == 7


def test_a_peer_is_asked_for_what_is_lost_once_that_is_known(a, b):
    record = a.post()
    b.hears(a)
    side_of(b).accept(A, side_of(a).next_page(B, ""))
    side = side_of(a)
    assert side.to_recover(B) is None
    a.store.recoveries.begin(B, now=NOW)
    assert side.to_recover(B) == ""
    (token,) = side_of(b).what_is_held(A, "").records
    assert token.startswith(record.token.partition("~")[0])
