"""This module has the commands that take a record back: retract, and retractions for what partners answer."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from tocsin.schema.contract import RETRACTION_REASONS, enum_number
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2
from tocsin.v1.record_pb2 import RetractionAction, RetractionReason
from tocsin_cli import output
from tocsin_cli.ask import ask, is_agreed
from tocsin_cli.command import Command, UsageProblem, input_path, json_option
from tocsin_cli.commands.amend import CORRECTED, send_amendment
from tocsin_cli.commands.draft import override_option, read_changes
from tocsin_cli.document import claim, document, timestamp_text
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import Session
from tocsin_cli.view import ID_LENGTH

ACTIONS = {
    "withdraw": record_pb2.RETRACTION_ACTION_WITHDRAW,
    "purge": record_pb2.RETRACTION_ACTION_PURGE,
}
MEANINGS = {
    "correct": "a later version stands in its place",
    "withdraw": "nobody should rely on it any more",
    "purge": "nobody should rely on it any more, and everybody is asked to delete what they hold of it",
}
ANSWERS = {
    v1.ANSWER_STATE_QUEUED: Cell("not sent yet", "yellow"),
    v1.ANSWER_STATE_ASKED: Cell("silent", "yellow"),
    v1.ANSWER_STATE_CONFIRMED: Cell("confirmed", "green"),
    v1.ANSWER_STATE_DECLINED: Cell("declined", "red"),
}
MOST_A_PAGE = 500

COLUMNS = (
    Column("record"),
    Column("version", right=True, spare=True),
    Column("what"),
    Column("reason", spare=True),
    Column("at"),
    Column("by"),
    Column("asked", right=True),
    Column("confirmed", right=True),
    Column("declined", right=True),
    Column("silent since", flexible=True),
)
ANSWER_COLUMNS = (
    Column("partner"),
    Column("answer"),
    Column("since"),
    Column("reason", flexible=True),
)


@click.command(
    cls=Command,
    examples=(
        "tocsin retract 3f2a --withdraw --reason error",
        "tocsin retract 3f2a --purge --reason personal_data --dry-run",
        "tocsin retract 3f2a --purge --reason personal_data",
        "tocsin retract 3f2a --correct finding.toml             the same as: tocsin amend … --status corrected",
    ),
)
@click.argument("record_id", metavar="ID")
@click.option("--withdraw", "action", flag_value="withdraw", help="Take it back: nobody should rely on it any more.")
@click.option(
    "--purge", "action", flag_value="purge", help="The same, and ask everybody to delete it; deletes it here."
)
@click.option("--correct", type=input_path(), metavar="FILE", help="Put what this file says in its place.")
@click.option("--reason", type=click.Choice(RETRACTION_REASONS), help="Why; partners are told.")
@override_option
@click.option("--dry-run", is_flag=True, help="Say who would be told, but sign nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def retract(
    session: Session,
    *,
    record_id: str,
    action: str | None,
    correct: Path | None,
    reason: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Take an own record back, for good.

    Everybody who was ever sent a version of it is told, and answers under its
    signature. Nothing brings a retracted record back, and a purge deletes it
    here too: asks first, for a purge by the beginning of the record's id.
    """
    if (action is None) == (correct is None):
        raise UsageProblem("say what is to be done with it", "give one of --withdraw, --purge and --correct FILE")
    if correct is not None:
        _correct(session, record_id, correct, reason=reason, overrides=overrides, dry_run=dry_run, as_json=as_json)
        return
    if overrides:
        raise UsageProblem("--override goes with --correct alone: nothing else is linted", "leave it out")
    if as_json and not (yes or dry_run):
        raise UsageProblem("--json answers a script, and a script is not asked", "give --yes too")
    request = v1.RetractRecordRequest(id=record_id, action=ACTIONS[action or ""], dry_run=True)
    request.reason = enum_number("RetractionReason", reason or "")  # type: ignore[assignment]
    planned = session.call(request, v1.RetractRecordResponse)
    is_new = not planned.retraction.HasField("at")
    if is_new and not dry_run:
        if not yes and not _is_agreed(session, planned.retraction):
            output.talk("nothing was signed")
            return
        # What was shown is what is retracted, whatever a short id stands for by now.
        request.id, request.dry_run = planned.retraction.record_id, False
        planned = session.call(request, v1.RetractRecordResponse)
    if as_json:
        output.document(document(planned))
        return
    _print_retracted(planned.retraction, is_new=is_new, dry_run=dry_run)


