"""This module finds the place of a partner's cursor, and finds out by it that our own store was put back.

A cursor that this store must have given and does not know says that the store
is an earlier one: an old backup, or a disk that was put back. What the partner
holds behind it was sent under numbers that would be given again. So its feed
begins anew, under another name: nothing is lost by that, since what the partner
holds already is recognised when it comes again. And the peers are asked for
what of ours they hold (`tocsin.exchange.recovery`).

Anybody can make up such a cursor of its own feed: a feed that was begun within
the hour is not begun again for it. The peers are asked all the same, since the
partner goes on from the beginning, and its next cursors prove nothing. A cursor
of a feed that is not known proves nothing at all: the store may have been put
back to before it was begun, and that partner alone is asked.
"""

import logging
from typing import NamedTuple

from tocsin.errors import StaleCursor
from tocsin.exchange.cursor import new_feed_id, proves_rollback, resolve_cursor
from tocsin.exchange.recovery import ask_again, recognise
from tocsin.identity.names import OrgId
from tocsin.release.office import Office
from tocsin.store.model import Feed

_log = logging.getLogger(__name__)

FEED_SECONDS = 3600
"""A feed lives as long at least: a partner that lies has it made and sent anew no more often."""


class Place(NamedTuple):
    """A partner's feed (None: it was not begun), and the number behind which it goes on."""

    feed: Feed | None
    after: int

    @property
    def is_end(self) -> bool:
        """Say whether nothing that has a number is behind it."""
        return self.feed is None or self.after == self.feed.head


def find_place(office: Office, partner: OrgId, cursor: str, *, now: int) -> Place:
    """Return the place of a partner's cursor; see `resolve_cursor`.

    Where the cursor proves that our store was put back, that is acted upon
    before it is refused.

    Raises MalformedCursor and StaleCursor.
    """
    feeds = office.store.feeds
    feed = feeds.get(partner)
    try:
        return Place(feed, resolve_cursor(cursor, feed=feed, feeds=feeds))
    except StaleCursor:
        if proves_rollback(cursor, feed=feed, feeds=feeds):
            _begin_anew(office, partner, now=now)
        else:
            ask_again(office, partner, now=now)
        raise


def _begin_anew(office: Office, partner: OrgId, *, now: int) -> None:
    """Begin a partner's feed anew, and see to it that what was lost is asked for."""
    feeds = office.store.feeds
    with office.store.transaction():
        recognise(office, partner, now=now)
        ask_again(office, partner, now=now)
        feed = feeds.get(partner)
        if feed is None or 0 <= now - feed.opened_at < FEED_SECONDS:
            return
        feeds.renew(partner, feed_id=new_feed_id(office.random), now=now)
    _log.warning("%s holds more of its feed than this store knows of: the feed begins anew", partner)
