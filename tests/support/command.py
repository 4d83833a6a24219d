"""This module runs the command of this checkout in processes of its own, as people run it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.shared import ROOT
from tocsin_cli.session import desk_socket

TOCSIN = (sys.executable, "-m", "tocsin_cli")
START_SECONDS = 20


def environment(**more: object) -> dict[str, str]:
    """Return this process's environment without its Tocsin settings, with the checkout's code, and with more."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return kept | {"PYTHONPATH": f"{ROOT / 'node'}:{ROOT / 'cli'}"} | {name: str(value) for name, value in more.items()}


@contextmanager
def serving(home: Path, *, env: Mapping[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run a node, until it can be asked or has ended by itself, and then for as long as the context lasts."""
    command = [*TOCSIN, "--home", str(home), "serve"]
    process = subprocess.Popen(command, env=env or environment(), stderr=subprocess.PIPE, text=True)
    try:
        give_up = time.monotonic() + START_SECONDS
        while process.poll() is None and desk_socket(home) is None:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=START_SECONDS)
