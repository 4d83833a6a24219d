"""This module keeps what a revoked key signed out, unless witnesses knew it before the key was revoked.

Whoever has stolen a record key can sign with it, under any date. What the log
had before, under a cosignature from before, was there before the thief
(`tocsin.tlog.judgement`). Whose cosignatures count says the home's file about
witnesses; without one our own do: we cosign what we read.
"""

from tocsin.errors import RecordQuarantined
from tocsin.identity.root import Organisation, named_log_vkeys
from tocsin.identity.vkey import log_name
from tocsin.records.record import VerifiedRecord
from tocsin.records.retraction import VerifiedRetraction
from tocsin.release.ledger import entry_of
from tocsin.release.office import Office
from tocsin.tlog.checkpoint import parse_checkpoint
from tocsin.tlog.entry import id_half
from tocsin.tlog.judgement import earliest_cosigned, quorum_of
from tocsin.tlog.log import TransparencyLog

BEFORE_ANY: int = 0
"""For `verify`: as if it had been logged before any key was revoked. Whoever says so asks here afterwards."""


def verify_known_in_time(
    office: Office, origin: Organisation, issued: VerifiedRecord | VerifiedRetraction, *, now: int
) -> None:
    """Verify that what was signed with a key that is revoked was known before it was; anything else passes.

    Raises RecordQuarantined.
    """
    key = origin.record_keys[issued.key_id]
    if key.revoked_at is None:
        return
    since = logged_since(office, origin, issued, now=now)
    if since is None or since >= key.revoked_at:
        raise RecordQuarantined(
            f"{origin.org} has revoked the key that signed it, and nobody that counts here knew it before",
            hint="it is taken when a cosignature from before comes; else its origin signs it again",
        )


def logged_since(
    office: Office, origin: Organisation, issued: VerifiedRecord | VerifiedRetraction, *, now: int
) -> int | None:
    """Return since when witnesses that count here stand behind a log that has it; None: none of them does."""
    logs, entry = office.store.logs, entry_of(issued)
    quorum = office.quorum() or quorum_of(office.organisation.witness_vkeys)
    for one in logs.named(origin.org, id_half(entry)):
        if one.entry == entry:
            log = TransparencyLog(logs, origin.org)
            rows = [row for row in logs.checkpoints(origin.org, least=one.number + 1) if row.size <= log.size]
            # What was read before people went on with the origin may be of another history.
            read = [(row, parse_checkpoint(row.checkpoint).checkpoint.root) for row in rows]
            notes = [row.checkpoint for row, root in read if log.root(row.size) == root]
            name, vkeys = log_name(origin.org), named_log_vkeys(origin)
            return earliest_cosigned(notes, index=one.number, origin=name, vkeys=vkeys, quorum=quorum, now=now)
    return None
