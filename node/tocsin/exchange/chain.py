"""This module chains the receipts that we give, and keeps them until whoever they are for has them.

A receipt is signed and kept in the transaction that stores what it is about.
It is pending until the other side took it; what is pending goes along the next
time, in order. Where the other side cannot go on from the receipt that it
holds (its store, or ours, was put back to an earlier state), what is pending
is signed again, in another chain.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tocsin.encoding import encode_base64url
from tocsin.exchange.acknowledge import MOST_RECEIPTS
from tocsin.exchange.receipt import Receipt, load_receipt, sign_receipt
from tocsin.identity.names import OrgId
from tocsin.identity.signer import Signer
from tocsin.store.evidence import PageRow
from tocsin.store.model import Verdict
from tocsin.store.protocol import Store

CHAIN_BYTES = 16
MOST_CHARACTERS = 2 * 1024 * 1024
"""Of receipts handed over together: with whatever else is in a message they stay below its 4 MiB."""


def give_receipt(
    store: Store,
    page: PageRow,
    *,
    ours: OrgId,
    sender: OrgId,
    cursor: str,
    verdicts: Sequence[Verdict],
    checkpoint: str,
    signer: Signer,
    random: Callable[[int], bytes],
    now: int,
) -> Receipt:
    """Sign the receipt for a page, behind the last one that its sender was given, and keep it.

    `checkpoint` is what we have seen of the sender's log, with our cosignature.

    The caller MUST do it in the transaction that stores what the verdicts say.
    """
    last = store.receipts.last(sender, given=True)
    receipt = Receipt(
        issuer=ours,
        audience=sender,
        issued_at=now,
        chain=last.chain if last else _new_chain(random),
        number=last.number + 1 if last else 1,
        previous=last.digest if last else "",
        page=page.digest,
        feed_id=page.feed_id,
        first=page.first,
        last=page.last,
        cursor=cursor,
        verdicts=tuple(verdicts),
        checkpoint=checkpoint,
    )
    return _keep(store, sign_receipt(receipt, signer=signer), page, now=now)


def pending(store: Store, sender: OrgId) -> tuple[str, ...]:
    """Return what a sender may not have yet, in order, as much as one message holds."""
    statements: list[str] = []
    room = MOST_CHARACTERS
    for row in store.receipts.pending(sender, limit=MOST_RECEIPTS):
        room -= len(row.statement)
        if statements and room < 0:
            break
        statements.append(row.statement)
    return tuple(statements)


def leaves_receipts(store: Store, sender: OrgId, last: str) -> bool:
    """Say whether a sender that holds this receipt has left a message full of them behind it.

    All that is pending may have to be signed again at once: it never gets to be more.
    """
    if last:
        store.receipts.taken(sender, last)
    return len(store.receipts.pending(sender, limit=MOST_RECEIPTS)) == MOST_RECEIPTS


def pending_behind(
    store: Store, sender: OrgId, last: str, *, signer: Signer, random: Callable[[int], bytes], now: int
) -> tuple[str, ...]:
    """Return what goes on from the receipt that a sender says it holds (its digest; empty: none).

    Where nothing does, what is pending is signed again in a chain that begins:
    also where a chain begins with it already, since the sender may hold more of
    that chain than we do, from before our store was put back.
    """
    with store.transaction():
        if last:
            store.receipts.taken(sender, last)
        rows = store.receipts.pending(sender, limit=1)
        if rows and load_receipt(rows[0].statement).previous != last:
            begin_chain(store, sender, signer=signer, random=random, now=now)
        return pending(store, sender)


def begin_chain(
    store: Store, sender: OrgId, *, but: str = "", signer: Signer, random: Callable[[int], bytes], now: int
) -> None:
    """Sign what is pending for a sender again, in another chain; `but` is the digest of one that it never takes."""
    with store.transaction():
        chain, number, previous = _new_chain(random), 1, ""
        for row in store.receipts.drop_pending(sender):
            if row.digest == but:
                continue
            again = replace(
                load_receipt(row.statement), chain=chain, number=number, previous=previous, issued_at=now, statement=""
            )
            signed = _keep(store, sign_receipt(again, signer=signer), row.page, now=now)
            number, previous = number + 1, signed.digest


def _keep(store: Store, receipt: Receipt, page: PageRow, *, now: int) -> Receipt:
    store.receipts.give(receipt.to_row(page, given=True, now=now))
    return receipt


def _new_chain(random: Callable[[int], bytes]) -> str:
    return encode_base64url(random(CHAIN_BYTES))
