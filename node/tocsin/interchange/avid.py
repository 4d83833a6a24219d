"""This module reads reports and vulnerabilities of the AI Vulnerability Database (AVID 0.1 to 0.3).

A file holds one record as JSON, a list of them, or one to a line (`.jsonl`).
Every record becomes a finding:

    problemtype.description        title
    description                    details        (free text quotes prompts: for partners, not for all)
    affects.artifacts              subjects       developers and deployers beside them
    impact.avid                    risk_domain, avid_sep, lifecycle
    impact.cvss, impact.odin       severity_scores, and severity where there is a CVSS level
    impact.cwe                     cwe
    metrics                        measurements
    references, metadata           references, external_ids
    credit                         discoverers    (people: LOCAL)

Format: the data model of AVID's `avidtools`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.encoding import parse_json
from tocsin.errors import MalformedEncoding
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
    word_of,
)

SOURCE = "avid"

# Some vulnerabilities name no artifact, and a finding must be about something.
UNNAMED = "(not named in the source)"

_CVE = re.compile(r"CVE-\d{4}-\d{4,}")
_SEP = re.compile(r"[SEP]\d{4}")
_LIFECYCLE = re.compile(r"L0[1-6]")
_CWE = re.compile(r"CWE-\d{1,5}")
_ARTIFACTS = frozenset({"model", "system", "dataset"})
_REPORTS = frozenset({"issue", "advisory", "measurement", "detection"})
_LINKS = frozenset({"source", "model", "screenshot", "documentation"})
_DOMAINS = frozenset({"security", "ethics", "performance"})
_SEVERITIES = {"none": "negligible", "low": "low", "medium": "medium", "high": "high", "critical": "critical"}
_KINDS = {
    "CVE Entry": "vulnerability",
    "LLM Evaluation": "safety_flaw",
    "AIID Incident": "real_world_event",
}


def read_avid(data: bytes, *, name: str) -> Iterator[Mapped | Unmapped]:
    """Yield a finding for each AVID record of a file; `name` stands in the places of those that cannot be mapped."""
    for where, text in _records(data, name):
        try:
            record = parse_json(text)
        except MalformedEncoding as problem:
            yield Unmapped(where, problem.message)
            continue
        entries = record if isinstance(record, list) else [record]
        for number, entry in enumerate(entries, start=1):
            place = where if len(entries) == 1 else f"{where}[{number}]"
            yield _read(entry, place)


def _records(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Split into JSON texts: the whole file where it is one, else one for each line."""
    lines = data.splitlines()
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if len(filled) > 1 and all(line.lstrip().startswith(b"{") for _, line in filled[:2]):
        yield from ((f"{name}:{number}", line) for number, line in filled)
    elif filled:
        yield f"{name}:{filled[0][0]}", data


def _read(record: object, where: str) -> Mapped | Unmapped:
    if not isinstance(record, Mapping) or record.get("data_type") != "AVID":
        return Unmapped(where, "not an AVID record: data_type is not AVID")
    metadata = group_of(record.get("metadata"))
    source_id = text_of(metadata.get("report_id")) or text_of(metadata.get("vuln_id"))
    if not source_id:
        return Unmapped(where, "no metadata.report_id and no metadata.vuln_id")
    return mapped("finding", _finding(record, source_id), source=SOURCE, original=record, where=where)


def _finding(record: Mapping[str, Any], source_id: str) -> dict[str, Any]:
    problem = group_of(record.get("problemtype"))
    impact = group_of(record.get("impact"))
    avid = group_of(impact.get("avid"))
    affects = group_of(record.get("affects"))
    odin = group_of(impact.get("odin"))
    return {
        "title": clip(text_of(problem.get("description")) or source_id),
        "finding_kind": _KINDS.get(text_of(problem.get("classof")), "hazard"),
        "severity": _severity(group_of(impact.get("cvss"))),
        "subjects": _subjects(affects),
        "details": text_of(record.get("description")),
        "report_type": word_of(problem.get("type"), _REPORTS),
        "reported_on": text_of(record.get("reported_date")),
        "published_on": text_of(record.get("published_date")),
        "risk_domain": distinct(word_of(item, _DOMAINS) for item in list_of(avid.get("risk_domain"))),
        "avid_sep": _codes(_SEP, avid.get("sep_view")),
        "lifecycle": _codes(_LIFECYCLE, avid.get("lifecycle_view")),
        "cwe": _codes(_CWE, [group_of(item).get("cweId") for item in list_of(impact.get("cwe"))]),
        "severity_scores": _scores(group_of(impact.get("cvss")), odin),
        "pattern_descriptor": [_pattern(group_of(item)) for item in list_of(odin.get("JailbreakTaxonomy"))][
            :MAX_GROUPS
        ],
        "measurements": _measurements(record)[:MAX_GROUPS],
        "developers": [{"name": clip(name, 200)} for name in distinct(map(text_of, list_of(affects.get("developer"))))],
        "deployers": [{"name": clip(name, 200)} for name in distinct(map(text_of, list_of(affects.get("deployer"))))],
        "discoverers": [{"name": clip(text_of(item), 200)} for item in list_of(record.get("credit")) if text_of(item)],
        "external_ids": _external_ids(record, source_id),
        "references": [_reference(group_of(item)) for item in list_of(record.get("references"))][:MAX_GROUPS],
    }


