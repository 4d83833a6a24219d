"""This module tests the way to a peer: a made-up record goes through the policy and over the wire, and is taken back.

    policy    is there a marking with which it goes there now, without waiting for anybody
    wire      does the peer answer and let us in, where it has an endpoint
    sent      the record is posted for this peer alone, and the peer takes it
    stored    the receipt of the peer says so
    removed   it is purged, here and there, and the peer says so too

It says of itself that it is a test, and is over within the hour whatever
happens. It is purged as soon as the answer is there, or does not come, or
whoever asked goes away: nothing of it is left but the decision log.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tocsin.desk.checks import Probe
from tocsin.desk.linting import lint_record, load_names
from tocsin.desk.lookup import find_peer
from tocsin.desk.outlook import chance_of
from tocsin.desk.room import Room
from tocsin.errors import NotPermitted, TocsinError
from tocsin.exchange.directory import known_organisation
from tocsin.exchange.publish import publish
from tocsin.exchange.retract import retract
from tocsin.identity.keys import generate_ed25519
from tocsin.identity.names import OrgId, new_record_id
from tocsin.identity.signer import FileSigner, Signer
from tocsin.people.person import Person
from tocsin.records.record import Draft, VerifiedRecord, issue
from tocsin.records.retraction import Action
from tocsin.store.evidence import AnswerRow
from tocsin.store.model import EntryKind, Outcome, PeerRow, PeerState
from tocsin.v1 import desk_service_pb2 as v1

CONTENT: Final = {
    "title": "Test of the exchange: not a finding",
    "finding_kind": "vulnerability",
    "severity": "low",
    "summary": "This record was made up by a node to test the way to a partner, and is taken back at once.",
    "subjects": [{"kind": "model", "name": "nothing"}],
}
"""It passes the linter, and says nothing about anybody."""
MARKINGS: Final = ("AMBER", "GREEN", "CLEAR", "AMBER+STRICT", "RED")
"""Tried in this order: a policy that shares anything mostly shares AMBER."""
SECONDS_TO_LIVE: Final = 3600
"""Nothing of the record is sent after that, and who holds it deletes it, whatever became of the test."""
SECONDS_BETWEEN_LOOKS: Final = 0.25
MOST_LOOKS: Final = 120
"""Half a minute: a peer that is in touch takes a page within a second, one that calls now and then does not."""
SENT_NOT_ANSWERED: Final = "{peer} has not said within half a minute what became of it"

_OK, _WARNING = v1.CHECK_VERDICT_OK, v1.CHECK_VERDICT_WARNING
_FAILURE, _SKIPPED = v1.CHECK_VERDICT_FAILURE, v1.CHECK_VERDICT_SKIPPED

Pause = Callable[[float], Awaitable[None]]
"""Let some seconds pass."""


@dataclass(frozen=True, slots=True)
class _Test:
    """What is tested: the record that was posted for it, and the peer that is to get it."""

    peer: OrgId
    record: VerifiedRecord
    caller: Person


class Trials:
    """Tries the whole way to a peer."""

    def __init__(self, room: Room, probe: Probe, *, pause: Pause = asyncio.sleep) -> None:
        self._room = room
        self._home = room.home
        self._store = room.home.store
        self._probe = probe
        self._pause = pause

    async def test_peer(self, request: v1.TestPeerRequest, caller: Person) -> AsyncIterator[v1.TestPeerResponse]:
        """Yield how each step came out; those behind one that failed are skipped.

        Raises MalformedName and NotFound for what is no peer, NotPermitted for one with which nothing is exchanged.
        """
        row = await asyncio.to_thread(self._choose, request.org)
        told, tlp = await asyncio.to_thread(self._ask_policy, row.org)
        yield told
        if tlp:
            wire = await self._call(row)
            yield wire
            if wire.verdict != _FAILURE:
                async for step in self._send(row.org, tlp, caller):
                    yield step

    def _choose(self, org: str) -> PeerRow:
        row = find_peer(self._store, org)
        if row.state is not PeerState.ACTIVE:
            raise NotPermitted(f"the peering with {row.org} is {row.state}: nothing is sent to it")
        return row

    def _ask_policy(self, peer: OrgId) -> tuple[v1.TestPeerResponse, str]:
        """Say with which marking the record would go to a peer now; empty: with none."""
        office, why, hint = self._room.office.at_once(), "", ""
        for tlp in MARKINGS:
            record = self._made_up(tlp, signer=FileSigner(generate_ed25519(self._room.random)))
            lint_record(record, overrides=(), names=load_names(self._home.layout)).verify()
            chance = chance_of(office, record, partner=peer, recipients=frozenset({peer}), now=self._room.clock())
            if chance.goes:
                return _step("policy", _OK, f"a finding marked {tlp} goes to {peer} by {chance.decision.rule}"), tlp
            if chance.wait is not None:
                why, hint = chance.wait.why, "test it with a rule that does not make a finding wait"
            elif not why:
                why, hint = chance.decision.why, f"see what it shares: tocsin policy matrix {peer}"
        return _step("policy", _WARNING, f"no finding goes to {peer} now: {why}", hint), ""

    async def _call(self, row: PeerRow) -> v1.TestPeerResponse:
        """Call the peer, where it can be called."""
        if not known_organisation(row.document).endpoints:
            return _step("wire", _SKIPPED, f"{row.org} has no endpoint: it calls us")
        try:
            await self._probe(row.org)
        except TocsinError as error:
            return _step("wire", _FAILURE, f"{error.reason}: {error.message}", error.hint)
        return _step("wire", _OK, f"{row.org} answers and lets us in")

    async def _send(self, peer: OrgId, tlp: str, caller: Person) -> AsyncIterator[v1.TestPeerResponse]:
        """Post the record, wait for what the peer says, and take it back, whatever happens meanwhile."""
        posting = asyncio.ensure_future(asyncio.to_thread(self._post, peer, tlp, caller))
        is_over = False
        try:
            test = await asyncio.shield(posting)
            is_sent = await self._wait_for(lambda: self._store.feeds.sent(peer, test.record.digest) is not None)
            yield _sent(peer, is_sent=is_sent)
            if is_sent:
                yield _stored(peer, await self._answer(test, EntryKind.RECORD))
            is_over = True
            await asyncio.shield(asyncio.to_thread(self._take_back, test))
            yield _removed(peer, await self._answer(test, EntryKind.RETRACTION) if is_sent else None, is_sent=is_sent)
        finally:
            if not is_over:
                await asyncio.shield(asyncio.ensure_future(self._clean_up(posting)))

    async def _clean_up(self, posting: "asyncio.Future[_Test]") -> None:
        """Take back what was posted, or is being posted; what was not posted for an error needs none of it."""
        await asyncio.wait((posting,))
        if posting.exception() is None:
            await asyncio.to_thread(self._take_back, posting.result())

    def _post(self, peer: OrgId, tlp: str, caller: Person) -> _Test:
        record = self._made_up(tlp, signer=self._home.record_signer)
        published = publish(
            self._room.office,
            record,
            author=caller.name,
            partners=(peer,),
            recipients=(peer,),
            now=self._room.clock(),
        )
        self._room.events.queued(published.queued)
        return _Test(peer, record, caller)

    def _take_back(self, test: _Test) -> None:

        retracted = retract(
            self._room.office,
            test.record.digest,
            action=Action.PURGE,
            reason="test",
            person=test.caller.name,
            signer=self._home.record_signer,
            now=self._room.clock(),
        )
        self._room.events.queued(retracted.told)
        self._room.events.due_changed()

    def _made_up(self, tlp: str, *, signer: Signer) -> VerifiedRecord:
        now = self._room.clock()
        end = now + SECONDS_TO_LIVE
        draft = Draft(
            record_id=new_record_id(self._room.random),
            kind="finding",
            tlp=tlp,
            retention_until=datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            exp=end,
        )
        org = self._home.organisation.org
        return issue(draft, CONTENT, issuer=org, signer=signer, now=now, random=self._room.random)

    async def _answer(self, test: _Test, kind: EntryKind) -> AnswerRow | None:
        """Return what the peer says of an entry about the record; None where it says nothing in time."""
        await self._wait_for(lambda: self._said(test, kind) is not None)
        return await asyncio.to_thread(self._said, test, kind)

    def _said(self, test: _Test, kind: EntryKind) -> AnswerRow | None:
        answers = self._store.receipts.answers(test.record.digest)
        return next((one for one in answers if one.partner == test.peer and one.kind is kind), None)

    async def _wait_for(self, is_so: Callable[[], bool]) -> bool:
        """Look now and then whether something is so. The store tells nobody, and few people test at once."""
        for _ in range(MOST_LOOKS):
            if await asyncio.to_thread(is_so):
                return True
            await self._pause(SECONDS_BETWEEN_LOOKS)
        return await asyncio.to_thread(is_so)


def _sent(peer: OrgId, *, is_sent: bool) -> v1.TestPeerResponse:
    if is_sent:
        return _step("sent", _OK, f"{peer} has taken it")
    hint = f"see how the contact with it goes: tocsin peer show {peer}"
    return _step("sent", _FAILURE, f"{peer} has not fetched it within half a minute", hint)


def _stored(peer: OrgId, answer: AnswerRow | None) -> v1.TestPeerResponse:
    if answer is None:
        return _step("stored", _WARNING, SENT_NOT_ANSWERED.format(peer=peer), f"tocsin outbox --partner {peer}")
    if answer.outcome is Outcome.REFUSED:
        hint = "what it accepts of us is in its policy file for us"
        return _step("stored", _FAILURE, f"{peer} refused it: {answer.reason}", hint)
    return _step("stored", _OK, f"{peer} has signed that it is {answer.outcome}")


def _removed(peer: OrgId, answer: AnswerRow | None, *, is_sent: bool) -> v1.TestPeerResponse:
    if not is_sent:
        return _step("removed", _OK, f"it is purged here, and never went to {peer}")
    if answer is None:
        return _step("removed", _WARNING, f"it is purged here; {SENT_NOT_ANSWERED.format(peer=peer)}")
    if answer.outcome in (Outcome.DECLINED, Outcome.REFUSED):
        return _step("removed", _WARNING, f"it is purged here; {peer} keeps its copy: {answer.reason}")
    return _step("removed", _OK, f"it is purged here, and {peer} has signed that it did the same")


def _step(step: str, verdict: "v1.CheckVerdict.ValueType", message: str, hint: str = "") -> v1.TestPeerResponse:
    return v1.TestPeerResponse(step=step, verdict=verdict, message=message, hint=hint)
