"""This module shows records: what the organisation said, and what others said to it."""

from tocsin.desk.lookup import load_record, origin_of
from tocsin.desk.messages import VERIFIED, listed_message, stored_message
from tocsin.desk.room import Room
from tocsin.errors import Malformed, MalformedRequest, RecordQuarantined, RecordRefused, StoreCorrupt, UntrustedIssuer
from tocsin.identity.names import parse_org
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.release.quarantine import BEFORE_ANY, verify_known_in_time
from tocsin.schema.contract import choices, enum_claim
from tocsin.store.model import RecordFilter, StoredRecord
from tocsin.v1 import desk_service_pb2 as v1

MOST_FULL = 20
"""Records with everything in them that are returned at once: one takes up to 3 MiB of a message of 64 MiB, and a peer
may send nothing but such."""


class Reading:
    """Lists, shows and finds records."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._home = room.home
        self._store = room.home.store

    def list_records(self, request: v1.ListRecordsRequest) -> v1.ListRecordsResponse:
        """List current records, newest first; raises MalformedRequest and MalformedName for a filter that is none."""
        size = request.page_size
        if request.full:
            size = min(size or MOST_FULL, MOST_FULL)
        found = self._store.records.list(_filter(request), page_size=size, page_token=request.page_token)
        if request.full:
            records = [self._whole(record, with_token=True) for record in found.records]
        else:
            records = [listed_message(record, self._store) for record in found.records]
        return v1.ListRecordsResponse(
            records=records,
            next_page_token=found.next_page_token,
            total=found.total,
            more_than_total=found.more_than_total,
        )

    def get_record(self, request: v1.GetRecordRequest) -> v1.GetRecordResponse:
        """Return one record; raises NotFound, Conflict where the id is the beginning of several, and StoreCorrupt."""
        record = self._store.records.find(request.id, version=request.version)
        return v1.GetRecordResponse(record=self._whole(record, with_token=request.with_token))

    def search_records(self, request: v1.SearchRecordsRequest) -> v1.SearchRecordsResponse:
        """Find current records by the words they contain, best first."""
        found = self._store.records.search(request.text, limit=request.limit)
        return v1.SearchRecordsResponse(records=[listed_message(record, self._store) for record in found])

    def _whole(self, record: StoredRecord, *, with_token: bool) -> v1.Record:
        """Verify what is held of a record once more, and return all of it; what stands in lists, where nothing is.

        Raises StoreCorrupt where it is not what was stored: SQLite's own check sees no damage inside a value.
        """
        if not record.token:
            message = listed_message(record, self._store)
            message.versions.extend(self._store.records.versions(record.issuer, record.record_id))
            return message
        signature, verified = VERIFIED, None
        try:
            verified = self._load(record)
            if verified.content != record.content:
                raise _damaged(record)
        except (UntrustedIssuer, RecordQuarantined) as error:
            signature = error.reason
        except (Malformed, RecordRefused) as error:
            raise _damaged(record) from error
        return stored_message(record, self._store, verified=verified, signature=signature, with_token=with_token)

    def _load(self, record: StoredRecord) -> VerifiedRecord:
        """Verify a record; one of another organisation, under a key that it has revoked, where it was known before."""
        try:
            return load_record(self._home, record)
        except UntrustedIssuer:
            if record.own:
                raise
        origin, office, now = origin_of(self._home, record.issuer), self._room.office, self._room.clock()
        verified = parse_record(record.token).verify(origin, now=record.issued_at, logged_at=BEFORE_ANY)
        verify_known_in_time(office, origin, verified, now=now)
        return verified


def _damaged(record: StoredRecord) -> StoreCorrupt:
    return StoreCorrupt(
        f"the record {record.digest} is not any more what was stored",
        hint="the disk has changed it: stop the node, and restore tocsin.db from a copy",
    )


def _filter(request: v1.ListRecordsRequest) -> RecordFilter:
    if request.severity and request.severity not in choices("Severity"):
        raise MalformedRequest(
            f"{request.severity[:40]!r} is no severity", hint=f"one of {', '.join(choices('Severity'))}"
        )
    return RecordFilter(
        kind=enum_claim("RecordKind", request.kind),
        issuer=parse_org(getattr(request, "from")) if getattr(request, "from") else "",
        since=request.since.ToSeconds() if request.HasField("since") else 0,
        tlp=enum_claim("Tlp", request.tlp),
        severity=request.severity,
    )
