"""This module hears what others hold of our own log: cosignatures, and whether it was once longer than it is here.

    as much as we have, or less     its cosignatures are kept; another root: our log has forked
    more than we have               our store was put back to an earlier state: nothing is issued, and nothing sent,
                                    until everybody has said how much of our log it saw; the entries come back

A log that was put back and goes on would show two histories, and its organisation
would be caught by all the others. So the first thing that a home learns in such
a case is to wait; `tocsin restore` has it wait from the beginning.
"""

import logging
from collections.abc import Iterator

from tocsin.audit.entry import Entry, Event
from tocsin.errors import MalformedLog, NotPermitted, OriginStopped, ProofMismatch
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.vkey import log_name
from tocsin.release.ledger import PUT_BACK, go_on, hold
from tocsin.release.office import Office
from tocsin.tlog.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    VerifiedCheckpoint,
    parse_checkpoint,
    sign_checkpoint,
)
from tocsin.tlog.merkle import verify_consistency
from tocsin.tlog.note import MAX_SIGNATURES, Signature
from tocsin.watch.catching import is_old, not_the_tree, verify_own, verify_start
from tocsin.watch.growth import Growth
from tocsin.watch.signatures import cosigned, keep_cosigned, keys_of

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

        What was shown before our log went on is known to people here, as far
        as it is none of ours any more.

        Raises MalformedLog and CheckpointRefused for what is none of ours: a
        tree of ours is one of ours, whichever key has signed it.
        """
        organisation = self._office.organisation
        with self._office.store.transaction():
            if self.cosigned(text, by=by):
                return False
            checkpoint = verify_own(organisation, text)
            row = self._logs.get(self._log.org)
            if not row.stopped and is_old(checkpoint, organisation, row):
                return False
            if checkpoint.checkpoint.size > row.size:
                self._hold(by=by.org)
                # Who saw more of our log may hold what it stands for. It is asked, also where nothing is sent that
                # could tell us more, and where it is a reader.
                self._office.store.recoveries.begin(by.org, now=self._now)
                return True
            self._stop(by=by.org)
        return False

    def cosigned(self, text: str, *, by: Organisation) -> bool:
        """Keep how a peer has cosigned a tree of ours; False where it is none. The log's signature on it is ours."""
        signed = parse_checkpoint(text)
        tree = signed.checkpoint
        if Checkpoint(log_name(self._log.org), tree.size, tree.root) != tree or tree.size > self._log.size:
            return False
        if self._log.root(tree.size) != tree.root:
            return False
        self._keep_cosignatures(signed, by=by)
        return True

    def extend(self, growth: Growth, *, by: OrgId) -> int:
        """Take back entries of our log that we have lost, and return how many there are then.

        A larger checkpoint says that our log was put back, as in `look`.

        Raises NotPermitted where our log waits for nobody, PeerMisbehaved for
        entries that are not those that we signed, and OriginStopped where they
        go on from another tree than ours.
        """
        organisation = self._office.organisation
        checkpoint = verify_own(organisation, growth.checkpoint)
        with self._office.store.transaction():
            row, size = self._logs.get(self._log.org), checkpoint.checkpoint.size
            if not row.stopped and (size <= row.size or is_old(checkpoint, organisation, row)):
                raise NotPermitted("our log waits for nobody")
            if size <= row.size:
                return row.size
            self._hold(by=by)
        with self._office.store.transaction():
            size = self._log.size
            if growth.start != size:
                return size
            if not size or self._log.root(size) == growth.start_root:
                return self._take_back(checkpoint, growth)
            verify_start(self._log.org, checkpoint, growth)
            self._stop(by=by)
        raise OriginStopped(f"what {by} gives back of our log does not go on from ours: {FORKED}")

    def _take_back(self, checkpoint: VerifiedCheckpoint, growth: Growth) -> int:
        size, tree = self._log.append(growth.entries, now=self._now), checkpoint.checkpoint
        root, proof = self._log.root(size), growth.end_proof
        try:
            if size < tree.size:
                verify_consistency(old=size, new=tree.size, proof=proof, old_root=root, new_root=tree.root)
            is_ours = size < tree.size or (size, root) == (tree.size, tree.root)
        except (MalformedLog, ProofMismatch):
            is_ours = False
        if not is_ours:
            raise not_the_tree(self._log.org)
        self._log.sign(self._log.signer, now=self._now)
        return size

    def said(self, peer: OrgId) -> None:
        """Take note that a peer has said how much of our log it saw; when everybody has, we go on.

        Not where our log has stopped for another reason: that is for people to say.
        """
        with self._office.store.transaction():
            is_last = self._logs.has_said(peer) and not self._logs.awaited()
            if is_last and self._logs.get(self._log.org).stopped == PUT_BACK:
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
        """Keep that a peer has cosigned a tree of ours, beside those who have already; what is forged is left out."""
        tree = signed.checkpoint
        bare = sign_checkpoint(Checkpoint(tree.origin, tree.size, tree.root), signer=self._log.signer)
        kept = {(line.name, line.key_hash): line for line in self._kept(tree)}
        before = dict(kept)
        for line in signed.note.signatures:
            for new in cosigned(signed.note.text, line, keys_of(by), now=self._now):
                key = line.name, line.key_hash
                old = [*cosigned(signed.note.text, kept[key], [new.verifier], now=self._now)] if key in kept else []
                if not old or new.at < old[0].at:
                    kept[key] = line
        if kept != before and len(kept) < MAX_SIGNATURES:
            text = bare + "".join(line.line() for line in kept.values())
            keep_cosigned(self._logs, self._log.org, text, now=self._now)

    def _kept(self, tree: Checkpoint) -> Iterator[Signature]:
        """Yield the cosignatures of a tree of ours that are kept, of the fullest checkpoint."""
        rows = self._logs.checkpoints(self._log.org, least=tree.size)
        notes = [parse_checkpoint(row.checkpoint).note for row in rows if row.size == tree.size]
        fullest = max(notes, key=lambda note: len(note.signatures), default=None)
        yield from (line for line in fullest.signatures if line.name != tree.origin) if fullest else ()
