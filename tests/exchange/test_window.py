"""A subscription waits for receipts, and goes on when they come; what comes in by Deliver wakes whoever it is for."""

import asyncio
from contextlib import aclosing

import pytest

from tests.exchange.links import side_of
from tests.exchange.pages import page_of
from tests.exchange.parties import RELAYED, A, B, C
from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.errors import QuotaExceeded, StaleCheckpoint, StaleCursor
from tocsin.exchange import side as ours
from tocsin.exchange.bell import Bell
from tocsin.exchange.outbox import Limits
from tocsin.exchange.quota import Budget
from tocsin.services import doorkeeper
from tocsin.services import exchange as service_module
from tocsin.services.exchange import ExchangeService
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.watch.comparison import Comparison
from tocsin.watch.growth import read_growth


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(ours, "LIMITS", Limits(entries=1))
    monkeypatch.setattr(service_module, "WINDOW", 2)


def serving(side, *, bell=None):
    return ExchangeService(side, bell=bell or Bell(), heartbeat_seconds=0.01)


def calling(side, org):
    """Take the part of a peer that was let in at the door."""
    return doorkeeper._caller.set(side.directory.get(org))


def post(a, count, *, heard_by=None):
    """Post some records; `heard_by` has read the log by then."""
    for number in range(count):
        a.post({"title": f"n{number}"})
    if heard_by is not None:
        heard_by.hears(a)


def test_a_stream_that_waits_for_receipts_ends_when_its_feed_begins_anew(a):
    async def run():
        side = side_of(a)
        calling(side, B)
        async with aclosing(serving(side).Subscribe(v1.SubscribeRequest(), None)) as answers:
            async for answer in answers:
                if not answer.HasField("page"):
                    a.store.feeds.renew(B, feed_id="B" * 21 + "A", now=NOW)

    post(a, 5)
    with pytest.raises(StaleCursor) as refused:
        asyncio.run(run())
    assert refused.value.reason == "STALE_CURSOR"


def test_no_more_pages_go_than_a_window_until_a_receipt_comes(a, b):
    async def run():
        side, peer = side_of(a), side_of(b)
        calling(side, B)
        service = serving(side)
        sent = []
        async with aclosing(service.Subscribe(v1.SubscribeRequest(), None)) as answers:
            async for answer in answers:
                if answer.HasField("page"):
                    peer.accept(A, answer.page)
                    sent.append(answer.page.cursor)
                    continue
                receipts = peer.receipts(A)
                if not receipts:
                    break
                assert len(sent) % 2 == 0 or len(sent) == 5
                await service.Acknowledge(v1.AcknowledgeRequest(receipts=receipts), None)
                peer.handed_over(A, receipts)
        return sent

    post(a, 5, heard_by=b)
    assert [int(cursor.split(".")[1]) for cursor in asyncio.run(run())] == [1, 2, 3, 4, 5]


def test_what_our_log_has_grown_by_comes_with_the_page_that_needs_it(a, b):
    async def run():
        side, peer, bell = side_of(a), side_of(b), Bell()
        calling(side, B)
        service = ExchangeService(side, bell=bell, heartbeat_seconds=60)
        async with aclosing(service.Subscribe(v1.SubscribeRequest(), None)) as answers:
            assert not (await anext(answers)).HasField("page")
            for number in range(2):
                post(a, 1)
                bell.ring((B,))
                answer = await anext(answers)
                with pytest.raises(StaleCheckpoint):
                    peer.accept(A, answer.page)
                assert peer.extend(A, A, read_growth(answer.growth)) == number + 2
                assert peer.accept(A, answer.page).records == 1

    post(a, 1, heard_by=b)
    a.store.feeds.drop(B, a.store.feeds.candidates(B, limit=9))
    asyncio.run(run())


def test_a_log_that_has_grown_by_much_is_left_to_be_asked_for(a, monkeypatch):
    async def run():
        side = side_of(a)
        calling(side, B)
        async with aclosing(serving(side).Subscribe(v1.SubscribeRequest(), None)) as answers:
            await anext(answers)
            post(a, 3)
            answer = await anext(answers)
            while not answer.HasField("page"):
                answer = await anext(answers)
            return answer

    monkeypatch.setattr(service_module, "MOST_GROWN", 2)
    monkeypatch.setattr(Comparison, "growth", lambda *given: pytest.fail("it is not read first"))
    assert not asyncio.run(run()).HasField("growth")


def test_a_peer_that_has_spent_its_time_on_logs_gets_its_page_all_the_same(a):
    async def run():
        side = side_of(a, budget=Budget(20.0))
        calling(side, B)
        async with aclosing(serving(side).Subscribe(v1.SubscribeRequest(), None)) as answers:
            await anext(answers)
            side.budget._add(B, 1000.0)
            post(a, 1)
            answer = await anext(answers)
            while not answer.HasField("page"):
                answer = await anext(answers)
            return answer

    answer = asyncio.run(run())
    assert (len(answer.page.entries), len(read_growth(answer.growth).entries)) == (1, 1)


