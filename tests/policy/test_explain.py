from dataclasses import replace

import pytest

from tests.policy.holdings import (
    FINDING,
    NOW,
    OTHER,
    PARTNER,
    THIRD,
    floor,
    holding,
    never,
    policy,
    require,
    share,
    when,
)
from tests.policy.test_decide import FAILS, FINDINGS, HOLDS, UNKNOWABLE
from tocsin.policy.decide import Denial, decide
from tocsin.policy.explain import Explanation, explain
from tocsin.records.envelope import Downgrade
from tocsin.schema.contract import Disclosure


def ask(record=None, **changes) -> Explanation:
    arguments = {
        "partner": PARTNER,
        "policy": policy(share(name="open", line=6, reveal=frozenset({"prompts"}), reason="trade_secret")),
        "floor": floor(),
        "recipients": frozenset(),
        "granted": frozenset(),
        "now": NOW,
    } | changes
    record = record or holding()
    explanation = explain(record, **arguments)
    assert explanation.decision == decide(record, **arguments)
    return explanation


def received(content=None, **envelope):
    """Make a record of a third organisation, which lets others pass it on."""
    return holding(content, **{"issuer": THIRD, "relay": "community"} | envelope)


def whys(explanation: Explanation) -> dict[str, str]:
    return {field.path: field.why for field in explanation.fields}


def test_every_field_has_its_verdict_in_the_order_of_the_contract():
    content = FINDING | {"new": {"deep": 1}}
    rules = policy(share(line=6, classes=Disclosure.COMMUNITY, withhold=frozenset({"summary"}), reason="privilege"))
    rules = replace(rules, shares=tuple(replace(each, name_withheld=True) for each in rules.shares))
    explanation = ask(holding(content), policy=rules, floor=floor(never(fields=frozenset({"poc"}), reason="embargo")))
    assert [(field.path, field.shared, field.why, field.reason) for field in explanation.fields] == [
        ("title", True, "the rule shares up to class COMMUNITY", ""),
        ("finding_kind", True, "open in every record", ""),
        ("severity", True, "the rule shares up to class COMMUNITY", ""),
        ("subjects[*].kind", True, "the rule shares up to class COMMUNITY", ""),
        ("subjects[*].name", False, "the rule shares only up to class COMMUNITY", "privilege"),
        ("subjects[*].version", False, "the rule shares only up to class COMMUNITY", "privilege"),
        ("subjects[*].checkpoint", False, "only for named recipients, and the rule does not reveal it", "privilege"),
        ("summary", False, "the rule withholds it", "privilege"),
        ("details", False, "the rule shares only up to class COMMUNITY", "privilege"),
        ("hazard_category", True, "the rule shares up to class COMMUNITY", ""),
        ("prompts", False, "only for named recipients, and the rule does not reveal it", "privilege"),
        ("poc", False, "taken away by 'stop' at floor.toml:2", "embargo"),
        ("infohazard_detail", False, "never leaves the node", ""),
        ("discoverers[*].name", False, "never leaves the node", ""),
        ("evidence[*].name", False, "only for named recipients, and the rule does not reveal it", "privilege"),
        ("evidence[*].custody", False, "never leaves the node", ""),
        ("new", False, "unknown to the contract, so it never leaves the node", ""),
        ("new.deep", False, "unknown to the contract, so it never leaves the node", ""),
    ]
    assert explanation.fields[0].disclosure is Disclosure.COMMUNITY
    assert explanation.fields[-1].disclosure is None


def test_a_reason_that_the_partner_is_not_told_is_not_shown_as_told():
    fields = ask().fields
    assert [field.reason for field in fields if not field.shared]
    assert {field.reason for field in fields} == {""}


def test_a_named_recipient_is_said_to_be_one():
    assert whys(ask())["prompts"] == "only for named recipients, and the partner is not named for this record"
    for named in ({"recipients": frozenset({PARTNER})}, {"granted": frozenset({"prompts"})}):
        assert whys(ask(**named))["prompts"] == "the rule reveals it, and lab-b.example is named for it"


def test_what_would_let_more_go_is_said_once_for_each_cause():
    rules = policy(
        share(line=6, classes=Disclosure.COMMUNITY, reveal=frozenset({"prompts"}), withhold=frozenset({"summary"}))
    )
    assert ask(policy=rules).hints == (
        "subjects[*].name, subjects[*].version, details: would be shared "
        "if `classes` at lab-b.example.toml:6 were PARTNER",
        "summary: would be shared if not named in `withhold` at lab-b.example.toml:6",
        "subjects[*].checkpoint, poc, evidence[*].name: would be shared if named in `reveal` at lab-b.example.toml:6, "
        "and lab-b.example for the record",
        "prompts: would be shared if lab-b.example were named for the record: `post --to lab-b.example`, or `reveal`",
    )


def test_what_the_floor_takes_away_no_rule_can_share():
    taken = ask(floor=floor(never(fields=frozenset({"prompts"})))).hints
    assert not any("prompts" in hint for hint in taken)


