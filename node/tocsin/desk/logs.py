"""This module shows transparency logs: our own and those that we follow, whole, as files, and who has cosigned them.

Nothing in it is content: entries are hashes. What is wrong with a log is for
whoever reads it to find (`tocsin.tlog.reading`); here it is handed out as it
is kept.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tocsin.desk.home import Home
from tocsin.desk.room import Room
from tocsin.desk.witnessing import (
    Seen,
    known_witnesses,
    load_log_policy,
    newest_with_cosignatures,
    propose_log_policy,
    who_cosigned,
)
from tocsin.errors import CheckpointRefused, MalformedLog, NotFound, SignatureMismatch
from tocsin.exchange.directory import known_organisation
from tocsin.identity.names import OrgId, parse_org
from tocsin.identity.vkey import log_name
from tocsin.store.evidence import LogRow
from tocsin.tlog.checkpoint import parse_checkpoint, verify_checkpoint
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.quorum import NONE, Quorum
from tocsin.tlog.reading import batches
from tocsin.tlog.tiles import static_files, tiles_of
from tocsin.v1 import desk_service_pb2 as v1

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _End:
    """What stands behind the last item."""


class Logs:
    """Shows logs."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._home = room.home
        self._store = room.home.store

    def get_log(self, request: v1.GetLogRequest) -> v1.GetLogResponse:
        """Say where our own log stands and those that we follow, or one of them. Raises MalformedName and NotFound."""
        ours = self._home.organisation.org
        if request.org:
            return v1.GetLogResponse(logs=[log_message(self._home, self.find(request.org), now=self._room.clock())])
        rows = [self._store.logs.get(ours), *(row for row in self._store.logs.list() if row.origin != ours)]
        return v1.GetLogResponse(logs=[log_message(self._home, row, now=self._room.clock()) for row in rows])

    def get_log_policy(self, request: v1.GetLogPolicyRequest) -> v1.GetLogPolicyResponse:
        """Say which witnesses count, whether they have cosigned our newest checkpoint, and propose a file."""
        policy = load_log_policy(self._home.layout)
        answer = v1.GetLogPolicyResponse(
            found=policy.found,
            text=policy.text,
            where=policy.where,
            problem=policy.problem,
            proposal=propose_log_policy(self._home),
        )
        if policy.quorum is not None and not policy.problem:
            self._ask_quorum(policy.quorum, answer)
        return answer

    async def read_log(self, request: v1.ReadLogRequest) -> AsyncIterator[v1.ReadLogResponse]:
        """Yield where a log stands, and then all of it.

        Raises MalformedName and NotFound, and StoreCorrupt where a node is missing.
        """
        async for message in _in_thread(self._read(request.org)):
            yield message

    async def export_log(self, request: v1.ExportLogRequest) -> AsyncIterator[v1.ExportLogResponse]:
        """Yield the files of a log as C2SP tlog-tiles lays them out, its checkpoint last.

        Raises MalformedName and NotFound, also for a log without a checkpoint, and StoreCorrupt.
        """
        async for message in _in_thread(self._files(request.org)):
            yield message

    def find(self, org: str) -> LogRow:
        """Return where a log stands; empty: our own. Raises MalformedName, and NotFound for one nothing is held of."""
        row = self._store.logs.get(parse_org(org) if org else self._home.organisation.org)
        if not row.at and row.origin != self._home.organisation.org:
            hint = "the logs that are followed: tocsin log show"
            raise NotFound(f"nothing is held of a log of {row.origin}", hint=hint)
        return row

    def _ask_quorum(self, quorum: Quorum, answer: v1.GetLogPolicyResponse) -> None:
        """Write what a policy says, and whether our newest checkpoint satisfies it."""
        ours, now = self._home.organisation, self._room.clock()
        known = known_witnesses(self._home)
        verifiers = [party.verifier for party in quorum.witnesses.values()]
        seen = {one.verifier: one for one in who_cosigned(self._store, ours.org, verifiers=verifiers, now=now)}
        answer.rule = quorum.rule
        for name, party in quorum.witnesses.items():
            witness = answer.witnesses.add(name=name, key=party.verifier.name)
            if one := seen.get(party.verifier):
                witness.cosigned.CopyFrom(_cosignature(one, known.get(party.verifier, OrgId(""))))
        text = newest_with_cosignatures(self._store, ours.org)
        if not text:
            answer.missing.append("nothing was issued, and nothing signed")
            return
        try:
            checkpoint = verify_checkpoint(text, origin=log_name(ours.org), vkeys=ours.log_vkeys)
            since = quorum.cosigned_at(quorum.verify(checkpoint, now=now))
        except CheckpointRefused as error:
            answer.missing.extend(error.details or (error.message,))
        except (MalformedLog, SignatureMismatch) as error:
            answer.missing.append(error.message)
        else:
            answer.satisfied = True
            if quorum.rule != NONE and since is not None:
                answer.since.FromSeconds(since)

    def _read(self, org: str) -> Iterator[v1.ReadLogResponse]:
        row = self.find(org)
        yield v1.ReadLogResponse(log=log_message(self._home, row, now=self._room.clock()))
        log = TransparencyLog(self._store.logs, OrgId(row.origin))
        for entries, nodes in batches(log, size=row.size, stops=(row.signed,)):
            yield v1.ReadLogResponse(entries=b"".join(entries), nodes=b"".join(nodes))

    def _files(self, org: str) -> Iterator[v1.ExportLogResponse]:
        row = self.find(org)
        text = newest_with_cosignatures(self._store, row.origin)
        if not text:
            raise NotFound(f"the log of {row.origin} has no checkpoint yet")
        log = TransparencyLog(self._store.logs, OrgId(row.origin))

        def entries(start: int, limit: int) -> tuple[bytes, ...]:
            return self._store.logs.entries(row.origin, start=start, limit=limit)

        files = sum(1 for _ in tiles_of(row.signed)) + 1
        for path, data in static_files(row.signed, log.read, entries, text):
            yield v1.ExportLogResponse(path=path, data=data, files=files)


