"""The example policies, and the files that a new home and a new peer begin with."""

import re
from functools import cache

import pytest

from tests.policy.holdings import FINDING, NOW, holding
from tests.support.shared import ROOT
from tocsin.identity.names import OrgId
from tocsin.policy.decide import Denial, decide
from tocsin.policy.document import Section, SectionReader, Statement
from tocsin.policy.parse import parse_policies
from tocsin.policy.rules import read_accept, read_head, read_never, read_require, read_share
from tocsin.policy.starter import starter_floor, starter_policy
from tocsin.schema.contract import KINDS

FOLDER = ROOT / "examples" / "policies"
EXAMPLES = ("peer-lab", "government", "academia", "public")


def example(name: str) -> tuple[OrgId, str]:
    """Return an example and the partner that it is written for."""
    text = (FOLDER / f"{name}.toml").read_text()
    found = re.search(r'^partner\s+= "(.*)"', text, re.MULTILINE)
    assert found is not None
    return OrgId(found[1]), text


@cache
def all_examples():
    files = {f"{partner}.toml": text for partner, text in map(example, EXAMPLES)}
    return parse_policies(files | {"floor.toml": (FOLDER / "floor.toml").read_text()})


def ask(name: str, tlp: str = "GREEN", content=None, recipients=frozenset()):
    partner, _ = example(name)
    policies = all_examples()
    record = holding(content, tlp=tlp)
    ground = {"policy": policies.policies[partner], "floor": policies.floor, "granted": frozenset(), "now": NOW}
    return decide(record, partner=partner, recipients=recipients, **ground)


def test_every_example_is_in_order():
    policies = all_examples()
    assert [str(problem) for problem in policies.problems] == []
    assert set(policies.policies) == {example(name)[0] for name in EXAMPLES}
    assert policies.floor is not None
    assert {path.stem for path in FOLDER.glob("*.toml")} == {*EXAMPLES, "floor"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_explained_to_people(name):
    _, text = example(name)
    assert text.startswith("# ")
    assert "copy it to policies/" in text


@pytest.mark.parametrize(
    ("name", "tlp", "rule"),
    [
        ("peer-lab", "AMBER+STRICT", "attacks that somebody uses now"),
        ("government", "AMBER", "everything else"),
        ("academia", "GREEN", "all other findings, as headlines"),
        ("public", "CLEAR", "what is public already"),
    ],
)
def test_a_severe_cyber_finding_goes_by_the_rule_that_is_meant_for_it(name, tlp, rule):
    assert ask(name, tlp).rule == rule


@pytest.mark.parametrize(("name", "tlp"), [("peer-lab", "RED"), ("government", "RED"), ("academia", "AMBER")])
def test_a_marking_above_every_rule_goes_nowhere(name, tlp):
    assert ask(name, tlp).denial is Denial.NO_RULE


def test_the_example_floor_keeps_weapons_from_all_but_governments():
    weapons = FINDING | {"hazard_category": ["cbrn"]}
    assert ask("peer-lab", content=weapons).denial is Denial.FLOOR
    assert ask("government", content=weapons).rule == "dangerous capabilities"


def test_the_example_floor_asks_for_people_and_the_examples_for_time():
    assert ask("government", "RED", FINDING | {"hazard_category": ["cbrn"]}).approvals == 2
    assert ask("government", "RED", FINDING | {"hazard_category": ["loss_of_control"]}).approvals == 1
    assert ask("government").approvals == 0
    assert ask("public", "CLEAR").not_before == NOW + 7 * 86_400


def test_the_examples_pass_on_what_others_let_the_community_have_and_take_it_from_a_peer_lab():
    policies = all_examples()
    partner, _ = example("academia")
    record = holding(issuer=OrgId("lab-b.example"), relay="community")
    rules = {"policy": policies.policies[partner], "floor": policies.floor, "now": NOW, "own": False}
    decision = decide(record, partner=partner, recipients=frozenset(), granted=frozenset(), **rules)
    assert decision.rule == "news of others"
    accepts = {name: policies.policies[example(name)[0]].accept for name in EXAMPLES}
    assert {name for name, accept in accepts.items() if accept and accept.relayed} == {"peer-lab"}
    assert {name for name, accept in accepts.items() if accept and accept.legal_hold} == {"government"}


def test_the_starter_files_are_in_order_and_share_nothing():
    partner = OrgId("lab-b.example")
    policies = parse_policies({f"{partner}.toml": starter_policy(partner), "floor.toml": starter_floor()})
    assert policies.problems == ()
    assert policies.floor is not None
    assert policies.floor.nevers == ()
    (require,) = policies.floor.requires
    assert (require.min_tlp, require.approvals, require.partners) == ("RED", 1, frozenset())
    policy = policies.policies[partner]
    assert policy.shares == ()
    assert policy.accept is not None
    assert policy.accept.kinds == frozenset(KINDS)


@pytest.mark.parametrize("text", [starter_policy(OrgId("lab-b.example")), starter_floor()])
def test_what_the_starter_files_show_in_comments_holds_together(text):
    uncommented = re.sub(r"^# (\[\[|[a-z_]+ +=)", r"\1", text, flags=re.MULTILINE)
    is_floor = "[[never]]" in text
    name, other = ("floor.toml", "lab-b.example.toml") if is_floor else ("lab-b.example.toml", "floor.toml")
    policies = parse_policies({name: uncommented, other: starter_policy(OrgId("lab-b.example")) if is_floor else ""})
    assert [str(problem) for problem in policies.problems] == []
    assert policies.floor.nevers if is_floor else policies.policies[OrgId("lab-b.example")].shares


def keys_taken(take) -> set[str]:
    """Return the keys that a reader of a table asks for."""
    reader = SectionReader(Section("", Statement(1, "")), file="lab-b.example.toml", problems=[])
    take(reader)
    return reader.asked


def test_the_page_about_policy_has_a_row_for_every_key_of_every_table():
    page = (ROOT / "docs" / "policy.md").read_text().partition("## Every key")[2].partition("\n## ")[0]
    tables = [
        {key for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
        for table in page.split("| key | says |")[1:]
    ]
    readers = (lambda reader: read_head(reader, files=()), read_share, read_accept, read_never, read_require)
    assert tables == [keys_taken(take) for take in readers]


def test_the_policy_on_the_page_is_in_order():
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "policy.md").read_text(), re.DOTALL)
    assert parse_policies({"aisi.gov.example.toml": text, "floor.toml": ""}).problems == ()
