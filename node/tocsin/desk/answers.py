"""This module says what partners answer to retractions: who was asked, who did it, who is silent.

the partner …                                                    its answer
has signed that it did as it was asked                           confirmed
has signed that it did not, or cannot, and why                   declined
was sent the retraction, and has said nothing                    asked
holds a version of the record, and was not sent it yet           queued
"""

from collections.abc import Iterable, Iterator

from tocsin.audit.entry import Event
from tocsin.audit.log import BATCH
from tocsin.desk.outbox import on_its_way
from tocsin.identity.certificate import DAY
from tocsin.identity.names import OrgId
from tocsin.records.retraction import Action
from tocsin.store.evidence import AnswerRow, RetractionRow
from tocsin.store.model import PAGE_SIZE_MAX, AuditFilter, EntryKind, Outcome
from tocsin.store.protocol import Store
from tocsin.v1 import desk_service_pb2 as v1

DAYS_OF_SILENCE = 7
"""A partner whose node stood still over a holiday is back by then."""

_DONE = frozenset({Outcome.APPLIED, Outcome.UNCHANGED, Outcome.VOID})
_SAID = frozenset({v1.ANSWER_STATE_CONFIRMED, v1.ANSWER_STATE_DECLINED})


def every_retraction(store: Store) -> Iterator[RetractionRow]:
    """Yield the retractions that are no corrections, newest first."""
    token = ""
    while True:
        rows, token = store.retractions.list(page_token=token)
        yield from rows
        if not token:
            return


def silent_partners(store: Store, *, ours: OrgId, now: int) -> Iterator[tuple[RetractionRow, tuple[str, ...]]]:
    """Yield own retractions that some have not answered within a week, newest first, with who; of the last 500."""
    rows, _ = store.retractions.list(page_size=PAGE_SIZE_MAX)
    peers = _peers(store)
    for row in rows:
        if row.issuer != ours or row.stored_at > now - DAYS_OF_SILENCE * DAY:
            continue
        silent = (answer.partner for answer in answers_to(store, row) if answer.state not in _SAID)
        if waited_for := tuple(partner for partner in silent if partner in peers):
            yield row, waited_for


def answers_to(store: Store, row: RetractionRow) -> tuple[v1.Answer, ...]:
    """Return what each partner that holds a version of an own record says to its retraction.

    Who is no peer any more is not asked; what it was asked, and said, before stays.
    """
    digests = [one.digest for one in store.records.history(row.issuer, row.record_id)]
    said: dict[str, AnswerRow] = {}
    for answer in sorted((one for digest in digests for one in store.receipts.answers(digest)), key=lambda one: one.at):
        if answer.kind is EntryKind.RETRACTION and _is_about(store, answer, row):
            said[answer.partner] = answer
    asked = _asked(store, row, digests)
    peers = _peers(store)
    answers = []
    for partner in sorted(store.feeds.holders(row.issuer, row.record_id)):
        if partner in said:
            answers.append(_said(said[partner]))
        elif partner in asked:
            answers.append(_not_said(partner, v1.ANSWER_STATE_ASKED, since=asked[partner]))
        elif partner in peers and (row.action != Action.CORRECT or _is_queued(store, partner, digests)):
            answers.append(_not_said(partner, v1.ANSWER_STATE_QUEUED, since=row.stored_at))
    return tuple(answers)


def _peers(store: Store) -> frozenset[str]:
    return frozenset(peer.org for peer in store.peers.list())


def _is_about(store: Store, answer: AnswerRow, row: RetractionRow) -> bool:
    """Say whether an answer is to this retraction; of a feed that was begun anew only its time is left to tell."""
    for entry in store.feeds.entries(answer.partner, after=answer.sequence - 1, limit=1):
        if (entry.sequence, entry.kind, entry.digest) == (answer.sequence, answer.kind, answer.digest):
            return row.digest in entry.disclosed
    return answer.at >= row.stored_at


def _said(answer: AnswerRow) -> v1.Answer:
    is_done = answer.outcome in _DONE
    state = v1.ANSWER_STATE_CONFIRMED if is_done else v1.ANSWER_STATE_DECLINED
    message = v1.Answer(partner=answer.partner, state=state, reason="" if is_done else answer.reason)
    message.since.FromSeconds(answer.at)
    return message


def _not_said(partner: OrgId, state: v1.AnswerState.ValueType, *, since: int) -> v1.Answer:
    message = v1.Answer(partner=partner, state=state)
    message.since.FromSeconds(since)
    return message


def _asked(store: Store, row: RetractionRow, digests: Iterable[str]) -> dict[str, int]:
    """Return to whom a retraction was sent, and when first: the decision log names it."""
    asked: dict[str, int] = {}
    for digest in digests:
        for entry in store.audit.list(AuditFilter(digest=digest, act=Event.SENT), limit=BATCH, newest_first=True):
            if row.digest in entry.body:
                asked[entry.partner] = entry.at
    return asked


def _is_queued(store: Store, partner: OrgId, digests: Iterable[str]) -> bool:
    """Say whether it is still to be seen if a partner must be told; whoever has the next version need not."""
    rows = (one for digest in digests for one in on_its_way(store, partner, digest))
    return any(not one.sequence and not one.due_at for one in rows)
