"""This module does what is due: holds and embargoes end, markings are lowered, what may not be kept any longer goes.

    due                             what is done
    hold, embargo     any record    weighed again for the partner: queued, or proposed to people, or noted again
    downgrade         any record    the marking that counts is kept; the record is weighed again for everybody
    retention         received      what is held of it is deleted; its plain claims stay, to know it by
    retention         own           nothing more of it goes; the origin keeps what it said

What fell due while the node was down is done when it is up again, and each act
says how late it is. To do a thing twice changes nothing.
"""

import logging
from dataclasses import dataclass

from tocsin.audit.entry import Entry, Event
from tocsin.errors import Malformed, NotFound, Overloaded, RecordRefused, StoreCorrupt
from tocsin.failure import trace
from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.release.office import Office, read_organisation
from tocsin.release.proposal import refresh, withdraw
from tocsin.release.weigh import Weighed, weigh
from tocsin.schema.check import unix_seconds
from tocsin.store.model import Due, DueKind, StoredRecord
from tocsin.store.protocol import Store

_log = logging.getLogger(__name__)

MOST_AT_ONCE = 256
"""Looked up together; each is a transaction of its own, so that others can write in between."""
SCRUB_SECONDS = 60.0
"""How often the disk is overwritten for what others have us delete: the larger the store, the longer all wait."""


@dataclass(frozen=True, slots=True)
class Acted:
    """Say what was done, how many seconds late, and the partners that something was queued for by it."""

    kind: DueKind
    digest: str
    partner: str
    late: int
    queued: tuple[OrgId, ...] = ()


def note_dates(store: Store, record: VerifiedRecord) -> None:
    """Keep the dates that a record itself says: its downgrades, and its retention."""
    for step in record.downgrade_at:
        store.dues.add(Due(DueKind.DOWNGRADE, record.digest, "", unix_seconds(step.at)))
    if record.retention_until:
        store.dues.add(Due(DueKind.RETENTION, record.digest, "", unix_seconds(record.retention_until)))


def act_on_due(office: Office, *, now: int) -> tuple[Acted, ...]:
    """Do everything that is due, earliest first. What fails does not keep what is due behind it.

    Raises Overloaded: without a disk all of it would fail.
    """
    acted: list[Acted] = []
    failed: set[Due] = set()
    dues = office.store.dues
    try:
        while todo := [due for due in dues.until(now, limit=MOST_AT_ONCE + len(failed)) if due not in failed]:
            for due in todo:
                try:
                    acted.append(_act(office, due, now=now))
                except Overloaded:
                    raise
                except Exception as error:  # noqa: BLE001 -- a bug met with one record must not keep another for ever
                    failed.add(due)
                    _log.error("what was due of %s failed: %s", due.digest, trace(error))
    finally:  # what was deleted, now or before, must not stay on the disk because something else failed
        office.store.scrub(unless_within=SCRUB_SECONDS)
    return tuple(acted)


def _act(office: Office, due: Due, *, now: int) -> Acted:
    """Do one thing, and keep that it was done, together."""
    late = max(0, now - due.due_at)
    with office.store.transaction():
        office.store.dues.done(due)
        try:
            with office.store.transaction():
                stored = office.store.records.get(due.digest)
                queued = _do(office.at_once(), due, stored, now=now)
        except (NotFound, StoreCorrupt) as error:
            _log.error("what was due of %s cannot be done: %s", due.digest, error.reason)
            queued = ()
        details = {"kind": due.kind.value, "due_at": due.due_at, "late": late}
        entry = Entry(Event.DUE, partner=due.partner, digest=due.digest, details=details)
        office.log.append(entry, now=now)
    return Acted(due.kind, due.digest, due.partner, late, queued)


def _do(office: Office, due: Due, stored: StoredRecord, *, now: int) -> tuple[OrgId, ...]:
    if due.kind is DueKind.DOWNGRADE:
        _remark(office, stored, now=now)
    if due.kind is DueKind.RETENTION and not stored.own:
        office.erase(stored.digest)
        office.log.append(Entry(Event.ERASED, partner=stored.received_from, digest=stored.digest), now=now)
    return _weigh_again(office, stored, due.partner, now=now)


def _weigh_again(office: Office, stored: StoredRecord, partner: str, *, now: int) -> tuple[OrgId, ...]:
    """Weigh a record for one partner, or for all, and return those that it is queued for."""
    record = office.load(stored.digest, now=now)
    if record is None:
        withdraw(office, stored.digest, now=now)
        return ()
    active = office.partners()
    weighed = weigh(office, record, partners=[org for org in active if partner in ("", org)], now=now)
    refresh(office, record, partners=active, now=now)
    return tuple(org for org, outcome in weighed.items() if outcome is Weighed.QUEUED)


def _remark(office: Office, stored: StoredRecord, *, now: int) -> None:
    """Keep the marking that counts now, as the origin signed it; where it cannot be verified the stricter one stays."""
    if not stored.token:  # it was purged, or its retention has ended
        return
    try:
        peers = office.store.peers
        origin = office.organisation if stored.own else read_organisation(peers.get(stored.issuer).document)
        record = parse_record(stored.token).verify(origin, now=now)
    except (Malformed, RecordRefused, NotFound):
        _log.warning("the marking of %s stays: its record does not verify today", stored.digest)
        return
    office.store.records.remark(stored.digest, record.marking_at(now))
