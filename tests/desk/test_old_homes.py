"""A home that an earlier version has left opens, reads and goes on (scripts/make_home_fixture.py made it).

Whoever owns it lets itself in first: the first version knew no people, and the
keys of the people of a later one lie nowhere here.
"""

import json
import shutil
import stat
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from tests.desk.conftest import LAB_A, Clock, Office
from tests.support.organisations import seeded
from tests.support.people import first
from tests.support.policies import request_to_apply
from tests.support.shared import ROOT
from tocsin.audit.log import verify_log
from tocsin.desk.fsck import examine_home
from tocsin.desk.home import open_home
from tocsin.desk.lookup import load_record
from tocsin.desk.policyfiles import load_drafts
from tocsin.desk.recovery import recover_person
from tocsin.desk.room import open_office as open_release
from tocsin.exchange.cursor import format_cursor
from tocsin.exchange.outbox import next_page
from tocsin.identity.names import OrgId
from tocsin.store.migrations import KNOWN
from tocsin.store.model import DisclosureRequest, Proposal
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import exchange_service_pb2 as exchange_v1

FIXTURES = ROOT / "tests" / "fixtures"
HOMES = sorted(path.stem for path in FIXTURES.glob("home-v*.json"))


@pytest.fixture(params=HOMES)
def version(request) -> str:
    return request.param


@pytest.fixture
def expected(version) -> dict:
    return json.loads((FIXTURES / f"{version}.json").read_text())


