"""This module knows the organisation's own people, as the desk's listeners need it: who has this key, whom to trust.

The roster is read from the store and kept in memory, because every call asks
it. `refresh` reads it anew after the desk has changed a person: the home's lock
makes sure that nobody else does.
"""

import threading
from collections.abc import Mapping

from tocsin.identity.certificate import certificate_pem
from tocsin.people.person import Person
from tocsin.store.protocol import Store


class Roster:
    """The people of one node; safe to use from any thread."""

    def __init__(self, store: Store, *, own_certificate: bytes) -> None:
        """Read the people; `own_certificate` is PEM and is trusted where nobody else is, since TLS needs a root."""
        self._store = store
        self._own_certificate = own_certificate
        self._refreshing = threading.Lock()
        self._people: Mapping[str, Person] = {}
        self._roots = own_certificate
        self.refresh()

    def refresh(self) -> None:
        """Read the people from the store again."""
        with self._refreshing:
            people = self._store.people.list()
            certificates = [certificate_pem(person.certificate) for person in people]
            self._roots = b"".join(certificates) or self._own_certificate
            self._people = {person.pin: person for person in people if person.active}

    @property
    def roots(self) -> bytes:
        """Return the certificates whose handshake passes, PEM: those who left too, who must get an answer."""
        return self._roots

    def by_pin(self, pin: str) -> Person | None:
        """Return the active person whose certificate has this key."""
        return self._people.get(pin)
