"""What each command asks of the desk, and what it makes of the answer."""

import csv
import io
import json

import pytest

from tests.cli.messages import NOON, organisation, peer, record, waiting
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import exchange_service_pb2, record_pb2
from tocsin_cli.commands import source
from tocsin_cli.commands.record import MOST_RECORDS_A_PAGE


def test_list_asks_for_what_was_filtered(tocsin, desk):
    fake = desk(v1.ListRecordsResponse())
    tocsin(
        *("list", "--kind", "incident", "--from", "lab-b.example", "--since", "2026-03-01T12:00:00Z"),
        *("--tlp", "amber+strict", "--severity", "high", "--limit", "7"),
    )
    (asked,) = fake.asked
    assert asked.kind == record_pb2.RECORD_KIND_INCIDENT
    assert getattr(asked, "from") == "lab-b.example"
    assert asked.since.seconds == NOON
    assert asked.tlp == record_pb2.TLP_AMBER_STRICT
    assert (asked.severity, asked.page_size) == ("high", 7)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("2026-03-01", NOON - 12 * 3600, id="a date is its beginning in UTC"),
        pytest.param("2026-03-01T13:00:00+01:00", NOON, id="an offset counts"),
        pytest.param("2026-03-01T12:00:00", NOON, id="no offset means UTC"),
        pytest.param("36h", NOON - 36 * 3600, id="hours"),
        pytest.param("2w", NOON - 14 * 86_400, id="weeks"),
    ],
)
def test_since_takes_times_dates_and_ages(tocsin, desk, monkeypatch, text, seconds):
    monkeypatch.setattr("tocsin_cli.commands.record.now", lambda: NOON)
    fake = desk(v1.ListRecordsResponse())
    assert tocsin("list", "--since", text).code == 0
    assert fake.asked[0].since.seconds == seconds


def test_a_long_list_is_asked_for_page_by_page_and_printed_as_one(tocsin, desk):
    pages = [v1.ListRecordsResponse(records=[record()] * 3, next_page_token=token, total=9) for token in ("1", "2", "")]
    fake = desk(*pages)
    shown = tocsin("list", "--limit", str(MOST_RECORDS_A_PAGE + 1), "--json")
    assert [asked.page_token for asked in fake.asked] == ["", "1", "2"]
    assert [asked.page_size for asked in fake.asked] == [500, 498, 495]
    assert len(json.loads(shown.out)["records"]) == 9


def test_a_list_that_is_cut_says_so(tocsin, desk):
    desk(v1.ListRecordsResponse(records=[record()], total=1234, next_page_token="x"))
    assert tocsin("list", "--limit", "1").err == "1 of 1,234 records; --limit shows more\n"


def test_a_list_that_is_not_counted_to_its_end_says_so(tocsin, desk):
    desk(v1.ListRecordsResponse(records=[record()], total=10_000, more_than_total=True, next_page_token="x"))
    assert tocsin("list", "--limit", "1").err == "1 of more than 10,000 records; --limit shows more\n"


def test_a_listed_record_says_how_many_fields_are_withheld(tocsin, desk):
    hidden = [("steps", ""), ("steps[*].at", ""), ("prompts", "infohazard")]
    desk(v1.ListRecordsResponse(records=[record(withheld=hidden)], total=1))
    heading, row = tocsin("list").out.splitlines()
    assert heading.split()[-1] == "WITHHELD"
    assert row.split()[-1] == "2"


def test_show_prints_the_record_as_json_with_the_names_of_the_contract(tocsin, desk):
    fake = desk(v1.GetRecordResponse(record=record(withheld=[("prompts", "embargo", NOON), ("steps", "")])))
    shown = json.loads(tocsin("show", "3f2b", "--version", "2", "--json").out)
    assert (fake.asked[0].id, fake.asked[0].version) == ("3f2b", 2)
    assert set(shown) == {field.name for field in v1.Record.DESCRIPTOR.fields}
    assert shown["withheld"] == [
        {"path": "prompts", "reason": "embargo", "until": "2026-03-01T12:00:00Z"},
        {"path": "steps", "reason": "", "until": None},
    ]


