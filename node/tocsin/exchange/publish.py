"""This module stores what the organisation says, and weighs it for the partners.

What may go now is queued: "look at this record again for this partner".
Nothing is promised by it: `outbox` asks policy and gate anew when it makes the
page, and finds out what of the record, if anything, the partner does not hold
yet. What may go later is noted, or proposed to people.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.errors import Conflict
from tocsin.exchange.retract import look_at_earlier, tell_holders
from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord, sd_hash
from tocsin.records.retraction import VerifiedRetraction
from tocsin.release.due import note_dates
from tocsin.release.ledger import entry_of
from tocsin.release.office import Office
from tocsin.release.proposal import refresh, withdraw
from tocsin.release.weigh import Weighed, weigh
from tocsin.store.model import Added, Dealings, Standing, StoredRecord

AT_ONCE = 64
"""Records weighed in one transaction: with twenty partners a third of a second, in which others wait to write."""


@dataclass(frozen=True, slots=True)
class Published:
    """Say for which partners a record is queued, and which of them get something of it later, perhaps.

    Those in `told` hold an earlier version and do not get this one now: they
    are told that theirs is over.
    """

    queued: tuple[OrgId, ...]
    waiting: tuple[OrgId, ...]
    told: tuple[OrgId, ...] = ()


def publish(
    office: Office,
    record: VerifiedRecord,
    *,
    author: str,
    partners: Iterable[OrgId],
    recipients: Iterable[OrgId] = (),
    now: int,
) -> Published:
    """Store an own record and weigh it for each partner, together or not at all; keep in the log that it was posted.

    `author` is the person who posts it; `partners` are those to which anything
    is sent at all; `recipients` narrows the record to some of them (empty: not
    narrowed).

    Raises Conflict: EQUIVOCATION where another record stands under the same
    id and version, RETRACTED where the record was taken back.
    """
    with office.store.joined():
        office = office.at_once()
        dealings = _keep(office, record, author=author, recipients=tuple(recipients), now=now)
        return weigh_for(office, record, partners=partners, by=(author,), now=now, dealings=dealings)


def amend(
    office: Office,
    record: VerifiedRecord,
    correction: VerifiedRetraction,
    *,
    author: str,
    partners: Iterable[OrgId],
    recipients: Iterable[OrgId] = (),
    now: int,
) -> Published:
    """Store the next version of an own record with the correction of the one before, and weigh it, all or nothing.

    Whoever holds an earlier version and may have this one just gets it; the
    others get the correction. The rest is as in `publish`.

    Raises Conflict as well where the record before is not the current one.
    """
    store = office.store
    with store.transaction():
        office = office.at_once()
        before = store.records.get(record.supersedes)
        _verify_succeeds(before, record, correction)
        dealings = _keep(office, record, author=author, recipients=tuple(recipients), now=now)
        store.retractions.add(correction, person=author, now=now)
        office.tlog.issue(entry_of(correction), now=now)
        details: dict[str, JSON] = {"successor": record.digest, "retraction": correction.digest}
        office.log.append(Entry(Event.AMENDED, person=author, digest=before.digest, details=details), now=now)
        published = weigh_for(office, record, partners=partners, by=(author,), now=now, dealings=dealings)
        told = tell_holders(store, before, now=now)
    return replace(published, told=tuple(org for org in told if org not in published.queued))


def _verify_succeeds(before: StoredRecord, record: VerifiedRecord, correction: VerifiedRetraction) -> None:
    """Refuse a version that does not follow the current one. What does not fit together is a bug (RuntimeError)."""
    if (correction.record_id, correction.version, correction.successor) != (
        record.record_id,
        record.version - 1,
        record.digest,
    ):
        raise RuntimeError("the correction is not of the version before this one")
    if before.standing in (Standing.WITHDRAWN, Standing.PURGED):
        raise _retracted(record.record_id)
    if (
        before.issuer != record.issuer
        or before.standing is not Standing.CURRENT
        or before.version != record.version - 1
    ):
        hint = "look at what is current: tocsin show ID"
        raise Conflict("the version that is amended is not the current one", reason="CONFLICT", hint=hint)


def _keep(
    office: Office, record: VerifiedRecord, *, author: str, recipients: tuple[OrgId, ...], now: int
) -> Dealings | None:
    """Store an own record; where it is held already, it only gets further recipients.

    Return what there is between us and any partner about one that is new; None where it is not.
    """
    added = office.store.records.add(record, author=author, now=now)
    if added is Added.EQUIVOCATION:
        raise Conflict(
            f"version {record.version} of {record.record_id} was signed already, with other content",
            reason="EQUIVOCATION",
            hint="issue the next version instead",
        )
    if added is Added.RETRACTED:
        raise _retracted(record.record_id)
    if recipients:
        office.store.records.narrow(record.digest, recipients)
    if added is not Added.NEW:
        return None
    office.log.append(_posted(record, author, recipients), now=now)
    office.tlog.issue(entry_of(record), now=now)
    note_dates(office.store, record)
    if record.supersedes:
        withdraw(office, record.supersedes, now=now)  # the version before is not sent any more
    office.known.note_posted(record, frozenset(recipients))
    return Dealings(recipients=frozenset(recipients))


def _retracted(record_id: str) -> Conflict:
    hint = f"what was said about it: tocsin retractions {record_id}"
    return Conflict("the record was retracted, and stays so", reason="RETRACTED", hint=hint)


def weigh_for(
    office: Office,
    record: VerifiedRecord,
    *,
    partners: Iterable[OrgId],
    by: Iterable[str] = (),
    now: int,
    dealings: Dealings | None = None,
) -> Published:
    """Weigh a record for some active partners, and propose to people what waits for them; `by` may not approve it.

    `dealings` says that the record is new, and for whom it is: then nothing was proposed of it.
    """
    weighed = weigh(office, record, partners=partners, now=now, dealings=dealings)
    found = {outcome: tuple(org for org, one in weighed.items() if one is outcome) for outcome in Weighed}
    if found[Weighed.WAITING] or (dealings is None and office.store.reviews.of(record.digest)):
        refresh(office, record, partners=office.partners(), by=[name for name in by if name], now=now)
    return Published(found[Weighed.QUEUED], found[Weighed.WAITING])


def queue_partners(office: Office, partners: Iterable[OrgId], *, now: int) -> tuple[OrgId, ...]:
    """Queue every record that may go to some active partners, unweighed, and return those who have a policy.

    That is every current own record, and what others let us pass on where the
    partner's policy passes on anything. For partners that were just confirmed
    or resumed, or whose policy changed. It takes one statement for each, so
    that whatever else is to happen with it can be one transaction.
    `weigh_queued` then finds out what of it goes; if it is never called, or
    comes to no end, the outbox does.
    """
    with office.store.transaction():
        policies = office.policies().policies
        wanted = tuple(partner for partner in partners if partner in policies)
        for partner in wanted:
            office.store.feeds.queue_all(partner, now=now, relayed=policies[partner].relays)
    return wanted


def weigh_queued(office: Office, partners: Iterable[OrgId], *, now: int) -> dict[OrgId, int]:
    """Weigh every record for partners for whom it was queued, and say how many go to each.

    Others write in between: it MUST stand outside a transaction.
    """
    partners = tuple(partners)
    counts = dict.fromkeys(partners, 0)
    policies = office.policies().policies
    relaying = tuple(partner for partner in partners if partner in policies and policies[partner].relays)
    records = office.store.records
    for wanted, found in ((partners, records.own_current()), (relaying, records.relayable())):
        digests = tuple(found) if wanted else ()
        for start in range(0, len(digests), AT_ONCE):
            with office.store.transaction():
                today = office.at_once()
                for digest in digests[start : start + AT_ONCE]:
                    for partner in _weigh_again(today, digest, wanted, now=now):
                        counts[partner] += 1
    return {partner: count for partner, count in counts.items() if count}


def _weigh_again(office: Office, digest: str, partners: tuple[OrgId, ...], *, now: int) -> tuple[OrgId, ...]:
    """Weigh one record that was queued, and return the partners for whom it still is."""
    for partner in partners:
        office.store.feeds.drop(partner, (digest,))
    record = office.load(digest, now=now)
    if record is None:
        return ()
    queued = weigh_for(office, record, partners=partners, now=now).queued
    if record.version > 1:
        for partner in set(partners).difference(queued):
            look_at_earlier(office.store, record.issuer, record.record_id, record.version, partner=partner, now=now)
    return queued


def _posted(record: VerifiedRecord, author: str, recipients: tuple[OrgId, ...]) -> Entry:
    details: dict[str, JSON] = {
        "record_id": record.record_id,
        "version": record.version,
        "kind": record.kind,
        "tlp": record.tlp,
        "downgrade_at": [{"at": step.at, "tlp": step.tlp} for step in record.downgrade_at],
        "recipients": [*sorted(recipients)],
        "sd_hash": sd_hash(record.token),
    }
    return Entry(Event.POSTED, person=author, digest=record.digest, details=details)
