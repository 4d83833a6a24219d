"""The decision log as people ask for it."""

import sqlite3

import pytest

from tests.desk.conftest import AISI, LAB_B, Clock
from tests.support.organisations import NOW
from tocsin.errors import AuditInconsistent, MalformedName, MalformedRequest, NotFound
from tocsin.v1 import desk_service_pb2 as v1


def listed(office, **which):
    return office.desk.list_audit(v1.ListAuditRequest(**which), office.me)


def acts(office, **which):
    return [entry.act for entry in listed(office, **which).entries]


def test_everything_that_was_done_is_listed_oldest_first(office):
    office.post()
    assert acts(office) == ["founded", "policy-applied", "policy-applied", "peer-added", "posted"]
    assert acts(office, newest_first=True)[:2] == ["posted", "peer-added"]


def test_a_listing_goes_on_where_the_page_ended_in_either_direction(office):
    for newest_first in (False, True):
        whole = [entry.sequence for entry in listed(office, newest_first=newest_first).entries]
        first = listed(office, page_size=3, newest_first=newest_first)
        rest = listed(office, page_size=3, newest_first=newest_first, page_token=first.next_page_token)
        assert [entry.sequence for page in (first, rest) for entry in page.entries] == whole
        assert not rest.next_page_token


def test_a_listing_is_narrowed_to_a_record_a_partner_a_person_an_act_or_a_time(root, open_office):
    office = open_office(root, clock=Clock(NOW + 100))
    office.add_peer(LAB_B)
    office.add_peer(AISI)
    posted = office.post()
    assert acts(office, record=posted.record.envelope.record_id[:8]) == ["posted"]
    assert acts(office, partner=AISI) == ["peer-added"]
    assert acts(office, act="founded") == ["founded"]
    assert acts(office, person="nobody") == []
    later = v1.ListAuditRequest()
    later.since.FromSeconds(NOW + 100)
    assert "founded" not in [entry.act for entry in office.desk.list_audit(later, office.me).entries]
    earlier = v1.ListAuditRequest()
    earlier.until.FromSeconds(NOW + 100)
    assert [entry.act for entry in office.desk.list_audit(earlier, office.me).entries] == ["founded", "policy-applied"]


def test_an_entry_names_its_record_as_a_listing_of_records_does(office):
    record = office.post().record
    told = {entry.act: (entry.digest, entry.record_id) for entry in listed(office).entries}
    assert told["posted"] == (record.digest, record.envelope.record_id)
    assert told["founded"] == ("", "")


def test_a_record_that_is_not_here_is_asked_for_by_its_digest(office):
    assert acts(office, record="x" * 43) == []
    with pytest.raises(NotFound):
        listed(office, record="x" * 12)


REFUSED = {
    "a token of another listing": ({"page_token": "next"}, MalformedRequest),
    "an endless token": ({"page_token": "9" * 40}, MalformedRequest),
    "a partner that is no name": ({"partner": "LAB B"}, MalformedName),
    "a person that is no name": ({"person": "Mira K."}, MalformedName),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_listing_is_refused_by(office, case):
    which, error = REFUSED[case]
    with pytest.raises(error):
        listed(office, **which)


def test_a_log_that_is_whole_verifies_to_its_last_entry(office):
    office.post()
    answer = office.desk.verify_audit(v1.VerifyAuditRequest(), office.me)
    last = listed(office, newest_first=True, page_size=1).entries[0]
    assert (answer.entries, answer.head, answer.at) == (last.sequence, last.hash, last.at)


def test_a_log_that_was_changed_does_not_verify(office):
    office.post()
    with sqlite3.connect(office.home.layout.store) as database:
        database.execute("DROP TRIGGER audit_never_UPDATE")
        database.execute("UPDATE audit SET person = 'somebody' WHERE sequence = 2")
    with pytest.raises(AuditInconsistent, match="entry 2"):
        office.desk.verify_audit(v1.VerifyAuditRequest(), office.me)
