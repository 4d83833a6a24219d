"""What waits for people is proposed to them, once, and is void when it is not what would go any more."""

import json
from dataclasses import replace

import pytest

from tests.exchange.parties import APPROVED, AUTHOR, FIRST_RELEASER, NARROW, OPEN, SECOND_RELEASER, A, B, C, someone
from tests.store.making import record_id
from tests.support.organisations import NOW
from tests.support.people import colleague
from tocsin.encoding import encode_base64url
from tocsin.errors import Conflict, MalformedRequest, NotFound, NotPermitted, SignatureMismatch, StoreCorrupt
from tocsin.people.act import Act
from tocsin.people.person import Role
from tocsin.records.record import sd_hash
from tocsin.release.gate import agreement_on, wait_of
from tocsin.release.proposal import Refreshed, refresh, refresh_all
from tocsin.release.review import decide_review
from tocsin.release.terms import read_terms, review_id
from tocsin.store.model import DisclosureRequest, PeerState, ReviewState

BOTH = {"lab_b": APPROVED, "aisi": APPROVED}
TWICE = APPROVED.replace("approvals = 1", "approvals = 2")


def waiting(a, record, partner=B):
    decision = a.office.decide(record, partner=partner, now=a.now)
    return wait_of(a.office, record, decision, partner=partner, now=a.now)


def states(a):
    return [one.state.value for one in a.proposals(open_only=False)]


class TestProposing:
    def test_what_needs_nobody_is_not_proposed(self, a):
        a.post()
        assert a.proposals(open_only=False) == []

    def test_one_proposal_names_every_partner_that_waits_and_the_exact_bytes(self, a):
        a.set_policies(**BOTH)
        record = a.post()
        (proposal,) = a.proposals()
        assert proposal.id == review_id(proposal.body)
        assert (proposal.proposed_by, proposal.proposed_at, proposal.approvals_needed) == ((AUTHOR,), NOW, 1)
        body = json.loads(proposal.body)
        assert body.keys() == {"digest", "recipients", "floor", "items", "nonce"}
        assert (body["digest"], body["recipients"]) == (record.digest, [])
        assert body["floor"] == a.policies.floor.digest
        for item, partner in zip(body["items"], sorted((B, C)), strict=True):
            decision = a.office.decide(record, partner=partner, now=NOW)
            assert item == {
                "partner": partner,
                "sd_hash": sd_hash(record.present(decision.disclosed)),
                "policy": a.policies.policies[partner].digest,
                "rule": "open",
                "approvals": 1,
            }

    def test_a_partner_that_needs_nobody_gets_it_at_once(self, a, b, c):
        a.set_policies(aisi=APPROVED)
        a.post()
        assert [received.records for received in b.pull(a)] == [1]
        assert c.pull(a) == []

    def test_the_same_again_changes_nothing(self, a):
        a.set_policies(**BOTH)
        record = a.post()
        before = a.proposals()
        for _ in range(2):
            assert refresh(a.office, record, partners=[B, C], by=[SECOND_RELEASER], now=NOW) == Refreshed()
        assert a.proposals() == before

    def test_what_was_rejected_is_not_proposed_again(self, a):
        a.set_policies(lab_b=APPROVED)
        record = a.post()
        a.decide(*a.proposals(), approve=False)
        assert refresh(a.office, record, partners=[B, C], now=NOW).opened == ()
        assert states(a) == ["rejected"]

    def test_what_was_rejected_and_is_another_thing_now_is_proposed(self, a):
        a.set_policies(lab_b=APPROVED)
        a.post()
        a.decide(*a.proposals(), approve=False)
        a.apply(lab_b=APPROVED.replace('"PARTNER"', '"COMMUNITY"'))
        assert states(a) == ["rejected", "open"]

    def test_a_red_record_waits_where_the_floor_asks_for_it(self, a):
        floor = '[[require]]\nname = "red"\nmin_tlp = "RED"\napprovals = 1\n'
        a.set_policies(floor=floor, lab_b=OPEN.replace("AMBER", "RED"))
        amber, red = a.post({"title": "amber"}), a.post({"title": "red"}, tlp="RED")
        assert waiting(a, amber) is None
        assert waiting(a, red).needed == 1
        assert [one.digest for one in a.proposals()] == [red.digest]


