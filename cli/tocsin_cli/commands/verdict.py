"""This module has the commands about one record and one partner: explain, preview, reveal."""

import click
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import DisclosureClass
from tocsin_cli import output
from tocsin_cli.command import Command, complete_partner, json_option
from tocsin_cli.commands.record import Since, age_of, print_record
from tocsin_cli.docket import print_review_hint
from tocsin_cli.document import claim, document, timestamp_text
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import Session, now
from tocsin_cli.view import BAR, waiting_text

COLUMNS = (
    Column("field"),
    Column("verdict"),
    Column("class", spare=True),
    Column("why", flexible=True, wraps=True),
    Column("until"),
)

_record_argument = click.argument("record_id", metavar="ID")
_partner_option = click.option(
    "--to", "partner", required=True, metavar="PARTNER", shell_complete=complete_partner, help="Organisation id."
)


class When(Since):
    """A time as `Since` reads it, or one to come, such as `+30d`."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return unix seconds."""
        if isinstance(value, str) and value.startswith("+") and (age := age_of(value[1:])):
            return now() + age
        return super().convert(value, param, ctx)


@click.command(
    cls=Command,
    examples=("tocsin explain 3f2a --to aisi.example", "tocsin explain 3f2a --to aisi.example --at 2027-01-01"),
)
@_record_argument
@_partner_option
@click.option("--at", type=When(), default=None, help="As of this time, or in a while such as +30d.  [default: now]")
@json_option
@click.pass_obj
def explain(session: Session, *, record_id: str, partner: str, at: int | None, as_json: bool) -> None:
    """Say whether a partner gets a record, which fields, and why."""
    request = v1.ExplainRecordRequest(id=record_id, partner=partner)
    if at is not None:
        request.at.CopyFrom(Timestamp(seconds=at))
    found = session.call(request, v1.ExplainRecordResponse)
    if as_json:
        output.document(document(found))
        return
    _print_verdict(found, partner=partner, at=at)
    if found.delivered:
        output.data()
        output.table(COLUMNS, [_verdict(field) for field in found.fields])
    print_review_hint([found.waiting])
    for advice in found.hints:
        output.hint(advice)


def _print_verdict(found: v1.ExplainRecordResponse, *, partner: str, at: int | None) -> None:
    shared = sum(field.shared for field in found.fields)
    later = " LATER" if found.HasField("waiting") else ""
    verdict = f"SHARED{later}, {shared} of {len(found.fields)} fields" if found.delivered else "NOT SHARED"
    style = "bold red" if not found.delivered else "bold yellow" if later else "bold green"
    output.styled(f"{verdict} with {partner}", style)
    rule = f"{found.rule} ({found.file}:{found.line})" if found.line else found.file
    output.pairs(
        [
            ("as of", "" if at is None else timestamp_text(Timestamp(seconds=at))),
            ("why", found.why),
            ("rule", rule),
            ("agreement", found.agreement),
            ("but", waiting_text(found.waiting) if later else ""),
        ]
    )


def _verdict(field: v1.FieldVerdict) -> list[Cell | str]:
    told = f" (told as {field.reason})" if field.reason and not field.shared else ""
    return [
        field.path,
        Cell("shared", "green") if field.shared else Cell(f"{BAR[:3]} withheld", "magenta"),
        claim(DisclosureClass.DESCRIPTOR, field.disclosure).upper(),
        field.why + told,
        timestamp_text(field.until) if field.HasField("until") else "",
    ]


@click.command(
    cls=Command,
    examples=(
        "tocsin preview 3f2a --to aisi.example",
        "tocsin preview 3f2a --to aisi.example --raw > what-aisi-gets.sdjwt",
    ),
)
@_record_argument
@_partner_option
@click.option("--raw", is_flag=True, help="Print the exact bytes that are sent.")
@json_option
@click.pass_obj
def preview(session: Session, *, record_id: str, partner: str, raw: bool, as_json: bool) -> None:
    """Show exactly what a partner gets of a record."""
    found = session.call(v1.PreviewRecordRequest(id=record_id, partner=partner), v1.PreviewRecordResponse)
    if as_json:
        output.document(document(found))
    elif raw:
        output.data(found.presentation)
    else:
        print_record(found.record)
        output.talk(f"\n{partner} gets {len(found.presentation):,} bytes; --raw prints them")


@click.command(
    cls=Command,
    examples=(
        "tocsin reveal 3f2a steps --to aisi.example",
        "tocsin reveal 3f2a steps 'subjects[*].version' --to lab-b.example",
    ),
)
@_record_argument
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@_partner_option
@json_option
@click.pass_obj
def reveal(session: Session, *, record_id: str, paths: tuple[str, ...], partner: str, as_json: bool) -> None:
    """Send further fields of a record to a partner.

    Nothing is signed again: the disclosures that were left out follow. A field
    of class NAMED goes only where the partner's policy has a reveal line for
    it, and a LOCAL one never.
    """
    request = v1.RevealFieldsRequest(id=record_id, paths=paths, partner=partner)
    found = session.call(request, v1.RevealFieldsResponse)
    if as_json:
        output.document(document(found))
        return
    if found.queued:
        output.data(f"queued for {partner}: {', '.join(found.queued)}")
    if found.already_sent:
        output.data(f"{partner} has already: {', '.join(found.already_sent)}")
    if found.HasField("waiting"):
        output.data(f"{partner} {waiting_text(found.waiting)}")
        print_review_hint([found.waiting])
