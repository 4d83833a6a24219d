"""What waits for somebody's decision: shown with its exact bytes, agreed to, refused, declined; and asking others."""

import asyncio
import json
from hashlib import sha256

import pytest

from tests.desk.conftest import FINDING, LAB_A, LAB_B, SHARING, copy_home, put_policy
from tests.desk.federation import deliver, introduce
from tests.support.organisations import NOW
from tocsin.encoding import encode_base64url
from tocsin.errors import (
    Conflict,
    MalformedName,
    MalformedRecord,
    MalformedRequest,
    NotFound,
    NotPermitted,
    PeerUnreachable,
    SignatureMismatch,
    TocsinError,
)
from tocsin.people.act import Act
from tocsin.people.person import Role
from tocsin.records.record import sd_hash
from tocsin.store.model import AuditFilter, DisclosureRequest, ReviewState
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import exchange_service_pb2 as exchange_v1
from tocsin.v1 import record_pb2

ASKING = SHARING.replace("[[share]]", "[[share]]\napprovals = 1")


@pytest.fixture
def asking(office):
    """A home whose policy asks for one further person."""
    put_policy(office, LAB_B, ASKING)
    return office


@pytest.fixture
def counsel(asking):
    """A second person, who may release."""
    return asking.admit("counsel", Role.RELEASER)[1]


def reviews(office, **which):
    return list(office.desk.list_reviews(v1.ListReviewsRequest(**which), office.me).reviews)


def get(office, review):
    return office.desk.get_review(v1.GetReviewRequest(id=review), office.me).review


def decide(office, review, by, *, approve=True, statement=None):
    act = Act.APPROVE if approve else Act.REJECT
    statement = by.sign(act, review) if statement is None else statement
    request = v1.DecideReviewRequest(id=review, approve=approve, statement=statement)
    return office.desk.decide_review(request, office.home.store.people.get(by.name))


def log(office, act):
    return office.home.store.audit.list(AuditFilter(act=act), limit=9)


def test_what_a_rule_makes_wait_is_proposed_and_not_queued(asking):
    posted = asking.post()
    assert list(posted.queued_for) == []
    (waiting,) = posted.waiting
    assert (waiting.partner, waiting.approvals_needed) == (LAB_B, 1)
    assert "1 further person must agree" in waiting.why
    (review,) = reviews(asking)
    assert review.id == waiting.review
    assert (review.kind, review.state) == (v1.REVIEW_KIND_RELEASE, v1.REVIEW_STATE_OPEN)
    assert (list(review.by), review.approvals_needed, review.title) == (["first"], 1, FINDING["title"])
    assert not review.items[0].presentation


def test_a_review_shows_the_exact_presentation_that_its_id_covers(asking):
    review = get(asking, asking.post().waiting[0].review[:8])
    assert encode_base64url(sha256(review.body.encode()).digest()) == review.id
    (item,) = review.items
    assert sd_hash(item.presentation) == item.sd_hash == json.loads(review.body)["items"][0]["sd_hash"]
    assert item.record.withheld
    assert "version" not in str(item.record.content["subjects"])


def test_who_agreed_lets_it_go_exactly_as_it_was_shown(tmp_path, asking, counsel, open_office):
    lab_b = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    asking.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), asking.me)
    introduce(asking, lab_b)
    posted = asking.post()
    assert deliver(asking, lab_b) is None
    review = get(asking, posted.waiting[0].review)
    answer = decide(asking, review.id, counsel)
    assert list(answer.queued_for) == [LAB_B]
    assert (answer.review.state, list(answer.review.approved_by)) == (v1.REVIEW_STATE_RELEASED, ["counsel"])
    assert asking.events.queued_for[-1] == {LAB_B}
    deliver(asking, lab_b)
    assert lab_b.home.store.records.token(posted.record.digest) == review.items[0].presentation
    assert [row.person for row in log(asking, "approved")] == ["counsel"]


LEAVING = {
    "is removed": lambda desk, me: desk.remove_person(v1.RemovePersonRequest(name="counsel"), me),
    "may not release any more": lambda desk, me: desk.change_person(
        v1.ChangePersonRequest(name="counsel", roles=[v1.PERSON_ROLE_ANALYST]), me
    ),
}


