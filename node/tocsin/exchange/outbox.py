"""This module makes the next page of a partner's feed.

A feed is dense: 1, 2, 3, … A number is given in the transaction that signs the
page which first carries it, and never again; what policy hides has no number,
so nothing shows that it is there.

    behind the cursor, numbered   sent before and not stored, or asked for again:
                                  what went then, as far as policy and gate allow
                                  it today, or a void entry
    candidates                    policy and gate are asked; what the partner does
                                  not hold yet gets the next number: the record
                                  itself, or further disclosures of it; the rest
                                  is dropped, and what waits is noted

What an entry carries only ever shrinks. What comes back by a policy that was
loosened again is a new entry, because it was queued again. Where the clock is
wrong nothing is sent, and nothing dropped or voided for it.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.exchange.cursor import new_feed_id, resolve_cursor
from tocsin.exchange.page import MAX_BYTES, MAX_ENTRIES, PageEntry, build_page
from tocsin.exchange.publish import weigh_for
from tocsin.exchange.request import answer_requests
from tocsin.identity.names import OrgId
from tocsin.identity.signer import Signer
from tocsin.policy.decide import Decision, Denial
from tocsin.policy.reach import withholdable
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import agreement_on, wait_of
from tocsin.release.office import Office
from tocsin.release.presentation import further_disclosures, missing, presentation
from tocsin.store.model import EntryKind, Feed, FeedEntry, WithheldPath
from tocsin.store.protocol import Store
from tocsin.v1 import exchange_service_pb2 as v1

# Candidates looked at in one transaction: a partner who gets nothing of a great many records must not hold up others.
MOST_CONSIDERED = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a page holds. One entry always fits, since a record is at most 1 MiB."""

    entries: int = MAX_ENTRIES
    bytes: int = MAX_BYTES


LIMITS = Limits()


def next_page(
    office: Office, partner: OrgId, cursor: str, *, signer: Signer, now: int, limits: Limits = LIMITS
) -> v1.Page | None:
    """Return the page that follows a cursor, or None where nothing does.

    `signer` is one of our delivery keys. The caller MUST have made sure that
    the partner is who it says, and active.

    Raises MalformedCursor, and StaleCursor for a cursor of another feed or
    from the future.
    """
    store = office.store
    while True:
        feed = store.feeds.get(partner)
        after = resolve_cursor(cursor, feed=feed)
        if (feed is None or after == feed.head) and not store.feeds.waiting(partner):
            return None
        with store.transaction():
            feed = store.feeds.open(partner, feed_id=new_feed_id(office.random), now=now)
            draft = _Draft(office.at_once(), feed, now=now, limits=limits)
            draft.add_numbered(after=after)
            dropped = draft.add_candidates() if after + len(draft.entries) == feed.head else 0
            draft.settle()
            if draft.entries:
                return build_page(
                    draft.entries,
                    feed_id=feed.feed_id,
                    sender=office.organisation.org,
                    audience=partner,
                    signer=signer,
                    now=now,
                    more=draft.is_full or draft.entries[-1].sequence < feed.head,
                )
            if not dropped:  # else look whether there are more
                return None


def acknowledge(store: Store, partner: OrgId, cursor: str, *, now: int) -> None:
    """Keep how far a partner says that it has stored its feed. Raises MalformedCursor, StaleCursor."""
    sequence = resolve_cursor(cursor, feed=store.feeds.get(partner))
    store.feeds.acknowledge(partner, sequence, now=now)