def test_show_says_who_posted_a_record_and_how_its_marking_changes(tocsin, desk):
    found = record(author="analyst-1", marking=record_pb2.TLP_GREEN)
    found.envelope.downgrade_at.add(at="2026-02-01T00:00:00Z", tlp=record_pb2.TLP_GREEN)
    desk(v1.GetRecordResponse(record=found))
    shown = tocsin("show", "3f2b").out
    assert "TLP:GREEN (signed as TLP:AMBER+STRICT)  finding of lab-a.example" in shown
    lines = [line.split(maxsplit=1) for line in shown.splitlines()]
    assert ["posted", "by                  analyst-1"] in lines
    assert ["marking", "GREEN from 2026-02-01T00:00:00Z"] in lines


def test_one_record_is_exported_as_its_token_alone(tocsin, desk):
    fake = desk(v1.GetRecordResponse(record=record(token="h.p.s~d~")))
    shown = tocsin("export", "3f2b")
    assert (shown.out, shown.err) == ("h.p.s~d~\n", "")
    assert fake.asked[0].with_token


def exported(tocsin, desk, form, *records):
    desk(v1.ListRecordsResponse(records=records, total=len(records)))
    shown = tocsin("export", "--all", "--format", form)
    assert shown.code == 0
    return shown.out


def test_csv_marks_what_is_withheld_and_defuses_formulas(tocsin, desk):
    content = {"title": "=1+1", "summary": "@SUM(A1)", "subjects": [{"kind": "model", "name": "M"}], "cwe": ["CWE-1"]}
    withheld = [("subjects[*].version", "trade_secret"), ("prompts", "infohazard"), ("steps", "")]
    rows = list(csv.DictReader(io.StringIO(exported(tocsin, desk, "csv", record(content=content, withheld=withheld)))))
    (row,) = rows
    assert row["title"] == "'=1+1"
    assert row["summary"] == "'@SUM(A1)"
    assert row["subjects"] == "kind model; name M; ████████ withheld: trade_secret"
    assert row["prompts"] == "████████ withheld: infohazard"
    assert row["steps"] == "████████ withheld"
    assert row["cwe"] == "CWE-1"
    assert (row["tlp"], row["kind"], row["origin"]) == ("AMBER+STRICT", "finding", "lab-a.example")
    assert "source" not in row


@pytest.mark.parametrize("text", ["\n=1+1", " \t=1+1", "\uff1d1+1", "\uff20SUM(A1)"])
def test_csv_defuses_a_formula_however_it_begins(tocsin, desk, text):
    (row,) = csv.DictReader(io.StringIO(exported(tocsin, desk, "csv", record(content={"title": text}))))
    assert row["title"].startswith("'")


@pytest.mark.parametrize("arguments", [["3f2b", "--format", "csv"], ["--all", "--format", "csv", "--json"]])
def test_a_format_that_would_be_ignored_is_refused(tocsin, desk, arguments):
    fake = desk()
    shown = tocsin("export", *arguments)
    assert (shown.code, shown.out, fake.asked) == (2, "", [])
    assert "--format goes with --all alone" in shown.err


def test_json_lines_are_one_document_a_line_and_survive_any_character(tocsin, desk):
    lines = exported(tocsin, desk, "jsonl", record(title="a\nb\u2028c"), record(title="\x1b[2J")).split("\n")
    assert [json.loads(line)["title"] for line in lines if line] == ["a\nb\u2028c", "\x1b[2J"]


def test_markdown_nests_the_fields_of_an_element_beside_each_other(tocsin, desk):
    subjects = [{"kind": "model", "name": "one\ntwo"}, {"kind": "agent", "name": "B"}]
    shown = exported(tocsin, desk, "markdown", record(title="T", content={"title": "T", "subjects": subjects}))
    assert shown.endswith(
        "- **subjects**\n"
        "  - - **kind** model\n"
        "    - **name** one\n"
        "      two\n"
        "  - - **kind** agent\n"
        "    - **name** B\n"
        "\n"
    )


def test_markdown_cannot_be_given_markup_by_a_record(tocsin, desk):
    text = "<script>x</script> [link](http://x) *bold*\n# heading\n- item\n1. one\n==="
    shown = exported(tocsin, desk, "markdown", record(title="T", content={"summary": text}))
    body = shown[shown.index("summary") :]
    assert "\\<script\\>" in body
    assert "\\[link\\]" in body
    assert "\\*bold\\*" in body
    assert [line.strip()[0] for line in body.splitlines()[1:5]] == ["\\"] * 4


