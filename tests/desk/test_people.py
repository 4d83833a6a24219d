"""The organisation's own people: who comes, who goes, and who gets back in."""

import json

import pytest

from tests.desk.conftest import LAB_A, Office
from tests.support.organisations import NOW
from tests.support.people import Colleague, colleague
from tests.support.policies import apply
from tocsin.audit.log import verify_log
from tocsin.desk.home import open_home
from tocsin.desk.people import role_number
from tocsin.desk.recovery import recover_person
from tocsin.errors import Conflict, HomeLocked, MalformedRecord, MalformedRequest, NotFound, NotPermitted, TocsinError
from tocsin.people.card import make_card
from tocsin.people.person import Role
from tocsin.v1 import desk_service_pb2 as v1

ANALYST, COUNSEL = colleague("analyst-1", LAB_A), colleague("counsel", LAB_A)


def add(office: Office, person: Colleague, *roles: Role) -> v1.Colleague:
    request = v1.AddPersonRequest(card=person.card, roles=[role_number(role) for role in roles])
    return office.desk.add_person(request, office.me).person


def change(office: Office, name: str, *roles: Role) -> v1.Colleague:
    request = v1.ChangePersonRequest(name=name, roles=[role_number(role) for role in roles])
    return office.desk.change_person(request, office.me).person


def remove(office: Office, name: str) -> v1.Colleague:
    return office.desk.remove_person(v1.RemovePersonRequest(name=name), office.me).person


def people(office: Office) -> dict[str, tuple[bool, set[int]]]:
    listed = office.desk.list_people(v1.ListPeopleRequest(), office.me).people
    return {person.name: (person.active, set(person.roles)) for person in listed}


@pytest.fixture
def office(root, open_office) -> Office:
    return open_office(root)


@pytest.fixture
def strict(root, open_office) -> Office:
    return open_office(root, strict=True)


def test_a_person_is_registered_by_its_card_with_the_roles_that_it_is_given(office):
    added = add(office, ANALYST, Role.ANALYST, Role.RELEASER)
    assert added.key_id == ANALYST.signer.key_id
    assert (added.active, added.added_at.ToSeconds()) == (True, NOW)
    assert people(office)["analyst-1"] == (True, {v1.PERSON_ROLE_ANALYST, v1.PERSON_ROLE_RELEASER})
    assert office.home.store.people.get("analyst-1").pin == ANALYST.person().pin
    assert office.events.people == ["analyst-1"]


def test_what_a_person_may_do_is_changed_as_a_whole(office):
    add(office, ANALYST, Role.ANALYST)
    change(office, "analyst-1", Role.AUDITOR)
    assert people(office)["analyst-1"] == (True, {v1.PERSON_ROLE_AUDITOR})
    assert office.events.people == ["analyst-1", "analyst-1"]


def test_somebody_who_leaves_stays_known_and_may_do_nothing(office):
    add(office, ANALYST, Role.ANALYST)
    assert not remove(office, "analyst-1").active
    assert people(office)["analyst-1"][0] is False
    assert office.events.people == ["analyst-1", "analyst-1"]


def test_people_are_in_the_decision_log_with_who_let_them_in_and_by_which_key(office):
    add(office, ANALYST, Role.ANALYST)
    change(office, "analyst-1", Role.AUDITOR)
    remove(office, "analyst-1")
    rows = list(office.home.log.rows())[2:]
    assert [(row.act, row.person) for row in rows] == [
        ("person-added", "first"),
        ("person-changed", "first"),
        ("person-removed", "first"),
    ]
    added, changed, _ = (json.loads(row.body)["details"] for row in rows)
    assert added == {
        "name": "analyst-1",
        "roles": ["analyst"],
        "key_id": ANALYST.signer.key_id,
        "pin": ANALYST.person().pin,
    }
    assert changed == {"name": "analyst-1", "roles": ["auditor"], "before": ["analyst"]}
    verify_log(office.home.log.rows(), organisation=office.home.organisation)


def twice(office: Office) -> None:
    add(office, ANALYST, Role.ANALYST)
    add(office, ANALYST, Role.ANALYST)


def same_name(office: Office) -> None:
    add(office, ANALYST, Role.ANALYST)
    add(office, colleague("analyst-1", LAB_A, keys="other"), Role.ANALYST)


def name_of_somebody_who_left(office: Office) -> None:
    add(office, ANALYST, Role.ANALYST)
    remove(office, "analyst-1")
    add(office, colleague("analyst-1", LAB_A, keys="other"), Role.ANALYST)


def back_again(office: Office) -> None:
    add(office, ANALYST, Role.ANALYST)
    remove(office, "analyst-1")
    change(office, "analyst-1", Role.ANALYST)


def gone_twice(office: Office) -> None:
    add(office, ANALYST, Role.ANALYST)
    remove(office, "analyst-1")
    remove(office, "analyst-1")


def two_of_a_key(office: Office) -> None:
    add(office, ANALYST, Role.ANALYST)
    card = make_card("analyst-2", signer=ANALYST.signer, certificate=COUNSEL.certificate)
    office.desk.add_person(v1.AddPersonRequest(card=card, roles=[v1.PERSON_ROLE_AUDITOR]), office.me)


