"""This module holds what origins show of their logs against what was read of them, and keeps what proves two histories.

    a checkpoint     of a tree that is read already    its root must be the one that was read
                     of a larger tree                  the entries between are wanted
    the entries      lead to the checkpoint's root     kept, with the checkpoint, and cosigned: here we are a witness
                     begin with another tree           the origin has forked its log
    what is kept     one id half, two digests          two records under one id and version
                     a later time, a smaller tree      the log was put back

Whoever is caught is stopped: nothing of it is taken in until people say so
(`tocsin log resume`), and the proof of it is kept. Nothing is believed of
whoever brings a checkpoint: the origin signed it, or it says nothing.
`tocsin.watch.ours` does the same for what others hold of our own log.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Final

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON, encode_base64url
from tocsin.errors import CheckpointRefused, MalformedLog, OriginStopped, PeerMisbehaved, ProofMismatch, StaleCheckpoint
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.vkey import NoteAlgorithm, log_name, witness_name
from tocsin.release.office import Office
from tocsin.store.evidence import EvidenceRow, LogRow
from tocsin.tlog.checkpoint import (
    CLOCK_SKEW,
    Checkpoint,
    VerifiedCheckpoint,
    cosign,
    parse_checkpoint,
    verify_checkpoint,
)
from tocsin.tlog.evidence import Evidence, Kind, dump_evidence, parse_evidence, shown_at, verify_evidence
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.merkle import verify_consistency
from tocsin.tlog.note import Note, Signature, Verifier, format_note, parse_signatures, parse_verifier
from tocsin.tlog.proof import parse_proof, verify_proof
from tocsin.watch.catching import (
    begins_with_cosigned,
    find_contradiction,
    find_earlier,
    find_fork,
    find_other_record,
    find_two_entries,
    is_explained,
    is_old,
    not_the_tree,
    verify_own,
    verify_start,
)
from tocsin.watch.growth import Growth
from tocsin.watch.signatures import keep_cosigned, keys_of, put_together

_log = logging.getLogger(__name__)

Origins = Callable[[OrgId], Organisation | None]
"""Returns an organisation whose identity was confirmed here."""

STOPPED: Final = {
    Kind.FORK: "it signed two different histories of its log",
    Kind.ENTRIES: "its log has two records under one id and version",
    Kind.RECORD: "it signed a record that its log does not have, under an id and version that it has",
    Kind.ROLLBACK: "it showed a smaller log after a larger one",
}
"""What is said of an origin that was caught, by the kind of evidence."""


class Watch:
    """What is known of the logs of others, at a moment."""

    def __init__(self, office: Office, origins: Origins, *, now: int) -> None:
        self._office = office
        self._logs = office.store.logs
        self._origins = cache(origins)
        self._now = now
        self._verified: dict[str, VerifiedCheckpoint] = {}
        self._read: dict[Checkpoint, LogRow] = {}  # with where its log stood then
        self._caught: set[OrgId] = set()

    def verify(self, text: str) -> tuple[Organisation, VerifiedCheckpoint] | None:
        """Return whose checkpoint it is, and that its log signed it; None for a log that is not known here, or is ours.

        Raises MalformedLog, and CheckpointRefused (UNSIGNED_CHECKPOINT, FUTURE_COSIGNATURE).
        """
        name = parse_checkpoint(text).checkpoint.origin
        org = OrgId(name.removesuffix("/tocsin"))
        origin = self._origins(org) if name == log_name(org) else None
        if origin is None or org == self._office.organisation.org:
            return None
        if text not in self._verified:
            checkpoint = verify_checkpoint(text, origin=name, vkeys=origin.log_vkeys)
            if (shown_at(checkpoint, origin=origin) or 0) > self._now + CLOCK_SKEW:
                raise CheckpointRefused(
                    f"{org} says what its log was at a time that has not come",
                    reason="FUTURE_COSIGNATURE",
                    hint="compare the clocks of both nodes; it goes on by itself when they agree",
                )
            self._verified[text] = checkpoint
        return origin, self._verified[text]

    def verify_taking(self, org: OrgId) -> None:
        """Refuse an origin of which nothing is taken. Raises OriginStopped."""
        if why := self._logs.get(org).stopped:
            raise _stopped(org, why)

    def look(self, text: str) -> bool:
        """Hold a checkpoint against what was read; True: it goes on from there, and its entries are wanted.

        Raises as `verify` does, and OriginStopped where it proves that its
        origin has shown two histories: the proof is kept by then.
        """
        known = self.verify(text)
        if known is None:
            return False
        origin, checkpoint = known
        held = self._logs.get(origin.org)
        if self._is_held(origin, checkpoint, held):  # as it mostly is, where a page is
            self._read[checkpoint.checkpoint] = held
            return False
        with self._office.store.transaction():
            row = self._under_keys_of_today(origin, checkpoint)
            if row.stopped or is_old(checkpoint, origin, row):
                return False
            size, log = checkpoint.checkpoint.size, TransparencyLog(self._logs, origin.org)
            if row.signed < size <= row.size and not log.begins_with(checkpoint):
                self._logs.cut(origin.org, row.signed)  # what was read on the way to another tree
                return True
            if size > row.size:
                return True
            caught = find_contradiction(self._logs, origin, checkpoint, row)
            if caught is None:
                self._merge(origin, checkpoint, row)
                return False
            self._keep(origin, caught)
        self.verify_taking(origin.org)
        return False

    def extend(self, origin: Organisation, growth: Growth) -> int:
        """Keep the entries that follow what was read, as far as their checkpoint proves them; return how many are read.

        Where something else was read meanwhile, it says how much that is.

        Raises as `verify` does, PeerMisbehaved for entries that are not those
        of the tree, and OriginStopped as `look` does.
        """
        known = self.verify(growth.checkpoint)
        if known is None or known[0].org != origin.org:
            raise PeerMisbehaved(f"the entries of {origin.org} come with the checkpoint of another log")
        checkpoint = known[1]
        self.verify_taking(origin.org)
        with self._office.store.transaction():
            row = self._under_keys_of_today(origin, checkpoint)
            is_behind = checkpoint.checkpoint.size <= row.size or is_old(checkpoint, origin, row)
            if row.size != growth.start or is_behind or row.stopped:
                return row.size
            log = TransparencyLog(self._logs, origin.org)
            if row.size > row.signed and log.root(row.size) != growth.start_root:
                verify_start(origin.org, checkpoint, growth)
                self._logs.cut(origin.org, row.signed)  # what was read on the way to another tree
                return row.signed
            caught = find_fork(self._logs, origin, checkpoint, growth, row)
            if caught is None:
                self._append(origin, checkpoint, growth)
                size = self._logs.get(origin.org).size
                if size == checkpoint.checkpoint.size:
                    caught = self._complete(origin, checkpoint, row)
            if caught is None:
                return size
            self._keep(origin, caught)
        self.verify_taking(origin.org)
        return row.size

    def require(self, text: str) -> tuple[Organisation, VerifiedCheckpoint]:
        """Return a checkpoint of a tree that was read; what is proved by it is in the log for everybody.

        Raises as `look` does, StaleCheckpoint where the log was not read that
        far, and PeerMisbehaved where another tree was.
        """
        known = self.verify(text)
        if known is None:
            raise PeerMisbehaved("a checkpoint is of a log that nobody here knows")
        origin, checkpoint = known
        if checkpoint.checkpoint in self._read and origin.org not in self._caught:
            return known
        self.verify_taking(origin.org)
        with self._office.store.transaction():  # the log may be cut meanwhile
            row = self._logs.get(origin.org)
            is_more = checkpoint.checkpoint.size > row.size
            is_read = not is_more and TransparencyLog(self._logs, origin.org).begins_with(checkpoint)
        if is_more and not is_old(checkpoint, origin, row):
            metadata = {"origin": origin.org, "size": str(checkpoint.checkpoint.size)}
            raise StaleCheckpoint(f"the log of {origin.org} was not read that far", metadata=metadata)
        if not is_read:
            self.look(text)
            raise not_the_tree(origin.org)
        self._read[checkpoint.checkpoint] = row
        return known

    def still_holds(self) -> bool:
        """Say whether what was required is read still; where it is not, all of it is to be required again.

        Before the transaction in which this is asked, an origin may have been caught, or what was read of it cut.
        """
        for tree, then in self._read.items():
            row, log = self._logs.get(then.origin), TransparencyLog(self._logs, OrgId(then.origin))
            if row != then and (row.stopped or tree.size > row.size or log.root(tree.size) != tree.root):
                self._read.clear()
                return False
        return True

    def verify_logged(self, origin: Organisation, proof: str, entry: bytes, *, record: str = "") -> int:
        """Verify that an origin's log has an entry, by a proof that came along, and return its number.

        `record` is what it is the entry of, as its origin signed it.

        Raises MalformedLog, CheckpointRefused, ProofMismatch (NOT_INCLUDED);
        ProofMismatch (NOT_CONSISTENT) for a proof in another tree than was
        read, and StaleCheckpoint and OriginStopped as `require` does;
        OriginStopped also where the log has another digest in its place.
        """
        try:
            return self._verify_proof(origin, proof, entry)
        except (MalformedLog, ProofMismatch):  # whatever came along: what is read of the log may say more
            self.verify_taking(origin.org)
            with self._office.store.transaction():
                caught = find_other_record(self._logs, origin, entry, record)
                if caught is not None:
                    self._keep(origin, caught)
            if caught is None:
                raise
        raise _stopped(origin.org, STOPPED[caught.kind])

    def cosigned(self, org: OrgId) -> str:
        """Return the checkpoint of a log with our cosignature alone; empty where we have not cosigned it."""
        text, own = self._logs.get(org).checkpoint, witness_name(self._office.organisation.org)
        note = parse_checkpoint(text).note if text else None
        lines = [line for line in note.signatures if line.name == own] if note else []
        return format_note(Note(note.text, tuple(lines))) if note and lines else ""

    def keep_evidence(self, bundle: bytes) -> None:
        """Keep evidence that somebody else has found, if it proves something against an origin that is known here.

        Raises Malformed and RecordRefused for what proves nothing, and OriginStopped where it proves something new.
        """
        if any(row.bundle == bundle for row in self._logs.evidence()):
            return
        evidence = parse_evidence(bundle)
        claimed = parse_checkpoint(evidence.checkpoints[0]).checkpoint.origin
        origin = self._origins(OrgId(claimed.removesuffix("/tocsin")))
        if origin is None or evidence.kind is Kind.RECORD:
            return  # what is under the signature of a record goes from people to people
        verify_evidence(evidence, known=origin)
        row, shown = self._logs.get(origin.org), [verify_own(origin, text) for text in evidence.checkpoints]
        if row.stopped or any(is_old(one, origin, row) for one in shown):
            return
        if is_explained(self._logs, origin.org, evidence):
            return
        with self._office.store.transaction():
            self._keep(origin, evidence)
        self.verify_taking(origin.org)

    def put_together(
        self, origin: Organisation, checkpoint: VerifiedCheckpoint, lines: str | Sequence[Signature]
    ) -> str:
        """Return a checkpoint with what counts of the lines under it, and of further ones; see `signatures`."""
        more = (parse_signatures(lines) if lines else ()) if isinstance(lines, str) else lines
        return put_together(
            checkpoint.note.text,
            [*checkpoint.note.signatures, *more],
            origin=origin,
            witnesses=self._witness,
            now=self._now,
        )

    def _is_held(self, origin: Organisation, checkpoint: VerifiedCheckpoint, row: LogRow) -> bool:
        """Say whether a checkpoint is the one that is held of an origin, and says nothing more than that does."""
        if row.stopped or not row.checkpoint or not self._has_cosigned(row.checkpoint):
            return False
        with suppress(CheckpointRefused):  # under keys of today
            held, shown = verify_own(origin, row.checkpoint).note, checkpoint.note
            return shown.text == held.text and set(shown.signatures) <= set(held.signatures)
        return False

    def _has_cosigned(self, text: str) -> bool:
        """Say whether one of the lines under a checkpoint is ours, by the key of today."""
        own = parse_verifier(self._office.tlog.witness_vkey, algorithm=NoteAlgorithm.COSIGNATURE_V1)
        return any(own.is_signer_of(line) for line in parse_checkpoint(text).note.signatures)

    def _witness(self, name: str) -> tuple[Verifier, ...]:
        """Return the keys of a witness that is known here, or our own."""
        org = OrgId(name.removesuffix("/witness"))
        known = self._origins(org) if name == witness_name(org) else None
        return keys_of(known) if known else ()

    def _verify_proof(self, origin: Organisation, proof: str, entry: bytes) -> int:
        read, name = parse_proof(proof), log_name(origin.org)
        if parse_checkpoint(read.checkpoint).checkpoint.origin != name:
            raise MalformedLog("the proof is of another log than the record's origin has", reason="BAD_PROOF")
        try:
            self.require(read.checkpoint)
        except PeerMisbehaved as error:  # whoever passes it on may not know, and has other things to say
            raise ProofMismatch(error.message, reason="NOT_CONSISTENT") from error
        return verify_proof(read, entry, origin=name, vkeys=origin.log_vkeys, quorum=None, now=self._now).index

    def _under_keys_of_today(self, origin: Organisation, checkpoint: VerifiedCheckpoint) -> LogRow:
        """Return where a log stands, without a checkpoint whose key counts no more: a thief may have made it."""
        row = self._logs.get(origin.org)
        with suppress(CheckpointRefused):
            if not row.checkpoint or verify_own(origin, row.checkpoint):
                return row
        tree = checkpoint.checkpoint
        if tree.size <= row.size and TransparencyLog(self._logs, origin.org).begins_with(checkpoint):
            text = self.put_together(origin, checkpoint, "")
            self._logs.set_checkpoint(origin.org, text, signed=tree.size, now=self._now)
        else:
            self._logs.cut(origin.org, 0)
        return self._logs.get(origin.org)

    def _append(self, origin: Organisation, checkpoint: VerifiedCheckpoint, growth: Growth) -> None:
        """Append entries that the checkpoint's tree goes on with."""
        log, tree = TransparencyLog(self._logs, origin.org), checkpoint.checkpoint
        size = log.append(growth.entries, now=self._now)
        try:
            if size == tree.size:
                reached = log.root(size) == tree.root
            else:
                root = log.root(size)
                verify_consistency(old=size, new=tree.size, proof=growth.end_proof, old_root=root, new_root=tree.root)
                reached = True
        except (MalformedLog, ProofMismatch):
            reached = False
        if not reached:
            raise not_the_tree(origin.org)

    def _complete(self, origin: Organisation, checkpoint: VerifiedCheckpoint, row: LogRow) -> Evidence | None:
        """Keep a checkpoint whose tree is read whole, and cosign it; return what it proves against its origin."""
        caught = find_earlier(self._logs, origin, checkpoint, row)
        if caught is not None:
            return caught
        is_more = begins_with_cosigned(self._logs, row, checkpoint.checkpoint.size)
        line = cosign_tree(self._office, origin.org, checkpoint, now=self._now) if is_more else ""
        text = self.put_together(origin, checkpoint, line)
        self._logs.set_checkpoint(origin.org, text, signed=checkpoint.checkpoint.size, now=self._now)
        keep_cosigned(self._logs, origin.org, text, now=self._now)
        return find_two_entries(self._logs, origin, checkpoint, since=row.signed)

    def _merge(self, origin: Organisation, checkpoint: VerifiedCheckpoint, row: LogRow) -> None:
        """Take over what others have signed under the checkpoint that is held, and when its origin showed it last."""
        if checkpoint.checkpoint.size != row.signed or checkpoint.text == row.checkpoint:
            return
        if not row.checkpoint:  # that a log is empty is said at a time as well
            text = self.put_together(origin, checkpoint, "")
            self._logs.set_checkpoint(origin.org, text, signed=0, now=self._now)
            return
        text = self.put_together(origin, verify_own(origin, row.checkpoint), checkpoint.note.signatures)
        if row.signed and not self._has_cosigned(text) and begins_with_cosigned(self._logs, row, row.signed):
            # Our clock was behind when it was read, or our key is another now.
            line = cosign_tree(self._office, origin.org, checkpoint, now=self._now)
            text = self.put_together(origin, verify_own(origin, text), line)
        if text != row.checkpoint:
            self._logs.set_checkpoint(origin.org, text, signed=row.signed, now=self._now)
            keep_cosigned(self._logs, origin.org, text, now=self._now)

    def _keep(self, origin: Organisation, evidence: Evidence) -> None:
        """Keep evidence, and take nothing from its origin any more."""
        verify_evidence(evidence, known=origin)  # what proves nothing to others would stop an origin for nothing
        bundle, why = dump_evidence(evidence), STOPPED[evidence.kind]
        digest = encode_base64url(hashlib.sha256(bundle).digest())
        self._logs.add_evidence(EvidenceRow(origin.org, evidence.kind.value, digest, bundle, self._now))
        self._logs.stop(origin.org, why, now=self._now)
        self._caught.add(origin.org)
        details: dict[str, JSON] = {"kind": evidence.kind.value, "evidence": digest}
        self._office.log.append(Entry(Event.ORIGIN_STOPPED, partner=origin.org, details=details), now=self._now)
        _log.error("nothing is taken from %s any more: %s", origin.org, why)


def cosign_tree(office: Office, org: OrgId, checkpoint: VerifiedCheckpoint, *, now: int) -> str:
    """Keep that we cosign a tree, and return the line by which we do; empty while our clock is behind the last one.

    The caller MUST have found that it begins with what was cosigned before, in the same transaction.
    """
    if now < office.store.logs.get(org).cosigned_at:
        return ""
    office.store.logs.note_cosigned(org, checkpoint.checkpoint.size, checkpoint.checkpoint.root, now=now)
    return cosign(checkpoint, name=witness_name(office.organisation.org), signer=office.tlog.witness, now=now)


def _stopped(org: OrgId, why: str) -> OriginStopped:
    hint = f"look at it: tocsin log evidence {org}; when it is explained: tocsin log resume {org}"
    return OriginStopped(f"nothing is taken from {org}: {why}", hint=hint)