def test_the_original_of_an_import_is_only_in_json_lines(tocsin, desk):
    imported = record(content={"title": "T", "source": {"format": "avid", "original": "THE ORIGINAL"}})
    assert "THE ORIGINAL" not in exported(tocsin, desk, "csv", imported) + exported(tocsin, desk, "markdown", imported)
    assert "THE ORIGINAL" in exported(tocsin, desk, "jsonl", imported)


def test_adding_a_peer_without_a_fingerprint_says_how_to_confirm_it(tocsin, desk, tmp_path):
    (tmp_path / "b.tocsin").write_bytes(b"{}")
    fake = desk(v1.AddPeerResponse(peer=peer(v1.PEER_STATE_PENDING), changes=["a new record key"]))
    shown = tocsin("peer", "add", tmp_path / "b.tocsin", "--role", "reader")
    assert fake.asked == [v1.AddPeerRequest(document=b"{}", role=v1.PEER_ROLE_READER)]
    assert shown.out == "lab-b.example is pending as a member\n"
    assert "warning: a new record key" in shown.err
    assert "--fingerprint MFZWI3D-BONSGYC" in shown.err


def test_a_file_may_be_standard_input(tocsin, desk):
    fake = desk(v1.AddPeerResponse(peer=peer()))
    tocsin("peer", "add", "-", stdin=b"the document")
    assert fake.asked[0].document == b"the document"


@pytest.mark.parametrize("verb", ["suspend", "resume", "remove"])
def test_a_change_of_a_peer_prints_what_it_is_now(tocsin, desk, verb):
    answer = getattr(v1, f"{verb.title()}PeerResponse")
    desk(answer(peer=peer(v1.PEER_STATE_SUSPENDED)))
    shown = tocsin("peer", verb, "lab-b.example")
    assert shown.out == "lab-b.example is suspended\n"


def test_status_prints_warnings_to_standard_error(tocsin, desk):
    desk(v1.GetStatusResponse(organisation=organisation(), serving=True, listen="[::]:7470", warnings=["disk full"]))
    shown = tocsin("status")
    assert "listening on [::]:7470" in shown.out
    assert "tocsin: warning: disk full" in shown.err


def progress(**fields):
    return v1.SyncPeersResponse(peer="lab-b.example", **fields)


def test_a_sync_prints_a_line_a_peer(tocsin, desk):
    desk(progress(records=1), progress(records=2, disclosures=1, refused=3, done=True))
    shown = tocsin("sync")
    assert shown.out == "lab-b.example  2 new records, 1 with further fields, 3 refused\n"
    assert shown.code == 0


def test_a_sync_that_fails_exits_with_the_code_of_what_went_wrong(tocsin, desk):
    failed = progress(done=True, error_reason="PEER_UNREACHABLE", error_message="lab-b.example cannot be reached")
    failed.error_hint = "compare fingerprints"
    desk(failed)
    shown = tocsin("sync")
    assert shown.code == 7
    assert shown.err.endswith(
        "tocsin: error: lab-b.example cannot be reached [PEER_UNREACHABLE]\ntocsin: hint: compare fingerprints\n"
    )
    desk(failed)
    assert json.loads(tocsin("sync", "--json").out)["peers"][0]["error_reason"] == "PEER_UNREACHABLE"


def test_preview_prints_the_exact_bytes_when_asked(tocsin, desk):
    desk(v1.PreviewRecordResponse(presentation="h.p.s~d~", record=record()))
    assert tocsin("preview", "3f2b", "--to", "aisi.example", "--raw").out == "h.p.s~d~\n"


def test_a_denial_is_explained_and_is_no_error(tocsin, desk):
    desk(v1.ExplainRecordResponse(why="no share rule covers it", file="policies/aisi.example.toml", hints=["do this"]))
    shown = tocsin("explain", "3f2b", "--to", "aisi.example")
    assert shown.code == 0
    assert shown.out.startswith("NOT SHARED with aisi.example\n")
    assert "tocsin: hint: do this" in shown.err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("2027-01-01", 1798761600, id="a date"),
        pytest.param("+30d", NOON + 30 * 86_400, id="in a while"),
        pytest.param("7d", NOON - 7 * 86_400, id="a while ago"),
    ],
)
def test_explain_is_asked_as_of_a_time(tocsin, desk, monkeypatch, text, seconds):
    for module in ("record", "verdict"):
        monkeypatch.setattr(f"tocsin_cli.commands.{module}.now", lambda: NOON)
    fake = desk(v1.ExplainRecordResponse(delivered=True))
    assert tocsin("explain", "3f2b", "--to", "aisi.example", "--at", text).code == 0
    assert fake.asked[0].at.seconds == seconds
    assert tocsin("explain", "3f2b", "--to", "aisi.example", "--at", "+soon").code == 2


