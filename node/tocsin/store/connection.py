"""This module guards the connections to the store: one that writes, and as many that read as are needed.

SQLite lets one connection write while others read the last commit (WAL). The
writing connection stands behind a lock; a thread inside `transaction()` reads
through it too, and so sees what it has written. Some errors, such as a full
disk, have SQLite take all of a transaction back: nothing more is written in it.
"""

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from sqlite_utils import Database

from tocsin.errors import HomeDamaged, StoreCorrupt
from tocsin.store import left
from tocsin.store.damage import RESTORE_HINT, Guard, reported
from tocsin.store.migrations import KNOWN, migrate
from tocsin.store.schema import APPLICATION_ID
from tocsin.store.snapshot import COPY, copy_to

logger = logging.getLogger(__name__)

PAGE_SIZE = 8192
"""Bytes. Measured by benchmarks/page_size.py against SQLite's 4096: a tenth slower for records of 8 KiB, as they are
signed here, padded with decoys; a tenth faster for those of 19 KiB that carry their source; no larger on disk. With
16384 no two records of 8 KiB fit one page, and the file is 1.7 times as large (docs/decisions/0008)."""
BUSY_SECONDS = 5.0  # a backup tool may hold the file for a moment; a second node cannot: the home has its own lock
MOST_NAMED = 5  # of what is damaged
CACHE_KIB = 16384  # of the writing connection; readers keep SQLite's 2 MiB

_WRITER_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # NORMAL may lose the last commits on power loss, and they were acknowledged
    "PRAGMA secure_delete = ON",  # what is deleted is overwritten
    f"PRAGMA cache_size = -{CACHE_KIB}",
)
_PRAGMAS = (
    "PRAGMA trusted_schema = OFF",  # a doctored file must not run functions of its own through a view or an index
    "PRAGMA cell_size_check = ON",  # notices some damage before it is read as data
    "PRAGMA temp_store = MEMORY",  # a file for what does not fit would lie outside of the home
)

Value = str | int | bytes | None
Row = tuple[Value, ...]


