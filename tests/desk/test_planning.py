"""Policies planned over the real records, and applied whole or not at all."""

import asyncio

import pytest

from tests.desk.conftest import AISI, FINDING, LAB_B, SHARING, copy_home, draft, put_policy
from tests.desk.federation import deliver, introduce
from tests.store.making import make_record, record_id
from tests.support.organisations import found
from tocsin.desk import planning
from tocsin.errors import Conflict, HomeDamaged, MalformedName, MalformedPolicy, MalformedRequest, TocsinError
from tocsin.people.act import Act, policy_subject
from tocsin.people.person import Role
from tocsin.policy.starter import starter_floor
from tocsin.store.model import AuditFilter, Outcome, Position, Verdict
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

FLOOR = starter_floor()
SHARES = SHARING.format(partner=LAB_B)
LOOSER = SHARES.replace('withhold = ["subjects[*].version"]\n', "")
STRICTER = SHARES.replace('classes = "PARTNER"', 'classes = "COMMUNITY"')
CLOSED = SHARES.replace('max_tlp = "AMBER"', 'max_tlp = "GREEN"')
ASKING = SHARES.replace("[[share]]", "[[share]]\napprovals = 1")
HOLDING = SHARES.replace("[[share]]", '[[share]]\nhold = "72h"')


def messages(files):
    return [v1.PolicyFile(name=name, text=text) for name, text in files.items()]


def plan_all(office, text=None, **files):
    """Return every message of a plan of the folder, with another text for lab-b.example, or other files."""
    given = {f"{LAB_B}.toml": text} if text is not None else {}
    request = v1.PlanPoliciesRequest(files=messages({**given, **files}))

    async def gather():
        return [message async for message in office.desk.plan_policies(request, office.me)]

    return asyncio.run(gather())


def plan(office, text=None, **files):
    """Return the changes of a plan, and its last message."""
    told = plan_all(office, text, **files)
    assert [message.done for message in told] == [False] * (len(told) - 1) + [True]
    return [change for message in told for change in message.changes], told[-1]


def apply(office, text, *, by=None, statement=None, planned=None):
    by = by or office.first
    last = planned or plan(office, text)[1]
    statement = by.sign(Act.APPLY_POLICIES, last.subject) if statement is None else statement
    request = v1.ApplyPoliciesRequest(files=last.files, statement=statement)
    return office.desk.apply_policies(request, office.home.store.people.get(by.name))


@pytest.fixture
def lab_b(tmp_path, office, open_office):
    """Return the desk of lab-b.example, which exchanges with the office."""
    other = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, other)
    return other


def test_files_that_say_what_is_in_force_change_nothing(office):
    office.post()
    changes, last = plan(office)
    assert (changes, list(last.changed_files), list(last.problems)) == ([], [], [])
    assert last.total == 0


RELAYING = SHARES.replace(
    "[accept]",
    '[[share]]\nname = "news"\nkinds = ["*"]\nmax_tlp = "GREEN"\nclasses = "COMMUNITY"\nrelayed = true\n\n[accept]',
)


def test_a_file_that_passes_on_what_others_issued_releases_that_but_not_to_whom_it_came_from(office):
    origin = found(AISI)
    office.add_peer(AISI)
    kept, open_, back = (
        make_record(FINDING, by=origin, record_id=record_id(name), relay=relay, now=office.clock())
        for name, relay in (("kept", "none"), ("open", "community"), ("back", "community"))
    )
    for record, received_from in ((kept, AISI), (open_, AISI), (back, LAB_B)):
        office.home.store.records.add(record, received_from=received_from, now=office.clock())
    (change,), last = plan(office, RELAYING)
    assert (change.digest, change.partner, change.whole, change.rule) == (open_.digest, LAB_B, True, "news")
    assert {"title", "severity"} <= set(change.released) <= open_.paths
    assert {cell.relayed for cell in last.cells_after} == {True}


def test_a_looser_file_releases_exactly_what_it_lets_go(office):
    digest = office.post().record.digest
    changes, last = plan(office, LOOSER)
    (change,) = changes
    assert (change.digest, change.partner, change.whole) == (digest, LAB_B, False)
    assert (list(change.released), list(change.stopped)) == (["subjects[*].version"], [])
    assert (change.rule, change.file, change.title) == ("findings", f"policies/{LAB_B}.toml", FINDING["title"])
    assert list(last.changed_files) == [f"policies/{LAB_B}.toml"]
    assert last.weighed == last.total == 1


def test_a_stricter_file_stops_fields_and_says_so(office):
    office.post()
    ((change,), _) = plan(office, STRICTER)
    assert (list(change.released), list(change.stopped), change.whole) == ([], ["subjects[*].name"], False)


