"""This module puts the shelves of `protocol.Store` together over SQLite.

    store = open_store(home / "tocsin.db")
    with store.transaction():
        store.records.add(record, now=now)

Every commit is on disk when it returns (WAL, synchronous = FULL).
"""

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from tocsin.store.audit import SqliteAudit
from tocsin.store.connection import PAGE_SIZE, Connections
from tocsin.store.dues import SqliteDues
from tocsin.store.erasure import scrub
from tocsin.store.feeds import SqliteFeeds
from tocsin.store.intake import SqliteIntake
from tocsin.store.peers import SqlitePeers
from tocsin.store.people import SqlitePeople
from tocsin.store.policies import SqlitePolicies
from tocsin.store.receipts import SqliteReceipts
from tocsin.store.records import SqliteRecords
from tocsin.store.recoveries import SqliteRecoveries
from tocsin.store.retractions import SqliteRetractions
from tocsin.store.reviews import SqliteReviews


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
        self.retractions = SqliteRetractions(connections)
        self.feeds = SqliteFeeds(connections)
        self.intake = SqliteIntake(connections)
        self.receipts = SqliteReceipts(connections)
        self.recoveries = SqliteRecoveries(connections)
        self.peers = SqlitePeers(connections)
        self.people = SqlitePeople(connections)
        self.reviews = SqliteReviews(connections)
        self.dues = SqliteDues(connections)
        self.policies = SqlitePolicies(connections)
        self.audit = SqliteAudit(connections)

    def transaction(self) -> AbstractContextManager[None]:
        """Commit everything inside together, durably, or nothing of it."""
        return self._db.transaction()

    def scrub(self) -> None:
        """Overwrite on the disk what was erased."""
        scrub(self._db)

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
