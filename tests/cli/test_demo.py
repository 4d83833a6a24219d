"""The demo runs, says what it must, and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.serving import served
from tests.support.command import TOCSIN, environment
from tests.support.shared import shared

LONGEST_DEMO_SECONDS = 60
ALL = bool(os.environ.get("TOCSIN_FAULTS"))


def demo(*arguments, folder):
    return subprocess.Popen(
        [*TOCSIN, "demo", *map(str, arguments)],
        env=environment(TMPDIR=folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def nodes_below(folder):
    """Return the processes whose command line names something in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended since
            found += [process.name] * (f"{folder}/" in (process / "cmdline").read_text())
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    started = time.monotonic()
    process = demo("--import", "atlas", atlas(folder), folder=folder)
    out, err = process.communicate(timeout=LONGEST_DEMO_SECONDS * 2)
    assert process.returncode == 0, out + err
    return out, err, time.monotonic() - started, folder


def atlas(folder):
    path = folder / "case.yaml"
    path.write_text(
        "case-studies:\n"
        "- id: AML.CS0000\n"
        "  object-type: case-study\n"
        "  name: Evasion of a detector\n"
        "  summary: A detector was evaded.\n"
        "  incident-date: 2024-01-01\n"
        "  incident-date-granularity: YEAR\n"
        "  case-study-type: exercise\n"
        "  procedure:\n"
        "  - tactic: AML.TA0002\n"
        "    technique: AML.T0000\n"
        "    description: Read papers.\n"
    )
    return path


def test_the_demo_ends_within_a_minute_and_leaves_nothing_behind(told):
    _, _, seconds, folder = told
    assert seconds < LONGEST_DEMO_SECONDS
    assert [path.name for path in folder.iterdir()] == ["case.yaml"]
    assert nodes_below(folder) == []


@pytest.mark.parametrize(
    "promise",
    [
        pytest.param("imported 1 records from case.yaml", id="what was imported"),
        pytest.param("████████ withheld:", id="bars"),
        pytest.param("trade_secret", id="the reason told to the lab"),
        pytest.param("infohazard", id="the reason told to the institute"),
        pytest.param("verified", id="the origin's signature"),
        pytest.param("PERMISSION_DENIED", id="the refusal of the reader"),
        pytest.param("first, who posted it  $ tocsin review approve ", id="the author tries to agree"),
        pytest.param("PERMISSION_DENIED (NOT_PERMITTED): first ", id="and may not"),
        pytest.param("counsel, a releaser  $ tocsin review approve ", id="a second person agrees"),
        pytest.param("aisi.example holds it: Unexplained reads of weight shards", id="what was released arrives"),
        pytest.param('+max_tlp       = "AMBER"', id="what is loosened in the policy"),
        pytest.param("lab-b.example            2  ", id="the plan says what that would do"),
        pytest.param("lab-b.example holds the 2 new records", id="what the policy releases arrives"),
        pytest.param("tocsin reveal ", id="the reveal"),
        pytest.param("aisi.example         2  Corrected: ", id="the amended record arrives"),
        pytest.param("receipts verify, and none is missing", id="what was signed for"),
        pytest.param("lab-b.example  confirmed  ", id="what a partner says to a purge"),
        pytest.param("no byte of what it said is in any of them", id="nothing of the purged record is left"),
        pytest.param("lab-b.example hears from the home of lab-a.example: No release", id="what one is told"),
        pytest.param("aisi.example hears from the copy of lab-a.example: Every release", id="what the other is told"),
        pytest.param("lab-b.example  STOPPED: it signed two different histories", id="the one has stopped lab-a"),
        pytest.param("aisi.example   STOPPED: it signed two different histories", id="and so has the other"),
        pytest.param("lab-a.example  fork  ", id="the evidence"),
        pytest.param(".json: verified", id="the evidence verifies"),
        pytest.param("$ tocsin log resume lab-a.example", id="what people do about it"),
    ],
)
def test_the_demo_shows(told, promise):
    assert promise in told[0]


def test_the_demo_is_plain_text_of_at_most_a_hundred_columns(told):
    assert "\x1b" not in told[0]
    assert max(map(len, told[0].splitlines())) <= 100


def test_each_step_has_a_number_a_heading_and_a_sentence(told):
    lines = told[0].splitlines()
    steps = {at: int(found[1]) for at, line in enumerate(lines) if (found := re.match(r"(\d+)\. ", line))}
    assert list(steps.values()) == list(range(1, 15))
    assert all(lines[at + 1].strip() for at in steps)


def test_an_interrupted_demo_ends_its_nodes_and_removes_its_homes(tmp_path):
    process = demo(folder=tmp_path)
    while "2. " not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LONGEST_DEMO_SECONDS)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert nodes_below(tmp_path) == []


def test_homes_are_kept_where_that_is_asked_for_and_nothing_is_overwritten(tmp_path):
    kept = tmp_path / "three"
    process = demo("--keep", kept, folder=tmp_path)
    out, _ = process.communicate(timeout=LONGEST_DEMO_SECONDS)
    assert process.returncode == 0
    homes = ["aisi.example", "lab-a.example", "lab-b.example"]
    assert sorted(path.name for path in kept.iterdir()) == [*homes, "profiles"]
    again = demo("--keep", kept, folder=tmp_path)
    _, err = again.communicate(timeout=LONGEST_DEMO_SECONDS)
    assert again.returncode == 9
    assert "HOME_EXISTS" in err
    command = [*TOCSIN, "--profile", kept / "profiles" / "first@aisi.example", "list", "--json"]
    with served(kept / "aisi.example"):
        listed = subprocess.run(command, env=environment(), capture_output=True, check=True)
    purged = said_by_the_copy = 1
    shared = shared_with_aisi(out, "fields") + shared_with_aisi(out, "later")
    assert json.loads(listed.stdout)["total"] == shared - purged + said_by_the_copy


def shared_with_aisi(out, how):
    """Return how many of the demo's own records say in the table that the institute gets them now, or later."""
    table = out[out.index("AISI.EXAMPLE GETS") :].split("\n\n")[0].splitlines()[1:]
    assert len(table) == 12
    return sum(line.endswith(how) for line in table)


@pytest.mark.timeout(300)  # thousands of records: most of a minute, on a machine that does nothing else
def test_records_of_avid_and_atlas_are_exchanged_every_one(tmp_path):
    reports, studies = shared("data/avid/reports.jsonl"), shared("data/atlas/ATLAS.yaml")
    if not ALL:
        reports = every_tenth(reports, tmp_path / "reports.jsonl")
    process = demo("--import", "avid", reports, "--import", "atlas", studies, folder=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    imported = sum(int(line.split()[1].replace(",", "")) for line in out.splitlines() if line.startswith("imported "))
    table = out[out.index("RECORDS HELD") :].split("\n\n")[0].splitlines()[1:]
    held = {line.split()[0]: int(line.split()[1].replace(",", "")) for line in table}
    assert imported > (1_200 if ALL else 150)
    assert held["lab-a.example"] == imported + 12
    assert held["aisi.example"] == imported + shared_with_aisi(out, "fields")
    assert held["lab-b.example"] >= imported


def every_tenth(reports, sample):
    sample.write_text("".join(reports.read_text().splitlines(keepends=True)[::10]))
    return sample