@pytest.mark.parametrize(
    ("hints", "changes"),
    [
        ({"run `tocsin policy check` and put floor.toml in order"}, {"floor": None}),
        ({"run `tocsin policy check`: it says what is wrong with lab-b.example.toml, or that it is missing"},
         {"policy": None}),
        ({"it would go by an agreement that is renewed: `expires` in lab-b.example.toml"},
         {"policy": policy(share(), expires=NOW)}),
        ({"ask as of a time after 2027-01-15T08:00:00Z, when the record was signed; if it is now, set the clock",
          "will be shared from 2027-01-15T07:55:00Z"}, {"now": NOW - 301}),
        ({"it would be weighed if lab-b.example were among its recipients: `post --to lab-b.example`"},
         {"recipients": frozenset({OTHER})}),
        ({"it would be weighed if lab-a.example had signed `relay = community` into it"}, {"own": False}),
        ({"lab-b.example.toml has no [[share]] rule in force: it shares nothing"}, {"policy": policy()}),
        ({"it would be weighed if the rule 'stop' at floor.toml:2 did not cover it"}, {"floor": floor(never())}),
        ({"ask for numbers and times first in the condition at lab-b.example.toml:9: has(content.…) && …"},
         {"policy": policy(share(condition=UNKNOWABLE, kinds=FINDINGS, line=9))}),
        ({"it would go if the rule at lab-b.example.toml:9 shared at least one more of its fields"},
         {"policy": policy(share(classes=Disclosure.ALWAYS, line=9))}),
        (
            {
                "'kinds' at lab-b.example.toml:1 does not cover it: it is about incident, and this is of kind finding",
                "'marking' at lab-b.example.toml:2 does not cover it: it covers up to TLP:CLEAR, and this is TLP:GREEN",
                "'when' at lab-b.example.toml:3 does not cover it: its condition does not hold: severity == \"low\"",
                "would be shared if tlp were CLEAR",
                "would be shared if severity were low",
            },
            {"policy": policy(
                share(name="kinds", line=1, kinds=frozenset({"incident"})),
                share(name="marking", line=2, max_tlp="CLEAR"),
                share(name="when", line=3, kinds=FINDINGS, condition=FAILS),
            )},
        ),
    ],
)  # fmt: skip
def test_a_denial_says_what_would_change_it(hints, changes):
    explanation = ask(**changes)
    assert set(explanation.hints) == hints
    assert not any(field.shared for field in explanation.fields)
    assert whys(explanation)["title"] == "the record does not go"
    assert whys(explanation)["infohazard_detail"] == "never leaves the node"


OTHERS = share(name="others", line=7, max_tlp="GREEN", classes=Disclosure.COMMUNITY, relayed=True)


@pytest.mark.parametrize(
    ("why", "hints", "record", "rules"),
    [
        pytest.param(Denial.ITS_ORIGIN, set(), received(issuer=PARTNER), [OTHERS], id="to its origin"),
        pytest.param(
            Denial.NOT_RELAYED,
            {"it would be weighed if university.example had signed `relay = community` into it"},
            received(relay="none"),
            [OTHERS],
            id="not allowed by its origin",
        ),
        pytest.param(
            Denial.RELAYED_TLP,
            {"would be shared if tlp were GREEN", "will be shared from 2027-01-16T08:00:00Z"},
            received(tlp="AMBER", downgrade_at=(Downgrade("2027-01-16T08:00:00Z", "GREEN"),)),
            [OTHERS],
            id="a marking above green",
        ),
        pytest.param(
            Denial.NO_RULE,
            {
                "'own' at lab-b.example.toml:6 does not cover it: "
                "it is about our own records, and this is university.example's"
            },
            received(),
            [share(name="own", line=6)],
            id="no rule about records of others",
        ),
        pytest.param(
            Denial.CONDITION_UNKNOWN,
            {"ask for numbers and times first in the condition at lab-b.example.toml:7: has(content.…) && …"},
            received({"title": "t"}),
            [replace(OTHERS, condition=HOLDS, kinds=FINDINGS)],
            id="a condition that reads what its origin withheld from us",
        ),
    ],
)
def test_why_a_record_of_others_is_not_passed_on_is_said(why, hints, record, rules):
    explanation = ask(record, own=False, policy=policy(*rules))
    assert explanation.decision.denial is why
    assert set(explanation.hints) == hints


def test_what_goes_of_a_record_of_others_is_explained_field_by_field():
    explanation = ask(received(), own=False, policy=policy(replace(OTHERS, classes=Disclosure.ALWAYS)))
    assert explanation.decision.denial is Denial.NOTHING_LEFT
    explanation = ask(received(), own=False, policy=policy(OTHERS))
    assert (explanation.decision.rule, explanation.decision.line, explanation.hints) == ("others", 7, ())
    assert whys(explanation)["title"] == "the rule shares up to class COMMUNITY"
    for path in ("details", "subjects[*].name", "prompts"):
        assert whys(explanation)[path] == "of others' records nothing above class COMMUNITY is passed on"
    assert whys(explanation)["infohazard_detail"] == "never leaves the node"
    assert {field.reason for field in explanation.fields} == {""}


