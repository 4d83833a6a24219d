"""This module stores what the organisation says, and queues it for the partners that policy allows.

To queue is to say "look at this record again for this partner". Nothing is
promised by it: `outbox` asks policy anew when it makes the page, and finds out
what of the record, if anything, the partner does not hold yet.
"""

from collections.abc import Iterable

from tocsin.errors import Conflict, Malformed, RecordExpired, RecordRefused, StoreCorrupt, UntrustedIssuer
from tocsin.release.presentation import decide_today, missing
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.policy.model import PolicySet
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.store.model import Added, PeerState, Standing
from tocsin.store.protocol import Store


def publish(
    store: Store,
    record: VerifiedRecord,
    *,
    policies: PolicySet,
    partners: Iterable[OrgId],
    recipients: Iterable[OrgId] = (),
    now: int,
) -> tuple[OrgId, ...]:
    """Store an own record and queue it, together or not at all; return the partners it is queued for.

    `partners` are those to which anything is sent at all; `recipients` narrows
    the record to some of them (empty: not narrowed).

    Raises Conflict (EQUIVOCATION) where another record stands under the same
    id and version.
    """
    with store.transaction():
        if store.records.add(record, now=now) is Added.EQUIVOCATION:
            raise Conflict(
                f"version {record.version} of {record.record_id} was signed already, with other content",
                reason="EQUIVOCATION",
                hint="issue the next version instead",
            )
        store.records.narrow(record.digest, recipients)
        return tuple(
            partner for partner in partners if queue(store, record, partner=partner, policies=policies, now=now)
        )


def queue(store: Store, record: VerifiedRecord, *, partner: OrgId, policies: PolicySet, now: int) -> bool:
    """Queue a record for a partner where it would get something of it that it does not hold."""
    decision = decide_today(store, record, partner=partner, policies=policies, now=now)
    if not decision.delivered:
        return False
    if not missing(record, decision, held=store.feeds.sent(partner, record.digest)):
        return False
    store.feeds.queue(partner, record.digest, now=now)
    return True


def queue_partners(
    store: Store, partners: Iterable[OrgId], *, policies: PolicySet, organisation: Organisation, now: int
) -> dict[OrgId, int]:
    """Look at every current own record for some partners, and say how many wait for each now.

    For partners that were just confirmed or resumed, or whose policy changed:
    what was posted meanwhile was not queued for them.
    """
    wanted = [partner for partner in partners if partner in policies.policies]
    if not wanted:
        return {}
    counts = dict.fromkeys(wanted, 0)
    with store.transaction():
        for digest in store.records.own_current():
            record = load_own(store, digest, organisation=organisation, now=now)
            if record is None:
                continue
            for partner in wanted:
                counts[partner] += queue(store, record, partner=partner, policies=policies, now=now)
    return {partner: count for partner, count in counts.items() if count}


def queue_changed_policies(
    store: Store, policies: PolicySet, *, organisation: Organisation, now: int
) -> dict[OrgId, int]:
    """Look at every record for the active partners whose policy, or whose floor, is new or has changed.

    Files with problems are remembered as well: a file that is mended to what
    it was counts as changed.
    """
    seen = store.policy_files.seen()
    floor = policies.floor
    is_new_floor = floor is not None and seen.get(floor.file) != floor.digest
    active = {peer.org for peer in store.peers.list() if peer.state is PeerState.ACTIVE}
    changed = [
        partner
        for partner, policy in policies.policies.items()
        if partner in active and (is_new_floor or seen.get(policy.file) != policy.digest)
    ]
    if not changed and dict(seen) == dict(policies.digests):
        return {}
    with store.transaction():
        queued = queue_partners(store, changed, policies=policies, organisation=organisation, now=now)
        store.policy_files.replace(policies.digests, now=now)
    return queued


def load_own(store: Store, digest: str, *, organisation: Organisation, now: int) -> VerifiedRecord | None:
    """Return an own record as one that may be sent today; None where it may not.

    It may not where a later version replaced it, where it expired, or where
    its key was revoked. It is verified as any recipient will verify it, so that
    nothing is sent that others must refuse. Raises StoreCorrupt where
    it fails in any other way.
    """
    stored = store.records.get(digest)
    if not stored.own or stored.standing is not Standing.CURRENT:
        return None
    try:
        return parse_record(stored.token).verify(organisation, now=now)
    except (RecordExpired, UntrustedIssuer):
        return None
    except (Malformed, RecordRefused) as error:
        # Which record it is tells the partner that there is one: it stays with our own people.
        raise StoreCorrupt("an own record does not verify any more", where=digest) from error
