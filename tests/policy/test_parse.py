from dataclasses import replace
from hashlib import sha256

import pytest

from tests.policy.holdings import PARTNER
from tocsin.policy.clauses import DEFAULT_MAX_MB_PER_HOUR, Accept
from tocsin.policy.document import MAX_LENGTH, parse_document
from tocsin.policy.parse import parse_policies
from tocsin.policy.reach import leaves, plain
from tocsin.policy.rules import DEFAULT_MAX_PER_HOUR
from tocsin.schema.contract import KINDS, Disclosure

FILE = f"{PARTNER}.toml"
HEAD = f'partner = "{PARTNER}"\n'
SHARE = '[[share]]\nname = "s"\nkinds = ["finding"]\nmax_tlp = "GREEN"\nclasses = "PARTNER"\n'
FULL = '''\
# Counsel has read this.
partner   = "lab-b.example"
agreement = "MOU 2026-04, section 3"
expires   = 2027-06-30T00:00:00Z

[[share]]                                    # first match wins
name      = "severe cyber findings"
kinds     = ["finding"]
max_tlp   = "AMBER+STRICT"
when      = """
severity in ["high", "critical"]
&& "cyber" in hazard_category
"""
classes   = "PARTNER"
reveal    = ["steps", "prompts"]
withhold  = [
  "subjects[*].version",  # theirs too
  "evidence",
]
reason    = "trade_secret"
name_withheld = true

[[share]]
name = "everything public"
kinds = ["*"]
max_tlp = "CLEAR"
classes = "COMMUNITY"

[accept]
kinds = ["finding"]
max_per_hour = 20
max_mb_per_hour = 3
relayed = true
legal_hold = true

[[share]]
name = "news of others"
kinds = ["finding"]
max_tlp = "GREEN"
classes = "COMMUNITY"
relayed = true
'''


def problems(text: str, *, file: str = FILE, **others: str) -> list[str]:
    """Return the problems of a file, without those of the files beside it."""
    found = parse_policies({"floor.toml": "", file: text} | others).problems
    assert all(problem.file == file for problem in found)
    return [f"{problem.line}: {problem.message}" for problem in found]


def test_a_policy_says_what_is_written():
    policies = parse_policies({FILE: FULL, "floor.toml": ""})
    assert policies.problems == ()
    policy = policies.policies[PARTNER]
    assert (policy.partner, policy.agreement, policy.expires) == (PARTNER, "MOU 2026-04, section 3", 1_814_313_600)
    assert policy.accept == Accept(frozenset({"finding"}), 20, 3, relayed=True, legal_hold=True)
    assert policy.accept.max_bytes_per_hour == 3_145_728
    assert policy.digest == sha256(FULL.encode()).hexdigest()
    severe, public, others = policy.shares
    assert (severe.name, severe.line, severe.kinds) == ("severe cyber findings", 6, {"finding"})
    assert (severe.max_tlp, severe.classes) == ("AMBER+STRICT", Disclosure.PARTNER)
    assert (severe.reveal, severe.withhold) == ({"steps", "prompts"}, {"subjects[*].version", "evidence"})
    assert (severe.reason, severe.name_withheld) == ("trade_secret", True)
    assert severe.condition is not None
    assert severe.condition.checked["finding"].reads == {"severity", "hazard_category"}
    assert (public.line, public.kinds, public.condition) == (23, frozenset(KINDS), None)
    assert (public.reason, public.name_withheld) == ("", False)
    assert [share.relayed for share in policy.shares] == [False, False, True]
    assert others.tlps == ("CLEAR", "GREEN")
    assert policy.relays
    assert not replace(policy, shares=(severe, public)).relays


def test_a_floor_says_what_is_written():
    text = (
        '[[never]]\nname = "all"\n\n[[never]]\nname = "red"\nkinds = ["incident"]\nmin_tlp = "RED"\n'
        'when = "status == \\"disputed\\""\npartners = ["aisi.example"]\n'
        'fields = ["harmed_parties"]\nreason = "personal_data"\n'
    )
    floor = parse_policies({"floor.toml": text}).floor
    assert floor is not None
    everything, red = floor.nevers
    assert (everything.kinds, everything.min_tlp, everything.fields) == (frozenset(KINDS), "CLEAR", frozenset())
    assert (red.line, red.kinds, red.min_tlp, red.partners) == (4, {"incident"}, "RED", {"aisi.example"})
    assert (red.fields, red.reason) == ({"harmed_parties"}, "personal_data")


