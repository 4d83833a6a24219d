"""The timekeeper does at its start what fell due meanwhile, and then each thing when its time has come."""

import asyncio
import logging

import pytest

from tests.exchange.parties import HELD, HOUR, B
from tests.support.organisations import NOW
from tocsin.errors import StoreCorrupt
from tocsin.exchange import timekeeper
from tocsin.exchange.timekeeper import Timekeeper
from tocsin.store.model import Due, DueKind


class Watch:
    """A clock that a test sets, and what it heard of partners."""

    def __init__(self):
        self.now = NOW
        self.heard = []
        self.told = asyncio.Event()

    def queued(self, partners):
        self.heard.append(set(partners))
        self.told.set()


def keeping(a, watch):
    return Timekeeper(a.office, clock=lambda: watch.now, queued=watch.queued)


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(timekeeper, "SHORTEST_SLEEP_SECONDS", 0.001)


def test_what_fell_due_while_the_node_was_down_is_done_at_its_start(a, caplog):
    async def run():
        watch = Watch()
        a.set_policies(lab_b=HELD)
        a.post(partners=(B,))
        watch.now = a.now = NOW + 100 * HOUR
        keeper = keeping(a, watch)
        with caplog.at_level(logging.INFO):
            await keeper.start()
        await keeper.stop()
        assert watch.heard == [{B}]
        assert a.page_for(B) is not None

    asyncio.run(run())
    assert "up to 100800 seconds late" in caplog.text


def test_what_is_noted_later_is_done_when_it_is_due(a):
    async def run():
        watch = Watch()
        keeper = keeping(a, watch)
        await keeper.start()
        record = a.post(partners=())
        a.store.dues.add(Due(DueKind.HOLD, record.digest, B, NOW + 10))
        watch.now = NOW + 10
        keeper.wake()
        async with asyncio.timeout(10):
            await watch.told.wait()
        await keeper.stop()
        assert watch.heard == [{B}]
        assert a.store.dues.next_at() is None

    asyncio.run(run())


def test_it_sleeps_until_the_next_thing_is_due_and_a_minute_at_most_also_where_something_has_failed(a):
    async def run():
        watch = Watch()
        keeper = keeping(a, watch)
        assert keeper._pause() == timekeeper.LONGEST_SLEEP_SECONDS
        record = a.post(partners=())
        for due_at, pause in ((NOW + 7 * HOUR, 60), (NOW + 20, 20), (NOW, 0.001), (NOW - 5, 60)):
            a.store.dues.add(Due(DueKind.HOLD, record.digest, B, due_at))
            assert keeper._pause() == pause

    asyncio.run(run())


def test_nobody_is_woken_for_whom_nothing_was_queued(a):
    async def run():
        watch = Watch()
        record = a.post(partners=(), tlp="RED")
        a.store.dues.add(Due(DueKind.EMBARGO, record.digest, B, NOW))
        keeper = keeping(a, watch)
        await keeper.start()
        await keeper.stop()
        assert watch.heard == []

    asyncio.run(run())


def test_what_fails_is_tried_again_and_says_nothing_of_what_it_was_about(a, monkeypatch, caplog):
    async def run():
        watch = Watch()
        record = a.post(partners=())
        a.store.dues.add(Due(DueKind.HOLD, record.digest, B, NOW))
        acts = iter([OSError("canary"), None])
        real = timekeeper.act_on_due

        def act(office, *, now):
            if (error := next(acts, None)) is not None:
                raise error
            return real(office, now=now)

        monkeypatch.setattr(timekeeper, "act_on_due", act)
        keeper = keeping(a, watch)
        await keeper.start()
        async with asyncio.timeout(10):
            await watch.told.wait()
        await keeper.stop()

    asyncio.run(run())
    assert "could not be done: OSError" in caplog.text
    assert "canary" not in caplog.text


def test_a_store_that_cannot_be_asked_for_the_next_date_ends_nothing(a, monkeypatch):
    def busy():
        raise StoreCorrupt("the store is damaged")

    async def run():
        keeper = keeping(a, Watch())
        monkeypatch.setattr(a.store.dues, "next_at", busy)
        assert keeper._pause() == timekeeper.LONGEST_SLEEP_SECONDS

    asyncio.run(run())
