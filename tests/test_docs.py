"""The documentation names every command, setting and reason code, and says the same as the code."""

import importlib.util
import json
import re
import subprocess
from dataclasses import fields

import pytest

from tests.support.shared import ROOT
from tocsin import errors
from tocsin.config import NodeConfig
from tocsin.v1 import desk_service_pb2

DOCS = ROOT / "docs"


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_help_prints():
    assert (DOCS / "commands.md").read_text() == load_script("document_commands").page(), "run `make docs`"


def test_every_reason_code_is_in_the_table_with_its_class_status_exit_code_and_meaning():
    rows = set(
        re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\S+) \| (\d+) \| (.+) \|$", (DOCS / "errors.md").read_text(), re.M)
    )
    expected = {
        (reason, leaf.__name__, leaf.status or "–", str(leaf.exit_code), meaning)
        for leaf in errors.leaves()
        for reason, meaning in leaf.reasons.items()
    }
    assert rows == expected


def test_every_setting_is_documented_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", (DOCS / "operating.md").read_text(), re.M))
    defaults = {setting.name: json.dumps(setting.default) for setting in fields(NodeConfig)}
    assert {name: rows.get(name) for name in defaults} == defaults


def test_every_call_of_the_desk_has_a_command():
    used = "\n".join(path.read_text() for path in (ROOT / "cli").rglob("*.py"))
    methods = desk_service_pb2.DESCRIPTOR.services_by_name["DeskService"].methods
    assert [method.name for method in methods if f"{method.name}Request" not in used] == []


PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_pages_tell_people_to_run_exist(page):
    script = load_script("document_commands")
    known = {words[0] for words in script.find_commands(script.cli) if words}
    told = re.findall(r"(?:`|^\$ )tocsin (?:--home \S+ )?([a-z]+)", page.read_text(), re.M)
    assert [name for name in told if name not in known] == []


def test_the_make_targets_that_pages_name_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    told = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)`", page.read_text())}
    assert told <= targets


def test_the_readme_says_things_in_the_order_a_newcomer_needs():
    text = (ROOT / "README.md").read_text()
    order = [
        "Tocsin lets",
        "make demo",
        "make test",
        "An analyst posts",
        "The life of",
        "What it is not",
        "Where to go",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_decisions_are_short_enough_to_be_read():
    sizes = {path.name: path.read_text().count("\n") for path in (DOCS / "decisions").glob("0*.md")}
    assert sizes
    assert {name: size for name, size in sizes.items() if not 20 <= size <= 65} == {}


def test_contributing_is_short():
    assert (ROOT / "CONTRIBUTING.md").read_text().count("\n") <= 80


def test_the_repository_is_free_of_files_nobody_meant_to_commit():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert [name for name in listed if re.search(r"\.(pyc|db-wal|db-shm|orig|rej)$|__pycache__|/\.env", name)] == []
