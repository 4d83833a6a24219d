"""This module drafts a page of a partner's feed: which entries go, and what each of them carries.

It works inside the transaction that signs the page, by one set of policies;
`tocsin.exchange.outbox` says what is looked at, and in which order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import NamedTuple

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.exchange.cursor import new_tag
from tocsin.exchange.entry import PageEntry, disclosed_paths
from tocsin.exchange.page import MAX_BYTES, MAX_ENTRIES, build_page
from tocsin.exchange.request import answer_requests
from tocsin.exchange.retract import Notice, find_notice, look_at_earlier, notice_again
from tocsin.exchange.rounds import Shared
from tocsin.identity.names import OrgId
from tocsin.identity.signer import Signer
from tocsin.policy.decide import Decision, Denial
from tocsin.policy.reach import withholdable
from tocsin.records.disclosure import digest_of
from tocsin.records.jws import CLOCK_SKEW
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import agreement_on, wait_of
from tocsin.release.presentation import further_disclosures, missing, presentation
from tocsin.store.evidence import PageRow
from tocsin.store.model import Dealings, EntryKind, Feed, FeedEntry, NewEntry, WithheldPath
from tocsin.v1 import exchange_service_pb2 as v1


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a page holds. One entry always fits, since a record is at most 1 MiB.

    What went before goes again in small pages (`again`): it is nobody's hurry,
    and a page of 256 takes a fifth of a second that others wait for.
    """

    entries: int = MAX_ENTRIES
    bytes: int = MAX_BYTES
    again: int = 32

    @property
    def numbered(self) -> int:
        """Return how many entries go again in one page."""
        return min(self.entries, self.again)


class _Look(Enum):
    """What became of a candidate that was looked at."""

    DONE = auto()  # it has its number, or there is nothing to go
    LATER = auto()  # when the clock is right, or it can be proved that it was issued
    FULL = auto()  # it does not fit