REFUSED = {
    "somebody who is there": (twice, Conflict, "CONFLICT"),
    "another with the same name": (same_name, Conflict, "CONFLICT"),
    "another with the name of somebody who left": (name_of_somebody_who_left, Conflict, "CONFLICT"),
    "a key that is there": (two_of_a_key, Conflict, "CONFLICT"),
    "roles for somebody who left": (back_again, Conflict, "CONFLICT"),
    "leaving twice": (gone_twice, Conflict, "CONFLICT"),
    "nobody with roles": (lambda office: change(office, "nobody", Role.ANALYST), NotFound, "NOT_FOUND"),
    "nobody to leave": (lambda office: remove(office, "nobody"), NotFound, "NOT_FOUND"),
    "no role": (lambda office: add(office, ANALYST), MalformedRequest, "BAD_REQUEST"),
    "a role that is none": (
        lambda office: office.desk.add_person(v1.AddPersonRequest(card=ANALYST.card, roles=[99]), office.me),
        MalformedRequest,
        "BAD_REQUEST",
    ),
    "no card": (
        lambda office: office.desk.add_person(v1.AddPersonRequest(roles=[1]), office.me),
        MalformedRecord,
        "BAD_FORM",
    ),
    "the last operator with other roles": (
        lambda office: change(office, "first", Role.ANALYST),
        Conflict,
        "CONFLICT",
    ),
    "the last operator to leave": (lambda office: remove(office, "first"), Conflict, "CONFLICT"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(office, case):
    attempt, error, reason = REFUSED[case]
    with pytest.raises(error) as refused:
        attempt(office)
    assert refused.value.reason == reason
    rows = list(office.home.log.rows())
    assert people(office).keys() <= {"first", "analyst-1"}
    assert people(office)["first"] == (True, {role_number(role) for role in Role})
    assert len(rows) - 2 == len(office.events.people)


def test_an_operator_may_go_once_there_is_another(office):
    add(office, COUNSEL, Role.OPERATOR)
    change(office, "first", Role.ANALYST)
    assert people(office)["first"] == (True, {v1.PERSON_ROLE_ANALYST})


def test_with_strict_nobody_is_given_release_policy_and_keys_at_once(strict):
    with pytest.raises(NotPermitted) as refused:
        add(strict, COUNSEL, Role.RELEASER, Role.POLICY_ADMIN, Role.OPERATOR)
    assert refused.value.reason == "NOT_PERMITTED"
    add(strict, COUNSEL, Role.RELEASER, Role.POLICY_ADMIN)
    with pytest.raises(NotPermitted):
        change(strict, "counsel", *Role)
    assert people(strict)["counsel"] == (True, {v1.PERSON_ROLE_RELEASER, v1.PERSON_ROLE_POLICY_ADMIN})
    assert strict.desk.list_people(v1.ListPeopleRequest(), strict.me).strict


# With the node down


RENEWED = colleague("first", LAB_A, keys="renewed")


def test_somebody_who_lost_its_keys_gets_back_in_with_the_same_roles(root):
    with open_home(root, now=NOW) as home:
        home.store.people.add(ANALYST.person(Role.ANALYST))
    other = colleague("analyst-1", LAB_A, keys="renewed")
    recovered = recover_person(root, other.card, now=NOW + 1)
    assert recovered.roles == {Role.ANALYST}
    with open_home(root, now=NOW) as home:
        assert home.store.people.get("analyst-1") == recovered
        assert recovered.pin == other.person().pin
        last = list(home.log.rows())[-1]
        assert (last.act, last.person) == ("person-recovered", "")
        assert json.loads(last.body)["details"]["key_id"] == other.signer.key_id
        verify_log(home.log.rows(), organisation=home.organisation)


def test_what_the_lost_keys_had_put_in_force_is_applied_again(root, open_office):
    recover_person(root, RENEWED.card, now=NOW)
    office = open_office(root)
    assert office.home.policies.floor is None
    floor = office.home.store.policies.latest().files["floor.toml"]
    assert apply(office.home, {"floor.toml": floor}, by=RENEWED).floor is not None
    assert office.home.policies.problems == ()


def test_somebody_who_left_is_let_in_again(root):
    with open_home(root, now=NOW) as home:
        home.store.people.add(ANALYST.person(Role.ANALYST))
        home.store.people.remove("analyst-1")
    assert recover_person(root, ANALYST.card, now=NOW).active


def test_where_nobody_is_left_who_can_let_others_in_whoever_is_recovered_gets_every_role(root):
    with open_home(root, now=NOW) as home:
        home.store.people.add(ANALYST.person(Role.ANALYST))
        home.store.people.remove("first")
    assert recover_person(root, ANALYST.card, now=NOW).roles == set(Role)


def test_a_newcomer_is_let_in_where_nobody_is_left_and_nowhere_else(root):
    with pytest.raises(NotFound) as refused:
        recover_person(root, COUNSEL.card, now=NOW)
    assert "person add" in refused.value.hint
    with open_home(root, now=NOW) as home:
        home.store.people.remove("first")
    assert recover_person(root, COUNSEL.card, now=NOW).roles == set(Role)


def held(root) -> None:
    with open_home(root, now=NOW):
        recover_person(root, RENEWED.card, now=NOW)


def key_of_another(root) -> None:
    with open_home(root, now=NOW) as home:
        home.store.people.add(ANALYST.person(Role.ANALYST))
    card = colleague("first", LAB_A, keys="renewed")
    recover_person(root, make_card("first", signer=ANALYST.signer, certificate=card.certificate), now=NOW)


UNRECOVERED: dict[str, tuple[object, type[TocsinError], str]] = {
    "while a node runs": (held, HomeLocked, "HOME_LOCKED"),
    "without a card": (lambda root: recover_person(root, "no card", now=NOW), MalformedRecord, "BAD_FORM"),
    "with somebody else's key": (key_of_another, Conflict, "CONFLICT"),
}


@pytest.mark.parametrize("case", UNRECOVERED)
def test_nobody_gets_back_in(root, case):
    attempt, error, reason = UNRECOVERED[case]
    with pytest.raises(error) as refused:
        attempt(root)
    assert refused.value.reason == reason
    with open_home(root, now=NOW) as home:
        assert home.store.people.get("first").key_id == colleague("first", LAB_A).signer.key_id
