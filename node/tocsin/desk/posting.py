"""This module posts: it checks drafts, signs them, stores the records and queues them for partners.

Each draft of a batch succeeds or fails alone, and what became of it is told in
its own result. A dry run goes the same way, signs with a key that is thrown
away, and ends before the store.

Storing, queueing, logging and remembering the idempotency key are one
transaction: a record that was reported as posted is there after a crash,
exactly once. Before it the linter looks the content over (`desk.linting`).
"""

from collections.abc import Collection, Iterator, Mapping

from tocsin.audit.entry import Entry, Event
from tocsin.desk.drafts import Order, parse_draft
from tocsin.desk.linting import Linted, lint_record, load_names
from tocsin.desk.messages import VERIFIED, listed_message, seen_message, stored_message, waiting_message
from tocsin.desk.room import Room
from tocsin.desk.waiting import find_wait
from tocsin.encoding import JSON
from tocsin.errors import Malformed, MalformedRequest, ReleaseBlocked, StateConflict, TocsinError
from tocsin.exchange.publish import publish
from tocsin.identity.keys import generate_ed25519
from tocsin.identity.names import OrgId
from tocsin.identity.signer import FileSigner, Signer
from tocsin.people.person import Person
from tocsin.policy.decide import Decision
from tocsin.records.record import VerifiedRecord, issue
from tocsin.release.gate import Wait
from tocsin.v1 import desk_service_pb2 as v1

MOST_DRAFTS = 200
"""As the contract says: a batch answers within seconds, and a client sends many of them."""

