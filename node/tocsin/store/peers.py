"""This module keeps the organisations that the node knows, and how the exchange with each goes."""

from tocsin.errors import Conflict, NotFound
from tocsin.identity.names import OrgId
from tocsin.store.connection import Connections, Row, Value
from tocsin.store.model import PeerCounts, PeerRole, PeerRow, PeerState

_SELECT = """
    SELECT org, role, state, document, last_received_at, last_sent_at, last_error_reason, last_error, last_error_at
        FROM peers
"""


class SqlitePeers:
    """Keep who is out there; see `protocol.Peers`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def add(self, org: str, *, document: bytes, role: PeerRole, state: PeerState, now: int) -> PeerRow:
        """Register an organisation, or register a removed one again."""
        with self._db.transaction():
            changed = self._db.execute(
                "INSERT INTO peers (org, role, state, document, added_at) VALUES (?1, ?2, ?3, ?4, ?5)"
                " ON CONFLICT (org) DO UPDATE SET role = ?2, state = ?3, document = ?4, added_at = ?5,"
                " last_error_reason = '', last_error = '', last_error_at = NULL WHERE state = 'removed'",
                (org, role, state, document, now),
            )
            if changed != 1:
                raise Conflict(f"{org} is a peer already", reason="CONFLICT", hint=f"see `tocsin peer show {org}`")
            return self.get(org)

    def get(self, org: str) -> PeerRow:
        """Return an organisation that is known, removed ones too."""
        row = self._db.row(f"{_SELECT} WHERE org = ?", (org,))
        if row is None:
            raise _nobody(org)
        return _peer(row)

    def list(self) -> tuple[PeerRow, ...]:
        """Return the peers by organisation id, without the removed ones."""
        return tuple(_peer(row) for row in self._db.rows(f"{_SELECT} WHERE state <> 'removed' ORDER BY org"))

    def active(self) -> tuple[OrgId, ...]:
        """Return the organisations with which something is exchanged; no document is read for it."""
        rows = self._db.rows("SELECT org FROM peers WHERE state = 'active' ORDER BY org")
        return tuple(OrgId(str(org)) for (org,) in rows)

    def set_state(self, org: str, state: PeerState) -> PeerRow:
        """Change where a peering stands."""
        self._update("UPDATE peers SET state = ? WHERE org = ?", (state,), org)
        return self.get(org)

    def set_role(self, org: str, role: PeerRole) -> PeerRow:
        """Change what a peer may do."""
        self._update("UPDATE peers SET role = ? WHERE org = ?", (role,), org)
        return self.get(org)

    def set_document(self, org: str, document: bytes) -> PeerRow:
        """Replace the identity document."""
        self._update("UPDATE peers SET document = ? WHERE org = ?", (document,), org)
        return self.get(org)

    def note_received(self, org: str, *, now: int) -> None:
        """Keep that something came from a peer; clears its last error."""
        self._update(
            "UPDATE peers SET last_received_at = ?, last_error_reason = '', last_error = '', last_error_at = NULL"
            " WHERE org = ?",
            (now,),
            org,
        )

    def note_contact(self, org: str) -> None:
        """Clear the last error of a peer that answers again."""
        self._update(
            "UPDATE peers SET last_error_reason = '', last_error = '', last_error_at = NULL WHERE org = ?", (), org
        )

    def note_sent(self, org: str, *, now: int) -> None:
        """Keep that something went to a peer."""
        self._update("UPDATE peers SET last_sent_at = ? WHERE org = ?", (now,), org)

    def note_error(self, org: str, *, reason: str, message: str, now: int) -> None:
        """Keep what went wrong with a peer last."""
        self._update(
            "UPDATE peers SET last_error_reason = ?, last_error = ?, last_error_at = ? WHERE org = ?",
            (reason, message, now),
            org,
        )

    def counts(self, org: str) -> PeerCounts:
        """Count what went to and came from a peer."""
        row = self._db.row(
            "SELECT (SELECT count(*) FROM records WHERE issuer = ?1),"  # a peer's are never our own
            " (SELECT count(*) FROM verdicts WHERE peer = ?1 AND outcome = 'refused'),"
            " coalesce((SELECT head FROM feeds WHERE partner = ?1), 0),"
            " coalesce((SELECT acknowledged FROM feeds WHERE partner = ?1), 0),"
            " (SELECT count(*) FROM candidates WHERE partner = ?1)",
            (org,),
        )
        return PeerCounts(*(row or ()))  # type: ignore[arg-type]

    def _update(self, sql: str, values: tuple[Value, ...], org: str) -> None:
        """Change one row. Raises NotFound."""
        with self._db.joined():
            if not self._db.execute(sql, (*values, org)):
                raise _nobody(org)


def _nobody(org: str) -> NotFound:
    return NotFound(f"there is no peer {org!r}", hint="see `tocsin peer list`")


def _peer(row: Row) -> PeerRow:
    """Read a row of `_SELECT`, whose columns stand in the order of the fields."""
    values = dict(zip(PeerRow.__slots__, row, strict=True))
    return PeerRow(
        **values  # type: ignore[arg-type]
        | {
            "org": OrgId(str(values["org"])),
            "role": PeerRole(str(values["role"])),
            "state": PeerState(str(values["state"])),
        }
    )
