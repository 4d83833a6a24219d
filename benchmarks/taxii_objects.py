"""This module says the same thing twice, in about 2 KiB: as the content of a finding, and as a STIX 2.1 object."""

import uuid
from datetime import UTC, datetime

from benchmarks.world import SUMMARY
from benchmarks.world import content as usual_content

Object = dict[str, object]
"""A STIX object, as JSON."""


def finding(number: int) -> dict[str, object]:
    """Return the content of a finding."""
    return usual_content(number) | {"summary": SUMMARY * 16 + f"Case {number}."}


def vulnerability(number: int) -> Object:
    """Return what the finding of the same number says, in the words of STIX 2.1."""
    said, created = usual_content(number), now()
    return {
        "type": "vulnerability",
        "spec_version": "2.1",
        "id": f"vulnerability--{uuid.uuid4()}",
        "created": created,
        "modified": created,
        "name": said["title"],
        "description": finding(number)["summary"],
        "labels": ["vulnerability", "high", "psychological", "other", "testing"],
        "external_references": [{"source_name": "Example", "description": "model Example-LM 3"}],
    }


def now() -> str:
    """Return the time as STIX and TAXII write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
