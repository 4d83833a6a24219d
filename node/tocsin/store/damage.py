"""This module tells a damaged or unusable store from a mistake in the program.

SQLite reports both through one exception class; its result codes
(https://www.sqlite.org/rescode.html) tell them apart. What is not listed here
is a bug and stays what it is.
"""

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tocsin.errors import HomeDamaged, HomeLocked, Overloaded, StoreCorrupt, TocsinError

logger = logging.getLogger(__name__)

RESTORE_HINT = (
    "do not start the node on it; keep a copy of tocsin.db and tocsin.db-wal as they are, and restore the latest "
    "backup, or save what is readable with `sqlite3 tocsin.db .recover`"
)

# Primary result codes; an extended code begins with the name of its primary one.
_CORRUPT = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_OF_THE_INDEX = "SQLITE_CORRUPT_VTAB"  # of words alone: what it was made from is whole
_FULL = ("SQLITE_FULL",)
_FAILED = ("SQLITE_IOERR",)
_UNUSABLE = (*_FULL, *_FAILED, "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")


class Examined(NamedTuple):
    """Say when all of a store was read while it was in use, and what did not fit together."""

    at: int
    problems: tuple[str, ...]


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


class Guard:
    """Does the same for one store while it is in use, and once its file was found damaged lets nobody to it any more.

    What is left of a damaged file may be anything: whoever met the damage is
    told, and everybody after.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._damage: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Say whether nobody has met any damage."""
        return not self._damage

    def condemn(self, damage: Sequence[str]) -> None:
        """Let nobody to the store any more, because of this damage."""
        if self.is_whole:
            self._damage = tuple(damage)
            logger.error("the store is damaged, and nothing is read from it or written to it any more: %s", damage[0])

    def verify(self) -> None:
        """Verify that nobody has met any damage. Raises StoreCorrupt."""
        if self._damage:
            raise StoreCorrupt("the store is damaged", where=str(self._path), hint=RESTORE_HINT, details=self._damage)

    def __enter__(self) -> None:
        self.verify()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.report(error)

    def report(self, error: BaseException | None) -> None:
        """Raise an error of ours for one that says what is wrong with the store, and nothing for any other."""
        try:
            report(error, self._path)
        except StoreCorrupt:
            if getattr(error, "sqlite_errorname", "") != _OF_THE_INDEX:
                self.condemn([str(error)])
            raise


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
