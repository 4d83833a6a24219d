"""This module keeps the logs of organisations whose pages tests make by hand, and lets parties read each other's.

A party's log lies in its store; that of an organisation without one lies in
memory, for as long as the test runs.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from weakref import WeakValueDictionary

from tests.support.organisations import NOW, found
from tocsin.store.evidence import LoggedRow, LogRow
from tocsin.tlog.entry import HALF_BYTES
from tocsin.tlog.log import OwnLog
from tocsin.tlog.proof import format_proof
from tocsin.watch.growth import grow
from tocsin.watch.origins import Watch

founded = cache(found)


class Memory:
    """A shelf of one log."""

    def __init__(self):
        self.row = LogRow("")
        self.kept, self.hashes = [], {}

    def get(self, origin):
        return self.row

    def append(self, origin, entries, nodes, *, size, now):
        self.kept += entries
        self.hashes |= dict(nodes)
        self.row = _with(self.row, size=len(self.kept))
        return len(self.kept)

    def nodes(self, origin, wanted):
        return [self.hashes[node] for node in wanted]

    def entries(self, origin, *, start, limit):
        return tuple(self.kept[start : start + limit])

    def named(self, origin, name):
        return tuple(LoggedRow(at, entry) for at, entry in enumerate(self.kept) if entry[:HALF_BYTES] == name)

    def set_checkpoint(self, origin, text, *, signed, now):
        self.row = _with(self.row, checkpoint=text, signed=signed)

    def note_cosigned(self, origin, size, root, *, now):
        self.row = _with(self.row, cosigned=size, cosigned_root=root, cosigned_at=now)


def _with(row, **changes):
    members = {name: getattr(row, name) for name in LogRow.__slots__}
    return LogRow(**(members | changes))


PARTIES = WeakValueDictionary()
MEMORIES = {}


def begin():
    """Forget every log, before a test."""
    PARTIES.clear()
    MEMORIES.clear()


def log_of(org):
    """Return the log of an organisation: of its party, where there is one."""
    shelf = PARTIES[org].store.logs if org in PARTIES else MEMORIES.setdefault(org, Memory())
    return OwnLog(shelf, org, founded(org).log, founded(org).witness)


def issue(org, *entries, now=NOW):
    """Log what an organisation is said to have issued, as far as it is not there: also what no honest log takes."""
    log = log_of(org)
    missing = [entry for entry in entries if entry not in log.shelf.entries(org, start=0, limit=10_000)]
    with _transaction(org):
        if missing:
            log.append(missing, now=now)
            log.sign(log.signer, now=now)


def prove(org, entry):
    """Return the proof that an organisation has logged an entry."""
    return format_proof(log_of(org).prove(entry))


def show(org, *, now=NOW):
    """Return the checkpoint that an organisation shows."""
    with _transaction(org):
        return log_of(org).show(now=now)


def read_on(reader, org):
    """Let a party read how the log of an organisation goes on, as its node does at every contact."""
    watch, shown = Watch(reader.office, reader.origin, now=reader.now), show(org, now=reader.now)
    if watch.look(shown):
        shelf = log_of(org).shelf
        while growth := grow(shelf, org, start=reader.store.logs.get(org).size):
            watch.extend(reader.origin(org), replace(growth, checkpoint=shown))


def _transaction(org):
    return PARTIES[org].store.transaction() if org in PARTIES else nullcontext()
