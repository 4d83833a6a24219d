"""A store that is as it was left is opened without reading it all; any other is read, and damage is never served."""

import os
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest

from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.errors import HomeDamaged, StoreCorrupt
from tocsin.store import connection, left
from tocsin.store.connection import PAGE_SIZE
from tocsin.store.model import RecordFilter
from tocsin.store.sqlite import open_store

RECORDS = 120


@pytest.fixture
def reads(monkeypatch):
    """Return a list that has an entry for each time that a store was read whole."""
    found = []
    read = connection.find_damage

    def counted(opened):
        found.append(opened)
        return read(opened)

    monkeypatch.setattr(connection, "find_damage", counted)
    return found


@pytest.fixture
def held(path):
    """Return a store that was filled and closed."""
    with open_store(path, create=True) as store, store.transaction():
        for number in range(RECORDS):
            store.records.add(make_record({"title": f"n{number}"}), now=NOW)
    return path


def leaves(path):
    """Return the offsets of the pages from the middle of a file on."""
    pages = path.stat().st_size // PAGE_SIZE
    return [page * PAGE_SIZE for page in range(pages // 3, pages)]


def spoil(path, offsets):
    """Overwrite the beginnings of pages, as a disk does that fails: whoever looks at the file sees no change."""
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(b"\xff" * 64)


def rot(path, offsets):
    """Spoil pages and leave the note as if nothing had been written."""
    spoil(path, offsets)
    left.leave(path)


class TestOpening:
    def test_what_is_as_it_was_left_is_not_read_whole(self, held, reads):
        with open_store(held) as store:
            assert store.records.counts().own == RECORDS
        assert reads == []

    def test_it_is_so_again_and_again(self, held, reads):
        for number in range(3):
            with open_store(held) as store:
                store.records.add(make_record({"title": f"later {number}"}), now=NOW)
        assert reads == []

    def test_a_store_that_was_never_left_here_is_read_whole(self, held, reads):
        held.with_name(f"{held.name}{left.NOTE}").unlink()
        open_store(held).close()
        assert len(reads) == 1

    def test_a_store_that_was_not_closed_is_read_whole_and_that_is_said(self, held, reads, caplog):
        left.take(held)
        open_store(held).close()
        assert len(reads) == 1
        assert "was not closed" in caplog.text

    def test_a_store_that_is_open_is_not_left(self, held, tmp_path, reads):
        with open_store(held):
            copy = tmp_path / "copy" / held.name
            shutil.copytree(held.parent, copy.parent, ignore=shutil.ignore_patterns("copy"))
            open_store(copy).close()
        assert len(reads) == 1

    def test_a_copy_is_read_whole(self, held, tmp_path, reads):
        copy = tmp_path / "copy" / held.name
        shutil.copytree(held.parent, copy.parent, ignore=shutil.ignore_patterns("copy"))
        open_store(copy).close()
        assert len(reads) == 1

    def test_a_file_that_was_put_in_its_place_is_read_whole(self, held, reads):
        copy = held.with_name("copy.db")
        shutil.copy2(held, copy)
        copy.replace(held)
        open_store(held).close()
        assert len(reads) == 1

    def test_what_another_program_wrote_to_is_read_whole(self, held, reads):
        with closing(sqlite3.connect(held)) as other, other:
            other.execute("UPDATE records SET title = 'another'")
        open_store(held).close()
        assert len(reads) == 1

    def test_what_another_program_wrote_and_did_not_fold_back_is_read_whole(self, held, reads):
        wal = held.with_name(f"{held.name}-wal")
        with closing(sqlite3.connect(held)) as other:
            other.execute("UPDATE records SET title = 'another'")
            other.commit()
            written = wal.read_bytes()
        with closing(open_store(held)):
            pass
        reads.clear()
        wal.write_bytes(written)
        open_store(held).close()
        assert len(reads) == 1

    def test_to_read_it_changes_nothing(self, held, reads):
        with closing(sqlite3.connect(f"file:{held}?mode=ro", uri=True)) as other:
            assert other.execute("SELECT count(*) FROM records").fetchone() == (RECORDS,)
        open_store(held).close()
        assert reads == []

    def test_a_change_is_seen_whenever_it_comes_and_whatever_date_it_is_given(self, held):
        """Right behind the close as well: what is changed within one tick of the clock has one date."""
        for number in range(20):
            open_store(held).close()
            before = held.stat()
            with held.open("r+b") as file:
                file.seek(before.st_size - PAGE_SIZE)
                file.write(bytes([number]))
            os.utime(held, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert not left.is_as_left(held), number
            left.leave(held)  # as this one byte hurts nobody

    def test_where_no_note_can_be_made_the_store_is_read_whole(self, held, monkeypatch, reads):
        def full(*_):
            raise OSError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(left, "_write", full)
            open_store(held).close()
        open_store(held).close()
        assert len(reads) == 1

    def test_a_store_is_not_used_whose_note_cannot_be_emptied(self, held, monkeypatch):
        def broken(_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(left.os, "fsync", broken)
        with pytest.raises(HomeDamaged, match="cannot be used") as refused:
            open_store(held)
        assert refused.value.where == f"{held}{left.NOTE}"

    @pytest.mark.parametrize("note", [b"", b"\xff\xfe", b"1 2 3\n"], ids=["empty", "not text", "another"])
    def test_a_note_that_says_anything_else_counts_for_nothing(self, held, reads, note):
        held.with_name(f"{held.name}{left.NOTE}").write_bytes(note)
        open_store(held).close()
        assert len(reads) == 1


class TestDamage:
    def test_what_was_damaged_since_is_refused(self, held):
        spoil(held, leaves(held))
        with pytest.raises(StoreCorrupt) as refused:
            open_store(held)
        assert refused.value.reason == "STORE_CORRUPT"
        assert refused.value.details

    def test_whoever_meets_damage_is_refused_and_so_is_everybody_after(self, held):
        rot(held, leaves(held))
        with open_store(held) as store:
            with pytest.raises(StoreCorrupt):
                list(store.records.list(RecordFilter(), page_size=500).records)
            for call in (
                store.records.counts,
                lambda: store.records.add(make_record(), now=NOW),
                lambda: store.snapshot(held.with_name("copy.db")),
                store.scrub,
                store.verify_whole,
            ):
                with pytest.raises(StoreCorrupt) as refused:
                    call()
                assert refused.value.reason == "STORE_CORRUPT"
                assert "restore the latest backup" in refused.value.hint

    def test_it_is_not_opened_again(self, held):
        rot(held, leaves(held))
        with open_store(held) as store, pytest.raises(StoreCorrupt):
            list(store.records.list(RecordFilter(), page_size=500).records)
        with pytest.raises(StoreCorrupt):
            open_store(held)

    def test_what_is_refused_above_the_store_is_no_damage_of_the_file(self, store):
        with pytest.raises(StoreCorrupt), store.transaction():
            raise StoreCorrupt("a record does not verify")
        store.verify_whole()
        assert store.records.counts().own == 0

    def test_an_index_of_words_that_is_broken_keeps_nobody_from_the_records(self, held):
        with closing(sqlite3.connect(held)) as other, other:
            other.execute("DELETE FROM search_docsize")
        with open_store(held) as store:
            with pytest.raises(StoreCorrupt):
                store.records.search("Mockingbird")
            assert store.records.counts().own == RECORDS


class TestExamining:
    def test_what_is_sound_is_read_and_that_is_remembered(self, held, reads):
        with open_store(held) as store:
            assert store.examined is None
            assert store.examine(now=NOW) == (NOW, ())
            assert store.examined == (NOW, ())
        assert len(reads) == 1

    def test_others_write_meanwhile(self, held, monkeypatch):
        with open_store(held) as store:
            read = connection.find_damage

            def slow(opened):
                writer = threading.Thread(target=lambda: store.records.add(make_record(), now=NOW))
                writer.start()
                writer.join(5)
                assert not writer.is_alive()
                return read(opened)

            monkeypatch.setattr(connection, "find_damage", slow)
            assert store.examine(now=NOW).problems == ()
            assert store.records.counts().own == RECORDS + 1

    def test_damage_that_nobody_has_met_is_found_and_ends_all_use(self, held):
        rot(held, leaves(held))
        with open_store(held) as store:
            found = store.examine(now=NOW)
            assert found.problems
            assert all(problem.startswith("the file is damaged: ") for problem in found.problems)
            with pytest.raises(StoreCorrupt):
                store.verify_whole()
        with pytest.raises(StoreCorrupt):
            open_store(held)

    def test_what_contradicts_itself_is_told_and_serves_on(self, held):
        with closing(sqlite3.connect(held)) as other, other:
            other.execute("INSERT INTO feeds (partner, feed_id, head, opened_at) VALUES ('b.example', 'f', 3, 1)")
        with open_store(held) as store:
            (problem,) = store.examine(now=NOW).problems
            assert problem == "the feed for b.example has 0 numbered entries and says 3"
            store.verify_whole()

    def test_it_is_stopped_in_the_middle(self, held, monkeypatch):
        with open_store(held) as store:
            read = connection.find_damage

            def stopped(opened):
                opened.set_progress_handler(lambda: store.stop_examining(), 1)
                try:
                    return read(opened)
                finally:
                    opened.set_progress_handler(None, 1)

            monkeypatch.setattr(connection, "find_damage", stopped)
            assert store.examine(now=NOW) is None
            assert store.examined is None
            store.verify_whole()
            store.stop_examining()  # nothing is under way
            assert store.records.counts().own == RECORDS
