"""This module recovers what a store has lost that was put back to an earlier state.

A cursor that this node has given once and does not know proves it: partners
hold what was signed since. They are asked for it, each by itself, and page by
page; where an answer stopped it goes on, also after a restart.

    records        as far as they were disclosed there: kept as received, never sent as ours; their ids and versions
                   are taken, so that nothing is signed twice, and the partner is known to hold them
    retractions    count again, so that nothing is sent that was taken back

What comes must be signed by ourselves. What others have sent us comes again by
itself, since our cursors are older as well.
"""

import logging
from itertools import islice

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.errors import Malformed, NotFound, PeerMisbehaved, RecordRefused
from tocsin.exchange.retract import tell_holders
from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord, extend, parse_record
from tocsin.records.retraction import Action, parse_retraction
from tocsin.release.office import Office
from tocsin.release.proposal import withdraw
from tocsin.store.model import Added, AuditFilter, PeerRole, PeerState
from tocsin.store.protocol import Store
from tocsin.v1 import exchange_service_pb2 as v1

_log = logging.getLogger(__name__)

RECOGNISED_AGAIN_SECONDS = 3600
"""A partner that makes up cursors has us ask everybody again no more often than this."""
MOST_RECORDS = 256
"""Records in one answer, and retractions."""
LONGEST_PLACE = 256
"""Characters of a place, which is for its peer alone to understand."""
MOST_BYTES = 2 * 1024 * 1024
"""Of records in one answer; one more fits into a message, since a record is at most 1 MiB."""
_RECORDS, _RETRACTIONS = "records", "retractions"


def recognise(office: Office, *, now: int) -> None:
    """Take note that a cursor has proved our store to be an earlier one, and have every member asked what it lacks."""
    with office.store.transaction():
        where = AuditFilter(act=Event.ROLLED_BACK, since=now - RECOGNISED_AGAIN_SECONDS)
        if office.store.audit.list(where, limit=1):
            return
        members = [
            peer.org
            for peer in office.store.peers.list()
            if peer.state is PeerState.ACTIVE and peer.role is PeerRole.MEMBER
        ]
        for org in members:
            office.store.recoveries.begin(org, now=now)
        office.log.append(Entry(Event.ROLLED_BACK, details={"asked": [*sorted(members)]}), now=now)
    _log.warning("this store was put back to an earlier state: %d peers are asked for what it lacks", len(members))


def what_is_held(store: Store, caller: OrgId, after: str) -> v1.RecoverResponse:
    """Return what the caller has signed and we hold, behind a place in it; its `next` is empty at the end.

    A place is `records.<digest>` or `retractions.<digest>`, of the last one
    that was given; one that we did not make leads nowhere.
    """
    kind, _, place = after.partition(".")
    if kind in ("", _RECORDS):
        return _records_held(store, caller, place)
    if kind != _RETRACTIONS:
        return v1.RecoverResponse()
    rows = tuple(islice(store.retractions.issued(caller, after=place), MOST_RECORDS))
    following = f"{_RETRACTIONS}.{rows[-1].digest}" if len(rows) == MOST_RECORDS else ""
    return v1.RecoverResponse(retractions=[row.token for row in rows], next=following)


def _records_held(store: Store, caller: OrgId, after: str) -> v1.RecoverResponse:
    rows = store.records.issued(caller, after=after, limit=MOST_RECORDS)
    answer = v1.RecoverResponse(next=f"{_RETRACTIONS}." if len(rows) < MOST_RECORDS else "")
    room = MOST_BYTES
    for row in rows:
        if answer.records and len(row.token) > room:
            answer.next = f"{_RECORDS}.{after}"
            return answer
        if row.token:  # of what was deleted there is nothing to give back
            answer.records.append(row.token)
            room -= len(row.token)
        after = row.digest
    answer.next = answer.next or f"{_RECORDS}.{after}"
    return answer


def keep_recovered(office: Office, org: OrgId, answer: v1.RecoverResponse, *, now: int) -> None:
    """Keep what a peer gave back of ours, and how far it has come. What we did not sign is left out, and logged.

    Call it off the event loop, outside a transaction. Raises PeerMisbehaved
    for an answer that is larger than any is.
    """
    if max(len(answer.records), len(answer.retractions)) > MOST_RECORDS or len(answer.next) > LONGEST_PLACE:
        raise PeerMisbehaved(f"{org} gives back more at once than it may")
    kept = _Kept(office, org, now=now)
    with office.store.transaction():
        for token in answer.records:
            kept.record(token)
        for token in answer.retractions:
            kept.retraction(token)
        office.store.recoveries.advance(org, answer.next)
        if kept.records or kept.retractions or not answer.next:
            details: dict[str, JSON] = {
                "records": kept.records,
                "retractions": kept.retractions,
                "refused": kept.refused,
            }
            office.log.append(Entry(Event.RECOVERED, partner=org, details=details), now=now)
    if kept.erased:
        office.store.scrub()
    if kept.refused:
        _log.warning("%s gave back %d things that we did not sign", org, kept.refused)


class _Kept:
    """Keeps what a peer gives back, and counts it."""

    def __init__(self, office: Office, org: OrgId, *, now: int) -> None:
        self.records = self.retractions = self.refused = 0
        self.erased = False
        self._office = office
        self._store = office.store
        self._org = org
        self._now = now

    def record(self, token: str) -> None:
        """Keep a record of ours, as far as it was disclosed to whoever gives it back."""
        try:
            record = self._verify(token)
        except (Malformed, RecordRefused):
            self.refused += 1
            return
        if not self._is_own(record.digest):
            added = self._store.records.add(record, received_from=self._org, now=self._now)
            self.records += added in (Added.NEW, Added.GROWN)
            if added is Added.EQUIVOCATION:
                _log.error("version %d of %s was signed twice: %s", record.version, record.record_id, record.digest)
        self._store.feeds.note_holder(self._org, record.digest)

    def retraction(self, token: str) -> None:
        """Let a retraction of ours count again."""
        try:
            unverified = parse_retraction(token)
            retraction = unverified.verify(self._office.organisation, now=unverified.issued_at)
        except (Malformed, RecordRefused):
            self.refused += 1
            return
        held = self._store.records.history(retraction.issuer, retraction.record_id)
        is_new = self._store.retractions.add(retraction, received_from=self._org, now=self._now)
        if retraction.action is Action.PURGE:
            for version in held:
                if version.token:
                    self._store.records.erase(version.digest)
                    self.erased = True
        if is_new:
            self.retractions += 1
            for version in held:
                withdraw(self._office, version.digest, now=self._now)
            if held:  # of our partners it may have reached this one alone
                tell_holders(self._store, held[-1], now=self._now)

    def _verify(self, token: str) -> VerifiedRecord:
        """Verify a record as it is held with what came back of it: as of when it was signed, since its id is taken."""
        unverified = parse_record(token)
        held = self._store.records.token(unverified.digest)
        if held:
            unverified = parse_record(extend(held, token.split("~")[1:-1]))
        return unverified.verify(self._office.organisation, now=unverified.issued_at)

    def _is_own(self, digest: str) -> bool:
        try:
            return self._store.records.get(digest).own
        except NotFound:
            return False
