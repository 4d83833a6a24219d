from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.policy.holdings import (
    FINDING,
    NOW,
    OTHER,
    OURS,
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
from tocsin.policy.decide import Decision, Denial, decide
from tocsin.policy.model import PolicySet
from tocsin.policy.reach import Cause
from tocsin.records.envelope import Downgrade
from tocsin.schema.contract import TLPS, Disclosure


def stamp(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def embargoed(*, until: int = NOW + 1, **embargo):
    return holding(FINDING | {"embargo": {"until": stamp(until)} | embargo})


STEPS = (Downgrade(stamp(NOW + 10), "GREEN"), Downgrade(stamp(NOW + 20), "CLEAR"))


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
        pytest.param(Denial.NOT_RELAYED, {"own": False}, id="a record of a third organisation"),
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
        pytest.param(Denial.CLOCK, {"now": NOW - 301}, id="a clock that is before the record"),
        pytest.param(Denial.CLOCK, {"now": 0, "floor": None}, id="no clock, whatever else is missing"),
        pytest.param(Denial.RETENTION, {"record": holding(retention_until=stamp(NOW))}, id="past its retention"),
        pytest.param(Denial.EMBARGOED, {"record": embargoed()}, id="under embargo"),
        pytest.param(Denial.EMBARGOED, {"record": embargoed(state="proposed")}, id="an embargo that is proposed"),
        pytest.param(
            Denial.EMBARGOED,
            {"record": embargoed(state="agreed"), "granted": frozenset({"prompts"})},
            id="under embargo, though a field was granted",
        ),
        pytest.param(
            Denial.NO_RULE,
            {"record": holding(tlp="AMBER", downgrade_at=STEPS), "policy": policy(share(max_tlp="GREEN"))},
            id="a marking that is not lowered yet",
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


OTHERS = share(name="others", max_tlp="GREEN", classes=Disclosure.COMMUNITY, relayed=True)
FOR_THE_COMMUNITY = {
    "title", "finding_kind", "severity", "summary", "hazard_category", "subjects", "subjects[*].kind",
}  # fmt: skip


def received(content=None, **envelope):
    """Make a record of a third organisation, which lets others pass it on."""
    return holding(content, **{"issuer": THIRD, "relay": "community"} | envelope)


def pass_on(record=None, *rules, ground=None, **changes) -> Decision:
    """Ask about a record of a third organisation, with an open rule about such records but for the changes."""
    return ask(record or received(), policy(*(rules or (OTHERS,))), ground, own=False, **changes)


def test_what_is_passed_on_is_what_its_origin_lets_the_community_have():
    decision = pass_on()
    assert (decision.rule, decision.denial) == ("others", None)
    assert decision.disclosed == FOR_THE_COMMUNITY
    assert decision.told == ()


@pytest.mark.parametrize("classes", [Disclosure.COMMUNITY, Disclosure.PARTNER])
def test_no_line_of_a_rule_passes_on_more(classes):
    wide = replace(OTHERS, classes=classes, max_tlp="RED", reveal=frozenset({"prompts", "evidence"}))
    wide = replace(wide, name_withheld=True)
    named = {"recipients": frozenset(), "granted": frozenset({"prompts", "evidence", "details"})}
    decision = pass_on(None, wide, **named)
    assert decision.disclosed == FOR_THE_COMMUNITY
    assert decision.told == ()
    assert pass_on(received(tlp="AMBER"), wide).denial is Denial.RELAYED_TLP


@pytest.mark.parametrize(
    ("expected", "record", "changes"),
    [
        pytest.param(Denial.NOT_RELAYED, received(relay="none"), {}, id="its origin says no"),
        pytest.param(Denial.NOT_RELAYED, received(relay=""), {}, id="its origin says nothing"),
        pytest.param(Denial.NOT_RELAYED, received(relay="Community"), {}, id="a word that nobody knows"),
        pytest.param(Denial.ITS_ORIGIN, received(issuer=PARTNER), {}, id="to its origin"),
        pytest.param(Denial.RELAYED_TLP, received(tlp="AMBER"), {}, id="TLP:AMBER"),
        pytest.param(Denial.RELAYED_TLP, received(tlp="RED"), {}, id="TLP:RED"),
        pytest.param(Denial.RELAYED_TLP, received(tlp="WHITE"), {}, id="a marking that nobody knows"),
        pytest.param(
            Denial.RELAYED_TLP, received(tlp="AMBER", downgrade_at=STEPS), {}, id="a marking that is not lowered yet"
        ),
        pytest.param(
            Denial.EMBARGOED,
            received(FINDING | {"embargo": {"until": stamp(NOW + 1)}}),
            {},
            id="an embargo, though we were named for it",
        ),
        pytest.param(Denial.NARROWED, received(), {"recipients": frozenset({PARTNER})}, id="nobody names for others"),
        pytest.param(Denial.NO_RULE, received(), {"policy": policy(share())}, id="rules about our own records"),
        pytest.param(Denial.NO_RULE, received(), {"policy": policy()}, id="no rule"),
        pytest.param(
            Denial.CONDITION_UNKNOWN,
            received({"title": "t"}),
            {"policy": policy(replace(OTHERS, condition=FAILS, kinds=FINDINGS), replace(OTHERS, name="next"))},
            id="a condition on what its origin withheld from us",
        ),
        pytest.param(Denial.FLOOR, received(), {"floor": floor(never())}, id="a floor that takes all"),
        pytest.param(
            Denial.FLOOR,
            received({"title": "t"}),
            {"floor": floor(never(condition=FAILS, kinds=FINDINGS))},
            id="a floor that asks for what its origin withheld from us",
        ),
        pytest.param(
            Denial.NOTHING_LEFT, received({"details": "d"}), {}, id="nothing that is for the community"
        ),
    ],
)  # fmt: skip
def test_nothing_is_passed_on(expected, record, changes):
    decision = ask(record, **{"policy": policy(OTHERS), "own": False} | changes)
    assert decision.denial is expected
    assert decision.disclosed == frozenset()


def test_a_record_is_passed_on_from_the_moment_at_which_its_marking_allows_it():
    record = received(tlp="AMBER", downgrade_at=STEPS)
    assert pass_on(record).wider_at == NOW + 10
    assert pass_on(record, now=NOW + 10).delivered


def test_a_rule_about_records_of_others_says_nothing_about_our_own():
    assert ask(rules=policy(OTHERS)).denial is Denial.NO_RULE
    assert ask(rules=policy(OTHERS, share())).rule == "open"
    assert pass_on(None, share(), OTHERS).rule == "others"


def test_what_is_passed_on_waits_as_our_own_does_and_loses_to_the_floor():
    ground = floor(require(approvals=2), never(fields=frozenset({"summary"})))
    decision = pass_on(None, replace(OTHERS, hold=3600), ground=ground)
    assert (decision.not_before, decision.approvals) == (NOW + 3600, 2)
    assert FOR_THE_COMMUNITY - decision.disclosed == {"summary"}


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


def test_a_clock_that_is_a_little_slow_is_no_reason():
    assert ask(now=NOW - 300).delivered


@pytest.mark.parametrize(
    ("record", "recipients"),
    [
        pytest.param(embargoed(), {PARTNER}, id="the partner is named for the record"),
        pytest.param(embargoed(until=NOW), (), id="it ends now"),
        pytest.param(embargoed(state="lifted"), (), id="it is lifted"),
        pytest.param(embargoed(state="broken"), (), id="it is broken"),
        pytest.param(holding(FINDING | {"embargo": {"state": "agreed"}}), (), id="it has no end: a rule must look"),
    ],
)
def test_an_embargo_does_not_keep_a_record_from_everybody_for_ever(record, recipients):
    assert ask(record, recipients=frozenset(recipients)).delivered


@pytest.mark.parametrize(("rule", "after"), [("wide", 20), ("middle", 10), ("narrow", 0)])
def test_the_marking_of_today_counts(rule, after):
    rules = policy(
        share(name="wide", max_tlp="CLEAR"), share(name="middle", max_tlp="GREEN"), share(name="narrow", max_tlp="RED")
    )
    assert ask(holding(tlp="AMBER", downgrade_at=STEPS), rules, now=NOW + after).rule == rule


def test_conditions_and_the_floor_see_the_marking_of_today():
    record = holding(tlp="AMBER", downgrade_at=STEPS)
    rules = policy(share(condition=when('tlp == "GREEN"'), kinds=FINDINGS))
    assert [ask(record, rules, now=NOW + after).delivered for after in (0, 10, 20)] == [False, True, False]
    ground = floor(never(min_tlp="GREEN"))
    assert [ask(record, ground=ground, now=NOW + after).delivered for after in (0, 10, 20)] == [False, False, True]


def test_a_record_waits_for_its_hold_and_for_people():
    decision = ask(rules=policy(share(hold=3600, approvals=2)))
    assert (decision.not_before, decision.approvals) == (NOW + 3600, 2)
    assert (ask().not_before, ask().approvals) == (0, 0)


@pytest.mark.parametrize(
    ("approvals", "rules"),
    [
        (2, [require(approvals=2)]),
        (3, [require(approvals=2), require(approvals=3)]),
        (1, [require(approvals=1)]),
        (2, [require(approvals=2, min_tlp="GREEN")]),
        (1, [require(approvals=2, min_tlp="AMBER")]),
        (1, [require(approvals=2, kinds=frozenset({"incident"}))]),
        (1, [require(approvals=2, partners=frozenset({OTHER}))]),
        (2, [require(approvals=2, partners=frozenset({PARTNER}))]),
        (2, [require(approvals=2, condition=HOLDS)]),
        (1, [require(approvals=2, condition=FAILS)]),
        (2, [require(approvals=2, condition=UNKNOWABLE)]),
    ],
)
def test_the_larger_demand_for_people_counts(approvals, rules):
    assert ask(rules=policy(share(approvals=1)), ground=floor(*rules)).approvals == approvals


def test_a_marking_that_nobody_knows_asks_for_people_like_the_highest():
    assert require(min_tlp="RED").covers(kind="finding", tlp="WHITE", partner=PARTNER)


def test_what_is_withheld_for_a_time_goes_when_it_is_over_and_the_partner_is_told_when():
    end = NOW + 100
    rules = policy(share(withhold=frozenset({"details", "prompts"}), withhold_until=end, name_withheld=True))
    told = {found.path: found.until for found in ask(rules=rules).told}
    assert told == {"details": end, "prompts": 0, "poc": 0, "evidence": 0, "subjects[*].checkpoint": 0}
    assert ask(rules=rules, now=end).disclosed - ask(rules=rules, now=end - 1).disclosed == {"details"}


def test_a_moment_is_told_only_where_nothing_else_keeps_the_field():
    fields = frozenset({"details", "title"})
    rules = policy(share(withhold=fields, withhold_until=NOW + 5))
    ground = floor(never(fields=frozenset({"details"}), until=NOW + 9), never(fields=frozenset({"title"})))
    untils = {found.path: found.until for found in ask(rules=rules, ground=ground).withheld}
    assert (untils["details"], untils["title"]) == (NOW + 9, 0)


def test_a_rule_of_the_floor_ends_when_it_says():
    ground = floor(never(until=NOW + 5))
    assert [ask(ground=ground, now=NOW + after).delivered for after in (4, 5)] == [False, True]


@pytest.mark.parametrize(
    ("wider_at", "valid_until", "changes"),
    [
        pytest.param(None, None, {}, id="nothing changes by itself"),
        pytest.param(NOW - 300, NOW - 300, {"now": NOW - 400}, id="the clock comes to the record"),
        pytest.param(NOW + 1, NOW + 1, {"record": embargoed()}, id="an embargo ends"),
        pytest.param(
            None, NOW + 1, {"record": embargoed(), "recipients": frozenset({PARTNER})}, id="an embargo it is named in"
        ),
        pytest.param(NOW + 10, NOW + 10, {"record": holding(tlp="AMBER", downgrade_at=STEPS)}, id="a lower marking"),
        pytest.param(
            NOW + 20, NOW + 20, {"record": holding(tlp="AMBER", downgrade_at=STEPS), "now": NOW + 10}, id="the next"
        ),
        pytest.param(None, NOW + 7, {"record": holding(retention_until=stamp(NOW + 7))}, id="it may not be kept"),
        pytest.param(None, NOW + 7, {"rules": policy(share(), expires=NOW + 7)}, id="the agreement expires"),
        pytest.param(NOW + 7, NOW + 7, {"ground": floor(never(until=NOW + 7))}, id="a rule of the floor ends"),
        pytest.param(
            NOW + 7,
            NOW + 7,
            {"rules": policy(share(withhold=frozenset({"details"}), withhold_until=NOW + 7))},
            id="fields are withheld for a time",
        ),
        pytest.param(
            None, NOW + 7,
            {"rules": policy(share(), share(withhold=frozenset({"details"}), withhold_until=NOW + 7))},
            id="by a rule that is not asked",
        ),
        pytest.param(
            None, NOW + 10,
            {"record": holding(tlp="AMBER", downgrade_at=STEPS), "rules": policy(share(), expires=NOW)},
            id="no marking mends an agreement that has expired",
        ),
    ],
)  # fmt: skip
def test_a_decision_says_when_it_may_be_another(wider_at, valid_until, changes):
    decision = ask(changes.pop("record", None), **changes)
    assert (decision.wider_at, decision.valid_until) == (wider_at, valid_until)


def of(*shares, **changes) -> PolicySet:
    return PolicySet({PARTNER: policy(*shares, **changes)}, floor(), ())


WHO = {"partner": PARTNER, "recipients": frozenset(), "granted": frozenset()}


def test_a_set_of_files_decides_once_and_remembers():
    policies, record = of(share()), holding()
    first = policies.decide(record, **WHO, now=NOW)
    assert first == decide(record, **WHO, now=NOW, policy=policies.policies[PARTNER], floor=policies.floor)
    assert policies.decide(record, **WHO, now=NOW + 9) is first
    assert policies.decide(replace(record), **WHO, now=NOW) is first, "the same record, read again"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"partner": OTHER}, id="another partner"),
        pytest.param({"recipients": frozenset({OTHER})}, id="narrowed"),
        pytest.param({"granted": frozenset({"prompts"})}, id="granted more"),
        pytest.param({"now": NOW + 10}, id="the rule's fields are not withheld any more"),
        pytest.param({"now": NOW - 301}, id="a clock that was set back"),
        pytest.param({"own": False}, id="not ours"),
    ],
)
def test_what_a_decision_depends_on_is_asked_again(changes):
    rule = share(reveal=frozenset({"prompts"}), withhold=frozenset({"details"}), withhold_until=NOW + 10)
    policies, record = of(rule), holding()
    first = policies.decide(record, **WHO, now=NOW)
    asked = {**WHO, "now": NOW} | changes
    again = policies.decide(record, **asked)
    rules = policies.policies.get(asked["partner"])
    assert again == decide(record, **asked, policy=rules, floor=policies.floor)
    assert again != first


def test_another_version_of_a_record_is_another_question():
    policies = of(share(condition=HOLDS, kinds=FINDINGS))
    low = FINDING | {"severity": "low"}
    assert policies.decide(holding(), **WHO, now=NOW).delivered
    assert not policies.decide(holding(low), **WHO, now=NOW).delivered
