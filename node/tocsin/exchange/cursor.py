"""This module writes and reads cursors: how far one partner's feed is stored.

    <feed id> . <sequence>          bM0…fQ.41

The feed id is 16 random bytes in base64url, made when the feed was; a cursor
of a feed that is gone, from a home that was lost, is so told from a good one.
The sequence is that of the last entry stored. No cursor, the empty text, means
from the beginning.
"""

import re
from collections.abc import Callable

from tocsin.encoding import encode_base64url
from tocsin.errors import MalformedCursor, StaleCursor
from tocsin.store.model import Feed, Position

FEED_ID_BYTES = 16
FEED_ID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]", re.ASCII)  # 16 bytes leave four bits of the last character zero
_SEQUENCE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


def new_feed_id(random: Callable[[int], bytes]) -> str:
    """Make the name of a feed."""
    return encode_base64url(random(FEED_ID_BYTES))


def format_cursor(position: Position | None) -> str:
    """Return the text of a cursor."""
    return f"{position.feed_id}.{position.sequence}" if position else ""


def parse_cursor(text: str) -> Position | None:
    """Read a cursor; None: from the beginning. Raises MalformedCursor."""
    if not text:
        return None
    feed_id, dot, sequence = text.partition(".")
    if not dot or not FEED_ID.fullmatch(feed_id) or not _SEQUENCE.fullmatch(sequence):
        raise MalformedCursor("the cursor is not one that a node has made")
    return Position(feed_id, int(sequence))


def resolve_cursor(text: str, *, feed: Feed | None) -> int:
    """Return the number behind which a feed goes on.

    Raises MalformedCursor, and StaleCursor for one of another feed or from
    the future; its metadata has the cursor that was last acknowledged.
    """
    position = parse_cursor(text)
    if position is None:
        return 0
    if feed is None or position.feed_id != feed.feed_id or position.sequence > feed.head:
        # A feed in which nothing has a number yet shows that something was queued, and withheld in the end.
        known = Position(feed.feed_id, feed.acknowledged) if feed and feed.head else None
        raise StaleCursor(
            "the cursor is of another feed or from the future",
            hint="begin again without a cursor: what is held already is recognised",
            metadata={"cursor": format_cursor(known)},
        )
    return position.sequence
