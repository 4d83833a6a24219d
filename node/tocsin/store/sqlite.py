"""This module puts the shelves of `protocol.Store` together over SQLite.

    store = open_store(home / "tocsin.db")
    with store.transaction():
        store.records.add(record, now=now)

Every commit is on disk when it returns (WAL, synchronous = FULL).
"""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType

from tocsin.errors import Overloaded, StoreCorrupt
from tocsin.store.audit import SqliteAudit
from tocsin.store.connection import PAGE_SIZE, Connections
from tocsin.store.damage import Examined
from tocsin.store.dues import SqliteDues
from tocsin.store.erasure import scrub
from tocsin.store.feeds import SqliteFeeds
from tocsin.store.intake import SqliteIntake
from tocsin.store.logs import SqliteLogs
from tocsin.store.model import PeerRole, PeerState
from tocsin.store.peers import SqlitePeers
from tocsin.store.people import SqlitePeople
from tocsin.store.policies import SqlitePolicies
from tocsin.store.receipts import SqliteReceipts
from tocsin.store.records import SqliteRecords
from tocsin.store.recoveries import SqliteRecoveries
from tocsin.store.retractions import SqliteRetractions
from tocsin.store.reviews import SqliteReviews
from tocsin.store.soundness import examine, problems


def open_store(path: Path, *, create: bool = False, page_size: int = PAGE_SIZE) -> "SqliteStore":
    """Open a store, bring it to this version, and read all of it first where it is not as it was left here.

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
        self.logs = SqliteLogs(connections)
        self.recoveries = SqliteRecoveries(connections)
        self.peers = SqlitePeers(connections)
        self.people = SqlitePeople(connections)
        self.reviews = SqliteReviews(connections)
        self.dues = SqliteDues(connections)
        self.policies = SqlitePolicies(connections)
        self.audit = SqliteAudit(connections)
        self.examined: Examined | None = None
        self._scrubbed_at, self._left = -math.inf, False
        with suppress(Overloaded):  # the store keeps that it is to be done
            self.scrub()  # what was erased before the node was killed

    def transaction(self) -> AbstractContextManager[None]:
        """Commit everything inside together, durably, or nothing of it."""
        return self._db.transaction()

    def joined(self) -> AbstractContextManager[None]:
        """Join the transaction around it, or be one."""
        return self._db.joined()

    def scrub(self, *, unless_within: float = 0.0) -> None:
        """Overwrite on the disk what was erased; it may be left for later where that was done a moment ago."""
        self._left = time.monotonic() < self._scrubbed_at + unless_within
        if not self._left and scrub(self._db):
            self._scrubbed_at = time.monotonic()

    def verify_whole(self) -> None:
        """Verify that nobody has met any damage; see `damage.Guard`."""
        self._db.guard.verify()

    def examine(self, *, now: int) -> Examined | None:
        """Read everything while the store is in use, and return what does not fit together; None: it was stopped."""
        found = examine(self._db, now=now)
        self.examined = found or self.examined
        return found

    def stop_examining(self) -> None:
        """End an `examine` that is under way in another thread."""
        self._db.stop_examining()

    def problems(self) -> Iterator[str]:
        """Yield what does not fit together in the store itself."""
        return problems(self._db)

    def snapshot(self, path: Path) -> None:
        """Write a copy of the store as it is at one moment to a new file, without what was deleted."""
        self._db.copy_to(path)

    def note_restored(self, *, now: int) -> None:
        """Keep that this store was put back: feeds begin anew, and peers are asked for what is lost."""
        with self.transaction():
            for partner in self.feeds.partners():
                self.feeds.close(partner, now=now)
            for peer in self.peers.list():
                if peer.role is PeerRole.MEMBER and peer.state in (PeerState.ACTIVE, PeerState.SUSPENDED):
                    self.recoveries.begin(peer.org, now=now)

    def size(self) -> int:
        """Return the bytes that the store takes on disk, the write-ahead log with it."""
        path = self._db.path
        files = (path, path.with_name(f"{path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close every connection."""
        if self._left:
            with suppress(Overloaded, StoreCorrupt):
                self.scrub()
        self._db.close()

    def __enter__(self) -> "SqliteStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
