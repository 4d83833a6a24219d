"""This module reads evaluation logs of Inspect AI, `.json` and `.eval`.

A log becomes an evaluation. What it says of the run goes into `eval_spec`;
what is known to leak goes into fields that stay here (file names, git
remote, model arguments, error texts) or that only named recipients get (task
arguments, sandbox, system prompts). Samples are counted in
`redaction_of_samples`, never simply absent; they stay in the original.

An `.eval` file is a ZIP of JSON members. Nothing is unpacked to disk: members
are read in memory by name, up to `MAX_UNPACKED` bytes in all.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tocsin.encoding import dump_json, parse_json
from tocsin.errors import MalformedEncoding
from tocsin.interchange.mapping import (
    MAX_GROUPS,
    Mapped,
    Unmapped,
    clip,
    group_of,
    list_of,
    mapped,
    text_of,
)
from tocsin.schema.contract import DEFAULT_MAX_ITEMS

SOURCE = "inspect"

# A log of a long run has gigabytes of samples; the original is kept only up to 400 KB anyway.
MAX_UNPACKED = 64 * 1024 * 1024

_ZIP_MAGIC = b"PK\x03\x04"
_HEADERS = ("header.json", "_journal/start.json")
_COMMIT = re.compile("[0-9a-f]{7,64}")
_STATUSES = {"success", "error", "cancelled", "started"}


class _Unreadable(Exception):
    """A log that cannot be read; the text says why."""


def read_inspect(data: bytes, *, name: str) -> Iterator[Mapped | Unmapped]:
    """Yield the evaluation that a log holds."""
    try:
        log = _unzip(data) if data.startswith(_ZIP_MAGIC) else _object(data)
    except (_Unreadable, MalformedEncoding) as problem:
        yield Unmapped(f"{name}:1", f"not an Inspect log: {problem}")
        return
    spec = group_of(log.get("eval"))
    if not text_of(spec.get("task")) or not text_of(spec.get("model")):
        yield Unmapped(f"{name}:1", "not an Inspect log: no eval.task or no eval.model")
        return
    yield mapped("evaluation", _evaluation(log), source=SOURCE, original=log, where=f"{name}:1")


def _object(data: bytes) -> Mapping[str, Any]:
    value = parse_json(data)
    if not isinstance(value, Mapping):
        raise _Unreadable("not a JSON object")
    return value


def _unzip(data: bytes) -> Mapping[str, Any]:
    """Read the header, and every other JSON member beside it under its own name, as one log."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        header = next((name for name in _HEADERS if name in archive.namelist()), None)
        if header is None:
            raise _Unreadable("no header.json in the archive")
        if sum(member.file_size for member in archive.infolist()) > MAX_UNPACKED:
            return _object(_member(archive, header))
        others = [name for name in archive.namelist() if name.endswith(".json") and name != header]
        return {
            **_object(_member(archive, header)),
            "members": {name: parse_json(_member(archive, name)) for name in others},
        }
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as problem:
        raise _Unreadable("the archive is damaged") from problem


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a member, and no more of it than the archive says and the limit allows."""
    with archive.open(name) as member:
        data = member.read(MAX_UNPACKED + 1)
    if len(data) > MAX_UNPACKED:
        raise _Unreadable("a member is too large")
    return data


def _evaluation(log: Mapping[str, Any]) -> dict[str, Any]:
    spec = group_of(log.get("eval"))
    results = group_of(log.get("results"))
    stats = group_of(log.get("stats"))
    task, model = text_of(spec.get("task")), text_of(spec.get("model"))
    completed = _count(results.get("completed_samples"))
    status = text_of(log.get("status"))
    return {
        "title": clip(f"{task} on {model}"),
        "protocol": {"id": clip(task, 200), "version": str(spec.get("task_version", "")), "standard": "inspect"},
        "subjects": [_subject(model)],
        "evaluated_in": text_of(spec.get("created"))[:7],
        "started_at": _time(stats.get("started_at")),
        "completed_at": _time(stats.get("completed_at")),
        "dataset": _dataset(group_of(spec.get("dataset"))),
        "eval_spec": _eval_spec(log, spec),
        "results": _results(results)[:MAX_GROUPS],
        "completed_samples": completed,
        "total_samples": _count(results.get("total_samples")),
        "run_status": status if status in _STATUSES else None,
        "run_error": text_of(group_of(log.get("error")).get("message")),
        "invalidated": log.get("invalidated") if isinstance(log.get("invalidated"), bool) else None,
        "redaction_of_samples": {"withheld_n": completed} if completed else {},
        "prompts": _prompts(log),
        "tags": [clip(str(tag), 100) for tag in list_of(spec.get("tags"))][:DEFAULT_MAX_ITEMS],
        "external_ids": [{"scheme": "INSPECT", "value": text_of(spec.get("eval_id"))}] if spec.get("eval_id") else [],
    }


def _subject(model: str) -> dict[str, str]:
    """Split `vendor/name`, as Inspect names models; what has no slash is only a name."""
    vendor, _, name = model.rpartition("/")
    return {"kind": "model", "name": clip(name, 200), "vendor": clip(vendor, 200)}


def _dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": clip(text_of(dataset.get("name")), 200),
        "samples": _count(dataset.get("samples")),
        "location": text_of(dataset.get("location"))[:1000],
        "sample_ids": _names(map(str, list_of(dataset.get("sample_ids")))),
    }


def _names(items: Iterable[str]) -> list[str]:
    return [clip(item, 200) for item in items][:DEFAULT_MAX_ITEMS]


def _eval_spec(log: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    config = group_of(spec.get("config"))
    plan = group_of(log.get("plan"))
    revision = group_of(spec.get("revision"))
    commit = text_of(revision.get("commit"))
    return {
        "eval_id": text_of(spec.get("eval_id")),
        "run_id": text_of(spec.get("run_id")),
        "created": _time(spec.get("created")),
        "task": clip(text_of(spec.get("task")), 200),
        "task_version": str(spec.get("task_version", "")),
        "task_file": text_of(spec.get("task_file"))[:1000],
        "task_args": _text(spec.get("task_args")),
        "solver": clip(", ".join(text_of(group_of(step).get("solver")) for step in list_of(plan.get("steps"))), 2000),
        "sandbox": _text(spec.get("sandbox"))[:2000],
        "generate_config": _text(plan.get("config")),
        "model_args": _text(spec.get("model_args")),
        "model_roles": _text(spec.get("model_roles")),
        "epochs": _count(config.get("epochs")),
        "limits": _text({name: value for name, value in config.items() if "limit" in name}),
        "fail_on_error": str(config["fail_on_error"]).lower() if "fail_on_error" in config else "",
        "revision": {
            "origin": text_of(revision.get("origin"))[:1000],
            "commit": commit if _COMMIT.fullmatch(commit) else "",
            "dirty": revision.get("dirty") if isinstance(revision.get("dirty"), bool) else None,
        },
        "packages": _names(f"{name}=={version}" for name, version in group_of(spec.get("packages")).items()),
        "scorers": _names(text_of(group_of(item).get("name")) for item in list_of(spec.get("scorers"))),
    }


def _text(value: object) -> str:
    """Write settings as JSON text; empty ones are absent."""
    return dump_json(value).decode() if value else ""


def _results(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List every metric of every scorer; a standard error belongs to the metric before it."""
    measured: list[dict[str, Any]] = []
    for score in map(group_of, list_of(results.get("scores"))):
        metrics = {name: group_of(metric).get("value") for name, metric in group_of(score.get("metrics")).items()}
        stderr = metrics.pop("stderr", None)
        for metric, value in metrics.items():
            if isinstance(value, int | float):
                measured.append(
                    {
                        "metric": clip(metric, 200),
                        "value": value,
                        "scorer": clip(text_of(score.get("scorer")) or text_of(score.get("name")), 200),
                        "samples": _count(score.get("scored_samples")) or _count(results.get("completed_samples")),
                        "stderr": stderr if isinstance(stderr, int | float) else None,
                    }
                )
    return measured


def _prompts(log: Mapping[str, Any]) -> list[str]:
    """Take the templates of the plan's steps: exact text that was put to the model."""
    steps = [group_of(group_of(step).get("params")) for step in list_of(group_of(log.get("plan")).get("steps"))]
    return [text_of(params.get("template")) for params in steps if text_of(params.get("template"))][:DEFAULT_MAX_ITEMS]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _time(value: object) -> str:
    """Write an ISO 8601 time with an offset as RFC 3339 UTC; anything else is absent."""
    try:
        moment = datetime.fromisoformat(text_of(value))
    except ValueError:
        return ""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment.tzinfo else ""
