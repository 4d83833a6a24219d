"""This module holds what release works with: the store, the policies of the moment, the decision log.

Whoever decides several things at once takes the office `at_once`: all of it is
then decided by one set of policies, verified once. What is written by it takes
it inside its transaction: before, another set may come in force while it waits
for the writers in front.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, cast

from tocsin.audit.entry import Event
from tocsin.audit.log import Log
from tocsin.encoding import JSON, parse_json
from tocsin.errors import Malformed, RecordExpired, RecordRefused, StoreCorrupt, UntrustedIssuer
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.policy.decide import Decision
from tocsin.policy.model import PolicySet
from tocsin.records.record import VerifiedRecord, parse_record, sd_hash
from tocsin.release.presentation import decide_today
from tocsin.store.model import AuditFilter, PeerState, Standing, StoredRecord
from tocsin.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Office:
    """What release works with.

    `policies` verifies and returns what is in force each time it is called;
    `strict` says that nobody holds release, policy and keys at once.
    """

    store: Store
    organisation: Organisation
    policies: Callable[[], PolicySet]
    log: Log
    strict: bool
    random: Callable[[int], bytes]

    def at_once(self) -> Self:
        """Return the same with the policies as they are now."""
        policies = self.policies()
        return replace(self, policies=lambda: policies)

    def partners(self) -> tuple[OrgId, ...]:
        """Return those to whom anything is sent at all: the active peers."""
        return tuple(peer.org for peer in self.store.peers.list() if peer.state is PeerState.ACTIVE)

    def decide(self, record: VerifiedRecord, *, partner: OrgId, now: int) -> Decision:
        """Ask policy about an own record, with what the store knows of it."""
        return decide_today(self.store, record, partner=partner, policies=self.policies(), now=now)

    def load(self, digest: str, *, now: int) -> VerifiedRecord | None:
        """Return an own record as one that may be sent today; see `load_own`."""
        return load_own(self.store, digest, organisation=self.organisation, now=now)


def load_own(store: Store, digest: str, *, organisation: Organisation, now: int) -> VerifiedRecord | None:
    """Return an own record as one that may be sent today; None where it may not.

    It may not where a later version replaced it, where it expired, or where
    its key was revoked. It is verified as any recipient will verify it, so that
    nothing is sent that others must refuse. Raises StoreCorrupt where
    it fails in any other way, or is not whole any more: policy would take what
    is missing, such as an embargo, for what was never there.
    """
    stored = store.records.get(digest)
    if not stored.own or stored.standing is not Standing.CURRENT:
        return None
    _verify_whole(store, stored)
    try:
        # A clock that is behind the record makes it no worse a record: what that means is for policy to say.
        return parse_record(stored.token).verify(organisation, now=max(now, stored.issued_at))
    except (RecordExpired, UntrustedIssuer):
        return None
    except (Malformed, RecordRefused) as error:
        # Which record it is tells the partner that there is one: it stays with our own people.
        raise StoreCorrupt("an own record does not verify any more", where=digest) from error


def _verify_whole(store: Store, stored: StoredRecord) -> None:
    """Compare an own record, and whom it is for, with what the decision log says was posted.

    An earlier version did not say it. Raises StoreCorrupt.
    """
    for row in store.audit.list(AuditFilter(digest=stored.digest, act=Event.POSTED), limit=1):
        details = cast("dict[str, dict[str, JSON]]", parse_json(row.body.encode()))["details"]
        today = {"sd_hash": sd_hash(stored.token), "recipients": sorted(store.records.recipients(stored.digest))}
        if any(details.get(name, value) != value for name, value in today.items()):
            raise StoreCorrupt("an own record is not the one that was posted", where=stored.digest)
