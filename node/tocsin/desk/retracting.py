"""This module takes own records back, and shows what was taken back, by us and by others.

Retracting for good cannot be undone. The same again changes nothing and says
what is the case; withdrawing what is purged already is refused.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.desk.answers import answers_to, every_retraction
from tocsin.desk.lookup import find_own
from tocsin.desk.messages import claim_value
from tocsin.desk.room import Room
from tocsin.errors import Conflict, MalformedRequest, NotFound
from tocsin.exchange.retract import retract
from tocsin.people.person import Person
from tocsin.records.retraction import Action
from tocsin.schema.contract import enum_claim
from tocsin.store.evidence import RetractionRow
from tocsin.store.model import StoredRecord
from tocsin.store.protocol import Store
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

_ACTIONS: Mapping[int, Action] = MappingProxyType(
    {record_pb2.RETRACTION_ACTION_WITHDRAW: Action.WITHDRAW, record_pb2.RETRACTION_ACTION_PURGE: Action.PURGE}
)


class Retracting:
    """Takes back what the organisation said."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._store = room.home.store
        self._ours = room.home.organisation.org

    def retract_record(self, request: v1.RetractRecordRequest, caller: Person) -> v1.RetractRecordResponse:
        """Take an own record back for good, and tell everybody who was ever sent a version of it.

        Raises NotFound and Conflict for the record, NotPermitted where it is
        somebody else's, MalformedRequest for another action, and Conflict
        (RETRACTED) where more was done already.
        """
        action = _ACTIONS.get(request.action)
        if action is None:
            hint = "withdraw or purge it; to correct it, sign its next version with: tocsin amend ID FILE"
            raise MalformedRequest("it is not said how to retract the record", hint=hint)
        stored = find_own(self._store, request.id)
        before = strongest(self._store, stored)
        if before is not None and Action(before.action).rank >= action.rank:
            if before.action != action:
                hint = f"what became of it: tocsin retractions {stored.record_id}"
                raise Conflict(f"the record was retracted already: {before.action}", reason="RETRACTED", hint=hint)
            return v1.RetractRecordResponse(retraction=self._message(before, with_token=False))
        reason = enum_claim("RetractionReason", request.reason)
        if request.dry_run:
            return v1.RetractRecordResponse(retraction=self._rehearsed(stored, action, reason))

        retracted = retract(
            self._room.office,
            stored.digest,
            action=action,
            reason=reason,
            person=caller.name,
            signer=self._room.home.record_signer,
            now=self._room.clock(),
        )
        if retracted.told:
            self._room.events.queued(retracted.told)
        self._room.events.due_changed()
        kept = self._store.retractions.of(stored.issuer, stored.record_id)[0]
        return v1.RetractRecordResponse(retraction=self._message(kept, with_token=False))

    def list_retractions(self, request: v1.ListRetractionsRequest) -> v1.ListRetractionsResponse:
        """List retractions, newest first, corrections left out. Raises MalformedRequest for a wrong token."""
        rows, token = self._store.retractions.list(page_size=request.page_size, page_token=request.page_token)
        messages = [self._message(row, with_token=False) for row in rows]
        return v1.ListRetractionsResponse(retractions=messages, next_page_token=token)

    def get_retraction(self, request: v1.GetRetractionRequest) -> v1.GetRetractionResponse:
        """Return the strongest retraction of a record. Raises NotFound; Conflict where several records are meant."""
        try:
            stored = self._store.records.find(request.id)
        except NotFound:
            row = self._of_unknown(request.id)
        else:
            row = next(iter(self._store.retractions.of(stored.issuer, stored.record_id)), None)
        if row is None:
            raise NotFound("the record was not retracted", hint="list what was: tocsin retractions")
        return v1.GetRetractionResponse(retraction=self._message(row, with_token=True))

    def _of_unknown(self, name: str) -> RetractionRow | None:
        """Return the retraction of a record that never came here; its id must be whole."""
        return next((row for row in every_retraction(self._store) if row.record_id == name), None)

    def _rehearsed(self, stored: StoredRecord, action: Action, reason: str) -> v1.Retraction:
        """Return what would be signed, and who would be asked."""
        holders = self._store.feeds.holders(stored.issuer, stored.record_id)
        asked = sorted(holders.intersection(peer.org for peer in self._store.peers.list()))
        return v1.Retraction(
            issuer=stored.issuer,
            record_id=stored.record_id,
            version=stored.version,
            action=claim_value("RetractionAction", action.value),
            reason=claim_value("RetractionReason", reason),
            answers=[v1.Answer(partner=partner, state=v1.ANSWER_STATE_QUEUED) for partner in asked],
        )

    def _message(self, row: RetractionRow, *, with_token: bool) -> v1.Retraction:
        message = v1.Retraction(
            issuer=row.issuer,
            record_id=row.record_id,
            version=row.version,
            action=claim_value("RetractionAction", row.action),
            reason=claim_value("RetractionReason", row.reason),
            received_from=row.received_from,
            answers=answers_to(self._store, row) if row.issuer == self._ours else (),
            token=row.token if with_token else "",
        )
        message.at.FromSeconds(row.issued_at)
        return message


def strongest(store: Store, stored: StoredRecord) -> RetractionRow | None:
    """Return the retraction by which a record is over for good; None where it is not."""
    rows = store.retractions.of(stored.issuer, stored.record_id)
    return rows[0] if rows and rows[0].action != Action.CORRECT else None
