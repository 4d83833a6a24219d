"""This module takes in a page of a peer's feed: verified first, then stored in one transaction with the cursor.

    1. the policy for this peer accepts anything at all
    2. the page is the peer's, for us, and holds together        page.parse_page
    3. it follows what is stored, without a hole; what is stored already is left out
    4. it is within the quota: before any record's signature is looked at
    5. every record is verified, outside the transaction          check_entries
    6. records, withheld paths, verdicts and cursor are committed together

A record that is refused does not stop the feed: its verdict is kept, and the
cursor goes on. A page that breaks the protocol stores nothing. The same page
again changes nothing.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tocsin.errors import (
    Malformed,
    MalformedRecord,
    NotPermitted,
    PeerMisbehaved,
    QuotaExceeded,
    RecordExpired,
    RecordRefused,
)
from tocsin.exchange.cursor import format_cursor
from tocsin.exchange.page import PageEntry, VerifiedPage, parse_page
from tocsin.exchange.progress import Progress
from tocsin.exchange.status import RETRY_AFTER
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.policy.clauses import Accept
from tocsin.records.record import UnverifiedRecord, VerifiedRecord, extend, parse_record
from tocsin.release.due import note_dates
from tocsin.schema.check import unix_seconds
from tocsin.store.model import Added, EntryKind, Outcome, Position, Verdict
from tocsin.store.protocol import Store
from tocsin.v1 import exchange_service_pb2 as v1

_log = logging.getLogger(__name__)

QUOTA_SECONDS = 3600  # the window of `max_per_hour`
QUOTA_RETRY_SECONDS = 300  # the window slides, so some of the quota is back long before the hour is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Progress):
    """Say what a page brought, and where to go on."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Hold an entry with its verified record, or with the reason why it is refused; a void one has neither."""

    entry: PageEntry
    record: VerifiedRecord | None = None
    reason: str = ""


def accept_page(
    store: Store, page: v1.Page, *, sender: Organisation, ours: OrgId, accept: Accept | None, now: int
) -> Received:
    """Verify a page of a peer and store what is good in it, in the steps above.

    The caller MUST have made sure that the page came from this sender, and
    that the peering is active. Call it off the event loop.

    Raises NotPermitted where nothing is accepted, PeerMisbehaved where the page
    breaks the protocol (nothing is stored), QuotaExceeded where the quota ends
    in it (what fits is stored; the next attempt goes on there).
    """
    if accept is None:  # 1
        raise NotPermitted(f"our policy accepts nothing from {sender.org}", hint="add an [accept] table to its policy")
    verified = parse_page(page, sender=sender, audience=ours, now=now)  # 2
    while True:
        held = store.intake.cursor(sender.org)
        fresh = _behind(verified, held)  # 3
        taken = _within_quota(store, fresh, sender.org, accept=accept, now=now)  # 4
        checked = check_entries(taken, sender=sender, kinds=accept.kinds, held=store.records.token, now=now)  # 5
        received = _commit(store, verified, checked, held=held, now=now)  # 6
        if received is not None:
            break
    if len(taken) < len(fresh):
        raise _over_quota(sender.org, received.cursor)
    return received


def check_entries(
    entries: Iterable[PageEntry],
    *,
    sender: Organisation,
    kinds: frozenset[str],
    held: Callable[[str], str | None],
    now: int,
) -> tuple[Checked, ...]:
    """Verify the record of each entry as far as it is disclosed by then.

    `held` returns the text held for a digest. What an earlier entry of the
    same page brought counts as held by a later one.
    """
    texts: dict[str, str] = {}
    checked = []
    for entry in entries:
        result = Checked(entry)
        if entry.kind is not EntryKind.VOID:
            text = texts.get(entry.digest) or held(entry.digest)
            result = _check_entry(entry, sender=sender, kinds=kinds, held=text, now=now)
            if result.record is not None:
                texts[entry.digest] = result.record.token
        checked.append(result)
    return tuple(checked)


def _check_entry(
    entry: PageEntry, *, sender: Organisation, kinds: frozenset[str], held: str | None, now: int
) -> Checked:
    """Verify one entry's record, together with what is held of it: what was disclosed once is known for good."""
    try:
        record = _whole(entry, held=held).verify(sender, now=now)
        if record.kind not in kinds:
            raise NotPermitted(f"our policy does not accept {record.kind} records from {sender.org}")
        if record.retention_until and unix_seconds(record.retention_until) <= now:
            raise RecordExpired("it may not be kept any longer")
    except (Malformed, RecordRefused, NotPermitted) as error:
        return Checked(entry, reason=error.reason)
    return Checked(entry, record=record)


