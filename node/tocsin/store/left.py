"""This module knows whether a store is as it was left: closed by this program, and changed by nobody since.

    tocsin.db-left    number, size and time of change of tocsin.db, and of a write-ahead log that holds something

The note is written when the store was closed, and emptied before it is
changed. Where it says of the files what they are, what was whole when they
were closed still is, as far as an operating system can tell; where it does not
(a crash, a copy, another program), nobody knows, and everything is read
(docs/decisions/0035).
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

NOTE: Final = "-left"
_TICK_SECONDS: Final = 0.002
_MOST_TICKS: Final = 50
"""Files are dated by a clock that moves every few milliseconds: two changes within one of its ticks have one date."""


def is_as_left(path: Path) -> bool:
    """Say whether a store is as it was left."""
    try:
        return _note(path).read_text(encoding="ascii") == _description(path)
    except (OSError, ValueError):
        return False


def was_in_use(path: Path) -> bool:
    """Say whether a store was in use here when it was last heard of, and was not closed."""
    try:
        return not _note(path).stat().st_size
    except OSError:
        return False


def take(path: Path) -> None:
    """Keep, durably, that the store is in use from now on. Raises OSError."""
    try:
        descriptor = os.open(_note(path), os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def leave(path: Path) -> None:
    """Write down how a store is left, once nothing can change any more under the date that it has.

    Where that cannot be written, it is read whole when it is opened next.
    """
    with suppress(OSError):
        text = _description(path)
        for _ in range(_MOST_TICKS):
            _write(path, "")  # which dates it
            if _note(path).stat().st_mtime_ns > max(file.st_ctime_ns for file in _files(path)):
                _write(path, text)
                return
            time.sleep(_TICK_SECONDS)


def _note(path: Path) -> Path:
    return path.with_name(path.name + NOTE)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(_note(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)


def _description(path: Path) -> str:
    return "".join(f"{file.st_ino} {file.st_size} {file.st_ctime_ns}\n" for file in _files(path))


def _files(path: Path) -> list[os.stat_result]:
    """Look at what the store consists of. Raises OSError where there is none."""
    files = [path.stat()]
    with suppress(FileNotFoundError):
        files.append(path.with_name(f"{path.name}-wal").stat())
    return [file for file in files if file.st_size]
