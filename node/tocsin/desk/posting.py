"""This module posts: it checks drafts, signs them, stores the records and queues them for partners.

Each draft of a batch succeeds or fails alone, and what became of it is told in
its own result. A dry run goes the same way, signs with a key that is thrown
away, and ends before the store.

Some drafts are one transaction: storing, queueing, logging and remembering the
idempotency key. A record that was reported as posted is there after a crash,
exactly once, and the logs are signed once for all of them. What is wrong with a
draft mostly shows before anything of it is written, in what is read or found by
the linter (`desk.linting`); where one fails later, all of it is taken back, and
each draft is a transaction of its own.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from tocsin.desk.drafts import Order, parse_draft
from tocsin.desk.linting import Linted, lint_record, load_names
from tocsin.desk.messages import own_message
from tocsin.desk.outlook import (
    earlier_message,
    look_ahead,
    overridden,
    posted_message,
    refused_message,
    rehearsed_message,
)
from tocsin.desk.room import Room
from tocsin.errors import Malformed, MalformedRequest, ReleaseBlocked, StateConflict
from tocsin.exchange.publish import publish
from tocsin.identity.keys import generate_ed25519
from tocsin.identity.names import OrgId
from tocsin.identity.signer import FileSigner, Signer
from tocsin.people.person import Person
from tocsin.records.record import VerifiedRecord, issue
from tocsin.release.office import Office
from tocsin.v1 import desk_service_pb2 as v1

MOST_DRAFTS = 200
"""As the contract says: a batch answers within seconds, and a client sends many of them."""
AT_ONCE = 32
"""Drafts posted in one transaction: a thirtieth of a second, in which others wait to write. A draft costs twice as much
alone, and little less among more."""
AT_ONCE_BYTES = 256 * 1024
"""Of drafts posted in one transaction: a tenth of a second, since checking and signing takes time by length."""


class Posting:
    """Says something new in the organisation's name."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def post_records(self, request: v1.PostRecordsRequest, caller: Person) -> v1.PostRecordsResponse:
        """Sign, store and queue records, and tell whom something waits for.

        Raises MalformedRequest for too large a batch, NotPermitted where the
        caller leaves before its end (what was posted by then stays), and
        whatever is wrong with this node rather than with a draft.
        """
        if len(request.drafts) > MOST_DRAFTS:
            raise MalformedRequest(f"{len(request.drafts)} drafts at once; at most {MOST_DRAFTS} are allowed")
        names = load_names(self._room.home.layout)
        if request.dry_run:
            results = [self._rehearse(draft, names=names) for draft in request.drafts]
            return v1.PostRecordsResponse(results=results)
        results = []
        for drafts in _parts(request.drafts):
            results += self._post_together(drafts, caller, names=names)
        return v1.PostRecordsResponse(results=results)

    def _post_together(
        self, drafts: Sequence[v1.Draft], caller: Person, *, names: Collection[str]
    ) -> list[v1.PostedRecord]:
        """Post some drafts for good, and tell whom something waits for."""
        now = self._room.clock()
        try:
            with self._room.office.together(now=now) as office:
                self._room.verify_still_may(caller, "PostRecords")  # a batch is several transactions
                partners, next_at = office.partners(), office.store.dues.next_at()
                results = [
                    self._post(office, draft, caller=caller, partners=partners, names=names, now=now)
                    for draft in drafts
                ]
                is_earlier = office.store.dues.next_at() != next_at
        except (Malformed, StateConflict) as error:
            if len(drafts) == 1:
                return [refused_message(error)]
            return [self._post_together([draft], caller, names=names)[0] for draft in drafts]
        if queued := {OrgId(partner) for result in results for partner in result.queued_for}:
            self._room.events.queued(queued)
        if is_earlier:
            self._room.events.due_changed()
        return results

    def _post(
        self,
        office: Office,
        message: v1.Draft,
        *,
        caller: Person,
        partners: Collection[OrgId],
        names: Collection[str],
        now: int,
    ) -> v1.PostedRecord:
        """Post one draft in the transaction that `office` is for, or say why it is refused.

        Raises what is wrong with it after something of it was written.
        """
        signed = self._sign(message, signer=self._room.home.record_signer, names=names, now=now)
        if isinstance(signed, v1.PostedRecord):
            return signed
        order, record, linted = signed
        published = publish(office, record, author=caller.name, partners=partners, recipients=order.recipients, now=now)
        if linted.overridden:
            office.log.append(overridden(record, linted, caller), now=now)
        if message.idempotency_key:
            office.store.records.remember_key(message.idempotency_key, record.digest, now=now)
        others = [partner for partner in partners if partner not in published.queued]
        return posted_message(
            own_message(record, author=caller.name, recipients=order.recipients, now=now),
            look_ahead(office, record, partners=others, recipients=order.recipients, now=now),
            recipients=order.recipients,
            linted=linted,
            queued=published.queued,
        )

    def _rehearse(self, message: v1.Draft, *, names: Collection[str]) -> v1.PostedRecord:
        """Do the same with a key that nobody keeps, and store nothing."""
        now, signer = self._room.clock(), FileSigner(generate_ed25519(self._room.random))
        signed = self._sign(message, signer=signer, names=names, now=now)
        if isinstance(signed, v1.PostedRecord):
            return signed
        order, record, linted = signed
        office = self._room.office.at_once()
        outlook = look_ahead(office, record, partners=office.partners(), recipients=order.recipients, now=now)
        return posted_message(
            rehearsed_message(record, recipients=order.recipients, now=now),
            outlook,
            recipients=order.recipients,
            linted=linted,
            queued=[partner for partner, chance in outlook.items() if chance.goes],
        )

    def _sign(
        self, message: v1.Draft, *, signer: Signer, names: Collection[str], now: int
    ) -> "_Signed | v1.PostedRecord":
        """Sign a draft, or return what was posted under its key before, or why it is refused."""
        earlier = earlier_message(self._room.home.store, message.idempotency_key)
        if earlier is not None:
            return earlier
        try:
            order = self._read(message)
            record = self._issue(order, signer=signer, now=now)
        except (Malformed, StateConflict) as error:
            return refused_message(error)
        linted = lint_record(record, overrides=message.overrides, names=names)
        try:
            linted.verify()
        except ReleaseBlocked as error:
            return refused_message(error, linted=linted)
        return _Signed(order, record, linted)

    def _read(self, message: v1.Draft) -> Order:
        home = self._room.home
        return parse_draft(message, store=home.store, ours=home.organisation.org, random=self._room.random)

    def _issue(self, order: Order, *, signer: Signer, now: int) -> VerifiedRecord:
        issuer = self._room.home.organisation.org
        return issue(order.draft, order.content, issuer=issuer, signer=signer, now=now, random=self._room.random)


def _parts(drafts: Iterable[v1.Draft]) -> Iterator[list[v1.Draft]]:
    """Yield drafts as they are posted together."""
    part: list[v1.Draft] = []
    room = AT_ONCE_BYTES
    for draft in drafts:
        size = draft.ByteSize()
        if part and (len(part) == AT_ONCE or size > room):
            yield part
            part, room = [], AT_ONCE_BYTES
        part.append(draft)
        room -= size
    if part:
        yield part


class _Signed(NamedTuple):
    """A draft, the record that it became, and what the linter found in that."""

    order: Order
    record: VerifiedRecord
    linted: Linted
