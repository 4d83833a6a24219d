"""People, their roles and their names."""

import pytest

from tests.support.people import colleague
from tocsin.errors import MalformedName
from tocsin.people.person import Role, parse_person_name

LAB = "lab-a.example"
EVERYTHING = frozenset(Role)
KEYS_ALONE = frozenset({Role.OPERATOR})

POWERS = {
    "one role": ((Role.ANALYST,), {Role.ANALYST}, {Role.ANALYST}),
    "every role": (tuple(Role), EVERYTHING, KEYS_ALONE),
    "release, policy and keys": (
        (Role.RELEASER, Role.POLICY_ADMIN, Role.OPERATOR),
        {Role.RELEASER, Role.POLICY_ADMIN, Role.OPERATOR},
        KEYS_ALONE,
    ),
    "release and keys": ((Role.RELEASER, Role.OPERATOR),) + ({Role.RELEASER, Role.OPERATOR},) * 2,
    "everything but the keys": (tuple(EVERYTHING - KEYS_ALONE),) + (EVERYTHING - KEYS_ALONE,) * 2,
}


@pytest.mark.parametrize(("roles", "relaxed", "strict"), POWERS.values(), ids=POWERS)
def test_the_roles_that_count_follow_from_those_held_and_from_strict(roles, relaxed, strict):
    person = colleague("analyst-1", LAB).person(*roles)
    assert person.powers(strict=False) == relaxed
    assert person.powers(strict=True) == strict
    assert all(person.may({role}, strict=True) == (role in strict) for role in Role)


def test_somebody_who_left_may_do_nothing():
    person = colleague("analyst-1", LAB).person(active=False)
    assert not person.may(Role, strict=False)


def test_nobody_may_do_what_no_role_may():
    assert not colleague("analyst-1", LAB).person().may((), strict=False)


@pytest.mark.parametrize("name", ["a", "analyst-1", "m.keller", "x_1", "a" * 63])
def test_a_name_is_taken(name):
    assert parse_person_name(name) == name


@pytest.mark.parametrize("name", ["", "Analyst", "1st", "-a", "a b", "a/b", "a" * 64, "a\n", "ä", "../a", "a\x1b[2J"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(MalformedName) as refused:
        parse_person_name(name)
    assert refused.value.reason == "BAD_NAME"
    assert refused.value.hint
