"""What is on its way to whom, and why it is not there yet."""

import pytest

from tests.desk.conftest import AISI, FINDING, LAB_B, SHARING, copy_home, draft, put_policy
from tests.desk.federation import deliver, introduce
from tests.support.organisations import NOW
from tocsin.errors import MalformedName, MalformedRequest, NotFound
from tocsin.exchange.circuit import Contact, Contacts, Happened
from tocsin.store.model import Due, DueKind
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

DAY = 86_400
HELD = SHARING.replace("[[share]]", '[[share]]\nhold = "72h"')
REVIEWED = SHARING.replace("[[share]]", "[[share]]\napprovals = 1")
QUEUED, IN_FLIGHT = v1.DELIVERY_STATE_QUEUED, v1.DELIVERY_STATE_IN_FLIGHT
IN_REVIEW, REFUSED = v1.DELIVERY_STATE_IN_REVIEW, v1.DELIVERY_STATE_REFUSED
IN_DAYS = {"until": "2026-03-11T12:00:00Z", "state": "agreed"}


def outbox(office, **request) -> list[v1.Delivery]:
    return list(office.desk.list_outbox(v1.ListOutboxRequest(**request), office.me).deliveries)


def test_what_waits_for_the_partner_says_that_it_goes_with_the_next_page(office):
    posted = office.post()
    (waiting,) = outbox(office)
    assert (waiting.partner, waiting.digest, waiting.title) == (LAB_B, posted.record.digest, FINDING["title"])
    assert (waiting.state, waiting.sequence, waiting.since.ToSeconds()) == (QUEUED, 0, NOW)
    assert waiting.why == f"it goes with the next page that {LAB_B} takes"


def test_a_partner_that_does_not_answer_is_said_not_to(root, open_office):
    contacts = Contacts()
    office = open_office(root, contacts=contacts)
    put_policy(office, LAB_B)
    office.add_peer(LAB_B)
    office.post()
    contacts.note(LAB_B, "push", Contact().after(Happened.FAILED, next_attempt_at=NOW + 9))
    (waiting,) = outbox(office)
    assert "did not answer" in waiting.why


def test_nothing_goes_while_a_peering_is_suspended(office):
    office.post()
    office.desk.suspend_peer(v1.SuspendPeerRequest(org=LAB_B), office.me)
    (waiting,) = outbox(office)
    assert waiting.why == f"nothing is sent to {LAB_B} while its peering is suspended"


WAITS = {
    "a hold": (HELD, FINDING, v1.DELIVERY_STATE_HELD, NOW + 3 * DAY),
    "an embargo": (SHARING, {**FINDING, "embargo": IN_DAYS}, v1.DELIVERY_STATE_HELD, NOW + 10 * DAY),
    "people": (REVIEWED, FINDING, IN_REVIEW, 0),
    "people and a hold": (HELD.replace("[[share]]", "[[share]]\napprovals = 1"), FINDING, IN_REVIEW, NOW + 3 * DAY),
}


@pytest.mark.parametrize("case", WAITS)
def test_what_a_delivery_waits_for_is_told(office, case):
    policy, content, state, until = WAITS[case]
    put_policy(office, LAB_B, policy)
    office.post(content)
    (waiting,) = outbox(office)
    assert waiting.state == state
    assert waiting.until.ToSeconds() == until
    assert bool(waiting.review) is (state == IN_REVIEW)
    assert waiting.why


def test_what_policy_stopped_since_says_that_nothing_of_it_goes(office):
    office.post()
    put_policy(office, LAB_B, SHARING.replace('max_tlp = "AMBER"', 'max_tlp = "CLEAR"'))
    (waiting,) = outbox(office)
    assert waiting.why.startswith("nothing of it goes today: ")


@pytest.fixture
def lab_b(tmp_path, office, open_office):
    partner = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, partner)
    return partner


def test_what_went_and_is_not_acknowledged_is_in_flight(office, lab_b):
    posted = office.post()
    deliver(office, lab_b, answer=False)
    (flying,) = outbox(office)
    assert (flying.state, flying.sequence, flying.digest) == (IN_FLIGHT, 1, posted.record.digest)


def test_what_was_acknowledged_is_on_its_way_no_more(office, lab_b):
    office.post()
    deliver(office, lab_b)
    assert outbox(office) == []


def test_what_a_partner_refused_is_told_with_its_reason(office, lab_b):
    put_policy(lab_b, office.home.organisation.org, SHARING.replace('kinds = ["*"]', 'kinds = ["incident"]'))
    office.post()
    deliver(office, lab_b)
    (refused,) = outbox(office)
    assert (refused.state, refused.sequence) == (REFUSED, 1)
    assert refused.why == f"{LAB_B} refused it: NOT_PERMITTED"


def test_a_record_that_was_retracted_is_on_its_way_as_the_word_that_it_is(office, lab_b):
    posted = office.post()
    deliver(office, lab_b)
    request = v1.RetractRecordRequest(id=posted.record.digest, action=record_pb2.RETRACTION_ACTION_PURGE)
    office.desk.retract_record(request, office.me)
    (waiting,) = outbox(office)
    assert waiting.why == f"{LAB_B} is told that it is purged; it goes with the next page that {LAB_B} takes"
    assert FINDING["title"] not in waiting.title


def test_pages_are_dense_and_bring_each_delivery_once(office):
    put_policy(office, LAB_B, REVIEWED)
    office.add_peer(AISI)
    put_policy(office, AISI)
    office.post_all([draft() for _ in range(5)])
    whole = outbox(office)
    assert [(one.partner, one.state) for one in whole] == [(AISI, QUEUED)] * 5 + [(LAB_B, IN_REVIEW)] * 5
    for size in (1, 2, 3, 9, 10):
        seen, token = [], ""
        while True:
            request = v1.ListOutboxRequest(page_size=size, page_token=token)
            answer = office.desk.list_outbox(request, office.me)
            assert len(answer.deliveries) <= size
            seen += answer.deliveries
            token = answer.next_page_token
            if not token:
                break
        assert seen == whole
    assert outbox(office, partner=LAB_B) == whole[5:]


def test_a_time_at_which_nothing_changes_is_told_as_what_it_is(office):
    posted = office.post()
    office.home.store.feeds.drop(LAB_B, [posted.record.digest])
    office.home.store.dues.add(Due(DueKind.HOLD, posted.record.digest, LAB_B, NOW + DAY))
    (waiting,) = outbox(office)
    assert (waiting.state, waiting.why) == (v1.DELIVERY_STATE_HELD, "it is looked at again then")


WRONG = {
    "no name": ({"partner": "Not A Name"}, MalformedName),
    "a stranger": ({"partner": AISI}, NotFound),
    "no place": ({"page_token": "x"}, MalformedRequest),
}


@pytest.mark.parametrize("case", WRONG)
def test_nothing_is_listed_of(office, case):
    request, error = WRONG[case]
    with pytest.raises(error):
        outbox(office, **request)
