"""Logs lie in the store entry by entry, and nothing of them is written twice."""

import sqlite3
from contextlib import contextmanager
from hashlib import sha256

import pytest

from tests.support.organisations import NOW
from tocsin.errors import StoreCorrupt
from tocsin.store.evidence import EvidenceRow, LoggedRow, LogRow
from tocsin.tlog.log import TransparencyLog

ORG, OTHER = "lab-a.example", "lab-b.example"
ENTRIES = [bytes([number]) * 64 for number in range(5)]
NODES = [((0, number), bytes([100 + number]) * 32) for number in range(5)]


def fill(store, org=ORG):
    with store.transaction():
        return store.logs.append(org, ENTRIES, NODES, size=0, now=NOW)


def test_a_log_that_nothing_is_held_of_is_empty(store):
    assert store.logs.get(ORG) == LogRow(ORG)
    assert store.logs.entries(ORG, start=0, limit=9) == ()


def test_what_is_appended_is_read_from_any_place_on(store):
    assert fill(store) == 5
    assert store.logs.get(ORG) == LogRow(ORG, size=5, at=NOW)
    assert store.logs.entries(ORG, start=3, limit=9) == tuple(ENTRIES[3:])
    assert store.logs.entries(ORG, start=0, limit=2) == tuple(ENTRIES[:2])
    assert store.logs.nodes(ORG, [(0, 4), (0, 1)]) == [NODES[4][1], NODES[1][1]]


def test_each_origin_has_its_own(store):
    fill(store)
    fill(store, OTHER)
    assert [row.origin for row in store.logs.list()] == [ORG, OTHER]
    store.logs.cut(OTHER, 0)
    assert [row.size for row in store.logs.list()] == [5, 0]
    assert store.logs.entries(ORG, start=0, limit=9) == tuple(ENTRIES)
    assert store.logs.nodes(ORG, [(0, 0)]) == [NODES[0][1]]


def test_it_is_appended_to_at_its_end_alone(store):
    fill(store)
    for size in (0, 4, 6):
        with pytest.raises(RuntimeError, match="another size"), store.transaction():
            store.logs.append(ORG, ENTRIES[:1], [], size=size, now=NOW)
    assert store.logs.get(ORG).size == 5


def test_a_node_is_never_written_twice(store):
    fill(store)
    with pytest.raises(sqlite3.IntegrityError), store.transaction():
        store.logs.append(ORG, ENTRIES[:1], NODES[:1], size=5, now=NOW)
    assert store.logs.get(ORG).size == 5


def test_a_node_that_is_missing_is_told(store):
    fill(store)
    with pytest.raises(StoreCorrupt) as refused:
        store.logs.nodes(ORG, [(0, 1), (3, 0)])
    assert refused.value.where == f"{ORG}: level 3, number 0"


def test_entries_with_one_name_are_found_in_their_order(store):
    twice = [ENTRIES[0], ENTRIES[1], ENTRIES[0][:32] + bytes(32)]
    with store.transaction():
        store.logs.append(ORG, twice, [], size=0, now=NOW)
    assert store.logs.named(ORG, ENTRIES[0][:32]) == (LoggedRow(0, twice[0]), LoggedRow(2, twice[2]))
    assert store.logs.named(ORG, b"x" * 32) == ()


def test_what_was_signed_cosigned_and_stopped_is_kept(store):
    store.logs.set_checkpoint(ORG, "signed", signed=5, now=NOW)
    store.logs.note_cosigned(ORG, 5, bytes(32), now=NOW)
    with pytest.raises(RuntimeError, match="larger tree"):
        store.logs.note_cosigned(ORG, 3, bytes(32), now=NOW)
    store.logs.stop(ORG, "it forked", now=NOW)
    assert store.logs.get(ORG) == LogRow(ORG, 0, "signed", 5, 5, bytes(32), NOW, "it forked", at=NOW)
    store.logs.cut(ORG, 0)
    assert store.logs.get(ORG) == LogRow(ORG, 0, "", 0, 5, bytes(32), NOW, "it forked", at=NOW)
    store.logs.resume(ORG, now=NOW + 5)
    assert (store.logs.get(ORG).stopped, store.logs.get(ORG).resumed) == ("", NOW + 5)


def test_what_lies_behind_the_first_entries_of_a_log_is_forgotten(store):
    log = TransparencyLog(store.logs, ORG)
    with store.transaction():
        log.append(ENTRIES, now=NOW)
    first = log.root(2)
    store.logs.cut(ORG, 2)
    assert (log.size, log.root(2)) == (2, first)
    with store.transaction():
        log.append(ENTRIES[2:], now=NOW)
    assert log.size == len(ENTRIES)