def test_a_record_that_would_not_go_at_all_is_told_as_a_whole(office):
    office.post()
    ((change,), _) = plan(office, CLOSED)
    assert change.whole
    assert "title" in change.stopped
    assert not change.released


@pytest.mark.parametrize(("text", "word"), [(ASKING, "agree"), (HOLDING, "held")], ids=["approvals", "hold"])
def test_what_would_wait_for_more_is_stopped_and_says_for_what(office, text, word):
    office.post()
    ((change,), _) = plan(office, text)
    assert change.stopped
    assert word in change.waiting.why


def test_what_would_wait_for_less_is_released(office):
    put_policy(office, LAB_B, ASKING)
    office.post()
    ((change,), _) = plan(office, SHARES)
    assert change.released
    assert not change.stopped
    assert not change.HasField("waiting")


def test_a_weaker_floor_shows_also_where_no_record_is_concerned_yet(office):
    put_policy(office, LAB_B, SHARES.replace('max_tlp = "AMBER"', 'max_tlp = "RED"'))
    changes, last = plan(office, **{"floor.toml": "# nothing is demanded any more\n"})
    assert changes == []
    assert {cell.tlp for cell in last.cells_before} == {record_pb2.TLP_RED}
    assert [cell.approvals for cell in last.cells_before] == [1, 1]
    assert [cell.approvals for cell in last.cells_after] == [0, 0]


def test_what_the_partner_holds_already_is_not_released_again(office, lab_b):
    office.post()
    apply(office, LOOSER)
    deliver(office, lab_b)
    apply(office, SHARES)
    assert plan(office, LOOSER)[0] == []


def test_a_plan_tells_its_progress(office, monkeypatch):
    monkeypatch.setattr(planning, "AT_ONCE", 2)
    office.post_all([draft()] * 5)
    told = plan_all(office, LOOSER)
    assert [(message.weighed, message.total) for message in told] == [(2, 5), (4, 5), (5, 5), (5, 5)]
    assert [len(message.changes) for message in told] == [2, 2, 1, 0]


def test_a_plan_changes_nothing(office):
    office.post()
    before = office.home.store.audit.head(), office.home.store.policies.latest()
    plan(office, LOOSER)
    assert (office.home.store.audit.head(), office.home.store.policies.latest()) == before
    assert (office.home.layout.policies / f"{LAB_B}.toml").read_text() == SHARES


def test_a_plan_of_files_with_problems_tells_these_and_weighs_nothing(office):
    office.post()
    changes, last = plan(office, "shaer = 1\n")
    assert changes == []
    assert {problem.file for problem in last.problems} == {f"policies/{LAB_B}.toml"}


def test_the_signer_can_work_out_what_it_signs(office):
    last = plan(office, LOOSER)[1]
    files = {file.name: file.text for file in last.files}
    assert files == {"floor.toml": FLOOR, f"{LAB_B}.toml": LOOSER}
    assert policy_subject(files, replaces=last.replaces) == last.subject


def test_applied_policies_count_are_written_and_are_in_the_decision_log(office):
    person, keys = office.admit("counsel", Role.POLICY_ADMIN)
    digest = office.post(tlp=record_pb2.TLP_AMBER_STRICT).record.digest
    assert office.home.store.feeds.waiting(LAB_B) == 0
    wider = SHARES.replace('max_tlp = "AMBER"', 'max_tlp = "AMBER+STRICT"')
    answer = apply(office, wider, by=keys)
    assert [(one.partner, one.records) for one in answer.queued] == [(LAB_B, 1)]
    assert office.home.store.feeds.candidates(LAB_B, limit=9) == (digest,)
    assert office.events.queued_for[-1] == {LAB_B}
    assert (office.home.layout.policies / f"{LAB_B}.toml").read_text() == wider
    row = office.home.store.audit.list(AuditFilter(act="policy-applied"), limit=1, newest_first=True)[0]
    assert row.person == person.name
    assert plan(office)[1].changed_files == []


def test_a_tighter_policy_sends_nothing(office, lab_b):
    office.post()
    deliver(office, lab_b)
    answer = apply(office, STRICTER)
    assert list(answer.queued) == []
    assert office.home.store.feeds.waiting(LAB_B) == 0


def test_applying_voids_what_was_proposed_and_proposes_it_anew(office):
    put_policy(office, LAB_B, ASKING)
    review = office.post().waiting[0].review
    answer = apply(office, ASKING.replace("[[share]]", "# read by counsel\n[[share]]"))
    assert (answer.reviews_voided, answer.reviews_opened) == (1, 1)
    assert office.home.store.reviews.get(review).state == "void"


