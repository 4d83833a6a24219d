"""This module holds what release works with: the store, the policies of the moment, the decision log.

Whoever decides several things at once takes the office `at_once`: all of it is
then decided by one set of policies, verified once. What is written by it takes
it inside its transaction: before, another set may come in force while it waits
for the writers in front. `together` is such a transaction, and what happens in
it is sealed and signed once.

A record that goes is loaded here, and verified as any recipient will verify it:

    own            current, and whole as it was posted
    of others      current, its origin signed `relay = community`, and that
                   origin's identity is held here: it may be passed on

Verifying takes a part of a millisecond, and a record goes to many partners:
what was verified is remembered (`tocsin.release.known`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Self, cast

from tocsin.audit.entry import Event
from tocsin.audit.log import Gathered, Writer
from tocsin.encoding import JSON, parse_json
from tocsin.errors import Malformed, NotFound, RecordExpired, RecordRefused, StoreCorrupt, UntrustedIssuer
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation, parse_identity
from tocsin.policy.decide import Decision, Denial
from tocsin.policy.model import PolicySet
from tocsin.records.envelope import MAY_RELAY
from tocsin.records.record import VerifiedRecord, sd_hash
from tocsin.release.known import Known
from tocsin.store.model import AuditFilter, Dealings, PeerState, Standing, StoredRecord
from tocsin.store.protocol import Store
from tocsin.tlog.log import OwnLog
from tocsin.tlog.quorum import Quorum

MOST_KNOWN = 1024
"""Identities kept in memory, one for each peer of a large federation: each takes milliseconds to read."""

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
    log: Writer
    tlog: OwnLog
    strict: bool
    random: Callable[[int], bytes]
    quorum: Callable[[], Quorum | None] = lambda: None
    known: Known = field(default_factory=Known)

    def at_once(self) -> Self:
        """Return the same with the policies as they are now."""
        policies = self.policies()
        return replace(self, policies=lambda: policies)

    @contextmanager
    def together(self, *, now: int) -> Iterator[Self]:
        """Do several things in one transaction, by one set of policies: each log is signed once, at its end.

        What is logged in it cannot be read before that: it MUST NOT be looked for.
        """
        with self.store.transaction():
            log, tlog = Gathered(), self.tlog.gather()
            yield replace(self.at_once(), log=log, tlog=tlog)
            if tlog.pending:
                self.tlog.enter(tlog.pending, now=now)
            if log.entries:
                self.log.append(*log.entries, now=now)

    def partners(self) -> tuple[OrgId, ...]:
        """Return those to whom anything is sent at all: the active peers."""
        return self.store.peers.active()

    def decide(self, record: VerifiedRecord, *, partner: OrgId, now: int, dealings: Dealings | None = None) -> Decision:
        """Ask policy about a record, with what the store knows of it; nothing goes back to who sent it to us.

        `dealings` is that, where it was read in this transaction.
        """
        own = record.issuer == self.organisation.org
        dealings = dealings or self.store.feeds.dealings(partner, record.digest)
        decision = self.policies().decide(
            record, partner=partner, recipients=dealings.recipients, granted=dealings.granted, now=now, own=own
        )
        if own or not decision.delivered or self.store.records.get(record.digest).received_from != partner:
            return decision
        why = "it is the partner who passed it on to us"
        return replace(
            decision, delivered=False, disclosed=frozenset(), withholding=None, denial=Denial.ITS_ORIGIN, why=why
        )

    def load(self, digest: str, *, now: int, dealings: Dealings | None = None) -> VerifiedRecord | None:
        """Return a record as one that may be sent or passed on today; None where it may not.

        An own one may not where a later version replaced it, where it was
        retracted or has expired, or where its key was revoked. It is verified
        as any recipient will verify it, so that nothing is sent that others
        must refuse. Raises StoreCorrupt where it fails in any other way, or is
        not whole any more: policy would take what is missing, such as an
        embargo, for what was never there.

        `dealings` are those with any partner, where they were read in this transaction.
        """
        stored = self.store.records.get(digest)
        if stored.standing is not Standing.CURRENT:
            return None
        if stored.own:
            record = self._verify(stored, self.organisation, now=now)
            self._verify_whole(stored, dealings.recipients if dealings else self.store.records.recipients(digest))
            return record
        if stored.relay != MAY_RELAY or not stored.token:
            return None
        # One of ours that a peer gave back, after our store had lost it, is not whole.
        origin = vouched_organisation(self.store, stored.issuer)
        return None if origin is None else self._verify(stored, origin, now=now)

    def erase(self, digest: str) -> None:
        """Delete what a record says, from what is remembered too; the caller has it scrubbed from the disk."""
        self.store.records.erase(digest)
        self.known.forget(digest)

    def _verify(self, stored: StoredRecord, origin: Organisation, *, now: int) -> VerifiedRecord | None:
        """Return a stored record as its recipients verify it; None where its time, or its key's, is over."""
        try:
            # A clock that is behind the record makes it no worse a record: what that means is for policy to say.
            return self.known.verify(stored.token, digest=stored.digest, origin=origin, now=max(now, stored.issued_at))
        except (RecordExpired, UntrustedIssuer):
            return None
        except (Malformed, RecordRefused) as error:
            # Which record it is tells the partner that there is one: it stays with our own people.
            raise StoreCorrupt("a record that is held does not verify any more", where=stored.digest) from error

    def _verify_whole(self, stored: StoredRecord, recipients: frozenset[OrgId]) -> None:
        """Compare an own record, and whom it is for, with what the decision log says was posted.

        An earlier version did not say it. Raises StoreCorrupt.
        """
        if self.known.is_whole(stored.digest, stored.token, recipients):
            return
        for row in self.store.audit.list(AuditFilter(digest=stored.digest, act=Event.POSTED), limit=1):
            details = cast("dict[str, dict[str, JSON]]", parse_json(row.body.encode()))["details"]
            today = {"sd_hash": sd_hash(stored.token), "recipients": sorted(recipients)}
            if any(details.get(name, value) != value for name, value in today.items()):
                raise StoreCorrupt("an own record is not the one that was posted", where=stored.digest)
            self.known.note_whole(stored.digest, stored.token, recipients)


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