def _correct(
    session: Session,
    record_id: str,
    file: Path,
    *,
    reason: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    if reason:
        raise UsageProblem("a correction gives no reason: the new version says it", "leave --reason out")
    written = read_changes(file, overrides=overrides)
    request = v1.AmendRecordRequest(id=record_id, draft=written.draft, dry_run=dry_run)
    request.status = enum_number("RecordStatus", CORRECTED)  # type: ignore[assignment]
    send_amendment(session, request, where=written.file, as_json=as_json)


def _is_agreed(session: Session, planned: v1.Retraction) -> bool:
    """Show what would happen, and ask; for a purge by the beginning of the record's id."""
    record = session.call(v1.GetRecordRequest(id=planned.record_id), v1.GetRecordResponse).record
    short = planned.record_id[:ID_LENGTH]
    output.talk(f"{record.title or planned.record_id}\n")
    output.talk(f"{_what(planned)}: {MEANINGS[_what(planned)]}")
    output.talk(f"this tells {_partners(planned.answers)}")
    if planned.action != record_pb2.RETRACTION_ACTION_PURGE:
        return is_agreed(f"{_what(planned)} record {short}, for good?")
    if ask(f"what is deleted does not come back; type {short} to delete it: ") != short:
        raise UsageProblem(f"that is not {short}: nothing was signed", "type it as it stands there")
    return True


def _print_retracted(found: v1.Retraction, *, is_new: bool, dry_run: bool) -> None:
    done = {"withdraw": "withdrawn", "purge": "purged"}
    short = found.record_id[:ID_LENGTH]
    if not is_new:
        output.data(f"{short} was {done[_what(found)]} already, at {timestamp_text(found.at)}")
        output.hint(f"see what became of it: tocsin retractions {short}")
        return
    said = f"would {_what(found)} {short}" if dry_run else f"{done[_what(found)]} {short}"
    output.data(f"{said}  {MEANINGS[_what(found)]}")
    output.data(f"  {'would tell' if dry_run else 'tells'} {_partners(found.answers)}")
    if found.answers and not dry_run:
        output.hint(f"see what they answer: tocsin retractions {short}")


def _partners(answers: Sequence[v1.Answer]) -> str:
    return ", ".join(answer.partner for answer in answers) or "nobody, because it never went anywhere"


@click.command(
    cls=Command,
    examples=(
        "tocsin retractions",
        "tocsin retractions 3f2a",
        "tocsin retractions 3f2a --raw > retraction.jws         and then: tocsin verify retraction.jws --identity …",
    ),
)
@click.argument("record_id", metavar="[ID]", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most retractions to print.")
@click.option("--raw", is_flag=True, help="Print the retraction of one record as it was signed.")
@json_option
@click.pass_obj
def retractions(session: Session, *, record_id: str | None, limit: int, raw: bool, as_json: bool) -> None:
    """List what was taken back, and what partners answered.

    With ID, the answer of each partner to the retraction of one record:
    confirmed and declined are signed by it, and silent means that it was asked
    and has said nothing yet.
    """
    if raw and (as_json or not record_id):
        raise UsageProblem("--raw prints the retraction of one record", "tocsin retractions ID --raw")
    if record_id:
        found = session.call(v1.GetRetractionRequest(id=record_id), v1.GetRetractionResponse).retraction
        if as_json:
            output.document(document(found))
        elif raw:
            output.data(found.token)
        else:
            _print_retraction(found)
        return
    listed = session.collect(
        v1.ListRetractionsRequest(), v1.ListRetractionsResponse, items="retractions", limit=limit, most=MOST_A_PAGE
    )
    if as_json:
        output.document(document(listed))
    elif listed.retractions:
        output.table(COLUMNS, [_row(one) for one in listed.retractions])
    else:
        output.talk("nothing was retracted")
    if listed.next_page_token and not as_json:
        output.talk(f"{len(listed.retractions):,} retractions; --limit shows more")


def _row(found: v1.Retraction) -> list[Cell | str]:
    states = Counter(answer.state for answer in found.answers)
    silent = [answer.since.seconds for answer in found.answers if answer.state == v1.ANSWER_STATE_ASKED]
    return [
        Cell(found.record_id[:ID_LENGTH], "bold"),
        str(found.version),
        _what(found),
        _reason(found),
        output.minute(found.at.seconds),
        found.issuer,
        str(len(found.answers) or ""),
        str(states[v1.ANSWER_STATE_CONFIRMED] or ""),
        Cell(str(states[v1.ANSWER_STATE_DECLINED] or ""), "red"),
        Cell(output.minute(min(silent)) if silent else "", "yellow"),
    ]


def _print_retraction(found: v1.Retraction) -> None:
    output.styled(f"{_what(found)} of record {found.record_id[:ID_LENGTH]}: {MEANINGS[_what(found)]}", "bold")
    output.pairs(
        [
            ("id", found.record_id),
            ("versions", f"up to {found.version}"),
            ("signed", f"{timestamp_text(found.at)} by {found.issuer}"),
            ("reason", _reason(found)),
            ("received from", found.received_from),
        ]
    )
    if found.answers:
        output.data()
        output.table(ANSWER_COLUMNS, [answer_row(one) for one in found.answers])
    elif not found.received_from:
        output.talk(f"nobody was told, because {_why_nobody(found)}")


def _why_nobody(found: v1.Retraction) -> str:
    if found.action == record_pb2.RETRACTION_ACTION_CORRECT:
        return "whoever holds an earlier version gets the later one itself"
    return "it never went anywhere"


def answer_row(found: v1.Answer) -> list[Cell | str]:
    """Return the cells of a partner's answer for `ANSWER_COLUMNS`."""
    since = output.minute(found.since.seconds) if found.HasField("since") else ""
    return [Cell(found.partner, "bold"), ANSWERS.get(found.state, Cell("")), since, found.reason]


def _what(found: v1.Retraction) -> str:
    return claim(RetractionAction.DESCRIPTOR, found.action)


def _reason(found: v1.Retraction) -> str:
    return claim(RetractionReason.DESCRIPTOR, found.reason)
