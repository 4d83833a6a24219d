"""This module makes the next page of a partner's feed.

A feed is dense: 1, 2, 3, … A number is given in the transaction that signs the
page which first carries it, and never again; what policy hides has no number,
so nothing shows that it is there.

    behind the cursor, numbered   sent before and not stored, or asked for again:
                                  what went then, as far as policy and gate allow
                                  it today, or a void entry; a retraction as it was
    candidates                    policy and gate are asked; what the partner does
                                  not hold yet gets the next number: the record
                                  itself, or further disclosures of it; of one that
                                  is over, the retraction; the rest is dropped, and
                                  what waits is noted

What an entry carries only ever shrinks. What comes back by a policy that was
loosened again is a new entry, because it was queued again. Where the clock is
wrong nothing is sent, and nothing dropped or voided for it.

Records are verified before the transaction, so that a page of many does not
hold up others who write; inside it what was verified is known by its exact
text. The statement of the page is kept, to know the receipt for it.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from tocsin.exchange.cursor import new_feed_id, resolve_cursor
from tocsin.exchange.draft import Draft, Limits
from tocsin.exchange.reread import Rereading
from tocsin.exchange.rollback import Place, find_place
from tocsin.exchange.rounds import Ask, Made, Rounds, Shared
from tocsin.identity.names import OrgId
from tocsin.identity.signer import Signer
from tocsin.release.ledger import is_logged
from tocsin.release.office import Office
from tocsin.store.protocol import Store
from tocsin.v1 import exchange_service_pb2 as v1

# Candidates looked at in one transaction: a partner who gets nothing of a great many records must not hold up others.
MOST_CONSIDERED = 1024
# Text of records verified ahead of one transaction, in pages: what it takes in memory while the page is made.
PAGES_AHEAD = 2

LIMITS = Limits()


def next_page(
    office: Office,
    partner: OrgId,
    cursor: str,
    *,
    signer: Signer,
    now: int,
    limits: Limits = LIMITS,
    reread: Rereading | None = None,
    rounds: Rounds | None = None,
) -> v1.Page | None:
    """Return the page that follows a cursor, or None where nothing does.

    `signer` is one of our delivery keys; `reread` counts what the partner asks
    for again; in `rounds` pages are made together with those of others. The
    caller MUST have made sure that the partner is who it says, and active.

    Raises MalformedCursor, StaleCursor for a cursor of another feed or from
    the future, and QuotaExceeded where too much is asked for again.
    """
    if office.store.logs.get(office.organisation.org).stopped:
        return None  # what would go says how long our log is
    rounds = rounds or Rounds()
    while True:
        place = find_place(office, partner, cursor, now=now)
        if reread and place.feed and not place.is_end:
            reread.verify(partner, head=place.feed.head, now=now)
        ahead = _verify_ahead(office, partner, place, limits=limits, now=now)
        if not ahead.numbered and not ahead.candidates:
            return None
        make = partial(_make_page, partner, cursor, place, ahead.candidates, signer=signer, now=now, limits=limits)
        ask = Ask(partner, make, ahead.numbered + len(ahead.candidates), ahead.characters, now)
        made = rounds.answer(office, ask)
        if made.page is not None:
            if reread and made.again:
                reread.count(partner, made.again, now=now)
            return made.page
        if not made.dropped:  # else look whether there are more
            return None


def _make_page(
    partner: OrgId,
    cursor: str,
    place: Place,
    candidates: Sequence[str],
    shared: Shared,
    *,
    signer: Signer,
    now: int,
    limits: Limits,
) -> Made:
    """Make a page of what may go; there may be none although there are candidates left to look at."""
    if not shared.shown:  # our log was stopped meanwhile: what would go says how long it is
        return Made(None, 0, 0)
    office, store = shared.office, shared.office.store
    feed, after = store.feeds.open(partner, feed_id=new_feed_id(office.random), now=now), place.after
    if place.feed is None or feed.feed_id != place.feed.feed_id:  # it has begun, or begun anew, meanwhile
        after = resolve_cursor(cursor, feed=feed, feeds=store.feeds)
    draft = Draft(shared, feed, now=now, limits=limits)
    draft.add_numbered(after=after)
    again = len(draft.entries)
    dropped = draft.add_candidates(candidates) if after + again == feed.head else 0
    draft.settle()
    page = draft.sign(signer) if draft.entries else None
    if page is not None:
        store.peers.note_sent(partner, now=now)
    return Made(page, again, dropped, draft.log, tuple(draft.again.values()))


class _Ahead(NamedTuple):
    """How many entries go again, which candidates are to be looked at, and how much text that is."""

    numbered: int
    candidates: Sequence[str]
    characters: int


def _verify_ahead(office: Office, partner: OrgId, place: Place, *, limits: Limits, now: int) -> _Ahead:
    """Verify what the page may carry, and return what is to be looked at for it."""
    records = characters = 0
    again = () if place.is_end else office.store.feeds.entries(partner, after=place.after, limit=limits.numbered)
    numbered = [sent.digest for sent in again]
    candidates = () if len(numbered) == limits.numbered else _provable(office.store, partner)
    looked_at = []
    for digest in chain(numbered, candidates):
        looked_at.append(digest)
        size = office.known.verify_ahead(digest, ours=office.organisation, now=now)
        if not size and (record := office.load(digest, now=now)):
            size = len(record.token)
        records, characters = records + bool(size), characters + size
        is_much = records > limits.entries or characters > PAGES_AHEAD * limits.bytes
        if is_much or len(looked_at) == len(numbered) + MOST_CONSIDERED:
            break
    return _Ahead(len(numbered), looked_at[len(numbered) :], characters)


def _provable(store: Store, partner: OrgId) -> Iterator[str]:
    """Yield the candidates of a partner that their origins' logs prove, as far as these are read here.

    The others wait, and are passed by: what an origin has taken out of its log must not stand in the way of the rest.
    """
    last = ""
    while found := store.feeds.candidates(partner, after=last, limit=MOST_CONSIDERED):
        yield from (digest for digest in found if is_logged(store, store.records.get(digest)))
        last = found[-1]