def test_a_file_may_be_named_with_its_folder():
    policies = parse_policies({f"policies/{FILE}": HEAD, "policies/floor.toml": ""})
    assert policies.problems == ()
    assert policies.policies[PARTNER].file == f"policies/{FILE}"


def test_a_policy_without_accept_takes_nothing_and_one_without_a_number_takes_the_default():
    assert parse_policies({FILE: HEAD}).policies[PARTNER].accept is None
    accept = parse_policies({FILE: HEAD + '[accept]\nkinds = ["*"]\n'}).policies[PARTNER].accept
    assert accept == Accept(frozenset(KINDS), DEFAULT_MAX_PER_HOUR, DEFAULT_MAX_MB_PER_HOUR)
    assert not accept.relayed
    assert not accept.legal_hold


def test_no_floor_is_a_problem_and_no_floor():
    policies = parse_policies({FILE: HEAD})
    assert policies.floor is None
    assert [str(problem) for problem in policies.problems] == [
        "floor.toml:1: missing: without a floor nothing is sent to anybody"
    ]


def test_a_problem_in_one_file_takes_away_that_file_alone():
    files = {FILE: HEAD + "x = 1", "aisi.example.toml": 'partner = "aisi.example"', "floor.toml": ""}
    policies = parse_policies(files)
    assert set(policies.policies) == {"aisi.example"}
    assert policies.floor is not None


def test_a_problem_in_the_floor_takes_away_the_floor_alone():
    policies = parse_policies({FILE: HEAD, "floor.toml": "[[never]]\n"})
    assert policies.floor is None
    assert set(policies.policies) == {PARTNER}


