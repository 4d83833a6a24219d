"""This module reveals further fields of a record to one partner.

Revealing names the partner for some fields of one record, as `post --to` names
it for all of them. It takes both: a name here, and a `reveal` line in the
partner's policy. Nothing is signed again: what goes is the disclosures that
the partner does not hold, as soon as nothing makes them wait.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.errors import MalformedName, NotPermitted
from tocsin.exchange.publish import weigh_for
from tocsin.exchange.request import answer_requests
from tocsin.identity.names import OrgId
from tocsin.policy.decide import Decision
from tocsin.policy.reach import covered
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import Wait, wait_of
from tocsin.release.office import Office
from tocsin.release.presentation import missing
from tocsin.schema.contract import ELEMENT


@dataclass(frozen=True, slots=True)
class Revealed:
    """Say what became of the fields that were to be revealed; those in `waiting` go when `wait` is over."""

    queued: tuple[str, ...]
    already_sent: tuple[str, ...]
    waiting: tuple[str, ...] = ()
    wait: Wait | None = None


def reveal(
    office: Office, record: VerifiedRecord, *, partner: OrgId, paths: Iterable[str], person: str, now: int
) -> Revealed:
    """Grant fields of an own record to an active partner and weigh what it does not hold; all of them, or none.

    `person` is who reveals them, and may not approve that they go where people
    must agree to it. What the partner had asked for is answered by what goes,
    or went.

    Raises MalformedName for a path that the record does not have, and
    NotPermitted where policy does not let the partner have one of them, or
    the record is replaced or has expired.
    """
    wanted = tuple(dict.fromkeys(path.removesuffix(ELEMENT) for path in paths))  # a list is its elements
    for path in wanted:
        if path not in record.paths:
            raise MalformedName(f"the record has no field {path!r}", hint="see `tocsin show ID` for what it has")
    store = office.store
    with store.transaction():
        office = office.at_once()
        held = store.feeds.sent(partner, record.digest)
        decision = _decide(office, record, wanted, partner=partner, now=now)
        for path in wanted:
            if not decision.delivered or path not in decision.disclosed:
                raise _refused(path, partner, decision)
        open_yet = missing(record, decision, held=held)
        going = tuple(path for path in wanted if any(covered(leaf, (path,)) for leaf in open_yet))
        already = tuple(path for path in wanted if path not in going)
        wait = None
        if going:
            store.feeds.grant(partner, record.digest, going, now=now)
            details: dict[str, JSON] = {"paths": [*going]}
            entry = Entry(Event.REVEALED, person=person, partner=partner, digest=record.digest, details=details)
            office.log.append(entry, now=now)
            weigh_for(office, record, partners=(partner,), by=(person,), now=now)
            wait = wait_of(office, record, decision, partner=partner, now=now)
        # What waits answers nobody yet: people may still say no to it.
        told = missing(record, decision, held=None) - (open_yet if wait else frozenset())
        answer_requests(store, partner, record.digest, disclosed={leaf for leaf in told if covered(leaf, wanted)})
    if wait is None:
        return Revealed(queued=going, already_sent=already)
    return Revealed(queued=(), already_sent=already, waiting=going, wait=wait)


def _decide(office: Office, record: VerifiedRecord, wanted: Iterable[str], *, partner: OrgId, now: int) -> Decision:
    """Ask policy as if these fields were granted as well. Raises NotPermitted where the record is not sent any more."""
    if office.load(record.digest, now=now) is None:
        raise NotPermitted("nothing of this version is sent any more", hint="look for a later one: tocsin show ID")
    return office.policies().decide(
        record,
        partner=partner,
        recipients=office.store.records.recipients(record.digest),
        granted=office.store.feeds.granted(partner, record.digest).union(wanted),
        now=now,
    )


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
