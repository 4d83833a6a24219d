"""Listing, showing and finding records, own and received."""

import sqlite3
from collections import Counter
from contextlib import closing

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from tests.desk.conftest import FINDING, LAB_A, LAB_B, copy_home, draft
from tests.desk.federation import deliver, introduce
from tests.support.organisations import NOW
from tocsin.config import DESK_MESSAGE_BYTES
from tocsin.desk.reading import MOST_FULL
from tocsin.desk.title import title_of
from tocsin.errors import Conflict, MalformedName, MalformedRequest, NotFound, StoreCorrupt
from tocsin.records.sdjwt import MAX_TOKEN
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

INCIDENT = {
    "title": "Agent deleted a table",
    "incident_class": "near_miss",
    "summary": "It was restored.",
    "happened_in": "2026-02",
}


@pytest.fixture
def received(tmp_path, office, open_office):
    """Return the desk of lab-b.example, which has received one finding of lab-a.example."""
    lab_b = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, lab_b)
    office.post(tlp=record_pb2.TLP_AMBER)
    office.clock.now += 60
    lab_b.clock.now += 60
    deliver(office, lab_b)
    return lab_b


def listed(office, **filters):
    return office.desk.list_records(v1.ListRecordsRequest(**filters), office.me)


def test_records_are_listed_newest_first_and_without_content(office):
    for number in range(3):
        office.clock.now = NOW + number
        office.post({**FINDING, "title": f"number {number}"})
    answer = listed(office)
    assert [record.title for record in answer.records] == ["number 2", "number 1", "number 0"]
    assert answer.total == 3
    assert answer.next_page_token == ""
    assert all(not record.content.fields and not record.token for record in answer.records)


def test_a_full_list_has_content_and_token(office):
    office.post()
    (record,) = listed(office, full=True).records
    assert MessageToDict(record.content) == FINDING
    assert record.token.count("~") > 3


def test_a_list_goes_on_page_by_page(office):
    office.post_all([draft({**FINDING, "title": str(number)}) for number in range(5)])
    titles, token = [], ""
    for _ in range(3):
        answer = listed(office, page_size=2, page_token=token)
        assert answer.total == 5
        titles += [record.title for record in answer.records]
        token = answer.next_page_token
    assert token == ""
    assert sorted(titles) == ["0", "1", "2", "3", "4"]


FILTERS = {
    "everything": ({}, 3),
    "one kind": ({"kind": record_pb2.RECORD_KIND_INCIDENT}, 1),
    "a kind that there is none of": ({"kind": record_pb2.RECORD_KIND_EVALUATION}, 0),
    "one marking": ({"tlp": record_pb2.TLP_GREEN}, 1),
    "one severity": ({"severity": "high"}, 2),
    "our own": ({"from": LAB_A}, 3),
    "another's": ({"from": LAB_B}, 0),
    "later": ({"since": Timestamp(seconds=NOW + 1)}, 0),
    "at that second": ({"since": Timestamp(seconds=NOW)}, 3),
}


@pytest.mark.parametrize("case", FILTERS)
def test_a_list_is_narrowed_to(office, case):
    filters, count = FILTERS[case]
    office.post()
    office.post(tlp=record_pb2.TLP_GREEN)
    office.post(INCIDENT, kind=record_pb2.RECORD_KIND_INCIDENT)
    answer = listed(office, **filters)
    assert answer.total == len(answer.records) == count


BAD_FILTERS = {
    "a severity that is none": ({"severity": "dreadful"}, MalformedRequest),
    "an organisation that is none": ({"from": "Lab A"}, MalformedName),
    "a marking of a later contract": ({"tlp": 99}, MalformedName),
    "a negative size": ({"page_size": -1}, MalformedRequest),
    "a token of nobody's making": ({"page_token": "next"}, MalformedRequest),
}


@pytest.mark.parametrize("case", BAD_FILTERS)
def test_a_list_is_not_narrowed_by(office, case):
    filters, error = BAD_FILTERS[case]
    with pytest.raises(error):
        listed(office, **filters)


def test_a_record_is_shown_by_any_unique_beginning_of_its_id_and_by_its_digest(office):
    record = office.post().record
    for name in (record.envelope.record_id, record.envelope.record_id[:4], record.digest):
        shown = office.desk.get_record(v1.GetRecordRequest(id=name), office.me).record
        assert MessageToDict(shown.content) == FINDING
        assert shown.digest == record.digest
        assert list(shown.versions) == [1]
        assert shown.stored_at.ToSeconds() == NOW
        assert shown.token == ""


