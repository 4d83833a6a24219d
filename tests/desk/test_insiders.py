"""Our own people, and whoever can write the store but holds no key of the node, make nothing go that should not."""

import json
from dataclasses import replace

import pytest

from tests.desk.conftest import (
    AISI,
    FINDING,
    LAB_A,
    LAB_B,
    SHARING,
    copy_home,
    draft,
    nobody_answers,
    nobody_lets_in,
    nobody_to_ask,
    put_policy,
)
from tests.desk.federation import deliver, introduce, office_of
from tests.support.organisations import NOW, seeded
from tests.support.people import colleague
from tests.support.policies import request_to_apply
from tocsin.audit.entry import Entry, Event, chain
from tocsin.audit.log import verify_entry
from tocsin.desk import posting
from tocsin.desk.desk import Desk
from tocsin.errors import AuditInconsistent, NotPermitted, StoreCorrupt
from tocsin.exchange.circuit import Contacts
from tocsin.exchange.outbox import next_page
from tocsin.people.act import Act, policy_subject
from tocsin.people.person import Role
from tocsin.policy.starter import starter_floor
from tocsin.store.model import AuditFilter, Opinion, PolicySetRow
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

ASKING = SHARING.replace("[[share]]", "[[share]]\napprovals = 1")
HELD = SHARING.replace("[[share]]", '[[share]]\nhold = "72h"')


@pytest.fixture
def asking(office):
    """A home whose policy asks for one further person."""
    put_policy(office, LAB_B, ASKING)
    return office


def page(office):
    return next_page(office_of(office), LAB_B, "", signer=office.home.delivery_signer, now=office.clock())


def reviews(office):
    return list(office.desk.list_reviews(v1.ListReviewsRequest(), office.me).reviews)


def approve(office, review, by):
    request = v1.DecideReviewRequest(id=review, approve=True, statement=by.sign(Act.APPROVE, review))
    return office.desk.decide_review(request, office.home.store.people.get(by.name))


def shares(office):
    policy = office.home.policies.policies.get(LAB_B)
    return bool(policy and policy.shares)


# Policies.


def test_the_row_of_an_old_set_brings_nothing_back(office):
    old = office.home.store.policies.latest()
    office.apply({f"{LAB_B}.toml": f'partner = "{LAB_B}"\n'})
    assert not shares(office)
    office.home.store.policies.put(old)
    assert not shares(office)
    assert office.home.policies.floor is None
    assert "decision log" in office.home.policies.problems[0].message


def test_a_set_of_somebody_who_may_not_apply_one_counts_for_nothing(office):
    office.apply({f"{LAB_B}.toml": f'partner = "{LAB_B}"\n'})
    _, eve = office.admit("eve", Role.ANALYST)
    before = office.home.store.policies.latest().subject
    files = {"floor.toml": starter_floor(), f"{LAB_B}.toml": SHARING.format(partner=LAB_B)}
    subject = policy_subject(files, replaces=before)
    row = PolicySetRow(
        subject=subject,
        statement=eve.sign(Act.APPLY_POLICIES, subject),
        person="eve",
        files=files,
        signed=frozenset(files),
        applied_at=NOW,
        replaces=before,
    )
    office.home.store.policies.put(row)
    assert not shares(office)
    said = Entry(Event.POLICY_APPLIED, person="eve", details={"subject": subject, "statement": row.statement})
    head = office.home.store.audit.head()
    forged = chain(said, after=head, now=NOW)
    office.home.store.audit.append([replace(forged, seal=head.seal)])
    assert not shares(office), "the seal is of another entry"


# Approvals.


def test_an_approval_that_the_node_never_took_counts_for_nothing(asking):
    posted = asking.post()
    _, eve = asking.admit("eve", Role.RELEASER)
    review = posted.waiting[0].review
    asking.home.store.reviews.decide(review, Opinion("eve", True, eve.sign(Act.APPROVE, review), NOW))
    asking.home.store.feeds.queue(LAB_B, posted.record.digest, now=NOW)
    assert page(asking) is None
    assert list(reviews(asking)[0].approved_by) == []


def test_an_author_whose_name_is_gone_from_the_store_is_known_by_the_log(asking):
    review = asking.post().waiting[0].review
    with asking.home.store.transaction():
        asking.home.store._db.execute("UPDATE records SET author = ''")
        asking.home.store._db.execute("UPDATE proposals SET proposed_by = '[]'")
    with pytest.raises(NotPermitted):
        approve(asking, review, asking.first)


def test_who_revealed_a_field_before_anybody_had_to_agree_may_not_agree_to_it(office):
    mallory, keys = office.admit("mallory", Role.RELEASER)
    _, counsel = office.admit("counsel", Role.RELEASER)
    put_policy(office, LAB_B, HELD)
    digest = office.post().record.digest
    office.desk.reveal_fields(v1.RevealFieldsRequest(id=digest, paths=["steps"], partner=LAB_B), mallory)
    files = {f"{LAB_B}.toml": ASKING.format(partner=LAB_B)}
    office.desk.apply_policies(request_to_apply(office.home, files, by=office.first), office.me)
    (review,) = reviews(office)
    with pytest.raises(NotPermitted):
        approve(office, review.id, keys)
    assert list(approve(office, review.id, counsel).queued_for) == [LAB_B]


# Records.


