"""This module knows who is out there, as the wire needs it: who has this key, and which certificates to trust.

The directory is read from the store and kept in memory, because every call
asks it. `refresh` reads it anew after the desk has changed a peer: the home's
lock makes sure that nobody else does.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from tocsin.errors import NotFound
from tocsin.identity.certificate import certificate_pem
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation, parse_identity
from tocsin.store.model import PeerRole, PeerState
from tocsin.store.protocol import Store

MOST_KNOWN = 4096
"""Identities kept in memory: each takes milliseconds to verify, and a status asks for every peer's."""


@lru_cache(MOST_KNOWN)
def known_organisation(document: bytes) -> Organisation:
    """Read a document that was verified when it was taken.

    Its expiry is looked at whenever it is used, because it passes while the node runs.
    """
    return parse_identity(document, now=0, check_expiry=False)


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """An organisation that was added and not removed."""

    organisation: Organisation
    role: PeerRole
    state: PeerState

    @property
    def org(self) -> OrgId:
        """Return its id."""
        return self.organisation.org

    @property
    def active(self) -> bool:
        """Say whether anything is exchanged with it."""
        return self.state == PeerState.ACTIVE


class Directory:
    """The peers of one node; safe to use from any thread."""

    def __init__(self, store: Store, *, own_certificate: bytes) -> None:
        """Read the peers; `own_certificate` is PEM and is trusted where nobody else is, since TLS needs a root."""
        self._store = store
        self._own_certificate = own_certificate
        self._refreshing = threading.Lock()
        self._peers: Mapping[OrgId, KnownPeer] = {}
        self._pins: Mapping[str, OrgId] = {}
        self._roots = own_certificate
        self.refresh()

    def refresh(self) -> None:
        """Read the peers from the store again."""
        with self._refreshing:
            peers = {
                row.org: KnownPeer(known_organisation(row.document), row.role, row.state)
                for row in self._store.peers.list()
            }
            self._pins = {pin: org for org, peer in peers.items() for pin in peer.organisation.pins}
            certificates = [certificate_pem(der) for peer in peers.values() for der in peer.organisation.node_certs]
            self._roots = b"".join(certificates) or self._own_certificate
            self._peers = peers

    @property
    def roots(self) -> bytes:
        """Return the certificates whose handshake passes, PEM: pending and suspended peers must get an answer too."""
        return self._roots

    def by_pin(self, pin: str) -> KnownPeer | None:
        """Return the organisation whose identity document names this key."""
        org = self._pins.get(pin)
        return None if org is None else self._peers.get(org)

    def get(self, org: OrgId) -> KnownPeer:
        """Return a peer. Raises NotFound."""
        try:
            return self._peers[org]
        except KeyError:
            raise NotFound(f"{org} is not a peer", hint="list the peers with: tocsin peer list") from None

    def find(self, org: OrgId) -> KnownPeer | None:
        """Return a peer, or None."""
        return self._peers.get(org)

    def peers(self) -> tuple[KnownPeer, ...]:
        """Return every peer."""
        return tuple(self._peers.values())