def test_every_problem_of_every_file_is_found_at_once():
    text = (
        'partner = "lab-b.example"\nagrement = "x"\nexpires = 2027-06-30\n[[share]]\nname = ""\nkinds = ["findng"]\n'
        'max_tlp = "amber"\nclasses = "NAMED"\nwithhold = [\n  "subject.version",\n]\nhold = "72"\n[acept]\n'
    )
    policies = parse_policies({FILE: text, "c.example.toml": "[[", "floor.toml": "[[require]]\n[[never]]\n"})
    assert [f"{problem.file}:{problem.line}" for problem in policies.problems] == [
        "floor.toml:1", "floor.toml:1", "floor.toml:2", "c.example.toml:1", f"{FILE}:2", f"{FILE}:3", f"{FILE}:5",
        f"{FILE}:6", f"{FILE}:7", f"{FILE}:8", f"{FILE}:12", f"{FILE}:13",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("1: partner is missing in the file", ""),
        ("1: partner must be a text", "partner = 1"),
        ("1: partner: 'Lab-B.example' is not an organisation id", 'partner = "Lab-B.example"'),
        ("1: the policy for lab-c.example must be in a file named lab-c.example.toml", 'partner = "lab-c.example"'),
        ("2: unknown key 'agrement'; did you mean 'agreement'?", HEAD + 'agrement = "x"'),
        ("2: agreement must be a text", HEAD + "agreement = []"),
        ("2: expires must be a moment with its offset", HEAD + "expires = 2027-06-30"),
        ("2: expires must be a moment with its offset", HEAD + "expires = 2027-06-30T00:00:00"),
        ("2: expires must be a moment with its offset", HEAD + 'expires = "2027-06-30T00:00:00Z"'),
        ("2: unknown table [acept]; did you mean '[accept]'?", HEAD + "[acept]"),
        ("2: unknown table [share]; did you mean '[[share]]'?", HEAD + "[share]"),
        ("2: unknown table [[accept]]; did you mean '[accept]'?", HEAD + "[[accept]]"),
        ("2: unknown table [share.inner]", HEAD + "[share.inner]"),
        ("2: unknown table [[zzz]]; a partner's file has [[share]] and [accept]", HEAD + "[[zzz]]"),
        ("2: unknown key 'share'", HEAD + 'share = [{name = "x"}]'),
        ("2: [[require]] belongs in floor.toml", HEAD + "[[require]]"),
        ("2: kinds is missing in [accept]", HEAD + "[accept]"),
        ("4: max_per_hour must be a whole number from 1", HEAD + '[accept]\nkinds=["*"]\nmax_per_hour = 0'),
        ("4: max_per_hour must be a whole number from 1", HEAD + '[accept]\nkinds=["*"]\nmax_per_hour = true'),
        ("4: max_per_hour must be a whole number from 1", HEAD + '[accept]\nkinds=["*"]\nmax_per_hour = 1e3'),
        ("4: max_mb_per_hour must be a whole number from 1", HEAD + '[accept]\nkinds=["*"]\nmax_mb_per_hour = 0'),
        ("4: relayed must be true or false", HEAD + '[accept]\nkinds=["*"]\nrelayed = "GREEN"'),
        ("4: legal_hold must be true or false", HEAD + '[accept]\nkinds=["*"]\nlegal_hold = 1'),
        ("2: not TOML: Invalid value", HEAD + "agreement = "),
        ("2: not TOML: Cannot overwrite a value", HEAD + HEAD.strip()),
        ("3: not TOML: Cannot declare ('accept',) twice", HEAD + "[accept]\n[accept]"),
        (f"1: longer than {MAX_LENGTH} characters", HEAD + "#" * MAX_LENGTH),
    ],
)
def test_a_file_that_is_not_a_policy(said, text):
    assert any(problem.startswith(said) for problem in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        ("7: 'GREN' is not a value of reason", 'reason = "GREN"'),
        ("7: name_withheld must be true or false", "name_withheld = 1"),
        ("7: hold must be a time such as", 'hold = "72"'),
        ("7: hold must be a time such as", 'hold = "0h"'),
        ("7: hold must be a time such as", 'hold = "-1h"'),
        ("7: hold must be a time such as", 'hold = "1w"'),
        ("7: hold must be a time such as", "hold = 72"),
        ("7: hold must be a time such as", 'hold = "3661d"'),
        ("7: approvals must be a whole number from 1 to 9", "approvals = 0"),
        ("7: approvals must be a whole number from 1 to 9", "approvals = 10"),
        ("7: approvals must be a whole number from 1 to 9", "approvals = true"),
        ("7: withhold_until without withhold", "withhold_until = 2027-01-01T00:00:00Z"),
        ("8: withhold_until must be a moment with its offset", 'withhold = ["title"]\nwithhold_until = 2027-01-01'),
        ("8: withhold_until must be a moment with its offset",
         'withhold = ["title"]\nwithhold_until = 2027-01-01T00:00:00.5Z'),
        ("7: a share rule has withhold_until", "until = 2027-01-01T00:00:00Z"),
        ("7: a share rule has max_tlp", 'min_tlp = "RED"'),
        ("7: a share rule names fields in reveal and withhold", 'fields = ["title"]'),
        ("7: unknown key 'withold'; did you mean 'withhold'?", "withold = []"),
        ("7: withhold must be a list of texts", 'withhold = "title"'),
        ("7: withhold must be a list of texts", "withhold = [1]"),
        ("7: withhold is empty", "withhold = []"),
        ("7: withhold: no field 'subjects.version' in records of kind finding; did you mean 'subjects[*].version'?",
         'withhold = ["subjects.version"]'),
        ("7: withhold: no field 'subjects[0].version' in records of kind finding",
         'withhold = ["subjects[0].version"]'),
        ("7: withhold: no field 'harmed_parties' in records of kind finding", 'withhold = ["harmed_parties"]'),
        ("7: withhold: finding_kind is open in every record", 'withhold = ["finding_kind"]'),
        ("7: reveal: title is not of class NAMED but COMMUNITY", 'reveal = ["title"]'),
        ("7: reveal: infohazard_detail is of class LOCAL and never leaves the node", 'reveal = ["infohazard_detail"]'),
        ("7: reveal: source is of class LOCAL and never leaves the node", 'reveal = ["source"]'),
        ("8: reveal: prompts is also withheld, by the same rule", 'withhold = ["prompts"]\nreveal = ["prompts"]'),
        ("8: reveal: evidence[*].name is also withheld", 'withhold = ["evidence"]\nreveal = ["evidence[*].name"]'),
        ("7: when: nothing is named 'severty'; did you mean 'severity'?", "when = 'severty == \"\"'"),
        ("7: when must be a text", "when = true"),
        ("7: when must be a text", 'when = " "'),
    ],
)  # fmt: skip
def test_a_share_rule_that_does_not_hold_together(said, lines):
    assert any(problem.startswith(said) for problem in problems(HEAD + SHARE + lines)), problems(HEAD + SHARE + lines)


