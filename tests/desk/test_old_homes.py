"""A home that an earlier version has left opens, reads and goes on (scripts/make_home_fixture.py made it)."""

import json
import shutil
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from tests.desk.conftest import Clock, Office
from tests.support.shared import ROOT
from tocsin.desk.lookup import load_record
from tocsin.exchange.outbox import next_page
from tocsin.identity.names import OrgId
from tocsin.v1 import desk_service_pb2 as v1

FIXTURES = ROOT / "tests" / "fixtures"
HOMES = sorted(path.stem for path in FIXTURES.glob("home-v*.json"))


@pytest.fixture(params=HOMES)
def version(request) -> str:
    return request.param


@pytest.fixture
def expected(version) -> dict:
    return json.loads((FIXTURES / f"{version}.json").read_text())


@pytest.fixture
def old(tmp_path: Path, version, expected, open_office) -> Office:
    """Return the desk of a copy, with the modes that git does not keep."""
    root = tmp_path / "home"
    shutil.copytree(FIXTURES / version, root)
    for path in (root, *root.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return open_office(root, clock=Clock(expected["now"]))


def listed(office: Office) -> list[v1.Record]:
    return list(office.desk.list_records(v1.ListRecordsRequest(full=True)).records)


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
    (peer,) = old.desk.list_peers(v1.ListPeersRequest()).peers
    assert peer.state == v1.PEER_STATE_ACTIVE
    assert {
        "org": peer.organisation.org,
        "sent": peer.entries_sent,
        "acknowledged": peer.entries_acknowledged,
        "waiting": peer.waiting,
    } == expected["peer"]


def test_the_policies_of_an_old_home_are_in_order_and_queue_nothing_anew(old, expected):
    answer = old.desk.check_policies(v1.CheckPoliciesRequest())
    assert answer == v1.CheckPoliciesResponse(partners=[expected["peer"]["org"]])
    assert not old.home.newly_queued


def test_an_old_home_goes_on_where_it_stopped(old, expected):
    partner = OrgId(expected["peer"]["org"])
    feed = old.home.store.feeds.get(partner)
    page = next_page(
        old.home.store,
        partner,
        f"{feed.feed_id}.{feed.acknowledged}",
        policies=old.home.policies,
        signer=old.home.delivery_signer,
        organisation=old.home.organisation,
        now=expected["now"],
    )
    assert [entry.sequence for entry in page.entries] == [expected["peer"]["sent"] + 1]


def test_an_old_home_remembers_what_was_posted_under_which_key(old, expected):
    again = old.post(idempotency_key="example:01-tool-output-injection")
    assert again.existed
    assert again.record.digest in expected["records"]


def test_words_are_found_in_an_old_home(old):
    found = old.desk.search_records(v1.SearchRecordsRequest(text="refusals low-resource languages")).records
    assert [record.own for record in found] == [False]
