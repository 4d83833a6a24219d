"""What people decide under their signature."""

import pytest

from tests.support.organisations import NOW
from tests.support.people import colleague
from tocsin.encoding import dump_json
from tocsin.errors import MalformedRecord, SignatureMismatch
from tocsin.identity.names import OrgId
from tocsin.people.act import ACT_TYPE, Act, policy_subject, verify_act
from tocsin.records.jws import sign

LAB = OrgId("lab-a.example")
COUNSEL, OTHER = colleague("counsel", LAB), colleague("releaser-2", LAB)


@pytest.mark.parametrize("act", Act)
def test_what_a_person_signed_is_known_to_be_its(act):
    signed = verify_act(COUNSEL.sign(act, "hash"), org=LAB, person=COUNSEL.person())
    assert (signed.person, signed.act, signed.on, signed.at) == ("counsel", act, "hash", NOW)


def test_what_somebody_who_left_signed_is_still_its():
    assert verify_act(COUNSEL.sign(Act.APPROVE, "hash"), org=LAB, person=COUNSEL.person(active=False))


def statement(**changes: object) -> str:
    claims = {"iss": LAB, "sub": "counsel", "iat": NOW, "act": "approve", "on": "hash", **changes}
    return sign(
        dump_json({name: value for name, value in claims.items() if value is not None}),
        typ=ACT_TYPE,
        signer=COUNSEL.signer,
    )


REFUSED = {
    "somebody else's": (lambda: OTHER.sign(Act.APPROVE, "hash"), SignatureMismatch, "BAD_SIGNATURE"),
    "the same person's with other keys": (
        lambda: colleague("counsel", LAB, keys="old").sign(Act.APPROVE, "hash"),
        SignatureMismatch,
        "BAD_SIGNATURE",
    ),
    "for another organisation": (lambda: statement(iss="lab-b.example"), MalformedRecord, "BAD_CLAIM"),
    "in another's name": (lambda: statement(sub="releaser-2"), MalformedRecord, "BAD_CLAIM"),
    "on nothing": (lambda: statement(on=None), MalformedRecord, "BAD_CLAIM"),
    "of an act that is none": (lambda: statement(act="delete"), MalformedRecord, "BAD_CLAIM"),
    "with a claim too many": (lambda: statement(exp=NOW), MalformedRecord, "BAD_CLAIM"),
    "at a time that is none": (lambda: statement(iat="now"), MalformedRecord, "BAD_CLAIM"),
    "a card": (lambda: COUNSEL.card, MalformedRecord, "BAD_TYP"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_statement_is_refused_that_is(case):
    token, error, reason = REFUSED[case]
    with pytest.raises(error) as refused:
        verify_act(token(), org=LAB, person=COUNSEL.person())
    assert refused.value.reason == reason


def test_what_a_set_of_policies_is_signed_by_names_every_file_and_the_set_before():
    files = {"floor.toml": "a", "lab-b.example.toml": "b"}
    subject = policy_subject(files, replaces="")
    assert subject == policy_subject(dict(reversed(files.items())), replaces="")
    others = {
        policy_subject(files, replaces="earlier"),
        policy_subject({**files, "floor.toml": "A"}, replaces=""),
        policy_subject({"floor.toml": "a"}, replaces=""),
        policy_subject({"floor.toml": "b", "lab-b.example.toml": "a"}, replaces=""),
    }
    assert subject not in others
    assert len(others) == 4