class Draft:
    """A page in the making, inside the transaction that signs it."""

    def __init__(self, shared: Shared, feed: Feed, *, now: int, limits: Limits) -> None:
        self.entries: list[PageEntry] = []
        self.log: list[Entry] = []  # what is to be kept of it in the decision log
        self.again: dict[str, VerifiedRecord] = {}  # what is to be weighed again once that is done
        # Something that may go did not fit: what waits and may not go is no business of the partner.
        self.is_full = False
        self._office, self._shown, self._proofs, self._loaded = shared
        self._feeds = self._office.store.feeds
        self._feed = feed
        self._partner = OrgId(feed.partner)
        self._now = now
        self._limits = limits
        self._room = limits.bytes
        self._new: list[NewEntry] = []  # that have their number, and are kept together
        self._not_gone: dict[str, tuple[str, str, int]] = {}  # issuer, record id and version, by digest

    def add_numbered(self, *, after: int) -> None:
        """Add what has its number, as far as it fits."""
        if after == self._feed.head:
            return
        for sent in self._feeds.entries(self._partner, after=after, limit=self._limits.numbered):
            if not self._add_again(sent):
                return

    def add_candidates(self, digests: Sequence[str]) -> int:
        """Give the next numbers to what the partner does not hold yet of some candidates, as far as it fits.

        The rest is dropped. Return how many are off the queue.
        """
        candidates = [self._load(digest) for digest in digests]
        self._proofs.prepare(one.record for one in candidates if one.record is not None)
        considered = []
        for candidate in candidates:
            look = self._consider(candidate)
            if look is _Look.FULL:
                break
            if look is _Look.DONE:
                considered.append(candidate.digest)
        self._feeds.drop(self._partner, considered)
        return len(considered)

    def settle(self) -> None:
        """Keep what goes, and note what to look at again."""
        self._number()
        for issuer, record_id, version in self._not_gone.values():
            look_at_earlier(self._office.store, issuer, record_id, version, partner=self._partner, now=self._now)

    def sign(self, signer: Signer) -> v1.Page:
        """Return the signed page, and keep what a receipt for it is known by."""
        last = self.entries[-1].sequence
        page = build_page(
            self.entries,
            feed_id=self._feed.feed_id,
            sender=self._office.organisation.org,
            audience=self._partner,
            checkpoint=self._shown,
            signer=signer,
            now=self._now,
            more=self.is_full or last < self._feed.head,
        )
        digest, first = digest_of(page.statement), self.entries[0].sequence
        row = PageRow(digest, page.statement, self._feed.feed_id, first, last, self._now)
        self._office.store.receipts.keep_page(self._partner, row)
        return page

    def _load(self, digest: str) -> "_Candidate":
        dealings = self._feeds.dealings(self._partner, digest)
        if digest not in self._loaded:
            self._loaded[digest] = self._office.load(digest, now=self._now, dealings=dealings)
        return _Candidate(digest, dealings, self._loaded[digest])

    def _consider(self, candidate: "_Candidate") -> _Look:
        """Look at a candidate: the record, or what its origin has taken back."""
        digest, dealings, record = candidate
        if record is None:
            self._number()  # what went a moment ago may be of the same record
            notice = find_notice(self._office, digest, partner=self._partner, now=self._now)
            return self._add_notice(notice) if notice else _Look.DONE
        decision = self._decide(record, dealings)
        if decision.denial is Denial.CLOCK or not self._proofs.of(record):
            return _Look.LATER
        return _Look.DONE if self._add_candidate(record, decision, dealings) else _Look.FULL

    def _add_again(self, sent: FeedEntry) -> bool:
        """Add an entry that has its number; False where it does not fit, or has to wait.

        It waits while the clock is wrong, and while a log that was stopped is read anew.
        """
        if sent.kind is EntryKind.RETRACTION:
            notice = notice_again(self._office.store, sent)
            if not self._proofs.of(notice.retraction):
                return False
            return self._add(self._carry_notice(notice, sent.sequence, sent.tag))
        if sent.kind is EntryKind.VOID:
            return self._add_void(sent)
        _, dealings, record = self._load(sent.digest)
        if record is None:
            return self._add_void(sent)
        today = self._decide(record, dealings)
        if today.denial is Denial.CLOCK or (sent.kind is EntryKind.RECORD and not self._proofs.of(record)):
            return False
        going = self._going_again(sent, record, today, held=dealings.sent or frozenset())
        if going is None:
            return self._add_void(sent)
        if not self._add(self._carry(record, going.decision, kind=sent.kind, sequence=sent.sequence, tag=sent.tag)):
            return False
        if going.decision.disclosed != sent.disclosed:
            self._feeds.narrow(self._partner, sent.sequence, disclosed=going.decision.disclosed)
            self._note(Event.NARROWED, record, going, kind=sent.kind, sequence=sent.sequence)
        return True

    def _going_again(
        self, sent: FeedEntry, record: VerifiedRecord, today: Decision, *, held: frozenset[str]
    ) -> "_Going | None":
        """Return what of an entry may still go: what went then, as far as it would today; None for nothing.

        `held` is all that the partner was sent of the record.
        """
        holds = sent.kind is EntryKind.RECORD or self._feeds.holds(self._partner, sent.digest, before=sent.sequence)
        if not today.delivered or not holds:  # without the record itself there is nothing to add disclosures to
            return None
        passed = self._pass(record, today) or self._pass(record, replace(today, disclosed=today.disclosed & held))
        if passed is None:
            self.again[record.digest] = record
            return None
        disclosed = today.disclosed & sent.disclosed
        if disclosed.isdisjoint(withholdable(record.kind)):  # nothing would be said by it
            return None
        return _Going(replace(today, disclosed=disclosed), passed.review)

    def _add_void(self, sent: FeedEntry) -> bool:
        """Add an entry that carries nothing any more; False where it does not fit."""
        if not self._add(PageEntry(sent.sequence, EntryKind.VOID, tag=sent.tag)):
            return False
        if sent.kind is not EntryKind.VOID:
            self._feeds.void(self._partner, sent.sequence)
            if sent.kind is EntryKind.RECORD:
                stored = self._office.store.records.get(sent.digest)
                self._not_gone[sent.digest] = stored.issuer, stored.record_id, stored.version
            details: dict[str, JSON] = {"kind": sent.kind.value, "sequence": sent.sequence}
            self.log.append(Entry(Event.WITHDRAWN, partner=self._partner, digest=sent.digest, details=details))
        return True

    def _add_candidate(self, record: VerifiedRecord, today: Decision, dealings: Dealings) -> bool:
        """Add what the partner does not hold of a record, if anything; False where it does not fit."""
        if today.wider_at is not None:  # it may have been queued without being weighed
            self.again[record.digest] = record
        held = dealings.sent
        if not today.delivered and held is None and record.version > 1:
            self._not_gone[record.digest] = record.issuer, record.record_id, record.version
        if not today.delivered or not missing(record, today, held=held):
            return True
        passed = self._pass(record, today)
        if passed is None:
            self.again[record.digest] = record
            return True
        kind = EntryKind.RECORD if held is None else EntryKind.DISCLOSURES
        going = _Going(replace(today, disclosed=today.disclosed - (held or frozenset())), passed.review)
        disclosed, sequence, tag = going.decision.disclosed, self._next(), new_tag(self._office.random)
        if not self._add(self._carry(record, going.decision, kind=kind, sequence=sequence, tag=tag)):
            return False
        self._new.append(NewEntry(kind, record.digest, disclosed, tag))
        self._note(Event.SENT, record, going, kind=kind, sequence=sequence)
        if dealings.asks:
            answer_requests(self._office.store, self._partner, record.digest, disclosed=disclosed)
        return True

    def _add_notice(self, notice: Notice) -> _Look:
        """Add that a record is over, in the words of its origin."""
        if notice.retraction.issued_at > self._now + CLOCK_SKEW or not self._proofs.of(notice.retraction):
            return _Look.LATER
        sequence, tag = self._next(), new_tag(self._office.random)
        if not self._add(self._carry_notice(notice, sequence, tag)):
            return _Look.FULL
        kind, of = EntryKind.RETRACTION, notice.retraction.digest
        self._new.append(NewEntry(kind, notice.digest, frozenset({of}), tag))
        action = notice.retraction.action
        details: dict[str, JSON] = {"kind": kind.value, "sequence": sequence, "action": action, "retraction": of}
        self.log.append(Entry(Event.SENT, partner=self._partner, digest=notice.digest, details=details))
        return _Look.DONE

    def _number(self) -> None:
        """Keep the entries that have got a number since this was done last."""
        if self._new:
            after = self.entries[-1].sequence - len(self._new)
            self._feeds.append(self._partner, self._new, after=after, now=self._now)
            self._new = []

    def _next(self) -> int:
        """Return the next number."""
        return (self.entries[-1].sequence if self.entries else self._feed.head) + 1

    def _decide(self, record: VerifiedRecord, dealings: Dealings) -> Decision:
        return self._office.decide(record, partner=self._partner, now=self._now, dealings=dealings)

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
        if origin := self._origin(record.issuer):
            details["origin"] = origin
        self.log.append(Entry(event, partner=self._partner, digest=record.digest, details=details))

    def _carry(
        self, record: VerifiedRecord, decision: Decision, *, kind: EntryKind, sequence: int, tag: str
    ) -> PageEntry:
        """Return the entry that carries what was decided."""
        is_record = kind is EntryKind.RECORD
        text = presentation(record, decision) if is_record else ""
        further = () if is_record else further_disclosures(record, decision)
        return PageEntry(
            sequence,
            kind,
            digest=record.digest,
            presentation=text,
            disclosures=further,
            disclosed=disclosed_paths(record, text.split("~") if is_record else further),
            withheld=tuple(WithheldPath(item.path, item.reason, item.until) for item in decision.told),
            origin=self._origin(record.issuer),
            tag=tag,
            proof=self._proofs.of(record) if is_record else "",
        )

    def _carry_notice(self, notice: Notice, sequence: int, tag: str) -> PageEntry:
        """Return the entry that carries a retraction."""
        retraction = notice.retraction
        origin = self._origin(retraction.issuer)
        kind = EntryKind.RETRACTION
        proof = self._proofs.of(retraction)
        return PageEntry(
            sequence, kind, notice.digest, retraction=retraction.token, origin=origin, tag=tag, proof=proof
        )

    def _origin(self, issuer: str) -> str:
        """Return whose record it is where it is not ours."""
        return "" if issuer == self._office.organisation.org else issuer

    def _add(self, entry: PageEntry) -> bool:
        """Add an entry where there is room for it."""
        size = entry.size()
        if self.entries and (len(self.entries) >= self._limits.entries or size > self._room):
            self.is_full = True
            return False
        self.entries.append(entry)
        self._room -= size
        return True


class _Candidate(NamedTuple):
    """A record that may go, with what there is between us and the partner about it; `record` None: it may not."""

    digest: str
    dealings: Dealings
    record: VerifiedRecord | None


class _Going(NamedTuple):
    """What an entry carries, and the review by which it may; empty: it needed none."""

    decision: Decision
    review: str
