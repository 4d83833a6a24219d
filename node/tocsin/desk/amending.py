"""This module amends: it signs the next version of an own record, and says that the one before is over.

What is not given stays as it was; the kind never changes. Recipients are added
to those that the record has. Where it has none, policy alone says who gets it,
and there is nobody to add: whoever names somebody means to narrow it, which a
next version cannot do for those who hold this one.

Steps by which the marking is lowered stay as far as they are still ahead and
below it. A marking that is more restrictive than the one that counts today
ends them: they were signed for a record that was thought to be harmless sooner.

Version, correction, queue and log are one transaction (`exchange.publish`).
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace

from tocsin.desk.drafts import Order, parse_draft
from tocsin.desk.linting import Linted, lint_record, load_names
from tocsin.desk.lookup import find_own, load_record
from tocsin.desk.messages import VERIFIED, claim_value, stored_message
from tocsin.desk.outlook import (
    earlier_message,
    look_ahead,
    overridden,
    posted_message,
    refused_message,
    rehearsed_message,
)
from tocsin.desk.room import Room
from tocsin.errors import Conflict, Malformed, MalformedRequest, ReleaseBlocked
from tocsin.exchange.publish import amend
from tocsin.identity.keys import generate_ed25519
from tocsin.identity.names import OrgId
from tocsin.identity.signer import FileSigner, Signer
from tocsin.people.person import Person
from tocsin.records.envelope import Downgrade
from tocsin.records.record import VerifiedRecord, issue
from tocsin.records.retraction import Action, VerifiedRetraction, sign_retraction
from tocsin.schema.check import unix_seconds
from tocsin.schema.contract import TLPS, enum_claim
from tocsin.schema.twin import drop_twins
from tocsin.store.model import Standing
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2


@dataclass(frozen=True, slots=True)
class _Next:
    """The next version of a record, signed, with what the linter found in it and what it was made of."""

    before: VerifiedRecord
    record: VerifiedRecord
    recipients: frozenset[OrgId]
    linted: Linted


class Amending:
    """Says something again, as it should have been said."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._home = room.home
        self._store = room.home.store

    def amend_record(self, request: v1.AmendRecordRequest, caller: Person) -> v1.AmendRecordResponse:
        """Sign, store and queue the next version of an own record; who does not get it hears that theirs is over.

        What is wrong with the draft is told in the answer. Raises NotFound for
        the record, NotPermitted where it is somebody else's, and Conflict where
        it was retracted (RETRACTED) or has a later version.
        """
        names = load_names(self._home.layout)
        try:
            if request.dry_run:
                return self._rehearse(request, names=names)
            answer = self._amend(request, caller, names=names)
        except Malformed as error:
            return v1.AmendRecordResponse(result=refused_message(error))
        if queued := {OrgId(partner) for partner in (*answer.result.queued_for, *answer.told)}:
            self._room.events.queued(queued)
        self._room.events.due_changed()
        return answer

    def _amend(
        self, request: v1.AmendRecordRequest, caller: Person, *, names: Collection[str]
    ) -> v1.AmendRecordResponse:
        """Amend for good."""
        now, key = self._room.clock(), request.draft.idempotency_key
        with self._store.transaction():
            earlier = self._earlier(request)
            if earlier is not None:
                return v1.AmendRecordResponse(result=earlier)
            made = self._make(request, signer=self._home.record_signer, names=names, now=now)
            try:
                made.linted.verify()
            except ReleaseBlocked as error:
                return v1.AmendRecordResponse(result=refused_message(error, linted=made.linted))
            record = made.record
            published = amend(
                self._room.office,
                record,
                self._correction(made, now=now),
                author=caller.name,
                partners=self._room.office.partners(),
                recipients=made.recipients,
                now=now,
            )
            if made.linted.overridden:
                self._home.log.append(overridden(record, made.linted, caller), now=now)
            if key:
                self._store.records.remember_key(key, record.digest, now=now)
        stored = self._store.records.get(record.digest)
        message = stored_message(stored, self._store, signature=VERIFIED, with_token=False)
        return self._answer(message, made, queued=published.queued, told=published.told, now=now)

    def _correction(self, made: _Next, *, now: int) -> VerifiedRetraction:
        """Sign that the version before is over, for those who do not get this one."""
        return sign_retraction(
            issuer=made.record.issuer,
            record_id=made.record.record_id,
            version=made.before.version,
            action=Action.CORRECT,
            tlp=made.record.marking_at(now),
            signer=self._home.record_signer,
            now=now,
            successor=made.record.digest,
        )

    def _rehearse(self, request: v1.AmendRecordRequest, *, names: Collection[str]) -> v1.AmendRecordResponse:
        """Do the same with a key that nobody keeps, and store nothing."""
        now = self._room.clock()
        earlier = self._earlier(request)
        if earlier is not None:
            return v1.AmendRecordResponse(result=earlier)
        made = self._make(request, signer=FileSigner(generate_ed25519(self._room.random)), names=names, now=now)
        try:
            made.linted.verify()
        except ReleaseBlocked as error:
            return v1.AmendRecordResponse(result=refused_message(error, linted=made.linted))
        office = self._room.office.at_once()
        outlook = look_ahead(office, made.record, partners=office.partners(), recipients=made.recipients, now=now)
        queued = {partner for partner, chance in outlook.items() if chance.goes}
        holders = self._store.feeds.holders(made.record.issuer, made.record.record_id)
        told = holders.intersection(peer.org for peer in self._store.peers.list()) - queued
        message = rehearsed_message(made.record, recipients=made.recipients, now=now)
        return self._answer(message, made, queued=queued, told=told, now=now)

    def _earlier(self, request: v1.AmendRecordRequest) -> v1.PostedRecord | None:
        """Return the version that was made under this idempotency key before.

        Raises Conflict where the key stands for something else: another record, or the posting of this one.
        """
        earlier = earlier_message(self._store, request.draft.idempotency_key)
        if earlier is not None:
            envelope, record_id = earlier.record.envelope, find_own(self._store, request.id).record_id
            if envelope.record_id != record_id or envelope.version == 1:
                raise Conflict("the idempotency key stands for another version", reason="CONFLICT")
        return earlier

    def _make(self, request: v1.AmendRecordRequest, *, signer: Signer, names: Collection[str], now: int) -> _Next:
        """Sign the next version."""
        stored = find_own(self._store, request.id)
        if stored.standing in (Standing.WITHDRAWN, Standing.PURGED):
            hint = "post what is to be said as a new record"
            raise Conflict("the record was retracted, and stays so", reason="RETRACTED", hint=hint)
        if stored.standing is not Standing.CURRENT:
            hint = f"amend the newest one: tocsin show {stored.record_id}"
            raise Conflict(f"this version is {stored.standing}, and is not amended", reason="CONFLICT", hint=hint)
        before = load_record(self._home, stored)
        recipients = self._store.records.recipients(before.digest)
        order = self._read(request, before, recipients=recipients, now=now)
        record = issue(
            order.draft, order.content, issuer=before.issuer, signer=signer, now=now, random=self._room.random
        )
        linted = lint_record(record, overrides=request.draft.overrides, names=names)
        return _Next(before, record, order.recipients, linted)

    def _read(
        self, request: v1.AmendRecordRequest, before: VerifiedRecord, *, recipients: frozenset[OrgId], now: int
    ) -> Order:
        """Read what is to be said from now on. Raises Malformed, and NotFound for a recipient that is no peer."""
        written = drop_twins(before.kind, before.content)
        order = parse_draft(
            _complete(request.draft, before, content=written),
            store=self._store,
            ours=before.issuer,
            random=self._room.random,
        )
        if order.draft.kind != before.kind:
            raise MalformedRequest(f"the record is a {before.kind}, and stays one", hint="post it as a new record")
        if order.recipients and not recipients:
            hint = "leave the recipients out; to narrow the record, retract it and post it again"
            raise MalformedRequest("nobody was named for the record, so nobody can be added", hint=hint)
        draft = replace(
            order.draft,
            record_id=before.record_id,
            version=before.version + 1,
            supersedes=before.digest,
            status=_status(request.status) or before.status,
            downgrade_at=order.draft.downgrade_at or _steps_left(before, request.draft.tlp, now=now),
            exp=before.expires_at,
        )
        changed = Order(draft=draft, content=order.content, recipients=order.recipients | recipients)
        _verify_changed(changed, before, written=written, recipients=recipients, now=now)
        return changed

    def _answer(
        self, message: v1.Record, made: _Next, *, queued: Collection[OrgId], told: Collection[OrgId], now: int
    ) -> v1.AmendRecordResponse:
        office = self._room.office.at_once()
        outlook = look_ahead(office, made.record, partners=office.partners(), recipients=made.recipients, now=now)
        result = posted_message(message, outlook, recipients=made.recipients, linted=made.linted, queued=queued)
        return v1.AmendRecordResponse(result=result, told=sorted(told))


