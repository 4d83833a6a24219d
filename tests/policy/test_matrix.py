import pytest

from tests.policy.holdings import NOW, OTHER, PARTNER, floor, never, policy, require, share
from tests.policy.test_decide import FAILS, FINDINGS
from tocsin.policy.matrix import Cell, changed_cells, matrix
from tocsin.policy.model import PolicySet
from tocsin.schema.contract import KINDS, TLPS, Disclosure


def draw(*shares, ground=None, partner=PARTNER, **changes) -> dict[tuple[str, str], Cell]:
    rules = policy(*shares, **changes)
    policies = PolicySet({PARTNER: rules}, floor() if ground is None else ground, ())
    cells = matrix(policies, [partner], now=NOW)
    assert [(cell.kind, cell.tlp) for cell in cells] == [(kind, tlp) for kind in KINDS for tlp in TLPS]
    return {(cell.kind, cell.tlp): cell for cell in cells}


def test_a_cell_says_how_far_records_go_and_by_which_rule():
    cells = draw(share(max_tlp="GREEN", hold=3600, approvals=2, line=7))
    cell = cells["finding", "GREEN"]
    assert (cell.classes, cell.conditional, cell.hold, cell.approvals) == (Disclosure.PARTNER, False, 3600, 2)
    assert (cell.rule, cell.file, cell.line) == ("open", "lab-b.example.toml", 7)
    assert not cell.withheld
    assert cells["finding", "AMBER"] == Cell(PARTNER, "finding", "AMBER")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"partner": OTHER}, id="no policy for the partner"),
        pytest.param({"expires": NOW}, id="the agreement has expired"),
        pytest.param({"ground": floor(never())}, id="the floor takes everything"),
    ],
)
def test_nothing_goes_in_any_cell(changes):
    assert {cell.classes for cell in draw(share(), **changes).values()} == {None}


def test_without_a_floor_nothing_goes():
    cells = matrix(PolicySet({PARTNER: policy(share())}, None, ()), [PARTNER], now=NOW)
    assert {cell.classes for cell in cells} == {None}


def test_what_the_floor_keeps_whole_names_the_rule_of_the_floor():
    cell = draw(share(), ground=floor(never(min_tlp="RED", name="red")))["finding", "RED"]
    assert (cell.classes, cell.rule, cell.file) == (None, "red", "floor.toml")


def test_a_cell_with_conditions_holds_the_most_that_may_go_for_the_least_waiting():
    first = share(name="first", classes=Disclosure.PARTNER, condition=FAILS, kinds=FINDINGS, hold=60, approvals=3)
    second = share(name="second", classes=Disclosure.COMMUNITY, hold=120, approvals=1)
    cell = draw(first, second, share(name="never reached"))["finding", "GREEN"]
    assert (cell.classes, cell.conditional, cell.rule) == (Disclosure.PARTNER, True, "first")
    assert (cell.hold, cell.approvals) == (60, 1)
    assert not draw(first, second)["incident", "GREEN"].conditional


@pytest.mark.parametrize(
    ("withheld", "changes"),
    [
        (False, {}),
        (True, {"withhold": frozenset({"details"})}),
        (False, {"withhold": frozenset({"details"}), "withhold_until": NOW}),
        (True, {"withhold": frozenset({"details"}), "withhold_until": NOW + 1}),
    ],
)
def test_a_cell_says_whether_fields_of_its_class_stay(withheld, changes):
    assert draw(share(**changes))["finding", "GREEN"].withheld is withheld


def test_fields_that_the_floor_takes_are_withheld_and_its_conditions_are_conditions():
    ground = floor(never(fields=frozenset({"details"})))
    assert draw(share(), ground=ground)["finding", "GREEN"].withheld
    ground = floor(never(condition=FAILS, kinds=FINDINGS))
    assert draw(share(), ground=ground)["finding", "GREEN"].conditional


def test_a_demand_of_the_floor_counts_where_it_has_no_condition():
    ground = floor(require(min_tlp="RED", approvals=2), require(approvals=9, condition=FAILS))
    cells = draw(share(approvals=1), ground=ground)
    assert (cells["finding", "RED"].approvals, cells["finding", "AMBER"].approvals) == (2, 1)


OTHERS = share(name="others", max_tlp="GREEN", classes=Disclosure.COMMUNITY, relayed=True, line=9)


def test_what_is_passed_on_has_cells_of_its_own_for_the_markings_that_may_be():
    rules = policy(share(max_tlp="CLEAR"), OTHERS)
    cells = matrix(PolicySet({PARTNER: rules, OTHER: policy()}, floor(), ()), [PARTNER, OTHER], now=NOW)
    relayed = [cell for cell in cells if cell.relayed]
    assert [(cell.kind, cell.tlp) for cell in relayed] == [(kind, tlp) for kind in KINDS for tlp in ("CLEAR", "GREEN")]
    assert {(cell.partner, cell.classes, cell.rule, cell.line) for cell in relayed} == {
        (PARTNER, Disclosure.COMMUNITY, "others", 9)
    }
    assert len(cells) == 2 * len(KINDS) * len(TLPS) + len(relayed)


def test_a_rule_that_begins_to_pass_records_on_is_a_change():
    before, after = (PolicySet({PARTNER: policy(*shares)}, floor(), ()) for shares in ((share(),), (share(), OTHERS)))
    for old, new in changed_cells(before, after, now=NOW):
        assert old.relayed
        assert new.relayed
        assert (old.classes, new.classes) == (None, Disclosure.COMMUNITY)
    assert len(changed_cells(before, after, now=NOW)) == 2 * len(KINDS)


def test_what_two_sets_let_out_at_most_is_compared_cell_by_cell():
    rules = {PARTNER: policy(share(max_tlp="RED"))}
    strict = PolicySet(rules, floor(require(min_tlp="AMBER", approvals=1)), ())
    loose = PolicySet(rules, floor(), ())
    changed = changed_cells(strict, loose, now=NOW)
    assert {(old.approvals, new.approvals) for old, new in changed} == {(1, 0)}
    assert {old.tlp for old, _ in changed} == {"AMBER", "AMBER+STRICT", "RED"}
    assert changed_cells(strict, strict, now=NOW) == ()
