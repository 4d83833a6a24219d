"""The policies in force: believed under the signature of who applied them, and under no other circumstances."""

from dataclasses import replace

import pytest

from tests.desk.conftest import AISI, LAB_A, LAB_B, SHARING
from tests.support.organisations import NOW
from tests.support.people import colleague
from tocsin.desk.inforce import adopt_starter, files_in_force, load_in_force, put_in_force
from tocsin.errors import Conflict, Malformed, MalformedPolicy, SignatureMismatch, StateConflict, TocsinError
from tocsin.people.act import Act, policy_subject, sign_act
from tocsin.people.person import Role
from tocsin.policy.starter import starter_floor, starter_policy
from tocsin.store.model import AuditFilter

FILES = {"floor.toml": starter_floor(), f"{LAB_B}.toml": SHARING.format(partner=LAB_B)}


def loaded(office):
    return load_in_force(office.home.store, office.home.organisation)


def put(office, files=FILES, *, by=None, act=Act.APPLY_POLICIES, on="", replaces=None):
    """Put files in force, or try to with a statement that differs in one thing."""
    by = by or office.first
    before = office.home.store.policies.latest()
    subject = on or policy_subject(files, replaces=before.subject if replaces is None else replaces)
    return put_in_force(
        office.home.store,
        files,
        statement=by.sign(act, subject),
        person=office.home.store.people.get(by.name),
        organisation=office.home.organisation,
        log=office.home.log,
        now=NOW,
    )


def tamper(office, **changes):
    """Write a row behind the one in force, as somebody with the store open could."""
    office.home.store.policies.put(replace(office.home.store.policies.latest(), **changes))


def is_nothing(policies):
    return policies.floor is None and not policies.policies and bool(policies.problems)


def test_a_new_home_has_its_floor_in_force_under_the_founders_signature(root, open_office):
    office = open_office(root)
    assert dict(files_in_force(office.home.store)) == {"floor.toml": starter_floor()}
    assert loaded(office).floor is not None
    assert loaded(office).problems == ()


def test_what_is_put_in_force_counts_and_is_in_the_decision_log(office):
    put(office, FILES)
    assert [share.name for share in loaded(office).policies[LAB_B].shares] == ["findings"]
    row = office.home.store.audit.list(AuditFilter(act="policy-applied"), limit=1, newest_first=True)[0]
    assert row.person == "first"
    assert loaded(office).policies[LAB_B].digest in row.body
    assert "findings" not in row.body


def test_the_same_set_is_parsed_once_and_verified_each_time(office):
    assert loaded(office) is loaded(office)
    tamper(office, statement=office.first.sign(Act.APPROVE, office.home.store.policies.latest().subject))
    assert is_nothing(loaded(office))


TAMPERED = {
    "a signed file says something else": {"files": {**FILES, f"{LAB_B}.toml": SHARING.format(partner=LAB_B) + "# x\n"}},
    "a signed file is gone": {"files": {"floor.toml": starter_floor()}},
    "a file that nobody signed": {"files": {**FILES, f"{AISI}.toml": SHARING.format(partner=AISI)}},
    "a starter for another partner": {"files": {**FILES, f"{AISI}.toml": starter_policy("lab-c.example")}},
    "a signed file is called unsigned": {"signed": frozenset({"floor.toml"})},
    "another set before": {"replaces": "x" * 43},
    "another subject's statement": {
        "statement": colleague("first", LAB_A).sign(Act.APPLY_POLICIES, policy_subject({}, replaces=""))
    },
    "a statement for something else": {"statement": colleague("first", LAB_A).sign(Act.APPROVE, "x" * 43)},
    "somebody else's signature": {"statement": colleague("eve", LAB_A).sign(Act.APPLY_POLICIES, "x" * 43)},
    "a person that nobody knows": {"person": "eve"},
    "no statement": {"statement": ""},
}


@pytest.mark.parametrize("case", TAMPERED)
def test_nothing_is_in_force_where_there_is(office, case):
    put(office, FILES)
    record = office.post()
    assert list(record.queued_for) == [LAB_B]
    tamper(office, **TAMPERED[case])
    assert is_nothing(loaded(office))
    assert list(office.post().queued_for) == []


def test_a_home_without_a_set_says_so_and_shares_nothing(office):
    class Empty:
        policies = type("Shelf", (), {"latest": lambda self: None})()

    policies = load_in_force(Empty(), office.home.organisation)
    assert is_nothing(policies)
    assert "policy apply" in policies.problems[0].message


