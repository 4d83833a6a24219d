"""What is purged leaves no byte in any file, whenever the node was killed; copies hold what the store holds."""

import logging
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from tests.store.making import make_record, make_retraction
from tests.store.test_receipts import receipt
from tests.support.organisations import NOW
from tests.support.shared import ROOT
from tests.support.stores import new_store
from tocsin.errors import HomeDamaged
from tocsin.records.retraction import Action
from tocsin.store import snapshot
from tocsin.store.model import DisclosureRequest, EntryKind, NewEntry, PeerRole, PeerState, ReviewState
from tocsin.store.snapshot import unnamed_copy
from tocsin.store.sqlite import open_store

B = "lab-b.example"
SECRET = "kestrel"  # what the text is told by: no other word of a record has it


def secret_record(number=0):
    """Return a record whose every field that may hold text tells the word, in upper case and in the middle too."""
    words = " ".join(f"{SECRET}{number}x{each} {SECRET.upper()}" for each in range(60))
    return make_record({"title": f"{SECRET} {number}", "summary": words, "prompts": [words, f"a {SECRET}"]})


def purge(store, record):
    with store.transaction():
        store.retractions.add(make_retraction(record, Action.PURGE), now=NOW)
        store.records.erase(record.digest)


def files_that_tell(folder, record):
    """Return the files that hold the word in any case, or a disclosure of the record."""
    parts = [part.encode() for part in record.token.split("~") if part]
    told = re.compile(rb"(?i)" + SECRET.encode())
    found = []
    for file in folder.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        if told.search(content) or any(part in content for part in parts):
            found.append(file.name)
    return found


