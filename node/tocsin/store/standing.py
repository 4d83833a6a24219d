"""This module says where a version stands, whatever came first: it, its twin, a later version, or a retraction.

    its origin took the record back           withdrawn, or purged where the origin asks for that and nothing is held
    another record has its id and version     equivocal
    a later one is held, or it was corrected  replaced
    otherwise                                 current

The first line that is true counts. While the newest version is evidence none
is current: what its origin says today is not known. Adding a version writes
at most one other row: an origin that signs thousands must not make each cost
more.
"""

from dataclasses import dataclass

from tocsin.records.record import VerifiedRecord
from tocsin.records.retraction import Action, VerifiedRetraction
from tocsin.schema.contract import TLPS
from tocsin.store.connection import Connections
from tocsin.store.model import Standing

_OF_VERSION = "SELECT id FROM records WHERE issuer = ? AND record_id = ? AND version = ? LIMIT 1"
_NEWEST = "SELECT coalesce(max(version), 0) FROM records WHERE issuer = ? AND record_id = ?"
_RETRACTIONS = "SELECT action, version, tlp FROM retractions WHERE issuer = ? AND record_id = ?"
_MARKINGS = "SELECT id, version, marking FROM records WHERE issuer = ? AND record_id = ?"
_CORRECT = """
    UPDATE records SET standing = 'replaced'
        WHERE issuer = ? AND record_id = ? AND version <= ? AND standing = 'current'
"""
_WITHDRAW = """
    UPDATE records SET standing = CASE
        WHEN ? AND NOT EXISTS (SELECT 1 FROM holdings WHERE record = records.id) THEN 'purged' ELSE 'withdrawn' END
        WHERE issuer = ? AND record_id = ?
"""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Say what the retractions of a record come to."""

    corrected: int = 0  # up to this version a later one stands in their place
    withdrawn: bool = False
    purged: bool = False
    markings: tuple[tuple[int, str], ...] = ()  # up to this version (0: all), at least this marking

    def strictest(self, marking: str, *, version: int) -> str:
        """Return the marking of a version, which the retractions may have made stricter."""
        floors = (floor for until, floor in self.markings if not until or version <= until)
        return max((marking, *floors), key=TLPS.index)


def tombstone(db: Connections, issuer: str, record_id: str) -> Tombstone:
    """Return what the retractions of a record come to; where there is none, that it stands."""
    rows = db.rows(_RETRACTIONS, (issuer, record_id))
    said = [(Action(str(action)), int(version or 0), str(tlp)) for action, version, tlp in rows]
    actions = {action for action, _, _ in said}
    return Tombstone(
        corrected=max((version for action, version, _ in said if action is Action.CORRECT), default=0),
        withdrawn=bool(actions & {Action.WITHDRAW, Action.PURGE}),
        purged=Action.PURGE in actions,
        markings=tuple((version if action is Action.CORRECT else 0, tlp) for action, version, tlp in said),
    )


def make_room(db: Connections, record: VerifiedRecord, over: Tombstone) -> Standing:
    """Say where a version that is to be stored stands, and say it anew of the one that it changes."""
    if over.withdrawn:
        return Standing.PURGED if over.purged else Standing.WITHDRAWN
    key = (record.issuer, record.record_id)
    twins = db.rows(_OF_VERSION, (*key, record.version))
    if twins:  # where there are several, they have met already
        db.execute("UPDATE records SET standing = ? WHERE id = ?", (Standing.EQUIVOCAL, *twins[0]))
        return Standing.EQUIVOCAL
    newest = db.number(_NEWEST, key)
    if record.version < newest:
        return Standing.REPLACED
    for before in db.rows(_OF_VERSION, (*key, newest)):  # evidence stays evidence
        db.execute(
            "UPDATE records SET standing = ? WHERE id = ? AND standing = ?",
            (Standing.REPLACED, *before, Standing.CURRENT),
        )
    return Standing.REPLACED if record.version <= over.corrected else Standing.CURRENT


def apply(db: Connections, retraction: VerifiedRetraction) -> None:
    """Let a retraction that was just kept count for the versions that are held."""
    key = (retraction.issuer, retraction.record_id)
    over = tombstone(db, *key)
    if retraction.action is Action.CORRECT:
        db.execute(_CORRECT, (*key, retraction.version))
    else:
        db.execute(_WITHDRAW, (over.purged, *key))
    for row, version, marking in db.rows(_MARKINGS, key):
        counts = over.strictest(str(marking), version=int(version or 0))
        if counts != marking:
            db.execute("UPDATE records SET marking = ? WHERE id = ?", (counts, row))