@pytest.mark.parametrize(
    "written",
    [
        "UPDATE holdings SET token = ?",
        "DELETE FROM recipients WHERE org <> ?",
        "UPDATE recipients SET org = 'lab-b.example' WHERE org <> ?",
    ],
)
def test_what_is_not_as_it_was_posted_goes_to_nobody(office, written):
    office.add_peer(AISI)
    embargo = {"state": "agreed", "until": "2099-01-01T00:00:00Z"}
    digest = office.post({**FINDING, "embargo": embargo}, recipients=[AISI]).record.digest
    record = office_of(office).load(digest, now=NOW)
    whole = record.paths - {"embargo", "embargo.state", "embargo.until"}
    with office.home.store.transaction():
        office.home.store._db.execute(written, (record.present(whole),))
    office.home.store.feeds.queue(LAB_B, digest, now=NOW)
    with pytest.raises(StoreCorrupt):
        page(office)


def test_the_decision_log_says_when_a_marking_will_be_lowered(office):
    step = record_pb2.Downgrade(at="2026-04-01T00:00:00Z", tlp=record_pb2.TLP_CLEAR)
    office.post(tlp=record_pb2.TLP_RED, downgrade_at=[step])
    (posted,) = office.home.store.audit.list(AuditFilter(act="posted"), limit=9)
    assert json.loads(posted.body)["details"]["downgrade_at"] == [{"at": step.at, "tlp": "CLEAR"}]


# People who leave.


def test_a_batch_ends_where_its_poster_leaves(office, monkeypatch):
    monkeypatch.setattr(posting, "AT_ONCE", 1)
    mallory, _ = office.admit("mallory", Role.ANALYST)
    read = iter(range(9))

    def leaving():
        if next(read) == 2:
            office.home.store.people.remove("mallory")
        return NOW

    desk = Desk(
        office.home,
        clock=leaving,
        random=seeded("leaving"),
        puller=nobody_answers,
        requester=nobody_to_ask,
        probe=nobody_lets_in,
        contacts=Contacts(),
    )
    with pytest.raises(NotPermitted):
        desk.post_records(v1.PostRecordsRequest(drafts=[draft()] * 9), mallory)
    posted = office.home.store.audit.list(AuditFilter(act="posted"), limit=9)
    assert 0 < len(posted) <= 3


def test_who_left_posts_nothing_with_a_call_that_began_before(office):
    mallory, _ = office.admit("mallory", Role.ANALYST)
    office.home.store.people.set_roles("mallory", frozenset({Role.AUDITOR}))
    with pytest.raises(NotPermitted):
        office.desk.post_records(v1.PostRecordsRequest(drafts=[draft()]), mallory)
    assert office.home.store.audit.list(AuditFilter(act="posted"), limit=9) == ()


def test_who_left_applies_no_policies_and_lets_nobody_in_with_a_call_that_waited(office):
    counsel, keys = office.admit("counsel", Role.POLICY_ADMIN, Role.OPERATOR)
    office.home.store.people.remove("counsel")
    before = office.home.store.policies.latest()
    files = {f"{LAB_B}.toml": ASKING.format(partner=LAB_B)}
    with pytest.raises(NotPermitted):
        office.desk.apply_policies(request_to_apply(office.home, files, by=keys), counsel)
    assert office.home.store.policies.latest() == before
    ghost = v1.AddPersonRequest(card=colleague("ghost", LAB_A).card, roles=[v1.PERSON_ROLE_RELEASER])
    with pytest.raises(NotPermitted):
        office.desk.add_person(ghost, counsel)
    with pytest.raises(NotPermitted):
        office.desk.change_person(v1.ChangePersonRequest(name="counsel", roles=ghost.roles), counsel)
    with pytest.raises(NotPermitted):
        office.desk.remove_person(v1.RemovePersonRequest(name="first"), counsel)
    assert office.me.active


# Recipients.


def test_what_was_agreed_to_for_a_partner_does_not_go_to_another_one_of_its_name(asking, tmp_path, open_office):
    _, counsel = asking.admit("counsel", Role.RELEASER)
    agreed, open_yet = asking.post(), asking.post({**FINDING, "title": "another"})
    approve(asking, agreed.waiting[0].review, counsel)
    asking.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), asking.me)
    assert reviews(asking) == []
    other = open_office(copy_home(tmp_path / "other", LAB_B))
    introduce(asking, other)
    assert deliver(asking, other) is None
    proposed = {review.digest: review.id for review in reviews(asking)}
    assert proposed.keys() == {agreed.record.digest, open_yet.record.digest}
    assert proposed[agreed.record.digest] != agreed.waiting[0].review
    approve(asking, proposed[agreed.record.digest], counsel)
    assert deliver(asking, other).records == 1


# The decision log.


def entry(office, sequence):
    return next(row for row in office.home.log.rows() if row.sequence == sequence)


def test_an_entry_is_verified_by_the_seal_that_covers_it(office):
    office.home.log.append(Entry(Event.POSTED, person="a"), Entry(Event.POSTED, person="b"), now=NOW)
    last = office.home.store.audit.head()
    first = entry(office, last.sequence - 1)
    assert not first.seal
    organisation = office.home.organisation
    for row in (entry(office, 1), first, last):
        assert isinstance(verify_entry(office.home.store, row, organisation=organisation), dict)
    for changed in (replace(first, person="c"), replace(first, body=last.body), replace(last, seal="")):
        with pytest.raises(AuditInconsistent):
            verify_entry(office.home.store, changed, organisation=organisation)
