"""A log grows, signs what it has become, proves what is in it, and finds out where it is not what was signed."""

import pytest

from tests.support.organisations import NOW, found
from tests.support.stores import new_store
from tests.tlog.reference import Tree
from tocsin.errors import Conflict, LogInconsistent, MalformedLog
from tocsin.tlog.checkpoint import verify_checkpoint
from tocsin.tlog.entry import record_entry
from tocsin.tlog.log import OwnLog
from tocsin.tlog.proof import verify_proof
from tocsin.tlog.reading import examine

LAB = found("lab-a.example")
ORG = LAB.organisation.org
VKEYS = LAB.organisation.log_vkeys
ORIGIN = f"{ORG}/tocsin"
ENTRIES = [record_entry(f"68a3b439-a539-418d-a498-{number:012d}", 1, bytes([number] * 32)) for number in range(40)]


@pytest.fixture
def store(tmp_path):
    with new_store(tmp_path / "lab-a.db") as store:
        yield store


@pytest.fixture
def log(store):
    return OwnLog(store.logs, ORG, LAB.log, LAB.witness)


def test_each_size_that_is_signed_is_the_tree_of_its_definition(log, store):
    for number, entry in enumerate(ENTRIES, start=1):
        log.issue(entry, now=NOW)
        signed = verify_checkpoint(store.logs.get(ORG).checkpoint, origin=ORIGIN, vkeys=VKEYS).checkpoint
        assert (signed.size, signed.root) == (number, Tree(ENTRIES).root(number))
        log.verify(VKEYS)


def test_entries_that_come_together_make_the_same_log(log):
    log.issue(*ENTRIES[:7], now=NOW)
    log.issue(*ENTRIES[7:], now=NOW)
    assert log.root(40) == Tree(ENTRIES).root(40)


def test_everything_in_it_is_proved_by_its_last_checkpoint(log):
    log.issue(*ENTRIES, now=NOW)
    for number, entry in enumerate(ENTRIES):
        proof = log.prove(entry)
        assert verify_proof(proof, entry, origin=ORIGIN, vkeys=VKEYS, quorum=None, now=NOW).index == number


def test_several_entries_are_proved_at_once_as_each_alone(log):
    log.issue(*ENTRIES[:23], now=NOW)
    proofs = log.prove_all(ENTRIES)
    assert proofs == {entry: log.prove(entry) for entry in ENTRIES[:23]}


def test_what_is_gathered_is_entered_together_and_signed_once(log, store):
    log.issue(ENTRIES[0], now=NOW)
    before, gathering = store.logs.get(ORG), log.gather()
    gathering.issue(*ENTRIES[1:3], now=NOW)
    gathering.issue(ENTRIES[3], now=NOW)
    assert store.logs.get(ORG) == before
    log.enter(gathering.pending, now=NOW)
    assert store.logs.get(ORG).signed == 4
    assert log.root(4) == Tree(ENTRIES).root(4)


def test_nothing_is_gathered_that_could_not_be_issued(log):
    log.issue(ENTRIES[0], now=NOW)
    gathering = log.gather()
    with pytest.raises(Conflict) as refused:
        gathering.issue(ENTRIES[0][:32] + b"x" * 32, now=NOW)
    assert (refused.value.reason, gathering.pending) == ("EQUIVOCATION", [])


def test_what_is_not_in_it_or_not_signed_yet_is_not_proved(log):
    log.issue(*ENTRIES[:5], now=NOW)
    assert log.prove(ENTRIES[5]) is None
    log.append([ENTRIES[5]], now=NOW)
    assert log.prove(ENTRIES[5]) is None


def test_an_older_tree_is_shown_to_be_the_beginning_of_a_newer_one(log):
    log.issue(*ENTRIES, now=NOW)
    assert log.consistency(13, 40) == Tree(ENTRIES).consistency(13, 40)


def test_what_is_no_entry_changes_nothing(log):
    log.issue(*ENTRIES[:3], now=NOW)
    with pytest.raises(MalformedLog) as refused:
        log.issue(b"short", now=NOW)
    assert refused.value.reason == "BAD_ENTRY"
    assert log.size == 3


def test_an_empty_log_has_nothing_to_verify(log):
    log.verify(VKEYS)


DAMAGE = {
    "a node is another": ("UPDATE log_nodes SET hash = zeroblob(32) WHERE level = 5", "entries 0 to 31"),
    "an entry more was signed than is held": ("UPDATE logs SET size = 39", "40 were signed"),
    "the checkpoint is of another log": (
        "UPDATE logs SET checkpoint = replace(checkpoint, 'lab-a', 'lab-b')",
        "not ours",
    ),
    "there is no checkpoint": ("UPDATE logs SET checkpoint = ''", "not ours"),
}
BELOW = {
    "an entry is another": ("UPDATE log_entries SET digest = zeroblob(32) WHERE number = 7", ["entry 7 is not"]),
    "a leaf is another": (
        "UPDATE log_nodes SET hash = zeroblob(32) WHERE level = 0 AND number = 38",
        ["entry 38 is not", "the node over entries 38 to 39"],
    ),
}


def damaged(log, store, statement):
    log.issue(*ENTRIES, now=NOW)
    with store.transaction():
        store._db.execute(statement)


@pytest.mark.parametrize(("statement", "said"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_not_what_was_signed_is_found_at_once(log, store, statement, said):
    damaged(log, store, statement)
    with pytest.raises(LogInconsistent) as refused:
        log.verify(VKEYS)
    assert refused.value.reason == "LOG_INCONSISTENT"
    assert said in refused.value.message
    assert "tocsin restore" in refused.value.hint


@pytest.mark.parametrize(("statement", "said"), BELOW.values(), ids=BELOW)
def test_damage_below_a_tree_that_is_whole_is_found_by_reading_all_of_it(log, store, statement, said):
    damaged(log, store, statement)
    log.verify(VKEYS)
    found = list(examine(log, signed=log.size, root=log.root(log.size)))
    assert [line[: len(begin)] for line, begin in zip(found, said, strict=True)] == said


def test_a_whole_log_has_no_damage(log):
    log.issue(*ENTRIES, now=NOW)
    assert list(examine(log, signed=log.size, root=log.root(log.size))) == []


def test_keys_of_somebody_else_sign_nothing_of_ours(store):
    OwnLog(store.logs, ORG, found("lab-b.example").log, LAB.witness).issue(*ENTRIES, now=NOW)
    with pytest.raises(LogInconsistent):
        OwnLog(store.logs, ORG, LAB.log, LAB.witness).verify(VKEYS)


def test_to_verify_it_reads_few_nodes_however_long_it_is(log, monkeypatch):
    log.issue(*ENTRIES, now=NOW)
    read = []
    real = type(log.shelf).nodes

    def counting(shelf, origin, wanted):
        read.extend(wanted)
        return real(shelf, origin, wanted)

    monkeypatch.setattr(type(log.shelf), "nodes", counting)
    log.verify(VKEYS)
    assert len(read) <= 6
