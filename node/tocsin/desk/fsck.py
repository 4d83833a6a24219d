"""This module looks through a whole home for what is not as it was written, while no node runs on it.

    the store           the file, its indexes, feeds without holes, tombstones that hold     tocsin.store.soundness
    each record         parses, verifies under its issuer's keys, and is what its row says
    each retraction     likewise
    each receipt        is its own digest's, for its page, and follows the one before
    the decision log    chained and sealed from its first entry to its last
    our log             every entry and every node under the checkpoint that we signed; all that we issued is in it
    logs of others      likewise, under the checkpoints that their origins signed

Nothing is repaired. A record of an organisation whose identity is not here is
read, and its signature taken as it is; one whose key was revoked since it came
was right when it came.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

from tocsin.audit.log import rows_of, verify_log, verify_unsealed
from tocsin.desk.home import hold
from tocsin.desk.layout import Layout
from tocsin.desk.logcheck import wrong_logs
from tocsin.desk.papers import load_organisation
from tocsin.encoding import dump_json
from tocsin.errors import AuditInconsistent, NotFound, TocsinError, UntrustedIssuer
from tocsin.exchange.receipt import load_receipt
from tocsin.identity.root import Organisation
from tocsin.records.disclosure import digest_of
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.records.retraction import parse_retraction
from tocsin.release.office import read_organisation
from tocsin.store.evidence import ReceiptRow, RetractionRow
from tocsin.store.model import StoredRecord
from tocsin.store.protocol import Store
from tocsin.store.sqlite import open_store

BATCH = 200  # records read at once
_SAID = (
    "digest",
    "issuer",
    "record_id",
    "version",
    "supersedes",
    "kind",
    "status",
    "tlp",
    "pap",
    "permitted_use",
    "relay",
    "retention_until",
    "issued_at",
    "expires_at",
    "key_id",
)
"""What a row repeats of its record."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written."""

    part: str
    problem: str


def examine_home(root: Path) -> Iterator[Finding]:
    """Yield what is wrong in a home, which is held meanwhile.

    Raises HomeMissing, HomeDamaged and HomeLocked, and StoreCorrupt for a
    store that cannot be read at all.
    """
    layout = Layout(root.expanduser().absolute())
    with hold(layout), closing(open_store(layout.store)) as store:
        yield from examine(store, load_organisation(layout))


def examine(store: Store, organisation: Organisation) -> Iterator[Finding]:
    """Yield what is wrong in the store of an organisation."""
    for problem in store.problems():
        yield Finding("store", problem)
    issuers = _Issuers(store, organisation)
    for record in _held(store):
        if problem := _wrong_record(record, issuers.get(record.issuer)):
            yield Finding("record", f"{record.digest} {problem}")
    for retraction in store.retractions.issued(""):
        if problem := _wrong_retraction(retraction, issuers.get(retraction.issuer)):
            yield Finding("retraction", f"{retraction.digest} {problem}")
    yield from _wrong_receipts(store)
    head = store.audit.head()
    try:
        if head is not None and not head.seal:
            verify_unsealed(rows_of(store), head=head)
        else:
            verify_log(rows_of(store), organisation=organisation)
    except AuditInconsistent as error:
        yield Finding("decision log", error.message)
    for problem in wrong_logs(store, organisation):
        yield Finding("log", problem)


class _Issuers:
    """Find whose keys to verify by: our own, and those of everybody whose document is kept."""

    def __init__(self, store: Store, organisation: Organisation) -> None:
        self._store = store
        self._organisation = organisation
        self.get = lru_cache(256)(self._get)

    def _get(self, org: str) -> Organisation | None:
        if org == self._organisation.org:
            return self._organisation
        try:
            return read_organisation(self._store.peers.get(org).document)
        except NotFound:
            return None


def _held(store: Store) -> Iterator[StoredRecord]:
    after = ""
    while batch := store.records.issued("", after=after, limit=BATCH):
        yield from batch
        after = batch[-1].digest


def _wrong_record(stored: StoredRecord, issuer: Organisation | None) -> str:
    """Return what is wrong with a record, empty where nothing is."""
    try:
        unverified = parse_record(stored.token)
        if issuer is None:
            return ""
        record = unverified.verify(issuer, now=stored.issued_at)
    except UntrustedIssuer as error:
        return "" if error.reason == "KEY_NOT_VALID" else f"does not verify: {error.message}"
    except TocsinError as error:
        return f"does not verify: {error.message}"
    return _differing(stored, record)


def _differing(stored: StoredRecord, record: VerifiedRecord) -> str:
    differs = [name for name in _SAID if getattr(stored, name) != getattr(record, name)]
    if stored.content_json != dump_json(record.content).decode():
        differs.append("content")
    return f"is not what its row says: {', '.join(differs)}" if differs else ""


def _wrong_retraction(row: RetractionRow, issuer: Organisation | None) -> str:
    """Return what is wrong with a retraction, empty where nothing is."""
    try:
        unverified = parse_retraction(row.token)
        if issuer is None:
            return ""
        said = unverified.verify(issuer, now=row.issued_at)
    except UntrustedIssuer as error:
        return "" if error.reason == "KEY_NOT_VALID" else f"does not verify: {error.message}"
    except TocsinError as error:
        return f"does not verify: {error.message}"
    names = ("issuer", "record_id", "version", "action", "tlp", "reason", "successor", "issued_at", "digest")
    differs = [name for name in names if getattr(row, name) != getattr(said, name)]
    return f"is not what its row says: {', '.join(differs)}" if differs else ""


def _wrong_receipts(store: Store) -> Iterator[Finding]:
    """Yield what is wrong with receipts, of both directions."""
    before: ReceiptRow | None = None
    for row in chain(_receipts(store, given=False), _receipts(store, given=True)):
        follows = before is not None and (before.peer, before.given, before.chain) == (row.peer, row.given, row.chain)
        if problem := _wrong_receipt(row, previous=before.digest if before is not None and follows else ""):
            name = f"{row.number} {'for' if row.given else 'of'} {row.peer}"
            yield Finding("receipt", f"{name} in chain {row.chain} {problem}")
        before = row


def _wrong_receipt(row: ReceiptRow, *, previous: str) -> str:
    try:
        receipt = load_receipt(row.statement)
    except TocsinError as error:
        return f"cannot be read: {error.message}"
    if row.digest != digest_of(row.statement) or row.page.digest != digest_of(row.page.statement):
        return "is not the one that was written"
    if (receipt.chain, receipt.number, receipt.page) != (row.chain, row.number, row.page.digest):
        return "is not what its row says"
    return "" if receipt.previous == previous else "does not follow the one before it"


def _receipts(store: Store, *, given: bool) -> Iterator[ReceiptRow]:
    token = ""
    while True:
        rows, token = store.receipts.list(given=given, page_size=BATCH, page_token=token)
        yield from rows
        if not token:
            return