class _Draft:
    """A page in the making, inside the transaction that will have signed it."""

    def __init__(self, office: Office, feed: Feed, *, now: int, limits: Limits) -> None:
        self.entries: list[PageEntry] = []
        # Something that may go did not fit: what waits and may not go is no business of the partner.
        self.is_full = False
        self._office = office
        self._feeds = office.store.feeds
        self._feed = feed
        self._partner = OrgId(feed.partner)
        self._now = now
        self._limits = limits
        self._room = limits.bytes
        self._log: list[Entry] = []
        self._again: dict[str, VerifiedRecord] = {}

    def add_numbered(self, *, after: int) -> None:
        """Add what has its number, as far as it fits."""
        for sent in self._feeds.entries(self._partner, after=after, limit=self._limits.entries):
            if not self._add_again(sent):
                return

    def add_candidates(self) -> int:
        """Give the next numbers to what the partner does not hold yet, as far as it fits, and drop the rest.

        Return how many are off the queue.
        """
        considered = []
        for digest in self._feeds.candidates(self._partner, limit=MOST_CONSIDERED):
            record = self._office.load(digest, now=self._now)
            if record is not None:
                decision = self._decide(record)
                if decision.denial is Denial.CLOCK:
                    continue  # it is looked at again when the clock is right
                if not self._add_candidate(record, decision):
                    break
            considered.append(digest)
        self._feeds.drop(self._partner, considered)
        return len(considered)

    def settle(self) -> None:
        """Keep what was decided in the log, and note when to look again at what has to wait after all."""
        if self._log:
            self._office.log.append(*self._log, now=self._now)
        for record in self._again.values():
            weigh_for(self._office, record, partners=(self._partner,), now=self._now)

    def _add_again(self, sent: FeedEntry) -> bool:
        """Add an entry that has its number; False where it does not fit, or the clock is wrong."""
        record = None if sent.kind is EntryKind.VOID else self._office.load(sent.digest, now=self._now)
        if record is None:
            return self._add_void(sent)
        today = self._decide(record)
        if today.denial is Denial.CLOCK:
            return False
        going = self._going_again(sent, record, today)
        if going is None:
            return self._add_void(sent)
        if not self._add(_carry(record, going.decision, kind=sent.kind, sequence=sent.sequence)):
            return False
        if going.decision.disclosed != sent.disclosed:
            self._feeds.narrow(self._partner, sent.sequence, disclosed=going.decision.disclosed)
            self._note(Event.NARROWED, record, going, kind=sent.kind, sequence=sent.sequence)
        return True

    def _going_again(self, sent: FeedEntry, record: VerifiedRecord, today: Decision) -> "_Going | None":
        """Return what of an entry may still go: what went then, as far as it would today; None for nothing."""
        holds = sent.kind is EntryKind.RECORD or self._feeds.holds(self._partner, sent.digest, before=sent.sequence)
        if not today.delivered or not holds:  # without the record itself there is nothing to add disclosures to
            return None
        held = self._feeds.sent(self._partner, record.digest) or frozenset()
        passed = self._pass(record, today) or self._pass(record, replace(today, disclosed=today.disclosed & held))
        if passed is None:
            self._again[record.digest] = record
            return None
        disclosed = today.disclosed & sent.disclosed
        if disclosed.isdisjoint(withholdable(record.kind)):  # nothing would be said by it
            return None
        return _Going(replace(today, disclosed=disclosed), passed.review)

    def _add_void(self, sent: FeedEntry) -> bool:
        """Add an entry that carries nothing any more; False where it does not fit."""
        if not self._add(PageEntry(sent.sequence, EntryKind.VOID)):
            return False
        if sent.kind is not EntryKind.VOID:
            self._feeds.void(self._partner, sent.sequence)
            details: dict[str, JSON] = {"kind": sent.kind.value, "sequence": sent.sequence}
            self._log.append(Entry(Event.WITHDRAWN, partner=self._partner, digest=sent.digest, details=details))
        return True

    def _add_candidate(self, record: VerifiedRecord, today: Decision) -> bool:
        """Add what the partner does not hold of a record, if anything; False where it does not fit."""
        if today.wider_at is not None:  # it may have been queued without being weighed
            self._again[record.digest] = record
        held = self._feeds.sent(self._partner, record.digest)
        if not today.delivered or not missing(record, today, held=held):
            return True
        passed = self._pass(record, today)
        if passed is None:
            self._again[record.digest] = record
            return True
        kind = EntryKind.RECORD if held is None else EntryKind.DISCLOSURES
        going = _Going(replace(today, disclosed=today.disclosed - (held or frozenset())), passed.review)
        sequence = self._feed.head + 1 if not self.entries else self.entries[-1].sequence + 1
        if not self._add(_carry(record, going.decision, kind=kind, sequence=sequence)):
            return False
        disclosed = going.decision.disclosed
        given = self._feeds.append(self._partner, kind=kind, digest=record.digest, disclosed=disclosed, now=self._now)
        if given != sequence:
            raise RuntimeError("the store gave another number than the page was made for")
        self._note(Event.SENT, record, going, kind=kind, sequence=sequence)
        answer_requests(self._office.store, self._partner, record.digest, disclosed=disclosed)
        return True

    def _decide(self, record: VerifiedRecord) -> Decision:
        return self._office.decide(record, partner=self._partner, now=self._now)

    def _pass(self, record: VerifiedRecord, decision: Decision) -> "_Going | None":
        """Let through what may go now, with the review that let it go; None where it waits."""
        if wait_of(self._office, record, decision, partner=self._partner, now=self._now) is not None:
            return None
        return _Going(decision, agreement_on(self._office, record, decision, partner=self._partner).review)

    def _note(self, event: Event, record: VerifiedRecord, going: "_Going", *, kind: EntryKind, sequence: int) -> None:
        """Keep for the decision log what goes, by what, and what stays: paths and names, and no values."""
        decision, policies = going.decision, self._office.policies()
        details: dict[str, JSON] = {
            "kind": kind.value,
            "sequence": sequence,
            "disclosed": [*sorted(decision.disclosed)],
            "withheld": [{"path": item.path, "reason": item.reason} for item in decision.withheld],
            "rule": decision.rule,
            "file": decision.file,
            "line": decision.line,
            "policy": policies.policies[self._partner].digest,
            "agreement": decision.agreement,
            "marking": record.marking_at(self._now),
            "reviews": [going.review] if going.review else [],
        }
        self._log.append(Entry(event, partner=self._partner, digest=record.digest, details=details))

    def _add(self, entry: PageEntry) -> bool:
        """Add an entry where there is room for it."""
        size = entry.size()
        if self.entries and (len(self.entries) >= self._limits.entries or size > self._room):
            self.is_full = True
            return False
        self.entries.append(entry)
        self._room -= size
        return True


class _Going(NamedTuple):
    """What an entry carries, and the review by which it may; empty: it needed none."""

    decision: Decision
    review: str


def _carry(record: VerifiedRecord, decision: Decision, *, kind: EntryKind, sequence: int) -> PageEntry:
    """Return the entry that carries what was decided."""
    is_record = kind is EntryKind.RECORD
    return PageEntry(
        sequence,
        kind,
        digest=record.digest,
        presentation=presentation(record, decision) if is_record else "",
        disclosures=() if is_record else further_disclosures(record, decision),
        withheld=tuple(WithheldPath(item.path, item.reason, item.until) for item in decision.told),
    )
