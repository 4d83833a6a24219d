"""Two nodes at work: the reader follows the log, witnesses it, proves what it holds, and goes on after a stop."""

import json
import sqlite3
import time
from contextlib import closing

import pytest

from tests.cli.conftest import set_environment
from tests.cli.serving import served
from tocsin_cli.demo.network import free_ports

LAB_A, LAB_B = "lab-a.example", "lab-b.example"
SHARES = """
partner = "lab-b.example"

[[share]]
name = "all"
kinds = ["*"]
max_tlp = "AMBER"
classes = "PARTNER"

[accept]
kinds = ["*"]
"""
FINDING = {
    "record": {"kind": "finding", "tlp": "AMBER"},
    "title": "Tool output can redirect an agent",
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "agent", "name": "Example Code Agent"}],
}


@pytest.fixture
def labs(tocsin, tmp_path, monkeypatch):
    """Run two labs that know one another, of which the second reads the first, and yield how to ask each."""
    set_environment(monkeypatch, tmp_path)

    def ask(org):
        def run(*words, code=0):
            shown = tocsin("--home", tmp_path / org, "--profile", f"first@{org}", *words)
            assert shown.code == code, shown.err
            return shown

        return run

    a, b = ask(LAB_A), ask(LAB_B)
    (port,) = free_ports(1)
    for org, run, listen in ((LAB_A, a, f"127.0.0.1:{port}"), (LAB_B, b, "")):
        run("init", org, "--kind", "lab", "--name", org, "--listen", listen)
        (tmp_path / org / "node.toml").write_text(f'listen = "{listen}"\npull = false\n')
    with served(tmp_path / LAB_A), served(tmp_path / LAB_B):
        for org, here, there in ((LAB_A, a, b), (LAB_B, b, a)):
            file = tmp_path / f"{org}.tocsin"
            file.write_text(here("identity", "export").out)
            there("peer", "add", file, "--fingerprint", here("identity", "fingerprint").out.strip())
        (tmp_path / LAB_A / "policies" / f"{LAB_B}.toml").write_text(SHARES)
        a("policy", "apply", "--yes")
        yield a, b


def post(a, folder):
    (folder / "finding.json").write_text(json.dumps(FINDING))
    return a("post", folder / "finding.json").out.split()[1]


def logs(run):
    return {one["org"]: one for one in json.loads(run("log", "show", "--json").out)["logs"]}


def test_a_log_is_followed_witnessed_and_proved_and_gone_on_with_after_a_stop(labs, tmp_path):
    a, b = labs
    name = post(a, tmp_path)
    b("sync")
    followed = logs(b)[LAB_A]
    assert (followed["size"], followed["signed"]) == (1, 1)
    assert {one["org"] for one in followed["cosignatures"]} >= {LAB_B}
    assert b("log", "verify").out.splitlines()[-1] == "lab-a.example: 1 entry, verified"
    b("sync")
    (witness,) = json.loads(a("log", "witness", "--json").out)["witnesses"]
    assert (witness["witness"], witness["cosigned"]["size"]) == (LAB_B, 1)

    proof = tmp_path / "record.tlog-proof"
    proof.write_text(b("show", name, "--proof").out)
    identities = [word for org in (LAB_A, LAB_B) for word in ("--identity", tmp_path / f"{org}.tocsin")]
    verified = b("verify", proof, *identities)
    assert f"by {LAB_B}/witness" in verified.out

    with closing(sqlite3.connect(tmp_path / LAB_B / "tocsin.db")) as store, store:
        store.execute("UPDATE logs SET stopped = 'it signed two different histories' WHERE origin = ?", (LAB_A,))
    second = post(a, tmp_path)
    assert "ORIGIN_STOPPED" in b("sync", code=5).err
    assert f"nothing is taken from {LAB_A}" in b("status").err
    b("show", second, code=6)
    assert b("log", "resume", LAB_A).out == f"the log of {LAB_A} goes on\n"
    time.sleep(1.1)  # what it showed in the second of the resumption is still what it showed before
    b("sync")
    assert second in b("show", second).out
    assert (logs(b)[LAB_A]["size"], logs(b)[LAB_A]["stopped"]) == (2, "")
    assert b("log", "verify").out.splitlines()[-1] == "lab-a.example: 2 entries, verified"
    assert "log-resumed" in b("audit", "show").out
