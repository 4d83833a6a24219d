"""This module puts the shelves of `protocol.Store` together over SQLite.

    store = open_store(home / "tocsin.db")
    with store.transaction():
        store.records.add(record, now=now)

Every commit is on disk when it returns (WAL, synchronous = FULL).
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from tocsin.store.connection import PAGE_SIZE, Connections
from tocsin.store.feeds import SqliteFeeds
from tocsin.store.intake import SqliteIntake
from tocsin.store.peers import SqlitePeers
from tocsin.store.records import SqliteRecords


def open_store(path: Path, *, create: bool = False, page_size: int = PAGE_SIZE) -> "SqliteStore":
    """Open a store, check that it reads as it was written, and bring it to this version.

    `create` makes one, and refuses to find one. `page_size` counts only then.
    Raises HomeDamaged where there is none, StoreCorrupt where it is damaged.
    """
    return SqliteStore(Connections(path, create=create, page_size=page_size))


class SqliteStore:
    """Keep everything that a node must not forget; see `protocol.Store`."""

    def __init__(self, connections: Connections) -> None:
        self._db = connections
        self.records = SqliteRecords(connections)
        self.feeds = SqliteFeeds(connections)
        self.intake = SqliteIntake(connections)
        self.peers = SqlitePeers(connections)
        self.policy_files = SqlitePolicyFiles(connections)

    def transaction(self) -> AbstractContextManager[None]:
        """Commit everything inside together, durably, or nothing of it."""
        return self._db.transaction()

    def size(self) -> int:
        """Return the bytes that the store takes on disk, the write-ahead log with it."""
        path = self._db.path
        files = (path, path.with_name(f"{path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close every connection."""
        self._db.close()

    def __enter__(self) -> "SqliteStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SqlitePolicyFiles:
    """Keep which policy files were evaluated over the records; see `protocol.PolicyFiles`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def seen(self) -> Mapping[str, str]:
        """Return file -> digest as last kept."""
        return {str(file): str(digest) for file, digest in self._db.rows("SELECT file, digest FROM policy_files")}

    def replace(self, digests: Mapping[str, str], *, now: int) -> None:
        """Keep this set in place of the earlier one."""
        with self._db.transaction():
            self._db.execute("DELETE FROM policy_files")
            self._db.execute_many(
                "INSERT INTO policy_files (file, digest, seen_at) VALUES (?, ?, ?)",
                [(file, digest, now) for file, digest in digests.items()],
            )