def test_a_record_is_shown_with_its_token_where_that_is_asked_for(office):
    digest = office.post().record.digest
    shown = office.desk.get_record(v1.GetRecordRequest(id=digest, with_token=True), office.me).record
    assert shown.token == office.home.store.records.token(digest)


def test_an_ambiguous_beginning_names_the_candidates(office):
    ids = [result.record.envelope.record_id for result in office.post_all([draft()] * 40).results]
    ((first, _),) = Counter(name[0] for name in ids).most_common(1)
    same = [name for name in ids if name.startswith(first)]
    assert len(same) > 1
    with pytest.raises(Conflict) as refused:
        office.desk.get_record(v1.GetRecordRequest(id=first), office.me)
    assert any(name in refused.value.hint for name in same)


@pytest.mark.parametrize("name", ["", "zzz", "%", "00000000-0000-4000-8000-000000000000"])
def test_a_record_that_is_not_there_is_not_found(office, name):
    office.post()
    with pytest.raises(NotFound):
        office.desk.get_record(v1.GetRecordRequest(id=name), office.me)


def test_a_version_that_is_not_held_is_not_found(office):
    with pytest.raises(NotFound):
        office.desk.get_record(v1.GetRecordRequest(id=office.post().record.digest[:0] or "none", version=2), office.me)


def test_words_are_found_in_everything_that_is_held(office):
    office.post()
    office.post({**FINDING, "title": "Another matter"})
    found = office.desk.search_records(v1.SearchRecordsRequest(text="redirect agent"), office.me).records
    assert [record.title for record in found] == [FINDING["title"]]


@pytest.mark.parametrize("text", ['"', "title:", "a OR b", "NEAR(", "*", "-x", "^", ""])
def test_nothing_in_a_search_is_an_operator(office, text):
    office.post()
    assert list(office.desk.search_records(v1.SearchRecordsRequest(text=text), office.me).records) == []


def test_a_received_record_shows_what_came_and_what_was_withheld(received):
    (record,) = listed(received, full=True).records
    assert not record.own
    assert record.received_from == LAB_A
    assert record.stored_at.ToSeconds() == NOW + 60
    assert record.title == FINDING["title"]
    assert [(field.path, field.reason) for field in record.withheld] == [
        ("steps", "trade_secret"),
        ("subjects[*].version", "trade_secret"),
    ]
    assert MessageToDict(record.content)["subjects"] == [{"kind": "model", "name": "Example-LM 3"}]


def test_words_that_were_withheld_are_not_found(received):
    assert list(received.desk.search_records(v1.SearchRecordsRequest(text="twice"), received.me).records) == []


TITLES = {
    "the title": ("incident", INCIDENT, "Agent deleted a table"),
    "class and month of an incident": (
        "incident",
        {"incident_class": "near_miss", "happened_in": "2026-02"},
        "near_miss, 2026-02",
    ),
    "protocol and domain of an evaluation": (
        "evaluation",
        {"protocol": {"id": "cyber-range"}, "domain": ["cyber_offense", "sandbagging"]},
        "cyber-range, cyber_offense",
    ),
    "kind of a finding": ("finding", {"finding_kind": "hazard"}, "hazard"),
    "the beginning of the id": ("evaluation", {}, "evaluation 1f0d6a3c"),
    "a kind of a later contract": ("practice", {}, "practice 1f0d6a3c"),
    "a title on one line": (
        "finding",
        {"title": "a\nTLP:CLEAR  finding of b.example\u2028\x1dc"},
        "a TLP:CLEAR finding of b.example c",
    ),
    "something else where the title shows nothing": ("finding", {"title": " \n", "finding_kind": "hazard"}, "hazard"),
    "things of other shapes": ("evaluation", {"title": 7, "protocol": "x", "domain": []}, "evaluation 1f0d6a3c"),
}


@pytest.mark.parametrize("case", TITLES)
def test_a_record_is_called_by(case):
    kind, content, title = TITLES[case]
    assert title_of(kind, content, record_id="1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11") == title


def test_a_title_of_several_lines_is_listed_on_one(office):
    office.post({**FINDING, "title": "one\nTLP:CLEAR"})
    (record,) = office.desk.list_records(v1.ListRecordsRequest(), office.me).records
    assert record.title == "one TLP:CLEAR"
    shown = office.desk.get_record(v1.GetRecordRequest(id=record.digest), office.me).record
    assert (shown.title, shown.content["title"]) == ("one TLP:CLEAR", "one\nTLP:CLEAR")


