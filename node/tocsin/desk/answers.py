"""This module says what partners answer to retractions: who was asked, who did it, who is silent.

the partner …                                                    its answer
has signed that it did as it was asked                           confirmed
has signed that it did not, or cannot, and why                   declined
was sent the retraction, and has said nothing                    asked
holds a version of the record, and was not sent it yet           queued
"""

from collections.abc import Iterable, Iterator

from tocsin.desk.outbox import on_its_way
from tocsin.identity.certificate import DAY
from tocsin.identity.names import OrgId
from tocsin.records.retraction import Action
from tocsin.store.model import PAGE_SIZE_MAX, AnswerRow, EntryKind, Outcome, RetractionRow
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
    for row in rows:
        if row.issuer != ours or row.stored_at > now - DAYS_OF_SILENCE * DAY:
            continue
        silent = tuple(answer.partner for answer in answers_to(store, row) if answer.state not in _SAID)
        if silent:
            yield row, silent


def answers_to(store: Store, row: RetractionRow) -> tuple[v1.Answer, ...]:
    """Return what each partner that holds a version of an own record says to its retraction."""
    digests = [one.digest for one in store.records.history(row.issuer, row.record_id)]
    said: dict[str, AnswerRow] = {}
    for answer in sorted((one for digest in digests for one in store.receipts.answers(digest)), key=lambda one: one.at):
        if answer.kind is EntryKind.RETRACTION and _is_about(store, answer, row):
            said[answer.partner] = answer
    answers = []
    for partner in sorted(store.feeds.holders(row.issuer, row.record_id)):
        found = _said(said[partner]) if partner in said else _not_said(store, row, partner, digests)
        if found is not None:
            answers.append(found)
    return tuple(answers)


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


def _not_said(store: Store, row: RetractionRow, partner: OrgId, digests: Iterable[str]) -> v1.Answer | None:
    """Return where a retraction is on its way to a partner; None for a correction of which it need not be told."""
    is_sent = row.digest in store.feeds.told(partner, row.issuer, row.record_id)
    rows = [one for digest in digests for one in on_its_way(store, partner, digest)]
    if row.action == Action.CORRECT and not is_sent and all(one.sequence or one.due_at for one in rows):
        return None
    sent_at = max((one.since for one in rows if one.sequence), default=0)
    message = v1.Answer(partner=partner, state=v1.ANSWER_STATE_ASKED if is_sent else v1.ANSWER_STATE_QUEUED)
    message.since.FromSeconds(max(sent_at, row.stored_at) if is_sent else row.stored_at)
    return message
