"""This module is how the contact with a peer stands: a table of states, and what was seen of each peer.

    state      event       becomes    what happens
    waiting    time, peer  calling    the pause is over, or the peer has called us: it is up
    calling    answered    in touch   failures are forgotten
    calling    ended       waiting    the peer had nothing more to say
    calling    failed      waiting    one failure more: the pause may be twice as long
    in touch   answered    in touch
    in touch   ended       waiting    a stream is over, as every stream is after a while
    in touch   failed      waiting    as above

An event that a state does not know is a mistake of ours (RuntimeError), and
changes nothing.

A pause has full jitter: somewhere between nothing and 1, 2, 4, … seconds up to
a cap, so that those who lost a peer together do not come back to it together
(Brooker, "Exponential Backoff And Jitter", 2015).
"""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from tocsin.identity.names import OrgId

FIRST_PAUSE_SECONDS = 1.0
# 2^20 s is twelve days: doubling further says nothing, whatever the cap.
_MOST_DOUBLINGS = 20


class ContactState(StrEnum):
    """Say how the contact with a peer stands."""

    CALLING = "calling"
    IN_TOUCH = "in touch"
    WAITING = "waiting"


class Happened(StrEnum):
    """Say what may happen to a contact."""

    TIME = "time"  # the pause is over
    PEER = "peer"  # the peer has called us
    ANSWERED = "answered"
    ENDED = "ended"
    FAILED = "failed"


_BECOMES: Mapping[tuple[ContactState, Happened], ContactState] = MappingProxyType(
    {
        (ContactState.WAITING, Happened.TIME): ContactState.CALLING,
        (ContactState.WAITING, Happened.PEER): ContactState.CALLING,
        (ContactState.CALLING, Happened.ANSWERED): ContactState.IN_TOUCH,
        (ContactState.CALLING, Happened.ENDED): ContactState.WAITING,
        (ContactState.CALLING, Happened.FAILED): ContactState.WAITING,
        (ContactState.IN_TOUCH, Happened.ANSWERED): ContactState.IN_TOUCH,
        (ContactState.IN_TOUCH, Happened.ENDED): ContactState.WAITING,
        (ContactState.IN_TOUCH, Happened.FAILED): ContactState.WAITING,
    }
)


@dataclass(frozen=True, slots=True)
class Contact:
    """How the contact with a peer stands; `next_attempt_at` in unix seconds, 0 where it is not waiting."""

    state: ContactState = ContactState.CALLING
    failures: int = 0  # in a row
    next_attempt_at: int = 0

    def after(self, happened: Happened, *, next_attempt_at: int = 0) -> "Contact":
        """Return how it stands once this has happened. Raises RuntimeError where it cannot."""
        state = _BECOMES.get((self.state, happened))
        if state is None:
            raise RuntimeError(f"a contact that is {self.state} cannot be told: {happened}")
        failures = self.failures + 1 if happened is Happened.FAILED else self.failures
        if happened is Happened.ANSWERED:
            failures = 0
        return replace(self, state=state, failures=failures, next_attempt_at=next_attempt_at)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to stay away after failures; `jitter` picks a pause out of the longest one."""

    cap: float
    jitter: Callable[[float], float] = lambda longest: random.uniform(0, longest)  # noqa: S311 -- spreads load, guards nothing

    def longest(self, failures: int) -> float:
        """Return the longest pause after this many failures in a row."""
        return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures, _MOST_DOUBLINGS), self.cap)


class Contacts:
    """What is seen of each peer since the node started; safe to use from any thread.

    A peer may be followed and handed our feed at once: of the two the one that
    goes worse is what people want to see.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contacts: dict[OrgId, dict[str, Contact]] = {}
        self._ahead: dict[OrgId, int] = {}
        self._called_at: dict[OrgId, int] = {}

    def note(self, peer: OrgId, job: str, contact: Contact) -> None:
        """Keep how one kind of contact with a peer stands."""
        with self._lock:
            self._contacts.setdefault(peer, {})[job] = contact

    def forget(self, peer: OrgId) -> None:
        """Nobody calls this peer any more."""
        with self._lock:
            self._contacts.pop(peer, None)

    def of(self, peer: OrgId) -> Contact | None:
        """Return how the contact with a peer stands; None where nobody calls it."""
        with self._lock:
            jobs = tuple(self._contacts.get(peer, {}).values())
        return max(jobs, key=lambda contact: (contact.failures, contact.next_attempt_at), default=None)

    def note_clock(self, peer: OrgId, *, theirs: int, ours: int) -> None:
        """Keep what a peer says its clock is; 0: it does not say."""
        if theirs > 0:
            with self._lock:
                self._ahead[peer] = theirs - ours

    def note_call(self, peer: OrgId, *, now: int) -> None:
        """Keep that a peer has called us, and was let in."""
        with self._lock:
            self._called_at[peer] = now

    def called_at(self, peer: OrgId) -> int | None:
        """Return when a peer has called us last; None: not since the node started."""
        with self._lock:
            return self._called_at.get(peer)

    def clock_ahead(self, peer: OrgId) -> int | None:
        """Return by how many seconds a peer's clock is ahead of ours; None: it is not known."""
        with self._lock:
            return self._ahead.get(peer)
