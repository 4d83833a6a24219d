"""Every example runs as its readers would run it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.command import TOCSIN, serving
from tests.support.command import environment as command_environment
from tests.support.shared import ROOT
from tocsin.policy.parse import parse_policies
from tocsin.schema.contract import KINDS
from tocsin.schema.files import parse_content_file
from tocsin_cli.demo.network import MEMBERS, free_ports, policy_text
from tocsin_cli.demo.records import demo_records

EXAMPLES = ROOT / "examples"


@pytest.fixture
def environment(tmp_path):
    """Return an environment in which `tocsin` is the command of this checkout."""
    command = tmp_path / "bin" / "tocsin"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.join(TOCSIN)} "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return command_environment(PATH=path, XDG_CONFIG_HOME=tmp_path / "config", LOGNAME="first")


def run(*command, environment, folder, code=0):
    done = subprocess.run(
        [str(word) for word in command], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_two_nodes_exchange_a_finding(environment, tmp_path):
    port_a, port_b = free_ports(2)
    environment |= {"PORT_A": str(port_a), "PORT_B": str(port_b), "TMPDIR": str(tmp_path)}
    done = run(EXAMPLES / "two_nodes" / "run.sh", environment=environment, folder=tmp_path)
    assert "queued for nobody" in done.stdout
    assert "████████ withheld: trade_secret" in done.stdout
    assert "record.sdjwt: verified" in done.stdout
    assert "the exact text" not in done.stdout
    assert not list(tmp_path.glob("tmp.*"))


def test_a_peer_that_only_reads_pulls_by_cron_without_a_port(environment, tmp_path):
    lab = tmp_path / "lab"
    (port,) = free_ports(1)
    tocsin = ("tocsin", "--home", lab)

    def step(*command, code=0):
        return run(*command, environment=environment, folder=tmp_path, code=code).stdout

    step(*tocsin, "init", "lab-a.example", "--kind", "lab", "--name", "Lab A", "--listen", f"127.0.0.1:{port}")
    environment["TOCSIN_HOME"] = str(tmp_path / "reader")
    folder = EXAMPLES / "read_only_peer"
    policy = (EXAMPLES / "policies" / "government.toml").read_text()
    partner = tomllib.loads(policy)["partner"]
    (tmp_path / "aisi.toml").write_text(policy.replace(partner, "aisi.example"))
    with serving(lab, env=environment) as node:
        assert node.poll() is None
        (tmp_path / "lab-a.tocsin").write_text(step(*tocsin, "identity", "export"))
        told = step(folder / "setup.sh", "lab-a.tocsin", "MISTYPED", code=3)
        step(folder / "setup.sh", "lab-a.tocsin", step(*tocsin, "identity", "fingerprint").strip())
        fingerprint = re.search(r"^fingerprint (\S+)", told, re.M)[1]
        step(*tocsin, "peer", "add", "aisi.tocsin", "--role", "reader", "--fingerprint", fingerprint)
        step(*tocsin, "policy", "apply", "aisi.toml", "--yes")
        step(*tocsin, "post", *demo_records())
        assert step(folder / "pull.sh") == ""
        first = (tmp_path / "records.csv").read_text()
        assert step(folder / "pull.sh") == ""
    assert node.returncode == 0
    assert "Text in tool output can redirect an agent's next action" in first
    assert "████████ withheld" in first
    assert "the exact text of the issue" not in first
    assert (tmp_path / "records.csv").read_text() == first
    assert not (tmp_path / "records.csv.new").exists()
    # The lab is down now: cron hears of it by the exit code, and the file stays as it was.
    step(folder / "pull.sh", code=7)
    assert (tmp_path / "records.csv").read_text() == first


def test_the_crontab_runs_the_script_that_is_there():
    line = (EXAMPLES / "read_only_peer" / "crontab").read_text().splitlines()[-1]
    assert line.split()[6] == "/srv/tocsin/pull.sh"


def test_an_auditor_verifies_offline_with_the_library_alone(environment, tmp_path):
    def step(*command, code=0):
        return run(*command, environment=environment, folder=tmp_path, code=code).stdout

    tocsin = ("tocsin", "--home", tmp_path / "lab")
    step(*tocsin, "init", "lab-a.example", "--kind", "lab", "--name", "Lab A", "--listen", "")
    with serving(tmp_path / "lab", env=environment):
        posted = step(*tocsin, "post", demo_records()[0]).split()[1]
        (tmp_path / "lab-a.tocsin").write_text(step(*tocsin, "identity", "export"))
        token = step(*tocsin, "export", posted)
    (tmp_path / "record.sdjwt").write_text(token)
    (tmp_path / "changed.sdjwt").write_text(token.replace("~", "~x", 1))
    shutil.rmtree(tmp_path / "lab")
    script = EXAMPLES / "verify_offline.py"
    assert "verified" in step(sys.executable, script, "lab-a.tocsin", "record.sdjwt")
    refused = step(sys.executable, script, "lab-a.tocsin", "record.sdjwt", "changed.sdjwt", code=4)
    assert "changed.sdjwt: refused, BAD_" in refused
    step(sys.executable, script, code=1)


@pytest.mark.parametrize("path", demo_records(), ids=lambda path: path.stem)
def test_a_record_of_the_demo_is_valid(path):
    settings, content = parse_content_file(path.read_bytes(), format="toml", name=path.name)
    assert settings["kind"] in KINDS
    assert settings["tlp"]
    assert content["title"]


def test_the_demo_has_a_dozen_records_of_all_kinds():
    kinds = [tomllib.loads(path.read_text())["record"]["kind"] for path in demo_records()]
    assert len(kinds) >= 12
    assert set(kinds) == set(KINDS)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.org)
def test_the_policies_of_the_demo_are_in_order(member):
    texts = {f"{other.org}.toml": policy_text(member.org, other.org) for other in MEMBERS if other != member}
    policies = parse_policies({**texts, "floor.toml": ""})
    assert policies.problems == ()
    assert set(policies.policies) == {other.org for other in MEMBERS if other != member}


def test_the_policy_of_the_two_nodes_is_in_order():
    text = (EXAMPLES / "two_nodes" / "lab-b.example.toml").read_text()
    assert parse_policies({"lab-b.example.toml": text, "floor.toml": ""}).problems == ()
