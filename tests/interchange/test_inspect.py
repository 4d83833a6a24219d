"""Inspect logs become evaluations, and what they leak stays home."""

import io
import json
import zipfile

import pytest

from tests.support.organisations import NOW, found, seeded
from tests.support.shared import shared
from tocsin.identity.names import RecordId
from tocsin.interchange import Mapped, Unmapped, read_inspect
from tocsin.records.record import Draft, issue
from tocsin.schema.contract import KINDS, Disclosure

LOG = {
    "version": 2,
    "status": "success",
    "eval": {
        "eval_id": "Ev1",
        "run_id": "Ru1",
        "task": "popularity",
        "task_id": "Ta1",
        "task_version": 0,
        "task_file": "/home/analyst/secret/popularity.py",
        "task_args": {"hint": "SECRET-ARGUMENT"},
        "created": "2026-02-11T15:18:04-05:00",
        "model": "openai/gpt-4o-mini",
        "model_args": {"api_base": "SECRET-BASE"},
        "dataset": {"name": "popularity", "location": "/home/analyst/data", "samples": 100, "sample_ids": [1, "b"]},
        "config": {"limit": 10, "epochs": 2, "fail_on_error": True},
        "revision": {"origin": "git@example.org:secret.git", "commit": "ef1d858c"},
        "packages": {"inspect_ai": "0.3.58"},
    },
    "plan": {"steps": [{"solver": "system_message", "params": {"template": "SECRET-PROMPT"}}, {"solver": "generate"}]},
    "results": {
        "total_samples": 12,
        "completed_samples": 10,
        "scores": [
            {"name": "match", "scorer": "match", "metrics": {"accuracy": {"value": 0.8}, "stderr": {"value": 0.1}}}
        ],
    },
    "stats": {"started_at": "2026-02-11T15:18:04-05:00", "completed_at": "2026-02-11T15:18:08-05:00"},
    "samples": [{"input": "SECRET-SAMPLE"}],
}


def archive(members) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, value in members.items():
            zipped.writestr(name, value if isinstance(value, bytes) else json.dumps(value))
    return held.getvalue()


def read_one(data: bytes) -> Mapped | Unmapped:
    (result,) = read_inspect(data, name="run.eval")
    return result


def test_a_log_becomes_an_evaluation_with_its_results():
    content = read_one(json.dumps(LOG).encode()).content
    assert content["title"] == "popularity on openai/gpt-4o-mini"
    assert content["subjects"] == [{"kind": "model", "name": "gpt-4o-mini", "vendor": "openai"}]
    assert content["results"] == [{"metric": "accuracy", "value": 0.8, "scorer": "match", "samples": 10, "stderr": 0.1}]
    assert content["started_at"] == "2026-02-11T20:18:04Z"
    assert content["evaluated_in"] == "2026-02"
    assert (content["completed_samples"], content["total_samples"]) == (10, 12)


def test_samples_are_counted_and_kept_and_never_simply_absent():
    content = read_one(json.dumps(LOG).encode()).content
    assert content["redaction_of_samples"] == {"withheld_n": 10}
    assert json.loads(content["source"]["original"])["samples"] == LOG["samples"]


def disclosed(content, kind, up_to, prefix=""):
    """Keep what a policy that allows everything up to a class would let through."""
    kept = {}
    for name, value in content.items():
        field = kind.field(f"{prefix}{name}")
        if field.fields:
            groups = value if field.repeated else [value]
            below = f"{prefix}{name}[*]." if field.repeated else f"{prefix}{name}."
            kept[name] = [disclosed(group, kind, up_to, below) for group in groups]
        elif field.disclosure <= up_to:
            kept[name] = value
    return kept


def test_what_tools_leak_reaches_no_partner():
    content = read_one(json.dumps(LOG).encode()).content
    text = json.dumps(disclosed(content, KINDS["evaluation"], Disclosure.PARTNER))
    assert "popularity" in text
    for leak in ("SECRET", "/home/", "git@", "ef1d858c"):
        assert leak not in text, leak


