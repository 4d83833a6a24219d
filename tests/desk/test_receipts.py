"""Receipts of both directions, as people ask for them."""

import pytest

from tests.desk.conftest import LAB_A, LAB_B, copy_home, draft
from tests.desk.federation import deliver, introduce
from tests.support.organisations import NOW
from tocsin.errors import MalformedName, MalformedRequest, NotFound
from tocsin.records.disclosure import digest_of
from tocsin.v1 import desk_service_pb2 as v1


@pytest.fixture
def lab_b(tmp_path, office, open_office):
    partner = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, partner)
    return partner


def receipts(office, **request) -> list[v1.Receipt]:
    return list(office.desk.list_receipts(v1.ListReceiptsRequest(**request), office.me).receipts)


def test_both_sides_hold_the_same_receipt(office, lab_b):
    office.post_all([draft(), draft()])
    deliver(office, lab_b)
    (held,), (given,) = receipts(office), receipts(lab_b, given=True)
    assert held == given
    assert (held.issuer, held.audience, held.number, held.first, held.last) == (LAB_B, LAB_A, 1, 1, 2)
    assert (held.at.ToSeconds(), held.refused) == (NOW, 0)
    assert held.statement.count(".") == held.page_statement.count(".") == 2
    assert receipts(office, given=True) == receipts(lab_b) == []


def test_receipts_are_found_by_the_record_they_are_about(office, lab_b):
    first = office.post().record.digest
    deliver(office, lab_b)
    second = office.post().record.digest
    deliver(office, lab_b)
    assert [one.number for one in receipts(office, digest=first)] == [1]
    assert [one.number for one in receipts(office, digest=second, partner=LAB_B)] == [2]
    assert receipts(office, digest=digest_of("another")) == []


def test_with_whom_there_never_was_a_receipt_and_who_is_no_peer_is_a_slip(office, lab_b):
    assert receipts(office, partner=LAB_B) == []
    with pytest.raises(NotFound, match="is not a peer") as refused:
        receipts(office, partner="lab-c.example")
    assert refused.value.hint == f"did you mean {LAB_B}?"


def test_receipts_are_listed_page_by_page(office, lab_b):
    for _ in range(3):
        office.post()
        deliver(office, lab_b)
    seen, token = [], ""
    while True:
        request = v1.ListReceiptsRequest(page_size=2, page_token=token)
        answer = office.desk.list_receipts(request, office.me)
        seen += [one.number for one in answer.receipts]
        token = answer.next_page_token
        if not token:
            break
    assert seen == [1, 2, 3]


def test_the_receipts_of_a_partner_that_was_removed_still_prove_something(office, lab_b):
    office.post()
    deliver(office, lab_b)
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    assert len(receipts(office, partner=LAB_B)) == 1


@pytest.mark.parametrize(
    ("request_", "error"),
    [({"partner": "Not A Name"}, MalformedName), ({"page_token": "x"}, MalformedRequest)],
    ids=["no name", "no place"],
)
def test_what_is_asked_wrongly_is_refused(office, request_, error):
    with pytest.raises(error):
        receipts(office, **request_)
