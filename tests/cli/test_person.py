"""The commands about people: what they ask, and whose keys are where afterwards."""

import json

import pytest

from tests.support.organisations import found
from tocsin.errors import Conflict
from tocsin.people.card import parse_card
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli.profile import default_folder, load_profile, load_profiles
from tocsin_cli.session import now

ORG = "lab-a.example"
KEY = "k" * 43


def colleague(name="analyst-1", *roles, active=True):
    return v1.Colleague(name=name, roles=roles or [v1.PERSON_ROLE_ANALYST], key_id=KEY, active=active)


def test_a_person_that_is_added_here_gets_a_profile_beside_ones_own(tocsin, desk, profile):
    fake = desk(v1.AddPersonResponse(person=colleague("analyst-1", v1.PERSON_ROLE_ANALYST, v1.PERSON_ROLE_AUDITOR)))
    shown = tocsin("person", "add", "analyst-1", "--role", "analyst", "--role", "auditor")
    assert (shown.code, shown.out) == (0, "analyst-1 may act as analyst, auditor\n")
    (asked,) = fake.asked
    assert list(asked.roles) == [v1.PERSON_ROLE_ANALYST, v1.PERSON_ROLE_AUDITOR]
    made = load_profile(default_folder("analyst-1", ORG))
    assert (made.home, made.load_organisation().org) == (profile.home, ORG)
    assert parse_card(asked.card, org=ORG).key_id == made.load_signer().key_id


def test_a_person_that_the_node_refuses_gets_no_profile(tocsin, desk, profile):
    desk(Conflict("there is an analyst-1 already", reason="CONFLICT"))
    assert tocsin("person", "add", "analyst-1", "--role", "analyst").code == 6
    assert load_profiles() == (profile,)
    assert [path.name for path in profile.folder.parent.iterdir()] == [profile.label]


def make_card(tocsin, tmp_path, *more):
    (tmp_path / "lab-a.tocsin").write_bytes(found(ORG, now=now()).document)
    return tocsin("person", "card", "counsel", "--identity", tmp_path / "lab-a.tocsin", *more)


def test_a_card_is_made_where_its_person_works(tocsin, tmp_path):
    shown = make_card(tocsin, tmp_path, "--desk", "lab-a.example:7471")
    made = load_profile(default_folder("counsel", ORG))
    read = parse_card(shown.out, org=ORG)
    assert (made.home, made.desk) == ("", "lab-a.example:7471")
    assert read.key_id == made.load_signer().key_id
    assert read.key_id in shown.err
    assert found(ORG, now=now()).organisation.fingerprint in shown.err


def test_a_card_is_json_for_scripts_and_is_not_made_twice(tocsin, tmp_path):
    told = json.loads(make_card(tocsin, tmp_path, "--json").out)
    assert (told["name"], told["org"]) == ("counsel", ORG)
    assert parse_card(told["card"], org=ORG).key_id == told["key_id"]
    again = make_card(tocsin, tmp_path)
    assert (again.code, again.out) == (9, "")
    assert "[PROFILE_EXISTS]" in again.err


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        pytest.param(["counsel", "--desk", "nowhere"], 3, "[BAD_NAME]", id="a desk that is no endpoint"),
        pytest.param(["The Counsel"], 3, "[BAD_NAME]", id="a name that is none"),
    ],
)
def test_a_card_that_cannot_be_leaves_no_profile(tocsin, tmp_path, arguments, code, reason):
    (tmp_path / "lab-a.tocsin").write_bytes(found(ORG, now=now()).document)
    shown = tocsin("person", "card", "--identity", tmp_path / "lab-a.tocsin", *arguments)
    assert shown.code == code
    assert reason in shown.err
    assert load_profiles() == ()


def test_a_card_is_added_under_the_name_that_it_bears(tocsin, desk, profile, tmp_path):
    (tmp_path / "counsel.card").write_text(make_card(tocsin, tmp_path).out)
    fake = desk(v1.AddPersonResponse(person=colleague("counsel", v1.PERSON_ROLE_RELEASER)))
    wrong = tocsin("--profile", "releaser-1", "person", "add", "other", "--role", "auditor", "--card", "-", stdin=b"x")
    assert (wrong.code, fake.asked) == (3, [])
    assert "a card is what `tocsin person card` prints" in wrong.err
    add = ("--profile", "releaser-1", "person", "add")
    other = tocsin(*add, "other", "--role", "auditor", "--card", tmp_path / "counsel.card")
    assert (other.code, fake.asked) == (2, [])
    assert "is the card of counsel, not of other" in other.err
    shown = tocsin(*add, "counsel", "--role", "releaser", "--card", tmp_path / "counsel.card")
    assert shown.out == "counsel may act as releaser\n"
    assert f"compare the key with what counsel sees: {KEY}" in shown.err
    assert fake.asked[0].card == (tmp_path / "counsel.card").read_text().strip()