def test_a_stream_says_nothing_twice_when_all_was_sent(a):
    async def run():
        side, bell = side_of(a), Bell()
        calling(side, B)
        service = ExchangeService(side, bell=bell, heartbeat_seconds=0.2)
        async with aclosing(service.Subscribe(v1.SubscribeRequest(), None)) as answers:
            began = asyncio.get_running_loop().time()
            first, second, third = [await anext(answers) for _ in range(3)]
            return [each.HasField("page") for each in (first, second, third)], asyncio.get_running_loop().time() - began

    post(a, 2)
    sent, took = asyncio.run(run())
    assert sent == [True, True, False]
    assert took >= 0.2, "a heartbeat, when its time has come"


def test_a_peer_that_signs_for_nothing_gets_a_window_and_then_signs_of_life(a):
    async def run():
        side = side_of(a)
        calling(side, B)
        async with aclosing(serving(side).Subscribe(v1.SubscribeRequest(), None)) as answers:
            return [(await anext(answers)).HasField("page") for _ in range(5)]

    post(a, 5)
    assert asyncio.run(run()) == [True, True, False, False, False]


def test_every_answer_says_what_our_clock_is(a):
    async def run():
        side = side_of(a)
        calling(side, B)
        service = serving(side)
        async with aclosing(service.Subscribe(v1.SubscribeRequest(), None)) as answers:
            return (await anext(answers)).now, (await service.Pull(v1.PullRequest(), None)).now

    assert asyncio.run(run()) == (NOW, NOW)


class TestDeliver:
    """The sender dials: receipts come with the answer."""

    def deliver(self, side, page, *, last_receipt="", bell=None, sender=A):
        async def run():
            calling(side, sender)
            request = v1.DeliverRequest(page=page, last_receipt=last_receipt)
            return (await serving(side, bell=bell).Deliver(request, None)).receipts

        return asyncio.run(run())

    def test_the_answer_has_the_receipt(self, a, b):
        post(a, 2, heard_by=b)
        sender, receiver = side_of(a), side_of(b)
        for place in (1, 2):
            page = sender.next_page(B, sender.acknowledged(B))
            receipts = self.deliver(receiver, page, last_receipt=sender.last_held(B))
            assert len(receipts) == 1
            sender.acknowledge(B, receipts)
            assert sender.acknowledged(B).split(".")[1] == str(place)

    def test_an_answer_that_got_lost_comes_with_the_next_page(self, a, b):
        post(a, 1, heard_by=b)
        sender, receiver = side_of(a), side_of(b)
        lost = self.deliver(receiver, sender.next_page(B, ""))
        again = self.deliver(receiver, sender.next_page(B, ""))
        assert again == lost
        sender.acknowledge(B, again)
        assert sender.acknowledged(B) == receiver.stored(A)

    def test_a_sender_that_lost_receipts_gets_a_chain_that_begins(self, a, b):
        post(a, 2, heard_by=b)
        sender, receiver = side_of(a), side_of(b)
        first = sender.next_page(B, "")
        receipts = self.deliver(receiver, first)
        receiver.handed_over(A, receipts)  # and its store was put back to before that
        (receipt,) = self.deliver(receiver, sender.next_page(B, first.cursor))
        sender.acknowledge(B, [receipt])
        assert sender.acknowledged(B).split(".")[1] == "2"

    def test_a_sender_is_told_where_it_has_to_begin(self, a, b):
        post(a, 2, heard_by=b)
        sender = side_of(a)
        second = sender.next_page(B, sender.next_page(B, "").cursor)
        with pytest.raises(StaleCursor):
            self.deliver(side_of(b), second)

    def test_nothing_is_verified_for_a_peer_that_has_spent_its_time(self, a, b):
        post(a, 1)
        page = side_of(a).next_page(B, "")
        side = side_of(b, budget=Budget(20.0))
        side.budget._add(A, 1000.0)
        before = b.state()
        with pytest.raises(QuotaExceeded):
            self.deliver(side, page)
        assert b.state() == before

    def test_whoever_it_goes_on_to_is_woken(self, a, b):
        b.set_policies(aisi=RELAYED)
        bell = Bell()
        record = make_record(tlp="GREEN", relay="community")
        page = page_of(record)
        b.hears(a)
        with bell.listening(C) as heard:
            self.deliver(side_of(b), page, bell=bell)
            assert heard.is_set()


def test_what_a_peer_asks_for_is_what_it_signed(a, b):
    async def run():
        side = side_of(b)
        calling(side, A)
        return await serving(side).Recover(v1.RecoverRequest(), None)

    post(a, 1, heard_by=b)
    side_of(b).accept(A, side_of(a).next_page(B, ""))
    assert len(asyncio.run(run()).records) == 1
