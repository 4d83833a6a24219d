"""What is not as it was written is found and named, and what is is not."""

import sqlite3
from contextlib import closing

import pytest

from tests.desk.conftest import LAB_A, LAB_B
from tests.store.test_left import spoil
from tests.support.organisations import NOW, found
from tocsin.desk.fsck import examine_home
from tocsin.desk.home import open_home
from tocsin.errors import HomeLocked, HomeMissing, StoreCorrupt
from tocsin.exchange.receipt import Receipt, sign_receipt
from tocsin.records.disclosure import digest_of
from tocsin.records.record import parse_record
from tocsin.records.retraction import Action, sign_retraction
from tocsin.release.ledger import entry_of
from tocsin.store import left
from tocsin.store.connection import PAGE_SIZE
from tocsin.store.evidence import PageRow, ReceiptRow
from tocsin.store.model import Outcome, Verdict
from tocsin.tlog.entry import record_entry
from tocsin.tlog.log import TransparencyLog

FEED = "A" * 22


def receipt_row(home, number, previous):
    receipt = sign_receipt(
        Receipt(
            issuer=home.organisation.org,
            audience=LAB_B,
            issued_at=NOW,
            chain="A" * 22,
            number=number,
            previous=previous,
            page=digest_of(f"page {number}"),
            feed_id=FEED,
            first=number,
            last=number,
            cursor=f"{FEED}.{number}.{'A' * 11}",
            verdicts=(Verdict(number, Outcome.VOID),),
        ),
        signer=home.delivery_signer,
    )
    page = PageRow(receipt.page, f"page {number}", receipt.feed_id, number, number, NOW)
    return ReceiptRow(LAB_B, True, receipt.chain, number, receipt.digest, receipt.statement, page, NOW)


@pytest.fixture
def home(office, root):
    """Return the folder of a home with records, a retraction, and receipts that hang together."""
    kept, gone = office.post().record.digest, office.post().record.digest
    home, store = office.home, office.home.store
    record = store.records.get(gone)
    retraction = sign_retraction(
        issuer=home.organisation.org,
        record_id=record.record_id,
        version=1,
        action=Action.WITHDRAW,
        tlp="AMBER",
        signer=home.record_signer,
        now=NOW,
    )
    with store.transaction():
        store.retractions.add(retraction, person="analyst-1", now=NOW)
        home.tlog.issue(entry_of(retraction), now=NOW)
    first = receipt_row(home, 1, "")
    for row in (first, receipt_row(home, 2, first.digest)):
        store.receipts.give(row)
    assert kept != gone
    home.close()
    return root


def test_a_home_that_is_as_it_was_written_has_no_findings(home):
    assert list(examine_home(home)) == []


def test_a_store_that_has_gone_bad_is_found_though_nobody_has_touched_it(home):
    store = home / "tocsin.db"
    spoil(store, [store.stat().st_size - PAGE_SIZE])
    left.leave(store)
    assert any(finding.problem.startswith("the file is damaged: ") for finding in examine_home(home))
    with pytest.raises(StoreCorrupt):
        open_home(home, now=NOW)


def test_a_home_that_a_node_holds_is_not_looked_through(home):
    with open_home(home, now=NOW), pytest.raises(HomeLocked):
        list(examine_home(home))


def test_where_there_is_no_home_nothing_is_sound(tmp_path):
    with pytest.raises(HomeMissing):
        list(examine_home(tmp_path / "nowhere"))


