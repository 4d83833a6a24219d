"""This module turns what the rooms below hold into messages of the contract.

A record's message holds what this node may read of it and nothing else: it is
made of the stored holding, never of anything behind it.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from tocsin.desk.title import name_of, severity_of, title_of
from tocsin.exchange.circuit import Contacts, ContactState
from tocsin.identity.details import RecordKey
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.policy.decide import Decision
from tocsin.policy.explain import Explanation
from tocsin.policy.matrix import Cell
from tocsin.policy.model import Problem
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.release.gate import Wait
from tocsin.release.presentation import presentation
from tocsin.schema.contract import SCHEMA, Disclosure, enum_number
from tocsin.store.model import PeerCounts, PeerRow, Standing, StoredRecord, WithheldPath
from tocsin.store.protocol import Store
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

VERIFIED = "verified"

_STANDINGS: Mapping[Standing, v1.Standing.ValueType] = MappingProxyType(
    {
        Standing.CURRENT: v1.STANDING_CURRENT,
        Standing.REPLACED: v1.STANDING_REPLACED,
        Standing.EQUIVOCAL: v1.STANDING_EQUIVOCAL,
        Standing.WITHDRAWN: v1.STANDING_WITHDRAWN,
        Standing.PURGED: v1.STANDING_PURGED,
    }
)

_CONTACTS: Mapping[ContactState, v1.ContactState.ValueType] = MappingProxyType(
    {
        ContactState.IN_TOUCH: v1.CONTACT_STATE_IN_TOUCH,
        ContactState.CALLING: v1.CONTACT_STATE_CALLING,
        ContactState.WAITING: v1.CONTACT_STATE_WAITING,
    }
)


def organisation_message(organisation: Organisation) -> v1.Organisation:
    """Return an organisation as its identity document states it."""
    message = v1.Organisation(
        org=organisation.org,
        name=organisation.name,
        kind=claim_value("OrganisationKind", organisation.kind),
        fingerprint=organisation.fingerprint,
        version=organisation.version,
        endpoints=organisation.endpoints,
        contact=organisation.contact,
        record_keys=_keys(organisation.record_keys.values()),
        delivery_keys=_keys(organisation.delivery_keys.values()),
        certificate_pins=sorted(organisation.pins),
    )
    message.expires_at.FromSeconds(organisation.expires)
    return message


def _keys(keys: Iterable[RecordKey]) -> list[v1.PublicKey]:
    return [v1.PublicKey(key_id=key.key_id, status=key.status) for key in keys]


def peer_message(row: PeerRow, organisation: Organisation, counts: PeerCounts) -> v1.Peer:
    """Return an organisation that the node knows, and how the exchange with it goes."""
    message = v1.Peer(
        organisation=organisation_message(organisation),
        role=claim_value("PeerRole", row.role),
        state=claim_value("PeerState", row.state),
        policy_file=f"policies/{row.org}.toml",
        records_received=counts.records_received,
        entries_refused=counts.entries_refused,
        entries_sent=counts.entries_sent,
        entries_acknowledged=counts.entries_acknowledged,
        waiting=counts.waiting,
    )
    if row.last_error_reason:
        message.last_error = f"{row.last_error_reason}: {row.last_error}"
    if row.last_received_at is not None:
        message.last_received_at.FromSeconds(row.last_received_at)
    if row.last_sent_at is not None:
        message.last_sent_at.FromSeconds(row.last_sent_at)
    return message


def write_contact(message: v1.Peer, contacts: Contacts) -> None:
    """Write how the contact with a peer goes, as far as this node has seen since it started."""
    org = OrgId(message.organisation.org)
    contact, ahead = contacts.of(org), contacts.clock_ahead(org)
    if contact is not None:
        message.contact = _CONTACTS[contact.state]
        message.failures = contact.failures
        if contact.next_attempt_at:
            message.next_attempt_at.FromSeconds(contact.next_attempt_at)
    if ahead is not None:
        message.clock_ahead = ahead


def envelope_message(record: StoredRecord | VerifiedRecord) -> record_pb2.Envelope:
    """Return the plain claims of a record; the schedule of its marking where the record itself is at hand."""
    schedule = record.downgrade_at if isinstance(record, VerifiedRecord) else ()
    return record_pb2.Envelope(
        iss=record.issuer,
        iat=record.issued_at,
        exp=record.expires_at or 0,
        record_id=record.record_id,
        version=record.version,
        supersedes=record.supersedes,
        kind=claim_value("RecordKind", record.kind),
        schema=SCHEMA,
        status=claim_value("RecordStatus", record.status),
        tlp=claim_value("Tlp", record.tlp),
        pap=claim_value("Pap", record.pap),
        permitted_use=[claim_value("PermittedUse", use) for use in record.permitted_use],
        relay=claim_value("Relay", record.relay),
        retention_until=record.retention_until,
        downgrade_at=[record_pb2.Downgrade(at=step.at, tlp=claim_value("Tlp", step.tlp)) for step in schedule],
    )


def listed_message(record: StoredRecord, store: Store) -> v1.Record:
    """Return a record as it stands in a list: enough to know which one it is, and that it is not whole."""
    message = v1.Record(
        digest=record.digest,
        envelope=envelope_message(record),
        title=name_of(record),
        severity=record.severity,
        own=record.own,
        received_from=record.received_from,
        key_id=record.key_id,
        marking=claim_value("Tlp", record.marking),
        author=record.author,
        standing=_STANDINGS[record.standing],
    )
    message.stored_at.FromSeconds(record.stored_at)
    message.withheld.extend(withheld_messages(store.intake.withheld(record.digest)))
    return message


def withheld_messages(withheld: Iterable[WithheldPath]) -> list[v1.WithheldField]:
    """Return what a partner is told, or we were told, is withheld."""
    messages = []
    for path, reason, until in withheld:
        message = v1.WithheldField(path=path, reason=reason)
        if until:
            message.until.FromSeconds(until)
        messages.append(message)
    return messages


def stored_message(
    record: StoredRecord, store: Store, *, verified: VerifiedRecord | None = None, signature: str, with_token: bool
) -> v1.Record:
    """Return everything that this node may read of a record, and how its signature stands today."""
    message = listed_message(record, store)
    message.signature = signature
    if verified is not None:
        message.envelope.CopyFrom(envelope_message(verified))
    message.content.update(record.content)  # type: ignore[arg-type]  # JSON, as it was stored
    message.versions.extend(store.records.versions(record.issuer, record.record_id))
    message.recipients.extend(sorted(store.records.recipients(record.digest)))
    if with_token:
        message.token = record.token
    return message


def own_message(record: VerifiedRecord, *, author: str, recipients: Iterable[str], now: int) -> v1.Record:
    """Return an own record in the moment in which it is posted."""
    message = seen_message(record, now=now)
    message.own = True
    message.author = author
    message.recipients.extend(sorted(recipients))
    message.stored_at.FromSeconds(now)
    return message


def seen_message(record: VerifiedRecord, *, now: int) -> v1.Record:
    """Return a record as its holder sees it, before any store has it."""
    message = v1.Record(
        digest=record.digest,
        envelope=envelope_message(record),
        title=title_of(record.kind, record.content, record_id=record.record_id),
        severity=severity_of(record.content),
        versions=[record.version],
        key_id=record.key_id,
        signature=VERIFIED,
        marking=claim_value("Tlp", record.marking_at(now)),
        standing=v1.STANDING_CURRENT,
    )
    message.content.update(record.content)
    return message


def preview_message(
    record: VerifiedRecord, decision: Decision, *, origin: Organisation, sender: OrgId, now: int
) -> v1.Record:
    """Return a record as a partner would see it by this decision, and what it would be told of the rest.

    The presentation is verified like the partner does it, as of the day it was
    signed: what is shown is what verifies there.
    """
    seen = parse_record(presentation(record, decision)).verify(origin, now=record.issued_at)
    message = seen_message(seen, now=now)
    message.received_from = sender
    told = (WithheldPath(field.path, field.reason, field.until) for field in decision.told)
    message.withheld.extend(withheld_messages(told))
    return message


def waiting_message(partner: str, wait: Wait) -> v1.Waiting:
    """Return what a release to a partner waits for."""
    message = v1.Waiting(
        partner=partner,
        approvals_needed=wait.needed,
        approved_by=wait.approved_by,
        review=wait.review,
        why=wait.why,
    )
    if wait.not_before:
        message.not_before.FromSeconds(wait.not_before)
    return message


def problem_message(problem: Problem) -> v1.PolicyProblem:
    """Return something wrong in a policy file."""
    return v1.PolicyProblem(file=problem.file, line=problem.line, message=problem.shown)


def verdict_messages(explanation: Explanation) -> list[v1.FieldVerdict]:
    """Return what becomes of each field."""
    messages = []
    for field in explanation.fields:
        message = v1.FieldVerdict(
            path=field.path,
            shared=field.shared,
            disclosure=disclosure_value(field.disclosure),
            why=field.why,
            reason=field.reason,
        )
        if field.until:
            message.until.FromSeconds(field.until)
        messages.append(message)
    return messages


def cell_message(cell: Cell) -> v1.PolicyCell:
    """Return how far records of a kind and a marking go to a partner."""
    return v1.PolicyCell(
        partner=cell.partner,
        kind=claim_value("RecordKind", cell.kind),
        tlp=claim_value("Tlp", cell.tlp),
        classes=disclosure_value(cell.classes),
        withheld=cell.withheld,
        conditional=cell.conditional,
        hold_seconds=cell.hold,
        approvals=cell.approvals,
        rule=cell.rule,
        file=cell.file,
        line=cell.line,
        relayed=cell.relayed,
    )


def disclosure_value(disclosure: Disclosure | None) -> Any:  # noqa: ANN401 - the stubs give each enum a type of its own
    """Return the number of a disclosure class."""
    return record_pb2.DisclosureClass.Value(f"DISCLOSURE_CLASS_{disclosure.name if disclosure else 'UNSPECIFIED'}")


def claim_value(enum: str, claim: str) -> Any:  # noqa: ANN401 - the stubs give each enum a type of its own
    """Return the number of an enum value, with the type of its field."""
    return enum_number(enum, claim)