REFUSED = {
    "its author": ({"by": AUTHOR}, NotPermitted, "NOT_PERMITTED"),
    "somebody who may not release": ({"by": "counsel"}, NotPermitted, "NOT_PERMITTED"),
    "a signature on another release": ({"on": "A" * 43}, MalformedRequest, "BAD_REQUEST"),
    "a signature on its beginning": ({"on": "prefix"}, MalformedRequest, "BAD_REQUEST"),
    "a signature that says no": ({"act": Act.REJECT}, MalformedRequest, "BAD_REQUEST"),
    "a signature under policies": ({"act": Act.APPLY_POLICIES}, MalformedRequest, "BAD_REQUEST"),
}


class TestApproving:
    def test_it_goes_when_enough_further_people_agree(self, a, b):
        a.set_policies(lab_b=TWICE)
        record = a.post()
        (proposal,) = a.proposals()
        assert waiting(a, record).needed == 2
        first = a.decide(proposal)
        assert (first.proposal.state, first.queued) == (ReviewState.OPEN, ())
        assert waiting(a, record).approved_by == (FIRST_RELEASER,)
        assert a.page_for(B) is None
        second = a.decide(proposal, by=SECOND_RELEASER)
        assert (second.proposal.state, second.queued) == (ReviewState.RELEASED, (B,))
        (received,) = b.pull(a)
        assert received.records == 1
        assert a.logged("sent")[0]["details"]["reviews"] == [proposal.id]

    def test_agreeing_twice_counts_once(self, a):
        a.set_policies(lab_b=TWICE)
        record = a.post()
        for _ in range(2):
            a.decide(*a.proposals())
        assert waiting(a, record).needed == 1

    def test_each_partner_waits_for_as_many_as_its_own_rule_asks_for(self, a, b):
        a.set_policies(lab_b=APPROVED, aisi=TWICE)
        a.post()
        (proposal,) = a.proposals()
        assert a.decide(proposal).queued == (B,)
        b.pull(a)
        a.apply()
        assert a.proposals() == [proposal], "what lab-b.example holds by it takes nothing from it"
        assert a.decide(proposal, by=SECOND_RELEASER).queued == (C,)

    def test_the_log_says_who_agreed_to_what(self, a):
        a.set_policies(lab_b=APPROVED)
        record = a.post()
        (proposal,) = a.proposals()
        a.decide(proposal)
        told = [(one["act"], one["person"], one["digest"], one["details"]["review"]) for one in a.logged()[1:]]
        assert told == [
            ("proposed", AUTHOR, record.digest, proposal.id),
            ("approved", FIRST_RELEASER, record.digest, proposal.id),
            ("released", "", record.digest, proposal.id),
        ]

    def test_who_rejects_stops_it(self, a):
        a.set_policies(lab_b=TWICE)
        record = a.post()
        (proposal,) = a.proposals()
        a.decide(proposal)
        a.decide(proposal, by=SECOND_RELEASER, approve=False)
        assert states(a) == ["rejected"]
        assert waiting(a, record).needed == 2, "what somebody agreed to before counts for nothing"

    def test_its_author_may_take_it_back(self, a):
        a.set_policies(lab_b=APPROVED)
        a.post()
        assert a.decide(*a.proposals(), by=AUTHOR, approve=False).proposal.state is ReviewState.REJECTED

    @pytest.mark.parametrize("case", REFUSED)
    def test_an_approval_is_refused_of(self, a, case):
        changes, error, reason = REFUSED[case]
        a.set_policies(lab_b=APPROVED)
        record = a.post()
        (proposal,) = a.proposals()
        if changes.get("on") == "prefix":
            changes = {"on": proposal.id[:20]}
        with pytest.raises(error) as refused:
            a.decide(proposal, **changes)
        assert refused.value.reason == reason
        assert a.store.reviews.opinions(proposal.id) == ()
        assert waiting(a, record).needed == 1

    def test_an_approval_is_refused_that_another_signed(self, a):
        a.set_policies(lab_b=APPROVED)
        a.post()
        (proposal,) = a.proposals()
        person = replace(a.store.people.get(FIRST_RELEASER), public_key=someone(SECOND_RELEASER, A).signer.public_key)
        statement = someone(FIRST_RELEASER, A).sign(Act.APPROVE, proposal.id)
        with pytest.raises(SignatureMismatch) as refused:
            decide_review(a.office, proposal.id, person=person, approve=True, statement=statement, now=NOW)
        assert refused.value.reason == "BAD_SIGNATURE"

    def test_with_strict_nobody_approves_who_holds_the_keys_and_the_policies_as_well(self, a):
        a.set_policies(lab_b=APPROVED)
        a.post()
        a.store.people.set_roles(FIRST_RELEASER, frozenset(Role))
        a.strict = True
        with pytest.raises(NotPermitted) as refused:
            a.decide(*a.proposals())
        assert refused.value.reason == "NOT_PERMITTED"
        a.strict = False
        a.decide(*a.proposals())
        a.strict = True
        assert a.page_for(B) is None, "nor does what such a person signed before"

    def test_what_is_decided_cannot_be_decided_again(self, a):
        a.set_policies(lab_b=APPROVED)
        a.post()
        (proposal,) = a.proposals()
        a.decide(proposal)
        with pytest.raises(Conflict, match="released already") as refused:
            a.decide(proposal, by=SECOND_RELEASER)
        assert refused.value.reason == "CONFLICT"

    def test_a_request_of_a_partner_is_no_release(self, a):
        record = a.post()
        asked = DisclosureRequest("A" * 22, B, record.digest, ("poc",), "", NOW, ReviewState.OPEN)
        a.store.reviews.ask(asked)
        with pytest.raises(NotFound) as refused:
            a.decide(asked)
        assert refused.value.reason == "NOT_FOUND"

    def test_the_proposal_of_a_partner_that_was_suspended_meanwhile_queues_nothing(self, a):
        a.set_policies(lab_b=APPROVED)
        a.post()
        a.store.peers.set_state(B, PeerState.SUSPENDED)
        assert a.decide(*a.proposals()).queued == ()
        assert a.store.feeds.waiting(B) == 0


