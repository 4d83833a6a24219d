"""This module takes in a page of a peer's feed: verified first, then stored in one transaction with cursor and receipt.

    1. the policy for this peer accepts anything at all
    2. its quotas are not used up: before any signature is looked at      quota
    3. the page is the peer's, for us, and holds together                 page.parse_page
       and so does its log, which was read as far as the page goes        watch.origins
    4. it follows what is stored, without a hole; what is stored already is left out
    5. as much of it as the quotas leave room for
    6. what the entries carry is verified, outside the transaction        check.check_entries
    7. records, retractions, withheld paths, verdicts, cursor and the signed receipt are committed together
    8. what an origin asked to delete is deleted from the disk: at once, or within the minute where one was before

An entry that is refused does not stop the feed: its verdict is kept, and the
cursor goes on. A page that breaks the protocol stores nothing. The same page
again changes nothing; where its sender comes with it by itself and has all our
receipts, it has lost the one for this page, and gets another.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tocsin.errors import NotPermitted, PeerMisbehaved, StaleCursor
from tocsin.exchange.chain import give_receipt
from tocsin.exchange.check import Checked, Terms, check_entries
from tocsin.exchange.cursor import format_cursor
from tocsin.exchange.entry import PageEntry, broken
from tocsin.exchange.page import VerifiedPage, parse_page
from tocsin.exchange.progress import Progress
from tocsin.exchange.quota import Budget, over_quota, verify_quota, within_quota
from tocsin.exchange.receipt import Receipt
from tocsin.exchange.taking import Taking
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.policy.clauses import Accept
from tocsin.release.due import SCRUB_SECONDS
from tocsin.release.office import Office
from tocsin.store.model import EntryKind, Outcome, Position
from tocsin.store.protocol import Records, Store
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.watch.origins import Watch

_log = logging.getLogger(__name__)

MOST_REFUSED = 500
"""Refused entries of a peer that are looked at: the newest."""
_MENDABLE = frozenset(
    {
        "NOT_PERMITTED",
        "KEY_NOT_OF_ISSUER",
        "UNSIGNED_CHECKPOINT",
        "ORIGIN_STOPPED",
        "NOT_CONSISTENT",
        "QUARANTINED",
    }
)
"""Reasons that a policy file, an identity document, people, or further cosignatures take away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Progress):
    """Say what a page brought, and where to go on.

    `cursor` lies before the page's own where a quota, or a clock, ended it.
    `receipt` is None where nothing of it was new. Something was queued for the
    partners in `onward`.
    """

    cursor: str
    receipt: Receipt | None = None
    onward: tuple[OrgId, ...] = ()


def accept_page(
    office: Office,
    page: v1.Page,
    *,
    sender: Organisation,
    accept: Accept | None,
    onward: Collection[OrgId],
    origins: Callable[[OrgId], Organisation | None],
    signer: Signer,
    budget: Budget,
    now: int,
    pushed: bool = False,
    lacks_receipt: bool = True,
) -> Received:
    """Verify a page of a peer and store what is good in it, in the steps above.

    `onward` are the active partners to whom policy may pass on what others issued; `origins` returns an organisation
    whose identity was confirmed here; `signer` is one of our delivery keys; `pushed` says that the peer chose where the
    page begins, and not we; `lacks_receipt` that it may have lost the receipt for a page that is known here.

    The caller MUST have made sure that the page came from this sender, and
    that the peering is active. Call it off the event loop.

    Raises NotPermitted where nothing is accepted, PeerMisbehaved where the page breaks the protocol, QuotaExceeded,
    RecordExpired and IdentityOutdated where nothing of it is taken now, StaleCursor, with our cursor in its metadata,
    where a pushed page does not follow it, StaleCheckpoint where a log has to be read first, and OriginStopped where
    nothing is taken from the sender. Nothing is stored then.
    """
    if accept is None:  # 1
        raise NotPermitted(f"our policy accepts nothing from {sender.org}", hint="add an [accept] table to its policy")
    watch = Watch(office, origins, now=now)
    intake = _Intake(office, watch, accept=accept, onward=onward, signer=signer, now=now)
    verify_quota(office.store, sender.org, accept=accept, now=now)  # 2
    with budget.spending(sender.org):
        verified = parse_page(page, sender=sender, audience=office.organisation.org, now=now)  # 3
        received = None
        while received is None:
            intake.verify_log(verified)
            received = intake.take(verified, sender=sender, origins=origins, pushed=pushed, lacks_receipt=lacks_receipt)
    if intake.erased:  # 8
        office.store.scrub(unless_within=SCRUB_SECONDS)
    return received


def read_again(store: Store, peer: OrgId) -> bool:
    """Have a peer's feed read from its beginning where something of it was refused for what people here may change.

    For whoever changed it: what is accepted of the peer, or whose identity is
    known. What is held is recognised. False where there is no such thing.
    """
    refused = {refusal.reason for refusal in store.intake.refusals(peer, limit=MOST_REFUSED)}
    if refused.isdisjoint(_MENDABLE):
        return False
    store.intake.forget(peer)
    return True


class _Texts:
    """What was held when the entries were verified: whoever delivers the same record may have been quicker."""

    def __init__(self, records: Records, entries: Iterable[PageEntry]) -> None:
        self._records = records
        self._digests = sorted({entry.digest for entry in entries if entry.digest})
        self._read = records.tokens(self._digests)

    def of(self, digest: str) -> str | None:
        """Return the text held for the digest of one of the entries."""
        return self._read.get(digest)

    def are_held(self) -> bool:
        """Say whether what was read still is what is held."""
        return self._records.tokens(self._digests) == self._read