def _complete(draft: v1.Draft, before: VerifiedRecord, *, content: dict[str, object]) -> v1.Draft:
    """Return the draft with what is not given as it was; but for the schedule, which hangs on the marking."""
    whole = v1.Draft()
    whole.CopyFrom(draft)
    whole.kind = draft.kind or claim_value("RecordKind", before.kind)
    whole.tlp = draft.tlp or claim_value("Tlp", before.tlp)
    whole.pap = draft.pap or claim_value("Pap", before.pap)
    whole.relay = draft.relay or claim_value("Relay", before.relay)
    whole.retention_until = draft.retention_until or before.retention_until
    whole.content_json = draft.content_json or json.dumps(content)
    if not draft.permitted_use:
        whole.permitted_use.extend(claim_value("PermittedUse", use) for use in before.permitted_use)
    return whole


def _status(number: int) -> str:
    """Return the claim of a status; empty: as it was. Raises MalformedRequest for one that amending does not give."""
    if number == record_pb2.RECORD_STATUS_WITHDRAWN or number not in record_pb2.RecordStatus.values():
        raise MalformedRequest("the status is none that a next version has", hint="to take a record back, retract it")
    return enum_claim("RecordStatus", number)


def _steps_left(before: VerifiedRecord, tlp: int, *, now: int) -> tuple[Downgrade, ...]:
    """Return the steps that stay with the marking that is given; 0: none is, and all of them stay."""
    if not tlp:
        return before.downgrade_at
    marking = TLPS.index(enum_claim("Tlp", tlp))
    if marking > TLPS.index(before.marking_at(now)):
        return ()
    ahead = (step for step in before.downgrade_at if unix_seconds(step.at) > now)
    return tuple(step for step in ahead if TLPS.index(step.tlp) < marking)


def _verify_changed(
    order: Order, before: VerifiedRecord, *, written: dict[str, object], recipients: frozenset[OrgId], now: int
) -> None:
    """Refuse a version that says what the one before says. Raises MalformedRequest."""
    draft = order.draft
    claims = ("tlp", "pap", "permitted_use", "relay", "retention_until", "downgrade_at", "status")
    is_same = all(getattr(draft, name) == getattr(before, name) for name in claims)
    if is_same and order.content == written and order.recipients == recipients:
        raise MalformedRequest("nothing of the record would be another", hint="give what is to change")
