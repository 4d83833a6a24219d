"""A store that the first version has left is taken to this one whole, or stays what it was."""

import json
import shutil
import sqlite3
import stat

import pytest
from sqlite_utils import Database

from tests.support.organisations import NOW, found
from tests.support.shared import ROOT
from tocsin.audit.entry import Entry, Event
from tocsin.audit.log import Log, verify_log
from tocsin.errors import AuditInconsistent, HomeDamaged, StoreCorrupt
from tocsin.store import second, third
from tocsin.store.migrations import KNOWN, migrations
from tocsin.store.model import AuditFilter, Due, DueKind, EntryKind, Position, RecordFilter
from tocsin.store.schema import APPLICATION_ID
from tocsin.store.sqlite import open_store

HOME = ROOT / "tests" / "fixtures" / "home-v1"
LAB = found()
RECORD = (
    "INSERT INTO records VALUES (?1, 'digest-' || ?1, 'lab-a.example', 'id-' || ?1, 1, '', 'finding', 'issued',"
    " 'AMBER', '', '[]', 'none', '', 1, NULL, 'key', 'title', 'high', '', 1, 'current')"
)
SEND = "INSERT INTO sends VALUES (?, 'b.example', ?, 'record', ?, ?, ?, 'open', 'policies/b.toml', 7, 'ab', 'MOU', ?)"
WITHHELD = json.dumps([["steps", "infohazard", "listed"]])


@pytest.fixture
def old(path):
    """Return the path of a store of the first version: two records, the first sent twice, the second time with less."""
    connection = sqlite3.connect(path, isolation_level=None)
    migrations.apply(Database(connection), stop_before="people_and_releases")
    connection.executemany(RECORD, [(1,), (2,)])
    sends = [(1, 1, 1, ["summary", "title"]), (2, 2, 2, ["title"]), (3, 1, 1, ["title"])]
    connection.executemany(
        SEND, [(id_, seq, record, json.dumps(paths), WITHHELD, NOW + id_) for id_, seq, record, paths in sends]
    )
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    return path


@pytest.fixture
def kept(tmp_path):
    """Return the path of a copy of the store in the home that the first version left."""
    return shutil.copy(HOME / "tocsin.db", tmp_path / "kept.db")


def log_of(store):
    return Log(store, org=LAB.organisation.org, signer=LAB.delivery)


def tables(path):
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    finally:
        connection.close()


def test_every_record_is_there_with_the_marking_it_had(kept):
    connection = sqlite3.connect(kept)
    before = dict(
        connection.execute("SELECT r.digest, h.token FROM records AS r JOIN holdings AS h ON h.record = r.id")
    )
    connection.close()
    with open_store(kept) as store:
        records = store.records.list(RecordFilter()).records
        assert {record.digest: record.token for record in records} == before
        assert all(record.marking == record.tlp and record.author == "" for record in records)
        assert len(store.records.list(RecordFilter(tlp="GREEN")).records) == 1
        assert len(store.records.search("refusals")) == 1
        assert store.feeds.get("lab-b.example").head == len(store.audit.list(AuditFilter(), limit=99)) > 0


def test_what_was_received_with_a_date_is_deleted_by_it(old):
    connection = sqlite3.connect(old, isolation_level=None)
    connection.execute("UPDATE records SET retention_until = '2026-03-01T12:00:00.5Z'")
    connection.execute("UPDATE records SET received_from = 'b.example' WHERE id = 2")
    connection.close()
    with open_store(old) as store:
        assert store.dues.until(NOW + 10, limit=9) == (Due(DueKind.RETENTION, "digest-2", "", NOW + 1),)


def test_nobody_is_known_and_no_policy_is_in_force(kept):
    with open_store(kept) as store:
        assert store.people.list() == ()
        assert store.policies.latest() is None
        assert store.reviews.list(open_only=False) == ()
        assert store.dues.next_at() is None


def test_what_was_sent_is_the_beginning_of_the_decision_log(old):
    with open_store(old) as store:
        rows = store.audit.list(AuditFilter(), limit=99)
    assert [(row.act, row.partner, row.digest, row.at) for row in rows] == [
        ("sent", "b.example", "digest-1", NOW + 1),
        ("sent", "b.example", "digest-2", NOW + 2),
        ("narrowed", "b.example", "digest-1", NOW + 3),
    ]
    assert json.loads(rows[0].body)["details"] == {
        "kind": "record",
        "sequence": 1,
        "disclosed": ["summary", "title"],
        "withheld": [{"path": "steps", "reason": "infohazard"}],
        "rule": "open",
        "file": "policies/b.toml",
        "line": 7,
        "policy": "ab",
        "agreement": "MOU",
        "marking": "AMBER",
        "reviews": [],
        "unchained": True,
    }
    assert not {"sends", "policy_files"} & tables(old)


