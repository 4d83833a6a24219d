"""This module stops a process at one of its durable writes, or lets that write fail: strace injects it.

    strace -f -p PID -e inject=pwrite64:signal=SIGKILL:when=N
    strace -f -p PID -e inject=pwrite64:error=ENOSPC:when=N..M

The call is not made that is stopped; what was written before it lies in the
page cache and survives. It takes strace, and the right to trace.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.support.shared import ROOT

DURABLE = ("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "rename", "renameat2", "unlink", "unlinkat")
"""Calls that change what is found after a crash, and those that make it last."""
OF_THE_DISK = ("pwrite64", "fdatasync", "fsync", "ftruncate", "fallocate")
"""Calls with which a disk says that it is full or broken."""

STRACE = ("strace", "-f", "-o")


class Point(NamedTuple):
    """A durable write of an operation: the call, and how many of its kind there were by then, this one included."""

    call: str
    number: int


@cache
def why_not() -> str:
    """Return why nothing can be stopped here; empty: it can."""
    if shutil.which("strace") is None:
        return "the program strace is not installed"
    inject = ("-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true")
    tried = subprocess.run([*STRACE, os.devnull, *inject], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "strace may not trace here"


class Driver:
    """The process that forks one for each operation; see `tests.faults.driver`."""

    def __init__(self) -> None:
        path = os.pathsep.join(str(ROOT / part) for part in ("node", "cli", "."))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.driver"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def stopped_at(self, operation: str, folder: Path, point: Point) -> bool:
        """Stop an operation at a durable write; False where it makes fewer of them this time."""
        inject = f"inject={point.call}:signal=SIGKILL:when={point.number}"
        return self._drive(operation, folder, f"trace={point.call}", inject) == -9

    def failing_at(self, operation: str, folder: Path, point: Point, *, error: str, times: int) -> None:
        """Let some writes of one kind in a row fail with an error; the process MUST come to its end."""
        inject = f"inject={point.call}:error={error}:when={point.number}..{point.number + times - 1}"
        assert self._drive(operation, folder, f"trace={point.call}", inject) == 0

    def points_of(self, operation: str, folder: Path, *, calls: Collection[str] = DURABLE) -> list[Point]:
        """Do an operation undisturbed, and return its durable writes in their order."""
        log = folder / "calls"
        assert self._drive(operation, folder, f"trace={','.join(calls)}", "signal=none", log=log) == 0
        made: Counter[str] = Counter()
        found = []
        for line in log.read_text().splitlines():
            call = line.split(None, 1)[1].partition("(")[0]
            if call in calls:
                made[call] += 1
                found.append(Point(call, made[call]))
        return found

    def _drive(self, operation: str, folder: Path, *expressions: str, log: Path = Path(os.devnull)) -> int:
        """Do an operation while it is traced, and return how it ended; -9: it was stopped."""
        os.mkfifo(folder / "go")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{operation}\t{folder}\n")
        self._process.stdin.flush()
        child = self._process.stdout.readline().strip()
        options = [part for expression in expressions for part in ("-e", expression)]
        with subprocess.Popen(
            [*STRACE, str(log), *options, "-p", child], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        ) as tracer:
            assert tracer.stderr is not None
            assert "attached" in tracer.stderr.readline()
            (folder / "go").open("wb").close()
            ended = int(self._process.stdout.readline())
        assert ended in (0, -9), ended
        return ended
