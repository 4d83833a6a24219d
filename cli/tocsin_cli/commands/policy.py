"""This module has the commands about who sees what: policy check, explain, preview, reveal."""

import click

from tocsin.errors import MalformedPolicy
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import DisclosureClass
from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, complete_partner, group, json_option
from tocsin_cli.commands.record import print_record
from tocsin_cli.document import claim, document
from tocsin_cli.output import Cell, Column
from tocsin_cli.session import Session
from tocsin_cli.view import BAR

policy = group(
    name="policy",
    examples=("tocsin policy check",),
    sections=(
        Section(
            "Commands",
            (Entry("check", "tocsin_cli.commands.policy:check", "Report every problem in the policy files."),),
        ),
    ),
    summary="Check the policy files.",
)

COLUMNS = (Column("field"), Column("verdict"), Column("class", spare=True), Column("why", flexible=True, wraps=True))

_record_argument = click.argument("record_id", metavar="ID")
_partner_option = click.option(
    "--to", "partner", required=True, metavar="PARTNER", shell_complete=complete_partner, help="Organisation id."
)


@click.command(cls=Command, examples=("tocsin policy check", "tocsin policy check --json"))
@json_option
@click.pass_obj
def check(session: Session, *, as_json: bool) -> None:
    """Report every problem in the policy files.

    Reads them as they are on disk now. With a problem the exit code is 3.
    """
    found = session.call(v1.CheckPoliciesRequest(), v1.CheckPoliciesResponse)
    if as_json:
        output.document(document(found))
    else:
        _print_checked(found)
    if found.problems:
        count = len(found.problems)
        raise MalformedPolicy(
            f"{count} problem{'s' if count > 1 else ''} in the policy files",
            details=tuple(f"{problem.file}:{problem.line}: {problem.message}" for problem in found.problems),
            hint="a file with a problem shares nothing and accepts nothing until it is mended",
        )


def _print_checked(found: v1.CheckPoliciesResponse) -> None:
    for partner in found.partners:
        output.data(f"{partner}  in order")
    if not found.partners and not found.problems:
        output.talk("no partner has a policy file; tocsin peer add writes one")
    for warning in found.warnings:
        output.warning(warning)
    if found.changed_files:
        output.warning(f"changed since the node started: {', '.join(found.changed_files)}")
        output.hint("a policy file takes effect when the node starts: restart it")


@click.command(cls=Command, examples=("tocsin explain 3f2a --to aisi.example",))
@_record_argument
@_partner_option
@json_option
@click.pass_obj
def explain(session: Session, *, record_id: str, partner: str, as_json: bool) -> None:
    """Say whether a partner gets a record, which fields, and why."""
    found = session.call(v1.ExplainRecordRequest(id=record_id, partner=partner), v1.ExplainRecordResponse)
    if as_json:
        output.document(document(found))
        return
    shared = sum(field.shared for field in found.fields)
    verdict = f"SHARED, {shared} of {len(found.fields)} fields" if found.delivered else "NOT SHARED"
    output.styled(f"{verdict} with {partner}", "bold green" if found.delivered else "bold red")
    rule = f"{found.rule} ({found.file}:{found.line})" if found.line else found.file
    output.pairs([("why", found.why), ("rule", rule), ("agreement", found.agreement)])
    if found.delivered:
        output.data()
        output.table(COLUMNS, [_verdict(field) for field in found.fields])
    for advice in found.hints:
        output.hint(advice)


def _verdict(field: v1.FieldVerdict) -> list[Cell | str]:
    told = f" (told as {field.reason})" if field.reason and not field.shared else ""
    return [
        field.path,
        Cell("shared", "green") if field.shared else Cell(f"{BAR[:3]} withheld", "magenta"),
        claim(DisclosureClass.DESCRIPTOR, field.disclosure).upper(),
        field.why + told,
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
