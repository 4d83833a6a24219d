"""This module has the commands for the decision log as evidence: audit verify, audit export.

An export holds every entry as it is written. Whoever has it and the
organisation's identity document verifies it without a node, and without
believing one.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from tocsin.audit.log import Verified, dump_row, parse_row, verify_log
from tocsin.errors import TocsinError
from tocsin.identity.root import parse_identity
from tocsin.store.model import AuditRow
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, UsageProblem, input_path, json_option, read_input
from tocsin_cli.commands.audit import MOST_ENTRIES_A_PAGE
from tocsin_cli.document import rfc3339
from tocsin_cli.session import Session, now


@click.command(
    cls=Command,
    examples=("tocsin audit verify", "tocsin audit verify decisions.jsonl --identity lab-a.tocsin"),
)
@click.argument("file", required=False, type=input_path(), metavar="[FILE]")
@click.option("--identity", type=input_path(), metavar="FILE", help="Identity document, to verify a file offline.")
@json_option
@click.pass_obj
def verify(session: Session, *, file: Path | None, identity: Path | None, as_json: bool) -> None:
    """Verify the decision log, in the node or in a file.

    FILE is an export, which needs no node to be verified. A log that was cut
    off at its end verifies: compare number and hash of the last entry with
    what you wrote down before. Where the log was changed the exit code is 8.
    """
    if (file is None) != (identity is None):
        raise UsageProblem(
            "a file is verified against an identity document", "tocsin audit verify FILE --identity ORG.tocsin"
        )
    if file is not None and identity is not None:
        found = _verify_file(file, identity)
    else:
        answer = session.call(v1.VerifyAuditRequest(), v1.VerifyAuditResponse)
        found = Verified(answer.entries, answer.head, answer.at.seconds)
    at = rfc3339(found.at) if found.entries else ""
    if as_json:
        output.document({"entries": found.entries, "head": found.head, "at": at or None})
        return
    output.data(f"verified {found.entries:,} entries")
    output.pairs([("last entry", at), ("its hash", found.head)])


def _verify_file(file: Path, identity: Path) -> Verified:
    try:
        organisation = parse_identity(read_input(identity), now=now(), check_expiry=False)
    except TocsinError as error:
        error.where = error.where or str(identity)
        raise
    try:
        return verify_log(_rows(read_input(file)), organisation=organisation)
    except TocsinError as error:
        error.where = f"{file}:{error.where}" if error.where else str(file)
        raise


def _rows(data: bytes) -> Iterator[AuditRow]:
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            yield parse_row(line.decode("utf-8", "replace"))
        except TocsinError as error:
            error.where = str(number)
            raise


@click.command(cls=Command, examples=("tocsin audit export > decisions.jsonl",))
@json_option
@click.pass_obj
def export(session: Session, *, as_json: bool) -> None:
    """Print the whole decision log as JSON lines.

    One entry a line, oldest first, exactly as it is written and sealed.
    """
    if as_json:
        output.document({"entries": [asdict(row) for row in _all(session)]})
        return
    for row in _all(session):
        output.raw(f"{dump_row(row)}\n".encode())


def _all(session: Session) -> Iterator[AuditRow]:
    request = v1.ListAuditRequest(page_size=MOST_ENTRIES_A_PAGE)
    for page in session.pages(request, v1.ListAuditResponse):
        yield from map(_written, page.entries)


def _written(entry: v1.AuditEntry) -> AuditRow:
    return AuditRow(
        sequence=entry.sequence,
        at=entry.at.seconds,
        act=entry.act,
        person=entry.person,
        partner=entry.partner,
        digest=entry.digest,
        body=entry.body,
        hash=entry.hash,
        seal=entry.seal,
    )
