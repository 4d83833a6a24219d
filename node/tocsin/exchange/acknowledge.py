"""This module takes the receipts of a partner: what became of the pages that it was sent.

1. they are no more than one message holds
2. each is a receipt of the partner, for us                            BAD_RECEIPT   receipt.parse_receipt
3. one that is held already is passed over; others follow the last     BAD_CHAIN
   one that is held, or begin a chain that was never held
4. its page was made for the partner, and has fewer receipts than any   NEVER_SENT
5. it is about that page, and its cursor is one of the partner's feed  BAD_RECEIPT   receipt.verify_receipt_of_page
6. receipt and answers are kept, and the feed is acknowledged, together
7. the partner's cosignature of our log is kept beside those of others

Those before one that is refused stay. What is refused is kept in the decision
log, and shown to the operator: a receipt for what was never sent says that one
of two stores is not what it was, or that somebody lies.
"""

from collections.abc import Sequence

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.errors import MalformedRequest, PeerMisbehaved, ReceiptRefused, StaleCursor
from tocsin.exchange.client import PEER_RECEIPT
from tocsin.exchange.cursor import format_cursor
from tocsin.exchange.directory import KnownPeer
from tocsin.exchange.page import parse_statement
from tocsin.exchange.receipt import Receipt, parse_receipt, verify_receipt_of_page
from tocsin.exchange.rollback import find_place
from tocsin.identity.names import OrgId
from tocsin.records.disclosure import digest_of
from tocsin.release.office import Office
from tocsin.store.evidence import PageRow
from tocsin.store.model import AuditFilter
from tocsin.store.protocol import Store
from tocsin.watch.ours import Ours

MOST_RECEIPTS = 64
"""In one message, as the contract says."""
MOST_LOGGED = 32
"""Refused receipts of a partner that the decision log keeps of an hour: it is no place for a partner to write to."""
HOUR_SECONDS = 3600
MOST_OF_PAGE = 4
"""Receipts for one page: the one that it gets, and some more after a store was put back, or a message was lost."""


def take_receipts(office: Office, partner: KnownPeer, receipts: Sequence[str], *, now: int) -> None:
    """Keep what a partner says became of our pages, in the steps above, and how far it has stored its feed.

    The caller MUST have made sure that they come from this partner, and that
    the peering is active. Call it off the event loop.

    Raises MalformedRequest and ReceiptRefused.
    """
    if len(receipts) > MOST_RECEIPTS:  # 1
        raise MalformedRequest(f"{len(receipts)} receipts at once; at most {MOST_RECEIPTS} are taken")
    if not all(statement.isascii() for statement in receipts):
        raise MalformedRequest("a receipt is not base64url with dots")
    for statement in receipts:
        try:
            _take(office, partner, statement, now=now)
        except ReceiptRefused as error:
            _note_refused(office, partner.org, statement, error, now=now)
            error.metadata[PEER_RECEIPT] = digest_of(statement)
            raise


def last_held(store: Store, partner: OrgId) -> str:
    """Return the digest of the last receipt of a partner that is held; empty: there is none."""
    last = store.receipts.last(partner, given=False)
    return last.digest if last else ""


def _take(office: Office, partner: KnownPeer, statement: str, *, now: int) -> None:
    store = office.store
    receipt = parse_receipt(statement, giver=partner.organisation, audience=office.organisation.org, now=now)  # 2
    with store.transaction():
        if not _is_next(store, receipt):  # 3
            return
        page = _page(office, receipt)  # 4
        if page is not None:
            if store.receipts.count_of(receipt.issuer, receipt.page) >= MOST_OF_PAGE:
                raise ReceiptRefused("its page was signed for as often as any is", reason="NEVER_SENT")
            verify_receipt_of_page(receipt, page.statement, sender=office.organisation)  # 5
            _keep(store, receipt, page, _reached(store, receipt), now=now)  # 6
            if receipt.checkpoint:  # 7
                Ours(office, now=now).cosigned(receipt.checkpoint, by=partner.organisation)
            return
    _find_rollback(office, receipt, now=now)
    hint = "see both nodes' `tocsin status`: one of the stores may have been put back to an earlier state"
    raise ReceiptRefused("the receipt is for a page that was never made", reason="NEVER_SENT", hint=hint)


def _page(office: Office, receipt: Receipt) -> PageRow | None:
    """Return the page of a receipt; one under a key that was revoked since proves nothing, and is none."""
    page = office.store.receipts.page(receipt.issuer, receipt.page)
    try:
        if page is not None:
            parse_statement(page.statement, sender=office.organisation)
    except PeerMisbehaved:
        return None
    return page


def _is_next(store: Store, receipt: Receipt) -> bool:
    """Say whether a receipt follows what is held; False where it is held. Raises ReceiptRefused (BAD_CHAIN)."""
    held = store.receipts.numbered(receipt.issuer, receipt.chain, receipt.number)
    if held is not None and held.digest == receipt.digest:
        return False
    if held is None and receipt.number == 1:  # another chain: the partner's store, or ours, is not the one that it was
        return True
    last = store.receipts.last(receipt.issuer, given=False)
    follows = last is not None and (last.chain, last.number + 1) == (receipt.chain, receipt.number)
    if last is not None and follows and receipt.previous == last.digest:
        return True
    raise ReceiptRefused("the receipt does not follow the last one that is held", reason="BAD_CHAIN")


def _reached(store: Store, receipt: Receipt) -> int:
    """Return the number up to which a receipt says that the feed is stored; 0 for one that has begun anew since."""
    feed = store.feeds.get(receipt.issuer)
    if feed is None or feed.feed_id != receipt.feed_id:
        return 0
    position = store.feeds.position(receipt.issuer, receipt.verdicts[-1].sequence)
    if receipt.cursor != format_cursor(position):
        raise ReceiptRefused("the cursor of the receipt is none of the feed", reason="BAD_RECEIPT")
    return receipt.verdicts[-1].sequence


def _keep(store: Store, receipt: Receipt, page: PageRow, reached: int, *, now: int) -> None:
    store.receipts.hold(receipt.to_row(page, given=False, now=now), receipt.verdicts, now=now)
    if reached:
        store.feeds.acknowledge(receipt.issuer, reached, now=now)


def _find_rollback(office: Office, receipt: Receipt, *, now: int) -> None:
    """Act on a page that we do not know and whose number we have yet to give, if it is one."""
    try:
        find_place(office, receipt.issuer, receipt.cursor, now=now)
    except StaleCursor:
        return


def _note_refused(office: Office, partner: OrgId, statement: str, error: ReceiptRefused, *, now: int) -> None:
    """Keep in the decision log that a receipt was refused, and why; its statement is named by its digest."""
    where = AuditFilter(partner=partner, act=Event.RECEIPT_REFUSED, since=now - HOUR_SECONDS, until=now + 1)
    with office.store.transaction():
        if len(office.store.audit.list(where, limit=MOST_LOGGED)) >= MOST_LOGGED:
            return
        details: dict[str, JSON] = {"receipt": digest_of(statement), "reason": error.reason}
        office.log.append(Entry(Event.RECEIPT_REFUSED, partner=partner, details=details), now=now)
