"""This module is what the rooms of the desk share: the open home, the clock, and whom to tell.

The desk runs in the node and in the command alike. In the node others must
hear of what it did: subscribers whose feed has grown, workers and live streams
of a peer that changed. In the command nobody listens.
"""

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from tocsin.desk.home import Home
from tocsin.exchange.progress import Progress
from tocsin.identity.names import OrgId


class Events(Protocol):
    """Whoever wants to know at once what the desk did; called after it is durable, from any thread."""

    def queued(self, partners: Collection[OrgId]) -> None:
        """Say that something waits for these partners."""

    def peer_changed(self, org: OrgId) -> None:
        """Say that the state, role or identity of a peer changed."""


class NoEvents:
    """Nobody listens."""

    def queued(self, partners: Collection[OrgId]) -> None:
        """Do nothing."""

    def peer_changed(self, org: OrgId) -> None:
        """Do nothing."""


NO_EVENTS = NoEvents()


Puller = Callable[[OrgId], AsyncIterator[Progress]]
"""Fetch what a peer has for us, telling the progress page by page; raises a TocsinError where it stops early."""


@dataclass(frozen=True, slots=True)
class Room:
    """What every part of the desk works with."""

    home: Home
    clock: Callable[[], int]
    random: Callable[[int], bytes]
    events: Events
