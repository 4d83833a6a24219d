"""This module shows records: what the organisation said, and what others said to it."""

from tocsin.desk.messages import listed_message, stored_message
from tocsin.desk.room import Room
from tocsin.errors import MalformedRequest
from tocsin.identity.names import parse_org
from tocsin.schema.contract import choices, enum_claim
from tocsin.store.model import RecordFilter
from tocsin.v1 import desk_service_pb2 as v1

MOST_FULL = 20
"""Records with everything in them that are returned at once: one takes up to 3 MiB of a message of 64 MiB, and a peer
may send nothing but such."""


class Reading:
    """Lists, shows and finds records."""

    def __init__(self, room: Room) -> None:
        self._store = room.home.store

    def list_records(self, request: v1.ListRecordsRequest) -> v1.ListRecordsResponse:
        """List current records, newest first; raises MalformedRequest and MalformedName for a filter that is none."""
        size = _size(request.page_size)
        if request.full:
            size = min(size or MOST_FULL, MOST_FULL)
        found = self._store.records.list(_filter(request), page_size=size, page_token=request.page_token)
        if request.full:
            records = [stored_message(record, self._store, with_token=True) for record in found.records]
        else:
            records = [listed_message(record, self._store) for record in found.records]
        return v1.ListRecordsResponse(records=records, next_page_token=found.next_page_token, total=found.total)

    def get_record(self, request: v1.GetRecordRequest) -> v1.GetRecordResponse:
        """Return one record; raises NotFound, or Conflict where the id is the beginning of several."""
        record = self._store.records.find(request.id, version=request.version)
        return v1.GetRecordResponse(record=stored_message(record, self._store, with_token=request.with_token))

    def search_records(self, request: v1.SearchRecordsRequest) -> v1.SearchRecordsResponse:
        """Find current records by the words they contain, best first."""
        found = self._store.records.search(request.text, limit=_size(request.limit))
        return v1.SearchRecordsResponse(records=[listed_message(record, self._store) for record in found])


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


def _size(size: int) -> int:
    if size < 0:
        raise MalformedRequest(f"{size} records cannot be returned", hint="0 means 50; more than 500 is cut to 500")
    return size