def test_what_goes_later_is_explained_with_what_it_waits_for(tocsin, desk):
    withheld = v1.FieldVerdict(path="steps", why="the rule withholds it", reason="embargo")
    withheld.until.FromSeconds(NOON)
    desk(
        v1.ExplainRecordResponse(
            delivered=True,
            fields=[v1.FieldVerdict(path="title", shared=True), withheld],
            waiting=waiting(approvals_needed=1, review="Xk4mT0aBcd"),
        )
    )
    shown = tocsin("explain", "3f2b", "--to", "aisi.example")
    assert shown.out.startswith("SHARED LATER, 1 of 2 fields with aisi.example\n")
    assert "waits for 1 more person to agree" in shown.out
    assert "the rule withholds it (told as embargo)  2026-03-01T12:00:00Z" in shown.out
    assert "tocsin review show Xk4mT0aB" in shown.err


def test_a_reveal_that_waits_says_for_what(tocsin, desk):
    found = v1.RevealFieldsResponse(queued=["steps"], waiting=waiting(approvals_needed=1, review="Xk4mT0aBcd"))
    desk(found)
    shown = tocsin("reveal", "3f2b", "steps", "--to", "aisi.example")
    assert shown.out.endswith("aisi.example waits for 1 more person to agree\n")
    assert "tocsin review show Xk4mT0aB" in shown.err


@pytest.mark.parametrize(
    ("state", "said"),
    [
        pytest.param("OPEN", "its people have not answered yet", id="open"),
        pytest.param("GRANTED", "it has revealed something", id="granted"),
        pytest.param("DECLINED", "its people have said no", id="declined"),
    ],
)
def test_a_request_says_whom_it_asked_and_where_it_stands(tocsin, desk, state, said):
    number = exchange_service_pb2.RequestState.Value(f"REQUEST_STATE_{state}")
    fake = desk(v1.RequestFieldsResponse(origin="lab-a.example", state=number))
    shown = tocsin("request", "3f2b", "steps", "prompts", "--why", "to reproduce it")
    assert fake.asked == [v1.RequestFieldsRequest(id="3f2b", paths=["steps", "prompts"], why="to reproduce it")]
    assert shown.out == f"asked lab-a.example for steps, prompts: {state.lower()}\n"
    assert said in shown.err
    assert tocsin("request", "3f2b", "steps").code == 2


def test_reveal_says_what_goes_and_what_was_there(tocsin, desk):
    fake = desk(v1.RevealFieldsResponse(queued=["steps"], already_sent=["title"]))
    shown = tocsin("reveal", "3f2b", "steps", "title", "--to", "aisi.example")
    assert fake.asked == [v1.RevealFieldsRequest(id="3f2b", paths=["steps", "title"], partner="aisi.example")]
    assert shown.out == "queued for aisi.example: steps\naisi.example has already: title\n"


def answers(desk, *outcomes):
    """Answer a check and then a post with the same outcomes."""
    return desk(*(v1.PostRecordsResponse(results=outcomes) for _ in range(2)))


CONTENT = b'{"title": "T", "finding_kind": "hazard", "severity": "low", "subjects": [{"kind": "model", "name": "M"}]}'


def test_post_checks_everything_before_it_signs_anything(tocsin, desk, tmp_path):
    (tmp_path / "a.json").write_bytes(CONTENT)
    fake = answers(desk, v1.PostedRecord(record=record(), queued_for=["lab-b.example"], notices=["aisi gets nothing"]))
    shown = tocsin("post", tmp_path / "a.json", "--kind", "finding", "--to", "lab-b.example")
    assert [asked.dry_run for asked in fake.asked] == [True, False]
    (draft,) = fake.asked[1].drafts
    assert json.loads(draft.content_json) == json.loads(CONTENT)
    assert (draft.kind, draft.tlp) == (record_pb2.RECORD_KIND_FINDING, record_pb2.TLP_AMBER_STRICT)
    assert list(draft.recipients) == ["lab-b.example"]
    assert "queued for lab-b.example" in shown.out
    assert "a.json: aisi gets nothing" in shown.err


