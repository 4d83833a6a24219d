"""This module copies a store as it is at one moment, while others read it and write to it.

A copy holds everything that the store holds: it lies beside it, may be read
by its owner only, and has its name when it is whole and not before.
"""

import os
import sqlite3
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from tocsin.errors import HomeDamaged, StoreCorrupt
from tocsin.store.damage import RESTORE_HINT, reported

COPY = ".format-"  # and the number of the format: what a copy is called that is made before a migration


def copy_to(connection: sqlite3.Connection, target: Path) -> None:
    """Write a copy without what was deleted to a new file, durably. Raises HomeDamaged where one stands there."""
    if target.exists():
        raise HomeDamaged("a file stands there already", where=str(target), hint="name another, or move it away")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)  # what a copy that was cut off has left
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with reported(part, opening=True):
            connection.execute("VACUUM INTO ?", (str(part),))
        _sync(part)
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def unnamed_copy(path: Path) -> BinaryIO:
    """Return an open file with a copy of a store that is whole, which no process that dies can leave behind.

    The file has a name while it is empty, and none from then on. It lies in
    the folder of the store, on the same disk. Raises StoreCorrupt, HomeDamaged and Overloaded.
    """
    name = path.with_name(f"{path.name}.snapshot-{os.getpid()}")
    name.unlink(missing_ok=True)
    descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        source = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        target = sqlite3.connect(name, isolation_level=None)
        name.unlink()
        try:
            target.execute("PRAGMA journal_mode = OFF")  # or it would have a journal beside it, which has a name
            with reported(path):
                (said,) = source.execute("PRAGMA quick_check(1)").fetchone()
                source.backup(target)
            if said != "ok":  # or the last good backup would be followed by one of a damaged store
                raise StoreCorrupt(f"the store is damaged: {said}", where=str(path), hint=RESTORE_HINT)
        finally:
            target.close()
            source.close()
    except BaseException:
        os.close(descriptor)
        name.unlink(missing_ok=True)
        raise
    return os.fdopen(descriptor, "rb")


def copies(path: Path) -> list[Path]:
    """Return the copies that migrations of a store have left, those that were cut off too."""
    return sorted(path.parent.glob(f"{path.name}{COPY}*"))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
