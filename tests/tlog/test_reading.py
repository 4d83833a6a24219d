"""A log that is read whole is what was signed, and where it is not the place is named."""

import pytest

from tests.support.organisations import NOW, found
from tests.support.stores import new_store
from tests.tlog.reference import Tree
from tocsin.errors import MalformedLog, StoreCorrupt
from tocsin.tlog.entry import record_entry
from tocsin.tlog.log import OwnLog
from tocsin.tlog.reading import BATCH, Reading, batches, examine

LAB = found("lab-a.example")
ENTRIES = [
    record_entry(f"68a3b439-a539-418d-a498-{number:012d}", 1, number.to_bytes(32, "big")) for number in range(600)
]


@pytest.fixture
def store(tmp_path):
    with new_store(tmp_path / "lab-a.db") as store:
        yield store


@pytest.fixture
def log(store):
    return OwnLog(store.logs, LAB.organisation.org, LAB.log, LAB.witness)


@pytest.mark.parametrize("count", [0, 1, 2, 3, BATCH - 1, BATCH, BATCH + 1, 600])
def test_what_is_read_in_parts_has_the_root_of_its_definition(log, count):
    if count:
        log.issue(*ENTRIES[:count], now=NOW)
    reading = Reading()
    for entries, nodes in batches(log, size=count, stops=(7, 13)):
        assert list(reading.take(entries, nodes)) == []
        assert reading.root() == Tree(ENTRIES).root(reading.size)
    assert reading.size == count
    assert list(examine(log, signed=count, root=Tree(ENTRIES).root(count))) == []


def test_it_stops_where_it_is_told_to(log):
    log.issue(*ENTRIES[:300], now=NOW)
    assert [len(entries) for entries, _ in batches(log, size=300, stops=(7,))] == [7, 256, 37]


DAMAGE = {
    "an entry is another": (
        "UPDATE log_entries SET digest = zeroblob(32) WHERE number = 7",
        ["entry 7 is not the one that was logged"],
    ),
    "a leaf is another": (
        "UPDATE log_nodes SET hash = zeroblob(32) WHERE level = 0 AND number = 298",
        ["entry 298 is not the one that was logged", "the node over entries 298 to 299 is another"],
    ),
    "a node is another": (
        "UPDATE log_nodes SET hash = zeroblob(32) WHERE level = 8 AND number = 0",
        ["the node over entries 0 to 255 is another", "its 300 entries do not lead to the root that was signed"],
    ),
    "the last entry is missing": (
        "DELETE FROM log_entries WHERE number = 299",
        ["entry 299 is not the one that was logged"],
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_is_not_what_was_signed_is_named(log, store, case):
    statement, expected = DAMAGE[case]
    log.issue(*ENTRIES[:300], now=NOW)
    signed = log.root(300)
    with store.transaction():
        store._db.execute(statement)
    assert list(examine(log, signed=300, root=signed)) == expected


def test_entries_that_fit_together_and_were_not_signed_are_found(log):
    log.issue(*ENTRIES[:20], now=NOW)
    assert list(examine(log, signed=20, root=bytes(32))) == ["its 20 entries do not lead to the root that was signed"]
    assert list(examine(log, signed=21, root=log.root(20))) == ["it has 20 entries, and 21 were signed"]


def test_a_node_that_is_missing_is_named(log, store):
    log.issue(*ENTRIES[:20], now=NOW)
    with store.transaction():
        store._db.execute("DELETE FROM log_nodes WHERE level = 2 AND number = 1")
    with pytest.raises(StoreCorrupt) as refused:
        list(examine(log, signed=20, root=bytes(32)))
    assert "level 2, number 1" in refused.value.where


@pytest.mark.parametrize("nodes", [[], [bytes(32)] * 2, [bytes(31)]])
def test_nodes_that_do_not_go_with_their_entries_are_refused(nodes):
    with pytest.raises(MalformedLog) as refused:
        list(Reading().take(ENTRIES[:1], nodes))
    assert refused.value.reason == "BAD_ENTRY"
