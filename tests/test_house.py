"""The house keeps its own rules: floors, sizes, error table, licences, generated code."""

import ast
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest

from tests.support.shared import ROOT
from tocsin import errors
from tocsin.v1 import error_reason_pb2

SOURCES = [p for top in ("node/tocsin", "cli/tocsin_cli") for p in (ROOT / top).rglob("*.py") if "/v1/" not in str(p)]
MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 45
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "handler", "misc"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_modules_import_only_downwards():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'node'}:{ROOT / 'cli'}", "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_module_and_no_function_outgrows_its_room():
    too_long = []
    for path in SOURCES:
        text = path.read_text()
        if text.count("\n") > MOST_LINES_OF_A_MODULE:
            too_long.append(relative(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    too_long.append(f"{relative(path)}:{node.lineno} {node.name} ({lines})")
    assert too_long == []


def test_modules_are_nouns_that_say_what_they_hold():
    assert [relative(p) for p in SOURCES if p.stem in VAGUE_NAMES] == []


def test_every_module_says_in_its_first_line_what_it_is():
    silent = []
    for path in SOURCES:
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        if not re.match(r"This (module|package|room) .+[.:]$", docstring.split("\n")[0]):
            silent.append(relative(path))
    assert silent == []


PURE_ROOMS = ("schema", "identity", "records", "policy", "tlog", "interchange")
IMPURE = re.compile(r"^\s*(?:import|from) (grpc|sqlite3|sqlite_utils|click|time|secrets|random|socket|asyncio)\b", re.M)


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_a_pure_room_has_no_clock_no_randomness_no_wire_and_no_database(room):
    found = {
        relative(path): IMPURE.findall(path.read_text())
        for path in (ROOT / "node" / "tocsin" / room).rglob("*.py")
        if IMPURE.search(path.read_text())
    }
    assert found == {}


def test_only_the_store_knows_sqlite():
    users = [relative(p) for p in SOURCES if re.search(r"^\s*(?:import|from) sqlite", p.read_text(), re.M)]
    assert all(name.startswith("node/tocsin/store/") for name in users), users


def test_only_one_module_knows_the_condition_language():
    users = [relative(p) for p in SOURCES if "cel_expr_python" in p.read_text()]
    assert users == ["node/tocsin/policy/condition.py"]


def test_every_reason_belongs_to_exactly_one_class_and_is_in_the_contract():
    owned = [reason for leaf in errors.leaves() for reason in leaf.reasons]
    assert len(owned) == len(set(owned))
    contract = {name.removeprefix("ERROR_REASON_") for name in list(error_reason_pb2.ErrorReason.keys())}
    assert set(owned) | {"UNSPECIFIED"} == contract


def test_every_class_with_reasons_is_a_leaf_and_has_an_exit_code():
    for leaf in errors.leaves():
        assert leaf.__subclasses__() == []
        assert leaf.exit_code in {3, 4, 5, 6, 7, 8, 9, 70}


def test_every_reason_is_raised_somewhere():
    text = "\n".join(p.read_text() for p in SOURCES if p.name != "errors.py")
    unused = [
        reason
        for leaf in errors.leaves()
        for reason in leaf.reasons
        if f'"{reason}"' not in text and not (len(leaf.reasons) == 1 and re.search(rf"\b{leaf.__name__}\(", text))
    ]
    assert unused == []


def test_the_error_tree_in_the_docstring_names_every_class():
    drawn = set(re.findall(r"[A-Z][A-Za-z]+", errors.__doc__))
    assert {leaf.__name__ for leaf in errors.leaves()} <= drawn


def test_the_generated_code_is_fresh():
    done = subprocess.run(
        [sys.executable, ROOT / "proto" / "generate.py", "--check"],
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_nothing_we_ship_is_under_the_gpl():
    names = re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.M)
    assert len(names) > 10
    gpl = []
    for name in names:
        try:
            about = metadata(name)
        except PackageNotFoundError:  # locked for another platform
            continue
        stated = about.get("License-Expression") or about.get("License") or ""
        licence = " ".join([stated, *about.get_all("Classifier", [])])
        if re.search(r"\bL?A?GPL|General Public", licence):
            gpl.append(name)
    assert gpl == []


def test_the_repository_names_no_machine_path_and_no_registry():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split() or [relative(p) for p in SOURCES]
    telling = re.compile(rb"/(?:work|root|tmp)/(?:main|shared|v|tocsin)\b|pypi\.org/simple|pythonhosted|npmjs\.org")
    here = "tests/test_house.py"
    found = [n for n in names if n != here and (ROOT / n).is_file() and telling.search((ROOT / n).read_bytes())]
    assert found == []
