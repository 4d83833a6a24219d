"""Peers that send us in circles: what they say must bring us forward."""

import asyncio
from contextlib import aclosing

import pytest

from tocsin.errors import PeerMisbehaved
from tocsin.exchange.pull import _pull, follow_feed, push_feed
from tocsin.exchange.receive import Received
from tocsin.v1 import exchange_service_pb2 as v1

ONE, OTHER = "A" * 22, "B" * 21 + "A"
LAB = "lab-b.example"


class Side:
    """Stores every page, and has a page after every cursor."""

    def __init__(self, stored="", acknowledged=""):
        self.taken, self._stored, self._acknowledged = [], stored, acknowledged

    def stored(self, org):
        return self._stored

    def acknowledged(self, org):
        return self._acknowledged

    def accept(self, org, page):
        self.taken.append(page.cursor)
        return Received(cursor=page.cursor)

    def acknowledge(self, org, cursor):
        pass

    def next_page(self, org, cursor):
        return v1.Page(cursor=f"{ONE}.9")


class Client:
    """Answers one after another of the cursors that it was given."""

    def __init__(self, *cursors):
        self.cursors = iter(cursors)

    async def pull(self, cursor):
        return v1.Page(cursor=next(self.cursors))

    async def subscribe(self, cursor):
        for following in self.cursors:
            yield v1.Page(cursor=following)

    async def deliver(self, page):
        return next(self.cursors)

    async def acknowledge(self, cursor):
        pass


def everything(feed):
    async def run():
        async with aclosing(feed) as pages:
            async for _ in pages:
                pass

    asyncio.run(run())


@pytest.mark.parametrize("reading", [_pull, follow_feed])
def test_a_peer_that_goes_from_feed_to_feed_is_not_followed(reading):
    side = Side()
    with pytest.raises(PeerMisbehaved) as refused:
        everything(reading(Client(f"{ONE}.1", f"{OTHER}.1", f"{ONE}.1"), LAB, side=side))
    assert refused.value.reason == "PEER_MISBEHAVED"
    assert side.taken == [f"{ONE}.1"]


@pytest.mark.parametrize("reading", [_pull, follow_feed])
def test_a_peer_answers_with_the_feed_that_it_was_asked_for(reading):
    side = Side(stored=f"{ONE}.4")
    with pytest.raises(PeerMisbehaved):
        everything(reading(Client(f"{OTHER}.1"), LAB, side=side))
    assert side.taken == []


def test_a_peer_that_sends_the_same_page_again_and_again_is_not_asked_for_more():
    side = Side()
    with pytest.raises(PeerMisbehaved) as refused:
        everything(_pull(Client(f"{ONE}.1", f"{ONE}.1", f"{ONE}.1"), LAB, side=side))
    assert refused.value.reason == "PEER_MISBEHAVED"
    assert side.taken == [f"{ONE}.1"] * 2


@pytest.mark.parametrize("cursor", [f"{ONE}.4", f"{ONE}.3", ""])
def test_a_peer_that_takes_our_pages_and_stores_nothing_is_not_given_more(cursor):
    """Else one that names two cursors in turn would have us make pages for ever."""
    client = Client(cursor, f"{ONE}.5", f"{ONE}.4")
    with pytest.raises(PeerMisbehaved) as refused:
        asyncio.run(push_feed(client, LAB, side=Side(acknowledged=f"{ONE}.4")))
    assert refused.value.reason == "PEER_MISBEHAVED"
    assert next(client.cursors) == f"{ONE}.5"
