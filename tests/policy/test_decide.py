import pytest

from tests.policy.holdings import FINDING, NOW, OTHER, OURS, PARTNER, floor, holding, never, policy, share, when
from tocsin.policy.decide import Decision, Denial, decide
from tocsin.policy.reach import Cause
from tocsin.schema.contract import TLPS, Disclosure


def ask(record=None, rules=None, ground=None, **changes) -> Decision:
    """Decide with an open rule, an empty floor and nobody named, but for the changes."""
    arguments = {
        "partner": PARTNER,
        "policy": policy(share()) if rules is None else rules,
        "floor": floor() if ground is None else ground,
        "recipients": frozenset(),
        "granted": frozenset(),
        "now": NOW,
    }
    return decide(record or holding(), **arguments | changes)


FINDINGS = frozenset({"finding"})
UNKNOWABLE = when("success_rate.k > 3")  # a number that the record does not have
HOLDS = when('severity == "high"')
FAILS = when('severity == "low"')


def test_an_open_rule_shares_up_to_its_class_and_nothing_that_needs_a_name():
    decision = ask()
    assert decision.delivered
    assert (decision.rule, decision.file, decision.line) == ("open", "lab-b.example.toml", 3)
    assert decision.agreement == "MOU 7"
    assert decision.denial is None
    assert decision.disclosed == {
        "title", "finding_kind", "severity", "summary", "details", "hazard_category",
        "subjects", "subjects[*].kind", "subjects[*].name", "subjects[*].version",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        pytest.param(Denial.NO_FLOOR, {"floor": None}, id="no floor"),
        pytest.param(Denial.NO_FLOOR, {"floor": None, "policy": None}, id="no floor and no policy"),
        pytest.param(Denial.NO_POLICY, {"policy": None}, id="an unknown partner"),
        pytest.param(Denial.NO_POLICY, {"partner": OTHER}, id="the policy of another partner"),
        pytest.param(Denial.EXPIRED, {"policy": policy(share(), expires=NOW)}, id="an agreement that expires now"),
        pytest.param(Denial.EXPIRED, {"policy": policy(share(), expires=0)}, id="an agreement that expired in 1970"),
        pytest.param(Denial.NOT_OWN, {"own": False}, id="a record of a third organisation"),
        pytest.param(Denial.NARROWED, {"recipients": frozenset({OTHER})}, id="narrowed to others"),
        pytest.param(Denial.NO_RULE, {"policy": policy()}, id="a policy without share rules"),
        pytest.param(Denial.NO_RULE, {"policy": policy(share(kinds=frozenset({"incident"})))}, id="another kind"),
        pytest.param(Denial.NO_RULE, {"policy": policy(share(kinds=frozenset()))}, id="a rule for no kind"),
        pytest.param(Denial.NO_RULE, {"policy": policy(share(max_tlp="CLEAR"))}, id="a marking above the rule's"),
        pytest.param(Denial.NO_RULE, {"policy": policy(share(condition=FAILS))}, id="a condition that fails"),
        pytest.param(
            Denial.CONDITION_UNKNOWN,
            {"policy": policy(share(name="first", kinds=FINDINGS, condition=UNKNOWABLE), share())},
            id="an unknown condition, though a later rule would share",
        ),
        pytest.param(Denial.FLOOR, {"floor": floor(never())}, id="a floor that takes all"),
        pytest.param(
            Denial.FLOOR, {"floor": floor(never(condition=HOLDS, kinds=FINDINGS))}, id="the floor's condition"
        ),
        pytest.param(
            Denial.FLOOR, {"floor": floor(never(condition=UNKNOWABLE, kinds=FINDINGS))}, id="unknown counts as a match"
        ),
        pytest.param(
            Denial.NOTHING_LEFT, {"policy": policy(share(classes=Disclosure.ALWAYS))}, id="only plain claims would go"
        ),
    ],
)
def test_nothing_goes(expected, changes):
    decision = ask(**changes)
    assert decision.denial is expected
    assert decision.why == expected
    assert not decision.delivered
    assert decision.disclosed == frozenset()
    assert decision.withheld == decision.told == ()