@pytest.mark.parametrize(
    ("said", "old", "new"),
    [
        ("2: name is missing in [[share]]", 'name = "s"\n', ""),
        ("3: name must be a text", 'name = "s"', 'name = ""'),
        ("2: kinds is missing in [[share]]", 'kinds = ["finding"]\n', ""),
        ("4: kinds is empty", '["finding"]', "[]"),
        ("4: 'findings' is not a kind of record; did you mean 'finding'?", '"finding"', '"findings"'),
        (
            "4: 'rumour' is not a kind of record; it is one of finding, incident, evaluation or *",
            '"finding"',
            '"rumour"',
        ),
        ("2: max_tlp is missing in [[share]]", 'max_tlp = "GREEN"\n', ""),
        ("5: 'green' is not a value of max_tlp; it is one of CLEAR, GREEN", "GREEN", "green"),
        ("5: 'AMBER STRICT' is not a value of max_tlp; did you mean 'AMBER+STRICT'?", "GREEN", "AMBER STRICT"),
        ("2: classes is missing in [[share]]", 'classes = "PARTNER"\n', ""),
        ("6: classes cannot be NAMED: such a field goes only to recipients named", "PARTNER", "NAMED"),
        ("6: classes cannot be LOCAL: such a field never leaves the node", "PARTNER", "LOCAL"),
        ("6: 'PARTNERS' is not a value of classes; did you mean 'PARTNER'?", "PARTNER", "PARTNERS"),
    ],
)
def test_a_share_rule_with_a_wrong_part(said, old, new):
    found = problems(HEAD + SHARE.replace(old, new))
    assert any(problem.startswith(said) for problem in found), found


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("1: unknown key 'partner'", 'partner = "x"'),
        ("1: unknown table [never]; did you mean '[[never]]'?", "[never]"),
        ("1: [[share]] belongs in a partner's file", "[[share]]"),
        ("1: unknown table [[zzz]]; floor.toml has [[never]] and [[require]]", "[[zzz]]"),
        ("1: unknown table [require]; did you mean '[[require]]'?", '[require]\nmin_tlp = "RED"'),
        ("1: approvals is missing in [[require]]", '[[require]]\nmin_tlp = "RED"'),
        ("1: min_tlp is missing in [[require]]", "[[require]]\napprovals = 1"),
        ("3: approvals must be a whole number from 1 to 9", '[[require]]\nmin_tlp = "RED"\napprovals = 0'),
        ("4: a require rule has min_tlp", '[[require]]\nmin_tlp = "RED"\napprovals = 1\nmax_tlp = "RED"'),
        ("4: a require rule is about whole records",
         '[[require]]\nmin_tlp = "RED"\napprovals = 1\nfields = ["title"]'),
        ("4: hold belongs to a [[share]] rule", '[[require]]\nmin_tlp = "RED"\napprovals = 1\nhold = "1h"'),
        ("3: a never rule lets nothing go", '[[never]]\nname = "x"\napprovals = 1'),
        ("3: until must be a moment with its offset", '[[never]]\nname = "x"\nuntil = "2027"'),
        ("1: name is missing in [[never]]", "[[never]]"),
        ("3: a never rule has min_tlp", '[[never]]\nname = "x"\nmax_tlp = "RED"'),
        ("3: a never rule names what it takes away in fields", '[[never]]\nname = "x"\nwithhold = ["title"]'),
        ("3: a never rule can only take away", '[[never]]\nname = "x"\nreveal = ["title"]'),
        ("3: fields: no field 'nobody' in records of kind evaluation, finding, incident",
         '[[never]]\nname = "x"\nfields = ["nobody"]'),
        ("3: fields: finding_kind is open in every record", '[[never]]\nname = "x"\nfields = ["finding_kind"]'),
        ("3: fields is empty", '[[never]]\nname = "x"\nfields = []'),
        ("3: partners: 'AISI' is not an organisation id", '[[never]]\nname = "x"\npartners = ["AISI"]'),
        ("3: when: nothing is named 'severity', in records of kind evaluation, incident",
         '[[never]]\nname = "x"\nwhen = "severity == \\"\\""'),
    ],
)  # fmt: skip
def test_a_floor_that_does_not_hold_together(said, text):
    found = problems(text, file="floor.toml")
    assert any(problem.startswith(said) for problem in found), found


