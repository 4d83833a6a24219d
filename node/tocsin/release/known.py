"""This module remembers records that were verified, by their exact text.

A record is verified before the transaction that sends it, in which others wait
to write, and goes to many partners. What was verified is that again as long as

    the text held today     is, byte for byte, the text that was verified
    the identity            is the document under which it was
    the time                is not before, and the record never expires

and anything else is verified anew. So it is with what an own record was posted
as: a row of the decision log never changes. The least used are forgotten first.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Final

from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.records.record import VerifiedRecord, parse_record

MOST_CHARACTERS: Final = 8 * 2**20
"""Of texts that are remembered: what three pages can carry at most, or a thousand records as they mostly are."""


class Known:
    """What was verified since the node started; may be used from any thread."""

    def __init__(self, most: int = MOST_CHARACTERS) -> None:
        self._room = most
        self._lock = Lock()
        self._records: OrderedDict[str, _Verified] = OrderedDict()

    def __contains__(self, digest: str) -> bool:
        """Say whether something is remembered of a record; the text that is held may be another by now."""
        return digest in self._records

    def verify(self, token: str, *, digest: str, origin: Organisation, now: int) -> VerifiedRecord:
        """Return a record as its recipients verify it, or as they would: see `UnverifiedRecord.verify`."""
        with self._lock:
            known = self._records.get(digest)
            if known is not None and known.holds(token, origin=origin, now=now):
                self._records.move_to_end(digest)
                return known.record
        record = parse_record(token).verify(origin, now=now)
        self._keep(_Verified(record, origin, now))
        return record

    def is_whole(self, digest: str, token: str, recipients: frozenset[OrgId]) -> bool:
        """Say whether this text, for these recipients, is what was found to be posted."""
        with self._lock:
            known = self._records.get(digest)
            return known is not None and known.recipients == recipients and known.record.token == token

    def note_whole(self, digest: str, token: str, recipients: frozenset[OrgId]) -> None:
        """Keep that a text that was verified is what was posted, for these recipients."""
        with self._lock:
            known = self._records.get(digest)
            if known is not None and known.record.token == token:
                known.recipients = recipients

    def _keep(self, verified: "_Verified") -> None:
        with self._lock:
            self._forget(verified.record.digest)
            self._records[verified.record.digest] = verified
            self._room -= len(verified.record.token)
            while self._room < 0:
                self._forget(next(iter(self._records)))

    def _forget(self, digest: str) -> None:
        if known := self._records.pop(digest, None):
            self._room += len(known.record.token)


@dataclass(slots=True)
class _Verified:
    """A record, the identity under which it was verified, and when; and of an own one, for whom it was posted."""

    record: VerifiedRecord
    origin: Organisation
    at: int
    recipients: frozenset[OrgId] | None = None

    def holds(self, token: str, *, origin: Organisation, now: int) -> bool:
        """Say whether verifying this text would come to the same."""
        return (
            self.record.token == token
            and self.origin.document == origin.document
            and self.at <= now
            and self.record.expires_at is None
        )
