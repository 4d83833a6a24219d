"""This module holds the values that go into the store and come out of it.

Times are unix seconds. A `digest` is the record digest: the name of one
version of one record, whatever of it is disclosed here.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tocsin.identity.names import OrgId

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 500  # what a listing may hold; a larger number asked for is cut to it (AIP-158)


class Standing(StrEnum):
    """Say whether a version is what its origin says today."""

    CURRENT = "current"
    REPLACED = "replaced"  # a later version is held
    EQUIVOCAL = "equivocal"  # its origin signed another record with the same id and version: evidence, never shown


class Added(StrEnum):
    """Say what adding a record did."""

    NEW = "new"
    GROWN = "grown"  # held before, with fewer fields
    UNCHANGED = "unchanged"
    EQUIVOCATION = "equivocation"  # kept as evidence beside the other record of this id and version


class EntryKind(StrEnum):
    """Say what an entry of a feed carries."""

    RECORD = "record"
    DISCLOSURES = "disclosures"
    VOID = "void"


class Outcome(StrEnum):
    """Say what became of an entry that a peer sent."""

    STORED = "stored"
    GROWN = "grown"
    UNCHANGED = "unchanged"
    VOID = "void"
    REFUSED = "refused"


class PeerState(StrEnum):
    """Say where a peering stands."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class PeerRole(StrEnum):
    """Say what a peer may do."""

    MEMBER = "member"
    READER = "reader"


class WithheldPath(NamedTuple):
    """Name a field that the sender of a record said it withheld."""

    path: str
    reason: str  # empty: not told


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """Hold one version of a record as this node may read it.

    `token` is the SD-JWT text held, `content_json` what it discloses.
    `received_from` is empty for an own record.
    """

    digest: str
    issuer: str
    record_id: str
    version: int
    supersedes: str
    kind: str
    status: str
    tlp: str
    pap: str
    permitted_use: tuple[str, ...]
    relay: str
    retention_until: str
    issued_at: int
    expires_at: int | None
    key_id: str
    title: str
    severity: str
    received_from: str
    stored_at: int
    standing: Standing
    token: str
    content_json: str

    @property
    def own(self) -> bool:
        """Say whether this organisation is the origin."""
        return not self.received_from

    @property
    def content(self) -> dict[str, object]:
        """Return what is disclosed here, as claims."""
        content: dict[str, object] = json.loads(self.content_json)
        return content


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Narrow a listing; an empty member does not narrow."""

    kind: str = ""
    issuer: str = ""
    since: int = 0  # signed at this time or later
    tlp: str = ""
    severity: str = ""


@dataclass(frozen=True, slots=True)
class RecordList:
    """Hold one page of a listing."""

    records: tuple[StoredRecord, ...]
    next_page_token: str  # empty: that was all
    total: int  # how many match in all


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Count the current records."""

    own: int
    received: int


class Position(NamedTuple):
    """Point behind an entry of a feed; `sequence` 0 points before the first."""

    feed_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Feed:
    """Say how far a partner's feed has gone."""

    partner: str
    feed_id: str
    head: int  # the last sequence number given
    acknowledged: int  # the last one that the partner says it has stored


@dataclass(frozen=True, slots=True)
class Basis:
    """Say on what a send rested, so that it can be explained for as long as the record lives."""

    rule: str
    file: str
    line: int
    policy_digest: str  # of the policy file as it was
    agreement: str
    withheld: tuple[tuple[str, str, str], ...]  # path, reason, why


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """Hold an entry that has its number; `disclosed` is what it carried when it was last sent."""

    sequence: int
    kind: EntryKind
    digest: str
    disclosed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Send:
    """Hold one line of the history of sends: what went, to whom, and on what basis."""

    partner: str
    sequence: int
    kind: EntryKind
    digest: str
    disclosed: tuple[str, ...]
    basis: Basis
    sent_at: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Say what became of one entry of a peer's feed."""

    sequence: int
    outcome: Outcome
    digest: str = ""
    reason: str = ""  # reason code of a refusal, or EQUIVOCATION on a record kept as evidence


@dataclass(frozen=True, slots=True)
class Refusal:
    """Hold an entry of a peer's feed that was refused."""

    peer: str
    sequence: int
    digest: str
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class PeerRow:
    """Hold an organisation that this node knows, and how the exchange with it goes."""

    org: OrgId
    role: PeerRole
    state: PeerState
    document: bytes  # its identity document
    last_received_at: int | None = None
    last_sent_at: int | None = None
    last_error_reason: str = ""  # empty: nothing has gone wrong since something last went right
    last_error: str = ""
    last_error_at: int | None = None


@dataclass(frozen=True, slots=True)
class PeerCounts:
    """Count what went to and came from one peer."""

    records_received: int
    entries_refused: int
    entries_sent: int
    entries_acknowledged: int
    waiting: int
