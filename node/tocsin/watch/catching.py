"""This module makes evidence of what was read of a log, where it contradicts what its origin shows.

Every piece is signed by the origin itself (`tocsin.tlog.evidence`); the proofs
between the pieces are worked out here, from what was read.
"""

from collections.abc import Sequence
from contextlib import suppress

from tocsin.errors import CheckpointRefused, MalformedLog, PeerMisbehaved
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.vkey import log_name
from tocsin.store.delivery import Logs
from tocsin.store.evidence import LogRow
from tocsin.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from tocsin.tlog.entry import id_half
from tocsin.tlog.evidence import Evidence, Kind, LoggedEntry, is_rollback, parse_evidence, shown_at
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.merkle import consistency_roots, inclusion_proof
from tocsin.watch.growth import Growth


def verify_own(origin: Organisation, text: str) -> VerifiedCheckpoint:
    """Verify that an origin's log signed a checkpoint, under the keys that count today. Raises as verify_checkpoint."""
    return verify_checkpoint(text, origin=log_name(origin.org), vkeys=origin.log_vkeys)


def find_contradiction(
    logs: Logs, origin: Organisation, checkpoint: VerifiedCheckpoint, row: LogRow
) -> Evidence | None:
    """Return what a checkpoint of a tree that is read proves against its origin, if it does."""
    size, log = checkpoint.checkpoint.size, TransparencyLog(logs, origin.org)
    if not row.signed:
        return None
    held = verify_own(origin, row.checkpoint)
    if not log.begins_with(checkpoint):
        proof = log.consistency(size, row.signed)
        return _evidence(origin, Kind.FORK, checkpoint, held, older_root=log.root(size), proof=proof)
    if is_rollback(held, checkpoint, origin=origin):
        return _evidence(origin, Kind.ROLLBACK, held, checkpoint)
    return None


def find_fork(
    logs: Logs, origin: Organisation, checkpoint: VerifiedCheckpoint, growth: Growth, row: LogRow
) -> Evidence | None:
    """Return the proof that a larger tree does not begin with what was read, if it does not.

    Raises PeerMisbehaved where what came along proves nothing.
    """
    if not row.size or TransparencyLog(logs, origin.org).root(row.size) == growth.start_root:
        return None
    verify_start(origin.org, checkpoint, growth)
    held = verify_own(origin, row.checkpoint)
    return _evidence(origin, Kind.FORK, held, checkpoint, older_root=growth.start_root, proof=growth.start_proof)


def find_earlier(logs: Logs, origin: Organisation, checkpoint: VerifiedCheckpoint, row: LogRow) -> Evidence | None:
    """Return what a larger tree, which is read whole, proves by what was held, or cosigned, before it came."""
    size, log = checkpoint.checkpoint.size, TransparencyLog(logs, origin.org)
    if row.checkpoint and is_rollback(checkpoint, held := verify_own(origin, row.checkpoint), origin=origin):
        return _evidence(origin, Kind.ROLLBACK, checkpoint, held)  # it came late, by somebody else
    if row.cosigned > size or begins_with_cosigned(logs, row, size):
        return None
    for kept in logs.checkpoints(origin.org, least=row.cosigned):
        with suppress(CheckpointRefused):
            other = verify_own(origin, kept.checkpoint)
            if other.checkpoint.root == row.cosigned_root and not is_old(other, origin, row):
                root, proof = log.root(row.cosigned), log.consistency(row.cosigned, size)
                return _evidence(origin, Kind.FORK, other, checkpoint, older_root=root, proof=proof)
    return None


def begins_with_cosigned(logs: Logs, row: LogRow, size: int) -> bool:
    """Say whether the tree of the first entries begins with all that we have cosigned of a log."""
    if not row.cosigned or row.cosigned > size:
        return not row.cosigned
    return TransparencyLog(logs, OrgId(row.origin)).root(row.cosigned) == row.cosigned_root


