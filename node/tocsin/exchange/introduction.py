"""This module takes the newer identity document of a peer, which comes with a comparison of logs.

Whoever was confirmed once stays who it is: each version is signed as the one
before demands, so that no fingerprint is compared again. That keys changed is
kept in the decision log, and told to people.
"""

import logging

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.exchange.directory import known_organisation
from tocsin.exchange.receive import read_again
from tocsin.identity.names import OrgId
from tocsin.identity.root import update_identity
from tocsin.release.office import Office

_log = logging.getLogger(__name__)


def take_identity(office: Office, peer: OrgId, document: bytes, *, now: int) -> bool:
    """Take a document of an active peer, where it is newer than the one held; False where it is not.

    What was refused for want of it is read again.

    Raises NotFound, IdentityOutdated, MalformedIdentity and MalformedEncoding.
    """
    with office.store.transaction():
        row = office.store.peers.get(peer)
        newer, changes = update_identity(known_organisation(row.document), document, now=now)
        if newer.document == row.document:
            return False
        office.store.peers.set_document(peer, newer.document)
        details: dict[str, JSON] = {
            "state": row.state.value,
            "role": row.role.value,
            "fingerprint": newer.fingerprint,
            "version": newer.version,
            "changes": [*changes],
        }
        office.log.append(Entry(Event.PEER_CHANGED, partner=peer, details=details), now=now)
        for partner in office.partners():
            read_again(office.store, partner)
    _log.warning("%s has a new identity document, version %d: %s", peer, newer.version, "; ".join(changes))
    return True
