"""This module reads MITRE ATLAS case studies, from `ATLAS.yaml` or from single files.

A case study becomes an incident; one of an exercise says so (`incident_origin`) and is a hazard, not harm done:

    name, summary                  title, summary
    incident-date, granularity     happened_in (month), happened_on
    procedure                      chain_of_events                (the texts of steps are NAMED)
    target                         subjects
    actor, reporter                actors (NAMED), reporters (LOCAL)
    references, id                 references, external_ids

Single files of the ATLAS sources name tactics and techniques by templates
such as `{{reconnaissance.id}}`; those cannot be resolved alone and stay in
the original.
"""

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tocsin.interchange.mapping import (
    MAX_GROUPS,
    Mapped,
    Unmapped,
    clip,
    distinct,
    group_of,
    list_of,
    mapped,
    text_of,
)

SOURCE = "atlas"

# The C loader reads the 400 KiB of ATLAS.yaml ten times as fast; where PyYAML was built without it, the other does.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TACTIC = re.compile(r"AML\.TA\d{4}")
_TECHNIQUE = re.compile(r"AML\.T\d{4}(\.\d{3})?")
_CASE_STUDY = re.compile(r"AML\.CS\d{4}")
_DATE_LENGTHS = {"YEAR": 4, "MONTH": 7, "DATE": 10}


def read_atlas(data: bytes, *, name: str) -> Iterator[Mapped | Unmapped]:
    """Yield an incident for each case study of a file."""
    try:
        nodes = list(_case_studies(data))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else f"{name}:1"
        yield Unmapped(place, f"not YAML that can be read: {getattr(problem, 'problem', None) or 'bad text'}")
        return
    if not nodes:
        yield Unmapped(f"{name}:1", "no ATLAS case study in this file")
    for line, study in nodes:
        yield _read(study, f"{name}:{line}")


def _case_studies(data: bytes) -> Iterator[tuple[int, object]]:
    """Yield the line and the value of each case study, without building the rest of the file.

    Aliases are refused: no ATLAS file has one, and a few lines of them can stand for billions of values.
    """
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=_LOADER)):
        raise yaml.YAMLError("aliases")
    root = yaml.compose(data, Loader=_LOADER)
    if not isinstance(root, yaml.MappingNode):
        return
    members = {key.value: value for key, value in root.value}
    if "case-studies" not in members and "procedure" in members:
        yield root.start_mark.line + 1, _construct(root)
    studies = members.get("case-studies")
    if isinstance(studies, yaml.SequenceNode):
        yield from ((node.start_mark.line + 1, _construct(node)) for node in studies.value)


def _construct(node: yaml.Node) -> object:
    value = yaml.constructor.SafeConstructor().construct_document(node)
    return _plain(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any YAML value
    """Write dates as text, so that the original is JSON."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def _read(study: object, where: str) -> Mapped | Unmapped:
    if not isinstance(study, Mapping) or study.get("object-type") != "case-study":
        return Unmapped(where, "not an ATLAS case study: object-type is not case-study")
    source_id = text_of(study.get("id"))
    if not _CASE_STUDY.fullmatch(source_id):
        return Unmapped(where, f"the id {source_id[:40]!r} is not one of a case study")
    return mapped("incident", _incident(study), source=SOURCE, original=study, where=where)


def _incident(study: Mapping[str, Any]) -> dict[str, Any]:
    is_exercise = study.get("case-study-type") == "exercise"
    date = _date(study)
    steps = [_step(group_of(item)) for item in list_of(study.get("procedure"))][:MAX_GROUPS]
    return {
        "title": clip(text_of(study.get("name"))),
        "summary": text_of(study.get("summary")),
        "incident_class": "hazard" if is_exercise else "incident",
        "incident_origin": "exercise" if is_exercise else "incident",
        "happened_in": date[:7],
        "happened_on": date,
        "subjects": [{"kind": "system", "name": clip(text_of(study.get("target")), 200)}]
        if study.get("target")
        else [],
        "chain_of_events": steps,
        "atlas_tactics": distinct(step.get("atlas_tactic", "") for step in steps),
        "atlas_techniques": distinct(step.get("atlas_technique", "") for step in steps),
        "actors": _names(study.get("actor")),
        "reporters": _names(study.get("reporter")),
        "external_ids": [{"scheme": "ATLAS-CS", "value": text_of(study.get("id"))}],
        "references": [_reference(group_of(item)) for item in list_of(study.get("references"))][:MAX_GROUPS],
    }


def _names(value: object) -> list[dict[str, str]]:
    return [{"name": clip(text_of(value), 200)}] if text_of(value) else []


def _step(item: Mapping[str, Any]) -> dict[str, str]:
    step = {"description": text_of(item.get("description"))}
    if _TACTIC.fullmatch(text_of(item.get("tactic"))):
        step["atlas_tactic"] = text_of(item.get("tactic"))
    if _TECHNIQUE.fullmatch(text_of(item.get("technique"))):
        step["atlas_technique"] = text_of(item.get("technique"))
    return step


def _date(study: Mapping[str, Any]) -> str:
    """Cut the date to what is known of it: a year, a month or a day."""
    length = _DATE_LENGTHS.get(text_of(study.get("incident-date-granularity")), 4)
    return text_of(study.get("incident-date"))[:length]


def _reference(item: Mapping[str, Any]) -> dict[str, str]:
    """Take an address with its title; a title alone stays in the original."""
    url = "%20".join(text_of(item.get("url")).split())
    return {"url": url, "label": clip(text_of(item.get("title")), 1000)} if url else {}
