"""This module decides who comes in at each listener.

At the peer port the caller is known by the key of the certificate that it
presented, and by nothing else: not by the certificate's names, not by who
issued it, not by what its metadata or its message says. TLS lets a
certificate in that another peer's key has signed; here it ends.

    1. the connection is TLS 1.3                                  BAD_TLS_VERSION
    2. the key is named in the identity document of a peer        PIN_MISMATCH
    3. that document has not expired                              IDENTITY_OUTDATED
    4. the peering is active                                      PEER_PENDING, PEER_SUSPENDED
    5. the peer's role may call this method                       NOT_PERMITTED
    6. the peer has calls and streams left                        QUOTA_EXCEEDED

At the desk, on its socket and on `desk_listen` alike, the caller is one of our
own people, known in the same way:

    1. the connection is TLS 1.3                                  BAD_TLS_VERSION
    2. the key is that of an active person                        PERSON_UNKNOWN
    3. one of the person's roles may call this method             NOT_PERMITTED
    4. the person has calls left                                  QUOTA_EXCEEDED
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tocsin.desk.permits import permitted
from tocsin.errors import (
    IdentityOutdated,
    NotPermitted,
    PeerPending,
    PeerSuspended,
    QuotaExceeded,
    TocsinError,
    Unauthenticated,
)
from tocsin.exchange.directory import Directory, KnownPeer
from tocsin.exchange.status import RETRY_AFTER
from tocsin.identity.certificate import spki_pin
from tocsin.identity.names import OrgId
from tocsin.people.person import Person, Role
from tocsin.services.calls import Call, Calls
from tocsin.services.interceptors import Context
from tocsin.services.roster import Roster
from tocsin.store.model import PeerRole, PeerState

TLS_VERSION = b"TLSv1.3"
_MINUTE = 60.0

CALLS_AT_ONCE = 8
"""Of one peer beside its streams, which needs one at a time: nobody may take all the calls that the node has."""

READER_METHODS = frozenset(
    {
        "/tocsin.v1.ExchangeService/Pull",
        "/tocsin.v1.ExchangeService/Subscribe",
        "/tocsin.v1.ExchangeService/Acknowledge",
        "/tocsin.v1.ExchangeService/RequestDisclosure",
        "/tocsin.v1.ExchangeService/Recover",
        "/tocsin.v1.ExchangeService/GiveBack",
        "/tocsin.v1.LogService/Compare",
        "/tocsin.v1.LogService/GetEntries",
        "/tocsin.v1.LogService/AddEntries",
        "/tocsin.v1.LogService/GetCheckpoint",
        "/tocsin.v1.LogService/GetInclusion",
        "/tocsin.v1.LogService/GetConsistency",
        "/tocsin.v1.LogService/GetTile",
        "/tocsin.v1.LogService/AddCheckpoint",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    }
)
"""What a reader may call. A method that is added is closed to readers until it is named here."""

COLLEAGUE_CALLS_AT_ONCE = 32
"""Of one person: half of what the desk takes at once, so that nobody's script shuts the others out."""

MOST_PINS = 1024
"""Certificates of callers that are remembered with their pins."""

_DESK = "/tocsin.v1.DeskService/"
_HEALTH = "/grpc.health.v1.Health/"

_caller: ContextVar[KnownPeer] = ContextVar("caller")
_colleague: ContextVar[tuple[Person, Call] | None] = ContextVar("colleague", default=None)


def caller() -> KnownPeer:
    """Return the peer whose call is being handled. Raises LookupError outside a call at the peer port."""
    return _caller.get()


def colleague() -> Person:
    """Return the person whose call is being handled. Raises LookupError outside a call at the desk."""
    if (calling := _colleague.get()) is None:
        raise LookupError("nobody is calling")
    return calling[0]


def colleagues_call() -> Call | None:
    """Return the call at the desk that is being handled, also in a thread that works for it; None outside one."""
    calling = _colleague.get()
    return calling[1] if calling else None


@dataclass(frozen=True, slots=True)
class Quota:
    """What each peer may ask for."""

    calls_per_minute: int
    streams: int


