"""What the store on disk promises: all or nothing, once, for good, and never from a damaged file."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial

import pytest

from tests.store.making import make_record
from tests.support.organisations import NOW
from tests.support.shared import ROOT
from tocsin.errors import HomeDamaged, HomeLocked, Overloaded, StoreCorrupt
from tocsin.store.connection import PAGE_SIZE
from tocsin.store.migrations import KNOWN, migrations
from tocsin.store.model import PeerRole, PeerState, RecordFilter
from tocsin.store.schema import APPLICATION_ID
from tocsin.store.sqlite import open_store


def pragma(path, name):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        connection.close()


def filled(path, records=40):
    with open_store(path, create=True) as store:
        for number in range(records):
            store.records.add(make_record({"title": f"n{number}"}), now=NOW)


def fill(store):
    for _ in range(100):
        store.records.add(make_record({"summary": "x" * 3000}), now=NOW)


def overfill(store):
    """Write more at once than the disk has room for; afterwards there is room again."""
    connection = store._db._database.conn
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    try:
        store.peers.add("d.example", document=bytes(2**20), role=PeerRole.READER, state=PeerState.PENDING, now=NOW)
    finally:
        connection.execute("PRAGMA max_page_count = 100000")


class GivenUp(Exception):
    """What ends a transaction midway."""


given_up = partial(suppress, GivenUp)


class TestTransactions:
    def test_all_of_it_or_nothing(self, store):
        one, other = make_record(), make_record()
        with given_up(), store.transaction():
            store.records.add(one, now=NOW)
            store.feeds.queue("lab-b.example", one.digest, now=NOW)
            assert store.records.counts().own == 1, "a transaction sees what it wrote"
            raise GivenUp
        assert store.records.counts().own == 0
        assert store.feeds.waiting("lab-b.example") == 0
        with store.transaction():
            store.records.add(one, now=NOW)
            store.records.add(other, now=NOW)
        assert store.records.counts().own == 2

    def test_an_inner_one_takes_back_its_own_part_only(self, store):
        one, other = make_record(), make_record()
        with store.transaction():
            store.records.add(one, now=NOW)
            with given_up(), store.transaction():
                store.records.add(other, now=NOW)
                raise GivenUp
        assert list(store.records.own_current()) == [one.digest]

    def test_others_see_only_what_was_committed(self, store):
        seen = []
        with store.transaction():
            store.records.add(make_record(), now=NOW)
            reader = threading.Thread(target=lambda: seen.append(store.records.counts().own))
            reader.start()
            reader.join()
        assert seen == [0]
        assert store.records.counts().own == 1

    def test_writers_wait_for_one_another(self, store):
        made = [[make_record() for _ in range(5)] for _ in range(4)]

        def write(records):
            for record in records:
                with store.transaction():
                    count = store.records.counts().own
                    store.records.add(record, now=NOW)
                    assert store.records.counts().own == count + 1

        threads = [threading.Thread(target=write, args=(records,)) for records in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.records.counts().own == 20

    def test_a_statement_that_writes_outside_a_transaction_is_a_mistake(self, store):
        with pytest.raises(RuntimeError, match="outside a transaction"):
            store._db.execute("DELETE FROM records")

    def test_the_disk_is_not_scrubbed_inside_a_transaction(self, store):
        record = make_record()
        store.records.add(record, now=NOW)
        with store.transaction():
            store.records.erase(record.digest)
            with pytest.raises(RuntimeError, match="transaction is open"):
                store.scrub()

    def test_a_closed_store_is_closed(self, store):
        store.close()
        for call in (store.records.counts, store.scrub, lambda: store.records.add(make_record(), now=NOW)):
            with pytest.raises(RuntimeError, match="closed"):
                call()


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.store.making import make_record
from tocsin.store.sqlite import open_store
store = open_store(Path(sys.argv[1]), create=True)
store.records.add(make_record({"title": "acknowledged"}), now=1)
print("stored", flush=True)
with store.transaction():
    store.records.add(make_record({"title": "not yet"}), now=1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


class TestOnDisk:
    def test_what_was_acknowledged_survives_a_kill_and_what_was_not_leaves_no_trace(self, path):
        env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'node'}"}
        done = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, env=env, check=False)
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"stored\n"), done.stderr
        with open_store(path) as store:
            assert [record.title for record in store.records.list(RecordFilter()).records] == ["acknowledged"]

    def test_it_is_made_for_its_owner_only_durable_and_marked_as_ours(self, path):
        with open_store(path, create=True) as store:
            store.records.add(make_record(), now=NOW)
            for file in path.parent.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
            assert store._db.row("PRAGMA trusted_schema") == (0,)
            with store.transaction():
                assert store._db.row("PRAGMA synchronous") == (2,)
                assert store._db.row("PRAGMA foreign_keys") == (1,)
            assert store.size() > PAGE_SIZE
        assert pragma(path, "journal_mode") == "wal"
        assert pragma(path, "page_size") == PAGE_SIZE
        assert pragma(path, "application_id") == APPLICATION_ID
        assert pragma(path, "user_version") == KNOWN

    def test_it_opens_again_as_it_was(self, path):
        filled(path)
        with open_store(path) as store:
            assert store.records.counts().own == 40
            assert len(store.records.search("Mockingbird")) == 40

    def test_every_migration_is_counted(self, store):
        assert len(migrations.applied(store._db._database)) == KNOWN
        assert migrations.pending(store._db._database) == []


class TestDamage:
    def test_a_damaged_page_is_never_served(self, path):
        filled(path)
        with path.open("r+b") as file:
            for page in range(2, path.stat().st_size // PAGE_SIZE):
                file.seek(page * PAGE_SIZE)
                file.write(b"\xff" * 64)
        with pytest.raises(StoreCorrupt) as refused:
            open_store(path)
        assert refused.value.reason == "STORE_CORRUPT"
        assert "restore the latest backup" in refused.value.hint

    @pytest.mark.parametrize("size", [100, PAGE_SIZE, 5 * PAGE_SIZE + 7], ids=str)
    def test_a_file_cut_short_is_never_served(self, path, size):
        filled(path)
        os.truncate(path, size)
        with pytest.raises(StoreCorrupt):
            open_store(path)

    def test_a_wal_cut_short_loses_no_part_of_a_transaction(self, path):
        with open_store(path, create=True) as store:
            for _ in range(3):
                record = make_record()
                with store.transaction():
                    store.records.add(record, now=NOW)
                    store.feeds.queue("lab-b.example", record.digest, now=NOW)
            copy = path.with_name("copy.db")
            copy.write_bytes(path.read_bytes())
            wal = path.with_name("tocsin.db-wal").read_bytes()
        copy.with_name("copy.db-wal").write_bytes(wal[: len(wal) - 20_000])
        with open_store(copy) as store:
            assert store.records.counts().own == store.feeds.waiting("lab-b.example") < 3

    @pytest.mark.parametrize(
        "content", [b"", b"not a database" * 9000, b"SQLite format 3\0" + b"\1" * 4096], ids=["empty", "text", "header"]
    )
    def test_what_is_no_store_is_refused(self, path, content):
        path.write_bytes(content)
        with pytest.raises((StoreCorrupt, HomeDamaged)) as refused:
            open_store(path)
        assert refused.value.where == str(path)
        assert refused.value.hint

    def test_another_programs_database_is_refused(self, path):
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE t (x)")
        connection.close()
        with pytest.raises(HomeDamaged, match="not a store of tocsin"):
            open_store(path)

    def test_a_store_of_a_later_version_is_refused_and_left_alone(self, path):
        filled(path, records=1)
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {KNOWN + 1}")
        connection.close()
        with pytest.raises(HomeDamaged, match="later version") as refused:
            open_store(path)
        assert refused.value.hint == "upgrade tocsin"
        assert pragma(path, "user_version") == KNOWN + 1

    def test_a_missing_store_is_not_replaced_by_an_empty_one(self, path):
        with pytest.raises(HomeDamaged, match="missing"):
            open_store(path)
        assert not path.exists()

    def test_a_store_is_never_made_over_another(self, path):
        filled(path, records=1)
        with pytest.raises(HomeDamaged, match="already"):
            open_store(path, create=True)
        with open_store(path) as store:
            assert store.records.counts().own == 1

    def test_a_store_that_another_program_holds_says_so(self, store, path):
        with store.transaction():
            pass
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        store._db._database.conn.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(HomeLocked, match="another program"):
            store.records.add(make_record(), now=NOW)
        other.close()
        store.records.add(make_record(), now=NOW)

    def test_a_full_disk_is_said_and_changes_nothing(self, store):
        store.records.add(make_record(), now=NOW)
        pages = store._db.row("PRAGMA page_count")[0]
        store._db._database.conn.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Overloaded) as refused:
            fill(store)
        assert refused.value.reason == "NO_SPACE"
        store._db._database.conn.execute("PRAGMA max_page_count = 100000")
        kept = store.records.counts().own
        store.records.add(make_record(), now=NOW)
        assert store.records.counts().own == kept + 1

    def test_whoever_goes_on_after_an_error_that_ended_the_transaction_writes_nothing(self, store):
        """SQLite has taken it back by itself: the next statement would be kept at once, and all by itself."""

        def go_on():
            with store.transaction():
                store.records.add(make_record(), now=NOW)
                with suppress(Overloaded):
                    overfill(store)
                with suppress(RuntimeError), store.transaction():
                    store.records.add(make_record(), now=NOW)
                with suppress(RuntimeError):
                    store.records.add(make_record(), now=NOW)

        with pytest.raises(RuntimeError, match="an error has ended the transaction"):
            go_on()
        assert store.records.counts().own == 0

    def test_a_programs_mistake_stays_one(self, store):
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            store._db.rows("SELECT * FROM absent")
