"""What every store must do with the organisation's own people."""

from dataclasses import replace

import pytest

from tests.store.making import make_person
from tocsin.errors import Conflict, NotFound
from tocsin.people.person import Role


@pytest.fixture
def analyst(store):
    store.people.add(make_person())
    return make_person()


def test_a_person_comes_back_as_it_was_put_in(store, analyst):
    assert store.people.get("analyst-1") == analyst


def test_people_are_listed_by_name(store, analyst):
    counsel = make_person("counsel", Role.RELEASER, Role.AUDITOR)
    boss = make_person("a-operator", Role.OPERATOR)
    for person in (counsel, boss):
        store.people.add(person)
    assert store.people.list() == (boss, analyst, counsel)


@pytest.mark.parametrize(
    "twin",
    [
        pytest.param(make_person(keys="other"), id="name"),
        pytest.param(make_person("counsel", keys="analyst-1"), id="both keys"),
        pytest.param(replace(make_person("counsel"), key_id=make_person().key_id), id="signing key"),
        pytest.param(replace(make_person("counsel"), certificate=make_person().certificate), id="certificate"),
    ],
)
@pytest.mark.usefixtures("analyst")
def test_neither_a_name_nor_a_key_is_given_twice_even_after_somebody_left(store, twin):
    store.people.remove("analyst-1")
    with pytest.raises(Conflict) as refused:
        store.people.add(twin)
    assert refused.value.reason == "CONFLICT"
    assert [person.name for person in store.people.list()] == ["analyst-1"]


def test_roles_change_and_nothing_else_does(store, analyst):
    changed = store.people.set_roles("analyst-1", frozenset({Role.RELEASER, Role.AUDITOR}))
    assert changed == replace(analyst, roles=frozenset({Role.RELEASER, Role.AUDITOR})) == store.people.get("analyst-1")


def test_who_left_is_known_and_is_nobody_at_the_desk(store, analyst):
    assert store.people.remove("analyst-1") == replace(analyst, active=False)
    assert not store.people.get("analyst-1").active


def test_new_keys_take_the_place_of_the_old_ones(store, analyst):
    store.people.remove("analyst-1")
    again = make_person("analyst-1", Role.OPERATOR, keys="second")
    store.people.replace(again)
    assert store.people.get("analyst-1") == again


@pytest.mark.usefixtures("analyst")
def test_new_keys_that_are_another_persons_are_refused(store):
    store.people.add(make_person("counsel"))
    with pytest.raises(Conflict):
        store.people.replace(make_person("counsel", keys="analyst-1"))
    assert store.people.get("counsel") == make_person("counsel")


def test_a_stranger_is_not_found(store):
    for call in (
        lambda: store.people.get("nobody"),
        lambda: store.people.set_roles("nobody", frozenset()),
        lambda: store.people.remove("nobody"),
        lambda: store.people.replace(make_person("nobody")),
    ):
        with pytest.raises(NotFound) as refused:
            call()
        assert refused.value.reason == "NOT_FOUND"