class PeerDoor:
    """The doorkeeper of the peer port; belongs to one event loop."""

    def __init__(
        self,
        directory: Directory,
        calls: Calls,
        *,
        quota: Quota,
        clock: Callable[[], int],
        contacted: Callable[[OrgId], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask the directory about each call; `contacted` hears of every peer that was let in.

        `quota` may be replaced, and counts from then on.
        """
        self._directory = directory
        self._calls = calls
        self.quota = quota
        self._clock = clock
        self._contacted = contacted
        self._monotonic = monotonic
        self._minutes: dict[OrgId, tuple[float, int]] = {}

    @contextmanager
    def admit(self, context: Context, call: Call) -> Iterator[None]:
        """Let a call in, following the numbered steps above; nothing of its body has been read yet.

        Raises AccessDenied, IdentityOutdated and QuotaExceeded.
        """
        call.pin = _presented_pin(context)  # 1
        peer = self._directory.by_pin(call.pin)
        if peer is None:  # 2
            raise _stranger()
        if peer.organisation.expires <= self._clock():  # 3
            raise IdentityOutdated("the caller's identity document held here has expired")
        if refusal := _refusal(peer):  # 4
            raise refusal
        if peer.role != PeerRole.MEMBER and call.method not in READER_METHODS:  # 5
            raise NotPermitted("a reader may not do this")
        self._count(peer.org, call)  # 6
        self._contacted(peer.org)
        _caller.set(peer)
        with self._calls.running(peer.org, call):
            yield

    def end_unwelcome(self, org: OrgId) -> None:
        """End the running calls of a peer that would not be let in today."""
        peer = self._directory.find(org)
        for call in self._calls.of(org):
            if peer is None or call.pin not in peer.organisation.pins:
                refusal: TocsinError | None = _stranger()
            else:
                refusal = _refusal(peer)
            if refusal is not None:
                call.end(refusal)

    def end_streams(self) -> None:
        """End every stream, because the node goes away; its other calls may finish."""
        for call in self._calls.all():
            if call.streaming:
                call.end(None)

    def _count(self, org: OrgId, call: Call) -> None:
        now = self._monotonic()
        started, count = self._minutes.get(org, (now, 0))
        if now - started >= _MINUTE:
            started, count = now, 0
        if count >= self.quota.calls_per_minute:
            seconds = str(int(started + _MINUTE - now) + 1)
            raise QuotaExceeded("more calls in this minute than a peer may make", metadata={RETRY_AFTER: seconds})
        self._minutes[org] = (started, count + 1)
        alike = sum(other.streaming == call.streaming for other in self._calls.of(org))
        if call.streaming and alike >= self.quota.streams:
            raise QuotaExceeded("more streams at once than a peer may have")
        if not call.streaming and alike >= CALLS_AT_ONCE:
            raise QuotaExceeded("more calls at once than a peer may have")


class DeskDoor:
    """The doorkeeper of the desk; belongs to one event loop."""

    def __init__(self, roster: Roster, calls: Calls, *, strict: bool) -> None:
        """Ask the roster about each call; with `strict`, roles that nobody may hold together do not all count."""
        self._roster = roster
        self._calls = calls
        self._strict = strict

    @contextmanager
    def admit(self, context: Context, call: Call) -> Iterator[None]:
        """Let a call in, following the numbered steps above; nothing of its body has been read yet.

        Raises AccessDenied and QuotaExceeded.
        """
        call.pin = _presented_pin(context)  # 1
        person = self._roster.by_pin(call.pin)
        if person is None:  # 2
            raise _unknown_person()
        if refusal := self._refusal(person, call):  # 3
            raise refusal
        if len(self._calls.of(person.name)) >= COLLEAGUE_CALLS_AT_ONCE:  # 4
            raise QuotaExceeded("more calls at once than a person may have")
        _colleague.set((person, call))
        with self._calls.running(person.name, call):
            yield

    def end_unwelcome(self, name: str, *, but: Call | None) -> None:
        """End the running calls of a person that would not be let in today, but for the call that changed it."""
        for call in self._calls.of(name):
            person = self._roster.by_pin(call.pin)
            refusal = _unknown_person() if person is None else self._refusal(person, call)
            if refusal is not None and call is not but:
                call.end(refusal)

    def _refusal(self, person: Person, call: Call) -> TocsinError | None:
        if call.method.startswith(_HEALTH):
            return None
        roles = permitted(call.method.removeprefix(_DESK))
        if person.may(roles, strict=self._strict):
            return None
        hint = f"ask somebody whose role is {_in_words(roles)}" if roles else ""
        if person.may(roles, strict=False):
            why = "holds release, policy and keys at once, and so acts as an operator alone"
            return NotPermitted(f"{person.name} {why}", hint=f"{hint}; `strict` in node.toml says so")
        return NotPermitted(f"{person.name} may not do this", hint=hint)


def _presented_pin(context: Context) -> str:
    connection = {name: list(values) for name, values in context.auth_context().items()}
    if connection.get("ssl_tls_version") != [TLS_VERSION]:
        raise Unauthenticated("the connection is not TLS 1.3", reason="BAD_TLS_VERSION")
    certificates = connection.get("x509_pem_cert", [])
    if len(certificates) != 1:
        raise Unauthenticated("the connection shows no certificate", reason="PIN_MISMATCH")
    return _pin(certificates[0])


@lru_cache(MOST_PINS)  # a certificate is read once, and not for each call that is made under it
def _pin(certificate: bytes) -> str:
    return spki_pin(x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER))


def _unknown_person() -> Unauthenticated:
    return Unauthenticated(
        "the certificate's key is no person's of this organisation",
        reason="PERSON_UNKNOWN",
        hint="an operator lets you in: tocsin person add, or the owner of the home: tocsin person recover",
    )


def _in_words(roles: frozenset[Role]) -> str:
    *others, last = [role.value for role in Role if role in roles]
    return f"{', '.join(others)} or {last}" if others else last


def _stranger() -> Unauthenticated:
    return Unauthenticated("the certificate's key is no known organisation's", reason="PIN_MISMATCH")


def _refusal(peer: KnownPeer) -> TocsinError | None:
    """Return why nothing is exchanged with a peer, or None where something is."""
    if peer.state == PeerState.KNOWN:  # its keys count for records that others pass on, and open no door
        return _stranger()
    if peer.state == PeerState.PENDING:
        return PeerPending("the peering waits until our people have confirmed the fingerprint")
    if peer.state == PeerState.SUSPENDED:
        return PeerSuspended("the peering is suspended")
    return None