class Connections:
    """Hold the connections to one store; see the module's text for the rules."""

    def __init__(self, path: Path, *, page_size: int = PAGE_SIZE, create: bool = False) -> None:
        """Open the store, check it where it is not as it was left, and bring it to this version.

        Raises HomeDamaged where there is none (and `create` is not set), where
        it is another program's or a later version's; StoreCorrupt where it
        does not read as it was written.
        """
        self.path = path
        self.guard = Guard(path)
        self._lock = threading.RLock()
        self._writing_thread: int | None = None
        self._readers: deque[sqlite3.Connection] = deque()
        self._examining: set[sqlite3.Connection] = set()
        self._closed = False
        _require_file(path, create=create)
        with reported(path, opening=True):
            connection = _connect(path, mode="rw")
            try:
                connection.execute(f"PRAGMA page_size = {page_size}")  # counts only in a file without tables
                _check(connection, path, is_new=create)
                _take(path)
                for pragma in _WRITER_PRAGMAS:
                    connection.execute(pragma)
                self._database = Database(connection)
                self._migrate(is_new=create)
                connection.execute("PRAGMA foreign_keys = ON")  # now: a table that is made anew is missing for a moment
            except BaseException:
                connection.close()
                raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all of it or nothing; inside another transaction, a part that can fail by itself."""
        with self._lock, self.guard:
            if self._closed:
                raise RuntimeError("the store is closed")
            if self._writing_thread is not None:
                with _part(self._writer()):
                    yield
                return
            self._writing_thread = threading.get_ident()
            try:
                # IMMEDIATE: the right to write is taken now, not in the middle of the work.
                self._database.conn.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._writer().execute("COMMIT")
                except BaseException:
                    self._database.conn.rollback()
                    raise
            finally:
                self._writing_thread = None

    def joined(self) -> AbstractContextManager[None]:
        """Join the transaction around it, or be one: for a method of a shelf, which is no part that can fail by itself.

        What it raises MUST end the transaction, or a part of it. A part has the
        index for searching written out before and behind it: a tenth of a
        millisecond for each record.
        """
        return nullcontext() if self._writing_thread == threading.get_ident() else self.transaction()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other writers away for statements that cannot stand in a transaction, or should not hold up its end."""
        with self._lock, self.guard:
            if self._closed or self._writing_thread is not None:
                raise RuntimeError("the store is closed, or a transaction is open")
            yield

    def run(self, statement: str) -> None:
        """Run one statement by itself, inside `alone`."""
        self._database.conn.execute(statement)

    def begin_log_anew(self) -> bool:
        """Write everything into the file and empty the write-ahead log; False where somebody still reads from it."""
        (busy, *_) = self._database.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def find_damage(self) -> tuple[str, ...] | None:
        """Read every page beside others, and let nobody to a store in which one is damaged; None: it was stopped."""
        with self._reader() as connection:
            self._examining.add(connection)
            try:
                found = find_damage(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_INTERRUPT":
                    raise
                return None
            finally:
                self._examining.discard(connection)
        if found:
            self.guard.condemn(found)
        return found

    def stop_examining(self) -> None:
        """End every reading of all pages that is under way in another thread."""
        for connection in tuple(self._examining):
            connection.interrupt()

    def copy_to(self, path: Path) -> None:
        """Write a copy of the store as it is at one moment to a new file."""
        with self._reader() as connection:
            copy_to(connection, path)

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Run one statement of this thread's transaction; return the number of rows that it changed."""
        return self._writer().execute(sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        """Run one statement of this thread's transaction for each row."""
        if rows:
            self._writer().executemany(sql, rows)

    def insert(self, sql: str, parameters: Sequence[Value]) -> int:
        """Insert a row in this thread's transaction; return its rowid."""
        rowid = self._writer().execute(sql, parameters).lastrowid
        if rowid is None:
            raise RuntimeError("nothing was inserted")
        return rowid

    def rows(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Return every row of a query."""
        with self._reader() as connection:
            return connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Value] = ()) -> Row | None:
        """Return the first row of a query, or None."""
        with self._reader() as connection:
            cursor = connection.execute(sql, parameters)
            row: Row | None = cursor.fetchone()
            cursor.close()  # or it would keep the snapshot of the last commit
            return row

    def number(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Return the only value of a query that counts."""
        row = self.row(sql, parameters)
        if row is None or not isinstance(row[0], int):
            raise RuntimeError("the query does not count")
        return row[0]

    def close(self) -> None:
        """Close every connection that is not in use, and let no more be opened; closing twice does nothing more."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            while self._readers:
                self._readers.pop().close()
            self._database.close()
            if self.guard.is_whole:  # else it is read whole before anybody opens it again
                left.leave(self.path)

    def _migrate(self, *, is_new: bool) -> None:
        """Bring the store to this version; one that holds something is copied first."""
        (version,) = self._database.conn.execute("PRAGMA user_version").fetchone()
        copy = self.path.with_name(f"{self.path.name}{COPY}{version}")
        # A copy that is there was made before a migration that did not come to its end: it shows the store before it.
        if not is_new and version < KNOWN and not copy.exists():
            logger.warning("the store is of format %d: it is copied to %s and taken to format %d", version, copy, KNOWN)
            copy_to(self._database.conn, copy)
        migrate(self._database)

    def _writer(self) -> sqlite3.Connection:
        """Return the writing connection to the thread that is in a transaction."""
        if self._writing_thread != threading.get_ident():
            raise RuntimeError("a statement that writes stands outside a transaction")
        return _open(self._database.conn)

    def _reader(self) -> "_Reader":
        """Lend a connection that reads: the writing one to the thread that is in a transaction."""
        return _Reader(self)

    def lend(self) -> tuple[sqlite3.Connection, bool]:
        """Return a connection that reads, and whether it must be given back."""
        if self._writing_thread == threading.get_ident():
            return self._writer(), False
        with self.guard:
            if self._closed:
                raise RuntimeError("the store is closed")
            return self._borrow(), True

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Take back a connection that was lent."""
        if self._closed:
            connection.close()
        else:
            self._readers.append(connection)

    def _borrow(self) -> sqlite3.Connection:
        """Return a connection that nobody reads through."""
        try:
            return self._readers.pop()
        except IndexError:  # not `if self._readers`: another thread may take the last one in between
            return _connect(self.path, mode="ro")


class _Reader:
    """A connection that is lent for as long as the context lasts."""

    __slots__ = ("_connection", "_connections", "_is_lent")

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def __enter__(self) -> sqlite3.Connection:
        self._connection, self._is_lent = self._connections.lend()
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_lent:
            self._connections.give_back(self._connection)
        self._connections.guard.report(error)


@contextmanager
def _part(connection: sqlite3.Connection) -> Iterator[None]:
    """Undo what is done inside if it fails, and leave the transaction around it as it was.

    All have one name, and the innermost counts: a name for each would be a statement to compile for each.
    """
    connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # some errors end it, with all its parts
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
        raise
    _open(connection).execute("RELEASE part")


def _open(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a connection that is in a transaction still: else what is written would be kept at once, by itself."""
    if not connection.in_transaction:
        raise RuntimeError("an error has ended the transaction: whoever met it goes no further")
    return connection


def _require_file(path: Path, *, create: bool) -> None:
    """Make the file where it is to be made, readable by its owner only; SQLite gives -wal and -shm the same mode."""
    if create:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            raise HomeDamaged("there is a store already", where=str(path)) from None
    elif not path.is_file():
        raise HomeDamaged("the store is missing", where=str(path), hint="restore the latest backup of the home")


def _connect(path: Path, *, mode: str) -> sqlite3.Connection:
    """Open a connection that any thread may use, one at a time."""
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions begin where the code says so
        check_same_thread=False,
    )
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    return connection


def _check(connection: sqlite3.Connection, path: Path, *, is_new: bool) -> None:
    """Refuse a file that is damaged, foreign, or of a later version.

    All of it is read where it is not as it was left.
    """
    if not left.is_as_left(path):
        if left.was_in_use(path):
            logger.warning("the store was not closed: all of it is read before anything is served")
        if problems := find_damage(connection):
            raise StoreCorrupt("the store is damaged", where=str(path), hint=RESTORE_HINT, details=problems)
    if is_new:
        return
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise HomeDamaged("the file is not a store of tocsin", where=str(path), hint="restore the latest backup")
    if version > KNOWN:
        raise HomeDamaged(
            f"the store was written by a later version of tocsin (format {version}; this one reads up to {KNOWN})",
            where=str(path),
            hint="upgrade tocsin",
        )


def find_damage(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Read every page, and return what SQLite finds wrong with them."""
    found = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({MOST_NAMED})")]
    return tuple(problem for problem in found if problem != "ok")


def _take(path: Path) -> None:
    """Keep that the store is in use, before it is changed."""
    try:
        left.take(path)
    except OSError as error:
        problem = f"the store cannot be used: {(error.strerror or 'unknown error').lower()}"
        raise HomeDamaged(problem, where=f"{path}{left.NOTE}", hint="check free space and who owns the file") from None
