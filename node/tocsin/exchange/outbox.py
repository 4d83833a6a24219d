"""This module makes the next page of a partner's feed.

A feed is dense: 1, 2, 3, … A number is given in the transaction that signs the
page which first carries it, and never again; what policy hides has no number,
so nothing shows that it is there.

    behind the cursor, numbered   sent before and not stored, or asked for again:
                                  what went then, as far as policy allows it today,
                                  or a void entry
    candidates                    policy is asked; what the partner does not hold yet
                                  gets the next number: the record itself, or
                                  further disclosures of it; the rest is dropped

What an entry carries only ever shrinks. What comes back by a policy that was
loosened again is a new entry, because it was queued again.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from tocsin.exchange.cursor import new_feed_id, resolve_cursor
from tocsin.exchange.page import MAX_BYTES, MAX_ENTRIES, PageEntry, build_page
from tocsin.release.presentation import decide_today, further_disclosures, missing, presentation, withholdable
from tocsin.exchange.publish import load_own
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.policy.decide import Decision
from tocsin.policy.model import PolicySet
from tocsin.records.record import VerifiedRecord
from tocsin.store.model import Basis, EntryKind, Feed, FeedEntry, WithheldPath
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
    store: Store,
    partner: OrgId,
    cursor: str,
    *,
    policies: PolicySet,
    signer: Signer,
    organisation: Organisation,
    now: int,
    random: Callable[[int], bytes] = secrets.token_bytes,
    limits: Limits = LIMITS,
) -> v1.Page | None:
    """Return the page that follows a cursor, or None where nothing does.

    `organisation` is our own, `signer` one of its delivery keys. The caller
    MUST have made sure that the partner is who it says, and active.

    Raises MalformedCursor, and StaleCursor for a cursor of another feed or
    from the future.
    """
    while True:
        feed = store.feeds.get(partner)
        after = resolve_cursor(cursor, feed=feed)
        if (feed is None or after == feed.head) and not store.feeds.waiting(partner):
            return None
        with store.transaction():
            feed = store.feeds.open(partner, feed_id=new_feed_id(random), now=now)
            draft = _Draft(store, feed, policies=policies, organisation=organisation, now=now, limits=limits)
            draft.add_numbered(after=after)
            if after + len(draft.entries) == feed.head:
                draft.add_candidates()
            if draft.entries:  # else every candidate was dropped: look whether there are more
                return build_page(
                    draft.entries,
                    feed_id=feed.feed_id,
                    sender=organisation.org,
                    audience=partner,
                    signer=signer,
                    now=now,
                    more=draft.is_full or draft.entries[-1].sequence < feed.head,
                )


def acknowledge(store: Store, partner: OrgId, cursor: str, *, now: int) -> None:
    """Keep how far a partner says that it has stored its feed. Raises MalformedCursor, StaleCursor."""
    sequence = resolve_cursor(cursor, feed=store.feeds.get(partner))
    store.feeds.acknowledge(partner, sequence, now=now)


class _Draft:
    """A page in the making, inside the transaction that will have signed it."""

    def __init__(
        self, store: Store, feed: Feed, *, policies: PolicySet, organisation: Organisation, now: int, limits: Limits
    ) -> None:
        self.entries: list[PageEntry] = []
        # Something that may go did not fit: what waits and may not go is no business of the partner.
        self.is_full = False
        self._store = store
        self._feed = feed
        self._partner = OrgId(feed.partner)
        self._policies = policies
        self._organisation = organisation
        self._now = now
        self._limits = limits
        self._room = limits.bytes

    def add_numbered(self, *, after: int) -> None:
        """Add what has its number, as far as it fits."""
        for sent in self._store.feeds.entries(self._partner, after=after, limit=self._limits.entries):
            if not self._add_again(sent):
                return

    def add_candidates(self) -> None:
        """Give the next numbers to what the partner does not hold yet, as far as it fits, and drop the rest."""
        considered = []
        for digest in self._store.feeds.candidates(self._partner, limit=MOST_CONSIDERED):
            if not self._add_candidate(digest):
                break
            considered.append(digest)
        self._store.feeds.drop(self._partner, considered)

    def _add_again(self, sent: FeedEntry) -> bool:
        """Add an entry that has its number; False where it does not fit."""
        allowed = self._decide_again(sent)
        if allowed is None:
            added = self._add(PageEntry(sent.sequence, EntryKind.VOID))
            if added and sent.kind is not EntryKind.VOID:
                self._store.feeds.void(self._partner, sent.sequence)
            return added
        record, decision = allowed
        if not self._add(_carry(record, decision, kind=sent.kind, sequence=sent.sequence)):
            return False
        if decision.disclosed != sent.disclosed:
            self._store.feeds.narrow(
                self._partner,
                sent.sequence,
                disclosed=decision.disclosed,
                basis=self._basis(decision),
                now=self._now,
            )
        return True

    def _decide_again(self, sent: FeedEntry) -> tuple[VerifiedRecord, Decision] | None:
        """Return what of an entry may still go: what went then, as far as it would today; None for nothing."""
        if sent.kind is EntryKind.VOID:
            return None
        feeds = self._store.feeds
        if sent.kind is EntryKind.DISCLOSURES and not feeds.holds(self._partner, sent.digest, before=sent.sequence):
            return None  # the record itself is void by now: there is nothing to add them to
        allowed = self._decide(sent.digest)
        if allowed is None:
            return None
        record, decision = allowed
        going = decision.disclosed & sent.disclosed
        if not withholdable(record.kind, going):
            return None
        return record, replace(decision, disclosed=going)

    def _add_candidate(self, digest: str) -> bool:
        """Add what the partner does not hold of a record, if anything; False where it does not fit."""
        allowed = self._decide(digest)
        if allowed is None:
            return True
        record, decision = allowed
        held = self._store.feeds.sent(self._partner, digest)
        if not missing(record, decision, held=held):
            return True
        kind = EntryKind.RECORD if held is None else EntryKind.DISCLOSURES
        decision = replace(decision, disclosed=decision.disclosed - (held or frozenset()))
        sequence = self._feed.head + 1 if not self.entries else self.entries[-1].sequence + 1
        if not self._add(_carry(record, decision, kind=kind, sequence=sequence)):
            return False
        given = self._store.feeds.append(
            self._partner,
            kind=kind,
            digest=digest,
            disclosed=decision.disclosed,
            basis=self._basis(decision),
            now=self._now,
        )
        if given != sequence:
            raise RuntimeError("the store gave another number than the page was made for")
        return True

    def _decide(self, digest: str) -> tuple[VerifiedRecord, Decision] | None:
        """Ask policy today; None where it says no, or where the record may not be sent at all."""
        record = load_own(self._store, digest, organisation=self._organisation, now=self._now)
        if record is None:
            return None
        decision = decide_today(self._store, record, partner=self._partner, policies=self._policies, now=self._now)
        return (record, decision) if decision.delivered else None

    def _add(self, entry: PageEntry) -> bool:
        """Add an entry where there is room for it."""
        size = entry.size()
        if self.entries and (len(self.entries) >= self._limits.entries or size > self._room):
            self.is_full = True
            return False
        self.entries.append(entry)
        self._room -= size
        return True

    def _basis(self, decision: Decision) -> Basis:
        return Basis(
            rule=decision.rule,
            file=decision.file,
            line=decision.line,
            policy_digest=self._policies.digests.get(decision.file, ""),
            agreement=decision.agreement,
            withheld=tuple((item.path, item.reason, str(item.why)) for item in decision.withheld),
        )


def _carry(record: VerifiedRecord, decision: Decision, *, kind: EntryKind, sequence: int) -> PageEntry:
    """Return the entry that carries what was decided."""
    is_record = kind is EntryKind.RECORD
    return PageEntry(
        sequence,
        kind,
        digest=record.digest,
        presentation=presentation(record, decision) if is_record else "",
        disclosures=() if is_record else further_disclosures(record, decision),
        withheld=tuple(WithheldPath(item.path, item.reason) for item in decision.told),
    )