def log_message(home: Home, row: LogRow, *, now: int) -> v1.TransparencyLog:
    """Return where a log stands, and who has cosigned it."""
    store, ours = home.store, home.organisation.org
    known = known_witnesses(home)
    message = v1.TransparencyLog(
        org=row.origin,
        own=row.origin == ours,
        size=row.size,
        signed=row.signed,
        checkpoint=newest_with_cosignatures(store, row.origin),
        vkeys=vkeys_of(home, row.origin),
        stopped=row.stopped,
        evidence=len(store.logs.evidence(row.origin)),
        awaited=store.logs.awaited() if row.origin == ours else (),
    )
    if message.checkpoint:
        message.root = parse_checkpoint(message.checkpoint).checkpoint.root.hex()
    for one in who_cosigned(store, row.origin, verifiers=known, now=now):
        message.cosignatures.append(_cosignature(one, known[one.verifier]))
    if row.at:
        message.changed_at.FromSeconds(row.at)
    if row.resumed:
        message.resumed_at.FromSeconds(row.resumed)
    return message


def vkeys_of(home: Home, org: str) -> tuple[str, ...]:
    """Return the keys by which a log signs; none where nobody knows its organisation any more."""
    if org == home.organisation.org:
        return home.organisation.log_vkeys
    try:
        return known_organisation(home.store.peers.get(org).document).log_vkeys
    except NotFound:
        return ()


def _cosignature(one: Seen, org: OrgId) -> v1.LogCosignature:
    message = v1.LogCosignature(witness=one.verifier.name, org=org, size=one.size)
    message.at.FromSeconds(one.at)
    return message


async def _in_thread(items: Iterator[Item]) -> AsyncIterator[Item]:
    """Yield items that are read from the disk, each in a thread."""
    end = _End()
    while not isinstance(item := await asyncio.to_thread(next, items, end), _End):
        yield item
