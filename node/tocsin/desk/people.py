"""This module keeps the organisation's own people: who they are, what they may do, and that they left.

    (unknown) --add by card--> active <--change--> active --remove--> gone
    active, gone --new keys by the owner of the home (`desk.recovery`)--> active

A name is never given to somebody else: who left stays known, because what it
approved is kept under its name. Somebody always remains who may let others in.
"""

from collections.abc import Iterable

from tocsin.audit.entry import Entry, Event
from tocsin.desk.room import Room
from tocsin.encoding import JSON
from tocsin.errors import Conflict, MalformedRequest, NotPermitted
from tocsin.people.card import parse_card
from tocsin.people.person import NEVER_TOGETHER, Person, Role
from tocsin.release.proposal import refresh_all
from tocsin.schema.contract import enum_number
from tocsin.store.protocol import Store
from tocsin.v1 import desk_service_pb2 as v1


class People:
    """Registers people, and says who they are."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._store = room.home.store

    def list_people(self, request: v1.ListPeopleRequest) -> v1.ListPeopleResponse:
        """List the organisation's people, those who left among them."""
        people = [colleague_message(person) for person in self._store.people.list()]
        return v1.ListPeopleResponse(people=people, strict=self._room.office.strict)

    def add_person(self, request: v1.AddPersonRequest, caller: Person) -> v1.AddPersonResponse:
        """Register a person by its card.

        Raises what `parse_card` raises, Conflict for a name or key that is
        known, MalformedRequest for roles that are none, NotPermitted for roles
        that nobody may hold together.
        """
        roles = self._roles(request.roles)
        now = self._room.clock()
        person = parse_card(request.card, org=self._room.home.organisation.org).admit(roles, now=now)
        with self._store.transaction():
            self._room.verify_still_may(caller, "AddPerson")  # others wrote while this waited
            self._store.people.add(person)
            self._keep(Event.PERSON_ADDED, person, caller, now=now, key_id=person.key_id, pin=person.pin)
        self._room.events.person_changed(person.name)
        return v1.AddPersonResponse(person=colleague_message(person))

    def change_person(self, request: v1.ChangePersonRequest, caller: Person) -> v1.ChangePersonResponse:
        """Give a person these roles and no others; what its approvals let go and did not go yet is proposed anew.

        Raises NotFound, Conflict for somebody who left or for the last
        operator, MalformedRequest and NotPermitted as for `add_person`.
        """
        roles, now = self._roles(request.roles), self._room.clock()
        with self._store.transaction():
            self._room.verify_still_may(caller, "ChangePerson")
            before = self._active(request.name)
            if Role.OPERATOR not in roles:
                _verify_not_last(before, self._store)
            person = self._store.people.set_roles(before.name, roles)
            self._keep(Event.PERSON_CHANGED, person, caller, now=now, before=role_names(before.roles))
            refresh_all(self._room.office, now=now)
        self._room.events.person_changed(person.name)
        return v1.ChangePersonResponse(person=colleague_message(person))

    def remove_person(self, request: v1.RemovePersonRequest, caller: Person) -> v1.RemovePersonResponse:
        """End what a person may do: its calls end, its approvals count no more, and what they let go is proposed anew.

        Raises NotFound, Conflict for somebody who left or for the last operator.
        """
        now = self._room.clock()
        with self._store.transaction():
            self._room.verify_still_may(caller, "RemovePerson")
            before = self._active(request.name)
            _verify_not_last(before, self._store)
            person = self._store.people.remove(before.name)
            self._keep(Event.PERSON_REMOVED, person, caller, now=now)
            refresh_all(self._room.office, now=now)
        self._room.events.person_changed(person.name)
        return v1.RemovePersonResponse(person=colleague_message(person))

    def _active(self, name: str) -> Person:
        person = self._store.people.get(name)
        if not person.active:
            hint = "register somebody new under another name, see: tocsin person list"
            raise Conflict(f"{name} has left", reason="CONFLICT", hint=hint)
        return person

    def _roles(self, numbers: Iterable[int]) -> frozenset[Role]:
        known: dict[int, Role] = {role_number(role): role for role in Role}
        named = set(numbers)
        roles = frozenset(known[number] for number in named & known.keys())
        if len(roles) != len(named) or not roles:
            raise MalformedRequest("no role is named, or one that is none", hint=f"roles are {', '.join(Role)}")
        if self._room.office.strict and roles >= NEVER_TOGETHER:
            raise NotPermitted(
                "nobody holds release, policy and keys at once here",
                hint=f"leave one of these to somebody else: {', '.join(sorted(NEVER_TOGETHER))}",
            )
        return roles

    def _keep(self, event: Event, person: Person, caller: Person, *, now: int, **details: JSON) -> None:
        kept: dict[str, JSON] = {"name": person.name, "roles": role_names(person.roles), **details}
        self._room.home.log.append(Entry(event, person=caller.name, details=kept), now=now)


def colleague_message(person: Person) -> v1.Colleague:
    """Return a person as its colleagues see it."""
    message = v1.Colleague(
        name=person.name,
        roles=sorted(role_number(role) for role in person.roles),
        key_id=person.key_id,
        active=person.active,
    )
    message.added_at.FromSeconds(person.added_at)
    return message


def role_number(role: Role) -> v1.PersonRole.ValueType:
    """Return the number of a role in the contract."""
    return v1.PersonRole.ValueType(enum_number("PersonRole", role.value))


def operators(store: Store) -> tuple[Person, ...]:
    """Return the people who can let others in."""
    return tuple(person for person in store.people.list() if person.active and Role.OPERATOR in person.roles)


def _verify_not_last(person: Person, store: Store) -> None:
    """Refuse to take from the last operator what nobody could give again."""
    if operators(store) == (person,):
        raise Conflict(
            f"{person.name} is the last operator: nobody could let anybody in any more",
            reason="CONFLICT",
            hint="make somebody else an operator first: tocsin person change NAME --role operator",
        )


def role_names(roles: Iterable[Role]) -> list[JSON]:
    """Return roles by their names, in order."""
    return [*sorted(role.value for role in roles)]