def copied(version: str, folder: Path) -> Path:
    """Return a copy of a home, with the modes that git does not keep."""
    root = folder / "home"
    shutil.copytree(FIXTURES / version, root)
    for path in (root, *root.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return root


@pytest.fixture
def old(tmp_path: Path, version, expected, open_office) -> Office:
    """Return the desk of a copy, to which its owner has let itself in."""
    root = copied(version, tmp_path)
    recover_person(root, first(LAB_A).card, now=expected["now"])
    return open_office(root, clock=Clock(expected["now"]))


def listed(office: Office) -> list[v1.Record]:
    return list(office.desk.list_records(v1.ListRecordsRequest(full=True), office.me).records)


def test_every_record_of_an_old_home_is_there(old, expected):
    found = {
        record.digest: {
            "title": record.title,
            "iss": record.envelope.iss,
            "fields": sorted(record.content.fields),
            "withheld": [field.path for field in record.withheld],
            "recipients": list(record.recipients),
        }
        for record in listed(old)
    }
    assert found == expected["records"]


def test_every_record_of_an_old_home_verifies(old, expected):
    verified = [load_record(old.home, old.home.store.records.get(digest)) for digest in expected["records"]]
    assert {record.kind for record in verified} == {"finding", "incident", "evaluation"}
    assert {record.digest for record in verified} == expected["records"].keys()
    contents = {record.digest: MessageToDict(record.content) for record in listed(old)}
    assert all(record.content.keys() == contents[record.digest].keys() for record in verified)


def test_an_old_home_says_who_it_is_and_with_whom_it_exchanges(old, expected):
    assert old.home.organisation.fingerprint == expected["fingerprint"]
    (peer,) = old.desk.list_peers(v1.ListPeersRequest(), old.me).peers
    assert peer.state == v1.PEER_STATE_ACTIVE
    assert {
        "org": peer.organisation.org,
        "sent": peer.entries_sent,
        "acknowledged": peer.entries_acknowledged,
        "waiting": peer.waiting,
    } == expected["peer"]


def test_the_policies_of_an_old_home_are_in_order_and_in_force_once_somebody_applies_them(old, expected):
    assert old.home.policies.floor is None
    applied = old.apply(dict(load_drafts(old.home.layout).files))
    assert old.home.policies == applied
    assert applied.problems == ()
    assert applied.policies.keys() == {expected["peer"]["org"]}


def test_an_old_home_goes_on_where_it_stopped(old, expected):
    partner = OrgId(expected["peer"]["org"])
    feed = old.home.store.feeds.get(partner)
    office = open_release(old.home, strict=False, random=seeded("old"))
    cursor = format_cursor(old.home.store.feeds.position(partner, feed.acknowledged))
    page = next_page(office, partner, cursor, signer=old.home.delivery_signer, now=expected["now"])
    told = list(page.entries) if page else []
    assert {entry.kind for entry in told} <= {exchange_v1.ENTRY_KIND_RETRACTION}, "without a policy nothing else goes"
    cursor = page.cursor if page else cursor
    request = request_to_apply(old.home, load_drafts(old.home.layout).files, by=old.first, now=old.clock())
    old.desk.apply_policies(request, old.me)
    page = next_page(office, partner, cursor, signer=old.home.delivery_signer, now=expected["now"])
    assert [entry.sequence for entry in page.entries] == [expected["peer"]["sent"] + len(told) + 1]


def test_the_decision_log_of_an_old_home_is_sealed_and_goes_on(old):
    rows = list(old.home.log.rows())
    assert verify_log(rows, organisation=old.home.organisation).entries == len(rows)
    assert rows[-1].act == "person-recovered"


def test_an_old_home_remembers_what_was_posted_under_which_key(old, expected):
    again = old.post(idempotency_key="example:01-tool-output-injection")
    assert again.existed
    assert again.record.digest in expected["records"]


def test_words_are_found_in_an_old_home(old):
    found = old.desk.search_records(v1.SearchRecordsRequest(text="refusals low-resource languages"), old.me).records
    assert [record.own for record in found] == [False]


def test_what_an_old_home_decided_and_what_waits_is_there(tmp_path, version, expected):
    if "audit" not in expected:
        pytest.skip("the first version knew no people, no reviews and no decision log")
    root = copied(version, tmp_path)
    with open_home(root, now=expected["now"]) as home:
        store = home.store
        assert {one.name: sorted(one.roles) for one in store.people.list()} == expected["people"]
        assert sorted(home.policies.policies) == expected["policies"]
        kinds = {"REVIEW_KIND_RELEASE": Proposal, "REVIEW_KIND_REQUEST": DisclosureRequest}
        for review, (kind, state) in expected["reviews"].items():
            held = store.reviews.get(review)
            assert isinstance(held, kinds[kind])
            assert f"REVIEW_STATE_{held.state.upper()}" == state
        dues = store.dues.until(2 * expected["now"], limit=100)
        assert [[due.kind, due.digest, due.partner, due.due_at] for due in dues] == expected["due"]
        verified = verify_log(home.log.rows(), organisation=home.organisation)
        assert {"entries": verified.entries, "head": verified.head} == expected["audit"]


def test_what_was_retracted_and_signed_for_in_an_old_home_is_there(tmp_path, version, expected):
    if "receipts" not in expected:
        pytest.skip("it is of a version that knew no retractions and no receipts")
    with open_home(copied(version, tmp_path), now=expected["now"]) as home:
        store, partner = home.store, expected["peer"]["org"]
        held = {digest: store.records.get(digest).standing for digest in expected["standings"]}
        assert held == expected["standings"]
        assert {row.digest: [row.issuer, row.action] for row in store.retractions.issued("")} == expected["retractions"]
        assert {
            "held": len(store.receipts.list(given=False)[0]),
            "given": len(store.receipts.list(given=True)[0]),
            "pending": len(store.receipts.pending(partner, limit=100)),
        } == expected["receipts"]


def test_an_old_home_is_copied_before_it_is_changed(tmp_path, version, expected, caplog):
    root = copied(version, tmp_path)
    number = int(version.removeprefix("home-v"))
    copy = root / f"tocsin.db.format-{number}"
    with open_home(root, now=expected["now"]):
        pass
    assert copy.exists() is (number < KNOWN)
    if number < KNOWN:
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert f"format {number}: it is copied to {copy}" in caplog.text
        copy.replace(root / "tocsin.db")
        with open_home(root, now=expected["now"]) as again:
            assert {digest: again.store.records.get(digest).digest for digest in expected["records"]}


@pytest.mark.parametrize("version", HOMES)
def test_an_old_home_is_sound_before_its_node_was_ever_started(tmp_path, version):
    root = tmp_path / "home"
    shutil.copytree(FIXTURES / version, root)
    assert list(examine_home(root)) == []


def test_an_old_home_is_sound_when_it_was_taken_over(old):
    root = old.home.layout.root
    old.home.close()
    assert list(examine_home(root)) == []
