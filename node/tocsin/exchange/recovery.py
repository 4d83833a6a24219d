"""This module recovers what a store has lost that was put back to an earlier state.

A cursor that this node has given once and does not know proves it: partners
hold what was signed since. They are asked for it, each by itself, and page by
page; where an answer stopped it goes on, also after a restart. And a partner
whose cursor is not known gives it back by itself, since not every node can be
called.

    records        as far as they were disclosed there: kept as received, never sent as ours; their ids and versions
                   are taken, so that nothing is signed twice, and the partner is known to hold them
    retractions    count again, so that nothing is sent that was taken back
    passed on      what others issued, and the partner has from us: it is known to hold that as well

What comes must be signed by ourselves, or by an origin whose identity was
confirmed here. What others have sent us comes again by itself, since our
cursors are older as well.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.errors import Malformed, NotFound, NotPermitted, PeerMisbehaved, RecordRefused
from tocsin.exchange.retract import tell_holders
from tocsin.identity.names import OrgId
from tocsin.records.envelope import MAY_RELAY
from tocsin.records.record import UnverifiedRecord, VerifiedRecord, extend, parse_record
from tocsin.records.retraction import Action, parse_retraction
from tocsin.release.due import note_dates
from tocsin.release.office import Office, vouched_organisation
from tocsin.release.proposal import withdraw
from tocsin.store.model import Added, AuditFilter, PeerRole, PeerState, Standing, StoredRecord
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
_RECORDS, _RETRACTIONS, _PASSED_ON = "records", "retractions", "passed-on"


def recognise(office: Office, partner: OrgId, *, now: int) -> None:
    """Take note that a partner's cursor says that our store is an earlier one, and have every member asked.

    Who brought it is kept: it could have made it up.
    """
    with office.store.transaction():
        where = AuditFilter(act=Event.ROLLED_BACK, since=now - RECOGNISED_AGAIN_SECONDS, until=now + 1)
        if office.store.audit.list(where, limit=1):
            return
        members = [
            peer.org
            for peer in office.store.peers.list()
            if peer.state is PeerState.ACTIVE and peer.role is PeerRole.MEMBER
        ]
        for org in members:
            office.store.recoveries.begin(org, now=now)
        details: dict[str, JSON] = {"asked": [*sorted(members)]}
        office.log.append(Entry(Event.ROLLED_BACK, partner=partner, details=details), now=now)
    _log.warning("this store was put back to an earlier state: %d peers are asked for what it lacks", len(members))


def ask_again(office: Office, org: OrgId, *, now: int) -> None:
    """Ask a partner that comes with the cursor of a feed that is not known here: it may be one that we have lost.

    It proves nothing, and is asked no more often than once in an hour.
    """
    where = AuditFilter(act=Event.RECOVERED, partner=org, since=now - RECOGNISED_AGAIN_SECONDS, until=now + 1)
    if not office.store.audit.list(where, limit=1):
        office.store.recoveries.begin(org, now=now)


def what_is_held(store: Store, caller: OrgId, after: str) -> v1.RecoverResponse:
    """Return what the caller has signed, or passed on, and we hold, behind a place in it; `next` is empty at the end.

    A place is `records.<digest>`, `retractions.<digest>` or
    `passed-on.<digest>`, of the last one that was given; one that we did not
    make leads nowhere.
    """
    kind, _, place = after.partition(".")
    if kind in ("", _RECORDS):
        rows = store.records.issued(caller, after=place, limit=MOST_RECORDS)
        return _records_held(rows, _RECORDS, after=place, following=f"{_RETRACTIONS}.")
    if kind == _PASSED_ON:  # it holds enough to know the record by: the rest we may have from somebody else
        rows = store.records.passed_on(caller, after=place, limit=MOST_RECORDS)
        bare = [replace(row, token=f"{row.token.partition('~')[0]}~") for row in rows]
        return _records_held(bare, _PASSED_ON, after=place, following="")
    if kind != _RETRACTIONS:
        return v1.RecoverResponse()
    over = tuple(islice(store.retractions.issued(caller, after=place), MOST_RECORDS))
    following = f"{_RETRACTIONS}.{over[-1].digest}" if len(over) == MOST_RECORDS else f"{_PASSED_ON}."
    return v1.RecoverResponse(retractions=[row.token for row in over], next=following)


def _records_held(rows: Sequence[StoredRecord], kind: str, *, after: str, following: str) -> v1.RecoverResponse:
    """Return records as many as go into one answer, and where to go on: behind the last one, or with what follows."""
    answer = v1.RecoverResponse(next=following)
    room = MOST_BYTES
    for row in rows:
        if answer.records and len(row.token) > room:
            answer.next = f"{kind}.{after}"
            return answer
        if row.token:  # of what was deleted there is nothing to give back
            answer.records.append(row.token)
            room -= len(row.token)
        after = row.digest
    if len(rows) == MOST_RECORDS:
        answer.next = f"{kind}.{after}"
    return answer


def keep_recovered(office: Office, org: OrgId, answer: v1.RecoverResponse | v1.GiveBackRequest, *, now: int) -> None:
    """Keep what a peer gave back, and how far it has come. What is neither ours nor was passed on is counted, and left.

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
        _log.warning("%s gave back %d things that are neither ours nor were passed on", org, kept.refused)


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
        """Keep a record of ours, or one that we passed on, as far as it was disclosed to whoever gives it back."""
        try:
            record = self._verify(parse_record(token), token)
        except (Malformed, RecordRefused, NotPermitted):
            self.refused += 1
            return
        if not self._is_own(record.digest):
            added = self._store.records.add(record, received_from=self._org, now=self._now)
            self.records += added in (Added.NEW, Added.GROWN)
            if record.issuer != self._office.organisation.org:
                note_dates(self._store, record)
            if added is Added.EQUIVOCATION:
                _log.error("version %d of %s was signed twice: %s", record.version, record.record_id, record.digest)
        self._store.feeds.note_holder(self._org, record.digest)
        if self._store.records.get(record.digest).standing is not Standing.CURRENT:
            self._store.feeds.queue(self._org, record.digest, now=self._now)  # it may not have heard that it is over

    def retraction(self, token: str) -> None:
        """Let a retraction of ours count again."""
        try:
            unverified = parse_retraction(token)
            retraction = unverified.verify(self._office.organisation, now=unverified.issued_at)
        except (Malformed, RecordRefused):
            self.refused += 1
            return
        held = self._store.records.history(retraction.issuer, retraction.record_id)
        if retraction.action is Action.CORRECT:  # the version that corrects, which came back as well, stays
            held = tuple(version for version in held if version.version <= retraction.version)
        is_new = self._store.retractions.add(retraction, received_from=self._org, now=self._now)
        if retraction.action is Action.PURGE:
            for version in held:
                if version.token:
                    self._office.erase(version.digest)
                    self.erased = True
        if is_new:
            self.retractions += 1
            for version in held:
                withdraw(self._office, version.digest, now=self._now)
            if held:  # of our partners it may have reached this one alone
                tell_holders(self._store, held[-1], now=self._now)

    def _verify(self, unverified: UnverifiedRecord, token: str) -> VerifiedRecord:
        """Verify a record as it is held with what came back of it: as of when it was signed, since its id is taken."""
        held = self._store.records.token(unverified.digest)
        if unverified.issuer != self._office.organisation.org:
            bare = f"{token.partition('~')[0]}~"  # as it is given back: no field comes by this way
            return self._verify_passed_on(parse_record(held or bare), is_held=bool(held))
        if held:
            unverified = parse_record(extend(held, token.split("~")[1:-1]))
        return unverified.verify(self._office.organisation, now=unverified.issued_at)

    def _verify_passed_on(self, unverified: UnverifiedRecord, *, is_held: bool) -> VerifiedRecord:
        """Verify a record of others; one that is not held any more only where it might come from this peer as well.

        What the peer itself issued has come with its feed, and comes again with it.
        """
        if unverified.issuer == self._org:
            raise NotPermitted("it was not ours to pass on")
        origin = vouched_organisation(self._store, unverified.issuer)
        record = unverified.verify(origin, now=unverified.issued_at) if origin else None
        if record is None or record.relay != MAY_RELAY or not (is_held or self._is_accepted(record)):
            raise NotPermitted("it was not ours to pass on")
        return record

    def _is_accepted(self, record: VerifiedRecord) -> bool:
        policy = self._office.policies().policies.get(self._org)
        accept = policy.accept if policy else None
        return accept is not None and accept.relayed and record.kind in accept.kinds

    def _is_own(self, digest: str) -> bool:
        try:
            return self._store.records.get(digest).own
        except NotFound:
            return False