def _whole(entry: PageEntry, *, held: str | None) -> UnverifiedRecord:
    """Return the record as it is held once the entry is added."""
    if entry.kind is EntryKind.DISCLOSURES:
        if not held:
            raise MalformedRecord("further disclosures of a record that is not held", reason="BAD_FORM")
        return parse_record(extend(held, entry.disclosures))
    unverified = parse_record(entry.presentation)
    if not held or held == entry.presentation:
        return unverified
    return parse_record(extend(held, entry.presentation.split("~")[1:-1]))


def _behind(page: VerifiedPage, held: Position | None) -> tuple[PageEntry, ...]:
    """Return the entries that are not stored yet. Raises PeerMisbehaved where some are missing before them."""
    # A feed of another id is new, since its home is: it is taken from its beginning.
    stored = held.sequence if held is not None and held.feed_id == page.feed_id else 0
    fresh = tuple(entry for entry in page.entries if entry.sequence > stored)
    if fresh and fresh[0].sequence != stored + 1:
        raise PeerMisbehaved(
            f"the page begins at {fresh[0].sequence}, but its feed is stored only up to {stored}",
            where=page.sender,
            hint="nothing of it was stored; the next attempt asks for what is missing",
        )
    return fresh


def _within_quota(
    store: Store, entries: Sequence[PageEntry], peer: OrgId, *, accept: Accept, now: int
) -> tuple[PageEntry, ...]:
    """Return the entries up to where the quota ends; void ones cost nothing. Raises QuotaExceeded where none fits."""
    left = accept.max_per_hour - store.intake.taken_since(peer, now - QUOTA_SECONDS)
    taken = []
    for entry in entries:
        left -= entry.kind is not EntryKind.VOID
        if left < 0:
            break
        taken.append(entry)
    if entries and not taken:
        raise _over_quota(peer, format_cursor(store.intake.cursor(peer)))
    return tuple(taken)


def _over_quota(peer: OrgId, cursor: str) -> QuotaExceeded:
    return QuotaExceeded(
        f"{peer} has sent as many records as our policy takes in an hour",
        hint="it goes on by itself; max_per_hour in its policy file is the limit",
        metadata={RETRY_AFTER: str(QUOTA_RETRY_SECONDS), "cursor": cursor},
    )


def _commit(
    store: Store, page: VerifiedPage, checked: Sequence[Checked], *, held: Position | None, now: int
) -> Received | None:
    """Store all of it with the cursor; None where the cursor has moved since, and it must be looked at again."""
    peer = page.sender
    with store.transaction():
        if store.intake.cursor(peer) != held:
            return None
        store.peers.note_received(peer, now=now)
        if not checked:
            return Received(cursor=format_cursor(held), unchanged=len(page.entries))
        verdicts = [_store_entry(store, item, peer, now=now) for item in checked]
        reached = Position(page.feed_id, checked[-1].entry.sequence)
        store.intake.move(peer, reached, verdicts, now=now)
    for verdict in verdicts:
        if verdict.outcome is Outcome.REFUSED:
            _log.warning("refused entry %d of %s: %s", verdict.sequence, peer, verdict.reason)
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    return Received(
        cursor=format_cursor(reached),
        records=outcomes[Outcome.STORED],
        disclosures=outcomes[Outcome.GROWN],
        refused=outcomes[Outcome.REFUSED],
        unchanged=outcomes[Outcome.UNCHANGED] + outcomes[Outcome.VOID],
    )


def _store_entry(store: Store, checked: Checked, peer: OrgId, *, now: int) -> Verdict:
    """Store what one entry brought, and say what became of it."""
    entry, record = checked.entry, checked.record
    if entry.kind is EntryKind.VOID:
        return Verdict(entry.sequence, Outcome.VOID)
    if record is None:
        return Verdict(entry.sequence, Outcome.REFUSED, digest=entry.digest, reason=checked.reason)
    added = store.records.add(record, received_from=peer, now=now)
    note_dates(store, record)
    store.intake.note_withheld(peer, record.digest, [note for note in entry.withheld if note.path not in record.paths])
    if added is Added.EQUIVOCATION:  # stored as evidence, and never shown
        return Verdict(entry.sequence, Outcome.REFUSED, digest=entry.digest, reason=Added.EQUIVOCATION.upper())
    return Verdict(entry.sequence, _OUTCOMES[added], digest=entry.digest)


_OUTCOMES: Mapping[Added, Outcome] = {
    Added.NEW: Outcome.STORED,
    Added.GROWN: Outcome.GROWN,
    Added.UNCHANGED: Outcome.UNCHANGED,
}
