"""What whoever owns a home sees of backups: what is in one, that it opens, and what is wrong where it is not sound."""

import json
import sqlite3
from pathlib import Path

import pyrage
import pytest

KEY = pyrage.x25519.Identity.from_str("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX")
TO = str(KEY.to_public())


@pytest.fixture
def home(tocsin, tmp_path):
    assert tocsin("init", "lab-a.example", "--kind", "lab", "--name", "Lab A", "--listen", "").code == 0
    return tmp_path / "home"


@pytest.fixture
def key(tmp_path):
    file = tmp_path / "key.txt"
    file.write_text(f"# created: 2026-04-01\n# public key: {TO}\n{KEY}\n")
    return file


@pytest.mark.usefixtures("home")
def test_a_backup_is_made_verified_and_restored(tocsin, tmp_path, key):
    file, elsewhere = tmp_path / "backup", tmp_path / "elsewhere"
    made = tocsin("backup", file, "--to", TO, "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["org"] == "lab-a.example"
    verified = tocsin("restore", file, "--identity", key, "--verify-only")
    assert (verified.code, verified.err) == (0, "")
    assert "files of lab-a.example" in verified.out
    assert verified.out.endswith("whole and sound\n")
    restored = tocsin("--home", elsewhere, "restore", file, "--identity", key)
    assert restored.code == 0, restored.err
    assert "tocsin serve" in restored.err
    assert tocsin("--home", elsewhere, "fsck").out == "everything is as it was written\n"
    again = tocsin("--home", elsewhere, "restore", file, "--identity", key)
    assert again.code == 9
    assert "a home already" in again.err


@pytest.mark.usefixtures("home")
def test_recipients_may_stand_in_a_file(tocsin, tmp_path, key):
    recipients = tmp_path / "recipients.txt"
    recipients.write_text(f"# offline\n\n{TO}\n")
    assert tocsin("backup", tmp_path / "backup", "--recipients-file", recipients).code == 0
    assert tocsin("restore", tmp_path / "backup", "--identity", key, "--verify-only", "--json").code == 0


@pytest.mark.usefixtures("home")
def test_a_backup_that_nobody_could_open_is_not_made(tocsin, tmp_path):
    refused = tocsin("backup", tmp_path / "backup")
    assert refused.code == 2
    assert "--to AGE-KEY" in refused.err
    assert tocsin("backup", tmp_path / "backup", "--to", "age1nobody").code == 3
    assert not (tmp_path / "backup").exists()


@pytest.mark.usefixtures("home")
def test_the_wrong_key_is_said_to_be_wrong(tocsin, tmp_path, key):
    assert tocsin("backup", tmp_path / "backup", "--to", TO).code == 0
    key.write_text(str(pyrage.x25519.Identity.generate()))
    refused = tocsin("restore", tmp_path / "backup", "--identity", key, "--verify-only")
    assert refused.code == 3
    assert "does not open with this key" in refused.err
    assert str(key.read_text()) not in refused.err


def test_what_is_not_as_it_was_written_is_listed(tocsin, home):
    connection = sqlite3.connect(home / "tocsin.db")
    connection.execute("DROP TRIGGER audit_never_update")
    connection.execute("UPDATE audit SET person = 'operator'")
    connection.commit()
    connection.close()
    found = tocsin("fsck")
    assert found.code == 8
    assert found.out.startswith("decision log: entry 1 of the decision log does not say")
    listed = tocsin("fsck", "--json")
    assert listed.code == 8
    assert [finding["part"] for finding in json.loads(listed.out)["findings"]] == ["decision log"]


def test_a_home_that_is_not_there_is_neither_sound_nor_backed_up(tocsin, tmp_path):
    assert tocsin("fsck").code == 9
    assert tocsin("backup", tmp_path / "backup", "--to", TO).code == 9
    assert not Path(tmp_path / "backup").exists()