@pytest.mark.parametrize("case", LEAVING)
def test_what_somebody_let_go_is_proposed_anew_as_soon_as_that_person(asking, counsel, case):
    review = asking.post().waiting[0].review
    decide(asking, review, counsel)
    LEAVING[case](asking.desk, asking.me)
    assert get(asking, review).state == v1.REVIEW_STATE_VOID
    (again,) = reviews(asking)
    assert (again.id != review, again.approvals_needed, list(again.approved_by)) == (True, 1, [])


def test_who_says_no_keeps_it_here(asking, counsel):
    review = asking.post().waiting[0].review
    answer = decide(asking, review, counsel, approve=False)
    assert (answer.review.state, answer.review.rejected_by) == (v1.REVIEW_STATE_REJECTED, "counsel")
    assert list(answer.queued_for) == []
    assert reviews(asking) == []
    assert [one.id for one in reviews(asking, all=True)] == [review]


def test_the_author_cannot_approve(asking):
    review = asking.post().waiting[0].review
    with pytest.raises(NotPermitted):
        decide(asking, review, asking.first)
    assert reviews(asking)[0].state == v1.REVIEW_STATE_OPEN


STATEMENTS: dict[str, tuple[object, type[TocsinError]]] = {
    "none": (lambda counsel, review: "", MalformedRecord),
    "a rejection": (lambda counsel, review: counsel.sign(Act.REJECT, review), MalformedRequest),
    "one on another review": (lambda counsel, review: counsel.sign(Act.APPROVE, "x" * 43), MalformedRequest),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_an_approval_does_not_count_whose_statement_is(asking, counsel, case):
    make, error = STATEMENTS[case]
    review = asking.post().waiting[0].review
    with pytest.raises(error):
        decide(asking, review, counsel, statement=make(counsel, review))
    assert asking.home.store.feeds.waiting(LAB_B) == 0


def test_an_approval_signed_by_somebody_else_does_not_count(asking, counsel):
    review = asking.post().waiting[0].review
    with pytest.raises(SignatureMismatch):
        decide(asking, review, counsel, statement=asking.first.sign(Act.APPROVE, review))


def test_what_would_go_otherwise_today_is_not_shown_as_what_was_proposed(asking):
    review = asking.post().waiting[0].review
    put_policy(asking, LAB_B, ASKING.replace("PARTNER", "COMMUNITY"))
    (item,) = get(asking, review).items
    assert not item.presentation
    assert not item.HasField("record")


def test_a_red_record_asks_for_one_approval_by_the_floor_that_init_ships(office):
    put_policy(office, LAB_B, SHARING.replace('"AMBER"', '"RED"'))
    posted = office.post(tlp=record_pb2.TLP_RED)
    assert [one.approvals_needed for one in posted.waiting] == [1]
    assert list(office.post().queued_for) == [LAB_B]


def test_an_unknown_review_is_said_to_be_unknown(office):
    with pytest.raises(NotFound):
        get(office, "none")


# What partners ask for.


@pytest.fixture
def request_of(office):
    """A request of lab-b.example for the steps of a record of ours."""
    digest = office.post().record.digest
    asked = DisclosureRequest("r" * 22, LAB_B, digest, ("steps",), "to reproduce it", NOW, ReviewState.OPEN)
    office.home.store.reviews.ask(asked)
    return asked


def test_what_a_partner_asks_for_waits_for_somebody(office, request_of):
    (review,) = reviews(office)
    assert (review.kind, list(review.by)) == (v1.REVIEW_KIND_REQUEST, [LAB_B])
    assert (list(review.paths), review.why) == (["steps"], "to reproduce it")
    assert get(office, review.id[:6]) == review


def test_a_reveal_answers_what_was_asked(office, request_of):
    request = v1.RevealFieldsRequest(id=request_of.digest, paths=["steps"], partner=LAB_B)
    office.desk.reveal_fields(request, office.me)
    assert reviews(office) == []
    assert reviews(office, all=True)[0].state == v1.REVIEW_STATE_RELEASED


def test_a_reveal_of_something_else_answers_nothing(office, request_of):
    office.home.store.reviews.ask(
        DisclosureRequest("s" * 22, LAB_B, request_of.digest, ("prompts",), "more", NOW, ReviewState.OPEN)
    )
    request = v1.RevealFieldsRequest(id=request_of.digest, paths=["steps"], partner=LAB_B)
    office.desk.reveal_fields(request, office.me)
    assert [list(review.paths) for review in reviews(office)] == [["prompts"]]


def test_declining_is_in_the_decision_log_and_is_done_once(office, request_of):
    declined = office.desk.decide_review(v1.DecideReviewRequest(id=request_of.id), office.me).review
    assert declined.state == v1.REVIEW_STATE_REJECTED
    (row,) = log(office, "declined")
    assert (row.person, row.partner, row.digest) == ("first", LAB_B, request_of.digest)
    assert "reproduce" not in row.body
    with pytest.raises(Conflict):
        office.desk.decide_review(v1.DecideReviewRequest(id=request_of.id), office.me)


def test_a_request_is_answered_by_a_reveal_and_not_by_an_approval(office, request_of):
    with pytest.raises(MalformedRequest) as refused:
        office.desk.decide_review(v1.DecideReviewRequest(id=request_of.id, approve=True), office.me)
    assert "tocsin reveal" in refused.value.hint


def test_a_reveal_that_people_must_agree_to_waits_for_them_and_answers_nobody_yet(asking, counsel):
    posted = asking.post()
    decide(asking, posted.waiting[0].review, counsel)
    asked = DisclosureRequest("r" * 22, LAB_B, posted.record.digest, ("steps",), "more", NOW, ReviewState.OPEN)
    asking.home.store.reviews.ask(asked)
    request = v1.RevealFieldsRequest(id=posted.record.digest, paths=["steps"], partner=LAB_B)
    answer = asking.desk.reveal_fields(request, asking.me)
    assert answer.waiting.approvals_needed == 1
    assert get(asking, asked.id).state == v1.REVIEW_STATE_OPEN
    assert decide(asking, answer.waiting.review, counsel).review.state == v1.REVIEW_STATE_RELEASED


# What we ask others for.


@pytest.fixture
def received(tmp_path, office, open_office):
    """The desk of lab-b.example with a record of ours, what it asked, and what it is answered."""
    asked = []

    async def requester(org, *, digest, paths, why):
        asked.append((org, digest, tuple(paths), why))
        return exchange_v1.REQUEST_STATE_OPEN

    lab_b = open_office(copy_home(tmp_path / "lab-b", LAB_B), requester=requester)
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, lab_b)
    digest = office.post().record.digest
    deliver(office, lab_b)
    return lab_b, digest, asked


