"""This module writes and reads cursors: how far one partner's feed is stored.

    <feed id> . <sequence> . <tag>          bM0…fQ.41.Zm9vYmFyIQk

The feed id is 16 random bytes in base64url, made when the feed was; a cursor
of a feed that is gone, from a home that was lost, is so told from a good one.
The sequence is that of the last entry stored, and the tag 8 random bytes that
were made with it; entries from before there were tags have none, and their
cursors end behind the sequence. No cursor, the empty text, means from the
beginning.

A number is given once, so that what the right feed id stands in front of is
what this store has given, or the store is not the one that gave it: it was put
back to an earlier state, has given the number again or has yet to. The tag
tells the first, the head of the feed the second.
"""

import re
from collections.abc import Callable

from tocsin.encoding import encode_base64url
from tocsin.errors import MalformedCursor, StaleCursor
from tocsin.store.delivery import Feeds
from tocsin.store.model import Feed, Position

FEED_ID_BYTES = 16
FEED_ID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]", re.ASCII)  # 16 bytes leave four bits of the last character zero
TAG_BYTES = 8  # nobody guesses it, and two stores that go apart do not make the same one
TAG = re.compile(r"[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]", re.ASCII)  # 8 bytes leave two bits zero
_SEQUENCE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


def new_feed_id(random: Callable[[int], bytes]) -> str:
    """Make the name of a feed."""
    return encode_base64url(random(FEED_ID_BYTES))


def new_tag(random: Callable[[int], bytes]) -> str:
    """Make the tag of an entry."""
    return encode_base64url(random(TAG_BYTES))


def format_cursor(position: Position | None) -> str:
    """Return the text of a cursor."""
    if position is None:
        return ""
    text = f"{position.feed_id}.{position.sequence}"
    return f"{text}.{position.tag}" if position.tag else text


def parse_cursor(text: str) -> Position | None:
    """Read a cursor; None: from the beginning. Raises MalformedCursor."""
    if not text:
        return None
    feed_id, dot, rest = text.partition(".")
    sequence, dots, tag = rest.partition(".")
    is_tagged = bool(dots)
    if not dot or not FEED_ID.fullmatch(feed_id) or not _SEQUENCE.fullmatch(sequence):
        raise MalformedCursor("the cursor is not one that a node has made")
    if is_tagged and not TAG.fullmatch(tag):
        raise MalformedCursor("the cursor is not one that a node has made")
    return Position(feed_id, int(sequence), tag)


def resolve_cursor(text: str, *, feed: Feed | None, feeds: Feeds) -> int:
    """Return the number behind which a feed goes on.

    Raises MalformedCursor, and StaleCursor for one that this feed has never
    given; its metadata has the cursor that was last acknowledged.
    """
    position = parse_cursor(text)
    if position is None:
        return 0
    if feed is None or position.feed_id != feed.feed_id or _is_foreign(position, feed, feeds):
        raise StaleCursor(
            "the cursor is of another feed or from the future",
            hint="begin again without a cursor: what is held already is recognised",
            metadata={"cursor": acknowledged_cursor(feed, feeds)},
        )
    return position.sequence


def proves_rollback(text: str, *, feed: Feed | None, feeds: Feeds) -> bool:
    """Say whether a cursor is one that this store gave once and does not know: it is an earlier one, put back."""
    position = parse_cursor(text)
    if position is None or feed is None or position.feed_id != feed.feed_id:
        return False
    return _is_foreign(position, feed, feeds)


def acknowledged_cursor(feed: Feed | None, feeds: Feeds) -> str:
    """Return the cursor up to which a partner has acknowledged its feed.

    A feed in which nothing has a number yet shows that something was queued,
    and withheld in the end: it has none.
    """
    return format_cursor(feeds.position(feed.partner, feed.acknowledged)) if feed and feed.head else ""


def _is_foreign(position: Position, feed: Feed, feeds: Feeds) -> bool:
    """Say whether a position under the right feed id is none of this store."""
    if not position.sequence:  # before the first entry there is nothing to tell apart
        return bool(position.tag)
    return feeds.position(feed.partner, position.sequence) != position
