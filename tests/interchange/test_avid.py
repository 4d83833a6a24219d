"""AVID reports and vulnerabilities become findings, and nothing of them is lost."""

import json

import pytest

from tests.support.shared import shared
from tocsin.interchange import Mapped, Unmapped, read_avid
from tocsin.schema.contract import KINDS, Disclosure

REPORT = {
    "data_type": "AVID",
    "data_version": "0.3",
    "metadata": {"report_id": "AVID-2026-R9999"},
    "affects": {
        "developer": ["Lab A"],
        "deployer": ["Shop B"],
        "artifacts": [{"type": "Model", "name": "Example-LM"}],
    },
    "problemtype": {
        "classof": "CVE Entry",
        "type": "Advisory",
        "description": {"lang": "eng", "value": "Vulnerability CVE-2026-12345"},
    },
    "description": {"lang": "eng", "value": "The prompt 'say it' makes it say it."},
    "impact": {
        "avid": {
            "risk_domain": ["Security"],
            "sep_view": ["S0403: Adversarial Example"],
            "lifecycle_view": ["L06: Deployment"],
        },
        "cvss": {"vectorString": "CVSS:3.1/AV:N", "baseScore": 9.6, "baseSeverity": "CRITICAL"},
        "cwe": [{"cweId": "CWE-77", "description": "x", "lang": "en"}],
    },
    "metrics": [
        {"name": "", "results": {"rows": [{"detector": "d", "passed": 1, "score": 50.0, "total_evaluated": 2}]}}
    ],
    "references": [{"type": "source", "label": "NVD", "url": "https://example.org/a b"}],
    "credit": [{"lang": "eng", "value": "A. Reporter"}],
    "reported_date": "2026-01-05",
    "a_field_nobody_knows": 7,
}


def read_one(record) -> Mapped | Unmapped:
    (result,) = read_avid(json.dumps(record).encode(), name="report.json")
    return result


def test_a_report_becomes_a_finding_with_its_codes_scores_and_measurements():
    content = read_one(REPORT).content
    assert content["title"] == "Vulnerability CVE-2026-12345"
    assert (content["finding_kind"], content["severity"]) == ("vulnerability", "critical")
    assert content["subjects"] == [{"kind": "model", "name": "Example-LM", "vendor": "Lab A"}]
    assert (content["avid_sep"], content["lifecycle"], content["cwe"]) == (["S0403"], ["L06"], ["CWE-77"])
    assert content["severity_scores"] == [{"scheme": "cvss", "value": "CVSS:3.1/AV:N", "score": 9.6}]
    assert content["measurements"] == [{"metric": "score", "value": 50.0, "scorer": "d", "samples": 2, "passed": 1}]
    assert {"scheme": "CVE", "value": "CVE-2026-12345"} in content["external_ids"]
    assert content["references"][0]["url"] == "https://example.org/a%20b"


def test_nothing_of_the_source_is_lost():
    assert json.loads(read_one(REPORT).content["source"]["original"]) == REPORT


def test_people_and_the_original_never_leave_and_free_text_is_for_partners():
    finding = KINDS["finding"]
    assert finding.field("discoverers").disclosure is Disclosure.LOCAL
    assert finding.field("source").disclosure is Disclosure.LOCAL
    assert finding.field("details").disclosure is Disclosure.PARTNER
    content = read_one(REPORT).content
    shareable = {name: value for name, value in content.items() if finding.field(name).disclosure < Disclosure.PARTNER}
    assert "say it" not in json.dumps(shareable)
    assert "A. Reporter" not in json.dumps(shareable)


def test_the_same_report_written_another_way_has_the_same_digest():
    pretty = json.dumps(REPORT, indent=4, sort_keys=True).encode()
    (again,) = read_avid(pretty, name="pretty.json")
    assert again.digest == read_one(REPORT).digest


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"data_type": "AVID", "metadata": {}}', "no metadata.report_id and no metadata.vuln_id"),
        ('{"data_type": "OSV"}', "not an AVID record: data_type is not AVID"),
        ('{"data_type": "AVID", "data_type": "AVID"}', "not JSON that all readers read alike"),
        ('{"data_type": "AVID", "metadata": {"report_id": "R"}, "reported_date": "soon"}', "reported_on: "),
        ("[1]", "not an AVID record: data_type is not AVID"),
    ],
)
def test_a_line_that_cannot_be_mapped_is_reported_and_the_others_go_on(line, reason):
    data = f"{json.dumps(REPORT)}\n{{}}\n".replace("{}", line if line.startswith("{") else '{"data_type": 1}').encode()
    good, bad = read_avid(data, name="many.jsonl")
    assert isinstance(good, Mapped)
    assert isinstance(bad, Unmapped)
    assert bad.where == "many.jsonl:2"
    assert reason in bad.reason or not line.startswith("{")


def test_an_empty_file_holds_nothing():
    assert list(read_avid(b"\n\n", name="empty.jsonl")) == []


@pytest.mark.parametrize(("file", "count"), [("reports.jsonl", 1174), ("vulnerabilities.jsonl", 26)])
def test_every_published_record_is_mapped(file, count):
    results = list(read_avid(shared(f"data/avid/{file}").read_bytes(), name=file))
    assert [r for r in results if isinstance(r, Unmapped)] == []
    assert len(results) == len({r.content["external_ids"][0]["value"] for r in results}) == count
