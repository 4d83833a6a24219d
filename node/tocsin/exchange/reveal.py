"""This module reveals further fields of a record to one partner.

Revealing names the partner for some fields of one record, as `post --to` names
it for all of them. It takes both: a name here, and a `reveal` line in the
partner's policy. Nothing is signed again: what goes is the disclosures that
the partner does not hold.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tocsin.errors import MalformedName, NotPermitted
from tocsin.release.presentation import decide_today, missing
from tocsin.identity.names import OrgId
from tocsin.policy.decide import Decision
from tocsin.policy.model import PolicySet
from tocsin.policy.reach import covered
from tocsin.records.record import VerifiedRecord
from tocsin.schema.contract import ELEMENT
from tocsin.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Revealed:
    """Say what became of the fields that were to be revealed."""

    queued: tuple[str, ...]
    already_sent: tuple[str, ...]


def reveal(
    store: Store, record: VerifiedRecord, *, partner: OrgId, paths: Iterable[str], policies: PolicySet, now: int
) -> Revealed:
    """Grant fields of an own record to a partner and queue what it does not hold; all of them, or none.

    Raises MalformedName for a path that the record does not have, and
    NotPermitted where policy does not let the partner have one of them.
    """
    wanted = tuple(dict.fromkeys(path.removesuffix(ELEMENT) for path in paths))  # a list is its elements
    for path in wanted:
        if path not in record.paths:
            raise MalformedName(f"the record has no field {path!r}", hint="see `tocsin show ID` for what it has")
    with store.transaction():
        held = store.feeds.sent(partner, record.digest)
        store.feeds.grant(partner, record.digest, wanted, now=now)
        decision = decide_today(store, record, partner=partner, policies=policies, now=now)
        for path in wanted:
            if not decision.delivered or path not in decision.disclosed:
                raise _refused(path, partner, decision)
        open_yet = missing(record, decision, held=held)
        queued = tuple(path for path in wanted if any(covered(leaf, (path,)) for leaf in open_yet))
        if queued:
            store.feeds.queue(partner, record.digest, now=now)
    return Revealed(queued=queued, already_sent=tuple(path for path in wanted if path not in queued))


def _refused(path: str, partner: OrgId, decision: Decision) -> NotPermitted:
    """Say why a field may not be revealed."""
    if not decision.delivered:
        return NotPermitted(f"the record does not go to {partner} at all: {decision.why}", where=decision.file)
    why = next((str(item.why) for item in decision.withheld if covered(path, (item.path,))), "it never leaves the node")
    return NotPermitted(
        f"{path} may not go to {partner}: {why}",
        where=f"{decision.file}:{decision.line}",
        hint=f"see `tocsin explain ID --to {partner}`",
    )
