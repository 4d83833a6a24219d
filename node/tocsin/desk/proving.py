"""This module proves what is in a log, hands out evidence against origins, and goes on with a log that was stopped."""

from heapq import merge

from tocsin.audit.entry import Entry, Event
from tocsin.desk.logs import Logs, log_message, vkeys_of
from tocsin.desk.lookup import load_record, origin_of
from tocsin.desk.room import Room
from tocsin.desk.witnessing import newest_with_cosignatures
from tocsin.encoding import JSON, decode_base64url
from tocsin.errors import Conflict, Malformed, MalformedRequest, NotFound, RecordRefused
from tocsin.exchange.receive import read_again
from tocsin.identity.names import OrgId, parse_org
from tocsin.identity.vkey import log_name
from tocsin.people.person import Person
from tocsin.records.record import parse_record
from tocsin.release.ledger import go_on
from tocsin.release.quarantine import BEFORE_ANY
from tocsin.store.evidence import EvidenceRow
from tocsin.store.model import StoredRecord
from tocsin.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from tocsin.tlog.entry import id_half, record_entry
from tocsin.tlog.evidence import parse_evidence, verify_evidence
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.merkle import inclusion_proof
from tocsin.tlog.proof import MAX_FILE, LogProof, format_proof
from tocsin.v1 import desk_service_pb2 as v1


