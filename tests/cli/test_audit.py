"""The decision log is shown, exported, and verified without a node."""

import json

import pytest

from tests.cli.messages import NOON
from tests.support.organisations import found as founded
from tests.support.stores import new_store
from tocsin.audit.entry import Entry, Event
from tocsin.audit.log import Log
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli.commands.audit import MOST_ENTRIES_A_PAGE

ORG = "lab-a.example"


@pytest.fixture
def entries(tmp_path):
    """Return what a node says of a log that it wrote."""
    with new_store(tmp_path / "store.db") as store:
        log = Log(store, org=ORG, signer=founded(ORG).delivery)
        log.append(Entry(Event.FOUNDED, person="first"), now=NOON)
        log.append(
            Entry(Event.POSTED, person="analyst-1", digest="d" * 43),
            Entry(Event.SENT, partner="aisi.example", digest="d" * 43, details={"disclosed": ["title", "steps"]}),
            now=NOON + 1,
        )
        return [message(row) for row in log.rows()]


def message(row):
    fields = ("sequence", "act", "person", "partner", "digest", "body", "hash", "seal")
    made = v1.AuditEntry(**{name: getattr(row, name) for name in fields})
    made.at.FromSeconds(row.at)
    return made


def test_entries_are_asked_for_as_they_were_filtered_and_the_newest_first(tocsin, desk):
    fake = desk(v1.ListAuditResponse())
    tocsin(
        *("audit", "show", "--record", "3f2a", "--partner", "aisi.example", "--person", "analyst-1", "--act", "sent"),
        *("--since", "2026-03-01T12:00:00Z", "--until", "2026-03-02", "--limit", "7"),
    )
    (asked,) = fake.asked
    assert (asked.record, asked.partner, asked.person, asked.act) == ("3f2a", "aisi.example", "analyst-1", "sent")
    assert (asked.since.seconds, asked.until.seconds) == (NOON, NOON + 12 * 3600)
    assert (asked.page_size, asked.newest_first) == (7, True)


def test_an_entry_is_a_line_with_what_was_decided(tocsin, desk, entries):
    desk(v1.ListAuditResponse(entries=entries, next_page_token="x"))
    shown = tocsin("audit", "show", "--limit", "3")
    _, founded_line, posted, sent = shown.out.splitlines()
    assert founded_line.split()[:5] == ["1", "2026-03-01", "12:00", "founded", "first"]
    assert posted.split()[3:] == ["posted", "analyst-1", "dddddddd"]
    assert sent.split()[3:6] == ["sent", "aisi.example", "dddddddd"]
    assert sent.endswith("disclosed steps, title")
    assert "3 entries; --limit shows more" in shown.err


def test_a_record_is_told_by_the_id_that_people_know_it_by(tocsin, desk, entries):
    entries[1].record_id = "3f2a9c11-0000-4000-8000-000000000000"
    desk(v1.ListAuditResponse(entries=entries))
    _, _, posted, sent = tocsin("audit", "show").out.splitlines()
    assert posted.split()[5] == "3f2a9c11"
    assert sent.split()[5] == "dddddddd"  # nothing of it is here any more
    desk(v1.ListAuditResponse(entries=entries))
    full = tocsin("audit", "show", "--full").out
    assert f"record                   {entries[1].record_id}\n" in full
    assert f"digest                   {'d' * 43}\n" in full


def test_many_fields_are_counted_and_a_signature_is_cut_unless_everything_is_asked_for(tocsin, desk):
    paths = ["title", "summary", "severity", "steps", "steps[*].description"]  # a list is what is in it
    details = {"disclosed": paths, "withheld": [{"path": "prompts", "reason": "infohazard"}], "statement": "e" * 300}
    entry = v1.AuditEntry(sequence=7, act="sent", body=json.dumps({"details": details}), hash="h" * 43)
    entry.at.FromSeconds(NOON)
    desk(v1.ListAuditResponse(entries=[entry]))
    assert tocsin("audit", "show").out.splitlines()[1].endswith("disclosed (4); withheld prompts; statement eeeeeeee…")
    desk(v1.ListAuditResponse(entries=[entry]))
    shown = tocsin("audit", "show", "--full").out
    assert "disclosed                severity, steps[*].description, summary, title\n" in shown
    assert "withheld                 prompts (infohazard)\n" in shown
    assert shown.replace("\n" + " " * 27, "").count("e" * 300) == 1