def verify_start(org: OrgId, checkpoint: VerifiedCheckpoint, growth: Growth) -> None:
    """Verify that a tree begins with what is said to stand before the entries. Raises PeerMisbehaved."""
    old, tree = growth.start, checkpoint.checkpoint
    try:
        roots = consistency_roots(old=old, new=tree.size, proof=growth.start_proof, old_root=growth.start_root)
    except MalformedLog as error:
        raise not_the_tree(org) from error
    if roots != (growth.start_root, tree.root):
        raise not_the_tree(org)


def find_two_entries(
    logs: Logs, origin: Organisation, checkpoint: VerifiedCheckpoint, *, since: int
) -> Evidence | None:
    """Return two entries of a tree that is read whole, one of them behind an entry, that share an id half.

    A log is never without those that it once had: what people have gone on with is passed over.
    """
    names = logs.repeated(origin.org, since=since)
    known = {entry for one in explained(logs, origin.org) for entry in _named_by(one)} if names else set()
    for name in names:
        first, *others = logs.named(origin.org, name)
        for other in others:
            if other.entry != first.entry and not {first.entry, other.entry} <= known:
                size, numbers = checkpoint.checkpoint.size, (first.number, other.number)
                entries = tuple(_included(logs, origin.org, number, size) for number in numbers)
                return _evidence(origin, Kind.ENTRIES, checkpoint, entries=entries)
    return None


def explained(logs: Logs, org: OrgId) -> list[Evidence]:
    """Return the evidence against an origin with which people have gone on since: the same stops nothing again."""
    resumed = logs.get(org).resumed
    return [parse_evidence(found.bundle) for found in logs.evidence(org) if found.at <= resumed]


def is_explained(logs: Logs, org: OrgId, evidence: Evidence) -> bool:
    """Say whether people have gone on with the same: two entries that are known, or a record."""
    if evidence.kind is Kind.ENTRIES:
        return _named_by(evidence) <= {entry for one in explained(logs, org) for entry in _named_by(one)}
    return bool(evidence.record) and evidence.record in {one.record for one in explained(logs, org)}


def _named_by(evidence: Evidence) -> set[bytes]:
    """Return two entries that share an id half."""
    return {one.entry for one in evidence.entries} if evidence.kind is Kind.ENTRIES else set()


def find_other_record(logs: Logs, origin: Organisation, entry: bytes, record: str) -> Evidence | None:
    """Return the entry that a log has under the id half of a record that its origin signed, instead of it."""
    row = logs.get(origin.org)
    others = [one for one in logs.named(origin.org, id_half(entry)) if one.number < row.signed]
    if not record or not others or any(one.entry == entry for one in others):
        return None
    held, other = verify_own(origin, row.checkpoint), _included(logs, origin.org, others[0].number, row.signed)
    found = _evidence(origin, Kind.RECORD, held, entries=(other,), record=record)
    return None if is_explained(logs, origin.org, found) else found


def is_old(checkpoint: VerifiedCheckpoint, origin: Organisation, row: LogRow) -> bool:
    """Say whether it was shown before people said to go on with its origin: by then it was known."""
    return bool(row.resumed) and (shown_at(checkpoint, origin=origin) or 0) <= row.resumed


def not_the_tree(org: OrgId) -> PeerMisbehaved:
    """Return the error that what came of a log is not in it."""
    return PeerMisbehaved(
        f"what came of the log of {org} does not lead to what {org} signed",
        hint="nothing of it was kept; it is asked for again at the next contact",
    )


def _included(logs: Logs, org: OrgId, number: int, size: int) -> LoggedEntry:
    (entry,) = logs.entries(org, start=number, limit=1)
    return LoggedEntry(number, entry, inclusion_proof(number, size, TransparencyLog(logs, org).read))


def _evidence(
    origin: Organisation,
    kind: Kind,
    *checkpoints: VerifiedCheckpoint,
    older_root: bytes = b"",
    proof: Sequence[bytes] = (),
    entries: tuple[LoggedEntry, ...] = (),
    record: str = "",
) -> Evidence:
    return Evidence(
        kind=kind,
        identity=origin.document,
        checkpoints=tuple(checkpoint.text for checkpoint in checkpoints),
        older_root=older_root,
        proof=tuple(proof),
        entries=entries,
        record=record,
    )
