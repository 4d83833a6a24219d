"""Policies are checked, planned and applied: what is signed is what was planned."""

import json

import pytest

from tests.cli.messages import NOON, RECORD_ID, waiting
from tests.support.organisations import found as founded
from tests.support.organisations import seeded
from tocsin.people.act import Act, policy_subject, verify_act
from tocsin.people.card import parse_card
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2
from tocsin_cli.profile import Profile, default_folder, make_keys, new_profile

ORG = "lab-a.example"
FILES = {"floor.toml": "", "aisi.example.toml": 'partner = "aisi.example"\n'}
BEFORE = "subject-of-the-set-before"


@pytest.fixture
def admin(tocsin, monkeypatch, tmp_path):
    """Return the person whose profile is the only one for the home."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    keys = make_keys(ORG, now=NOON, random=seeded("admin"))
    profile = Profile(folder=default_folder("admin", ORG), name="admin", org=ORG, home=str(tmp_path / "home"))
    with new_profile(profile, keys) as save_identity:
        save_identity(founded(ORG).document)
    return parse_card(keys.card("admin"), org=ORG).admit((), now=NOON)


def change(partner="aisi.example", *, whole=False, released=(), stopped=(), **fields):
    return v1.PolicyChange(
        digest="d" * 43,
        record_id=RECORD_ID,
        title="Tool output redirects an agent",
        tlp=record_pb2.TLP_AMBER,
        partner=partner,
        whole=whole,
        released=released,
        stopped=stopped,
        file="policies/aisi.example.toml",
        line=12,
        **fields,
    )


def planned(*changes, files=None, **fields):
    """Return the messages of a plan: progress with the changes in between, and the last one."""
    files = FILES if files is None else files
    last = {
        "subject": policy_subject(files, replaces=BEFORE),
        "replaces": BEFORE,
        "changed_files": ["policies/aisi.example.toml"],
        "files": [v1.PolicyFile(name=name, text=text) for name, text in files.items()],
    } | fields
    return (
        v1.PlanPoliciesResponse(weighed=1, total=2, changes=changes[:1]),
        v1.PlanPoliciesResponse(weighed=2, total=2, changes=changes[1:]),
        v1.PlanPoliciesResponse(weighed=2, total=2, done=True, **last),
    )


def applies(fake):
    return [asked for asked in fake.asked if isinstance(asked, v1.ApplyPoliciesRequest)]


CHANGES = (
    change(whole=True, released=["title", "subjects", "subjects[*].name"]),
    change(released=["steps"], waiting=waiting(approvals_needed=1)),
    change("lab-b.example", stopped=["evidence"]),
    change("lab-b.example", whole=True, stopped=["title"]),
)


def test_a_plan_says_first_how_much_changes_for_each_partner_and_then_for_each_record(tocsin, desk):
    desk(*planned(*CHANGES))
    shown = tocsin("policy", "plan")
    assert shown.code == 0
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["aisi.example", "1", "1", "0", "0", "1"] in lines
    assert ["lab-b.example", "0", "0", "1", "1", "0"] in lines
    order = [shown.out.index(text) for text in ("PARTNER ", "RECORD ", "goes, with subjects[*].name,")]
    assert order == sorted(order)
    for text in ("also steps; waits for 1 more", "without evidence", "goes no more", RECORD_ID[:8]):
        assert text in shown.out
    assert "put it in force: tocsin policy apply\n" in shown.err


def test_a_plan_counts_the_fields_of_a_record_that_newly_goes_and_names_them_all_where_it_is_asked_to(tocsin, desk):
    fields = [f"field_{number}" for number in range(13)]
    desk(*planned(change(whole=True, released=fields), change(released=fields)))
    shown = tocsin("policy", "plan")
    assert "goes, with 13 fields; --full" in shown.out
    assert shown.out.count("field_12") == 1  # what a record that went already also gives away is named always
    assert tocsin("policy", "plan", "--full").out.count("field_12") == 2


def test_a_plan_is_one_json_document(tocsin, desk):
    desk(*planned(*CHANGES))
    found = json.loads(tocsin("policy", "plan", "--json").out)
    assert len(found["changes"]) == 4
    assert (found["done"], found["total"], found["replaces"]) == (True, 2, BEFORE)


def test_a_long_plan_is_cut_and_says_so(tocsin, desk):
    desk(*planned(*CHANGES))
    shown = tocsin("policy", "plan", "--limit", "1")
    assert "1 of 4 changes; --limit shows more" in shown.err
    assert "without evidence" not in shown.out


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        pytest.param("draft.toml", 'partner = "aisi.example"', "aisi.example.toml", id="by the partner that it names"),
        pytest.param("f.toml", '[[never]]\nname = "x"', "floor.toml", id="the floor names no partner"),
        pytest.param("floor.toml", "", "floor.toml", id="an empty floor, which is called so"),
        pytest.param("aisi.example.toml", "partner = ", "aisi.example.toml", id="what does not parse keeps its name"),
        pytest.param("b.example.toml", 'partner = "../../etc"', "b.example.toml", id="a partner that is a path"),
        pytest.param("b.example.toml", "partner = 1", "b.example.toml", id="a partner that is no text"),
    ],
)
def test_a_file_stands_in_for_the_one_of_its_partner(tocsin, desk, tmp_path, name, text, place):
    (tmp_path / name).write_text(text)
    fake = desk(v1.CheckPoliciesResponse(partners=["aisi.example"]))
    assert tocsin("policy", "check", tmp_path / name).code == 0
    assert fake.asked == [v1.CheckPoliciesRequest(files=[v1.PolicyFile(name=place, text=text)])]


@pytest.mark.parametrize("text", ["", "# partner = 'aisi.example'", 'partnr = "aisi.example"', 'partner = "../../etc"'])
def test_a_file_that_does_not_say_whose_it_is_does_not_become_the_floor(tocsin, desk, tmp_path, text):
    (tmp_path / "draft.toml").write_text(text)
    fake = desk()
    shown = tocsin("policy", "apply", tmp_path / "draft.toml", "--yes")
    assert (shown.code, fake.asked) == (2, [])
    assert f"{tmp_path}/draft.toml does not say whose policy it is" in shown.err
    assert 'begin it with partner = "ORG", or call it floor.toml or ORG.toml' in shown.err


def test_a_file_that_is_no_toml_is_refused_with_its_line_whatever_it_is_called(tocsin, desk, tmp_path):
    (tmp_path / "draft.toml").write_text('partner = "aisi.example"\n[[share]\n')
    fake = desk()
    shown = tocsin("policy", "check", tmp_path / "draft.toml")
    assert (shown.code, fake.asked) == (3, [])
    assert f"{tmp_path}/draft.toml:2: not TOML: " in shown.err
    assert "| [[share]\n" in shown.err


def test_two_files_for_one_partner_are_a_wrong_command_line(tocsin, desk, tmp_path):
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text('partner = "aisi.example"')
    fake = desk()
    shown = tocsin("policy", "plan", tmp_path / "a.toml", tmp_path / "b.toml")
    assert (shown.code, fake.asked) == (2, [])
    assert f"{tmp_path}/a.toml and {tmp_path}/b.toml are both policies/aisi.example.toml" in shown.err


PROBLEM = v1.PolicyProblem(
    file="policies/aisi.example.toml", line=3, message="'sevrity' is no field\n  when = 'sevrity'\n          ^"
)


@pytest.mark.parametrize("verb", ["check", "plan", "apply"])
def test_a_problem_is_told_at_the_place_that_was_named_with_its_caret(tocsin, desk, tmp_path, verb):
    (tmp_path / "draft.toml").write_text('partner = "aisi.example"')
    fake = desk(v1.CheckPoliciesResponse(problems=[PROBLEM]), *planned(problems=[PROBLEM], subject=""))
    shown = tocsin("policy", verb, tmp_path / "draft.toml", *(["--yes"] if verb == "apply" else []))
    assert (shown.code, applies(fake)) == (3, [])
    assert f"  {tmp_path}/draft.toml:3: 'sevrity' is no field\n" in shown.err
    assert "when = 'sevrity'\n              ^\n" in shown.err
    assert "[BAD_POLICY]" in shown.err
    assert "what is in force stays in force" in shown.err


def test_a_file_that_is_no_text_is_refused(tocsin, desk, tmp_path):
    (tmp_path / "draft.toml").write_bytes(b"\xff")
    desk()
    shown = tocsin("policy", "check", tmp_path / "draft.toml")
    assert shown.code == 3
    assert f"{tmp_path}/draft.toml: not UTF-8 text [BAD_POLICY]" in shown.err


def test_check_says_which_files_are_not_in_force_as_they_are(tocsin, desk):
    desk(v1.CheckPoliciesResponse(partners=["aisi.example"], changed_files=["policies/aisi.example.toml"]))
    shown = tocsin("policy", "check")
    assert (shown.code, shown.out) == (0, "aisi.example  in order\n")
    assert "not in force as they are: policies/aisi.example.toml" in shown.err
    assert "tocsin policy plan" in shown.err


def test_what_is_applied_is_what_was_planned_under_the_persons_signature(tocsin, desk, admin):
    applied = v1.ApplyPoliciesResponse(
        queued=[v1.Queued(partner="aisi.example", records=2)], reviews_voided=1, reviews_opened=1
    )
    fake = desk(*planned(*CHANGES), applied)
    shown = tocsin("policy", "apply", stdin=b"y\n")
    assert shown.code == 0, shown.err
    (asked,) = applies(fake)
    act = verify_act(asked.statement, org=ORG, person=admin)
    assert (act.act, act.on) == (Act.APPLY_POLICIES, policy_subject(FILES, replaces=BEFORE))
    assert {file.name: file.text for file in asked.files} == FILES
    assert "put these files in force, under your signature? [y/N]" in shown.err
    assert "in force: floor.toml, aisi.example.toml\n  2 records queued for aisi.example\n" in shown.out
    assert "  1 proposed release is void: policy is not the one that it was proposed under\n" in shown.out
    assert "  1 release is proposed\n" in shown.out
    assert "tocsin review list" in shown.err


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 0), (b"", 2)])
def test_nothing_is_applied_without_a_yes(tocsin, desk, admin, answer, code):
    fake = desk(*planned(*CHANGES))
    assert tocsin("policy", "apply", stdin=answer).code == code
    assert applies(fake) == []


def test_the_same_files_can_be_signed_anew(tocsin, desk, admin):
    fake = desk(*planned(changed_files=[]), v1.ApplyPoliciesResponse())
    shown = tocsin("policy", "apply", stdin=b"y\n")
    assert (shown.code, len(applies(fake))) == (0, 1)
    assert shown.out.startswith(
        "changed: nothing, the files are in force as they are\n"
        "of the records here nothing would go to anybody that does not go today, and nothing would stop\n"
    )


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param({"subject": policy_subject({}, replaces=BEFORE)}, id="a subject of other files"),
        pytest.param({"replaces": "another"}, id="another set before"),
        pytest.param({"files": {"floor.toml": ""}}, id="the file that was named is not among them"),
        pytest.param({"files": FILES | {"aisi.example.toml": 'partner = "aisi.example"\n#'}}, id="it says more"),
    ],
)
def test_nothing_is_signed_where_the_plan_is_not_about_what_it_shows(tocsin, desk, admin, tmp_path, lie):
    (tmp_path / "draft.toml").write_text(FILES["aisi.example.toml"])
    fake = desk(*planned(*CHANGES, **lie))
    shown = tocsin("policy", "apply", tmp_path / "draft.toml", "--yes")
    assert (shown.code, applies(fake)) == (6, [])
    assert "[CONFLICT]" in shown.err


def test_a_script_applies_without_being_asked(tocsin, desk, admin):
    desk(*planned(*CHANGES), v1.ApplyPoliciesResponse(reviews_opened=3))
    assert json.loads(tocsin("policy", "apply", "--yes", "--json").out)["reviews_opened"] == 3
    assert tocsin("policy", "apply", "--json").code == 2


def cell(tlp, **fields):
    return v1.PolicyCell(
        partner="aisi.example",
        kind=record_pb2.RECORD_KIND_FINDING,
        tlp=record_pb2.Tlp.Value(f"TLP_{tlp}"),
        **fields,
    )


def test_the_matrix_shows_how_far_records_go_and_what_is_in_the_way(tocsin, desk):
    partner, community = record_pb2.DISCLOSURE_CLASS_PARTNER, record_pb2.DISCLOSURE_CLASS_COMMUNITY
    fake = desk(
        v1.GetPolicyMatrixResponse(
            cells=[
                cell("CLEAR", classes=community),
                cell("GREEN", classes=partner, conditional=True, withheld=True, hold_seconds=72 * 3600, approvals=1),
                cell("RED"),
            ]
        )
    )
    shown = tocsin("policy", "matrix", "aisi.example")
    assert fake.asked == [v1.GetPolicyMatrixRequest(partners=["aisi.example"])]
    name, heading, row = (line for line in shown.out.splitlines() if line)
    assert name == "aisi.example"
    columns = [heading.index(f"TLP:{tlp}") for tlp in ("CLEAR", "GREEN", "RED")]
    assert [row[at:].split("  ")[0] for at in columns] == ["community", "partner?~ 72h +1", "—"]