def test_a_rule_about_records_of_others_is_said_not_to_cover_our_own():
    (hint,) = ask(policy=policy(OTHERS)).hints
    assert hint == (
        "'others' at lab-b.example.toml:7 does not cover it: it is about records of others, and this is our own"
    )


def test_a_rule_that_applies_by_its_condition_is_named():
    rules = policy(share(name="held", condition=HOLDS, kinds=FINDINGS), share(name="rest"))
    assert ask(policy=rules).decision.rule == "held"


LATER = NOW + 86_400
LATER_TEXT = "2027-01-16T08:00:00Z"


def embargoed(**embargo) -> dict:
    return FINDING | {"embargo": {"until": LATER_TEXT} | embargo}


@pytest.mark.parametrize(
    ("hint", "record", "changes"),
    [
        pytest.param(
            f"will be shared from {LATER_TEXT}",
            holding(tlp="RED", downgrade_at=(Downgrade(LATER_TEXT, "GREEN"),)),
            {"policy": policy(share(max_tlp="GREEN"))},
            id="a marking that is lowered",
        ),
        pytest.param(f"will be shared from {LATER_TEXT}", holding(embargoed()), {}, id="an embargo that ends"),
        pytest.param(
            f"will be shared from {LATER_TEXT}", holding(), {"floor": floor(never(until=LATER))}, id="a floor that ends"
        ),
        pytest.param(
            f"details: will be shared from {LATER_TEXT}",
            holding(),
            {"policy": policy(share(withhold=frozenset({"details", "prompts"}), withhold_until=LATER))},
            id="fields that are withheld for a time",
        ),
        pytest.param(
            "would be shared if tlp were GREEN",
            holding(tlp="RED"),
            {"policy": policy(share(max_tlp="GREEN"))},
            id="the next lower marking that a rule covers",
        ),
        pytest.param(
            "details: would be shared if tlp were CLEAR",
            holding(),
            {"policy": policy(share(name="all", max_tlp="CLEAR"), share(withhold=frozenset({"details"})))},
            id="fields that a lower marking lets go",
        ),
        pytest.param(
            "would be shared if hazard_category did not have cyber",
            holding(),
            {"floor": floor(never(condition=when('"cyber" in hazard_category'), kinds=FINDINGS))},
            id="a value that the floor looks for",
        ),
        pytest.param(
            "would be shared if hazard_category had cbrn",
            holding(),
            {"policy": policy(share(condition=when('hazard_category.exists(h, h == "cbrn")'), kinds=FINDINGS))},
            id="a value that a list does not have",
        ),
        pytest.param(
            "would be shared if ssvc.exploitation were active",
            holding(),
            {"policy": policy(share(condition=when('ssvc.exploitation == "active"'), kinds=FINDINGS))},
            id="a value inside a group",
        ),
        pytest.param(
            "would be shared if contains_csam were true",
            holding(),
            {"policy": policy(share(condition=when("contains_csam"), kinds=FINDINGS))},
            id="a flag",
        ),
        pytest.param(
            "would be shared if status were disputed",
            holding(),
            {"policy": policy(share(condition=when('status == "disputed"'), kinds=FINDINGS))},
            id="the status",
        ),
        pytest.param(
            f"goes from {LATER_TEXT}: `hold` at lab-b.example.toml:3",
            holding(),
            {"policy": policy(share(hold=86_400))},
            id="a hold",
        ),
        pytest.param(
            "goes when one further person agrees: `approvals` at lab-b.example.toml:3",
            holding(),
            {"policy": policy(share(approvals=1))},
            id="approvals of a rule",
        ),
        pytest.param(
            "goes when 2 further people agree: [[require]] at floor.toml:2",
            holding(),
            {"policy": policy(share(approvals=1)), "floor": floor(require(approvals=2))},
            id="approvals of the floor",
        ),
    ],
)
def test_what_would_change_it_is_tried_and_said(hint, record, changes):
    assert hint in ask(record, **changes).hints


def test_nothing_is_promised_that_does_not_come_true():
    both = {"policy": policy(share(max_tlp="GREEN")), "floor": floor(never())}
    assert not any("shared" in hint for hint in ask(holding(tlp="RED"), **both).hints)
    assert not any("will be" in hint for hint in ask(holding(embargoed(state="lifted"))).hints)
    assert not any("goes" in hint for hint in ask(policy=policy(share(hold=60)), now=NOW + 60).hints)


def test_each_field_says_until_when_it_stays():
    rules = policy(share(withhold=frozenset({"details", "evidence"}), withhold_until=LATER))
    ground = floor(never(fields=frozenset({"title"}), until=LATER + 1), never(fields=frozenset({"summary"})))
    untils = {field.path: field.until for field in ask(policy=rules, floor=ground).fields if not field.shared}
    assert untils["details"] == LATER
    assert untils["title"] == LATER + 1
    assert untils["summary"] == 0
    assert untils["evidence[*].name"] == 0, "it is of class NAMED, and would not go then either"
    assert untils["infohazard_detail"] == 0