SECOND = SHARE.replace('"s"', '"t"')


@pytest.mark.parametrize(
    ("is_reached", "first", "second"),
    [
        pytest.param(False, SHARE, SECOND, id="the same again"),
        pytest.param(False, SHARE, SECOND + "when = 'title == \"\"'", id="less than an open rule"),
        pytest.param(False, SHARE.replace("GREEN", "RED"), SECOND, id="a lower marking"),
        pytest.param(False, SHARE.replace("finding", "*"), SECOND, id="fewer kinds"),
        pytest.param(False, SHARE + "when = 'title == \"\"'\n", SECOND + "when = 'title == \"\"'", id="one condition"),
        pytest.param(True, SHARE + "when = 'title == \"\"'\n", SECOND, id="more than a condition"),
        pytest.param(True, SHARE, SECOND.replace("GREEN", "RED"), id="a higher marking"),
        pytest.param(True, SHARE, SECOND.replace("finding", "*"), id="more kinds"),
    ],
)
def test_a_rule_that_is_never_reached_is_a_problem(is_reached, first, second):
    expected = [] if is_reached else ["never reached: 's' at line 2 covers everything that this rule does"]
    assert [problem.partition(": ")[2] for problem in problems(HEAD + first + second)] == expected


def test_a_rule_whose_condition_is_wrong_does_not_seem_to_cover_everything():
    (problem,) = problems(HEAD + SHARE + "when = 'severty == \"high\"'\n" + SECOND)
    assert "nothing is named 'severty'" in problem


def test_rules_that_together_leave_nothing_to_a_later_one_are_found():
    halves = SHARE + "when = 'severity == \"high\"'\n" + SECOND + "when = 'severity != \"high\"'\n"
    third = SHARE.replace('"s"', '"u"')
    expected = ["14: never reached: the rules before it together cover everything that this rule does"]
    assert problems(HEAD + halves + third) == expected
    assert problems(HEAD + halves + third.replace("GREEN", "AMBER")) == []
    assert problems(HEAD + halves.replace("high", "low", 1) + third) == []


OTHERS = SHARE.replace("PARTNER", "COMMUNITY") + "relayed = true\n"


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("5: max_tlp: records of others are passed on up to TLP:GREEN", OTHERS.replace("GREEN", "AMBER")),
        (
            "6: classes: of others' records nothing above COMMUNITY is passed on",
            OTHERS.replace("COMMUNITY", "PARTNER"),
        ),
        ("8: reveal: fields of class NAMED are for those whom their origin names", OTHERS + 'reveal = ["prompts"]'),
        (
            "8: name_withheld: which fields others' records have is for their origin to tell",
            OTHERS + "name_withheld = true",
        ),
        ("7: relayed must be true or false", OTHERS.replace("true", '"yes"')),
    ],
)
def test_a_rule_about_records_of_others_says_nothing_that_it_cannot_do(said, rule):
    assert problems(HEAD + OTHERS) == []
    assert problems(HEAD + rule) == [said]


def test_rules_about_our_own_records_and_about_those_of_others_do_not_cover_one_another():
    assert problems(HEAD + SHARE + OTHERS.replace('"s"', '"t"')) == []
    assert problems(HEAD + OTHERS + SECOND) == []
    halves = OTHERS + "when = 'severity == \"high\"'\n" + OTHERS.replace('"s"', '"t"')
    assert problems(HEAD + halves + "when = 'severity != \"high\"'\n" + SHARE.replace('"s"', '"u"')) == []
    assert problems(HEAD + OTHERS + OTHERS.replace('"s"', '"t"')) == [
        "8: never reached: 's' at line 2 covers everything that this rule does"
    ]


