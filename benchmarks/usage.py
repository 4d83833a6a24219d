"""This module says what another process uses, as Linux tells it."""

import os
from pathlib import Path

_KIB = 1024
_TICKS = os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Return the bytes of memory that a process has now."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """Return the most bytes of memory that a process has had at any time."""
    return _status(pid, "VmHWM")


def seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / _TICKS


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * _KIB
    raise RuntimeError(f"the system does not tell {name} of process {pid}")
