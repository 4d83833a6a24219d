"""What another organisation issued and this one may pass on: explained, previewed and on its way like an own record."""

import pytest

from tests.desk.conftest import AISI, FINDING, LAB_A, LAB_B, SHARING, copy_home, put_policy
from tests.desk.federation import deliver, introduce
from tocsin.errors import NotPermitted
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

PASSES_ON = (
    SHARING
    + """
[[share]]
name = "for the community"
relayed = true
kinds = ["finding"]
max_tlp = "GREEN"
classes = "COMMUNITY"
"""
)
TAKES_OTHERS = SHARING.replace("[accept]", "[accept]\nrelayed = true")


@pytest.fixture
def parties(tmp_path, office, open_office):
    """The origin, whose record the office in the middle holds, and a partner that knows the origin."""
    origin, partner = (open_office(copy_home(tmp_path / org, org)) for org in (AISI, LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(origin, office)
    introduce(office, partner)
    organisation = origin.home.organisation
    request = v1.AddPeerRequest(document=organisation.document, fingerprint=organisation.fingerprint, known=True)
    partner.desk.add_peer(request, partner.me)
    put_policy(origin, LAB_A)
    put_policy(office, LAB_B, PASSES_ON)
    put_policy(partner, LAB_A, TAKES_OTHERS)
    posted = origin.post(tlp=record_pb2.TLP_GREEN, relay=record_pb2.RELAY_COMMUNITY)
    deliver(origin, office)
    return origin, partner, posted.record.digest


def preview(office, digest, partner) -> v1.PreviewRecordResponse:
    return office.desk.preview_record(v1.PreviewRecordRequest(id=digest, partner=partner), office.me)


def test_what_is_passed_on_is_previewed_as_the_partner_shows_it(office, parties):
    _, partner, digest = parties
    previewed = preview(office, digest, LAB_B).record
    assert (previewed.envelope.iss, previewed.received_from) == (AISI, LAB_A)
    deliver(office, partner)
    shown = partner.desk.get_record(v1.GetRecordRequest(id=digest, with_token=True), partner.me).record
    assert shown.token == preview(office, digest, LAB_B).presentation
    assert (shown.envelope, shown.content, shown.received_from) == (previewed.envelope, previewed.content, LAB_A)
    assert shown.signature == "verified"


def test_what_is_passed_on_is_explained_by_its_rule(office, parties):
    *_, digest = parties
    answer = office.desk.explain_record(v1.ExplainRecordRequest(id=digest, partner=LAB_B), office.me)
    assert (answer.delivered, answer.rule) == (True, "for the community")


def test_nothing_goes_back_to_where_it_came_from(office, parties):
    *_, digest = parties
    put_policy(office, AISI, PASSES_ON)
    with pytest.raises(NotPermitted):
        preview(office, digest, AISI)
    answer = office.desk.explain_record(v1.ExplainRecordRequest(id=digest, partner=AISI), office.me)
    assert not answer.delivered


def test_what_is_passed_on_stands_in_the_outbox_until_it_is_acknowledged(office, parties):
    _, partner, digest = parties

    def outbox():
        return list(office.desk.list_outbox(v1.ListOutboxRequest(partner=LAB_B), office.me).deliveries)

    (waiting,) = outbox()
    assert (waiting.digest, waiting.state, waiting.title) == (digest, v1.DELIVERY_STATE_QUEUED, FINDING["title"])
    deliver(office, partner)
    assert outbox() == []


def test_what_cannot_be_proved_any_more_says_so(office, parties):
    origin, *_ = parties
    org = origin.home.organisation.org
    office.home.store.logs.cut(org, 0)
    (waiting,) = office.desk.list_outbox(v1.ListOutboxRequest(partner=LAB_B), office.me).deliveries
    assert waiting.why == f"it cannot be proved: what is read of the log of {org} does not have it"


def test_a_retraction_goes_on_to_those_who_hold_it_through_us(office, parties):
    origin, partner, digest = parties
    deliver(office, partner)
    request = v1.RetractRecordRequest(id=digest, action=record_pb2.RETRACTION_ACTION_PURGE)
    origin.desk.retract_record(request, origin.me)
    deliver(origin, office)
    (waiting,) = office.desk.list_outbox(v1.ListOutboxRequest(partner=LAB_B), office.me).deliveries
    assert "is told that it is purged" in waiting.why
    deliver(office, partner)
    for who in (office, partner):
        record = who.desk.get_record(v1.GetRecordRequest(id=digest), who.me).record
        assert record.standing == v1.STANDING_PURGED


def test_it_is_neither_amended_nor_retracted_by_whoever_passes_it_on(office, parties):
    *_, digest = parties
    with pytest.raises(NotPermitted):
        office.desk.amend_record(v1.AmendRecordRequest(id=digest, draft=v1.Draft(pap=1)), office.me)
    request = v1.RetractRecordRequest(id=digest, action=record_pb2.RETRACTION_ACTION_PURGE)
    with pytest.raises(NotPermitted):
        office.desk.retract_record(request, office.me)
