"""This module turns what the rooms below hold into messages of the contract.

A record's message holds what this node may read of it and nothing else: it is
made of the stored holding, never of anything behind it.
"""

from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import ParseDict

from tocsin.desk.title import one_line, severity_of, title_of
from tocsin.identity.details import RecordKey
from tocsin.identity.root import Organisation
from tocsin.records.record import VerifiedRecord
from tocsin.schema.contract import SCHEMA, enum_number
from tocsin.store.model import PeerCounts, PeerRow, StoredRecord
from tocsin.store.protocol import Store
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

VERIFIED = "verified"


def organisation_message(organisation: Organisation) -> v1.Organisation:
    """Return an organisation as its identity document states it."""
    message = v1.Organisation(
        org=organisation.org,
        name=organisation.name,
        kind=_value("OrganisationKind", organisation.kind),
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
        role=_value("PeerRole", row.role),
        state=_value("PeerState", row.state),
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


def envelope_message(record: StoredRecord | VerifiedRecord) -> record_pb2.Envelope:
    """Return the plain claims of a record."""
    return record_pb2.Envelope(
        iss=record.issuer,
        iat=record.issued_at,
        exp=record.expires_at or 0,
        record_id=record.record_id,
        version=record.version,
        supersedes=record.supersedes,
        kind=_value("RecordKind", record.kind),
        schema=SCHEMA,
        status=_value("RecordStatus", record.status),
        tlp=_value("Tlp", record.tlp),
        pap=_value("Pap", record.pap),
        permitted_use=[_value("PermittedUse", use) for use in record.permitted_use],
        relay=_value("Relay", record.relay),
        retention_until=record.retention_until,
    )


def listed_message(record: StoredRecord, store: Store) -> v1.Record:
    """Return a record as it stands in a list: enough to know which one it is, and that it is not whole."""
    message = v1.Record(
        digest=record.digest,
        envelope=envelope_message(record),
        title=one_line(record.title) or title_of(record.kind, record.content, record_id=record.record_id),
        severity=record.severity,
        own=record.own,
        received_from=record.received_from,
        key_id=record.key_id,
    )
    message.stored_at.FromSeconds(record.stored_at)
    for path, reason in store.intake.withheld(record.digest):
        message.withheld.add(path=path, reason=reason)
    return message


def stored_message(record: StoredRecord, store: Store, *, signature: str, with_token: bool) -> v1.Record:
    """Return everything that this node may read of a record, and how its signature stands today."""
    message = listed_message(record, store)
    message.signature = signature
    ParseDict(record.content, message.content)
    message.versions.extend(store.records.versions(record.issuer, record.record_id))
    message.recipients.extend(sorted(store.records.recipients(record.digest)))
    if with_token:
        message.token = record.token
    return message


def seen_message(record: VerifiedRecord) -> v1.Record:
    """Return a record as its holder sees it, before any store has it."""
    message = v1.Record(
        digest=record.digest,
        envelope=envelope_message(record),
        title=title_of(record.kind, record.content, record_id=record.record_id),
        severity=severity_of(record.content),
        versions=[record.version],
        key_id=record.key_id,
        signature=VERIFIED,
    )
    ParseDict(record.content, message.content)
    return message


def _value(enum: str, claim: str) -> Any:  # noqa: ANN401 - the stubs give each enum a type of its own
    """Return the number of an enum value."""
    return enum_number(enum, claim)
