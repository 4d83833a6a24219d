"""What our side looks at last, when a page is there: who sent it may have been stopped on the way."""

import pytest

from tests.exchange.parties import A, B
from tests.support.organisations import NOW, YEAR
from tocsin.errors import IdentityOutdated, NotFound, NotPermitted
from tocsin.exchange import side as ours
from tocsin.exchange.directory import Directory
from tocsin.exchange.outbox import Limits
from tocsin.exchange.peer import TlsKeys
from tocsin.exchange.side import Side
from tocsin.identity.certificate import certificate_pem
from tocsin.store.model import PeerRole, PeerState


def side_of(party, *, now=NOW):
    certificate = certificate_pem(party.founded.organisation.node_certs[0])
    return Side(
        office=party.office,
        delivery_signer=party.founded.delivery,
        keys=TlsKeys(b"", certificate),
        directory=Directory(party.store, own_certificate=certificate),
        clock=lambda: now,
    )


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
    assert side_of(b).accept(A, a.page_for(B)).records == 1


@pytest.mark.parametrize(("asked", "entries"), [(0, 3), (2, 2), (9, 3)])
def test_a_partner_may_ask_for_smaller_pages_and_never_for_larger_ones(a, monkeypatch, asked, entries):
    monkeypatch.setattr(ours, "LIMITS", Limits(entries=3))
    for number in range(4):
        a.post({"title": f"n{number}"})
    page = side_of(a).next_page(B, "", max_entries=asked)
    assert (len(page.entries), page.more) == (entries, True)
    assert a.store.peers.get(B).last_sent_at == NOW


def test_what_a_partner_has_acknowledged_is_where_it_goes_on(a):
    a.post()
    side = side_of(a)
    assert side.acknowledged(B) == ""
    page = side.next_page(B, "")
    side.acknowledge(B, page.cursor)
    assert side.acknowledged(B) == page.cursor