def test_paths_remotes_and_arguments_do_not_even_reach_named_recipients():
    content = read_one(json.dumps(LOG).encode()).content
    text = json.dumps(disclosed(content, KINDS["evaluation"], Disclosure.NAMED))
    assert "SECRET-PROMPT" in text
    for leak in ("/home/", "git@", "SECRET-BASE", "SECRET-SAMPLE"):
        assert leak not in text, leak


def test_an_eval_file_is_read_in_memory_with_everything_in_it():
    header = {name: value for name, value in LOG.items() if name != "samples"}
    zipped = archive({"header.json": header, "samples/1_epoch_1.json": {"input": "x"}, "../../evil": b"x"})
    result = read_one(zipped)
    assert json.loads(result.content["source"]["original"])["members"] == {"samples/1_epoch_1.json": {"input": "x"}}


def test_an_archive_that_would_unpack_to_too_much_keeps_its_header_only(monkeypatch):
    monkeypatch.setattr("tocsin.interchange.inspect.MAX_UNPACKED", 5_000)
    header = {name: value for name, value in LOG.items() if name != "samples"}
    result = read_one(archive({"header.json": header, "samples/1.json": b'"' + b"a" * 100_000 + b'"'}))
    assert "members" not in json.loads(result.content["source"]["original"])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "not an Inspect log"),
        (b"[]", "not a JSON object"),
        (b"{}", "no eval.task or no eval.model"),
        (b"PK\x03\x04nonsense", "the archive is damaged"),
        (archive({"other.json": {}}), "no header.json in the archive"),
        (archive({"header.json": b"{,"}), "not an Inspect log"),
        (archive({"header.json": LOG})[:-40], "the archive is damaged"),
    ],
)
def test_a_file_that_is_no_log_is_reported(data, reason):
    result = read_one(data)
    assert isinstance(result, Unmapped)
    assert reason in result.reason
    assert result.where == "run.eval:1"


def test_every_published_log_is_mapped():
    paths = [p for p in sorted(shared("data/inspect_ai").iterdir()) if p.suffix in {".json", ".eval"}]
    assert len(paths) == 10
    for path in paths:
        (result,) = read_inspect(path.read_bytes(), name=path.name)
        assert isinstance(result, Mapped), result


def test_a_long_run_still_fits_into_a_record():
    metrics = {"accuracy": {"value": 0.5}, "stderr": {"value": 0.1}}
    scores = [{"scorer": f"s{n}", "metrics": metrics} for n in range(500)]
    long = {**LOG, "results": {**LOG["results"], "scores": scores}}
    long["eval"] = {**LOG["eval"], "dataset": {"name": "d", "sample_ids": list(range(5000))}, "tags": ["t"] * 500}
    content = read_one(json.dumps(long).encode()).content
    drafted = Draft(RecordId("3f2b8c1e-6a57-4d0f-9b1e-0c2d4e6f8a10"), "evaluation", "AMBER")
    lab = found("lab-a.example")
    issue(drafted, content, issuer=lab.organisation.org, signer=lab.record, now=NOW, random=seeded("long"))


@pytest.mark.parametrize(("text", "kept"), [("a" * 390_000, True), ("名" * 130_000, True), ("名" * 140_000, False)])
def test_an_original_is_kept_as_long_as_its_bytes_fit_into_a_record(text, kept):
    content = read_one(json.dumps({**LOG, "samples": [text]}, ensure_ascii=False).encode()).content
    assert ("original" in content["source"]) is kept
    lab = found("lab-a.example")
    drafted = Draft(RecordId("3f2b8c1e-6a57-4d0f-9b1e-0c2d4e6f8a10"), "evaluation", "AMBER")
    issue(drafted, content, issuer=lab.organisation.org, signer=lab.record, now=NOW, random=seeded("original"))
