"""What is printed: nothing that a terminal obeys, one JSON document, plain text without a terminal."""

import csv
import io
import json
import unicodedata

import pytest
from rich.cells import cell_len

from tests.cli.messages import organisation, peer, record
from tests.support.shared import shared
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.document import document
from tocsin_cli.grid import wrap

HOSTILE = {
    "an escape sequence": "\x1b]0;owned\x07title",
    "a one-byte escape": "\x9b31mred",
    "a carriage return": "safe\rmalicious",
    "a backspace": "abc\b\b\bxyz",
    "text from right to left": "\u202etxt.exe",
    "an isolate": "a\u2066b\u2069",
    "a character without width": "pay\u200bpal",
    "a NUL": "a\x00b",
    "text in tags that only machines read": "safe\U000e0069\U000e0067",
    "a soft hyphen": "pay\xadpal",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_a_terminal_would_obey_is_replaced_in_text(tocsin, desk, text):
    desk(v1.GetRecordResponse(record=record(title=text, content={"title": text, text: text})))
    shown = tocsin("show", "3f2b")
    assert shown.code == 0
    assert "\ufffd" in shown.out
    assert not set(shown.out) & set("\x1b\x9b\r\b\x00\u202e\u2066\u2069\u200b\x07\xad\U000e0069")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_a_terminal_would_obey_is_escaped_in_json_and_comes_back_whole(tocsin, desk, text):
    desk(v1.GetRecordResponse(record=record(title=text)))
    shown = tocsin("show", "3f2b", "--json")
    assert not set(shown.out) & set("\x1b\x9b\r\b\x00\u202e\u2066\u2069\u200b\x07\xad\U000e0069")
    assert json.loads(shown.out)["title"] == text


def test_an_error_of_a_peer_cannot_paint_the_terminal(tocsin, desk):
    desk(v1.ListPeersResponse(peers=[peer(last_error="PEER_REFUSED: \x1b[2Jgone")]))
    assert "\x1b" not in tocsin("peer", "list").out


def test_a_document_has_every_field_with_claims_times_and_numbers():
    found = document(v1.Peer(organisation=organisation(), role=v1.PEER_ROLE_READER, records_received=2**40))
    assert found["role"] == "reader"
    assert found["state"] == ""
    assert found["records_received"] == 2**40
    assert found["last_received_at"] is None
    assert found["organisation"]["kind"] == "lab"
    assert found["organisation"]["expires_at"] == "2027-03-01T12:00:00Z"
    assert found["organisation"]["record_keys"] == []
    assert set(found) == {field.name for field in v1.Peer.DESCRIPTOR.fields}


def test_a_document_writes_markings_and_content_as_people_do():
    found = document(record(content={"title": "T", "n": 3, "rate": 0.5, "subjects": [{"kind": "model"}]}))
    assert found["envelope"]["tlp"] == "AMBER+STRICT"
    assert found["content"] == {"title": "T", "n": 3, "rate": 0.5, "subjects": [{"kind": "model"}]}
    assert isinstance(found["content"]["n"], int)


def test_bytes_are_base64_in_a_document():
    assert document(v1.GetIdentityResponse(document=b"\x00\xff"))["document"] == "AP8="


def test_colour_goes_where_it_is_asked_for(tocsin, desk, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    desk(v1.ListRecordsResponse(records=[record(severity="critical")], total=1))
    shown = tocsin("list").out
    assert "\x1b[31m\x1b[1mcritical\x1b[0m" in shown


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_nobody_gets_colour_who_does_not_want_it(tocsin, desk, monkeypatch, variable):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv(variable, {"NO_COLOR": "", "TERM": "dumb"}[variable])
    desk(v1.GetRecordResponse(record=record(withheld=[("prompts", "infohazard")])))
    assert "\x1b" not in tocsin("show", "3f2b").out


def test_output_that_is_no_terminal_is_plain(tocsin, desk, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    desk(v1.GetRecordResponse(record=record()), v1.ListPeersResponse(peers=[peer()]))
    assert "\x1b" not in tocsin("show", "3f2b").out + tocsin("peer", "list").out


def test_lines_of_a_table_fit_and_have_no_blanks_at_their_end(tocsin, desk):
    desk(v1.ListRecordsResponse(records=[record(title="a long title " * 20)], total=1))
    lines = tocsin("list").out.splitlines()
    assert max(map(len, lines)) <= output.WIDEST
    assert all(line == line.rstrip() for line in lines)
    assert "…" in lines[1]


def test_spare_columns_go_where_the_line_is_too_short_and_empty_ones_always(tocsin, desk, monkeypatch):
    monkeypatch.setattr(output, "width", lambda: 70)
    desk(v1.ListRecordsResponse(records=[record(severity="")], total=1))
    heading, row = tocsin("list").out.splitlines()
    assert heading.split() == ["ID", "TLP", "TITLE", "FROM"]
    assert "Tool output redirects" in row


def test_ids_and_names_are_never_cut_however_narrow_the_screen(tocsin, desk, monkeypatch):
    monkeypatch.setattr(output, "width", lambda: 60)
    desk(
        v1.ListRecordsResponse(records=[record(severity="critical")], total=1),
        v1.ListPeersResponse(peers=[peer(last_error="PEER_UNREACHABLE: somebody.example does not answer")]),
        v1.GetRecordResponse(record=record()),
    )
    listed, peers, shown = (tocsin(*words).out for words in (["list"], ["peer", "list"], ["show", "3f2b"]))
    one = record()
    assert f"{one.envelope.record_id[:8]}  critical  AMBER+STRICT" in listed
    assert one.envelope.iss in listed
    assert "Tool output…" in listed
    assert peers.split("\n")[0].split() == ["ORGANISATION", "STATE", "RECEIVED", "SENT", "WAITING", "PROBLEM"]
    assert one.envelope.record_id in shown
    assert one.digest in shown


def test_text_that_takes_two_columns_a_character_is_cut_and_padded_by_what_it_takes(tocsin, desk):
    wide, plain = "日本語のタイトル" * 10, "a plain title"
    desk(v1.ListRecordsResponse(records=[record(title=wide), record(title=plain)], total=2))
    heading, one, other = tocsin("list").out.splitlines()
    assert cell_len(one) <= output.WIDEST
    assert "…  " in one
    assert cell_len(one.split("lab-")[0]) == len(other.split("lab-")[0]) == heading.index("FROM")


def test_a_word_longer_than_its_column_is_broken_and_other_text_between_words():
    reason = "NOT_SHARED: " + "x" * 150 + " and some words more"
    assert list(wrap(reason, 100)) == ["NOT_SHARED:", "x" * 100, "x" * 50 + " and some words more"]
    assert list(wrap("", 100)) == [""]


@pytest.mark.parametrize("form", ["show", "list", "csv", "markdown", "jsonl"])
def test_the_big_list_of_naughty_strings_prints_harmlessly_in_every_form(tocsin, desk, form):
    naughty = json.loads(shared("vectors/blns/blns.json").read_text())
    records = [record(title=text, content={"title": text, "summary": text, "cwe": [text]}) for text in naughty]
    if form == "show":
        for one in records:
            desk(v1.GetRecordResponse(record=one))
            harmless(tocsin("show", "3f2b"))
        return
    desk(v1.ListRecordsResponse(records=records, total=len(records)))
    command = ("list", "--limit", "500") if form == "list" else ("export", "--all", "--format", form)
    shown = harmless(tocsin(*command))
    if form == "csv":
        rows = list(csv.reader(io.StringIO(shown.out)))
        assert len(rows) == len(naughty) + 1
        assert not [cell for row in rows for cell in row if cell[:1] in set("=+-@\t\r")]


def harmless(shown):
    assert shown.code == 0, shown.err
    assert not [character for character in shown.out if character != "\n" and unicodedata.category(character) == "Cc"]
    assert not set(shown.out) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u2028")
    return shown
