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

import json
from dataclasses import dataclass

from tocsin.records.record import VerifiedRecord
from tocsin.records.retraction import Action, VerifiedRetraction
from tocsin.schema.contract import TLPS
from tocsin.store.connection import Connections
from tocsin.store.model import Standing

_OF_VERSION = "SELECT id FROM records WHERE issuer = ? AND record_id = ? AND version = ? LIMIT 1"
_TWIN_AND_NEWEST = """
    SELECT (SELECT id FROM records WHERE issuer = ?1 AND record_id = ?2 AND version = ?3 LIMIT 1),
        (SELECT coalesce(max(version), 0) FROM records WHERE issuer = ?1 AND record_id = ?2)
"""
# Of what says the same the latest version has it all: however many there are, these are few.
_RETRACTIONS = """
    SELECT action, max(version), tlp FROM retractions WHERE issuer = ? AND record_id = ? GROUP BY action, tlp
"""
_CORRECT = """
    UPDATE records SET standing = 'replaced'
        WHERE issuer = ? AND record_id = ? AND version <= ? AND standing = 'current'
"""
_WITHDRAW = """
    UPDATE records SET standing = CASE
        WHEN ? AND NOT EXISTS (SELECT 1 FROM holdings WHERE record = records.id) THEN 'purged' ELSE 'withdrawn' END
        WHERE issuer = ? AND record_id = ?
"""
_REMARK = """
    UPDATE records SET marking = ?1 WHERE issuer = ?2 AND record_id = ?3 AND (?4 = 0 OR version <= ?4)
        AND marking IN (SELECT value FROM json_each(?5))
"""
_ABOVE_ALL = 2**63  # no version: of markings those count for it that count for all


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

    def covers(self, retraction: VerifiedRetraction) -> bool:
        """Say whether a retraction says nothing that was not said: one record is taken back so often, and no more."""
        if retraction.action is Action.CORRECT:
            is_over, version = self.withdrawn or self.corrected >= retraction.version, retraction.version
        else:
            is_over, version = self.purged or (self.withdrawn and retraction.action is Action.WITHDRAW), _ABOVE_ALL
        return is_over and self.strictest(retraction.tlp, version=version) == self.strictest(TLPS[0], version=version)


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
    twin, newest = db.row(_TWIN_AND_NEWEST, (*key, record.version)) or (None, 0)
    if twin is not None:  # where there are several, they have met already
        db.execute("UPDATE records SET standing = ? WHERE id = ?", (Standing.EQUIVOCAL, twin))
        return Standing.EQUIVOCAL
    if record.version < int(newest or 0):
        return Standing.REPLACED
    for before in db.rows(_OF_VERSION, (*key, newest)) if newest else ():  # evidence stays evidence
        db.execute(
            "UPDATE records SET standing = ? WHERE id = ? AND standing = ?",
            (Standing.REPLACED, *before, Standing.CURRENT),
        )
    return Standing.REPLACED if record.version <= over.corrected else Standing.CURRENT


def apply(db: Connections, retraction: VerifiedRetraction) -> None:
    """Let a retraction that was just kept count for the versions that are held."""
    key = (retraction.issuer, retraction.record_id)
    until = retraction.version if retraction.action is Action.CORRECT else 0
    if until:
        db.execute(_CORRECT, (*key, until))
    else:
        db.execute(_WITHDRAW, (tombstone(db, *key).purged, *key))
    looser = json.dumps(TLPS[: TLPS.index(retraction.tlp)])
    db.execute(_REMARK, (retraction.tlp, *key, until, looser))
