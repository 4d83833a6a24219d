"""This module is what the rooms of the desk share: the open home, the clock, and whom to tell.

Others must hear at once of what the desk did: subscribers whose feed has
grown, workers and live streams of a peer that changed, running calls of a
person who may do less, and whoever waits for the next due time.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.desk.home import Home
from tocsin.desk.permits import permitted
from tocsin.desk.witnessing import load_log_policy
from tocsin.errors import NotPermitted
from tocsin.exchange.progress import Progress
from tocsin.identity.names import OrgId
from tocsin.people.person import Person
from tocsin.release.office import Office
from tocsin.v1 import exchange_service_pb2 as exchange_v1


class Events(Protocol):
    """Whoever wants to know at once what the desk did; called after it is durable, from any thread."""

    def queued(self, partners: Collection[OrgId]) -> None:
        """Say that something waits for these partners."""

    def peer_changed(self, org: OrgId) -> None:
        """Say that the state, role or identity of a peer changed."""

    def person_changed(self, name: str) -> None:
        """Say that somebody came, left, or may do something else."""

    def due_changed(self) -> None:
        """Say that something is to be done at a time, perhaps before everything else."""


class NoEvents:
    """Nobody listens."""

    def queued(self, partners: Collection[OrgId]) -> None:
        """Do nothing."""

    def peer_changed(self, org: OrgId) -> None:
        """Do nothing."""

    def person_changed(self, name: str) -> None:
        """Do nothing."""

    def due_changed(self) -> None:
        """Do nothing."""


NO_EVENTS = NoEvents()


Puller = Callable[[OrgId], AsyncIterator[Progress]]
"""Fetch what a peer has for us, telling the progress page by page; raises a TocsinError where it stops early."""


class Requester(Protocol):
    """The way to another node with a request for fields."""

    async def __call__(
        self, org: OrgId, *, digest: str, paths: Sequence[str], why: str
    ) -> "exchange_v1.RequestState.ValueType":
        """Ask the origin of a record for fields of it, and return where the request stands there."""


@dataclass(frozen=True, slots=True)
class Room:
    """What every part of the desk works with."""

    home: Home
    clock: Callable[[], int]
    random: Callable[[int], bytes]
    events: Events
    office: Office

    def verify_still_may(self, caller: Person, call: str) -> None:
        """Refuse to go on with a call whose caller has left since it began, or may do less. Raises NotPermitted.

        The door ends such a call for whoever waits for it; the thread that works for it sees it here.
        """
        person = self.home.store.people.get(caller.name)
        if person.key_id != caller.key_id or not person.may(permitted(call), strict=self.office.strict):
            raise NotPermitted(f"{caller.name} may not do this any more")


def open_office(home: Home, *, strict: bool, random: Callable[[int], bytes]) -> Office:
    """Return what release works with in an open home."""
    return Office(
        store=home.store,
        organisation=home.organisation,
        policies=lambda: home.policies,
        log=home.log,
        tlog=home.tlog,
        strict=strict,
        random=random,
        quorum=lambda: load_log_policy(home.layout).quorum,
        known=home.known,
    )