class Proving:
    """Proves, accuses, and goes on."""

    def __init__(self, room: Room, logs: Logs) -> None:
        self._room = room
        self._home = room.home
        self._store = room.home.store
        self._logs = logs

    def prove_record(self, request: v1.ProveRecordRequest) -> v1.ProveRecordResponse:
        """Return the proof that a record is in its origin's log, under the checkpoint that most have cosigned.

        Of checkpoints with as many cosignatures the newest is taken. The
        record goes along as it is held here.

        Raises NotFound, also where the log that is held does not have it, and
        Conflict where the id is the beginning of several.
        """
        stored = self._store.records.find(request.id, version=request.version)
        if not request.without_record:
            self._verify_signed(stored)
        entry = record_entry(stored.record_id, stored.version, decode_base64url(stored.digest))
        log = TransparencyLog(self._store.logs, OrgId(stored.issuer))
        index = next((one.number for one in log.shelf.named(log.org, id_half(entry)) if one.entry == entry), None)
        checkpoint = None if index is None else self._best_checkpoint(log.org, least=index + 1)
        if index is None or checkpoint is None:
            raise NotFound(
                f"what is held of the log of {log.org} does not have this record yet",
                hint=f"see how far it was read: tocsin log show {log.org}",
            )
        size = checkpoint.checkpoint.size
        extra = b"" if request.without_record else stored.token.encode()
        proof = LogProof(index, inclusion_proof(index, size, log.read), checkpoint.text, extra)
        text = format_proof(proof, most=MAX_FILE)
        return v1.ProveRecordResponse(proof=text, org=log.org, index=index, size=size)

    def list_evidence(self, request: v1.ListEvidenceRequest) -> v1.ListEvidenceResponse:
        """List what is held against an origin, or against anybody. Raises MalformedName."""
        rows = self._store.logs.evidence(parse_org(request.org) if request.org else "")
        return v1.ListEvidenceResponse(evidence=[self._evidence(row) for row in rows])

    def get_evidence(self, request: v1.GetEvidenceRequest) -> v1.GetEvidenceResponse:
        """Return one bundle. Raises NotFound."""
        for row in self._store.logs.evidence():
            if row.digest == request.digest:
                return v1.GetEvidenceResponse(evidence=self._evidence(row), bundle=row.bundle)
        raise NotFound("there is no such evidence", hint="list what there is: tocsin log evidence")

    def resume_log(self, request: v1.ResumeLogRequest, caller: Person) -> v1.ResumeLogResponse:
        """Go on with a log that was stopped.

        An origin's log is read anew from its beginning, and what it showed
        until now is known: it stops nothing again. Our own goes on when nobody
        is waited for any more; `without` takes a peer off the list.

        Raises MalformedName, NotFound for a log of which nothing is held or a
        peer that is not waited for, Conflict for a log that is not stopped, or
        waits for others, and MalformedRequest.
        """
        org = parse_org(request.org)
        with self._store.transaction():
            row = self._logs.find(org)
            if not row.stopped:
                raise Conflict(f"the log of {org} is not stopped", reason="CONFLICT")
            if org == self._home.organisation.org:
                again: list[OrgId] = self._go_on(request.without, caller)
            elif request.without:
                raise MalformedRequest("only our own log waits for peers", hint=f"tocsin log resume {org}")
            else:
                again = self._read_anew(org, row.stopped, caller)
        for peer in again:
            self._room.events.peer_changed(peer)
        self._room.events.due_changed()
        return v1.ResumeLogResponse(log=log_message(self._home, self._logs.find(org), now=self._room.clock()))

    def _read_anew(self, org: OrgId, why: str, caller: Person) -> list[OrgId]:
        """Take from an origin again, and return the peers whose feeds are read again for it."""
        now = self._room.clock()
        self._store.logs.resume(org, now=now)
        self._store.logs.cut(org, 0)
        self._note(org, caller, {"why": why})
        peers = self._room.office.partners()
        read = [peer for peer in peers if read_again(self._store, peer)]
        return list(dict.fromkeys([*read, *(peer for peer in peers if peer == org)]))

    def _go_on(self, without: str, caller: Person) -> list[OrgId]:
        """Issue again where nobody is waited for any more, and return the peers that then have something to hear."""
        logs, ours = self._store.logs, self._home.organisation.org
        if without and not logs.has_said(parse_org(without)):
            raise NotFound(f"our log does not wait for {without}", hint="see whom it waits for: tocsin log show")
        awaited = logs.awaited()
        if awaited and not without:
            hint = f"to go on without one of them: tocsin log resume {ours} --without {awaited[0]}"
            raise Conflict(f"our log still waits for {', '.join(awaited)}", reason="CONFLICT", hint=hint)
        self._note(ours, caller, {"without": without, "waiting": list(awaited)})
        if awaited:
            return []
        go_on(self._store, self._home.tlog, now=self._room.clock())
        return list(self._room.office.partners())

    def _note(self, org: OrgId, caller: Person, details: dict[str, JSON]) -> None:
        entry = Entry(Event.LOG_RESUMED, person=caller.name, partner=org, details=details)
        self._home.log.append(entry, now=self._room.clock())

    def _verify_signed(self, stored: StoredRecord) -> None:
        """Verify that all of a record is there, and is what was signed.

        A proof is what a record needs whose key was revoked since: who asks for it judges by the witnesses.
        """
        if not stored.token:
            load_record(self._home, stored)  # which says why nothing is held
        origin = origin_of(self._home, stored.issuer)
        parse_record(stored.token).verify(origin, now=stored.issued_at, logged_at=BEFORE_ANY)

    def _best_checkpoint(self, org: OrgId, *, least: int) -> VerifiedCheckpoint | None:
        """Return the checkpoint of so many entries at least with the most signatures; of several, the newest.

        They are looked at as they are sorted there, and the first that verifies is it.
        """
        logs = self._store.logs
        kept = ((_signatures(row.checkpoint), row.size, row.checkpoint) for row in logs.fullest_checkpoints(org, least))
        newest, size = newest_with_cosignatures(self._store, org), logs.get(org).signed
        last = [(_signatures(newest), size, newest)] if newest and size >= least else []
        enough = merge(kept, last, key=lambda one: one[:2], reverse=True)
        return next((found for _, _, text in enough if (found := self._verified(org, text))), None)

    def _verified(self, org: OrgId, text: str) -> VerifiedCheckpoint | None:
        """Return a checkpoint of the tree that is held, which one of the log's keys of today signed; else None.

        A key that was stolen counts no more; and of an origin that has forked, what is kept may be of another tree.
        """
        log = TransparencyLog(self._store.logs, org)
        try:
            found = verify_checkpoint(text, origin=log_name(org), vkeys=vkeys_of(self._home, org))
        except (Malformed, RecordRefused):
            return None
        return found if found.checkpoint.size <= log.size and log.begins_with(found) else None

    def _evidence(self, row: EvidenceRow) -> v1.LogEvidence:
        message = v1.LogEvidence(org=row.origin, kind=row.kind, digest=row.digest)
        message.at.FromSeconds(row.at)
        try:
            known = origin_of(self._home, row.origin)
            message.finding = verify_evidence(parse_evidence(row.bundle), known=known).finding
        except (Malformed, RecordRefused, NotFound):
            pass  # what was held is held, and says nothing where its keys do not count any more
        return message


def _signatures(checkpoint: str) -> int:
    """Count the lines under a checkpoint."""
    return checkpoint.count("\n\u2014 ")
