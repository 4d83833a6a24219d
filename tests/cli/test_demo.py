"""The demo runs, says what it must, and leaves nothing behind; in the homes it keeps lies only what policy allows."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.cli.serving import served
from tests.support.command import TOCSIN, environment
from tests.support.shared import shared
from tocsin.desk.home import open_home
from tocsin.records.record import parse_record
from tocsin.store.model import RecordFilter

LAB_A, LAB_B, AISI = "lab-a.example", "lab-b.example", "aisi.example"
REVEALED = "[the exact text of the issue, 212 words"  # what the demo reveals to aisi in its last step
LONGEST_DEMO_SECONDS = 60
ALL = bool(os.environ.get("TOCSIN_FAULTS"))


def demo(*arguments, folder, **variables):
    return subprocess.Popen(
        [*TOCSIN, "demo", *map(str, arguments)],
        env=environment(TMPDIR=folder, **variables),
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
    arguments = ("--keep", folder / "three", "--import", "atlas", atlas(folder))
    process = demo(*arguments, folder=folder, TOCSIN_LOG_LEVEL="debug")
    out, err = process.communicate(timeout=LONGEST_DEMO_SECONDS * 2)
    assert process.returncode == 0, out + err
    return out, err, time.monotonic() - started, folder


@pytest.fixture(scope="module")
def kept(told):
    return told[3] / "three"


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


def test_the_demo_ends_within_a_minute_and_leaves_nothing_behind_but_what_it_is_to_keep(told):
    _, _, seconds, folder = told
    assert seconds < LONGEST_DEMO_SECONDS
    assert sorted(path.name for path in folder.iterdir()) == ["case.yaml", "three"]
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


def test_homes_are_kept_where_that_is_asked_for_and_nothing_is_overwritten(told, kept, tmp_path):
    assert sorted(path.name for path in kept.iterdir()) == [AISI, LAB_A, LAB_B, "profiles"]
    again = demo("--keep", kept, folder=tmp_path)
    _, err = again.communicate(timeout=LONGEST_DEMO_SECONDS)
    assert again.returncode == 9
    assert "HOME_EXISTS" in err
    command = [*TOCSIN, "--profile", kept / "profiles" / f"first@{AISI}", "list", "--json"]
    with served(kept / AISI):
        listed = subprocess.run(command, env=environment(), capture_output=True, check=True)
    imported = purged = said_by_the_copy = 1
    shared = shared_with_aisi(told[0], "fields") + shared_with_aisi(told[0], "later")
    assert json.loads(listed.stdout)["total"] == imported + shared - purged + said_by_the_copy


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
    (tmp_path / "homes").mkdir()
    process = demo("--import", "avid", reports, "--import", "atlas", studies, folder=tmp_path / "homes")
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert list((tmp_path / "homes").iterdir()) == nodes_below(tmp_path / "homes") == []
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


# What policy withholds is in no file of the partner's home: not in its store, its index, its log files.


def bytes_of(home: Path) -> bytes:
    """Return everything that lies in a home, and the store's rows once more: in the file pages cut them in pieces."""
    with closing(sqlite3.connect(home / "tocsin.db")) as store:
        rows = [line.encode() for line in store.iterdump()]
    return b"\n".join([*(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()), *rows])


def secrets_of(home: Path) -> dict[str, str]:
    """Return the texts in brackets of the posted records, each with the disclosure that carries it.

    The example records write what is never for everybody in brackets.
    """
    with open_home(home, now=int(time.time())) as lab:
        records = lab.store.records.list(RecordFilter(), page_size=100).records
        held = [parse_record(lab.store.records.get(record.digest).token) for record in records]
        verified = [record.verify(lab.organisation, now=int(time.time())) for record in held]
    disclosures = [disclosure for record in verified for disclosure in record.disclosures]
    return {d.value: d.encoded for d in disclosures if isinstance(d.value, str) and d.value.startswith("[")}


def test_the_origin_holds_the_secrets_that_are_looked_for(kept):
    secrets = secrets_of(kept / LAB_A)
    held = bytes_of(kept / LAB_A)
    assert len(secrets) >= 20
    assert [text for text, encoded in secrets.items() if encoded.encode() not in held] == []


@pytest.mark.parametrize(("partner", "revealed"), [(LAB_B, []), (AISI, [REVEALED])])
def test_no_file_of_a_partner_holds_what_was_withheld_from_it(kept, partner, revealed):
    held = bytes_of(kept / partner)
    secrets = secrets_of(kept / LAB_A)
    found = [text for text, encoded in secrets.items() if text.encode() in held or encoded.encode() in held]
    assert [text for text in found if not text.startswith(tuple(revealed) or ("\0",))] == []
    assert len(found) == len(revealed)
