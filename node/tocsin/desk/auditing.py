"""This module shows the decision log, and verifies it."""

from typing import Final

from tocsin.audit.log import verify_log
from tocsin.desk.room import Room
from tocsin.errors import MalformedRequest, NotFound
from tocsin.identity.names import parse_org
from tocsin.people.person import parse_person_name
from tocsin.store.model import AuditFilter, AuditRow
from tocsin.v1 import desk_service_pb2 as v1

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1000
DIGEST_LENGTH: Final = 43
"""Characters of a SHA-256 in base64url: a record that this node does not hold is still asked for by its digest."""


class Auditing:
    """Answers what was decided, by whom, and whether the log says so still."""

    def __init__(self, room: Room) -> None:
        self._home = room.home
        self._store = room.home.store

    def list_audit(self, request: v1.ListAuditRequest) -> v1.ListAuditResponse:
        """List entries of the decision log.

        Raises NotFound and Conflict for a record, MalformedName for a partner
        or a person, MalformedRequest for a page token that is none.
        """
        size = min(request.page_size if request.page_size > 0 else PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        behind = _sequence(request.page_token)
        rows = self._store.audit.list(
            self._filter(request),
            after=0 if request.newest_first else behind,
            before=behind if request.newest_first else 0,
            limit=size + 1,
            newest_first=request.newest_first,
        )
        shown = rows[:size]
        token = str(shown[-1].sequence) if len(rows) > size else ""
        entries = [entry_message(row, self._record_id(row.digest)) for row in shown]
        return v1.ListAuditResponse(entries=entries, next_page_token=token)

    def verify_audit(self, request: v1.VerifyAuditRequest) -> v1.VerifyAuditResponse:
        """Verify the chain and the seals of the whole log. Raises AuditInconsistent."""
        verified = verify_log(self._home.log.rows(), organisation=self._home.organisation)
        answer = v1.VerifyAuditResponse(entries=verified.entries, head=verified.head)
        answer.at.FromSeconds(verified.at)
        return answer

    def _filter(self, request: v1.ListAuditRequest) -> AuditFilter:
        return AuditFilter(
            digest=self._digest(request.record) if request.record else "",
            partner=parse_org(request.partner) if request.partner else "",
            person=parse_person_name(request.person) if request.person else "",
            act=request.act,
            since=request.since.ToSeconds() if request.HasField("since") else 0,
            until=request.until.ToSeconds() if request.HasField("until") else 0,
        )

    def _record_id(self, digest: str) -> str:
        try:
            return self._store.records.get(digest).record_id if digest else ""
        except NotFound:
            return ""

    def _digest(self, name: str) -> str:
        try:
            return self._store.records.find(name).digest
        except NotFound:
            if len(name) == DIGEST_LENGTH:
                return name
            raise


def entry_message(row: AuditRow, record_id: str = "") -> v1.AuditEntry:
    """Return an entry of the decision log as it is written, and the id by which people know its record."""
    message = v1.AuditEntry(
        sequence=row.sequence,
        act=row.act,
        person=row.person,
        partner=row.partner,
        digest=row.digest,
        body=row.body,
        hash=row.hash,
        seal=row.seal,
        record_id=record_id,
    )
    message.at.FromSeconds(row.at)
    return message


def _sequence(token: str) -> int:
    """Return where a page begins, which the page before said."""
    if token and not (token.isascii() and token.isdecimal() and len(token) < 19):
        raise MalformedRequest("the page token is not one of this listing", hint="begin again without one")
    return int(token or "0")
