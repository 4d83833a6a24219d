"""What every store must do with policies in force and with the rows of the decision log."""

import sqlite3

import pytest

from tests.store.making import steps
from tests.support.organisations import NOW
from tocsin.store.model import AuditFilter, AuditRow, PolicySetRow

B, C = "lab-b.example", "aisi.example"


def policies(**changed):
    values = {
        "subject": "s1",
        "statement": "signed",
        "person": "counsel",
        "files": {"floor.toml": "[[never]]\n", "aisi.example.toml": "partner = …"},
        "signed": frozenset({"floor.toml"}),
        "applied_at": NOW,
        "replaces": "s0",
    }
    return PolicySetRow(**values | changed)


def row(sequence, act="sent", *, person="", partner="", digest="", at=NOW):
    return AuditRow(sequence, at, act, person, partner, digest, f"body {sequence}", f"hash {sequence}", "")


class TestPolicies:
    def test_the_last_set_is_in_force(self, store):
        assert store.policies.latest() is None
        store.policies.put(policies())
        assert store.policies.latest() == policies()
        store.policies.put(policies(subject="s2", replaces="s1", files={}, signed=frozenset()))
        assert store.policies.latest() == policies(subject="s2", replaces="s1", files={}, signed=frozenset())

    @pytest.mark.parametrize("statement", ["UPDATE policy_sets SET files = '{}'", "DELETE FROM policy_sets"])
    def test_a_set_that_was_in_force_never_changes(self, store, statement):
        store.policies.put(policies())
        with pytest.raises(sqlite3.IntegrityError, match="never changes"), store.transaction():
            store._db.execute(statement)
        assert store.policies.latest() == policies()


class TestAudit:
    def test_rows_come_back_as_they_were_put_in(self, store):
        assert store.audit.head() is None
        rows = (row(1, "posted", person="analyst-1", digest="d1"), row(2, partner=B, digest="d1", at=NOW + 5))
        store.audit.append(rows)
        assert store.audit.list(AuditFilter(), limit=9) == rows
        assert store.audit.head() == rows[1]

    def test_what_it_says_of_one_record_costs_the_same_in_a_long_log(self, store):
        store.audit.append([row(number, "posted", digest=f"d{number}") for number in range(1, 9)])
        where = AuditFilter(digest="d7", act="posted")
        before = steps(store, lambda: store.audit.list(where, limit=1))
        store.audit.append([row(number, "posted", digest=f"d{number}") for number in range(9, 400)])
        assert steps(store, lambda: store.audit.list(where, limit=1)) == pytest.approx(before, abs=20)
        assert [found.digest for found in store.audit.list(where, limit=9)] == ["d7"]

    @pytest.mark.parametrize("numbers", [(1,), (2,), (4,), (3, 5), (4, 3)], ids=str)
    def test_a_row_stands_behind_the_last_one_or_nowhere(self, store, numbers):
        store.audit.append([row(1), row(2)])
        with pytest.raises(RuntimeError, match="do not follow"):
            store.audit.append([row(number) for number in numbers])
        assert store.audit.head() == row(2)

    @pytest.mark.parametrize(
        "statement",
        ["UPDATE audit SET seal = 'x' WHERE sequence = 1", "DELETE FROM audit WHERE sequence = 2", "DELETE FROM audit"],
    )
    def test_a_row_never_changes_and_never_goes(self, store, statement):
        store.audit.append([row(1), row(2)])
        with pytest.raises(sqlite3.IntegrityError, match="never changes"), store.transaction():
            store._db.execute(statement)
        assert store.audit.list(AuditFilter(), limit=9) == (row(1), row(2))

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            pytest.param(AuditFilter(), [1, 2, 3, 4], id="everything"),
            pytest.param(AuditFilter(digest="d1"), [1, 2, 3], id="record"),
            pytest.param(AuditFilter(partner=B), [2], id="partner"),
            pytest.param(AuditFilter(person="analyst-1"), [1, 4], id="person"),
            pytest.param(AuditFilter(act="sent"), [2, 3], id="act"),
            pytest.param(AuditFilter(since=NOW + 2), [2, 3, 4], id="since"),
            pytest.param(AuditFilter(until=NOW + 2), [1], id="until leaves the moment out"),
            pytest.param(AuditFilter(digest="d1", partner=C, since=NOW, until=NOW + 9), [3], id="all of it"),
            pytest.param(AuditFilter(person="' OR 1 --"), [], id="nobody"),
        ],
    )
    def test_rows_are_found_by_what_they_are_about(self, store, where, found):
        store.audit.append(
            [
                row(1, "posted", person="analyst-1", digest="d1", at=NOW + 1),
                row(2, partner=B, digest="d1", at=NOW + 2),
                row(3, partner=C, digest="d1", at=NOW + 3),
                row(4, "policy-applied", person="analyst-1", at=NOW + 4),
            ]
        )
        assert [each.sequence for each in store.audit.list(where, limit=9)] == found
        backwards = store.audit.list(where, limit=9, newest_first=True)
        assert [each.sequence for each in backwards] == found[::-1]

    def test_rows_are_read_page_by_page_from_either_end(self, store):
        store.audit.append([row(number) for number in range(1, 8)])
        listed = store.audit.list
        assert [each.sequence for each in listed(AuditFilter(), after=2, limit=3)] == [3, 4, 5]
        assert [each.sequence for each in listed(AuditFilter(), after=2, before=4, limit=3)] == [3]
        assert [each.sequence for each in listed(AuditFilter(), before=4, limit=2, newest_first=True)] == [3, 2]

    @pytest.mark.parametrize("name", ["digest", "partner", "person", "act"])
    def test_a_filter_reads_no_more_of_the_log_than_it_finds(self, store, name, monkeypatch):
        asked = []
        monkeypatch.setattr(store._db, "rows", lambda sql, values=(): asked.append((sql, values)) or [])
        store.audit.list(AuditFilter(**{name: "x"}), limit=9)
        monkeypatch.undo()
        ((sql, values),) = asked
        plan = store._db.rows(f"EXPLAIN QUERY PLAN {sql}", values)
        assert [str(step[3]) for step in plan] == [
            f"SEARCH audit USING INDEX audit_by_{name} ({name}=? AND sequence>?)"
        ]