CHANGES = {
    "UPDATE records SET tlp = 'CLEAR' WHERE id = 1": ("record", "is not what its row says: tlp"),
    "UPDATE holdings SET content = '{}' WHERE record = 1": ("record", "is not what its row says: content"),
    "UPDATE holdings SET token = substr(token, 1, length(token) - 9) WHERE record = 1": ("record", "does not verify"),
    "UPDATE records SET digest = 'another' WHERE id = 1": ("record", "is not what its row says: digest"),
    "UPDATE retractions SET tlp = 'RED'": ("retraction", "is not what its row says: tlp"),
    "UPDATE retractions SET token = token || 'A'": ("retraction", "does not verify"),
    "UPDATE receipts SET digest = 'another' WHERE number = 1": ("receipt", "is not the one that was written"),
    "UPDATE receipts SET statement = 'x' WHERE number = 2": ("receipt", "cannot be read"),
    "UPDATE pages SET statement = 'x' WHERE id = 2": ("receipt", "is not the one that was written"),
    "UPDATE receipts SET chain = 'other'": ("receipt", "is not what its row says"),
    "DELETE FROM receipts WHERE number = 1": ("receipt", "does not follow the one before it"),
    "UPDATE records SET standing = 'current' WHERE id = 2": ("store", "was retracted and is current"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_found(home, change):
    with open_home(home, now=NOW) as opened, opened.store.transaction():
        opened.store._db.execute(change)
    part, said = CHANGES[change]
    findings = list(examine_home(home))
    assert [finding for finding in findings if finding.part == part and said in finding.problem], findings


IN_LOGS = {
    "UPDATE log_entries SET digest = zeroblob(32) WHERE number = 1": [
        "lab-a.example: entry 1 is not the one that was logged",
        "has another entry",
    ],
    "UPDATE log_nodes SET hash = zeroblob(32) WHERE level = 1": [
        "lab-a.example: the node over entries 0 to 1 is another",
        "do not lead to the root that was signed",
    ],
    "DELETE FROM log_nodes WHERE level = 1": ["level 1, number 0: a node of a log is missing"],
    "DELETE FROM log_entries WHERE number = 2": ["entry 2 is not the one that was logged", "retraction", "no entry"],
    "UPDATE logs SET checkpoint = replace(checkpoint, 'lab-a', 'lab-b')": ["its checkpoint does not hold"],
    "UPDATE logs SET signed = 2": [f"{LAB_A}: it has 3 entries, and 2 were signed"],
}


@pytest.mark.parametrize("change", IN_LOGS)
def test_a_log_that_was_changed_is_found(home, change):
    with closing(sqlite3.connect(home / "tocsin.db")) as database, database:
        database.execute(change)
    problems = [finding.problem for finding in examine_home(home) if finding.part == "log"]
    for words in IN_LOGS[change]:
        assert any(words in problem for problem in problems), problems


def test_what_is_missing_in_a_log_that_waits_may_still_come(home):
    with closing(sqlite3.connect(home / "tocsin.db")) as database, database:
        database.execute("DELETE FROM log_entries")
        database.execute("DELETE FROM log_nodes")
        database.execute("UPDATE logs SET size = 0, signed = 0, checkpoint = '', stopped = 'put back'")
    assert [finding for finding in examine_home(home) if finding.part == "log"] == []


def test_a_log_that_is_followed_is_read_whole_as_well(home):
    lab_b = found(LAB_B)
    entries = [record_entry(f"68a3b439-a539-418d-a498-{number:012d}", 1, bytes(32)) for number in range(5)]
    with open_home(home, now=NOW) as opened:
        log = TransparencyLog(opened.store.logs, lab_b.organisation.org)
        log.append(entries, now=NOW)
        log.sign(lab_b.log, now=NOW)
    assert list(examine_home(home)) == []
    with closing(sqlite3.connect(home / "tocsin.db")) as database, database:
        database.execute(
            "UPDATE log_entries SET digest = name"
            " WHERE number = 3 AND log = (SELECT id FROM logs WHERE origin = 'lab-b.example')"
        )
    (finding,) = examine_home(home)
    assert (finding.part, finding.problem) == ("log", "lab-b.example: entry 3 is not the one that was logged")


def test_a_decision_that_was_changed_is_found(home):
    with open_home(home, now=NOW) as opened, opened.store.transaction():
        opened.store._db.execute("DROP TRIGGER audit_never_update")
        opened.store._db.execute("UPDATE audit SET person = 'operator' WHERE sequence = 2")
    assert [finding.part for finding in examine_home(home)] == ["decision log"]


def test_the_token_of_a_record_is_compared_with_what_it_discloses(home):
    with open_home(home, now=NOW) as opened, opened.store.transaction():
        stored = opened.store.records.get(opened.store._db.row("SELECT digest FROM records WHERE id = 1")[0])
        less = parse_record(stored.token).verify(opened.organisation, now=NOW).present(frozenset({"title"}))
        opened.store._db.execute("UPDATE holdings SET token = ? WHERE record = 1", (less,))
    assert [finding.problem.partition(" ")[2] for finding in examine_home(home)] == [
        "is not what its row says: content"
    ]
