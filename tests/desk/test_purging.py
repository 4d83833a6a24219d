"""What was purged is in no file of the home, and comes back by none of them."""

import json

import pytest
from google.protobuf.json_format import MessageToDict

from tests.desk.conftest import FINDING, LAB_B, Clock
from tests.support.organisations import NOW
from tocsin.desk.fsck import examine_home
from tocsin.store.model import DisclosureRequest, ReviewState, Standing
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

SECRET = "Kestrel"
CONTENT = FINDING | {"title": f"{SECRET} can redirect an agent", "steps": [{"description": f"Ask {SECRET} twice."}]}


def files_that_tell(root, parts):
    found = []
    for file in root.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        if SECRET.lower().encode() in content.lower() or any(part in content for part in parts):
            found.append(file.name)
    return found


def disclosures(token):
    return [part.encode() for part in token.split("~")[1:] if part]


@pytest.mark.parametrize("killed", [False, True], ids=["and overwritten", "and the node killed before"])
def test_no_file_of_the_home_holds_it(office, root, open_office, monkeypatch, killed):
    posted = office.post(CONTENT).record
    store = office.home.store
    (root / "tocsin.db.format-1").write_bytes(store.records.token(posted.digest).encode())
    parts = disclosures(store.records.token(posted.digest))
    asked = DisclosureRequest(
        "r1", LAB_B, posted.digest, ("steps",), f"how does {SECRET} do it?", NOW, ReviewState.OPEN
    )
    store.reviews.ask(asked)
    assert office.desk.search_records(v1.SearchRecordsRequest(text=SECRET), office.me).records
    assert files_that_tell(root, parts)
    known = {"ours": office.home.organisation, "now": NOW}
    assert office.home.known.verify_ahead(posted.digest, **known)
    if killed:
        monkeypatch.setattr(type(store), "scrub", lambda _: None)
    office.desk.retract_record(
        v1.RetractRecordRequest(id=posted.digest, action=record_pb2.RETRACTION_ACTION_PURGE), office.me
    )
    monkeypatch.undo()
    assert not office.home.known.verify_ahead(posted.digest, **known), "nor does anybody remember it"
    assert bool(files_that_tell(root, parts)) is killed
    office.home.close()
    again = open_office(root, clock=Clock(NOW + 1))
    assert files_that_tell(root, parts) == []
    assert again.home.store.records.get(posted.digest).standing is Standing.PURGED
    shown = again.desk.get_record(v1.GetRecordRequest(id=posted.digest), again.me)
    assert SECRET not in json.dumps(MessageToDict(shown))
    again.home.close()
    assert list(examine_home(root)) == []