def _severity(cvss: Mapping[str, Any]) -> str:
    """Take the CVSS level where there is one; AVID itself states none."""
    return _SEVERITIES.get(text_of(cvss.get("baseSeverity")).lower(), "not_sure")


def _subjects(affects: Mapping[str, Any]) -> list[dict[str, Any]]:
    vendors = distinct(map(text_of, list_of(affects.get("developer"))))
    vendor = clip(vendors[0], 200) if len(vendors) == 1 else ""
    named = [
        {
            "kind": word_of(item.get("type"), _ARTIFACTS, otherwise="system"),
            "name": clip(text_of(item.get("name")), 200),
            "vendor": vendor,
        }
        for item in map(group_of, list_of(affects.get("artifacts")))
        if text_of(item.get("name"))
    ][:MAX_GROUPS]
    return named or [{"kind": "system", "name": UNNAMED, "vendor": vendor}]


def _codes(pattern: re.Pattern[str], values: object) -> list[str]:
    """Take the code in front of each label: `S0403: Adversarial Example` is `S0403`."""
    return distinct(found.group() for item in list_of(values) if (found := pattern.match(str(item))))


def _scores(cvss: Mapping[str, Any], odin: Mapping[str, Any]) -> list[dict[str, Any]]:
    scores: list[dict[str, Any]] = []
    if vector := text_of(cvss.get("vectorString")):
        scores.append({"scheme": "cvss", "value": clip(vector), "score": cvss.get("baseScore")})
    if level := text_of(odin.get("SocialImpactScore")):
        scores.append({"scheme": "0din", "value": clip(level)})
    return scores


def _pattern(item: Mapping[str, Any]) -> dict[str, str]:
    return {name: clip(text_of(item.get(name.title())), 200) for name in ("category", "strategy", "technique")}


def _measurements(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    measurements: list[dict[str, Any]] = []
    for metric in map(group_of, list_of(record.get("metrics"))):
        results = group_of(metric.get("results"))
        measurements += [_garak_row(row) for row in map(group_of, list_of(results.get("rows")))]
        measurements += [_odin_row(row) for row in map(group_of, list_of(results.get("Test Scores")))]
        if isinstance(metric.get("value"), int | float):
            label = clip(text_of(metric.get("metrics")) or "value", 200)
            measurements.append(
                {"metric": label, "value": metric["value"], "scorer": clip(text_of(metric.get("scorer")), 200)}
            )
    return measurements


def _garak_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "metric": "score",
        "value": row.get("score"),
        "scorer": clip(text_of(row.get("detector")), 200),
        "samples": row.get("total_evaluated"),
        "passed": row.get("passed"),
    }


def _odin_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "metric": "test score",
        "value": _number(row.get("Test Score")),
        "subject": clip(text_of(row.get("Model")), 200),
        "test": clip(text_of(row.get("Test Kind")), 200),
        "temperature": _number(row.get("Temperature (max 2.0)")),
    }


def _number(value: object) -> float | None:
    """Read a number that is written as text; `N/A` is none."""
    try:
        return float(str(value))
    except ValueError:
        return None


def _external_ids(record: Mapping[str, Any], source_id: str) -> list[dict[str, str]]:
    problem = text_of(group_of(record.get("problemtype")).get("description"))
    cves = distinct(_CVE.findall(problem))
    reports = [text_of(group_of(item).get("report_id")) for item in list_of(record.get("reports"))]
    avid = distinct([source_id, text_of(group_of(group_of(record.get("impact")).get("avid")).get("vuln_id")), *reports])
    return [{"scheme": "AVID", "value": value} for value in avid] + [
        {"scheme": "CVE", "value": value} for value in cves
    ]


def _reference(item: Mapping[str, Any]) -> dict[str, str]:
    url = "%20".join(text_of(item.get("url")).split())
    label = clip(text_of(item.get("label")), 1000)
    kind = word_of(item.get("type"), _LINKS, otherwise="other")
    return {"url": url, "label": label, "kind": kind} if url else {}
