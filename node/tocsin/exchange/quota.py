"""This module limits what one peer may cost us: records, bytes and log entries in an hour, and time spent on verifying.

    records, bytes   of an hour, as the policy file for the peer says    kept in the store, over restarts
    verifying        seconds of one core in a minute                     kept in memory
    log entries      of an hour, whoever's log it is                     kept in memory

Each is looked at before any signature is, so that refusing costs next to
nothing. Whoever is refused is told when to come back. One entry always fits
into an hour in which nothing came, however large it is.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tocsin.errors import QuotaExceeded
from tocsin.exchange.entry import PageEntry
from tocsin.exchange.status import RETRY_AFTER
from tocsin.identity.names import OrgId
from tocsin.policy.clauses import Accept
from tocsin.store.model import EntryKind
from tocsin.store.protocol import Store

QUOTA_SECONDS = 3600  # the window of `max_per_hour` and `max_mb_per_hour`
QUOTA_RETRY_SECONDS = 300  # the window slides, so some of the quota is back long before the hour is over
MINUTE = 60.0
MOST_LOGGED = 1_000_000
"""Log entries of a peer in an hour: on the disk a quarter of a gigabyte, which policy takes in records by itself."""


class Budget:
    """Count the time that verifying the pages of each peer takes; safe to use from any thread.

    What was spent comes back evenly over a minute. A page that was begun is
    finished, so a peer may overdraw by as much as the pages cost that it can
    send at once.
    """

    def __init__(
        self,
        seconds_per_minute: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        """Take the limit of each peer, and two clocks: one that goes on, and one for the work of a thread."""
        self._most = seconds_per_minute
        self._monotonic = monotonic
        self._spent = spent
        self._lock = threading.Lock()
        self._owing: dict[OrgId, tuple[float, float]] = {}

    @contextmanager
    def spending(self, peer: OrgId) -> Iterator[None]:
        """Count what is done inside, in this thread, for a peer. Raises QuotaExceeded where nothing is left."""
        with self._lock:
            owes = self._owes(peer)
        if owes >= self._most:
            seconds = int((owes - self._most) / self._most * MINUTE) + 1
            raise QuotaExceeded(
                f"verifying what {peer} sends takes more time than a peer may take",
                hint="it goes on by itself; verify_seconds_per_minute in node.toml is the limit",
                metadata={RETRY_AFTER: str(seconds)},
            )
        begun = self._spent()
        try:
            yield
        finally:
            self._add(peer, self._spent() - begun)

    def _owes(self, peer: OrgId) -> float:
        at, owed = self._owing.get(peer, (0.0, 0.0))
        return max(0.0, owed - (self._monotonic() - at) / MINUTE * self._most)

    def _add(self, peer: OrgId, seconds: float) -> None:
        with self._lock:
            self._owing[peer] = (self._monotonic(), self._owes(peer) + seconds)


class Inflow:
    """Count the log entries that each peer brings, in memory; safe to use from any thread.

    What was counted comes back evenly over an hour.
    """

    def __init__(self, most: int = MOST_LOGGED, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Take how many are taken of a peer in an hour."""
        self._most = most
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._owing: dict[OrgId, tuple[float, float]] = {}

    def verify(self, peer: OrgId) -> None:
        """Refuse a peer that has brought as many as it may. Raises QuotaExceeded."""
        with self._lock:
            owes = self._owes(peer)
        if owes >= self._most:
            raise QuotaExceeded(
                f"{peer} has brought as many entries of logs as are taken in an hour",
                hint="it goes on by itself",
                metadata={RETRY_AFTER: str(QUOTA_RETRY_SECONDS)},
            )

    def count(self, peer: OrgId, entries: int) -> None:
        """Count entries that were taken."""
        with self._lock:
            self._owing[peer] = (self._monotonic(), self._owes(peer) + entries)

    def _owes(self, peer: OrgId) -> float:
        at, owed = self._owing.get(peer, (0.0, 0.0))
        return max(0.0, owed - (self._monotonic() - at) / QUOTA_SECONDS * self._most)


def verify_quota(store: Store, peer: OrgId, *, accept: Accept, now: int) -> None:
    """Refuse whatever a peer sends while its hour is full; nothing of it is looked at. Raises QuotaExceeded."""
    taken = store.intake.taken_within(peer, QUOTA_SECONDS, now=now)
    if taken.entries >= accept.max_per_hour or taken.bytes >= accept.max_bytes_per_hour:
        raise over_quota(peer)


def within_quota(
    store: Store, entries: Sequence[PageEntry], peer: OrgId, *, accept: Accept, now: int
) -> tuple[PageEntry, ...]:
    """Return the entries up to where the quota ends; void ones cost nothing."""
    taken = store.intake.taken_within(peer, QUOTA_SECONDS, now=now)
    records = accept.max_per_hour - taken.entries
    room = accept.max_bytes_per_hour - taken.bytes
    fitting: list[PageEntry] = []
    for entry in entries:
        if entry.kind is not EntryKind.VOID:
            is_first = not taken.bytes and room == accept.max_bytes_per_hour
            records, room = records - 1, room - entry.size()
            if records < 0 or (room < 0 and not is_first):
                break
        fitting.append(entry)
    return tuple(fitting)


def over_quota(peer: OrgId) -> QuotaExceeded:
    """Return the error that a peer's hour is full."""
    return QuotaExceeded(
        f"{peer} has sent as much as our policy takes in an hour",
        hint="it goes on by itself; max_per_hour and max_mb_per_hour in its policy file are the limits",
        metadata={RETRY_AFTER: str(QUOTA_RETRY_SECONDS)},
    )
