"""This module holds what release works with: the store, the policies of the moment, the decision log.

Whoever decides several things at once takes the office `at_once`: all of it is
then decided by one set of policies, verified once. What is written by it takes
it inside its transaction: before, another set may come in force while it waits
for the writers in front.

A record that goes is loaded here, and verified as any recipient will verify it:

    own            current, and whole as it was posted
    of others      current, its origin signed `relay = community`, and that
                   origin's identity is held here: it may be passed on

Verifying takes a millisecond, and writers wait for one another: a `Memo` holds
what was verified before a transaction for the same text inside it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self, TypeAlias, cast

from tocsin.audit.entry import Event
from tocsin.audit.log import Log
from tocsin.encoding import JSON, parse_json
from tocsin.errors import Malformed, NotFound, RecordExpired, RecordRefused, StoreCorrupt, UntrustedIssuer
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation, parse_identity
from tocsin.policy.decide import Decision, Denial
from tocsin.policy.model import PolicySet
from tocsin.records.envelope import MAY_RELAY
from tocsin.records.record import VerifiedRecord, parse_record, sd_hash
from tocsin.release.presentation import decide_today
from tocsin.store.model import AuditFilter, PeerState, Standing, StoredRecord
from tocsin.store.protocol import Store
from tocsin.tlog.log import OwnLog
from tocsin.tlog.quorum import Quorum

Memo: TypeAlias = dict[str, VerifiedRecord]
"""Records by the exact text that was verified."""

MOST_KNOWN = 64
"""Identities kept in memory: each takes milliseconds to read."""

VOUCHED = frozenset({PeerState.ACTIVE, PeerState.SUSPENDED, PeerState.KNOWN})
"""In these states somebody has confirmed an organisation's keys, whatever is exchanged with it."""


@dataclass(frozen=True, slots=True)
class Office:
    """What release works with.

    `policies` verifies and returns what is in force each time it is called;
    `strict` says that nobody holds release, policy and keys at once; `quorum`
    returns whose cosignatures count here, None where our own do.
    """

    store: Store
    organisation: Organisation
    policies: Callable[[], PolicySet]
    log: Log
    tlog: OwnLog
    strict: bool
    random: Callable[[int], bytes]
    quorum: Callable[[], Quorum | None] = lambda: None

    def at_once(self) -> Self:
        """Return the same with the policies as they are now."""
        policies = self.policies()
        return replace(self, policies=lambda: policies)

    def partners(self) -> tuple[OrgId, ...]:
        """Return those to whom anything is sent at all: the active peers."""
        return tuple(peer.org for peer in self.store.peers.list() if peer.state is PeerState.ACTIVE)

    def decide(self, record: VerifiedRecord, *, partner: OrgId, now: int) -> Decision:
        """Ask policy about a record, with what the store knows of it; nothing goes back to who sent it to us."""
        own = record.issuer == self.organisation.org
        decision = decide_today(self.store, record, partner=partner, policies=self.policies(), now=now, own=own)
        if own or not decision.delivered or self.store.records.get(record.digest).received_from != partner:
            return decision
        why = "it is the partner who passed it on to us"
        return replace(
            decision, delivered=False, disclosed=frozenset(), withholding=None, denial=Denial.ITS_ORIGIN, why=why
        )

    def load(self, digest: str, *, now: int, memo: Memo | None = None) -> VerifiedRecord | None:
        """Return a record as one that may be sent or passed on today; None where it may not.

        `memo` is asked first whether the text was verified, and told. Raises
        StoreCorrupt as `load_own` does.
        """
        stored = self.store.records.get(digest)
        if stored.own:
            return load_own(self.store, digest, organisation=self.organisation, now=now, memo=memo)
        if stored.standing is not Standing.CURRENT or stored.relay != MAY_RELAY or not stored.token:
            return None
        # One of ours that a peer gave back, after our store had lost it, is not whole.
        origin = vouched_organisation(self.store, stored.issuer)
        return None if origin is None else _verify(stored, origin, now=now, memo=memo)


def load_own(
    store: Store, digest: str, *, organisation: Organisation, now: int, memo: Memo | None = None
) -> VerifiedRecord | None:
    """Return an own record as one that may be sent today; None where it may not.

    It may not where a later version replaced it, where it was retracted or has
    expired, or where its key was revoked. It is verified as any recipient will
    verify it, so that nothing is sent that others must refuse. Raises
    StoreCorrupt where it fails in any other way, or is not whole any more:
    policy would take what is missing, such as an embargo, for what was never there.
    """
    stored = store.records.get(digest)
    if not stored.own or stored.standing is not Standing.CURRENT:
        return None
    _verify_whole(store, stored)
    return _verify(stored, organisation, now=now, memo=memo)


def vouched_organisation(store: Store, org: str) -> Organisation | None:
    """Return a peer whose fingerprint somebody has confirmed, whether or not anything is exchanged with it."""
    try:
        peer = store.peers.get(org)
    except NotFound:
        return None
    return read_organisation(peer.document) if peer.state in VOUCHED else None


@lru_cache(MOST_KNOWN)
def read_organisation(document: bytes) -> Organisation:
    """Read an identity document that was verified when it was taken."""
    return parse_identity(document, now=0, check_expiry=False)


def _verify(stored: StoredRecord, origin: Organisation, *, now: int, memo: Memo | None) -> VerifiedRecord | None:
    """Return a stored record as its recipients verify it; None where its time, or its key's, is over."""
    known = memo.get(stored.token) if memo is not None else None
    if known is not None:
        return known
    try:
        # A clock that is behind the record makes it no worse a record: what that means is for policy to say.
        record = parse_record(stored.token).verify(origin, now=max(now, stored.issued_at))
    except (RecordExpired, UntrustedIssuer):
        return None
    except (Malformed, RecordRefused) as error:
        # Which record it is tells the partner that there is one: it stays with our own people.
        raise StoreCorrupt("a record that is held does not verify any more", where=stored.digest) from error
    if memo is not None:
        memo[stored.token] = record
    return record


def _verify_whole(store: Store, stored: StoredRecord) -> None:
    """Compare an own record, and whom it is for, with what the decision log says was posted.

    An earlier version did not say it. Raises StoreCorrupt.
    """
    for row in store.audit.list(AuditFilter(digest=stored.digest, act=Event.POSTED), limit=1):
        details = cast("dict[str, dict[str, JSON]]", parse_json(row.body.encode()))["details"]
        today = {"sd_hash": sd_hash(stored.token), "recipients": sorted(store.records.recipients(stored.digest))}
        if any(details.get(name, value) != value for name, value in today.items()):
            raise StoreCorrupt("an own record is not the one that was posted", where=stored.digest)