def _behind(page: VerifiedPage, held: Position | None, *, pushed: bool) -> tuple[PageEntry, ...]:
    """Return the entries that are not stored yet.

    A feed of another id is new, since its home is, or the feed was begun
    anew: it is taken from its beginning. Where the page has the entry that was
    stored last, the tags must be the same: a sender whose store was put back
    gives its numbers again.

    Raises PeerMisbehaved where the page does not follow what was asked for,
    StaleCursor where it was pushed.
    """
    stored = held.sequence if held is not None and held.feed_id == page.feed_id else 0
    first, last = page.row.first, page.row.last
    follows = first <= stored + 1 and (last >= stored or not pushed)
    if follows and (not first <= stored <= last or page.behind(stored) == held):
        return page.entries[stored + 1 - first :] if last >= stored else ()
    cursor = format_cursor(held)
    if pushed:
        raise StaleCursor("the page does not follow what is stored of its feed", metadata={"cursor": cursor})
    raise PeerMisbehaved(
        f"the page begins at {first}, but its feed is stored only up to {stored}",
        where=page.sender,
        hint="nothing of it was stored; the next attempt asks for what is missing",
    )


class _Intake:
    """What a page is stored with; `erased` says that something of it must go from the disk."""

    def __init__(
        self,
        office: Office,
        watch: Watch,
        *,
        accept: Accept,
        onward: Collection[OrgId],
        signer: Signer,
        now: int,
    ) -> None:
        self.erased = False
        self._office = office
        self._watch = watch
        self._accept = accept
        self._onward = onward
        self._signer = signer
        self._now = now

    def verify_log(self, page: VerifiedPage) -> None:
        """Verify that the sender's log was read as far as its page goes, and goes on from what was read before."""
        self._watch.look(page.checkpoint)
        origin, _ = self._watch.require(page.checkpoint)
        if origin.org != page.sender:
            raise broken("it says where the log of somebody else stands", page.sender)

    def take(
        self,
        page: VerifiedPage,
        *,
        sender: Organisation,
        origins: Callable[[OrgId], Organisation | None],
        pushed: bool,
        lacks_receipt: bool,
    ) -> Received | None:
        """Verify what is new on a page and store it; None where it must be looked at again."""
        store, ours = self._office.store, self._office.organisation.org
        held = store.intake.cursor(sender.org)
        fresh = _behind(page, held, pushed=pushed)  # 4
        is_again = not fresh and lacks_receipt and not store.receipts.pending(sender.org, limit=1)
        wanted = page.entries if is_again else fresh
        fitting = within_quota(store, wanted, sender.org, accept=self._accept, now=self._now)  # 5
        if wanted and not fitting:
            raise over_quota(sender.org)
        texts = _Texts(store.records, fitting)
        terms = Terms(sender, ours, self._accept, origins, texts.of, self._watch, self._office, self._now)
        checked = check_entries(fitting, terms)  # 6
        return self._commit(page, checked, held=held, texts=texts, is_again=is_again)  # 7

    def _commit(
        self,
        page: VerifiedPage,
        checked: Sequence[Checked],
        *,
        held: Position | None,
        texts: _Texts,
        is_again: bool,
    ) -> Received | None:
        """Store all of it; None where what it was verified with has changed since."""
        store, peer = self._office.store, page.sender
        with store.transaction():
            if store.intake.cursor(peer) != held or not texts.are_held() or not self._watch.still_holds():
                return None
            store.peers.note_received(peer, now=self._now)
            if not checked:
                return Received(cursor=format_cursor(held), unchanged=len(page.entries))
            taking = Taking(self._office, peer, accept=self._accept, onward=self._onward, now=self._now)
            verdicts = [taking.take(item) for item in checked]
            taking.log()
            reached = page.behind(checked[-1].entry.sequence)
            if not is_again:
                store.intake.move(peer, reached, verdicts, now=self._now)
            receipt = give_receipt(
                store,
                page.row,
                ours=self._office.organisation.org,
                sender=peer,
                cursor=format_cursor(reached),
                verdicts=verdicts,
                checkpoint=self._watch.cosigned(peer),
                signer=self._signer,
                random=self._office.random,
                now=self._now,
            )
            self._count(page, checked, receipt)
        self.erased = taking.erased
        return _received(receipt, cursor=format_cursor(held if is_again else reached), onward=taking.queued)

    def _count(self, page: VerifiedPage, checked: Sequence[Checked], receipt: Receipt) -> None:
        """Count what it took: statement and receipt are kept for good, also where every entry is void."""
        counted = [item.entry for item in checked if item.entry.kind is not EntryKind.VOID]
        size = sum(entry.size() for entry in counted) + len(page.row.statement) + len(receipt.statement)
        self._office.store.intake.note_taken(page.sender, entries=len(counted), size=size, now=self._now)


def _received(receipt: Receipt, *, cursor: str, onward: Collection[OrgId]) -> Received:
    for verdict in receipt.verdicts:
        if verdict.outcome is Outcome.REFUSED:
            _log.warning("refused entry %d of %s: %s", verdict.sequence, receipt.audience, verdict.reason)
    outcomes = Counter(verdict.outcome for verdict in receipt.verdicts)
    return Received(
        cursor=cursor,
        receipt=receipt,
        onward=tuple(sorted(onward)),
        **{name: sum(outcomes[outcome] for outcome in counted) for name, counted in _COUNTED.items()},
    )


_COUNTED: Mapping[str, tuple[Outcome, ...]] = {
    "records": (Outcome.STORED,),
    "disclosures": (Outcome.GROWN,),
    "refused": (Outcome.REFUSED,),
    "retractions": (Outcome.APPLIED, Outcome.DECLINED),
    "unchanged": (Outcome.UNCHANGED, Outcome.VOID, Outcome.RETRACTED),
}
