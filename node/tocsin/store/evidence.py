"""This module holds what organisations have signed: retractions, pages, receipts, and where their logs stand.

Each lies in the store as the exact text that was signed, beside what that text
says. Times are unix seconds.
"""

from dataclasses import dataclass

from tocsin.store.model import EntryKind, Outcome


@dataclass(frozen=True, slots=True)
class RetractionRow:
    """Hold a retraction as its origin signed it; of one record there may be several."""

    issuer: str
    record_id: str
    version: int
    action: str
    tlp: str
    reason: str
    successor: str
    issued_at: int
    digest: str  # of the token
    token: str
    received_from: str  # empty for an own one
    stored_at: int
    person: str = ""  # who retracted; empty for a received one


@dataclass(frozen=True, slots=True)
class PageRow:
    """Hold the statement of a page, by which a receipt for it is recognised."""

    digest: str  # of the statement
    statement: str
    feed_id: str
    first: int
    last: int
    at: int


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """Hold a receipt; `peer` is the other side, `given` says that we signed it."""

    peer: str
    given: bool
    chain: str
    number: int
    digest: str  # of the statement
    statement: str
    page: PageRow
    at: int
    refused: int = 0  # entries of the page that were refused or declined


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """Hold what a partner said of one entry of our feed for it."""

    partner: str
    sequence: int
    digest: str  # of the record that the entry is about
    kind: EntryKind
    outcome: Outcome
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class LogRow:
    """Hold where a transparency log stands, our own or one that we follow; sizes count entries.

    `checkpoint` is the newest one that was verified, with the cosignatures
    under it, and of `signed` entries; `cosigned` is the largest tree that we
    have cosigned, its root, and the time in our last cosignature. `stopped`
    says why nothing is taken from the origin, or why we ourselves issue
    nothing; empty: it is. Two histories that were shown until `resumed` are
    known to people here, who go on all the same.
    """

    origin: str  # the organisation
    size: int = 0
    checkpoint: str = ""
    signed: int = 0
    cosigned: int = 0
    cosigned_root: bytes = b""
    cosigned_at: int = 0
    stopped: str = ""
    resumed: int = 0
    at: int = 0


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """Hold a checkpoint of a log with cosignatures under it; `at` is when the last of them came."""

    size: int
    checkpoint: str
    at: int


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """Hold one entry of a log, from 0, as its 64 bytes."""

    number: int
    entry: bytes


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """Hold a bundle of evidence against an origin, as `tocsin.tlog.evidence` writes it."""

    origin: str
    kind: str
    digest: str  # of the bundle
    bundle: bytes
    at: int