def test_a_condition_that_holds_only_of_what_is_missing_never_holds_of_records_of_others():
    missing = "when = 'severity == \"\"'"
    assert problems(HEAD + SHARE + missing) == []
    assert problems(HEAD + OTHERS + missing) == [f"8: {IDLE}"]


IDLE = "when: no record that this rule covers can make it true"


@pytest.mark.parametrize(
    ("is_idle", "when"),
    [
        (True, "false"),
        (True, "1 == 2"),
        (True, 'tlp == "RED"'),
        (True, 'kind == "incident"'),
        (True, 'severity == "high" && severity == "low"'),
        (True, 'severity == "high" && !(severity in ["high", "critical"])'),
        (True, 'ssvc.exploitation == "active" && !has(ssvc.exploitation)'),
        (True, 'contains_csam && !contains_csam && status == "issued"'),
        (True, '"cyber" in hazard_category && hazard_category.all(h, h == "cbrn")'),
        (True, 'has(content.severity) && severity == ""'),
        (False, 'tlp == "GREEN"'),
        (False, 'severity == "high" || severity == "low"'),
        (False, 'status == "disputed" && severity == ""'),
        (False, "size(hazard_category) == 30"),
        (False, 'hazard_category[1] == "cyber" && hazard_category[0] == "cbrn"'),
        (False, 'title == "a" && title == "b"'),
        (False, 'iss == "x" && iss == "y"'),
        (False, 'subjects.exists(s, s.kind == "model") && !subjects.exists(s, s.kind == "model")'),
        (False, '"cyber" in hazard_category && severity == "high"'),
    ],
)
def test_a_condition_that_nothing_makes_true_is_found_where_every_value_is_known(is_idle, when):
    lines = f"when = '{when}'"
    assert problems(HEAD + SHARE + lines) == ([f"7: {IDLE}"] if is_idle else [])


def test_rules_of_the_floor_are_tried_too_and_not_known_counts_as_a_match():
    def floor(when: str) -> list[str]:
        return problems(f'[[never]]\nname = "n"\nmin_tlp = "AMBER"\nwhen = \'{when}\'', file="floor.toml")

    assert floor('tlp == "GREEN"') == [f"4: {IDLE}"]
    assert floor('tlp == "RED"') == []
    assert floor("1 / 0 == 1") == []
    require = '[[require]]\nmin_tlp = "RED"\napprovals = 1\nwhen = "tlp == \'AMBER\'"'
    assert problems(require, file="floor.toml") == [f"4: {IDLE}"]


@pytest.mark.parametrize(
    ("is_idle", "changes"),
    [
        (True, 'withhold = ["title", "severity", "subjects"]\nreason = "privilege"'),
        (False, 'withhold = ["title", "severity", "subjects"]\nwithhold_until = 2030-01-01T00:00:00Z'),
        (False, 'reveal = ["prompts"]'),
        (False, ""),
    ],
)
def test_a_rule_that_leaves_nothing_is_found(is_idle, changes):
    open_to_all = [path for path, leaf in leaves("finding").items() if leaf.disclosure <= Disclosure.COMMUNITY]
    everything = ", ".join(f'"{path}"' for path in open_to_all if path not in plain("finding"))
    changes = changes.replace('"title", "severity", "subjects"', everything)
    found = problems(HEAD + SHARE.replace("PARTNER", "COMMUNITY") + changes)
    expected = "6: shares nothing: every field up to its class is withheld, or open in every record"
    assert found == ([expected] if is_idle else [])


