"""This module holds a person of the organisation: its name, what it may do, and the keys that it is known by.

Roles say what a person may do; a person may hold several.

    analyst        reads and posts records, asks other origins for fields
    releaser       approves and rejects releases, reveals fields
    policy-admin   puts policies in force
    auditor        reads everything, changes nothing
    operator       peers, people and the running of the node; no records

With `strict`, nobody holds release, policy and keys (operator) at once: who
was given all three acts as an operator alone, so that an organisation of one
can still let a second person in.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tocsin.errors import MalformedName
from tocsin.identity.certificate import spki_pin
from tocsin.identity.names import KeyId

_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}", re.ASCII)


class Role(StrEnum):
    """What a person may do."""

    ANALYST = "analyst"
    RELEASER = "releaser"
    POLICY_ADMIN = "policy-admin"
    AUDITOR = "auditor"
    OPERATOR = "operator"


NEVER_TOGETHER: Final = frozenset({Role.RELEASER, Role.POLICY_ADMIN, Role.OPERATOR})
"""What nobody holds at once with `strict`: release, policy and keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One of the organisation's own people.

    `public_key` is the raw Ed25519 key that signs what the person decides,
    `certificate` the DER of its TLS certificate. Somebody who left stays
    known, and may do nothing.
    """

    name: str
    roles: frozenset[Role]
    key_id: KeyId
    public_key: bytes
    certificate: bytes
    active: bool = True
    added_at: int = 0

    @property
    def pin(self) -> str:
        """Return the SHA-256 of the certificate's key, in hex: what tells at the desk who is calling."""
        return spki_pin(self.certificate)

    def may(self, roles: Iterable[Role], *, strict: bool) -> bool:
        """Say whether the person may do what any of these roles may."""
        return bool(self.powers(strict=strict) & frozenset(roles))

    def powers(self, *, strict: bool) -> frozenset[Role]:
        """Return the roles that count today."""
        if not self.active:
            return frozenset()
        if strict and self.roles >= NEVER_TOGETHER:
            return frozenset({Role.OPERATOR})
        return self.roles


def parse_person_name(text: str) -> str:
    """Return a person's name. Raises MalformedName."""
    if not _NAME.fullmatch(text):
        raise MalformedName(
            f"{text[:80]!r} is no name of a person",
            hint="lower-case letters, digits, dots and dashes, beginning with a letter: counsel or analyst-2",
        )
    return text
