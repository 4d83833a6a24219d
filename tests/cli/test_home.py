"""The command on a real home: damaged in every way, and with its node down and up."""

import json
import shutil
import socket
import subprocess

import pytest

from tests.cli.serving import served
from tests.support.command import START_SECONDS, TOCSIN, environment, serving
from tests.support.shared import ROOT
from tocsin_cli.demo.network import free_ports

POLICY = ROOT / "examples" / "two_nodes" / "lab-b.example.toml"
CONTENT = b'{"title": "T", "finding_kind": "hazard", "severity": "low", "subjects": [{"kind": "model", "name": "M"}]}'


def init(tocsin, org, *, listen=""):
    return tocsin("init", org, "--kind", "lab", "--name", org, "--listen", listen)


@pytest.fixture
def home(tocsin, tmp_path):
    """Return a home whose node does not run."""
    (port,) = free_ports(1)
    assert init(tocsin, "lab-a.example", listen=f"127.0.0.1:{port}").code == 0
    return tmp_path / "home"


@pytest.fixture
def running(tocsin, home, tmp_path):
    """Return a home with a record, a peer and a policy in force, whose node runs."""
    init(lambda *words: tocsin("--home", tmp_path / "b", *words), "lab-b.example")
    with served(tmp_path / "b"):
        of_b = ("--home", tmp_path / "b", "identity")
        (tmp_path / "b.tocsin").write_text(tocsin(*of_b, "export").out)
        fingerprint = tocsin(*of_b, "fingerprint").out.strip()
    with served(home):
        assert tocsin("peer", "add", tmp_path / "b.tocsin", "--fingerprint", fingerprint).code == 0
        assert tocsin("policy", "apply", POLICY, "--yes").code == 0
        assert tocsin("post", "-", "--kind", "finding", "--tlp", "GREEN", stdin=CONTENT).code == 0
        yield home


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
    shown = tocsin("serve")
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


ASKED_OF_THE_NODE = [
    ("status",),
    ("list",),
    ("search", "T"),
    ("show", "3f2a"),
    ("export", "--all"),
    ("identity", "export"),
    ("peer", "list"),
    ("person", "list"),
    ("policy", "check"),
    ("explain", "3f2a", "--to", "lab-b.example"),
    ("review", "list"),
    ("audit", "verify"),
    ("sync",),
]


def test_with_the_node_down_every_question_says_how_to_start_it(tocsin, home):
    for question in ASKED_OF_THE_NODE:
        shown = tocsin(*question)
        assert (shown.code, shown.out) == (9, ""), question
        assert "[NODE_NOT_RUNNING]" in shown.err
        assert "tocsin: hint: start it with: tocsin serve" in shown.err


def test_a_node_that_runs_once_fetches_and_stops(tocsin, home):
    assert tocsin("serve", "--once").code == 0
    assert "[NODE_NOT_RUNNING]" in tocsin("list").err


def test_the_keys_of_a_person_are_not_recovered_while_the_node_runs(tocsin, running, monkeypatch):
    monkeypatch.setattr("tocsin_cli.session.LOCK_PATIENCE_SECONDS", 0)
    shown = tocsin("person", "recover", "first")
    assert shown.code == 9
    assert "[HOME_LOCKED]" in shown.err
    assert tocsin("status").code == 0


CASE_STUDY = b"""
id: AML.CS0000
object-type: case-study
name: Evasion
summary: It was evaded.
incident-date: 2024-01-01
procedure: []
"""


def test_records_are_posted_imported_and_revealed_and_peers_stopped(tocsin, running):
    status = json.loads(tocsin("status", "--json").out)
    assert (status["serving"], status["caller"]["name"]) == (True, "first")
    shown = tocsin("post", "-", "--kind", "finding", "--tlp", "GREEN", stdin=CONTENT)
    assert "queued for lab-b.example" in shown.out
    posted = shown.out.split()[1]
    assert tocsin("reveal", posted, "title", "--to", "lab-b.example").out == "queued for lab-b.example: title\n"
    assert tocsin("reveal", posted, "subjects", "--to", "aisi.example").code == 6
    imported = json.loads(tocsin("import", "atlas", "-", "--json", stdin=CASE_STUDY).out)
    assert (imported["imported"], imported["existed"]) == (1, 0)
    assert json.loads(tocsin("list", "--json").out)["total"] == 3
    assert tocsin("peer", "suspend", "lab-b.example").out == "lab-b.example is suspended\n"
    assert tocsin("sync", "lab-b.example").code == 5


def test_each_person_may_do_what_its_roles_say_and_nothing_once_it_is_gone(tocsin, running):
    def as_(name, *words, **more):
        return tocsin("--profile", name, *words, **more)

    assert tocsin("person", "add", "auditor-1", "--role", "auditor").code == 0
    assert tocsin("list").code == 2  # two profiles for the home: somebody must be named
    assert as_("auditor-1", "list").code == 0
    refused = as_("auditor-1", "post", "-", "--kind", "finding", stdin=CONTENT)
    assert refused.code == 5
    assert "[NOT_PERMITTED]" in refused.err
    assert as_("first", "person", "change", "auditor-1", "--role", "analyst").code == 0
    assert as_("auditor-1", "post", "-", "--kind", "finding", stdin=CONTENT).code == 0
    assert as_("first", "person", "remove", "auditor-1").code == 0
    gone = as_("auditor-1", "list")
    assert gone.code == 5
    assert "[PERSON_UNKNOWN]" in gone.err


def test_a_profile_that_the_node_has_never_heard_of_is_told_so(tocsin, running, tmp_path):
    shutil.move(tmp_path / "config" / "tocsin" / "profiles" / "first@lab-b.example", tmp_path / "keys")
    person = (tmp_path / "keys" / "person.toml").read_text()
    (tmp_path / "keys" / "person.toml").write_text(person.replace("lab-b.example", "lab-a.example"))
    own = tmp_path / "config" / "tocsin" / "profiles" / "first@lab-a.example"
    shutil.copy(own / "identity.tocsin", tmp_path / "keys")
    shown = tocsin("--profile", tmp_path / "keys", "list")
    assert shown.code == 5
    assert "the node does not know this profile [PERSON_UNKNOWN]" in shown.err


def test_an_analyst_elsewhere_works_over_the_desk_port(tocsin, home, tmp_path, monkeypatch):
    (port,) = free_ports(1)
    desk, identity, settings = f"127.0.0.1:{port}", tmp_path / "lab-a.tocsin", home / "node.toml"
    settings.write_text(f'{settings.read_text()}desk_listen = "{desk}"\n')
    with served(home):
        identity.write_text(tocsin("identity", "export").out)
        card = tocsin("person", "card", "analyst-1", "--identity", identity, "--desk", desk).out.encode()
        add = ("person", "add", "analyst-1", "--role", "analyst", "--card", "-")
        early = tocsin("--profile", "analyst-1", "list")
        assert tocsin(*add, stdin=card).code == 0
        monkeypatch.delenv("TOCSIN_HOME")
        shown = tocsin("--profile", "analyst-1", "status", "--json")
    assert "[PERSON_UNKNOWN]" in early.err
    assert json.loads(shown.out)["caller"]["name"] == "analyst-1"
    gone = tocsin("--profile", "analyst-1", "list")
    assert f"{desk}: the node cannot be reached [NODE_NOT_RUNNING]" in gone.err


def test_a_second_node_on_the_same_home_is_refused(home):
    with serving(home):
        command = [*TOCSIN, "--home", home, "serve"]
        second = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert second.returncode == 9
    assert "[HOME_LOCKED]" in second.stderr