@pytest.mark.parametrize("most", TLPS)
@pytest.mark.parametrize("marking", TLPS)
def test_a_rule_covers_markings_up_to_its_own(most, marking):
    decision = ask(holding(tlp=marking), policy(share(max_tlp=most)))
    assert decision.delivered is (TLPS.index(marking) <= TLPS.index(most))


@pytest.mark.parametrize("marking", ["", "red", "AMBER STRICT", "WHITE", "CLEAR "])
def test_a_marking_that_nobody_knows_goes_to_nobody(marking):
    assert ask(holding(tlp=marking)).denial is Denial.NO_RULE
    assert never().covers(kind="finding", tlp=marking, partner=PARTNER, now=NOW)


def test_a_kind_that_nobody_knows_goes_to_nobody():
    assert ask(holding(kind="rumour")).denial is Denial.NO_RULE


def test_the_first_rule_that_covers_a_record_applies_also_where_a_later_one_shares_more():
    narrow = share(name="narrow", classes=Disclosure.COMMUNITY)
    decision = ask(rules=policy(share(name="other", condition=FAILS, kinds=FINDINGS), narrow, share()))
    assert decision.rule == "narrow"
    assert "details" not in decision.disclosed


@pytest.mark.parametrize(
    ("expected", "reveal", "recipients", "granted"),
    [
        pytest.param(set(), set(), {PARTNER}, {"prompts"}, id="not revealed by the rule"),
        pytest.param(set(), {"prompts"}, set(), set(), id="revealed, but nobody is named"),
        pytest.param({"prompts"}, {"prompts"}, {PARTNER}, set(), id="revealed, and the partner is named"),
        pytest.param({"prompts"}, {"prompts", "poc"}, {PARTNER, OTHER}, set(), id="and others too"),
        pytest.param({"prompts"}, {"prompts"}, set(), {"prompts"}, id="granted later"),
        pytest.param(set(), {"prompts"}, set(), {"poc"}, id="another field granted"),
        pytest.param(set(), {"poc"}, set(), {"prompts"}, id="granted, but another field revealed"),
        pytest.param({"evidence", "evidence[*].name"}, {"evidence"}, {PARTNER}, set(), id="a group, but LOCAL inside"),
        pytest.param({"evidence", "evidence[*].name"}, {"evidence"}, set(), {"evidence"}, id="a group granted"),
        pytest.param({"subjects[*].checkpoint"}, {"subjects"}, {PARTNER}, set(), id="NAMED inside an open group"),
    ],
)
def test_a_named_field_needs_a_reveal_line_and_a_name(expected, reveal, recipients, granted):
    rules = policy(share(reveal=frozenset(reveal)))
    decision = ask(rules=rules, recipients=frozenset(recipients), granted=frozenset(granted))
    also = {"poc"} if "poc" in reveal and recipients else set()
    assert decision.disclosed - ask().disclosed == expected | also


def test_local_fields_never_go_and_are_never_told():
    local = {"infohazard_detail", "discoverers"}
    rules = policy(share(reveal=frozenset({*local, "evidence"}), name_withheld=True))
    decision = ask(rules=rules, recipients=frozenset({PARTNER}), granted=frozenset(local))
    assert not any(path.startswith(("infohazard", "discoverers", "evidence[*].custody")) for path in decision.disclosed)
    assert not any("infohazard" in found.path or "discoverers" in found.path for found in decision.told)
    assert "evidence[*].custody" not in {found.path for found in decision.withheld}


def test_a_field_of_a_newer_contract_stays_and_is_not_told():
    content = FINDING | {
        "new": "x",
        "subjects": [{"name": "M", "new": {"deep": [1]}}],
        "details": {"sub": [{"x": "s"}]},
    }
    rules = policy(share(name_withheld=True, reveal=frozenset({"new", "subjects"})))
    decision = ask(holding(content), rules, recipients=frozenset({PARTNER}), granted=frozenset({"new", "subjects"}))
    assert not any("new" in path or "sub[" in path for path in decision.disclosed)
    assert not any("new" in found.path for found in decision.withheld)


