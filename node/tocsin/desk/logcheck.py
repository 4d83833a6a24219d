"""This module looks through the transparency logs of a store for what is not what was signed, and for what is missing.

Our own and those of others, each from its first entry to its last; and of all
that we issued, whether it has an entry. While our log waits to hear how long
it was, what is not in it yet may still come back: nobody is asked for it here.
Nor is it where our log has yet to begin.
"""

from collections.abc import Iterator

from tocsin.encoding import decode_base64url
from tocsin.errors import CheckpointRefused, MalformedEncoding, MalformedLog, SignatureMismatch, StoreCorrupt
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation, named_log_vkeys
from tocsin.identity.vkey import log_name
from tocsin.store.evidence import LogRow
from tocsin.store.protocol import Store
from tocsin.tlog.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from tocsin.tlog.entry import id_half, record_entry, retraction_entry
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.merkle import EMPTY_ROOT, HASH_BYTES
from tocsin.tlog.reading import examine


def wrong_logs(store: Store, organisation: Organisation) -> Iterator[str]:
    """Yield what is wrong with each log, and what of ours has no entry."""
    own = store.logs.get(organisation.org)
    for row in (own, *(row for row in store.logs.list() if row.origin != own.origin)):
        try:
            tree = _signed(row, organisation)
            log = TransparencyLog(store.logs, OrgId(row.origin))
            for problem in examine(log, signed=tree.size, root=tree.root):
                yield f"{row.origin}: {problem}"
        except (MalformedLog, CheckpointRefused, SignatureMismatch) as error:
            yield f"{row.origin}: its checkpoint does not hold: {error.message}"
        except StoreCorrupt as error:
            yield str(error)
    if own.size > own.signed:
        yield f"{own.origin}: it has {own.size} entries, and {own.signed} were signed"
    if own.checkpoint and not own.stopped:  # a home from before there were logs begins its own when it is opened
        yield from _missing(store, own.origin)


def _signed(row: LogRow, organisation: Organisation) -> Checkpoint:
    """Return what was signed of a log: ours by a key that we have ever named, that of others as it was when it came."""
    name = log_name(OrgId(row.origin))
    if not row.checkpoint:
        return Checkpoint(name, 0, EMPTY_ROOT)
    if row.origin != organisation.org:
        return parse_checkpoint(row.checkpoint).checkpoint
    return verify_checkpoint(row.checkpoint, origin=name, vkeys=named_log_vkeys(organisation)).checkpoint


def _missing(store: Store, org: str) -> Iterator[str]:
    """Yield what we issued that our log does not have, or has with another digest."""
    for name, entry in _issued(store, org):
        found = [one.entry for one in store.logs.named(org, id_half(entry))]
        if entry not in found:
            yield f"{org}: {name} has {'another entry' if found else 'no entry'}"


def _issued(store: Store, org: str) -> Iterator[tuple[str, bytes]]:
    """Yield the entry that belongs to each thing that we issued; a row that names none is wrong in another way."""
    for record_id, version, digest in store.records.own_versions():
        if raw := _raw(digest):
            yield f"record {digest}", record_entry(record_id, version, raw)
    for row in store.retractions.issued(org):
        if not row.received_from and (raw := _raw(row.digest)):
            yield f"retraction {row.digest}", retraction_entry(row.record_id, row.version, row.action, raw)


def _raw(digest: str) -> bytes:
    """Return the bytes of a digest; none of what is not one."""
    try:
        raw = decode_base64url(digest)
    except MalformedEncoding:
        return b""
    return raw if len(raw) == HASH_BYTES else b""