def test_post_signs_nothing_where_the_desk_refuses_one(tocsin, desk, tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_bytes(CONTENT)
    refused = v1.PostedRecord(error_reason="BAD_CONTENT", error_details=["title: too long"])
    fake = answers(desk, v1.PostedRecord(record=record()), refused)
    shown = tocsin("post", tmp_path / "a.json", tmp_path / "b.json", "--kind", "finding")
    assert shown.code == 3
    assert [asked.dry_run for asked in fake.asked] == [True]
    assert f"{tmp_path}/b.json: title: too long [BAD_CONTENT]" in shown.err


def test_what_a_file_says_of_its_record_goes_into_the_draft(tocsin, desk, tmp_path):
    (tmp_path / "a.yaml").write_text(
        "record: {kind: finding, tlp: GREEN, pap: AMBER, relay: community, to: [aisi.example],\n"
        "  permitted_use: [research, no_attribution], retention_until: '2027-01-01T00:00:00Z'}\n"
        "title: T\nfinding_kind: hazard\nseverity: low\nsubjects: [{kind: model, name: M}]\n"
    )
    fake = answers(desk, v1.PostedRecord(record=record()))
    assert tocsin("post", tmp_path / "a.yaml", "--tlp", "CLEAR").code == 0
    (draft,) = fake.asked[0].drafts
    assert draft.tlp == record_pb2.TLP_CLEAR  # the command line wins
    assert draft.pap == record_pb2.PAP_AMBER
    assert draft.relay == record_pb2.RELAY_COMMUNITY
    uses = [record_pb2.PERMITTED_USE_RESEARCH, record_pb2.PERMITTED_USE_NO_ATTRIBUTION]
    assert list(draft.permitted_use) == uses
    assert list(draft.recipients) == ["aisi.example"]
    assert draft.retention_until == "2027-01-01T00:00:00Z"


def test_a_schedule_by_which_the_marking_is_lowered_goes_into_the_draft(tocsin, desk, tmp_path):
    (tmp_path / "a.toml").write_text(
        'record.kind = "finding"\nrecord.downgrade_at = [{at = 2027-01-01T00:00:00Z, tlp = "GREEN"}]\n'
        'title = "T"\nfinding_kind = "hazard"\nseverity = "low"\nsubjects = [{kind = "model", name = "M"}]\n'
    )
    fake = answers(desk, v1.PostedRecord(record=record()))
    assert tocsin("post", tmp_path / "a.toml").code == 0
    (draft,) = fake.asked[0].drafts
    assert list(draft.downgrade_at) == [record_pb2.Downgrade(at="2027-01-01T00:00:00Z", tlp=record_pb2.TLP_GREEN)]


def test_what_waits_is_told_with_who_has_to_agree(tocsin, desk, tmp_path):
    (tmp_path / "a.json").write_bytes(CONTENT)
    waits = waiting(approvals_needed=1, review="Xk4mT0aBcd")
    answers(desk, v1.PostedRecord(record=record(), waiting=[waits]))
    shown = tocsin("post", tmp_path / "a.json", "--kind", "finding")
    assert shown.out.splitlines()[1:] == ["  aisi.example waits for 1 more person to agree"]
    assert shown.err == "tocsin: hint: somebody else has to agree: tocsin review show Xk4mT0aB\n"


FOUND = v1.LintFinding(rule="email", path="summary", disclosure=record_pb2.DISCLOSURE_CLASS_COMMUNITY)


def test_what_the_linter_finds_is_told_without_the_value(tocsin, desk, tmp_path):
    (tmp_path / "a.json").write_bytes(CONTENT)
    overridden = v1.LintFinding(rule="key", path="summary", overridden=True)
    answers(desk, v1.PostedRecord(record=record(), lint=[FOUND, overridden]))
    shown = tocsin("post", tmp_path / "a.json", "--kind", "finding")
    assert shown.code == 0
    warnings = [line for line in shown.err.splitlines() if "warning" in line]
    assert warnings == [
        f"tocsin: warning: {tmp_path}/a.json: summary, which is COMMUNITY, "
        "holds what the rule email of the linter finds: look again"
    ]


def test_what_the_linter_blocks_is_refused_with_how_to_override_it(tocsin, desk, tmp_path):
    (tmp_path / "a.json").write_bytes(CONTENT)
    blocked = v1.PostedRecord(
        error_reason="LINT_BLOCKED", error_details=["summary: email", "--override email@summary"], lint=[FOUND]
    )
    fake = answers(desk, blocked)
    shown = tocsin("post", tmp_path / "a.json", "--kind", "finding")
    assert (shown.code, len(fake.asked)) == (5, 1)
    assert "[LINT_BLOCKED]" in shown.err
    assert "take it upon yourself by name: --override email@summary\n" in shown.err
    assert shown.err.count("--override") == 1
    fake = answers(desk, v1.PostedRecord(record=record()))
    tocsin("post", tmp_path / "a.json", "--kind", "finding", "--override", "email@summary", "--override", "key")
    assert list(fake.asked[0].drafts[0].overrides) == ["email@summary", "key"]


CASE = (
    "id: AML.CS0000\nobject-type: case-study\nname: Evasion\nsummary: It was evaded.\n"
    "incident-date: 2024-01-01\nprocedure: []\n"
)


def test_an_import_says_how_many_wait_and_what_the_linter_finds_in_how_many(tocsin, desk, tmp_path):
    (tmp_path / "case.yaml").write_text(CASE)
    found = v1.PostedRecord(record=record(), waiting=[waiting(approvals_needed=1)], lint=[FOUND, FOUND])
    fake = answers(desk, found)
    shown = tocsin("import", "atlas", tmp_path / "case.yaml", "--override", "key")
    assert list(fake.asked[0].drafts[0].overrides) == ["key"]
    assert shown.out == "imported 1 record; 1 wait for somebody or for a date\n"
    assert "the rule email of the linter finds something in 1 record: look again" in shown.err
    as_json = json.loads(tocsin("import", "atlas", tmp_path / "case.yaml", "--json").out)
    assert (as_json["waiting"], as_json["lint"]) == (1, {"email": 1})


def sourced(size):
    return source.Sourced("file:1", v1.Draft(content_json="x" * size))


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        pytest.param([10] * 250, [100, 100, 50], id="at most so many drafts"),
        pytest.param([1_500_000, 1_500_000, 10], [1, 2], id="at most so many bytes"),
        pytest.param([3_000_000, 10], [1, 1], id="a draft that is too large goes alone"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_imports_are_posted_in_batches_that_fit_into_a_call(sizes, lengths):
    assert [len(batch) for batch in source.batches([sourced(size) for size in sizes])] == lengths


def test_a_source_record_that_the_contract_refuses_is_reported_with_its_place(tocsin, desk, tmp_path):
    (tmp_path / "case.yaml").write_text(CASE)
    desk(v1.PostRecordsResponse(results=[v1.PostedRecord(error_reason="BAD_CONTENT", error_details=["title: bad"])]))
    shown = tocsin("import", "atlas", tmp_path / "case.yaml", "--json")
    assert shown.code == 3
    found = json.loads(shown.out)
    assert (found["imported"], found["existed"]) == (0, 0)
    assert found["refused"] == [{"where": f"{tmp_path}/case.yaml:1", "reason": "title: bad"}]
    assert f"{tmp_path}/case.yaml:1: title: bad" in shown.err


def test_an_original_that_is_too_long_to_keep_is_told_with_its_place(tocsin, desk, tmp_path):
    step = "{tactic: AML.TA0002, technique: AML.T0000, description: " + "x" * 3000 + "}"
    case = (
        "id: AML.CS0000\nobject-type: case-study\nname: Evasion\nsummary: It was evaded.\n"
        f"incident-date: 2024-01-01\nprocedure: [{', '.join([step] * 140)}]\n"
    )
    (tmp_path / "case.yaml").write_text(case)
    desk(v1.PostRecordsResponse(results=[v1.PostedRecord(record=record())]))
    shown = tocsin("import", "atlas", tmp_path / "case.yaml")
    assert shown.code == 0
    assert f"tocsin: warning: {tmp_path}/case.yaml:1: too long for the record" in shown.err