def test_people_are_listed_with_those_who_left(tocsin, desk):
    people = [colleague("analyst-1"), colleague("counsel", v1.PERSON_ROLE_RELEASER, active=False)]
    desk(v1.ListPeopleResponse(people=people, strict=True))
    shown = tocsin("person", "list")
    assert [line.split() for line in shown.out.splitlines()] == [
        ["NAME", "STATE", "ROLES", "KEY"],
        ["analyst-1", "active", "analyst", KEY],
        ["counsel", "left", "releaser", KEY],
    ]
    assert shown.err == "strict: nobody may hold releaser, policy-admin and operator at once\n"


def test_roles_are_changed_as_a_whole(tocsin, desk):
    fake = desk(v1.ChangePersonResponse(person=colleague("analyst-1", v1.PERSON_ROLE_POLICY_ADMIN)))
    shown = tocsin("person", "change", "analyst-1", "--role", "policy-admin")
    assert shown.out == "analyst-1 may act as policy-admin\n"
    assert fake.asked == [v1.ChangePersonRequest(name="analyst-1", roles=[v1.PERSON_ROLE_POLICY_ADMIN])]


def test_whoever_is_removed_may_do_nothing(tocsin, desk):
    fake = desk(v1.RemovePersonResponse(person=colleague(active=False)))
    assert tocsin("person", "remove", "analyst-1").out == "analyst-1 may do nothing any more\n"
    assert fake.asked == [v1.RemovePersonRequest(name="analyst-1")]


def init(tocsin, *more):
    return tocsin("init", ORG, "--kind", "lab", "--name", "Lab A", "--listen", "", *more)


def test_a_home_is_made_with_its_first_person(tocsin, tmp_path):
    told = json.loads(init(tocsin, "--json").out)
    made = load_profile(default_folder("first", ORG))
    assert told == {
        "org": ORG,
        "home": str(tmp_path / "home"),
        "fingerprint": made.load_organisation().fingerprint,
        "person": "first",
        "profile": str(made.folder),
    }
    assert made.is_of(tmp_path / "home")
    assert not [path for path in (tmp_path / "home").rglob("*") if path.name in ("signing.pem", "person.toml")]


def test_a_home_that_cannot_be_made_leaves_the_profile_that_was_there(tocsin, tmp_path):
    init(tocsin)
    before = load_profile(default_folder("first", ORG)).load_signer().key_id
    assert "[HOME_EXISTS]" in init(tocsin).err
    assert "[PROFILE_EXISTS]" in tocsin("--home", tmp_path / "b", *INIT).err
    assert not (tmp_path / "b").exists()
    assert [path.name for path in default_folder("first", ORG).parent.iterdir()] == [f"first@{ORG}"]
    assert load_profile(default_folder("first", ORG)).load_signer().key_id == before


INIT = ("init", ORG, "--kind", "lab", "--name", "Lab A", "--listen", "")


def test_a_profile_of_a_home_that_is_gone_is_moved_aside_by_the_next_one(tocsin, tmp_path):
    init(tocsin)
    (tmp_path / "home").rename(tmp_path / "moved")
    assert tocsin("init", "lab-b.example", *INIT[2:], "--person", "other").code == 0
    names = sorted(path.name for path in default_folder("first", ORG).parent.iterdir())
    assert names == [f"first@{ORG}.replaced", "other@lab-b.example"]


def test_a_profile_may_be_somewhere_else(tocsin, tmp_path):
    init(tocsin, "--profile", tmp_path / "keys", "--person", "operator")
    assert load_profile(tmp_path / "keys").name == "operator"
    shown = tocsin("status")
    assert shown.code == 9
    assert "[PROFILE_MISSING]" in shown.err
    assert "[NODE_NOT_RUNNING]" in tocsin("--profile", tmp_path / "keys", "status").err


def test_whoever_owns_the_home_gives_lost_keys_anew(tocsin):
    init(tocsin)
    before = load_profile(default_folder("first", ORG))
    lost = before.load_signer().key_id
    shown = tocsin("person", "recover", "first", "--json")
    told = json.loads(shown.out)
    assert told["roles"] == ["analyst", "auditor", "operator", "policy-admin", "releaser"]
    assert load_profile(before.folder).load_signer().key_id == told["key_id"] != lost


def test_somebody_unknown_is_not_recovered_while_there_is_an_operator(tocsin):
    init(tocsin)
    shown = tocsin("person", "recover", "nobody")
    assert shown.code == 6
    assert "[NOT_FOUND]" in shown.err
    assert [profile.name for profile in load_profiles()] == ["first"]


def test_nothing_is_recovered_where_there_is_no_home(tocsin):
    assert "[HOME_MISSING]" in tocsin("person", "recover", "first").err
    assert load_profiles() == ()