Chance = tuple[Decision, Wait | None]
"""What policy says of a record for a partner, and what it waits for."""


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
        results = [self._try(draft, caller, names=names, dry_run=request.dry_run) for draft in request.drafts]
        queued = {OrgId(partner) for result in results for partner in result.queued_for}
        if not request.dry_run:
            if queued:
                self._room.events.queued(queued)
            self._room.events.due_changed()
        return v1.PostRecordsResponse(results=results)

    def _try(self, message: v1.Draft, caller: Person, *, names: Collection[str], dry_run: bool) -> v1.PostedRecord:
        """Post one draft, or say why it was refused."""
        try:
            if dry_run:
                return self._rehearse(message, names=names)
            return self._post(message, caller, names=names)
        except (Malformed, StateConflict) as error:
            return v1.PostedRecord(error_reason=error.reason, error_details=_lines(error))

    def _post(self, message: v1.Draft, caller: Person, *, names: Collection[str]) -> v1.PostedRecord:
        """Post one draft for good."""
        home, now = self._room.home, self._room.clock()
        with home.store.transaction():
            self._room.verify_still_may(caller, "PostRecords")  # a batch is many transactions
            earlier = self._earlier(message.idempotency_key)
            if earlier is not None:
                return earlier
            order = self._read(message)
            record = self._issue(order, signer=home.record_signer, now=now)
            linted = lint_record(record, overrides=message.overrides, names=names)
            try:
                linted.verify()
            except ReleaseBlocked as error:
                return _blocked(error, linted)
            published = publish(
                self._room.office,
                record,
                author=caller.name,
                partners=self._room.office.partners(),
                recipients=order.recipients,
                now=now,
            )
            if linted.overridden:
                home.log.append(_overridden(record, linted, caller), now=now)
            if message.idempotency_key:
                home.store.records.remember_key(message.idempotency_key, record.digest, now=now)
        stored = stored_message(home.store.records.get(record.digest), home.store, signature=VERIFIED, with_token=False)
        return self._posted(stored, record, order, linted, queued=published.queued, now=now)

    def _rehearse(self, message: v1.Draft, *, names: Collection[str]) -> v1.PostedRecord:
        """Do the same with a key that nobody keeps, and store nothing."""
        earlier = self._earlier(message.idempotency_key)
        if earlier is not None:
            return earlier
        order, now = self._read(message), self._room.clock()
        record = self._issue(order, signer=FileSigner(generate_ed25519(self._room.random)), now=now)
        linted = lint_record(record, overrides=message.overrides, names=names)
        try:
            linted.verify()
        except ReleaseBlocked as error:
            return _blocked(error, linted)
        seen = seen_message(record, now=now)
        seen.own = True
        seen.recipients.extend(sorted(order.recipients))
        for name in ("digest", "key_id", "signature", "versions"):
            seen.ClearField(name)
        seen.envelope.ClearField("record_id")
        chances = self._chances(record, order.recipients, now=now)
        queued = [partner for partner, (decision, wait) in chances.items() if decision.delivered and wait is None]
        return self._posted(seen, record, order, linted, queued=queued, now=now)

    def _posted(
        self,
        message: v1.Record,
        record: VerifiedRecord,
        order: Order,
        linted: Linted,
        *,
        queued: Collection[OrgId],
        now: int,
    ) -> v1.PostedRecord:
        """Say what became of a draft, and of each partner."""
        chances = self._chances(record, order.recipients, now=now)
        waiting = {org: wait for org, (_, wait) in chances.items() if wait is not None and org not in queued}
        return v1.PostedRecord(
            record=message,
            queued_for=sorted(queued),
            waiting=[waiting_message(org, wait) for org, wait in sorted(waiting.items())],
            notices=self._notices(order.recipients, chances, reached={*queued, *waiting}),
            lint=linted.messages(),
        )

    def _earlier(self, key: str) -> v1.PostedRecord | None:
        """Return what was posted under an idempotency key before."""
        store = self._room.home.store
        digest = store.records.by_key(key) if key else None
        if digest is None:
            return None
        return v1.PostedRecord(record=listed_message(store.records.get(digest), store), existed=True)

    def _read(self, message: v1.Draft) -> Order:
        home = self._room.home
        return parse_draft(message, store=home.store, ours=home.organisation.org, random=self._room.random)

    def _issue(self, order: Order, *, signer: Signer, now: int) -> VerifiedRecord:
        issuer = self._room.home.organisation.org
        return issue(order.draft, order.content, issuer=issuer, signer=signer, now=now, random=self._room.random)

    def _chances(self, record: VerifiedRecord, recipients: frozenset[OrgId], *, now: int) -> dict[OrgId, Chance]:
        """Return what policy says for each active partner, and what its copy would wait for."""
        office = self._room.office.at_once()
        policies = office.policies()
        chances = {}
        for partner in office.partners():
            decision = policies.decide(record, partner=partner, recipients=recipients, granted=frozenset(), now=now)
            wait = find_wait(
                office, record, decision, policies=policies, partner=partner, recipients=recipients, now=now
            )
            chances[partner] = (decision, wait)
        return chances

    def _notices(
        self, recipients: frozenset[OrgId], chances: Mapping[OrgId, Chance], *, reached: Collection[str]
    ) -> Iterator[str]:
        """Say which recipients named do not get the record, and why; or that nobody gets it."""
        for partner in sorted(recipients.difference(reached)):
            if partner not in chances:
                yield f"partner {partner} is named but its peering is not active, so nothing is sent to it"
            else:
                why = chances[partner][0].why
                yield f"partner {partner} is named but no policy lets the record reach it: {why}"
        if not recipients and not reached:
            yield "no policy lets the record reach any partner"


def _overridden(record: VerifiedRecord, linted: Linted, caller: Person) -> Entry:
    """Return what the decision log keeps of the findings that the poster took upon itself."""
    found: list[JSON] = [{"rule": finding.rule, "path": finding.path} for finding in linted.overridden]
    return Entry(Event.OVERRIDDEN, person=caller.name, digest=record.digest, details={"findings": found})


def _blocked(error: ReleaseBlocked, linted: Linted) -> v1.PostedRecord:
    """Return what the linter does not let go."""
    return v1.PostedRecord(error_reason=error.reason, error_details=_lines(error), lint=linted.messages())


def _lines(error: TocsinError) -> tuple[str, ...]:
    """Return what is wrong, one line a problem."""
    lines = error.details or (str(error),)
    return (*lines, error.hint) if error.hint else lines
