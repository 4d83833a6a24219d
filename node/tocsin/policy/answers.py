"""This module asks conditions about one record, each of them once.

Twenty partners have much the same conditions, and every condition looks at
much the same fields: the answers, and the fields as the condition language
takes them, are kept as long as the record is looked at.
"""

from tocsin.policy.claims import Claims
from tocsin.policy.condition import Condition, Truth
from tocsin.records.record import VerifiedRecord


class Answers:
    """What conditions say of one record under one marking; `own` says that we are its origin."""

    def __init__(self, record: VerifiedRecord, *, marking: str, own: bool) -> None:
        envelope = {"iss": record.issuer, "kind": record.kind, "status": record.status, "tlp": marking}
        self._claims = Claims(record.kind, record.content, envelope=envelope)
        self._own = own
        self._known: dict[str, Truth] = {}

    def ask(self, condition: Condition | None) -> Truth:
        """Return what a rule's condition says; a rule without one always applies."""
        if condition is None:
            return Truth.YES
        known = self._known.get(condition.text)
        if known is None:
            known = self._known[condition.text] = condition.evaluate(self._claims, own=self._own)
        return known
