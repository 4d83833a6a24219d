"""This module runs command lines in this process, against a fake desk where a test prepares one."""

import io
import sys
from dataclasses import dataclass

import pytest

from tests.cli.fake import FakeDesk
from tests.support.organisations import found, seeded
from tocsin_cli import session
from tocsin_cli.main import run
from tocsin_cli.profile import Profile, default_folder, make_keys, new_profile
from tocsin_cli.session import now

ORG = "lab-a.example"


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str


def set_environment(monkeypatch, folder):
    """Keep homes and profiles in a folder of the test; whoever makes a home is called `first`."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TOCSIN_DEBUG", "TOCSIN_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOCSIN_HOME", str(folder / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("LOGNAME", "first")


@pytest.fixture
def tocsin(monkeypatch, tmp_path):
    """Return a function that runs one command line and returns its exit code and what it printed."""
    set_environment(monkeypatch, tmp_path)

    def invoke(*arguments, stdin=b""):
        streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8") for name in ("stdout", "stderr")}
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            code = run([str(argument) for argument in arguments])
            for stream in streams.values():
                stream.flush()
        out, err = (streams[name].buffer.getvalue().decode() for name in ("stdout", "stderr"))
        return Outcome(code, out, err)

    return invoke


@pytest.fixture
def desk(monkeypatch):
    """Return a function that puts a fake desk with these answers in the place of the real one."""

    def install(*answers):
        fake = FakeDesk(*answers)
        monkeypatch.setattr(session, "connect_desk", lambda _session: fake)
        return fake

    return install


@pytest.fixture
def profile(monkeypatch, tmp_path):
    """Return the profile of somebody who works with a fake desk: the keys that a command signs with are real."""
    set_environment(monkeypatch, tmp_path)
    folder = default_folder("releaser-1", ORG)
    made = Profile(folder=folder, name="releaser-1", org=ORG, home=str(tmp_path / "home"))
    with new_profile(made, make_keys(ORG, now=now(), random=seeded("releaser-1"))) as save_identity:
        save_identity(found(ORG).document)
    return made
