"""This module finds what somebody names: an organisation by its id, a record by the beginning of its own."""

from difflib import get_close_matches

from tocsin.desk.home import Home
from tocsin.errors import NotFound, NotPermitted
from tocsin.exchange.directory import known_organisation
from tocsin.identity.names import OrgId, parse_org
from tocsin.identity.root import Organisation
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.store.model import PeerRow, Standing, StoredRecord
from tocsin.store.protocol import Store

MOST_SHOWN = 8
"""Peers that a hint lists; more of them nobody reads there."""
ALIKE = 0.8
"""How much of two names must be the same for one to be a slip of the other: many share their last part."""


def find_peer(store: Store, name: str) -> PeerRow:
    """Return the peer with this organisation id; a removed one is no peer any more.

    Raises MalformedName for what is no organisation id, NotFound for one that is no peer.
    """
    org = parse_org(name)
    peers = {peer.org: peer for peer in store.peers.list()}
    if org not in peers:
        raise _unknown(org, sorted(peers))
    return peers[org]


def _unknown(org: OrgId, known: list[str]) -> NotFound:
    near = get_close_matches(org, known, n=1, cutoff=ALIKE)
    if near:
        hint = f"did you mean {near[0]}?"
    elif 0 < len(known) <= MOST_SHOWN:
        hint = f"the peers are: {', '.join(known)}"
    else:
        hint = "list the peers with: tocsin peer list" if known else "add the first peer with: tocsin peer add FILE"
    return NotFound(f"{org} is not a peer", hint=hint)


def find_own(store: Store, name: str) -> StoredRecord:
    """Return a record of this organisation's own making, by digest, id or a beginning of it.

    Raises NotFound, Conflict where the beginning is ambiguous, and
    NotPermitted where the record is somebody else's.
    """
    stored = store.records.find(name)
    if not stored.own:
        raise NotPermitted(f"the record is {stored.issuer}'s: only its origin changes it or takes it back")
    return stored


def load_record(home: Home, stored: StoredRecord) -> VerifiedRecord:
    """Verify a stored record once more, as of the day it was signed.

    What the desk decides about is what the origin signed, not what a row of
    the store says. Raises NotFound where nothing of it is held any more.
    """
    if not stored.token:
        why = "as its origin asked" if stored.standing is Standing.PURGED else "when its retention ended"
        raise NotFound(
            f"what was held of {stored.record_id} was deleted {why}",
            hint=f"what was decided about it: tocsin audit show --record {stored.digest}",
        )
    return parse_record(stored.token).verify(origin_of(home, stored.issuer), now=stored.issued_at)


def origin_of(home: Home, issuer: str) -> Organisation:
    """Return the organisation that signed a record that is held. Raises NotFound where nobody knows it any more."""
    if issuer == home.organisation.org:
        return home.organisation
    return known_organisation(home.store.peers.get(issuer).document)