def test_of_every_minute_the_last_checkpoint_with_the_most_signatures_is_kept(store):
    minute = NOW - NOW % 60
    store.logs.set_checkpoint(ORG, "signed", signed=5, now=NOW)
    store.logs.keep_checkpoint(ORG, "three", size=3, signatures=3, now=minute)
    store.logs.keep_checkpoint(ORG, "four", size=4, signatures=2, now=minute + 20)
    store.logs.keep_checkpoint(ORG, "five", size=5, signatures=3, now=minute + 40)
    store.logs.keep_checkpoint(ORG, "six", size=6, signatures=2, now=minute + 60)
    assert [row.checkpoint for row in store.logs.checkpoints(ORG)] == ["five", "six"]
    assert [row.size for row in store.logs.checkpoints(ORG, least=6)] == [6]
    assert store.logs.checkpoints(OTHER) == ()


def test_the_newest_checkpoints_and_the_fullest_are_found_without_the_others(store):
    store.logs.set_checkpoint(ORG, "signed", signed=5, now=NOW)
    for number, signatures in enumerate((2, 5, 3, 5, 1)):
        size = number + 1
        store.logs.keep_checkpoint(ORG, f"of {size}", size=size, signatures=signatures, now=NOW + 60 * number)
    assert [row.size for row in store.logs.newest_checkpoints(ORG, limit=2)] == [5, 4]
    assert [row.size for row in store.logs.fullest_checkpoints(ORG, 2)] == [4, 2, 3, 5]
    assert store.logs.newest_checkpoints(OTHER, limit=2) == ()
    assert list(store.logs.fullest_checkpoints(OTHER, 0)) == []


def test_an_id_half_with_another_digest_is_found(store):
    entries = [ENTRIES[0], ENTRIES[1], ENTRIES[0], ENTRIES[1][:32] + bytes(32)]
    with store.transaction():
        store.logs.append(ORG, entries, [], size=0, now=NOW)
    assert store.logs.repeated(ORG, since=0) == (ENTRIES[1][:32],)
    assert store.logs.repeated(ORG, since=4) == ()


def test_our_own_log_waits_for_peers_until_each_has_said_its_word(store):
    store.logs.await_word([OTHER, "aisi.example"])
    store.logs.await_word([OTHER])
    assert store.logs.awaited() == ("aisi.example", OTHER)
    assert store.logs.has_said(OTHER)
    assert not store.logs.has_said(OTHER)
    assert store.logs.awaited() == ("aisi.example",)


def test_evidence_is_kept_once(store):
    row = EvidenceRow(ORG, "fork", "D" * 43, b"{}", NOW)
    assert store.logs.add_evidence(row)
    assert not store.logs.add_evidence(row)
    assert store.logs.evidence() == store.logs.evidence(ORG) == (row,)
    assert store.logs.evidence(OTHER) == ()


@contextmanager
def counting(store):
    """Count what SQLite does inside, in hundreds of its steps."""
    seen = []
    with store.transaction():
        connection = store._db._database.conn
        connection.set_progress_handler(lambda: seen.append(1), 100)
        yield seen
        connection.set_progress_handler(None, 100)


ASKED = {
    "entries of a name": lambda logs: logs.named(ORG, bytes(32)),
    "names that come twice": lambda logs: logs.repeated(ORG, since=1_990),
    "the nodes of a proof": lambda logs: logs.nodes(ORG, [(0, number) for number in range(0, 2_000, 100)]),
    "entries near the end": lambda logs: logs.entries(ORG, start=1_990, limit=5),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_nothing_that_is_asked_reads_the_whole_log(store, ask):
    entries = [sha256(str(number).encode()).digest() * 2 for number in range(2_000)]
    nodes = [((0, number), entry[:32]) for number, entry in enumerate(entries)]
    with store.transaction():
        store.logs.append(ORG, entries, nodes, size=0, now=NOW)
    with counting(store) as hundreds:
        ask(store.logs)
    assert len(hundreds) < 15


def test_many_nodes_are_read_in_the_order_asked(store):
    nodes = [((0, number), sha256(str(number).encode()).digest()) for number in range(3_000)]
    with store.transaction():
        store.logs.append(ORG, [bytes(64)] * 3_000, nodes, size=0, now=NOW)
    wanted = [(0, number * 7 % 3_000) for number in range(3_000)]
    assert store.logs.nodes(ORG, wanted) == [nodes[number][1] for _, number in wanted]
    assert store.logs.nodes(ORG, []) == []