def test_a_withheld_group_takes_everything_inside_it_along():
    decision = ask(rules=policy(share(withhold=frozenset({"subjects"}))))
    assert not any(path.startswith("subjects") for path in decision.disclosed)
    assert "subjects" in {found.path for found in decision.withheld}


def test_withholding_every_field_of_a_group_hides_the_group():
    paths = frozenset({"subjects[*].kind", "subjects[*].name", "subjects[*].version"})
    decision = ask(rules=policy(share(withhold=paths)))
    assert "subjects" not in decision.disclosed


def test_an_empty_group_does_not_go_alone():
    decision = ask(holding({"title": "t", "subjects": []}))
    assert decision.disclosed == {"title"}


def test_plain_fields_go_with_the_record_whatever_a_rule_says():
    stubborn = policy(share(withhold=frozenset({"finding_kind"})))
    decision = ask(rules=stubborn, ground=floor(never(fields=frozenset({"finding_kind", "details"}))))
    assert "finding_kind" in decision.disclosed
    assert "details" not in decision.disclosed


def test_the_floor_takes_fields_away_from_what_a_rule_shares():
    taken = never(fields=frozenset({"subjects[*].version", "prompts"}), reason="embargo")
    rules = policy(share(reveal=frozenset({"prompts"}), reason="trade_secret"))
    decision = ask(rules=rules, ground=floor(taken), recipients=frozenset({PARTNER}))
    assert not {"subjects[*].version", "prompts"} & decision.disclosed
    assert {found.path: (found.reason, found.why) for found in decision.withheld} == {
        "subjects[*].version": ("embargo", Cause.FLOOR),
        "prompts": ("embargo", Cause.FLOOR),
        "subjects[*].checkpoint": ("trade_secret", Cause.NO_REVEAL),
        "poc": ("trade_secret", Cause.NO_REVEAL),
        "evidence": ("trade_secret", Cause.NO_REVEAL),
    }


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(never(partners=frozenset({OTHER})), id="another partner"),
        pytest.param(never(min_tlp="AMBER"), id="a marking below its own"),
        pytest.param(never(kinds=frozenset({"incident"})), id="another kind"),
        pytest.param(never(condition=FAILS, kinds=FINDINGS), id="a condition that fails"),
    ],
)
def test_a_rule_of_the_floor_leaves_alone_what_it_does_not_cover(rule):
    assert ask(ground=floor(rule)) == ask()


def test_every_matching_rule_of_the_floor_counts():
    first = never(fields=frozenset({"details"}))
    assert ask(ground=floor(first, never(name="all"))).rule == "all"


def test_a_hidden_group_is_told_once_and_with_a_reason_only_if_it_holds_for_all_of_it():
    content = {"title": "t", "evidence": [{"name": "n", "media_type": "text/plain", "description": "d"}]}
    rules = policy(share(reason="privilege", name_withheld=True))
    assert [(found.path, found.reason) for found in ask(holding(content), rules).told] == [("evidence", "privilege")]
    mixed = floor(never(fields=frozenset({"evidence[*].name"}), reason="personal_data"))
    assert [(found.path, found.reason) for found in ask(holding(content), rules, mixed).told] == [("evidence", "")]


def test_what_is_withheld_is_told_only_where_the_policy_says_so():
    silent, open_ = (ask(rules=policy(share(name_withheld=flag))) for flag in (False, True))
    assert silent.withheld == open_.withheld != ()
    assert silent.told == ()
    assert open_.told == open_.withheld


def test_the_envelope_can_be_asked_for():
    condition = when(f'iss == "{OURS}" && tlp == "GREEN" && status == "issued" && kind == "finding"')
    assert ask(rules=policy(share(condition=condition, kinds=FINDINGS))).delivered
    assert not ask(holding(status="disputed"), policy(share(condition=condition, kinds=FINDINGS))).delivered
