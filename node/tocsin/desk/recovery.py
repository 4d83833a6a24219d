"""This module lets whoever owns the home give a person new keys while no node runs.

It is the way back in for somebody whose profile is lost, and the way in for a
home from before there were people. The account of the operating system that
owns the home stands outside the roles (docs/threats.md): it could write into
the store anyway, so what it does is kept in the decision log rather than
forbidden.

A person keeps its roles, unless nobody is left who can let others in: then it
gets every role. What the lost keys have signed counts no more, neither
approvals nor policies: those are applied again.
"""

from dataclasses import replace
from pathlib import Path

from tocsin.audit.entry import Entry, Event
from tocsin.desk.home import open_home
from tocsin.desk.people import operators, role_names
from tocsin.encoding import JSON
from tocsin.errors import NotFound
from tocsin.people.card import Card, parse_card
from tocsin.people.person import Person, Role
from tocsin.store.protocol import Store


def recover_person(root: Path, card: str, *, now: int) -> Person:
    """Let the person of a card in again, with the keys that the card introduces.

    Raises what `open_home` raises (HomeLocked while a node runs), what
    `parse_card` raises, NotFound for somebody who never was there while an
    operator could add it, and Conflict for a key that is somebody else's.
    """
    with open_home(root, now=now) as home:
        read = parse_card(card, org=home.organisation.org)
        with home.store.transaction():
            person = _renew(home.store, read, now=now)
            roles = role_names(person.roles)
            details: dict[str, JSON] = {"name": person.name, "roles": roles, "key_id": person.key_id, "pin": person.pin}
            home.log.append(Entry(Event.PERSON_RECOVERED, details=details), now=now)
    return person


def _renew(store: Store, card: Card, *, now: int) -> Person:
    known = next((person for person in store.people.list() if person.name == card.name), None)
    others = [person for person in operators(store) if person.name != card.name]
    if known is None and others:
        hint = f"an operator adds it while the node runs: tocsin person add {card.name} --role ROLE"
        raise NotFound(f"nobody named {card.name} is known", hint=hint)
    roles = known.roles if known and (others or Role.OPERATOR in known.roles) else frozenset(Role)
    person = card.admit(roles, now=now)
    if known is None:
        store.people.add(person)
    else:
        person = replace(person, added_at=known.added_at)
        store.people.replace(person)
    return person
