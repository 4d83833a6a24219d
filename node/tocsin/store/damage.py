"""This module tells a damaged or unusable store from a mistake in the program.

SQLite reports both through one exception class; its result codes
(https://www.sqlite.org/rescode.html) tell them apart. What is not listed here
is a bug and stays what it is.
"""

import sqlite3
from pathlib import Path
from types import TracebackType

from tocsin.errors import HomeDamaged, HomeLocked, Overloaded, StoreCorrupt, TocsinError

RESTORE_HINT = (
    "do not start the node on it; keep a copy of tocsin.db and tocsin.db-wal as they are, and restore the latest "
    "backup, or save what is readable with `sqlite3 tocsin.db .recover`"
)

# Primary result codes; an extended code begins with the name of its primary one.
_CORRUPT = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_FULL = ("SQLITE_FULL",)
_FAILED = ("SQLITE_IOERR",)
_UNUSABLE = (*_FULL, *_FAILED, "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")


class reported:  # noqa: N801  (a context, as those of contextlib are: every statement stands in one)
    """Raise what SQLite says about the store's state as an error of ours; let every other error through.

    A disk that is full or fails is a passing thing while the node runs, since
    nothing was changed; while the store is opened it is one that does not open.
    """

    __slots__ = ("_opening", "_path")

    def __init__(self, path: Path, *, opening: bool = False) -> None:
        self._path = path
        self._opening = opening

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        report(error, self._path, opening=self._opening)


def report(error: BaseException | None, path: Path, *, opening: bool = False) -> None:
    """Raise an error of ours for one that says what is wrong with the store, and nothing for any other."""
    if isinstance(error, sqlite3.Error):
        ours = translate(error, path, opening=opening)
        if ours is not None:
            raise ours from error


def translate(error: sqlite3.Error, path: Path, *, opening: bool = False) -> TocsinError | None:
    """Return the error that tells people what is wrong with the store, or None where the program is wrong."""
    name: str = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(_CORRUPT):
        return StoreCorrupt(f"the store is damaged: {error}", where=str(path), hint=RESTORE_HINT)
    if name.startswith(_FULL) and not opening:
        hint = "make room; nothing was changed, and it goes on by itself"
        return Overloaded("the disk is full", reason="NO_SPACE", where=str(path), hint=hint)
    if name.startswith(_FAILED) and not opening:
        hint = "look at the machine's log; nothing was changed, and it goes on by itself when the disk does"
        return Overloaded(f"the disk does not read or write: {error}", reason="DISK_FAILED", where=str(path), hint=hint)
    if name.startswith(_UNUSABLE):
        return HomeDamaged(
            f"the store cannot be used: {error}", where=str(path), hint="check free space and who owns the file"
        )
    if name.startswith(_BUSY):
        return HomeLocked(f"another program holds the store: {error}", where=str(path), hint="close it, and try again")
    return None
