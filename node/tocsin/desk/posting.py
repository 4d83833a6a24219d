"""This module posts: it checks drafts, signs them, stores the records and queues them for partners.

Each draft of a batch succeeds or fails alone, and what became of it is told in
its own result. A dry run goes the same way, signs with a key that is thrown
away, and ends before the store.

Some drafts are one transaction, each a part of it: storing, queueing, logging
and remembering the idempotency key. A record that was reported as posted is
there after a crash, exactly once, and the logs are signed once for all of
them. Before that the linter looks the content over (`desk.linting`).
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from tocsin.desk.drafts import Order, parse_draft
from tocsin.desk.linting import lint_record, load_names
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
"""Drafts posted in one transaction: a fiftieth of a second, in which others wait to write; it costs as much again to
begin and sign one."""


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
            rehearse = partial(self._rehearse, names=names)
            return v1.PostRecordsResponse(results=[_tried(rehearse, draft) for draft in request.drafts])
        results: list[v1.PostedRecord] = []
        for start in range(0, len(request.drafts), AT_ONCE):
            results += self._post_together(request.drafts[start : start + AT_ONCE], caller, names=names)
        return v1.PostRecordsResponse(results=results)

    def _post_together(
        self, drafts: Sequence[v1.Draft], caller: Person, *, names: Collection[str]
    ) -> list[v1.PostedRecord]:
        """Post some drafts for good, each or none of them, and tell whom something waits for."""
        now = self._room.clock()
        with self._room.office.together(now=now) as office:
            self._room.verify_still_may(caller, "PostRecords")  # a batch is several transactions
            partners = office.partners()
            post = partial(self._post, office, caller=caller, partners=partners, names=names, now=now)
            results = [_tried(post, draft) for draft in drafts]
        if queued := {OrgId(partner) for result in results for partner in result.queued_for}:
            self._room.events.queued(queued)
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
        """Post one draft, a part of the transaction that `office` is for."""
        store = office.store
        with office.together(now=now) as part:
            earlier = earlier_message(store, message.idempotency_key)
            if earlier is not None:
                return earlier
            order = self._read(message)
            record = self._issue(order, signer=self._room.home.record_signer, now=now)
            linted = lint_record(record, overrides=message.overrides, names=names)
            try:
                linted.verify()
            except ReleaseBlocked as error:
                return refused_message(error, linted=linted)
            published = publish(
                part, record, author=caller.name, partners=partners, recipients=order.recipients, now=now
            )
            if linted.overridden:
                part.log.append(overridden(record, linted, caller), now=now)
            if message.idempotency_key:
                store.records.remember_key(message.idempotency_key, record.digest, now=now)
            outlook = look_ahead(part, record, partners=partners, recipients=order.recipients, now=now)
        return posted_message(
            own_message(record, author=caller.name, recipients=order.recipients, now=now),
            outlook,
            recipients=order.recipients,
            linted=linted,
            queued=published.queued,
        )

    def _rehearse(self, message: v1.Draft, *, names: Collection[str]) -> v1.PostedRecord:
        """Do the same with a key that nobody keeps, and store nothing."""
        home = self._room.home
        earlier = earlier_message(home.store, message.idempotency_key)
        if earlier is not None:
            return earlier
        order, now = self._read(message), self._room.clock()
        record = self._issue(order, signer=FileSigner(generate_ed25519(self._room.random)), now=now)
        linted = lint_record(record, overrides=message.overrides, names=names)
        try:
            linted.verify()
        except ReleaseBlocked as error:
            return refused_message(error, linted=linted)
        office = self._room.office.at_once()
        outlook = look_ahead(office, record, partners=office.partners(), recipients=order.recipients, now=now)
        return posted_message(
            rehearsed_message(record, recipients=order.recipients, now=now),
            outlook,
            recipients=order.recipients,
            linted=linted,
            queued=[partner for partner, chance in outlook.items() if chance.goes],
        )

    def _read(self, message: v1.Draft) -> Order:
        home = self._room.home
        return parse_draft(message, store=home.store, ours=home.organisation.org, random=self._room.random)

    def _issue(self, order: Order, *, signer: Signer, now: int) -> VerifiedRecord:
        issuer = self._room.home.organisation.org
        return issue(order.draft, order.content, issuer=issuer, signer=signer, now=now, random=self._room.random)


def _tried(post: Callable[[v1.Draft], v1.PostedRecord], draft: v1.Draft) -> v1.PostedRecord:
    """Post one draft, or say why it was refused."""
    try:
        return post(draft)
    except (Malformed, StateConflict) as error:
        return refused_message(error)
