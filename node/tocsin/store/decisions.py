"""This module says what the floors above need of the shelves on which an organisation's own decisions lie.

Who its people are, what waits for them, what is to be done when, which
policies are in force, and what was decided; `tocsin.store.protocol` says what
holds for every shelf.
"""

from collections.abc import Iterable
from typing import Protocol

from tocsin.people.person import Person, Role
from tocsin.store.model import (
    AuditFilter,
    AuditRow,
    DisclosureRequest,
    Due,
    Opinion,
    PolicySetRow,
    Proposal,
    ReviewState,
)


class People(Protocol):
    """Keep our own people, those who left among them."""

    def add(self, person: Person) -> None:
        """Register a person. Raises Conflict for a name, key or certificate that is known, whoever's it is."""

    def get(self, name: str) -> Person:
        """Return a person. Raises NotFound."""

    def list(self) -> tuple[Person, ...]:
        """Return everybody, by name."""

    def set_roles(self, name: str, roles: frozenset[Role]) -> Person:
        """Change what a person may do. Raises NotFound."""

    def remove(self, name: str) -> Person:
        """Keep that a person may do nothing any more. Raises NotFound."""

    def replace(self, person: Person) -> None:
        """Keep new keys for a person who is known, and active from now on. Raises NotFound."""


class Reviews(Protocol):
    """Keep what waits for somebody's decision."""

    def propose(self, proposal: Proposal) -> None:
        """Keep a proposal."""

    def get(self, prefix: str) -> Proposal | DisclosureRequest:
        """Return a review by the beginning of its id. Raises NotFound, and Conflict where that is ambiguous."""

    def of(self, digest: str) -> tuple[Proposal, ...]:
        """Return every proposal about a record, oldest first."""

    def list(self, *, open_only: bool) -> tuple[Proposal | DisclosureRequest, ...]:
        """Return the reviews, oldest first."""

    def count_open(self) -> int:
        """Count those that wait."""

    def set_state(self, review: str, state: ReviewState) -> None:
        """Keep where a review stands; `review` is its whole id."""

    def decide(self, proposal: str, opinion: Opinion) -> None:
        """Keep what a person decided, in place of what the same person decided before."""

    def opinions(self, proposal: str) -> tuple[Opinion, ...]:
        """Return what people decided, oldest first."""

    def ask(self, request: DisclosureRequest) -> None:
        """Keep what a partner asks for."""

    def asked(self, peer: str, digest: str) -> tuple[DisclosureRequest, ...]:
        """Return what a partner asked for of a record, oldest first."""

    def count_asked(self, peer: str, *, since: int, until: int) -> int:
        """Count what a partner asked for between these times."""


class Dues(Protocol):
    """Keep what is to be done at a time."""

    def add(self, due: Due) -> None:
        """Keep one; the same one again changes nothing."""

    def until(self, now: int, *, limit: int) -> tuple[Due, ...]:
        """Return what is due at this time or earlier, earliest first."""

    def done(self, due: Due) -> None:
        """Take one away."""

    def next_at(self) -> int | None:
        """Return when the next one is due."""


class Policies(Protocol):
    """Keep the sets of policy files that were put in force; none is ever changed."""

    def latest(self) -> PolicySetRow | None:
        """Return the set in force; None before there was one."""

    def put(self, row: PolicySetRow) -> None:
        """Put a set in force."""


class Audit(Protocol):
    """Keep the rows of the decision log. There is no way to change one."""

    def head(self) -> AuditRow | None:
        """Return the last row."""

    def append(self, rows: Iterable[AuditRow]) -> None:
        """Add rows; the first one follows the head (RuntimeError otherwise)."""

    def list(
        self, where: AuditFilter, *, after: int = 0, before: int = 0, limit: int, newest_first: bool = False
    ) -> tuple[AuditRow, ...]:
        """Return rows with a sequence above `after`, and below `before` where it is given."""
