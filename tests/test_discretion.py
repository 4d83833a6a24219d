"""What policy withholds is in no file of the partner's home: not in its store, its index, its log files."""

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command import TOCSIN, environment
from tocsin.desk.home import open_home
from tocsin.records.record import parse_record
from tocsin.store.model import RecordFilter

LAB_B, AISI = "lab-b.example", "aisi.example"
REVEALED = "[the exact text of the issue, 212 words"  # what the demo reveals to aisi in its last step


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> Path:
    kept = tmp_path_factory.mktemp("discretion") / "homes"
    command = [*TOCSIN, "demo", "--keep", str(kept)]
    subprocess.run(command, env=environment(TOCSIN_LOG_LEVEL="debug"), capture_output=True, check=True)
    return kept


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


def test_the_origin_holds_the_secrets_that_are_looked_for(homes):
    secrets = secrets_of(homes / "lab-a.example")
    held = bytes_of(homes / "lab-a.example")
    assert len(secrets) >= 20
    assert [text for text, encoded in secrets.items() if encoded.encode() not in held] == []


@pytest.mark.parametrize(("partner", "revealed"), [(LAB_B, []), (AISI, [REVEALED])])
def test_no_file_of_a_partner_holds_what_was_withheld_from_it(homes, partner, revealed):
    held = bytes_of(homes / partner)
    secrets = secrets_of(homes / "lab-a.example")
    found = [text for text, encoded in secrets.items() if text.encode() in held or encoded.encode() in held]
    assert [text for text in found if not text.startswith(tuple(revealed) or ("\0",))] == []
    assert len(found) == len(revealed)
