"""This module proposes releases to people, and sees to it that what is proposed is what would go.

    event                                                        a proposal that was  becomes
    everybody that it needs has agreed                           open                 released
    somebody said no                                             open                 rejected
    record, policy, floor or recipients are not those it names   open, released       void
    it lacks an approval that counted, and something waits       released             void
    one about more partners takes its place                      open                 void

There is at most one open proposal for a record, about every partner that
waits for people. Nothing leads back: what was void or rejected stays so, and
what is proposed anew is under another id and is agreed to anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.identity.names import OrgId
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import LIVE, approved_by, revealed_by
from tocsin.release.office import Office
from tocsin.release.presentation import missing
from tocsin.release.terms import Item, Terms, dump_terms, item_of, read_terms, review_id
from tocsin.store.model import Proposal, ReviewState

NONCE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Name the proposals that were opened, and those that became void."""

    opened: tuple[str, ...] = ()
    voided: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Today:
    """What a partner would get today, and of what went to it; `waits`: there is something that it does not hold."""

    item: Item
    of_sent: Item | None
    waits: bool


def refresh(
    office: Office, record: VerifiedRecord, *, partners: Iterable[OrgId], by: Iterable[str] = (), now: int
) -> Refreshed:
    """Make what is proposed of a record what would go today, for the active partners.

    Call it after whatever changes what would go: a record posted, a field
    revealed, policies applied, a person who left. `by` are the people whose
    doing it is; they may not approve what is opened, nor may those who
    proposed anything of the record that was not released.
    """
    partners = tuple(partners)
    with office.store.transaction():
        office = office.at_once()
        proposals = office.store.reviews.of(record.digest)
        named = (
            item.partner for one in proposals if one.state is not ReviewState.VOID for item in read_terms(one).items
        )
        known = {peer.org for peer in office.store.peers.list()}
        # Whoever was removed gets nothing today, and whoever comes back under the name later is somebody else.
        today = {
            partner: _today(office, record, partner=partner, now=now) if partner in known else None
            for partner in sorted({*partners, *named})
        }
        wanted = [found.item for org in partners if (found := today[org]) and found.waits]
        if not wanted and not any(one.state in LIVE for one in proposals):
            return Refreshed()
        return _settle(office, proposals, _terms(office, record, wanted), today=today, by=by, now=now)


def refresh_all(office: Office, *, now: int) -> Refreshed:
    """Do the same for every record of which something is proposed or was released by people.

    Call it after what may touch any of them: policies applied, a person who
    was changed or removed, a peer that is not one any more.
    """
    with office.store.transaction():
        office = office.at_once()
        reviews = office.store.reviews.list(open_only=False)
        digests = dict.fromkeys(one.digest for one in reviews if isinstance(one, Proposal) and one.state in LIVE)
        partners = office.partners()
        opened: list[str] = []
        voided: list[str] = []
        for digest in digests:
            record = office.load(digest, now=now)
            if record is None:
                voided += withdraw(office, digest, now=now)
                continue
            changed = refresh(office, record, partners=partners, now=now)
            opened += changed.opened
            voided += changed.voided
    return Refreshed(tuple(opened), tuple(voided))


def withdraw(office: Office, digest: str, *, now: int) -> tuple[str, ...]:
    """Void everything that is proposed of a record that may not be sent any more."""
    live = [one for one in office.store.reviews.of(digest) if one.state in LIVE]
    return _void(office, live, now=now)


def _today(office: Office, record: VerifiedRecord, *, partner: OrgId, now: int) -> _Today | None:
    """Return what a partner would get today that people must agree to; None where there is no such thing."""
    decision = office.decide(record, partner=partner, now=now)
    if not decision.delivered or not decision.approvals:
        return None
    sent = office.store.feeds.sent(partner, record.digest)
    policies = office.policies()
    again = replace(decision, disclosed=decision.disclosed & (sent or frozenset()))
    return _Today(
        item=item_of(record, decision, partner=partner, policies=policies),
        of_sent=None if sent is None else item_of(record, again, partner=partner, policies=policies),
        waits=bool(missing(record, decision, held=sent)),
    )


def _settle(
    office: Office,
    proposals: Sequence[Proposal],
    terms: Terms,
    *,
    today: Mapping[OrgId, _Today | None],
    by: Iterable[str],
    now: int,
) -> Refreshed:
    """Void what is not true any more, and propose of the wanted terms what nobody was asked about yet."""
    kept = [one for one in proposals if _stands(office, one, terms, today)]
    asked = {item for one in kept for item in read_terms(one).items}
    is_asked = asked >= set(terms.items)
    if not is_asked:  # what is open is proposed again, together with what is new
        kept = [one for one in kept if one.state is not ReviewState.OPEN]
        settled = {item for one in kept for item in read_terms(one).items}
        terms = replace(terms, items=tuple(item for item in terms.items if item not in settled))
    gone = [one for one in proposals if one.state in LIVE and one not in kept]
    unreleased = [one for one in proposals if one in gone or not _is_agreed(office, one)]
    voided = _void(office, gone, now=now)
    if is_asked:
        return Refreshed(voided=voided)
    revealed = revealed_by(office, terms.digest, partners=[item.partner for item in terms.items])
    by = tuple(dict.fromkeys((*by, *(name for one in unreleased for name in one.proposed_by), *revealed)))
    return Refreshed((_open(office, terms, by=by, now=now),), voided)


def _stands(office: Office, proposal: Proposal, terms: Terms, today: Mapping[OrgId, _Today | None]) -> bool:
    """Say whether a proposal is about what would go today, or went, and misses no approval that it had."""
    held = read_terms(proposal)
    if proposal.state is ReviewState.VOID or (held.recipients, held.floor) != (terms.recipients, terms.floor):
        return False
    for item in held.items:
        found = today[item.partner]
        if found is None or item not in (found.item, found.of_sent):
            return False
    is_settled = proposal.state is not ReviewState.RELEASED or not set(terms.items) & set(held.items)
    return is_settled or _is_agreed(office, proposal)


def _is_agreed(office: Office, proposal: Proposal) -> bool:
    """Say whether everybody that a proposal needs has agreed, and counts today."""
    return len(approved_by(office, proposal)) >= proposal.approvals_needed


def _terms(office: Office, record: VerifiedRecord, items: Iterable[Item]) -> Terms:
    floor = office.policies().floor
    return Terms(
        digest=record.digest,
        recipients=tuple(sorted(office.store.records.recipients(record.digest))),
        floor=floor.digest if floor else "",
        items=tuple(sorted(items)),
    )


def _open(office: Office, terms: Terms, *, by: tuple[str, ...], now: int) -> str:
    body = dump_terms(terms, nonce=office.random(NONCE_BYTES))
    needed = max(item.approvals for item in terms.items)
    proposal = Proposal(review_id(body), terms.digest, body, ReviewState.OPEN, by, now, needed)
    office.store.reviews.propose(proposal)
    partners: list[JSON] = [item.partner for item in terms.items]
    details: dict[str, JSON] = {"review": proposal.id, "partners": partners, "approvals": needed}
    office.log.append(Entry(Event.PROPOSED, person=by[0] if by else "", digest=terms.digest, details=details), now=now)
    return proposal.id


def _void(office: Office, proposals: Sequence[Proposal], *, now: int) -> tuple[str, ...]:
    for one in proposals:
        office.store.reviews.set_state(one.id, ReviewState.VOID)
    if proposals:
        entries = [Entry(Event.VOIDED, digest=one.digest, details={"review": one.id}) for one in proposals]
        office.log.append(*entries, now=now)
    return tuple(one.id for one in proposals)
