"""This module takes own records back, and finds what a partner must be told of a record that is over.

    the record was …       a partner that holds a version of it is told
    withdrawn, purged      by the strongest retraction, once for each strength
    replaced               nothing, where it was sent the newer version or would get it today;
                           else by the correction: that its version is over, and how it is marked
    … and may be           by the correction: the newer version perhaps may not be passed on,
    passed on              and those who have the older one from this partner hear of it from nobody else

So whoever holds a version learns that it is over, also where policy lets it
have nothing any more; whoever never got one learns nothing. A candidate for
the feed stands for "look what this partner must be told": publishing,
retracting and taking in a retraction queue one for every holder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.errors import Conflict, NotPermitted, StoreCorrupt
from tocsin.identity.names import OrgId, RecordId
from tocsin.identity.signer import Signer
from tocsin.records.envelope import MAY_RELAY
from tocsin.records.retraction import Action, VerifiedRetraction, sign_retraction
from tocsin.release.gate import wait_of
from tocsin.release.ledger import entry_of
from tocsin.release.office import Office
from tocsin.release.proposal import withdraw
from tocsin.store.evidence import RetractionRow
from tocsin.store.model import FeedEntry, Standing, StoredRecord
from tocsin.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Retracted:
    """Hold what was signed, and the partners that are told."""

    retraction: VerifiedRetraction
    told: tuple[OrgId, ...]


class Notice(NamedTuple):
    """What a partner is told: `digest` is the newest version that went to it."""

    digest: str
    retraction: RetractionRow


def retract(
    office: Office, digest: str, *, action: Action, reason: str, person: str, signer: Signer, now: int
) -> Retracted:
    """Take an own record back for good, every version of it, and queue that for whoever holds one.

    `action` is withdraw or purge (a correction goes with the version that
    corrects: `publish.amend`); `signer` one of our record keys. After a purge
    nothing of the content is in the store, nor on the disk once this returned.

    Raises NotFound, NotPermitted for another's record, Conflict (RETRACTED)
    where as much was done already.
    """
    if action is Action.CORRECT:
        raise RuntimeError("a correction is signed together with the version that corrects")
    store = office.store
    with store.transaction():
        stored = store.records.get(digest)
        _verify_may(office, stored, action)
        versions = store.records.history(stored.issuer, stored.record_id)
        newest = versions[-1]
        retraction = sign_retraction(
            issuer=office.organisation.org,
            record_id=RecordId(newest.record_id),
            version=newest.version,
            action=action,
            tlp=newest.marking or newest.tlp,
            signer=signer,
            now=now,
            reason=reason,
        )
        store.retractions.add(retraction, person=person, now=now)
        office.tlog.issue(entry_of(retraction), now=now)
        for version in versions:
            withdraw(office, version.digest, now=now)
            if action is Action.PURGE:
                office.erase(version.digest)
        told = tell_holders(store, newest, now=now)
        office.log.append(_retracted(newest, retraction, person), now=now)
    if action is Action.PURGE:
        store.scrub()
    return Retracted(retraction, told)


def tell_holders(store: Store, stored: StoredRecord, *, now: int) -> tuple[OrgId, ...]:
    """Queue a record that is over for every peer that holds a version of it, and return these."""
    peers = {peer.org for peer in store.peers.list()}
    holders = sorted(store.feeds.holders(stored.issuer, stored.record_id) & peers)
    for partner in holders:
        store.feeds.queue(partner, stored.digest, now=now)
    return tuple(holders)


def look_at_earlier(store: Store, issuer: str, record_id: str, version: int, *, partner: OrgId, now: int) -> None:
    """Queue the version before one that does not go to a partner after all, where it holds an earlier one.

    It was perhaps not told that its version is over, because it was to get the
    newer one.
    """
    earlier = store.records.newest(issuer, record_id, until=version - 1)
    if earlier is not None and partner in store.feeds.holders(issuer, record_id):
        store.feeds.queue(partner, earlier.digest, now=now)


def find_notice(office: Office, digest: str, *, partner: OrgId, now: int) -> Notice | None:
    """Return what a partner must be told of a candidate that is not sent itself, if anything."""
    store = office.store
    stored = store.records.get(digest)
    rows = store.retractions.of(stored.issuer, stored.record_id)
    if not rows or partner not in store.feeds.holders(stored.issuer, stored.record_id):
        return None
    strongest = rows[0]
    if strongest.action == Action.CORRECT:
        is_over = stored.standing is Standing.REPLACED and stored.version <= strongest.version
        if not is_over:
            return None
        if stored.relay != MAY_RELAY and _gets_newer(office, stored, partner=partner, now=now):
            return None
    told = store.feeds.told(partner, stored.issuer, stored.record_id)
    if any(_strength(row) >= _strength(strongest) for row in rows if row.digest in told):
        return None
    versions = store.records.history(stored.issuer, stored.record_id)
    went = [one.digest for one in versions if store.feeds.sent(partner, one.digest) is not None]
    return Notice(went[-1] if went else digest, strongest)


def notice_again(store: Store, sent: FeedEntry) -> Notice:
    """Return what a retraction entry carried: it never changes. Raises StoreCorrupt where it is not there."""
    stored = store.records.get(sent.digest)
    for row in store.retractions.of(stored.issuer, stored.record_id):
        if row.digest in sent.disclosed:
            return Notice(sent.digest, row)
    raise StoreCorrupt("a retraction that was sent is not there any more", where=sent.digest)


def _verify_may(office: Office, stored: StoredRecord, action: Action) -> None:
    if stored.issuer != office.organisation.org:  # one that a peer gave back is ours as well
        raise NotPermitted("only its origin retracts a record", where=stored.digest)
    rows = office.store.retractions.of(stored.issuer, stored.record_id)
    if rows and Action(rows[0].action).rank >= action.rank:
        raise Conflict(f"the record was retracted already: {rows[0].action}", reason="RETRACTED")


def _gets_newer(office: Office, stored: StoredRecord, *, partner: OrgId, now: int) -> bool:
    """Say whether a partner was sent the version that is current, or would be today."""
    current = _current(office.store.records.history(stored.issuer, stored.record_id))
    if current is None:
        return False
    if office.store.feeds.sent(partner, current.digest) is not None:
        return True
    record = office.load(current.digest, now=now)
    if record is None:
        return False
    decision = office.decide(record, partner=partner, now=now)
    return decision.delivered and wait_of(office, record, decision, partner=partner, now=now) is None


def _current(versions: Sequence[StoredRecord]) -> StoredRecord | None:
    return next((one for one in reversed(versions) if one.standing is Standing.CURRENT), None)


def _strength(row: RetractionRow) -> tuple[int, int]:
    """Return what two retractions of a record are compared by: of corrections the later version counts."""
    action = Action(row.action)
    return action.rank, row.version if action is Action.CORRECT else 0


def _retracted(stored: StoredRecord, retraction: VerifiedRetraction, person: str) -> Entry:
    details: dict[str, JSON] = {
        "record_id": retraction.record_id,
        "version": retraction.version,
        "action": retraction.action.value,
        "reason": retraction.reason,
        "retraction": retraction.digest,
    }
    return Entry(Event.RETRACTED, person=person, digest=stored.digest, details=details)
