"""This module hears what others hold of our own log: cosignatures, and whether it was once longer than it is here.

    as much as we have, or less     its cosignatures are kept; another root: our log has forked
    more than we have               our store was put back to an earlier state: nothing is issued, and nothing sent,
                                    until everybody has said how much of our log it saw; the entries come back

A log that was put back and goes on would show two histories, and its organisation
would be caught by all the others. So the first thing that a home learns in such
a case is to wait; `tocsin restore` has it wait from the beginning.
"""

import logging

from tocsin.audit.entry import Entry, Event
from tocsin.errors import NotPermitted, PeerMisbehaved
from tocsin.exchange.growth import Growth
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.vkey import NoteAlgorithm, log_name
from tocsin.release.ledger import PUT_BACK, go_on, hold
from tocsin.release.office import Office
from tocsin.tlog.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    add_cosignatures,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from tocsin.tlog.merkle import verify_consistency
from tocsin.tlog.note import parse_verifier

_log = logging.getLogger(__name__)

FORKED = "another history of it, under our signature, is held by others"


class Ours:
    """What others say of our log, at a moment."""

    def __init__(self, office: Office, *, now: int) -> None:
        self._office = office
        self._logs = office.store.logs
        self._log = office.tlog
        self._now = now

    def look(self, text: str, *, by: Organisation) -> bool:
        """Hear a checkpoint of our log, as a peer holds it; True: it is larger than what we have, and that is wanted.

        Raises MalformedLog, CheckpointRefused and SignatureMismatch for what is none of ours.
        """
        organisation = self._office.organisation
        checkpoint = verify_checkpoint(text, origin=log_name(organisation.org), vkeys=organisation.log_vkeys)
        tree = checkpoint.checkpoint
        with self._office.store.transaction():
            if tree.size > self._log.size:
                self._hold(by=by.org)
                return True
            if not self._log.begins_with(checkpoint):
                self._stop(by=by.org)
                return False
            self._keep_cosignatures(SignedCheckpoint(tree, checkpoint.note), by=by)
        return False

    def cosigned(self, text: str, *, by: Organisation) -> None:
        """Keep the cosignature that came with a receipt, where it is of a tree of ours; the log's signature is ours."""
        signed = parse_checkpoint(text)
        tree = signed.checkpoint
        if tree.origin != log_name(self._log.org) or tree.size > self._log.size:
            return
        if self._log.root(tree.size) == tree.root:
            self._keep_cosignatures(signed, by=by)

    def extend(self, growth: Growth, *, by: OrgId) -> int:
        """Take back entries of our log that we have lost, and return how many there are then.

        Raises NotPermitted where our log waits for nobody, and PeerMisbehaved
        for entries that are not those that we signed.
        """
        with self._office.store.transaction():
            row = self._logs.get(self._log.org)
            if not row.stopped:
                raise NotPermitted("our log waits for nobody")
            organisation = self._office.organisation
            checkpoint = verify_checkpoint(
                growth.checkpoint, origin=log_name(organisation.org), vkeys=organisation.log_vkeys
            )
            tree = checkpoint.checkpoint
            if growth.start != row.size or tree.size <= row.size:
                return row.size
            size = self._log.append(growth.entries, now=self._now)
            root = self._log.root(size)
            if size < tree.size:
                verify_consistency(old=size, new=tree.size, proof=growth.end_proof, old_root=root, new_root=tree.root)
            elif root != tree.root:
                raise PeerMisbehaved(f"what {by} gives back of our log is not what we signed")
            self._log.sign(self._log.signer, now=self._now)
            return size

    def said(self, peer: OrgId) -> None:
        """Take note that a peer has said how much of our log it saw; when everybody has, we go on."""
        with self._office.store.transaction():
            if self._logs.has_said(peer) and not self._logs.awaited() and self._logs.get(self._log.org).stopped:
                go_on(self._office.store, self._log, now=self._now)
                self._office.log.append(Entry(Event.LOG_RESUMED, partner=peer), now=self._now)

    def _hold(self, *, by: OrgId) -> None:
        if not self._logs.get(self._log.org).stopped:
            hold(self._office.store, self._log.org, why=PUT_BACK, now=self._now)
            self._note(PUT_BACK, by=by)

    def _stop(self, *, by: OrgId) -> None:
        """Issue nothing until people say so: no peer can mend this by what it has seen."""
        if self._logs.get(self._log.org).stopped != FORKED:
            self._logs.stop(self._log.org, FORKED, now=self._now)
            for peer in self._logs.awaited():
                self._logs.has_said(peer)
            self._note(FORKED, by=by)

    def _note(self, why: str, *, by: OrgId) -> None:
        self._office.log.append(Entry(Event.LOG_HELD, partner=by, details={"why": why}), now=self._now)
        _log.error("nothing is issued any more: %s", why)

    def _keep_cosignatures(self, signed: SignedCheckpoint, *, by: Organisation) -> None:
        """Keep who has cosigned a tree of ours, beside those who have already."""
        tree = signed.checkpoint
        verifiers = [parse_verifier(vkey, algorithm=NoteAlgorithm.COSIGNATURE_V1) for vkey in by.witness_vkeys]
        kept = [
            row.checkpoint for row in self._logs.checkpoints(self._log.org, least=tree.size) if row.size == tree.size
        ]
        bare = sign_checkpoint(Checkpoint(tree.origin, tree.size, tree.root), signer=self._log.signer)
        before = kept[0] if kept else bare
        lines = "".join(line.line() for line in signed.note.signatures)
        text = add_cosignatures(before, lines, verifiers=verifiers, now=self._now)
        count = len(parse_checkpoint(text).note.signatures)
        if text != before and count > 1:
            self._logs.keep_checkpoint(self._log.org, text, size=tree.size, signatures=count, now=self._now)
