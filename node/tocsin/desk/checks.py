"""This module looks the node over, check by check, and names for each what is wrong the command that mends it.

    clock   identity   certificate   keys   disk   store   policies   decision log   log   receipts
    retractions   peers

What lies on this machine is looked at in one thread, one thing after the
other; peers are called meanwhile, all of them side by side, and what each says
of its clock is compared with ours. A check that fails by a bug or a full disk
is a failure of that check, and the others go on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol

from tocsin.desk.examination import Finding, failure, fine, look_over, skipped, warning
from tocsin.desk.room import Room
from tocsin.errors import TocsinError
from tocsin.exchange.circuit import Contacts
from tocsin.exchange.directory import known_organisation
from tocsin.identity.certificate import DAY
from tocsin.identity.names import OrgId
from tocsin.store.model import PeerRow, PeerState
from tocsin.v1 import desk_service_pb2 as v1

_log = logging.getLogger(__name__)

SKEW_SECONDS = 300
"""What signatures allow for: beyond it, what the one signs is from the future for the other."""
SKEW_TO_MIND_SECONDS = 60

_SET_CLOCK = "timedatectl set-ntp true"


class Probe(Protocol):
    """The way to another node, to see whether it lets us in."""

    def __call__(self, org: OrgId) -> Awaitable[int | None]:
        """Call a peer, and return by how many seconds its clock is ahead; None where it does not say.

        Raises a TocsinError where it cannot be reached, or refuses.
        """


class Checks:
    """Looks the node over on demand."""

    def __init__(self, room: Room, probe: Probe, contacts: Contacts) -> None:
        self._room = room
        self._probe = probe
        self._contacts = contacts

    async def run_checks(self, request: v1.RunChecksRequest) -> AsyncIterator[v1.RunChecksResponse]:
        """Yield each check as soon as it is done; the peers and the clocks come last."""
        rows = await asyncio.to_thread(self._room.home.store.peers.list)
        probes = [asyncio.create_task(self._call(row)) for row in rows]
        try:
            for look in look_over(self._room):
                for found in await asyncio.to_thread(_guarded, look):
                    yield _message(found)
            skews: dict[OrgId, int] = {}
            for row, probe in zip(rows, probes, strict=True):
                found, skew = await probe
                if skew is not None:
                    skews[row.org] = skew
                yield _message(found)
            yield _message(compare_clocks(skews))
        finally:
            for probe in probes:
                probe.cancel()
            await asyncio.gather(*probes, return_exceptions=True)

    async def _call(self, row: PeerRow) -> tuple[Finding, int | None]:
        """Return how it goes with one peer, and by how much its clock is ahead where that is known."""
        if row.state is not PeerState.ACTIVE:
            return skipped("peers", f"{row.org} is {row.state}: nothing is exchanged with it"), None
        if not known_organisation(row.document).endpoints:
            return _heard_from(row, self._contacts.called_at(row.org), now=self._room.clock()), None
        try:
            ahead = await self._probe(row.org)
        except TocsinError as error:
            return failure("peers", f"{error.reason}: {error.message}", error.hint or _about(row.org)), None
        except Exception as error:  # noqa: BLE001 -- one peer's bug must not hide what is found elsewhere
            return _bug("peers", error), None
        return self._exchange(row), ahead

    def _exchange(self, row: PeerRow) -> Finding:
        """Say how the exchange goes with a peer that lets us in: what it sends may still not be good."""
        contact = self._contacts.of(row.org)
        if contact is None or not contact.failures or not row.last_error_reason:
            return fine("peers", f"{row.org} answers and lets us in")
        message = f"{row.org} answers, and the exchange fails: {row.last_error_reason}: {row.last_error}"
        hint = f"{_about(row.org)}; where it has replaced keys, take its newer document: tocsin peer add FILE"
        return warning("peers", message, hint)


def compare_clocks(skews: dict[OrgId, int]) -> Finding:
    """Say what the clocks of others tell about ours: one that differs is its own fault, most of them ours."""
    if not skews:
        return skipped("clock", "no peer has said what time it is")
    off = {org: skew for org, skew in skews.items() if abs(skew) > SKEW_SECONDS}
    told = ", ".join(f"{org} {skew:+d} s" for org, skew in sorted((off or skews).items()))
    if len(off) * 2 > len(skews):
        return failure("clock", f"the clocks of most peers differ from this one: {told}", _SET_CLOCK)
    if off:
        return warning("clock", f"a clock differs by more than {SKEW_SECONDS} s: {told}", "tell its operator")
    if any(abs(skew) > SKEW_TO_MIND_SECONDS for skew in skews.values()):
        return warning("clock", f"clocks differ: {told}", _SET_CLOCK)
    return fine("clock", f"agrees with {len(skews)} peer{'s' if len(skews) > 1 else ''}")


def _heard_from(row: PeerRow, called_at: int | None, *, now: int) -> Finding:
    """Say when a peer last called that has no endpoint: nobody can call it."""
    last = max(row.last_received_at or 0, row.last_sent_at or 0, called_at or 0)
    if not last:
        return warning("peers", f"{row.org} has no endpoint and has not called yet", "ask its people to start its node")
    if now - last > DAY:
        return warning("peers", f"{row.org} has no endpoint, and last called {(now - last) // DAY} days ago")
    return fine("peers", f"{row.org} has no endpoint, and has called within the last day")


def _about(org: OrgId) -> str:
    return f"tocsin peer show {org}"


def _guarded(look: Callable[[], Iterable[Finding]]) -> tuple[Finding, ...]:
    """Return what a look finds; what stops it is found as well."""
    name = look.__name__.strip("_").replace("_", " ")
    found: list[Finding] = []
    try:
        found.extend(look())
    except TocsinError as error:
        found.append(failure(name, f"{error.reason}: {error}", error.hint))
    except OSError as error:
        found.append(failure(name, f"cannot be looked at: {(error.strerror or 'unknown error').lower()}"))
    except Exception as error:  # noqa: BLE001 -- a bug in one check must not hide what the others find
        found.append(_bug(name, error))
    return tuple(found)


def _bug(check: str, error: Exception) -> Finding:
    _log.error("the check of %s ended in %s", check, type(error).__name__)
    return failure(check, f"the check itself failed: {type(error).__name__}", "see the log of the node")


def _message(found: Finding) -> v1.RunChecksResponse:
    return v1.RunChecksResponse(check=found.check, verdict=found.verdict, message=found.message, hint=found.hint)
