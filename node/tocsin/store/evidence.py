"""This module holds what organisations have signed about what went between them: retractions, pages, receipts.

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