@pytest.mark.parametrize("size", [0, 500])
def test_a_page_of_full_records_fits_into_a_message_whatever_peers_send(office, size):
    office.post_all([draft({**FINDING, "title": str(number)}) for number in range(MOST_FULL + 1)])
    first = office.desk.list_records(v1.ListRecordsRequest(full=True, page_size=size), office.me)
    rest = office.desk.list_records(
        v1.ListRecordsRequest(full=True, page_size=size, page_token=first.next_page_token), office.me
    )
    assert (len(first.records), len(rest.records), rest.next_page_token) == (MOST_FULL, 1, "")
    largest = MAX_TOKEN * 3  # the token, and its content, in which a number of six characters takes nineteen
    assert MOST_FULL * largest < DESK_MESSAGE_BYTES


DAMAGE = {
    "what was signed": "UPDATE holdings SET token = substr(token, 1, 400) || 'x' || substr(token, 402)",
    "what is shown": "UPDATE holdings SET content = replace(content, 'Tool', 'Took')",
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_the_disk_has_changed_is_never_shown_as_what_was_signed(office, case):
    record = office.post({**FINDING, "title": "Tool output"}).record
    asked = v1.GetRecordRequest(id=record.digest)
    assert office.desk.get_record(asked, office.me).record.signature == "verified"
    with closing(sqlite3.connect(office.home.layout.store)) as store, store:
        store.execute(DAMAGE[case])
    for read in (lambda: office.desk.get_record(asked, office.me), lambda: listed(office, full=True)):
        with pytest.raises(StoreCorrupt) as caught:
            read()
        assert caught.value.reason == "STORE_CORRUPT"
        assert "output" not in str(caught.value)


def test_of_an_erased_record_the_plain_claims_are_left(office):
    digest = office.post().record.digest
    office.home.store.records.erase(digest)
    shown = office.desk.get_record(v1.GetRecordRequest(id=digest, with_token=True), office.me).record
    assert (shown.digest, shown.envelope.tlp) == (digest, record_pb2.TLP_AMBER)
    assert (shown.token, shown.signature, len(shown.content)) == ("", "", 0)
    assert FINDING["title"] not in str(shown)
    assert [record.digest for record in listed(office).records] == [digest]
    with pytest.raises(NotFound) as refused:
        office.desk.explain_record(v1.ExplainRecordRequest(id=digest, partner=LAB_B), office.me)
    assert "audit show" in refused.value.hint


STANDINGS = {
    "current": (None, v1.STANDING_CURRENT, True),
    "withdrawn": (record_pb2.RETRACTION_ACTION_WITHDRAW, v1.STANDING_WITHDRAWN, True),
    "purged": (record_pb2.RETRACTION_ACTION_PURGE, v1.STANDING_PURGED, False),
}


@pytest.mark.parametrize("case", STANDINGS)
def test_a_record_is_shown_with_its_standing_as_long_as_anything_of_it_is_there(office, case):
    action, standing, is_there = STANDINGS[case]
    posted = office.post().record
    if action is not None:
        office.desk.retract_record(v1.RetractRecordRequest(id=posted.digest, action=action), office.me)
    for name in (posted.digest, posted.envelope.record_id):
        record = office.desk.get_record(v1.GetRecordRequest(id=name, with_token=True), office.me).record
        assert (record.standing, list(record.versions)) == (standing, [1])
        assert (record.title == FINDING["title"], bool(record.token)) == (is_there, is_there)


def test_every_version_is_shown_under_its_number(office):
    posted = office.post().record
    draft_ = v1.Draft(tlp=record_pb2.TLP_GREEN)
    amended = office.desk.amend_record(v1.AmendRecordRequest(id=posted.digest, draft=draft_), office.me).result.record
    record_id = posted.envelope.record_id
    for version, digest, standing in (
        (0, amended.digest, v1.STANDING_CURRENT),
        (1, posted.digest, v1.STANDING_REPLACED),
        (2, amended.digest, v1.STANDING_CURRENT),
    ):
        record = office.desk.get_record(v1.GetRecordRequest(id=record_id, version=version), office.me).record
        assert (record.digest, record.standing, list(record.versions)) == (digest, standing, [1, 2])
