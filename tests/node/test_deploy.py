"""What examples/deploy says to run, set and watch is there to be run, set and watched."""

import re
import shutil
import subprocess
import sys
from dataclasses import fields

import pytest
import yaml

from tests.support.shared import ROOT
from tests.test_docs import load_script
from tocsin import errors
from tocsin.config import NodeConfig
from tocsin.services import metrics

DEPLOY = ROOT / "examples" / "deploy"
UNIT = (DEPLOY / "tocsin.service").read_text()
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
ALERTS = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]


def unit(name) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT, re.M)


def test_systemd_understands_the_unit(tmp_path):
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd-analyze on this machine")
    copy = tmp_path / "tocsin.service"
    copy.write_text(UNIT.replace("/opt/tocsin/bin/python", sys.executable))
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_runs_the_node_and_tells_it_to_reload_as_the_node_expects():
    assert unit("Type") == ["notify"]
    assert unit("ExecStart") == ["/opt/tocsin/bin/python -m tocsin --home /var/lib/tocsin/home"]
    assert unit("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert float(unit("TimeoutStopSec")[0]) > NodeConfig().drain_seconds


def test_the_unit_tries_again_what_may_get_better_and_nothing_else():
    codes = {int(code) for code in unit("RestartPreventExitStatus")[0].split()}
    assert codes == {leaf.exit_code for leaf in errors.leaves()} - {errors.TryLater.exit_code, 70}


def test_the_environment_that_is_set_is_of_settings_that_exist():
    settings = {f"TOCSIN_{setting.name.upper()}" for setting in fields(NodeConfig)} | {"TOCSIN_HOME"}
    named = set(re.findall(r"\bTOCSIN_[A-Z_]+(?==)", UNIT + CONTAINERFILE))
    assert named
    assert named <= settings


def test_the_container_is_built_from_what_is_here_and_runs_as_nobody_special():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.M)
    assert copied
    assert [path for line in copied for path in line.split() if not (ROOT / path).exists()] == []
    user = re.findall(r"^USER (\d+):(\d+)$", CONTAINERFILE, re.M)
    assert user == [("7470", "7470")]
    assert CONTAINERFILE.index("USER ") < CONTAINERFILE.index("\nCMD ")


def test_alerts_watch_figures_that_are_shown():
    shown = set(re.findall(r"\btocsin_[a-z_]+", metrics.__doc__))
    for rule in ALERTS:
        named = {re.sub(r"_(count|bucket|sum)$", "", name) for name in re.findall(r"\btocsin_[a-z_]+", rule["expr"])}
        assert named <= shown, rule["alert"]


def test_alerts_name_commands_that_exist():
    script = load_script("document_commands")
    known = {" ".join(words) for words in script.find_commands(script.cli)}
    for rule in ALERTS:
        told = rule["annotations"]["next"].rpartition("tocsin ")[2].split(" --")[0].split(" {{")[0]
        words = told.split()
        assert {told, " ".join(words[:2]), words[0]} & known, rule["alert"]
