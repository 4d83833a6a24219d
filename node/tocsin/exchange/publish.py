"""This module stores what the organisation says, and weighs it for the partners.

What may go now is queued: "look at this record again for this partner".
Nothing is promised by it: `outbox` asks policy and gate anew when it makes the
page, and finds out what of the record, if anything, the partner does not hold
yet. What may go later is noted, or proposed to people.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.errors import Conflict
from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord, sd_hash
from tocsin.release.due import note_dates
from tocsin.release.office import Office
from tocsin.release.proposal import refresh, withdraw
from tocsin.release.weigh import Weighed, weigh
from tocsin.store.model import Added

AT_ONCE = 64
"""Records weighed in one transaction: with twenty partners a third of a second, in which others wait to write."""


@dataclass(frozen=True, slots=True)
class Published:
    """Say for which partners a record is queued, and which of them get something of it later, perhaps."""

    queued: tuple[OrgId, ...]
    waiting: tuple[OrgId, ...]


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

    Raises Conflict (EQUIVOCATION) where another record stands under the same
    id and version.
    """
    recipients = tuple(recipients)
    with office.store.transaction():
        office = office.at_once()
        added = office.store.records.add(record, author=author, now=now)
        if added is Added.EQUIVOCATION:
            raise Conflict(
                f"version {record.version} of {record.record_id} was signed already, with other content",
                reason="EQUIVOCATION",
                hint="issue the next version instead",
            )
        office.store.records.narrow(record.digest, recipients)
        if added is Added.NEW:
            office.log.append(_posted(record, author, recipients), now=now)
            note_dates(office.store, record)
            withdraw(office, record.supersedes, now=now)  # the version before is not sent any more
        return weigh_for(office, record, partners=partners, by=(author,), now=now)


def weigh_for(
    office: Office, record: VerifiedRecord, *, partners: Iterable[OrgId], by: Iterable[str] = (), now: int
) -> Published:
    """Weigh a record for some active partners, and propose to people what waits for them; `by` may not approve it."""
    found: dict[Weighed, list[OrgId]] = {outcome: [] for outcome in Weighed}
    for partner in partners:
        found[weigh(office, record, partner=partner, now=now)].append(partner)
    if found[Weighed.WAITING] or office.store.reviews.of(record.digest):
        refresh(office, record, partners=office.partners(), by=[name for name in by if name], now=now)
    return Published(tuple(found[Weighed.QUEUED]), tuple(found[Weighed.WAITING]))


def queue_partners(office: Office, partners: Iterable[OrgId], *, now: int) -> tuple[OrgId, ...]:
    """Queue every current own record for some active partners, unweighed, and return those who have a policy.

    For partners that were just confirmed or resumed, or whose policy changed.
    It takes one statement for each, so that whatever else is to happen with it
    can be one transaction. `weigh_queued` then finds out what of it goes; if
    it is never called, or comes to no end, the outbox does.
    """
    with office.store.transaction():
        wanted = tuple(partner for partner in partners if partner in office.policies().policies)
        for partner in wanted:
            office.store.feeds.queue_all(partner, now=now)
    return wanted


def weigh_queued(office: Office, partners: Iterable[OrgId], *, now: int) -> dict[OrgId, int]:
    """Weigh every current own record for partners for whom it was queued, and say how many go to each.

    Others write in between: it MUST stand outside a transaction.
    """
    partners = tuple(partners)
    counts = dict.fromkeys(partners, 0)
    digests = tuple(office.store.records.own_current()) if partners else ()
    for start in range(0, len(digests), AT_ONCE):
        with office.store.transaction():
            today = office.at_once()
            for digest in digests[start : start + AT_ONCE]:
                for partner in _weigh_again(today, digest, partners, now=now):
                    counts[partner] += 1
    return {partner: count for partner, count in counts.items() if count}


def _weigh_again(office: Office, digest: str, partners: tuple[OrgId, ...], *, now: int) -> tuple[OrgId, ...]:
    """Weigh one record that was queued, and return the partners for whom it still is."""
    for partner in partners:
        office.store.feeds.drop(partner, (digest,))
    record = office.load(digest, now=now)
    return weigh_for(office, record, partners=partners, now=now).queued if record is not None else ()


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
