"""This module holds the values that go into the store and come out of it.

Times are unix seconds. A `digest` is the record digest: the name of one
version of one record, whatever of it is disclosed here.
"""

import json
from collections.abc import Mapping
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
    WITHDRAWN = "withdrawn"  # its origin has taken it back
    PURGED = "purged"  # the same, and what was held of it is deleted


class Added(StrEnum):
    """Say what adding a record did."""

    NEW = "new"
    GROWN = "grown"  # held before, with fewer fields
    UNCHANGED = "unchanged"
    EQUIVOCATION = "equivocation"  # kept as evidence beside the other record of this id and version
    RETRACTED = "retracted"  # its origin had taken it back before it came; under a purge nothing of it is kept


class EntryKind(StrEnum):
    """Say what an entry of a feed carries."""

    RECORD = "record"
    DISCLOSURES = "disclosures"
    VOID = "void"
    RETRACTION = "retraction"


class Outcome(StrEnum):
    """Say what became of an entry that a peer sent."""

    STORED = "stored"
    GROWN = "grown"
    UNCHANGED = "unchanged"
    VOID = "void"
    REFUSED = "refused"
    RETRACTED = "retracted"  # a record that was retracted before it came
    APPLIED = "applied"  # a retraction, as it asks
    DECLINED = "declined"  # a purge, as far as it asks to delete; the record is withdrawn


class PeerState(StrEnum):
    """Say where a peering stands."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"
    KNOWN = "known"  # its keys are trusted, for records that others pass on; nothing is exchanged with it


class PeerRole(StrEnum):
    """Say what a peer may do."""

    MEMBER = "member"
    READER = "reader"


class WithheldPath(NamedTuple):
    """Name a field that the sender of a record said it withheld."""

    path: str
    reason: str  # empty: not told
    until: int = 0  # 0: not told


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
    token: str  # empty where its retention has ended
    content_json: str
    marking: str = ""  # what counts today: `tlp`, or what the signed schedule has lowered it to
    author: str = ""  # person who posted it; empty for a received record

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
    total: int  # how many match in all, counted up to `listing.MOST_COUNTED`
    more_than_total: bool


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Count the current records."""

    own: int
    received: int


class Position(NamedTuple):
    """Point behind an entry of a feed; `sequence` 0 points before the first.

    `tag` was made at random with the number: a store that was put back to an
    earlier state gives the number again, with another tag.
    """

    feed_id: str
    sequence: int
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Feed:
    """Say how far a partner's feed has gone."""

    partner: str
    feed_id: str
    head: int  # the last sequence number given
    acknowledged: int  # the last one that the partner says it has stored
    opened_at: int = 0
    acknowledged_at: int | None = None


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """Hold an entry that has its number.

    `disclosed` is what it carried when it was last sent: field paths, and of a
    retraction entry the digest of the retraction.
    """

    sequence: int
    kind: EntryKind
    digest: str
    disclosed: frozenset[str]
    tag: str = ""
    sent_at: int = 0  # when it first went


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


class ReviewState(StrEnum):
    """Say where a proposed release, or a partner's request, stands."""

    OPEN = "open"
    RELEASED = "released"  # enough people agreed; a request: something was revealed
    REJECTED = "rejected"
    VOID = "void"  # record, policy or recipients changed: what was agreed to is not what would go


@dataclass(frozen=True, slots=True)
class Proposal:
    """Hold what would go to whom, for people to agree to. `id` is the hash of `body`, the exact JSON text."""

    id: str
    digest: str
    body: str
    state: ReviewState
    proposed_by: tuple[str, ...]  # they may not approve it
    proposed_at: int
    approvals_needed: int


@dataclass(frozen=True, slots=True)
class Opinion:
    """Hold what one person decided about a proposal, under its signature."""

    person: str
    approves: bool
    statement: str  # tocsin-act+jwt
    at: int


@dataclass(frozen=True, slots=True)
class DisclosureRequest:
    """Hold what a partner asked for."""

    id: str
    peer: str
    digest: str
    paths: tuple[str, ...]
    why: str
    asked_at: int
    state: ReviewState


class DueKind(StrEnum):
    """Say what happens when its time has come."""

    HOLD = "hold"  # a delay before release is over
    EMBARGO = "embargo"  # an embargo, or a date until which a rule withholds, has passed
    DOWNGRADE = "downgrade"  # the marking is lowered, as signed
    RETENTION = "retention"  # what is held must go


@dataclass(frozen=True, slots=True)
class Due:
    """Hold one thing to be done; `partner` empty: for all of them."""

    kind: DueKind
    digest: str
    partner: str
    due_at: int


@dataclass(frozen=True, slots=True)
class PolicySetRow:
    """Hold one set of policy files that was put in force.

    `statement` covers the files that a person applied; a starter that the node
    added since is covered by being exactly the starter.
    """

    subject: str  # what the statement is on; the same for a set that only gained starters
    statement: str  # tocsin-act+jwt
    person: str
    files: Mapping[str, str]  # name -> text
    signed: frozenset[str]  # names that the statement covers
    applied_at: int
    replaces: str = ""  # subject of the set before, which the statement covers too; empty for the first one


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Hold one entry of the decision log as it is written: `body` is the exact text that `hash` covers."""

    sequence: int
    at: int
    act: str
    person: str
    partner: str
    digest: str
    body: str
    hash: str
    seal: str  # empty but on the last entry of a transaction


class NewEntry(NamedTuple):
    """An entry of a feed that is to get the next number."""

    kind: EntryKind
    digest: str
    disclosed: frozenset[str]
    tag: str


@dataclass(frozen=True, slots=True)
class Dealings:
    """What there is between us and a partner about a record.

    Whom the poster named (empty: not narrowed), which fields were revealed to
    the partner by name, and which went to it (None: the record never went, or
    is void); and whether the partner has asked for some, and waits.
    """

    recipients: frozenset[OrgId] = frozenset()
    granted: frozenset[str] = frozenset()
    sent: frozenset[str] | None = None
    asks: bool = False


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Say which entries of the decision log are wanted; empty and 0 mean no limit."""

    digest: str = ""
    partner: str = ""
    person: str = ""
    act: str = ""
    since: int = 0
    until: int = 0


class Taken(NamedTuple):
    """Count what came from a peer in some time."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Hold a record that waits for a partner, or went and is not acknowledged; see `protocol.Feeds.deliveries`."""

    partner: str
    digest: str
    since: int
    sequence: int = 0  # its place in the feed; 0: a candidate
    due_at: int = 0  # when it is looked at again; 0: it is a candidate, or went
    outcome: Outcome | None = None  # what the partner said; None: nothing yet
    reason: str = ""
