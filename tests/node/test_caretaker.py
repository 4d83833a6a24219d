"""The store of a node that runs is read whole now and then, and damage that anybody meets ends the node."""

import asyncio

import grpc
import pytest

from tests.node.test_process import desk_of, process
from tests.store.test_left import leaves, spoil
from tests.support.nodes import finding, make_place
from tests.support.organisations import NOW
from tocsin import caretaker
from tocsin.caretaker import Caretaker
from tocsin.errors import Overloaded, StoreCorrupt
from tocsin.store.damage import Examined
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.desk_service_pb2_grpc import DeskServiceStub

LONGEST_SECONDS = 20


class Store:
    """A store that says what it is told to."""

    def __init__(self, *found):
        self.found = list(found)
        self.stopped = 0
        self.is_damaged = False

    def examine(self, *, now):
        said = self.found.pop(0) if self.found else None
        if isinstance(said, Exception):
            raise said
        return said

    def verify_whole(self):
        if self.is_damaged:
            raise StoreCorrupt("the store is damaged")

    def stop_examining(self):
        self.stopped += 1


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    for name in ("FIRST_SECONDS", "EVERY_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(caretaker, name, 0.001)


def looked_after(store, until):
    """Look after a store until something holds."""

    async def run():
        keeper = Caretaker(store, clock=lambda: NOW)
        keeper.start()
        async with asyncio.timeout(LONGEST_SECONDS):
            while not until():
                await asyncio.sleep(0.001)
        await keeper.stop()

    asyncio.run(run())


def read_all(desk, records):
    for record in records:
        desk.GetRecord(v1.GetRecordRequest(id=record.digest))


def test_it_is_read_again_and_again_whatever_came_of_it(caplog):
    store = Store(Examined(NOW, ()), Overloaded("the disk is gone", reason="DISK_FAILED"), None, Examined(NOW, ("a",)))
    looked_after(store, lambda: not store.found)
    assert [record.message for record in caplog.records] == [
        "the store could not be read: DISK_FAILED",
        "the store: a",
    ]


def test_a_mistake_in_reading_is_told_without_what_it_was_about_and_ends_nothing(caplog):
    store = Store(KeyError("what was read"), Examined(NOW, ("a",)))
    looked_after(store, lambda: not store.found)
    first, second = [record.message for record in caplog.records]
    assert first.startswith("the store could not be read: KeyError\n")
    assert "what was read" not in first
    assert second == "the store: a"


def test_a_reading_is_stopped_when_the_node_is():
    store = Store()
    looked_after(store, lambda: True)
    assert store.stopped == 1


def test_it_waits_for_damage():
    async def run():
        store = Store()
        keeper = Caretaker(store, clock=lambda: NOW)
        keeper.start()
        waiting = asyncio.create_task(keeper.met_damage())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        store.is_damaged = True
        async with asyncio.timeout(LONGEST_SECONDS):
            await waiting
        await keeper.stop()

    asyncio.run(run())


def test_a_node_whose_store_goes_bad_refuses_everything_ends_and_does_not_start_again(tmp_path):
    lab = make_place(tmp_path, "lab-a.example")
    with process(lab) as running, desk_of(lab) as channel:
        desk = DeskServiceStub(channel)
        for number in range(5):
            drafts = [finding(f"n{number} {one}", summary="s" * 4000) for one in range(100)]
            desk.PostRecords(v1.PostRecordsRequest(drafts=drafts))
        running.terminate()
        running.communicate(timeout=LONGEST_SECONDS)
    with process(lab) as running:
        with desk_of(lab) as channel:
            desk = DeskServiceStub(channel)
            records = desk.ListRecords(v1.ListRecordsRequest(page_size=500)).records
            spoil(lab.root / "tocsin.db", leaves(lab.root / "tocsin.db"))
            with pytest.raises(grpc.RpcError) as refused:
                read_all(desk, records)
            assert refused.value.code() is grpc.StatusCode.DATA_LOSS
            with pytest.raises(grpc.RpcError) as refused:
                desk.ListPeople(v1.ListPeopleRequest())
            assert refused.value.code() is grpc.StatusCode.DATA_LOSS
        _, told = running.communicate(timeout=LONGEST_SECONDS)
        assert running.returncode == 8
        assert "tocsin: error: " in told
        assert "the store is damaged" in told
        assert "hint: do not start the node on it" in told
        assert "Traceback" not in told
    with process(lab) as again:
        _, told = again.communicate(timeout=LONGEST_SECONDS)
    assert again.returncode == 8
    assert "the store is damaged" in told