CHANGES = {
    "the record is replaced": lambda a, record: a.post(record_id=record.record_id, version=2, supersedes=record.digest),
    "its policy says something else": lambda a, record: a.apply(lab_b=NARROW + "approvals = 1\n"),
    "its policy gained a comment": lambda a, record: a.apply(lab_b="# as agreed\n" + APPROVED),
    "the policy of another partner in it changed": lambda a, record: a.apply(aisi="# as agreed\n" + APPROVED),
    "the floor changed": lambda a, record: a.apply(floor='[[never]]\nname = "one"\nkinds = ["incident"]\n'),
    "another field was revealed": lambda a, record: a.reveal(record, "prompts"),
}


@pytest.mark.parametrize("agreed", [False, True], ids=["before anybody agreed", "after somebody agreed"])
@pytest.mark.parametrize("case", CHANGES)
def test_an_approval_is_void_when(a, b, case, agreed):
    a.set_policies(**BOTH)
    record = a.post(record_id=record_id("void"))
    (proposal,) = a.proposals()
    if agreed:
        a.decide(proposal)
    CHANGES[case](a, record)
    assert a.store.reviews.get(proposal.id).state is ReviewState.VOID
    assert a.page_for(B) is None
    with pytest.raises(Conflict) as refused:
        a.decide(proposal, by=SECOND_RELEASER)
    assert refused.value.reason == "CONFLICT"
    (again,) = a.proposals()
    assert again.id != proposal.id
    a.decide(again, by=SECOND_RELEASER)
    assert [received.records for received in b.pull(a)] == [1]


def test_an_approval_does_not_count_for_other_recipients(a):
    a.set_policies(**BOTH)
    record = a.post()
    a.decide(*a.proposals())
    decision = a.office.decide(record, partner=B, now=a.now)
    assert agreement_on(a.office, record, decision, partner=B).approved_by == (FIRST_RELEASER,)
    a.store.records.narrow(record.digest, [B])
    assert agreement_on(a.office, record, decision, partner=B).approved_by == ()


def test_what_was_void_once_stays_void_although_all_is_as_it_was(a, b):
    a.set_policies(**BOTH)
    a.post()
    (proposal,) = a.proposals()
    a.decide(proposal)
    a.apply(lab_b=NARROW + "approvals = 1\n")
    a.apply(lab_b=APPROVED)
    assert states(a) == ["void", "void", "open"]
    (again,) = a.proposals()
    assert read_terms(again) == read_terms(proposal)
    assert again.id != proposal.id
    assert a.page_for(B) is None


def test_the_approval_of_somebody_who_has_left_does_not_count(a, b):
    a.set_policies(lab_b=APPROVED)
    a.post()
    (proposal,) = a.proposals()
    a.decide(proposal)
    a.store.people.remove(FIRST_RELEASER)
    assert a.page_for(B) is None
    assert states(a) == ["void", "open"], "it is proposed anew, to those who are still there"
    a.decide(*a.proposals(), by=SECOND_RELEASER)
    assert [received.records for received in b.pull(a)] == [1]


