"""This module keeps the organisation's own people: what each may do, and by which keys it is known."""

import json
import sqlite3

from tocsin.errors import Conflict, NotFound
from tocsin.identity.names import KeyId
from tocsin.people.person import Person, Role
from tocsin.store.connection import Connections, Row, Value

_SELECT = "SELECT name, roles, key_id, public_key, certificate, active, added_at FROM people"


class SqlitePeople:
    """Keep our own people, those who left among them; see `decisions.People`."""

    def __init__(self, db: Connections) -> None:
        self._db = db

    def add(self, person: Person) -> None:
        """Register a person."""
        self._write(
            "INSERT INTO people (name, roles, key_id, public_key, certificate, pin, active, added_at)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            person,
        )

    def get(self, name: str) -> Person:
        """Return a person."""
        row = self._db.row(f"{_SELECT} WHERE name = ?", (name,))
        if row is None:
            raise NotFound(f"there is no person {name!r}", hint="see `tocsin person list`")
        return _person(row)

    def list(self) -> tuple[Person, ...]:
        """Return everybody, by name."""
        return tuple(_person(row) for row in self._db.rows(f"{_SELECT} ORDER BY name"))

    def set_roles(self, name: str, roles: frozenset[Role]) -> Person:
        """Change what a person may do."""
        return self._update("UPDATE people SET roles = ? WHERE name = ?", (_roles_text(roles), name), name)

    def remove(self, name: str) -> Person:
        """Keep that a person may do nothing any more."""
        return self._update("UPDATE people SET active = 0 WHERE name = ?", (name,), name)

    def replace(self, person: Person) -> None:
        """Keep new keys for a person who is known, and active from now on."""
        with self._db.transaction():
            self.get(person.name)
            self._write(
                "UPDATE people SET roles = ?2, key_id = ?3, public_key = ?4, certificate = ?5, pin = ?6, active = ?7,"
                " added_at = ?8 WHERE name = ?1",
                person,
            )

    def _write(self, sql: str, person: Person) -> None:
        """Write every column of a person. Raises Conflict where one of them is another person's."""
        values = (
            person.name,
            _roles_text(person.roles),
            person.key_id,
            person.public_key,
            person.certificate,
            person.pin,
            person.active,
            person.added_at,
        )
        with self._db.transaction():
            try:
                self._db.execute(sql, values)
            except sqlite3.IntegrityError:
                raise Conflict(
                    f"there is a person {person.name}, or one with these keys, already",
                    reason="CONFLICT",
                    hint="see `tocsin person list`; a name is not given twice, nor are keys",
                ) from None

    def _update(self, sql: str, values: tuple[Value, ...], name: str) -> Person:
        """Change one row. Raises NotFound."""
        with self._db.transaction():
            self._db.execute(sql, values)
            return self.get(name)


def _roles_text(roles: frozenset[Role]) -> str:
    return json.dumps(sorted(roles))


def _person(row: Row) -> Person:
    """Read a row of `_SELECT`."""
    name, roles, key_id, public_key, certificate, active, added_at = row
    if not isinstance(public_key, bytes) or not isinstance(certificate, bytes):
        raise RuntimeError("a key is not bytes")  # the table is STRICT
    return Person(
        name=str(name),
        roles=frozenset(Role(role) for role in json.loads(str(roles))),
        key_id=KeyId(str(key_id)),
        public_key=public_key,
        certificate=certificate,
        active=bool(active),
        added_at=int(added_at or 0),
    )