def test_what_was_sent_is_sealed_once_when_the_log_is_taken_up(old):
    with open_store(old) as store:
        log = log_of(store)
        with pytest.raises(AuditInconsistent, match=r"entry 3 .* has no seal"):
            verify_log(log.rows(), organisation=LAB.organisation)
        log.seal_tail(now=NOW + 9)
        log.seal_tail(now=NOW + 10)
        log.append(Entry(Event.POSTED), now=NOW + 11)
        assert [row.act for row in log.rows()] == ["sent", "sent", "narrowed", "sealed", "posted"]
        assert verify_log(log.rows(), organisation=LAB.organisation).entries == 5


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE audit SET partner = 'c.example' WHERE sequence = 1", id="a column"),
        pytest.param("UPDATE audit SET body = replace(body, 'MOU', 'NDA') WHERE sequence = 2", id="a body"),
        pytest.param("DELETE FROM audit WHERE sequence = 2", id="a row that is gone"),
        pytest.param(
            "INSERT INTO audit SELECT 4, at, act, person, partner, digest, body, hash, '' FROM audit LIMIT 1",
            id="one more",
        ),
    ],
)
def test_what_was_changed_before_it_was_sealed_is_not_sealed(old, change):
    with open_store(old) as store:
        pass
    connection = sqlite3.connect(old)
    connection.executescript("DROP TRIGGER audit_never_update; DROP TRIGGER audit_never_delete")
    connection.execute(change)
    connection.commit()
    connection.close()
    with open_store(old) as store, pytest.raises(AuditInconsistent) as refused:
        log_of(store).seal_tail(now=NOW)
    assert refused.value.reason == "AUDIT_INCONSISTENT"


def test_a_migration_that_fails_leaves_the_store_as_it_was(old, monkeypatch):
    before = tables(old)
    monkeypatch.setattr(second, "DROPPED", (*second.DROPPED, "DROP TABLE absent"))
    with pytest.raises(sqlite3.OperationalError, match="absent"):
        open_store(old)
    monkeypatch.undo()
    assert tables(old) == before
    with open_store(old) as store:
        assert len(store.audit.list(AuditFilter(), limit=9)) == 3


def test_who_was_sent_a_record_holds_it_and_entries_go_on(old):
    connection = sqlite3.connect(old, isolation_level=None)
    connection.execute("INSERT INTO feeds (partner, feed_id, head, opened_at) VALUES ('b.example', 'feed', 2, 1)")
    connection.execute("INSERT INTO entries VALUES ('b.example', 1, 'record', 1, '[\"title\"]', 1)")
    connection.execute("INSERT INTO entries VALUES ('b.example', 2, 'record', 2, '[]', 0)")
    connection.close()
    with open_store(old) as store:
        assert store.feeds.holders("lab-a.example", "id-1") == {"b.example"}
        entries = store.feeds.entries("b.example", after=0, limit=9)
        assert [(entry.kind, entry.tag, entry.sent_at) for entry in entries] == [
            (EntryKind.VOID, "", NOW + 1),
            (EntryKind.RECORD, "", NOW + 2),
        ]
        assert store.feeds.position("b.example", 2) == Position("feed", 2)


class TestCopies:
    def test_the_store_is_copied_before_it_is_changed(self, old, caplog):
        with open_store(old):
            pass
        copy = old.with_name("tocsin.db.format-1")
        assert f"the store is of format 1: it is copied to {copy} and taken to format {KNOWN}" in caplog.text
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert "sends" in tables(copy)
        assert "retractions" not in tables(copy)

    def test_a_store_of_today_and_a_new_one_are_not_copied(self, path):
        for create in (True, False):
            with open_store(path, create=create):
                pass
        assert list(path.parent.glob("*.format-*")) == []

    def test_the_copy_from_before_the_first_of_several_tries_is_kept(self, old, monkeypatch):
        monkeypatch.setattr(third, "REBUILT", (*third.REBUILT, "DROP TABLE absent"))
        with pytest.raises(sqlite3.OperationalError, match="absent"):
            open_store(old)
        monkeypatch.undo()
        assert "people" in tables(old), "the second format was reached"
        copy = old.with_name("tocsin.db.format-1")
        before = copy.read_bytes()
        with open_store(old) as store:
            assert len(store.audit.list(AuditFilter(), limit=9)) == 3
        assert copy.read_bytes() == before
        assert "sends" in tables(copy)

    def test_without_room_for_the_copy_nothing_is_changed(self, old, monkeypatch):
        def no_room(*_):
            raise HomeDamaged("the store cannot be used: database or disk is full")

        monkeypatch.setattr("tocsin.store.connection.copy_to", no_room)
        with pytest.raises(HomeDamaged):
            open_store(old)
        assert "sends" in tables(old)

    def test_a_reference_that_leads_nowhere_is_not_taken_over(self, old):
        connection = sqlite3.connect(old, isolation_level=None)
        connection.execute("DELETE FROM records WHERE id = 2")
        connection.execute("INSERT INTO candidates VALUES ('b.example', 2, 1)")
        connection.close()
        with pytest.raises(StoreCorrupt, match="name others that are not there"):
            open_store(old)


def test_a_store_that_was_migrated_has_the_shape_of_a_new_one(old, tmp_path):
    new = tmp_path / "new.db"
    for path in (old, new):
        with open_store(path, create=path is new):
            pass
    shapes = []
    for path in (old, new):
        connection = sqlite3.connect(path)
        shapes.append(set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")))
        assert connection.execute("PRAGMA user_version").fetchone() == (KNOWN,)
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        connection.close()
    assert shapes[0] == shapes[1]
