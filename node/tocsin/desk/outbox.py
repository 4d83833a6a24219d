"""This module says what is on its way to whom, and why it is not there yet.

    queued      it goes with the next page that the partner takes
    held        a time has to come first: the end of a hold, an embargo, a date in a rule
    in review   people have to agree first
    in flight   it went, and the partner has not acknowledged it
    refused     the partner has acknowledged it, and refused it

Policy and gate are asked as they will be for the page. Nothing of a record that
is over is on its way but the word that it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tocsin.desk.lookup import find_peer
from tocsin.desk.room import Room
from tocsin.desk.title import name_of
from tocsin.desk.waiting import find_wait
from tocsin.exchange.circuit import Contacts, ContactState
from tocsin.identity.names import OrgId
from tocsin.policy.decide import Denial
from tocsin.records.record import VerifiedRecord
from tocsin.release.ledger import is_logged
from tocsin.release.office import Office
from tocsin.release.terms import read_terms
from tocsin.store.model import (
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
    PeerState,
    Proposal,
    Standing,
    StoredRecord,
    Waiting,
)
from tocsin.store.protocol import Store
from tocsin.v1 import desk_service_pb2 as v1

_BEFORE_ALL = ("", "", -1, -1)


class Outbox:
    """Shows what has not arrived."""

    def __init__(self, room: Room, contacts: Contacts) -> None:
        self._room = room
        self._store = room.home.store
        self._contacts = contacts

    def list_outbox(self, request: v1.ListOutboxRequest) -> v1.ListOutboxResponse:
        """List what is on its way, by partner and then by record.

        Raises MalformedName and NotFound for a partner that is none, MalformedRequest for a wrong token.
        """
        partner = find_peer(self._store, request.partner).org if request.partner else ""
        size = min(request.page_size if request.page_size > 0 else PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        found = self._store.feeds.deliveries(partner, after=request.page_token, limit=size + 1)
        after = _place(found[-1]) if len(found) > size else None
        reviewed = self._only_reviewed(partner, behind=_parsed(request.page_token), before=after)
        rows = sorted((*found, *reviewed), key=_place)
        today = _Today(self._room.office.at_once(), self._contacts, now=self._room.clock())
        return v1.ListOutboxResponse(
            deliveries=[today.message(row) for row in rows[:size]],
            next_page_token=" ".join(map(str, _place(rows[size - 1]))) if len(rows) > size else "",
        )

    def _only_reviewed(
        self, partner: str, *, behind: tuple[str, str, int, int], before: tuple[str, str, int, int] | None
    ) -> Iterator[Waiting]:
        """Yield what waits for nothing but people: the proposals say it, and no feed does."""
        for proposal in self._store.reviews.list(open_only=True):
            if not isinstance(proposal, Proposal):
                continue
            for item in read_terms(proposal).items:
                row = Waiting(item.partner, proposal.digest, proposal.proposed_at)
                is_here = behind < _place(row) and (before is None or _place(row) <= before)
                if partner in ("", item.partner) and is_here and not on_its_way(self._store, item.partner, row.digest):
                    yield row


def on_its_way(store: Store, partner: str, digest: str) -> tuple[Waiting, ...]:
    """Return where one record stands on its way to one partner."""
    return store.feeds.deliveries(partner, digest=digest, after="", limit=_MOST_OF_ONE)


_MOST_OF_ONE = 32
"""Rows about one record and one partner: a candidate, times at which it is looked at again, entries that went."""


@dataclass(frozen=True, slots=True)
class _Today:
    """What policy, gate and contacts say now; each record is read and verified once."""

    office: Office
    contacts: Contacts
    now: int
    _records: dict[str, VerifiedRecord | None] = field(default_factory=dict)

    def message(self, row: Waiting) -> v1.Delivery:
        """Say where a delivery stands, and why."""
        stored = self.office.store.records.get(row.digest)
        message = v1.Delivery(
            partner=row.partner,
            digest=row.digest,
            record_id=stored.record_id,
            title=name_of(stored),
            sequence=row.sequence,
        )
        message.since.FromSeconds(row.since)
        if row.outcome is not None:
            message.state = v1.DELIVERY_STATE_REFUSED
            message.why = f"{row.partner} refused it: {row.reason or row.outcome}"
        elif row.sequence:
            message.state = v1.DELIVERY_STATE_IN_FLIGHT
            message.why = f"it went, and {row.partner} has not acknowledged it{self._contact(row.partner)}"
        else:
            self._write_waiting(message, stored, row)
        return message

    def _write_waiting(self, message: v1.Delivery, stored: StoredRecord, row: Waiting) -> None:
        """Write what a record that has no number yet waits for."""
        partner = OrgId(row.partner)
        message.state = v1.DELIVERY_STATE_HELD if row.due_at else v1.DELIVERY_STATE_QUEUED
        if row.due_at:
            message.until.FromSeconds(row.due_at)
        record = self._load(row.digest)
        if record is None:
            message.why = self._over(stored, partner)
            return
        decision = self.office.decide(record, partner=partner, now=self.now)
        wait = find_wait(
            self.office,
            record,
            decision,
            policies=self.office.policies(),
            partner=partner,
            recipients=self.office.store.records.recipients(row.digest),
            granted=self.office.store.feeds.granted(partner, row.digest),
            now=self.now,
        )
        if wait is not None:
            message.state = v1.DELIVERY_STATE_IN_REVIEW if wait.needed else v1.DELIVERY_STATE_HELD
            message.review, message.why = wait.review, wait.why
            if wait.not_before:
                message.until.FromSeconds(wait.not_before)
        elif decision.delivered:
            message.why = "it is looked at again then" if row.due_at else self._next_page(partner, row.digest)
        elif decision.denial is Denial.CLOCK:
            message.why = decision.why
        else:
            message.why = f"nothing of it goes today: {decision.why}"

    def _load(self, digest: str) -> VerifiedRecord | None:
        if digest not in self._records:
            self._records[digest] = self.office.load(digest, now=self.now)
        return self._records[digest]

    def _over(self, stored: StoredRecord, partner: OrgId) -> str:
        """Say what goes of a record that is over."""
        if stored.standing is Standing.CURRENT:
            return "nothing of it is sent any more: it has expired, or its key was revoked"
        return f"{partner} is told that it is {stored.standing}; {self._next_page(partner, stored.digest)}"

    def _next_page(self, partner: OrgId, digest: str) -> str:
        """Say when a partner takes the next page, if a record can go with it."""
        stored = self.office.store.records.get(digest)
        if not is_logged(self.office.store, stored):
            return f"it cannot be proved: what is read of the log of {stored.issuer} does not have it"
        states = {peer.org: peer.state for peer in self.office.store.peers.list()}
        state = states.get(partner, PeerState.REMOVED)
        if state is not PeerState.ACTIVE:
            return f"nothing is sent to {partner} while its peering is {state}"
        return f"it goes with the next page that {partner} takes{self._contact(partner)}"

    def _contact(self, partner: str) -> str:
        """Say that a partner does not answer, where it does not."""
        contact = self.contacts.of(OrgId(partner))
        if contact is None or not contact.failures or contact.state is ContactState.IN_TOUCH:
            return ""
        return f"; it did not answer {contact.failures} times in a row, and is called again"


def _place(row: Waiting) -> tuple[str, str, int, int]:
    """Return the place of a row in the listing."""
    return row.partner, row.digest, row.sequence, row.due_at


def _parsed(token: str) -> tuple[str, str, int, int]:
    """Return the place behind which a page begins; the store has refused what is none."""
    if not token:
        return _BEFORE_ALL
    partner, digest, sequence, due_at = token.split(" ")
    return partner, digest, int(sequence), int(due_at)