def test_a_long_log_is_asked_for_page_by_page(tocsin, desk, entries):
    pages = [
        v1.ListAuditResponse(entries=[one], next_page_token=token) for one, token in zip(entries, "12", strict=False)
    ]
    fake = desk(*pages, v1.ListAuditResponse(entries=entries[2:]))
    shown = tocsin("audit", "export")
    assert [asked.page_token for asked in fake.asked] == ["", "1", "2"]
    assert {asked.page_size for asked in fake.asked} == {MOST_ENTRIES_A_PAGE}
    assert [json.loads(line)["sequence"] for line in shown.out.splitlines()] == [1, 2, 3]


@pytest.fixture
def exported(tocsin, desk, entries, tmp_path):
    """Return a folder with an export and an identity document."""
    desk(v1.ListAuditResponse(entries=entries))
    (tmp_path / "log.jsonl").write_text(tocsin("audit", "export").out)
    (tmp_path / "lab-a.tocsin").write_bytes(founded(ORG).document)
    return tmp_path


def verify(tocsin, folder, *arguments):
    return tocsin("audit", "verify", folder / "log.jsonl", "--identity", folder / "lab-a.tocsin", *arguments)


def test_an_export_verifies_without_a_node(tocsin, desk, exported, entries):
    desk()
    shown = verify(tocsin, exported, "--json")
    assert shown.code == 0, shown.err
    assert json.loads(shown.out) == {"entries": 3, "head": entries[2].hash, "at": "2026-03-01T12:00:01Z"}


@pytest.mark.parametrize(
    ("tamper", "code", "reason"),
    [
        pytest.param(lambda lines: lines[1:], 8, "AUDIT_INCONSISTENT", id="the beginning is cut off"),
        pytest.param(lambda lines: [lines[0], *lines[2:]], 8, "AUDIT_INCONSISTENT", id="one is missing"),
        pytest.param(lambda lines: lines[:2], 8, "AUDIT_INCONSISTENT", id="the end is cut off between seals"),
        pytest.param(
            lambda lines: [line.replace("aisi.example", "lab-b.example") for line in lines],
            8,
            "AUDIT_INCONSISTENT",
            id="it went to somebody else",
        ),
        pytest.param(lambda lines: [*lines, "{}"], 3, "BAD_REQUEST", id="a line that is none"),
    ],
)
def test_an_export_that_was_changed_is_refused_with_its_place(tocsin, desk, exported, tamper, code, reason):
    lines = (exported / "log.jsonl").read_text().splitlines()
    (exported / "log.jsonl").write_text("\n".join(tamper(lines)) + "\n")
    shown = verify(tocsin, exported)
    assert (shown.code, shown.out) == (code, "")
    assert f"tocsin: error: {exported}/log.jsonl" in shown.err
    assert f"[{reason}]" in shown.err


def test_the_node_verifies_its_own_log(tocsin, desk):
    answer = v1.VerifyAuditResponse(entries=1234, head="h" * 43)
    answer.at.FromSeconds(NOON)
    desk(answer)
    shown = tocsin("audit", "verify")
    assert shown.out.splitlines() == [
        "verified 1,234 entries",
        "last entry        2026-03-01T12:00:00Z",
        f"its hash          {'h' * 43}",
    ]


@pytest.mark.parametrize("given", [["FILE"], ["--identity", "FILE"]])
def test_a_file_and_an_identity_go_together(tocsin, desk, tmp_path, given):
    (tmp_path / "FILE").write_text("")
    fake = desk()
    shown = tocsin("audit", "verify", *(tmp_path / "FILE" if one == "FILE" else one for one in given))
    assert (shown.code, fake.asked) == (2, [])