class TestPurging:
    def test_no_byte_is_left_in_any_file(self, store, path):
        others = [make_record({"summary": f"an ordinary text {number} " * 40}) for number in range(40)]
        records = [secret_record(number) for number in range(20)]
        for pair in zip(others[:20], records, strict=True):
            for record in pair:
                store.records.add(record, now=NOW)
        for record in records:
            store.reviews.ask(
                DisclosureRequest(record.digest[:20], B, record.digest, ("steps",), SECRET, NOW, ReviewState.OPEN)
            )
        for record in others[20:]:
            store.records.add(record, now=NOW)
        assert len(store.records.search(SECRET)) == 20
        assert "tocsin.db-wal" in files_that_tell(path.parent, records[0])
        for record in records:
            purge(store, record)
        store.scrub()
        assert [files_that_tell(path.parent, record) for record in records] == [[]] * 20
        assert store.records.search(SECRET) == ()
        assert store.records.counts().own == 40
        assert list(store.problems()) == []

    def test_what_a_killed_node_had_not_overwritten_is_overwritten_when_it_opens(self, path):
        record = secret_record()
        with new_store(path) as store:
            store.records.add(record, now=NOW)
        killed = f"""
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "node")!r}]
from tests.store.test_erasure import NOW, Action, make_retraction, open_store
from tocsin.store.sqlite import open_store
store = open_store(Path({str(path)!r}))
with store.transaction():
    store.records.erase({record.digest!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
        ended = subprocess.run([sys.executable, "-c", killed], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert files_that_tell(path.parent, record)
        with open_store(path):
            assert files_that_tell(path.parent, record) == []

    def test_the_copies_that_migrations_left_go_with_it(self, store, path):
        store.records.add(secret_record(), now=NOW)
        store.scrub()
        copy = path.with_name("tocsin.db.format-2")
        copy.write_bytes(b"from before")
        copy.with_name("tocsin.db.format-1.part").write_bytes(b"cut off")
        store.scrub()
        assert copy.exists(), "nothing was erased"
        store.records.erase(store.records.search(SECRET)[0].digest)
        store.scrub()
        assert list(path.parent.glob("tocsin.db.format*")) == []

    def test_what_is_left_for_later_is_done_when_the_store_closes_at_the_latest(self, store, path):
        records = [secret_record(), secret_record()]
        for record, is_done in zip(records, (True, False), strict=True):
            store.records.add(record, now=NOW)
            purge(store, record)
            store.scrub(unless_within=60.0)
            assert (files_that_tell(path.parent, record) == []) is is_done
        store.close()
        assert files_that_tell(path.parent, records[1]) == []

    def test_while_others_read_it_waits_and_is_done_later(self, store, path, monkeypatch, caplog):
        record = secret_record()
        store.records.add(record, now=NOW)
        purge(store, record)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM records").fetchone()
        store._db._database.conn.execute("PRAGMA busy_timeout = 1")
        with caplog.at_level(logging.WARNING):
            store.scrub()
        assert "until nobody else reads" in caplog.text
        other.close()
        store.scrub()
        assert files_that_tell(path.parent, record) == []


class TestSnapshots:
    def test_a_copy_holds_what_the_store_holds_while_others_write(self, store, tmp_path):
        records = [make_record() for _ in range(20)]
        for record in records[:10]:
            store.records.add(record, now=NOW)
        writer = threading.Thread(target=lambda: [store.records.add(record, now=NOW) for record in records[10:]])
        writer.start()
        store.snapshot(tmp_path / "copy.db")
        writer.join()
        assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
        with open_store(tmp_path / "copy.db") as copy:
            assert set(copy.records.own_current()) >= {record.digest for record in records[:10]}
            assert list(copy.problems()) == []

    def test_it_takes_no_files_place(self, store, tmp_path):
        taken = tmp_path / "copy.db"
        taken.write_text("something else")
        with pytest.raises(HomeDamaged, match="stands there"):
            store.snapshot(taken)
        assert taken.read_text() == "something else"

    def test_one_that_is_cut_off_leaves_nothing(self, store, tmp_path, monkeypatch):
        def fail(_):
            raise OSError(28, "no space left")

        folder = tmp_path / "elsewhere"
        folder.mkdir()
        monkeypatch.setattr(snapshot, "_sync", fail)
        with pytest.raises(OSError, match="no space"):
            store.snapshot(folder / "copy.db")
        assert list(folder.iterdir()) == []

    def test_a_copy_without_a_name_is_whole(self, store, path, tmp_path):
        record = secret_record()
        store.records.add(record, now=NOW)
        names = set(path.parent.iterdir())
        with unnamed_copy(path) as copy:
            assert set(path.parent.iterdir()) == names
            assert os.fstat(copy.fileno()).st_nlink == 0
            written = tmp_path / "written" / "tocsin.db"
            written.parent.mkdir()
            written.write_bytes(copy.read())
        with open_store(written) as opened:
            assert opened.records.token(record.digest) == record.token
            assert list(opened.problems()) == []


class TestRestored:
    def test_feeds_begin_anew_and_members_are_asked(self, store):
        record = make_record()
        store.records.add(record, now=NOW)
        store.feeds.open(B, feed_id="before", now=NOW)
        store.feeds.append(B, [NewEntry(EntryKind.RECORD, record.digest, frozenset(), "t")], after=0, now=NOW)
        peers = {
            B: (PeerRole.MEMBER, PeerState.ACTIVE),
            "paused.example": (PeerRole.MEMBER, PeerState.SUSPENDED),
            "reader.example": (PeerRole.READER, PeerState.ACTIVE),
            "known.example": (PeerRole.MEMBER, PeerState.KNOWN),
        }
        for org, (role, state) in peers.items():
            store.peers.add(org, document=b"", role=role, state=state, now=NOW)
        store.note_restored(now=NOW + 1)
        assert store.feeds.get(B) is None
        assert store.feeds.candidates(B, limit=9) == (record.digest,)
        assert set(store.recoveries.open()) == {B, "paused.example"}


PROBLEMS = {
    "UPDATE feeds SET head = 3": "has 2 numbered entries and says 3",
    "DELETE FROM entries WHERE sequence = 1": "has 1 numbered entries and says 2",
    "DELETE FROM search WHERE rowid = 1": "cannot be found by its words",
    "INSERT INTO search (rowid, title, body, names) VALUES (99, 'a', 'b', 'c')": "row 99 of the index",
    "UPDATE search_content SET c0 = 'other words'": "the index of words",
    "UPDATE records SET standing = 'current' WHERE id = 3": "was retracted and is current",
    "UPDATE records SET standing = 'withdrawn' WHERE id = 1": "was not retracted and is withdrawn",
    "UPDATE records SET standing = 'purged' WHERE id = 3": "is purged and still held",
    "UPDATE records SET standing = 'current' WHERE id = 2": "is current and not the newest version",
    "UPDATE retractions SET version = 2 WHERE action = 'correct'": "was corrected and is current",
    "UPDATE receipts SET number = 2": "receipts are missing",
    "DELETE FROM pages": "names a row of pages that is not there",
}


class TestProblems:
    @pytest.fixture
    def sound(self, store, path):
        first = make_record()
        second = make_record(record_id=first.record_id, version=2)
        withdrawn = make_record()
        for record in (second, first, withdrawn):
            store.records.add(record, now=NOW)
        store.retractions.add(make_retraction(withdrawn), now=NOW)
        store.retractions.add(make_retraction(first, Action.CORRECT), now=NOW)
        store.feeds.open(B, feed_id="feed", now=NOW)
        new = [NewEntry(EntryKind.RECORD, record.digest, frozenset(), "") for record in (second, first)]
        store.feeds.append(B, new, after=0, now=NOW)
        store.receipts.give(receipt(given=True))
        assert list(store.problems()) == []
        store.close()
        return path

    @pytest.mark.parametrize("change", PROBLEMS)
    def test_what_does_not_fit_is_named(self, sound, change):
        connection = sqlite3.connect(sound)
        connection.execute(change)
        connection.commit()
        connection.close()
        with open_store(sound) as store:
            found = list(store.problems())
        assert [problem for problem in found if PROBLEMS[change] in problem], found
