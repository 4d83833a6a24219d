"""This module says what an entry of the decision log is, and chains it to the one before.

An entry is written as JSON text, its body:

    {"seq": 7, "at": 1790000000, "act": "sent", "person": "", "partner": "aisi.example", "digest": "…",
     "details": {"rule": "severe cyber findings", "disclosed": ["title", …], …}}

    hash = base64url(SHA-256(hash of the entry before ‖ body))            the first entry has nothing before it

`person` is empty where the node itself did it. Details are ids, field paths,
rule names, hashes and codes: never a value of a record, and nothing that
people write to one another. Everybody who may read the log may know them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from tocsin.encoding import JSON, dump_json, encode_base64url, parse_json
from tocsin.errors import AuditInconsistent, MalformedEncoding
from tocsin.store.model import AuditRow

DAMAGED_HINT = "keep a copy of the store as it is, and compare it with an export or a backup made earlier"


class Event(StrEnum):
    """What can be an entry of the decision log."""

    FOUNDED = "founded"  # the home, and its first person
    SEALED = "sealed"  # entries that an earlier version kept without a chain are covered from here on
    POSTED = "posted"
    OVERRIDDEN = "overridden"  # somebody let content go that the linter would have stopped
    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    VOIDED = "voided"  # a proposal, because what it is about has changed
    RELEASED = "released"
    SENT = "sent"
    NARROWED = "narrowed"  # an entry of a feed went again with fewer fields
    WITHDRAWN = "withdrawn"  # an entry of a feed became void
    REVEALED = "revealed"
    REQUESTED = "requested"
    DECLINED = "declined"
    POLICY_APPLIED = "policy-applied"
    PEER_ADDED = "peer-added"
    PEER_CHANGED = "peer-changed"
    PERSON_ADDED = "person-added"
    PERSON_CHANGED = "person-changed"
    PERSON_REMOVED = "person-removed"
    PERSON_RECOVERED = "person-recovered"
    DUE = "due"  # the time of a hold, an embargo or a marking came
    ERASED = "erased"
    AMENDED = "amended"
    RETRACTED = "retracted"
    PURGED_BY_ORIGIN = "purged-by-origin"  # what was held of another's record is deleted, as its origin asked
    PURGE_DECLINED = "purge-declined"  # an origin asked, and what is held stays: policy says that it must
    RECEIPT_REFUSED = "receipt-refused"
    KEY_ROTATED = "key-rotated"
    ROLLED_BACK = "rolled-back"  # a cursor proved that the store is an earlier state of itself
    RESTORED = "restored"  # the home was built from a backup
    RECOVERED = "recovered"  # a peer gave back what it held of ours
    ORIGIN_STOPPED = "origin-stopped"  # an origin was caught with two histories of its log
    LOG_HELD = "log-held"  # our own log waits for peers to say how long it was
    LOG_RESUMED = "log-resumed"  # people, or all peers, have said to go on with a log


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened, without its place in the log."""

    event: Event
    person: str = ""
    partner: str = ""
    digest: str = ""
    details: Mapping[str, JSON] = field(default_factory=dict)


def chain(entry: Entry, *, after: AuditRow | None, now: int) -> AuditRow:
    """Return the row of an entry behind another one; it carries no seal."""
    sequence, before = (after.sequence + 1, after.hash) if after else (1, "")
    members = _members(sequence, now, entry.event.value, entry.person, entry.partner, entry.digest)
    body = dump_json(members | {"details": dict(entry.details)}).decode()
    return AuditRow(
        sequence=sequence,
        at=now,
        act=entry.event.value,
        person=entry.person,
        partner=entry.partner,
        digest=entry.digest,
        body=body,
        hash=hash_of(body, before=before),
        seal="",
    )


def verify_chained(row: AuditRow, *, after: AuditRow | None) -> dict[str, JSON]:
    """Verify that a row follows another one and says what its body says, and return its details.

    1. Its place is the next one.
    2. Its body is an entry, and every column repeats what stands there.
    3. Its hash covers the hash before it and the body.

    The caller must still find a seal at or behind the row: anybody can chain.

    Raises AuditInconsistent.
    """
    sequence, before = (after.sequence + 1, after.hash) if after else (1, "")
    if row.sequence != sequence:  # 1
        raise inconsistent(sequence, f"is missing: entry {row.sequence} stands in its place")
    try:
        body = parse_json(row.body.encode())
    except (MalformedEncoding, UnicodeEncodeError):
        raise inconsistent(sequence, "is not an entry") from None
    members = _members(row.sequence, row.at, row.act, row.person, row.partner, row.digest)
    details = body.pop("details", None) if isinstance(body, dict) else None
    if body != members or not isinstance(details, dict):  # 2
        raise inconsistent(sequence, "does not say what its body says")
    if row.hash != hash_of(row.body, before=before):  # 3
        raise inconsistent(sequence, "is not the one that was written: its hash is another")
    return details


def hash_of(body: str, *, before: str) -> str:
    """Return the hash of an entry; a body begins with a brace, so it is clear where the hash before it ends."""
    return encode_base64url(sha256(f"{before}{body}".encode()).digest())


def inconsistent(sequence: int, what: str) -> AuditInconsistent:
    """Return the error that an entry is not what it was."""
    return AuditInconsistent(f"entry {sequence} of the decision log {what}", hint=DAMAGED_HINT)


def _members(sequence: int, at: int, act: str, person: str, partner: str, digest: str) -> dict[str, JSON]:
    return {"seq": sequence, "at": at, "act": act, "person": person, "partner": partner, "digest": digest}
