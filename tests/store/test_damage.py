"""What SQLite says of a disk is told apart: what is broken, what passes, and what is a mistake of ours."""

import sqlite3
from pathlib import Path

import pytest

from tocsin.errors import HomeDamaged, HomeLocked, Overloaded, StoreCorrupt
from tocsin.store.damage import reported

WHILE_RUNNING = {
    "SQLITE_CORRUPT": (StoreCorrupt, "STORE_CORRUPT"),
    "SQLITE_CORRUPT_VTAB": (StoreCorrupt, "STORE_CORRUPT"),
    "SQLITE_NOTADB": (StoreCorrupt, "STORE_CORRUPT"),
    "SQLITE_FULL": (Overloaded, "NO_SPACE"),
    "SQLITE_IOERR_FSYNC": (Overloaded, "DISK_FAILED"),
    "SQLITE_IOERR_WRITE": (Overloaded, "DISK_FAILED"),
    "SQLITE_READONLY_DBMOVED": (HomeDamaged, "HOME_DAMAGED"),
    "SQLITE_CANTOPEN": (HomeDamaged, "HOME_DAMAGED"),
    "SQLITE_BUSY_SNAPSHOT": (HomeLocked, "HOME_LOCKED"),
}


def fail(name, *, opening):
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorname = name
    with reported(Path("tocsin.db"), opening=opening):
        raise error


@pytest.mark.parametrize("name", WHILE_RUNNING)
def test_while_the_node_runs_a_disk_may_come_back(name):
    expected, reason = WHILE_RUNNING[name]
    with pytest.raises(expected) as refused:
        fail(name, opening=False)
    assert refused.value.reason == reason
    assert refused.value.hint


@pytest.mark.parametrize("name", [name for name in WHILE_RUNNING if WHILE_RUNNING[name][0] is Overloaded])
def test_while_it_is_opened_a_store_cannot_be_used(name):
    with pytest.raises(HomeDamaged) as refused:
        fail(name, opening=True)
    assert refused.value.reason == "HOME_DAMAGED"


def test_a_mistake_of_the_program_stays_one():
    with pytest.raises(sqlite3.OperationalError, match="what SQLite says"):
        fail("SQLITE_CONSTRAINT", opening=False)
