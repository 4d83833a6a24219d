"""The command on a real home: damaged in every way, and with its node up and down."""

import json
import shutil
import socket
import subprocess

import pytest

from tests.support.command import START_SECONDS, TOCSIN, environment, serving
from tests.support.shared import ROOT
from tocsin_cli.demo.network import free_ports

CONTENT = b'{"title": "T", "finding_kind": "hazard", "severity": "low", "subjects": [{"kind": "model", "name": "M"}]}'


@pytest.fixture
def home(tocsin, tmp_path):
    """Return a home with a record, a peer and a policy."""
    tocsin("--home", tmp_path / "b", "init", "lab-b.example", "--kind", "lab", "--name", "Lab B", "--listen", "")
    (tmp_path / "b.tocsin").write_text(tocsin("--home", tmp_path / "b", "identity", "export").out)
    fingerprint = tocsin("--home", tmp_path / "b", "identity", "fingerprint").out.strip()
    (port,) = free_ports(1)
    tocsin("init", "lab-a.example", "--kind", "lab", "--name", "Lab A", "--listen", f"127.0.0.1:{port}")
    tocsin("peer", "add", tmp_path / "b.tocsin", "--fingerprint", fingerprint)
    shutil.copy(ROOT / "examples" / "two_nodes" / "lab-b.example.toml", tmp_path / "home" / "policies")
    assert tocsin("post", "-", "--kind", "finding", "--tlp", "GREEN", stdin=CONTENT).code == 0
    return tmp_path / "home"


def lose_a_key(home):
    (home / "keys" / "record.pem").unlink()


def lose_the_identity(home):
    (home / "identity" / "document.tocsin").unlink()


def truncate_the_identity(home):
    document = home / "identity" / "document.tocsin"
    document.write_bytes(document.read_bytes()[:100])


def garble_a_key(home):
    (home / "keys" / "delivery.pem").write_text("no key")


def expose_a_key(home):
    (home / "keys" / "record.pem").chmod(0o644)


def tear_the_store(home):
    store = home / "tocsin.db"
    torn = bytearray(store.read_bytes())
    torn[16_384 : 16_384 * 4] = b"\xff" * (16_384 * 3)
    store.write_bytes(torn)


def replace_the_store(home):
    (home / "tocsin.db").write_text("no database\n" * 1000)


def forget_the_settings(home):
    (home / "node.toml").unlink()


DAMAGE = [
    pytest.param(lose_a_key, 9, "HOME_DAMAGED", id="a key is missing"),
    pytest.param(lose_the_identity, 9, "HOME_DAMAGED", id="the identity is missing"),
    pytest.param(truncate_the_identity, 9, "HOME_DAMAGED", id="the identity is half written"),
    pytest.param(garble_a_key, 9, "HOME_DAMAGED", id="a key file is no key"),
    pytest.param(expose_a_key, 9, "KEY_EXPOSED", id="a key can be read by others"),
    pytest.param(tear_the_store, 8, "STORE_CORRUPT", id="pages of the store are torn"),
    pytest.param(replace_the_store, 8, "STORE_CORRUPT", id="the store is no database"),
    pytest.param(forget_the_settings, 9, "HOME_DAMAGED", id="the settings are missing"),
]


@pytest.mark.parametrize(("damage", "code", "reason"), DAMAGE)
def test_a_damaged_home_has_its_own_error_and_hint(tocsin, home, damage, code, reason):
    damage(home)
    shown = tocsin("list")
    assert shown.code == code
    assert shown.out == ""
    assert f"[{reason}]" in shown.err.splitlines()[0]
    assert "tocsin: hint: " in shown.err
    assert "Traceback" not in shown.err


def test_a_busy_port_is_said_with_the_address(tocsin, home):
    settings = (home / "node.toml").read_text()
    host, _, port = settings.split('listen = "')[1].split('"')[0].rpartition(":")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, int(port)))
        other.listen()
        with serving(home) as process:
            assert process.wait(START_SECONDS) == 9
            assert f"{host}:{port}" in process.stderr.read()


def test_wrong_settings_are_all_said_at_once(home):
    with (home / "node.toml").open("a") as settings:
        settings.write("heartbeat_second = 1\nlog_level = 'loud'\n")
    with serving(home) as process:
        assert process.wait(START_SECONDS) == 3
        said = process.stderr.read()
    assert "did you mean heartbeat_seconds?" in said
    assert "log_level" in said
    assert "[BAD_CONFIG]" in said


QUESTIONS = [
    ("list", "--json"),
    ("search", "T", "--json"),
    ("show", "{id}", "--json"),
    ("export", "{id}"),
    ("export", "--all"),
    ("identity", "show", "--json"),
    ("identity", "export"),
    ("peer", "list", "--json"),
    ("peer", "show", "lab-b.example", "--json"),
    ("policy", "check", "--json"),
    ("explain", "{id}", "--to", "lab-b.example", "--json"),
    ("preview", "{id}", "--to", "lab-b.example", "--raw"),
    ("show", "ffffffff"),
    ("peer", "show", "lab-x.example"),
    ("explain", "{id}", "--to", "Not An Org"),
]


def test_every_question_has_the_same_answer_with_the_node_up_and_down(tocsin, home):
    record_id = json.loads(tocsin("list", "--json").out)["records"][0]["envelope"]["record_id"]
    commands = [[word.format(id=record_id) for word in question] for question in QUESTIONS]
    down = [tocsin(*command) for command in commands]
    with serving(home):
        assert json.loads(tocsin("status", "--json").out)["serving"] is True
        up = [tocsin(*command) for command in commands]
    for command, before, after in zip(commands, down, up, strict=True):
        assert after == before, command
    assert [answer.code for answer in down] == [0] * 12 + [6, 6, 3]


CASE_STUDY = b"""
id: AML.CS0000
object-type: case-study
name: Evasion
summary: It was evaded.
incident-date: 2024-01-01
procedure: []
"""


def test_records_are_posted_imported_and_revealed_and_peers_stopped_with_the_node_up(tocsin, home):
    with serving(home):
        assert json.loads(tocsin("status", "--json").out)["serving"] is True
        shown = tocsin("post", "-", "--kind", "finding", "--tlp", "GREEN", stdin=CONTENT)
        assert "queued for lab-b.example" in shown.out
        posted = shown.out.split()[1]
        assert tocsin("reveal", posted, "title", "--to", "lab-b.example").out == "queued for lab-b.example: title\n"
        assert tocsin("reveal", posted, "subjects", "--to", "aisi.example").code == 6
        imported = json.loads(tocsin("import", "atlas", "-", "--json", stdin=CASE_STUDY).out)
        assert (imported["imported"], imported["existed"]) == (1, 0)
        assert json.loads(tocsin("list", "--json").out)["total"] == 3
        assert tocsin("peer", "suspend", "lab-b.example").out == "lab-b.example is suspended\n"
        assert tocsin("sync", "--once", "lab-b.example").code == 5


def test_a_second_node_on_the_same_home_is_refused(home):
    with serving(home):
        command = [*TOCSIN, "--home", home, "serve"]
        second = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert second.returncode == 9
    assert "[HOME_LOCKED]" in second.stderr
