"""This module keeps what policy knows of one record: what conditions say of it, and the moments of its life.

Twenty partners have much the same conditions, and every condition looks at
much the same fields: each condition is asked once, and the fields are kept as
the condition language takes them, as long as the record is looked at.
"""

from tocsin.policy.claims import Claims
from tocsin.policy.condition import Condition, Truth
from tocsin.policy.moments import Moments, moments_of
from tocsin.policy.reach import boxes
from tocsin.records.record import VerifiedRecord


class Facts:
    """A record under one marking; `own` says that we are its origin."""

    def __init__(self, record: VerifiedRecord, *, marking: str, own: bool) -> None:
        envelope = {"iss": record.issuer, "kind": record.kind, "status": record.status, "tlp": marking}
        self.marking = marking
        self.own = own
        self.moments: Moments = moments_of(record)
        self._claims = Claims(record.kind, record.content, envelope=envelope)
        self._record = record
        self._known: dict[str, Truth] = {}
        self._around: dict[frozenset[str], frozenset[str]] = {}

    def ask(self, condition: Condition | None) -> Truth:
        """Return what a rule's condition says; a rule without one always applies."""
        if condition is None:
            return Truth.YES
        known = self._known.get(condition.text)
        if known is None:
            known = self._known[condition.text] = condition.evaluate(self._claims, own=self.own)
        return known

    def around(self, going: frozenset[str]) -> frozenset[str]:
        """Return the groups and lists of the record in which something goes; partners mostly get the same few sets."""
        known = self._around.get(going)
        if known is None:
            inside = boxes(self._record.kind)
            here = self._record.paths & inside.keys()
            known = frozenset(box for box in here if not going.isdisjoint(inside[box]))
            self._around[going] = known
        return known
