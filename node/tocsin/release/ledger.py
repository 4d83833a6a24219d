"""This module enters what the organisation issues in its transparency log: every version, and every retraction.

The entry is kept in the transaction that keeps what it is about, and the
checkpoint over it is signed there: what is issued is logged, or is not issued.
Nothing of the content is in an entry; it stays when the content is purged.
"""

from tocsin.encoding import decode_base64url
from tocsin.records.record import VerifiedRecord
from tocsin.records.retraction import VerifiedRetraction
from tocsin.store.protocol import Store
from tocsin.tlog.entry import record_entry, retraction_entry
from tocsin.tlog.log import OwnLog


def entry_of(issued: VerifiedRecord | VerifiedRetraction) -> bytes:
    """Return the entry of a version or a retraction."""
    digest = decode_base64url(issued.digest)
    if isinstance(issued, VerifiedRetraction):
        return retraction_entry(issued.record_id, issued.version, issued.action, digest)
    return record_entry(issued.record_id, issued.version, digest)


def enter_earlier(store: Store, log: OwnLog, *, now: int) -> int:
    """Enter what was issued before there was a log, in the order in which it was; return how many entries that made.

    For a home of an earlier version, when it is opened; where the log has
    begun, everything that was issued is in it.
    """
    with store.transaction():
        if log.size:
            return 0
        entries = [
            record_entry(record_id, version, decode_base64url(digest))
            for record_id, version, digest in store.records.own_versions()
        ]
        entries += [
            retraction_entry(row.record_id, row.version, row.action, decode_base64url(row.digest))
            for row in store.retractions.issued(log.org)
            if not row.received_from
        ]
        if entries:
            log.issue(*entries, now=now)
        return len(entries)
