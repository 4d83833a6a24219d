"""This module has the commands that sign the next version of an own record: amend and remark.

What is not said stays as it was. Partners who hold an earlier version, and may
not have the new one, are told that theirs is over.
"""

from pathlib import Path

import click

from tocsin.schema.check import is_time
from tocsin.schema.contract import PAPS, TLPS, enum_number
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import Downgrade
from tocsin_cli import output
from tocsin_cli.command import Command, UsageProblem, complete_partner, input_path, json_option
from tocsin_cli.commands.draft import override_option, print_recipients, read_changes, refusal
from tocsin_cli.docket import print_review_hint
from tocsin_cli.document import document
from tocsin_cli.session import Session
from tocsin_cli.view import kind_of, short_id, tlp_of

STATUSES = ("issued", "corrected", "disputed")
"""What an amended record may be; one that is taken back is retracted."""
CORRECTED = "corrected"

_record_argument = click.argument("record_id", metavar="ID")
_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Check everything and say who would get it, but sign nothing."
)


class Step(click.ParamType[Downgrade]):
    """A step by which the marking is lowered: `2027-01-01T00:00:00Z=GREEN`."""

    name = "step"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Downgrade:
        """Return the step."""
        at, _, tlp = str(value).partition("=")
        if not is_time(at) or tlp.upper() not in TLPS:
            self.fail(f"{str(value)!r} is no step; write 2027-01-01T00:00:00Z=GREEN", param, ctx)
        return Downgrade(at=at, tlp=enum_number("Tlp", tlp.upper()))  # type: ignore[arg-type]


@click.command(
    cls=Command,
    examples=(
        "tocsin amend 3f2a finding.toml --dry-run              after: tocsin show 3f2a --draft > finding.toml",
        "tocsin amend 3f2a finding.toml --status corrected",
        "tocsin amend 3f2a finding.toml --to lab-b.example",
    ),
)
@_record_argument
@click.argument("file", type=input_path(), metavar="FILE")
@click.option("--status", type=click.Choice(STATUSES), help="Where it stands from now on.  [default: as it was]")
@click.option(
    "--to",
    "recipients",
    multiple=True,
    metavar="PARTNER",
    shell_complete=complete_partner,
    help="This partner too, where the record is for some partners only; may be given more than once.",
)
@override_option
@_dry_run_option
@json_option
@click.pass_obj
def amend(
    session: Session,
    *,
    record_id: str,
    file: Path,
    status: str | None,
    recipients: tuple[str, ...],
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Sign the next version of an own record.

    FILE has the whole content; marking, uses and schedule stay as they are
    where it does not say them. Who holds an earlier version and may have the
    new one gets it; who may not is told that the earlier one is over.
    """
    written = read_changes(file, recipients=recipients, overrides=overrides)
    request = v1.AmendRecordRequest(id=record_id, draft=written.draft, dry_run=dry_run)
    request.status = enum_number("RecordStatus", status or "")  # type: ignore[assignment]
    send_amendment(session, request, where=written.file, as_json=as_json)


@click.command(
    cls=Command,
    examples=(
        "tocsin remark 3f2a --tlp AMBER+STRICT",
        "tocsin remark 3f2a --tlp AMBER --downgrade-at 2027-01-01T00:00:00Z=GREEN",
        "tocsin remark 3f2a --pap RED --dry-run",
    ),
)
@_record_argument
@click.option("--tlp", type=click.Choice(TLPS, case_sensitive=False), help="Marking.  [default: as it was]")
@click.option("--pap", type=click.Choice(PAPS, case_sensitive=False), help="Further marking.  [default: as it was]")
@click.option(
    "--downgrade-at",
    "steps",
    type=Step(),
    multiple=True,
    metavar="TIME=TLP",
    help="Lower the marking then, in place of the schedule that it has; may be given more than once.",
)
@override_option
@_dry_run_option
@json_option
@click.pass_obj
def remark(
    session: Session,
    *,
    record_id: str,
    tlp: str | None,
    pap: str | None,
    steps: tuple[Downgrade, ...],
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change the marking of an own record.

    Signs its next version, with the same content. Who holds an earlier version
    is told the stricter marking, whether or not it may have the new one.
    """
    if not (tlp or pap or steps):
        raise UsageProblem("nothing is to change", "give --tlp, --pap or --downgrade-at")
    draft = v1.Draft(downgrade_at=steps, overrides=overrides)
    draft.tlp = enum_number("Tlp", tlp or "")  # type: ignore[assignment]
    draft.pap = enum_number("Pap", pap or "")  # type: ignore[assignment]
    request = v1.AmendRecordRequest(id=record_id, draft=draft, dry_run=dry_run)
    send_amendment(session, request, where=record_id, as_json=as_json)


def send_amendment(session: Session, request: v1.AmendRecordRequest, *, where: str, as_json: bool) -> None:
    """Ask for the next version, and print what became of it; `where` is what a refusal is about."""
    answer = session.call(request, v1.AmendRecordResponse)
    if answer.result.error_reason:
        raise refusal(answer.result, where=where)
    if as_json:
        output.document(document(answer))
        return
    record = answer.result.record
    label = f"{short_id(record) or where}  {kind_of(record)} version {record.envelope.version}"
    verb = "would amend" if request.dry_run else "amended"
    output.data(f"{verb} {label}  TLP:{tlp_of(record)}  {record.title}")
    print_recipients(answer.result, where=where, dry_run=request.dry_run)
    if answer.told:
        verb = "would be told" if request.dry_run else "told"
        output.data(f"  {verb} that what they hold is over: {', '.join(answer.told)}")
    if not request.dry_run:
        print_review_hint(answer.result.waiting)
        if answer.told:
            output.hint(f"see what they answer: tocsin retractions {short_id(record)}")