def test_what_was_sent_by_an_approval_stays_released_when_its_approver_leaves(a, b):
    a.set_policies(lab_b=APPROVED)
    a.post()
    a.decide(*a.proposals())
    b.pull(a)
    a.store.people.remove(FIRST_RELEASER)
    refresh_all(a.office, now=NOW)
    assert states(a) == ["released"]
    assert b.pull(a) == []


def test_an_approval_by_a_key_that_was_replaced_does_not_count(a):
    a.set_policies(lab_b=APPROVED)
    a.post()
    a.decide(*a.proposals())
    a.store.people.replace(colleague(FIRST_RELEASER, A, keys="new").person(Role.RELEASER))
    assert a.page_for(B) is None


class TestWhoMayApprove:
    def test_who_reveals_a_field_does_not_approve_it(self, a):
        a.set_policies(lab_b=APPROVED)
        record = a.post()
        a.reveal(record, "prompts", person=FIRST_RELEASER)
        (proposal,) = a.proposals()
        assert proposal.proposed_by == (FIRST_RELEASER, AUTHOR)
        with pytest.raises(NotPermitted):
            a.decide(proposal)
        a.decide(proposal, by=SECOND_RELEASER)

    def test_who_revealed_a_field_does_not_approve_it_after_the_policies_were_touched_either(self, a):
        a.set_policies(lab_b=APPROVED)
        record = a.post()
        a.reveal(record, "prompts", person=FIRST_RELEASER)
        a.apply(lab_b="")
        assert a.proposals() == []
        a.apply(lab_b=APPROVED)
        with pytest.raises(NotPermitted):
            a.decide(*a.proposals())

    def test_who_revealed_something_that_has_gone_approves_what_others_reveal(self, a, b):
        a.set_policies(lab_b=APPROVED.replace('["prompts"]', '["prompts", "poc"]'))
        record = a.post({"poc": "print()"})
        a.reveal(record, "prompts", person=FIRST_RELEASER)
        a.decide(*a.proposals(), by=SECOND_RELEASER)
        b.pull(a)
        a.reveal(record, "poc", person=SECOND_RELEASER)
        a.decide(*a.proposals(), by=FIRST_RELEASER)
        b.pull(a)
        assert b.store.records.get(record.digest).content["poc"] == "print()"


FORGED = {
    "in what it says": ("UPDATE proposals SET body = replace(body, '\"approvals\":1', '\"approvals\":0')",),
    "in its name": (
        "UPDATE opinions SET proposal = 'AAAA' || substr(proposal, 5)",
        "UPDATE proposals SET id = 'AAAA' || substr(id, 5)",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_nothing_goes_by_a_proposal_that_was_changed_in_the_store(a, case):
    a.set_policies(lab_b=APPROVED)
    a.post()
    a.decide(*a.proposals())
    with a.store.transaction():
        a.store._db.execute("PRAGMA defer_foreign_keys = ON")
        for statement in FORGED[case]:
            a.store._db.execute(statement)
    with pytest.raises(StoreCorrupt) as refused:
        a.page_for(B)
    assert refused.value.reason == "STORE_CORRUPT"


WRITTEN = {
    "an approval that nobody signed": "UPDATE opinions SET statement = ''",
    "an approval in another's name": "UPDATE opinions SET person = 'releaser-2'",
    "an approval with a mark behind it": "UPDATE opinions SET statement = statement || 'A'",
}


@pytest.mark.parametrize("case", WRITTEN)
def test_nothing_goes_by(a, case):
    a.set_policies(lab_b=APPROVED)
    a.post()
    a.decide(*a.proposals())
    with a.store.transaction():
        a.store._db.execute(WRITTEN[case])
    assert a.page_for(B) is None


def test_a_state_written_into_the_store_lets_nothing_go(a):
    a.set_policies(lab_b=APPROVED)
    record = a.post()
    a.store.reviews.set_state(a.proposals()[0].id, ReviewState.RELEASED)
    a.store.feeds.queue(B, record.digest, now=NOW)
    assert a.page_for(B) is None


def test_the_nonce_is_as_long_as_it_says(a):
    a.set_policies(lab_b=APPROVED)
    a.post()
    nonce = json.loads(a.proposals()[0].body)["nonce"]
    assert len(nonce) == len(encode_base64url(bytes(16)))
