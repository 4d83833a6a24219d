"""This module has the commands about the decision log: audit show, verify, export.

An export holds every entry as it is written. Whoever has it and the
organisation's identity document verifies it without a node, and without
believing one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import click
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.audit.log import Verified, dump_row, parse_row, verify_log
from tocsin.encoding import parse_json
from tocsin.errors import Malformed, TocsinError
from tocsin.identity.root import parse_identity
from tocsin.store.model import AuditRow
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import (
    Command,
    Entry,
    Section,
    UsageProblem,
    complete_partner,
    group,
    input_path,
    json_option,
    read_input,
)
from tocsin_cli.commands.record import Since
from tocsin_cli.document import document, rfc3339
from tocsin_cli.output import Cell, Column
from tocsin_cli.session import Session, now
from tocsin_cli.view import ID_LENGTH, field_text

_HERE = "tocsin_cli.commands.audit"
MOST_ENTRIES_A_PAGE = 1000
LONGEST_DETAIL = 43
"""Characters of a detail in a table: a hash is shown whole, a signature is not."""

COLUMNS = (
    Column("#", right=True),
    Column("at"),
    Column("act"),
    Column("person"),
    Column("partner"),
    Column("record"),
    Column("details", flexible=True, wraps=True, spare=True),
)

audit = group(
    name="audit",
    examples=(
        "tocsin audit show --record 3f2a",
        "tocsin audit verify",
        "tocsin audit export > decisions.jsonl",
    ),
    sections=(
        Section(
            "Commands",
            (
                Entry("show", f"{_HERE}:show", "Show what was decided, sent and changed, and by whom."),
                Entry("verify", f"{_HERE}:verify", "Verify the decision log, in the node or in a file."),
                Entry("export", f"{_HERE}:export", "Print the whole decision log as JSON lines."),
            ),
        ),
    ),
    summary="Show, verify or export the decision log.",
)


@click.command(
    cls=Command,
    examples=(
        "tocsin audit show --record 3f2a",
        "tocsin audit show --partner aisi.example --act sent --since 30d",
        "tocsin audit show --person analyst-1 --since 2026-03-01 --until 2026-04-01 --json",
    ),
)
@click.option("--record", default="", metavar="ID", help="Only about this record.")
@click.option(
    "--partner", default="", metavar="ORG", shell_complete=complete_partner, help="Only about this organisation."
)
@click.option("--person", default="", metavar="NAME", help="Only by this person.")
@click.option("--act", default="", metavar="ACT", help="Only this act, such as sent, approved or policy-applied.")
@click.option("--since", type=Since(), help="Only from this time on, or in an age such as 7d.")
@click.option("--until", type=Since(), help="Only before this time.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most entries to print.")
@json_option
@click.pass_obj
def show(
    session: Session,
    *,
    record: str,
    partner: str,
    person: str,
    act: str,
    since: int | None,
    until: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show what was decided, sent and changed, and by whom.

    Newest first. No entry holds a value of a record: a field is named by its
    path, a presentation by its hash.
    """
    request = v1.ListAuditRequest(
        record=record,
        partner=partner,
        person=person,
        act=act,
        page_size=min(limit, MOST_ENTRIES_A_PAGE),
        newest_first=True,
    )
    for time, seconds in ((request.since, since), (request.until, until)):
        if seconds is not None:
            time.CopyFrom(Timestamp(seconds=seconds))
    found = _collect(session, request, limit=limit)
    if as_json:
        output.document(document(found))
    elif found.entries:
        output.table(COLUMNS, [_row(entry) for entry in found.entries])
    else:
        output.talk("no entries")
    if found.next_page_token and not as_json:
        output.talk(f"{len(found.entries):,} entries; --limit shows more")


def _collect(session: Session, request: v1.ListAuditRequest, *, limit: int) -> v1.ListAuditResponse:
    """Ask page by page until there are enough, as if it were one answer."""
    found = session.call(request, v1.ListAuditResponse)
    while found.next_page_token and len(found.entries) < limit:
        request.page_token = found.next_page_token
        request.page_size = min(limit - len(found.entries), MOST_ENTRIES_A_PAGE)
        page = session.call(request, v1.ListAuditResponse)
        found.entries.extend(page.entries)
        found.next_page_token = page.next_page_token
    return found


def _row(entry: v1.AuditEntry) -> list[Cell | str]:
    return [
        str(entry.sequence),
        output.minute(entry.at.seconds),
        Cell(entry.act, "bold"),
        entry.person,
        entry.partner,
        entry.digest[:ID_LENGTH],
        _details(entry.body),
    ]


def _details(body: str) -> str:
    try:
        entry = parse_json(body.encode())
    except Malformed:
        return ""  # `audit verify` says so; here it must not hide the rest
    details = entry.get("details") if isinstance(entry, dict) else None
    if not isinstance(details, dict):
        return ""
    return "; ".join(f"{name} {_brief(value)}" for name, value in details.items() if value not in ("", [], {}))


def _brief(value: object) -> str:
    """Return a detail on one line, where nobody reads a signature."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_brief(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_brief, value))
    text = field_text(value)
    return text if len(text) <= LONGEST_DETAIL else f"{text[:ID_LENGTH]}…"


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
    while True:
        page = session.call(request, v1.ListAuditResponse)
        yield from map(_written, page.entries)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


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