def test_who_left_has_signed_all_the_same(office):
    person, keys = office.admit("counsel", Role.POLICY_ADMIN)
    put(office, FILES, by=keys)
    office.home.store.people.remove(person.name)
    assert loaded(office).floor is not None


def test_new_keys_of_a_person_end_what_the_old_ones_signed(office):
    _, keys = office.admit("counsel", Role.POLICY_ADMIN)
    put(office, FILES, by=keys)
    office.home.store.people.replace(colleague("counsel", LAB_A, keys="new").person(Role.POLICY_ADMIN))
    assert is_nothing(loaded(office))


REFUSED: dict[str, tuple[dict[str, object], type[TocsinError], str]] = {
    "a statement on other files": ({"on": policy_subject({}, replaces="")}, Conflict, "CONFLICT"),
    "a set that was replaced since": ({"replaces": ""}, Conflict, "CONFLICT"),
    "an approval": ({"act": Act.APPROVE}, Conflict, "CONFLICT"),
    "a file with a problem": ({"files": {**FILES, "floor.toml": "[[nevr]]\n"}}, MalformedPolicy, "BAD_POLICY"),
    "no floor": ({"files": {f"{LAB_B}.toml": SHARING.format(partner=LAB_B)}}, MalformedPolicy, "BAD_POLICY"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_in_force_stays_in_force_after(office, case):
    changes, error, reason = REFUSED[case]
    before, log = office.home.store.policies.latest(), office.home.store.audit.head()
    with pytest.raises(error) as refused:
        put(office, **changes)
    assert refused.value.reason == reason
    assert office.home.store.policies.latest() == before
    assert office.home.store.audit.head() == log


def test_a_refused_set_names_every_problem_with_its_place(office):
    with pytest.raises(MalformedPolicy) as refused:
        put(office, {"floor.toml": "[[nevr]]\n", f"{LAB_B}.toml": 'partner = "x"\n'})
    assert [line.partition(":")[0] for line in refused.value.details] == [
        "policies/floor.toml",
        f"policies/{LAB_B}.toml",
    ]
    assert refused.value.details[0].splitlines()[1:] == ["  | [[nevr]]", "  | ^"], "with a caret, as check shows it"


def test_a_signature_by_other_keys_puts_nothing_in_force(office):
    eve = replace(colleague("eve", LAB_A), name="first")
    with pytest.raises(SignatureMismatch):
        put(office, FILES, by=eve)


def test_a_statement_for_another_organisation_puts_nothing_in_force(office):
    subject = policy_subject(FILES, replaces=office.home.store.policies.latest().subject)
    foreign = sign_act(Act.APPLY_POLICIES, on=subject, org=LAB_B, person="first", signer=office.first.signer, now=NOW)
    with pytest.raises(Malformed):
        put_in_force(
            office.home.store,
            FILES,
            statement=foreign,
            person=office.me,
            organisation=office.home.organisation,
            log=office.home.log,
            now=NOW,
        )


def test_an_old_set_cannot_be_brought_back_with_its_old_signature(office):
    put(office, FILES)
    old = office.home.store.policies.latest()
    put(office, {"floor.toml": starter_floor()})
    with pytest.raises(StateConflict):
        put_in_force(
            office.home.store,
            old.files,
            statement=old.statement,
            person=office.me,
            organisation=office.home.organisation,
            log=office.home.log,
            now=NOW,
        )


def test_a_starter_counts_without_a_signature_and_leaves_what_is_there(office):
    put(office, FILES)
    adopt_starter(office.home.store, AISI, now=NOW)
    adopt_starter(office.home.store, LAB_B, now=NOW)
    policies = loaded(office)
    assert policies.policies[AISI].shares == ()
    assert policies.policies[AISI].accept is not None
    assert [share.name for share in policies.policies[LAB_B].shares] == ["findings"]


def test_a_starter_that_came_since_neither_hinders_a_plan_nor_ends_with_it(office):
    planned = policy_subject(FILES, replaces=office.home.store.policies.latest().subject)
    adopt_starter(office.home.store, AISI, now=NOW)
    put(office, FILES, on=planned)
    assert loaded(office).policies[AISI].shares == ()
    assert loaded(office).policies[AISI].accept is not None
