"""This module makes the bytes that leave, and is the only one that does.

Preview and delivery take the same decision and present the record by the same
function, so what is previewed is what is sent, byte for byte.
"""

from tocsin.policy.decide import Decision
from tocsin.policy.reach import withholdable
from tocsin.records.record import VerifiedRecord


def presentation(record: VerifiedRecord, decision: Decision) -> str:
    """Return the record as the partner gets it. A denied record has none: RuntimeError."""
    if not decision.delivered:
        raise RuntimeError("a denied record has no presentation")
    return record.present(decision.disclosed)


def further_disclosures(record: VerifiedRecord, decision: Decision) -> tuple[str, ...]:
    """Return the fields disclosed by the decision as disclosures, for a partner that holds the record itself."""
    if not decision.delivered:
        raise RuntimeError("a denied record has no disclosures")
    return record.disclosures_for(decision.disclosed)


def missing(record: VerifiedRecord, decision: Decision, *, held: frozenset[str] | None) -> frozenset[str]:
    """Return the fields that a partner would get and does not hold; `held` None: it holds nothing of the record.

    Groups and lists go along with what is inside them and do not count, nor
    do the fields that are open in every record.
    """
    return (decision.disclosed & withholdable(record.kind)) - (held or frozenset())
