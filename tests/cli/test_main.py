"""The root command: help, errors, exit codes, completion."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.support.shared import ROOT
from tocsin.errors import HomeMissing, NotFound, ProfileMissing, StoreCorrupt, leaves
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli.command import LazyGroup
from tocsin_cli.main import cli


def commands(group=cli, prefix=()):
    for entry in group.entries.values():
        command = group.get_command(click.Context(group), entry.name)
        yield (*prefix, entry.name), entry, command
        if isinstance(command, LazyGroup):
            yield from commands(command, (*prefix, entry.name))


ALL = list(commands())
NAMES = [" ".join(path) for path, _, _ in ALL]


@pytest.mark.parametrize(("path", "entry", "command"), ALL, ids=NAMES)
def test_the_table_of_commands_says_what_the_command_says(path, entry, command):
    assert command.help.split("\n")[0] == entry.summary
    assert command.name == entry.name


@pytest.mark.parametrize(("path", "entry", "command"), ALL, ids=NAMES)
def test_help_starts_with_examples_that_are_of_this_command(path, entry, command, tocsin):
    shown = tocsin(*path, "--help")
    assert shown.code == 0
    assert shown.out.startswith("Examples:\n  ")
    assert all(f"tocsin {' '.join(path)}".split()[-1] in example for example in command.examples)
    assert max(map(len, shown.out.splitlines())) <= 120


@pytest.mark.parametrize(("path", "entry", "command"), ALL, ids=NAMES)
def test_every_command_with_an_answer_has_json(path, entry, command):
    silent = {"serve", "demo", "completion"}
    if not isinstance(command, LazyGroup) and path[0] not in silent:
        assert "as_json" in {parameter.name for parameter in command.params}


HEAVY = {
    "asyncio",
    "cel_expr_python",
    "cryptography",
    "google.protobuf",
    "grpc",
    "nacl",
    "pydantic",
    "rich",
    "securesystemslib",
    "sqlite3",
    "tuf",
    "yaml",
}
"""What takes longer to import than all of the command itself."""
NODE = {"tocsin.store.connection", "tocsin.policy", "tocsin.records", "tocsin.node", "tocsin.desk.home"}


@pytest.mark.parametrize(
    ("program", "spared"),
    [
        pytest.param("run(['--help'])", HEAVY, id="help"),
        pytest.param("run(['post', '--help'])", {"sqlite3", "tuf", *NODE}, id="help of a command"),
        pytest.param(
            "import tocsin_cli.connection, tocsin_cli.commands.record as command\n"
            "command.print_records([command.v1.Record(title='what was found')])",
            {"cel_expr_python", "nacl", "pydantic", "rich.console", "sqlite3", "yaml", *NODE},
            id="a list of records that a node has answered with",
        ),
    ],
)
def test_a_command_imports_nothing_heavy_that_it_does_not_need(program, spared):
    code = f"import sys\nfrom tocsin_cli.main import run\n{program}\nsys.exit(repr({spared} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'node'}:{ROOT / 'cli'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout
    assert done.stderr.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["pots"], "there is no command 'pots' in tocsin", id="an unknown command"),
        pytest.param(["search", "\udcff"], "'\\udcff' is no text in UTF-8", id="bytes that are no text"),
        pytest.param(["post", "-", "--to", "\udcff"], "'\\udcff' is no text in UTF-8", id="one of several"),
        pytest.param(["peer", "lsit"], "there is no command 'lsit' in tocsin peer", id="an unknown command of a group"),
        pytest.param(["list", "--knid", "finding"], "no such option", id="an unknown option"),
        pytest.param(["list", "--kind", "rumour"], "'rumour' is not one of", id="a word that is no choice"),
        pytest.param(["list", "--since", "yesterday"], "'yesterday' is not a time", id="a time that is none"),
        pytest.param(["show"], "missing argument", id="a missing argument"),
        pytest.param(["post", "nowhere.toml"], "does not exist", id="a missing file"),
        pytest.param(["export"], "name either one record or --all", id="neither one record nor all"),
        pytest.param(["export", "3f2a", "--all"], "name either one record or --all", id="one record and all"),
    ],
)
def test_a_wrong_command_line_exits_2_with_one_error_and_a_hint(tocsin, arguments, message):
    shown = tocsin(*arguments)
    assert shown.code == 2
    assert shown.out == ""
    first, second = shown.err.splitlines()
    assert first.startswith("tocsin: error: ")
    assert message in first
    assert second.startswith("tocsin: hint: ")


@pytest.mark.parametrize("option", ["--home", "--profile"])
def test_an_option_of_all_commands_stands_before_them(tocsin, option):
    shown = tocsin("policy", "check", option, "x")
    assert shown.code == 2
    assert shown.err.splitlines()[0] == f"tocsin: error: {option} stands before the command"
    assert f"tocsin {option} … policy check …" in shown.err


def test_the_choices_of_a_missing_option_stand_on_its_line(tocsin):
    shown = tocsin("init", "lab-a.example")
    assert "missing option '--kind'. Choose from: lab, government, academia" in shown.err.splitlines()[0]


def test_a_mistyped_command_gets_a_suggestion(tocsin):
    assert "did you mean search or serve?" in tocsin("serch", "x").err


@pytest.mark.parametrize("error", sorted(leaves(), key=lambda leaf: leaf.__name__), ids=lambda leaf: leaf.__name__)
def test_every_error_exits_with_the_code_of_the_table_and_prints_its_reason(tocsin, desk, error):
    reason = next(iter(error.reasons))
    desk(error("something is wrong", reason=reason, where="here:3", hint="do something else"))
    shown = tocsin("peer", "list")
    assert shown.code == error.exit_code
    assert shown.out == ""
    assert shown.err == f"tocsin: error: here:3: something is wrong [{reason}]\ntocsin: hint: do something else\n"


def test_details_stand_under_the_error_one_a_line(tocsin, desk):
    desk(StoreCorrupt("two pages are torn", details=("page 3", "page 9")))
    assert tocsin("peer", "list").err == "tocsin: error: two pages are torn [STORE_CORRUPT]\n  page 3\n  page 9\n"


def test_a_bug_exits_70_without_a_traceback_and_without_what_it_said(tocsin, desk):
    desk(RuntimeError("the secret prompt"))
    shown = tocsin("peer", "list")
    assert shown.code == 70
    assert "Traceback" not in shown.err
    assert "secret" not in shown.err
    assert "this is a bug in tocsin: RuntimeError [INTERNAL]" in shown.err


def test_a_bug_shows_where_it_is_when_asked(tocsin, desk, monkeypatch):
    monkeypatch.setenv("TOCSIN_DEBUG", "1")
    desk(RuntimeError("here"))
    assert "Traceback" in tocsin("peer", "list").err


def test_an_interrupt_exits_130(tocsin, desk):
    desk(KeyboardInterrupt())
    shown = tocsin("peer", "list")
    assert (shown.code, shown.err) == (130, "\ninterrupted\n")


@pytest.mark.parametrize("arguments", [["completion", "fish"], ["template", "finding"]])
def test_whoever_reads_us_may_close_the_pipe_without_a_word(arguments):
    program = f"import sys; from tocsin_cli.main import run; sys.exit(run({arguments}))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'node'}:{ROOT / 'cli'}"}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_home_comes_from_the_option_before_the_environment(tocsin, monkeypatch, tmp_path):
    asked = []

    def refuse(session):
        asked.append(session.home)
        raise HomeMissing("no home")

    monkeypatch.setattr("tocsin_cli.session.connect_desk", refuse)
    tocsin("--home", tmp_path / "other", "peer", "list")
    tocsin("peer", "list")
    assert asked == [tmp_path / "other", tmp_path / "home"]


def test_the_profile_comes_from_the_option_before_the_environment(tocsin, monkeypatch):
    asked = []

    def refuse(session):
        asked.append(session.named_profile)
        raise ProfileMissing("no profile")

    monkeypatch.setattr("tocsin_cli.session.connect_desk", refuse)
    tocsin("peer", "list")
    monkeypatch.setenv("TOCSIN_PROFILE", "counsel")
    tocsin("peer", "list")
    tocsin("--profile", "analyst-1", "peer", "list")
    assert asked == ["", "counsel", "analyst-1"]


def test_the_desk_is_let_go_of_when_the_command_ends(tocsin, desk):
    fake = desk(v1.ListPeersResponse())
    tocsin("peer", "list")
    assert fake.closed
    failing = desk(NotFound("no such peer"))
    tocsin("peer", "show", "lab-x.example")
    assert failing.closed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(tocsin, shell):
    shown = tocsin("completion", shell)
    assert shown.code == 0
    assert "_TOCSIN_COMPLETE" in shown.out


def complete(words, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'node'}:{ROOT / 'cli'}",
        "_TOCSIN_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "TOCSIN_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tocsin_cli"], env=environment, capture_output=True, text=True, check=False
    )
    return [line.split(",")[1] for line in done.stdout.splitlines()]


def test_completion_offers_commands_choices_and_partners(tmp_path):
    (tmp_path / "policies").mkdir()
    for name in ("floor", "lab-b.example", "aisi.example"):
        (tmp_path / "policies" / f"{name}.toml").touch()
    assert complete("tocsin pee", tmp_path) == ["peer"]
    assert complete("tocsin peer su", tmp_path) == ["suspend"]
    assert complete("tocsin template inc", tmp_path) == ["incident"]
    assert complete("tocsin explain 3f2a --to ", tmp_path) == ["aisi.example", "lab-b.example"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["template", "finding"], ["--version"], ["completion", "bash"]])
def test_a_full_disk_is_said_and_is_no_bug(arguments):
    with Path("/dev/full").open("wb") as full:
        done = started(*arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"tocsin: error: the output cannot be written: no space left on device\n"


def test_a_closed_output_is_no_bug():
    done = started("template", "finding", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, b"")


def started(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "tocsin_cli", *arguments], stderr=subprocess.PIPE, check=False, **settings
    )
