"""This module enters what the organisation issues in its transparency log: every version, and every retraction.

The entry is kept in the transaction that keeps what it is about, and the
checkpoint over it is signed there: what is issued is logged, or is not issued.
Nothing of the content is in an entry; it stays when the content is purged.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

from tocsin.encoding import decode_base64url
from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord
from tocsin.records.retraction import VerifiedRetraction
from tocsin.store.evidence import RetractionRow
from tocsin.store.model import PeerState, Standing, StoredRecord
from tocsin.store.protocol import Store
from tocsin.tlog.entry import id_half, record_entry, retraction_entry
from tocsin.tlog.log import OwnLog, TransparencyLog
from tocsin.tlog.proof import format_proof

PUT_BACK: Final = "this home was put back to an earlier state, and its log waits for those who may have seen more of it"

Issued: TypeAlias = VerifiedRecord | VerifiedRetraction | RetractionRow


def entry_of(issued: Issued) -> bytes:
    """Return the entry of a version or a retraction."""
    digest = decode_base64url(issued.digest)
    if isinstance(issued, VerifiedRecord):
        return record_entry(issued.record_id, issued.version, digest)
    return retraction_entry(issued.record_id, issued.version, issued.action, digest)


def is_logged(store: Store, stored: StoredRecord) -> bool:
    """Say whether what may go of a record is in what is read of its origin's log: itself, or what took it back."""
    if stored.own:  # it was entered in the transaction that stored it
        return True
    retractions = () if stored.standing is Standing.CURRENT else store.retractions.of(stored.issuer, stored.record_id)
    digest = decode_base64url(stored.digest)
    entry = entry_of(retractions[0]) if retractions else record_entry(stored.record_id, stored.version, digest)
    return TransparencyLog(store.logs, OrgId(stored.issuer)).has(entry)


class Proofs:
    """Prove that what was issued was logged, all in one transaction: each log is read as it is there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, str] = {}

    def of(self, issued: Issued) -> str:
        """Return the C2SP tlog-proof that its origin has logged it; empty: what is held of its log lacks it."""
        self.prepare((issued,))
        return self._made[issued.digest]

    def prepare(self, issued: Iterable[Issued]) -> None:
        """Make the proofs of several things together: what they share is read and computed once."""
        entries: dict[str, dict[str, bytes]] = {}
        for one in issued:
            if one.digest in self._made:
                continue
            entries.setdefault(one.issuer, {})[one.digest] = entry_of(one)
        for issuer, of in entries.items():
            proofs = TransparencyLog(self._store.logs, OrgId(issuer)).prove_all(tuple(of.values()))
            self._made |= {digest: format_proof(proofs[e]) if e in proofs else "" for digest, e in of.items()}


def enter_earlier(store: Store, log: OwnLog, *, now: int) -> int:
    """Enter what was issued before there was a log, when its home is opened; return how many entries that made.

    Where the log has begun everything that was issued is in it; where it waits
    (`hold`), what it lacks is entered when it goes on.
    """
    with store.transaction():
        is_begun = log.size or store.logs.get(log.org).stopped
        return 0 if is_begun else enter_missing(store, log, now=now)


def enter_missing(store: Store, log: OwnLog, *, now: int) -> int:
    """Enter what was issued and is not in the log, in the order in which it was; return how many entries that made.

    It reads everything that was issued.
    """
    with store.transaction():
        issued = [
            record_entry(record_id, version, decode_base64url(digest))
            for record_id, version, digest in store.records.own_versions()
        ]
        issued += [entry_of(row) for row in store.retractions.issued(log.org) if not row.received_from]
        entries = [entry for entry in issued if not store.logs.named(log.org, id_half(entry))]
        if entries:
            log.issue(*entries, now=now)
        return len(entries)


def hold(store: Store, org: OrgId, *, why: str, now: int) -> None:
    """Issue nothing, and send nothing, until every active peer has said how much of our log it has seen.

    Where there is nobody to wait for, nothing is held.
    """
    with store.transaction():
        peers = [peer.org for peer in store.peers.list() if peer.state is PeerState.ACTIVE]
        if peers:
            store.logs.stop(org, why, now=now)
            store.logs.await_word(peers)


def note_restored(store: Store, org: OrgId, *, now: int) -> None:
    """Take note that a store was put back from a backup: it waits, and asks for what it has lost."""
    with store.transaction():
        store.note_restored(now=now)
        hold(store, org, why=PUT_BACK, now=now)


def go_on(store: Store, log: OwnLog, *, now: int) -> None:
    """Issue again, behind all that was found of our log, and enter what it lacks."""
    with store.transaction():
        store.logs.resume(log.org, now=now)
        enter_missing(store, log, now=now)
