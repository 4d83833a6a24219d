"""This module finds what somebody names: an organisation by its id, a record by the beginning of its own."""

from difflib import get_close_matches

from tocsin.desk.home import Home
from tocsin.errors import NotFound
from tocsin.identity.names import OrgId, parse_org
from tocsin.identity.root import parse_identity
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.store.model import PeerRow, StoredRecord
from tocsin.store.protocol import Store


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
    near = get_close_matches(org, known, n=1)
    if near:
        hint = f"did you mean {near[0]}?"
    elif known:
        hint = f"the peers are: {', '.join(known)}"
    else:
        hint = "there are no peers yet; add one with: tocsin peer add FILE"
    return NotFound(f"{org} is not a peer", hint=hint)


def load_record(home: Home, stored: StoredRecord) -> VerifiedRecord:
    """Verify a stored record once more, as of the day it was signed.

    What the desk decides about is what the origin signed, not what a row of
    the store says.
    """
    if stored.issuer == home.organisation.org:
        origin = home.organisation
    else:
        document = home.store.peers.get(stored.issuer).document
        origin = parse_identity(document, now=stored.issued_at, check_expiry=False)
    return parse_record(stored.token).verify(origin, now=stored.issued_at)
