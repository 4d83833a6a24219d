"""What is not as it was written is found and named, and what is is not."""

import pytest

from tests.desk.conftest import LAB_B
from tests.support.organisations import NOW
from tocsin.desk.fsck import examine_home
from tocsin.desk.home import open_home
from tocsin.errors import HomeLocked, HomeMissing
from tocsin.exchange.receipt import Receipt, sign_receipt
from tocsin.records.disclosure import digest_of
from tocsin.records.record import parse_record
from tocsin.records.retraction import Action, sign_retraction
from tocsin.store.evidence import PageRow, ReceiptRow
from tocsin.store.model import Outcome, Verdict

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
    store.retractions.add(retraction, person="analyst-1", now=NOW)
    first = receipt_row(home, 1, "")
    for row in (first, receipt_row(home, 2, first.digest)):
        store.receipts.give(row)
    assert kept != gone
    home.close()
    return root


def test_a_home_that_is_as_it_was_written_has_no_findings(home):
    assert list(examine_home(home)) == []


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
    found = list(examine_home(home))
    assert [finding for finding in found if finding.part == part and said in finding.problem], found


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