@pytest.mark.parametrize(
    ("is_taken", "never"),
    [
        (True, ""),
        (True, 'min_tlp = "CLEAR"'),
        (True, 'partners = ["lab-b.example"]'),
        (True, 'kinds = ["finding"]'),
        (False, 'min_tlp = "GREEN"'),
        (False, 'partners = ["lab-c.example"]'),
        (False, 'kinds = ["incident"]'),
        (False, "when = 'title == \"x\"'"),
        (False, "until = 2030-01-01T00:00:00Z"),
        (False, 'fields = ["title"]'),
    ],
)
def test_a_rule_of_which_the_floor_leaves_nothing_is_found_and_hinders_nothing(is_taken, never):
    policies = parse_policies({FILE: HEAD + SHARE, "floor.toml": f'[[never]]\nname = "stop"\n{never}'})
    said = "lab-b.example.toml:2: shares nothing: 'stop' at floor.toml:1 takes everything that this rule shares"
    assert [str(warning) for warning in policies.warnings] == ([said] if is_taken else [])
    assert policies.problems == ()
    assert PARTNER in policies.policies


def test_two_files_of_one_partner_are_refused_and_neither_counts():
    policies = parse_policies({f"a/{FILE}": HEAD, f"b/{FILE}": HEAD, "floor.toml": ""})
    assert [str(problem) for problem in policies.problems] == [
        f"a/{FILE}:1: two files of one name: b/{FILE} is another {FILE}",
        f"b/{FILE}:1: two files of one name: a/{FILE} is another {FILE}",
    ]
    assert policies.policies == {}
    (problem,) = parse_policies({FILE: HEAD, "old.toml": HEAD, "floor.toml": ""}).problems
    assert problem.message.endswith(f"must be in a file named {FILE}; {FILE} is another for the same partner")
    assert parse_policies({"a/floor.toml": "", "b/floor.toml": ""}).floor is None


SHOWN = """\
withhold: no field 'subject' in records of kind finding; did you mean 'subjects'?
  |   "subject",
  |   ^
when: nothing is named 'severty'; did you mean 'severity'?
  | when = 'severty == "high"'
  |         ^
when: nothing is named 'titel'; did you mean 'title'?
  | && titel == "y"
  |    ^
when: nothing is named 'titel'; did you mean 'title'?
  | when = "titel == \\"y\\""
  |        ^
unknown key 'withold'; did you mean 'withhold'?
  |   withold = 1
  |   ^
'green' is not a value of max_tlp; it is one of CLEAR, GREEN, AMBER, AMBER+STRICT, RED
  | max_tlp = "green"
  |           ^
"""


def test_a_problem_shows_its_line_with_a_caret():
    rule = '[[share]]\nname = "{name}"\nkinds = ["finding"]\nmax_tlp = "{tlp}"\nclasses = "PARTNER"\n'
    lines = (
        'withhold = [\n  "title",\n  "subject",\n]\n',
        "when = 'severty == \"high\"'\n",
        "when = '''\ntitle == \"x\"\n&& titel == \"y\"\n'''\n",
        'when = "titel == \\"y\\""\n',
        "  withold = 1\n",
    )
    # Each rule covers more than the ones before, so that nothing else is wrong with it.
    tlps = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")
    text = HEAD + "".join(
        rule.format(name=number, tlp=tlp) + line for number, (tlp, line) in enumerate(zip(tlps, lines, strict=True))
    )
    found = parse_policies({FILE: text + rule.format(name="last", tlp="green"), "floor.toml": ""}).problems
    assert "\n".join(problem.shown for problem in found) + "\n" == SHOWN
    (problem,) = parse_policies({FILE: HEAD + "agreement = ", "floor.toml": ""}).problems
    assert problem.shown == "not TOML: Invalid value\n  | agreement = \n  |             ^"


def test_two_rules_of_one_name_are_a_problem():
    text = HEAD + SHARE + SHARE.replace("GREEN", "RED")
    assert problems(text) == ["7: another rule, at line 2, is named 's' too"]


def test_the_lines_of_a_document_are_those_of_its_statements():
    text = 'a = 1\n\n# b = 2\nc = [\n 1,\n\n 2]\n[x]\nd = """\n[y]\ne = 1\n"""\r\n[[z.w]]\nf = {g = 1}  # [h]\n'
    found = [
        (s.name, s.line, s.is_listed, {key: written.line for key, written in s.statements.items()})
        for s in parse_document(text, file="f", problems=[])
    ]
    assert found == [
        ("", 1, False, {"a": 1, "c": 4}),
        ("x", 8, False, {"d": 9}),
        ("z.w", 13, True, {"f": 14}),
    ]