REFUSED: dict[str, tuple[dict[str, object], type[TocsinError]]] = {
    "a file with a problem": ({"text": "shaer = 1\n"}, MalformedPolicy),
    "no statement": ({"text": LOOSER, "statement": ""}, TocsinError),
}


@pytest.mark.parametrize("case", REFUSED)
def test_policies_are_not_applied_with(office, case):
    changes, error = REFUSED[case]
    before = office.home.store.policies.latest()
    with pytest.raises(error):
        apply(office, **changes)
    assert office.home.store.policies.latest() == before
    assert (office.home.layout.policies / f"{LAB_B}.toml").read_text() == SHARES


def test_of_two_who_planned_at_once_the_second_is_told(office):
    first, second = plan(office, LOOSER)[1], plan(office, STRICTER)[1]
    apply(office, LOOSER, planned=first)
    with pytest.raises(Conflict) as refused:
        apply(office, STRICTER, planned=second)
    assert "plan" in refused.value.hint
    assert office.home.policies.policies[LAB_B].shares[0].withhold == frozenset()


def test_a_folder_that_cannot_be_written_keeps_what_is_in_force(office):
    before = office.home.store.policies.latest()
    last = plan(office, LOOSER)[1]
    office.home.layout.policies.rename(office.home.layout.root / "elsewhere")
    with pytest.raises(HomeDamaged):
        apply(office, LOOSER, planned=last)
    assert office.home.store.policies.latest() == before


NAMES = {
    "a way out of the folder": ("../floor.toml", MalformedName),
    "a folder of its own": (f"lab/{LAB_B}.toml", MalformedName),
    "no policy": ("node.txt", MalformedName),
    "no organisation": ("lab_b.toml", MalformedName),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_file_is_refused_whose_name_is(office, case):
    name, error = NAMES[case]
    with pytest.raises(error):
        plan(office, **{name: FLOOR})
    with pytest.raises(error):
        office.desk.check_policies(v1.CheckPoliciesRequest(files=messages({name: FLOOR})), office.me)


def test_a_file_is_there_once(office):
    twice = [*messages({"floor.toml": FLOOR}), *messages({"floor.toml": ""})]
    with pytest.raises(MalformedRequest):
        office.desk.check_policies(v1.CheckPoliciesRequest(files=twice), office.me)


def test_a_check_of_files_that_were_sent_leaves_the_folder_alone(office):
    request = v1.CheckPoliciesRequest(files=messages({f"{AISI}.toml": SHARING.format(partner=AISI)}))
    answer = office.desk.check_policies(request, office.me)
    assert list(answer.partners) == [AISI, LAB_B]
    assert list(answer.changed_files) == [f"policies/{AISI}.toml"]
    assert not (office.home.layout.policies / f"{AISI}.toml").exists()


def test_a_problem_is_shown_with_its_line_and_a_caret(office):
    text = SHARES.replace('"AMBER"', '"AMBRE"')
    answer = office.desk.check_policies(v1.CheckPoliciesRequest(files=messages({f"{LAB_B}.toml": text})), office.me)
    (problem,) = answer.problems
    assert problem.line == 8
    assert 'max_tlp = "AMBRE"' in problem.message
    assert "^" in problem.message.splitlines()[-1]


def test_the_matrix_has_a_cell_for_each_kind_and_marking_of_a_partner(office):
    cells = office.desk.get_policy_matrix(v1.GetPolicyMatrixRequest(), office.me).cells
    assert len(cells) == 15
    found = {(cell.kind, cell.tlp): cell for cell in cells}
    cell = found[record_pb2.RECORD_KIND_FINDING, record_pb2.TLP_AMBER]
    assert (cell.partner, cell.classes, cell.withheld) == (LAB_B, record_pb2.DISCLOSURE_CLASS_PARTNER, True)
    assert not found[record_pb2.RECORD_KIND_FINDING, record_pb2.TLP_RED].classes


@pytest.mark.parametrize(("reason", "again"), [("NOT_PERMITTED", True), ("BAD_SIGNATURE", False)])
def test_what_was_refused_for_the_files_before_is_fetched_again(office, lab_b, reason, again):
    store, position = office.home.store, Position("A" * 22, 1)
    store.intake.move(LAB_B, position, [Verdict(1, Outcome.REFUSED, "A" * 43, reason)], now=office.clock())
    office.events.changed.clear()
    apply(office, LOOSER)
    assert store.intake.cursor(LAB_B) == (None if again else position)
    assert office.events.changed == ([LAB_B] if again else [])
