"""This module remembers records that were verified, by their exact text.

A record is verified before the transaction that sends it, in which others wait
to write, and goes to many partners. What was verified is that again as long as

    the text held today     is, byte for byte, the text that was verified
    the identity            is the document under which it was
    the time                is not before, and the record never expires

and anything else is verified anew. Of what was issued here a moment ago, and
read back, the signature is left to verify. So it is with what an own record was
posted as: a row of the decision log never changes. The least used are forgotten
first.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Final

from tocsin.errors import Malformed, RecordRefused
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.records.record import VerifiedRecord, parse_record, verify_issued

MOST_CHARACTERS: Final = 8 * 2**20
"""Of texts that are remembered: what three pages can carry at most, or a thousand records as they mostly are."""

MOST_ERASED: Final = 4096
"""Records that are known to be erased: more than are within the time that it takes to verify one."""


class Known:
    """What was verified since the node started; may be used from any thread."""

    def __init__(self, most: int = MOST_CHARACTERS) -> None:
        self._room = most
        self._lock = Lock()
        self._records: OrderedDict[str, _Held] = OrderedDict()
        self._erased: dict[str, None] = {}  # the last ones

    def verify(self, token: str, *, digest: str, origin: Organisation, now: int) -> VerifiedRecord:
        """Return a record as its recipients verify it, or as they would: see `UnverifiedRecord.verify`."""
        held = self._find(digest, token)
        if held is not None and held.is_verified(origin, now=now):
            return held.record
        if held is not None and held.origin is None and verify_issued(held.record, origin):
            held.origin, held.at = origin, now
            return held.record
        record = parse_record(token).verify(origin, now=now)
        self._keep(_Held(record, origin, now))
        return record

    def verify_ahead(self, digest: str, *, ours: Organisation, now: int) -> int:
        """Return how long a record is that is remembered; 0: none is. One of ours is verified now, if it is to be."""
        held = self._records.get(digest)
        if held is None:
            return 0
        try:
            self.verify(held.record.token, digest=digest, origin=held.origin or ours, now=now)
        except (Malformed, RecordRefused):  # whoever looks what is stored finds out why
            return 0
        return len(held.record.token)

    def note_posted(self, record: VerifiedRecord, recipients: frozenset[OrgId]) -> None:
        """Keep an own record that `issue` has read back, and for whom it is posted."""
        self._keep(_Held(record, recipients=recipients))

    def is_whole(self, digest: str, token: str, recipients: frozenset[OrgId]) -> bool:
        """Say whether this text, for these recipients, is what was posted."""
        held = self._find(digest, token)
        return held is not None and held.recipients == recipients

    def note_whole(self, digest: str, token: str, recipients: frozenset[OrgId]) -> None:
        """Keep that a text that was verified is what was posted, for these recipients."""
        if held := self._find(digest, token):
            held.recipients = recipients

    def forget(self, digest: str) -> None:
        """Forget a record, and remember it no more: it is being erased, and somebody may have read it a moment ago."""
        with self._lock:
            self._drop(digest)
            self._erased[digest] = None
            while len(self._erased) > MOST_ERASED:
                del self._erased[next(iter(self._erased))]

    def _find(self, digest: str, token: str) -> "_Held | None":
        """Return what is remembered of exactly this text."""
        with self._lock:
            held = self._records.get(digest)
            if held is None or held.record.token != token:
                return None
            self._records.move_to_end(digest)
            return held

    def _keep(self, held: "_Held") -> None:
        with self._lock:
            self._drop(held.record.digest)
            if held.record.digest in self._erased:
                return
            self._records[held.record.digest] = held
            self._room -= len(held.record.token)
            while self._room < 0:
                self._drop(next(iter(self._records)))

    def _drop(self, digest: str) -> None:
        if held := self._records.pop(digest, None):
            self._room += len(held.record.token)


@dataclass(slots=True)
class _Held:
    """A record, under which identity it was verified and when (None: not yet), and for whom an own one was posted."""

    record: VerifiedRecord
    origin: Organisation | None = None
    at: int = 0
    recipients: frozenset[OrgId] | None = None

    def is_verified(self, origin: Organisation, *, now: int) -> bool:
        """Say whether verifying the text again would come to the same."""
        return (
            self.origin is not None
            and self.origin.document == origin.document
            and self.at <= now
            and self.record.expires_at is None
        )