def ask(office, digest, *paths, why="to reproduce it"):
    request = v1.RequestFieldsRequest(id=digest, paths=paths, why=why)
    return asyncio.run(office.desk.request_fields(request, office.me))


def test_the_origin_is_asked_and_the_decision_log_says_by_whom(received):
    lab_b, digest, asked = received
    answer = ask(lab_b, digest, "steps", "steps", "subjects[*].version")
    assert (answer.origin, answer.state) == (LAB_A, exchange_v1.REQUEST_STATE_OPEN)
    assert asked == [(LAB_A, digest, ("steps", "subjects[*].version"), "to reproduce it")]
    (row,) = log(lab_b, "requested")
    assert (row.person, row.partner, row.digest) == ("first", LAB_A, digest)
    assert "reproduce" not in row.body


NOT_ASKED: dict[str, tuple[tuple[str, ...], str, type[TocsinError]]] = {
    "no field": ((), "why", MalformedRequest),
    "a field that no finding has": (("stpes",), "why", MalformedName),
    "too many fields": (tuple(f"f{number}" for number in range(33)), "why", MalformedRequest),
    "no reason": (("steps",), " ", MalformedRequest),
    "a long story": (("steps",), "x" * 501, MalformedRequest),
}


@pytest.mark.parametrize("case", NOT_ASKED)
def test_nobody_is_asked_with(received, case):
    lab_b, digest, asked = received
    paths, why, error = NOT_ASKED[case]
    with pytest.raises(error):
        ask(lab_b, digest, *paths, why=why)
    assert asked == []
    assert log(lab_b, "requested") == ()


def test_nobody_asks_for_its_own_fields(office):
    with pytest.raises(NotPermitted):
        ask(office, office.post().record.digest, "steps")


def test_an_origin_that_is_suspended_is_not_asked(received):
    lab_b, digest, asked = received
    lab_b.desk.suspend_peer(v1.SuspendPeerRequest(org=LAB_A), lab_b.me)
    with pytest.raises(NotPermitted):
        ask(lab_b, digest, "steps")
    assert asked == []


def test_what_was_not_asked_is_not_in_the_decision_log(tmp_path, office, open_office):
    lab_b = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, lab_b)
    digest = office.post().record.digest
    deliver(office, lab_b)
    with pytest.raises(PeerUnreachable):
        ask(lab_b, digest, "steps")
    assert log(lab_b, "requested") == ()
