"""This module runs command lines in this process, against a fake desk where a test prepares one."""

import io
import sys
from dataclasses import dataclass

import pytest

from tests.cli.fake import FakeDesk
from tocsin_cli import session
from tocsin_cli.main import run


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def tocsin(monkeypatch, tmp_path):
    """Return a function that runs one command line and returns its exit code and what it printed."""
    monkeypatch.setenv("TOCSIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_COLOR", raising=False)

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
