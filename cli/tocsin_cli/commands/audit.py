"""This module has the command that reads the decision log: audit show; verify and export are next door."""

from collections.abc import Mapping

import click
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.encoding import JSON, parse_json
from tocsin.errors import Malformed
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, complete_partner, group, json_option
from tocsin_cli.commands.record import Since, print_lines
from tocsin_cli.document import document, timestamp_text
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import Session
from tocsin_cli.view import ID_LENGTH, Line, disclosed_fields, field_text

MOST_ENTRIES_A_PAGE = 1000
MOST_NAMED = 3
"""Things that a detail in a table names; of more it says how many."""
LONGEST_DETAIL = 32
"""Characters of a detail in a table: a hash and a signature are cut, since nobody compares them there."""

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
                Entry(
                    "show", "tocsin_cli.commands.audit:show", "Show what was decided, sent and changed, and by whom."
                ),
                Entry(
                    "verify",
                    "tocsin_cli.commands.evidence:verify",
                    "Verify the decision log, in the node or in a file.",
                ),
                Entry("export", "tocsin_cli.commands.evidence:export", "Print the whole decision log as JSON lines."),
            ),
        ),
    ),
    summary="Show, verify or export the decision log.",
)


@click.command(
    cls=Command,
    examples=(
        "tocsin audit show --record 3f2a",
        "tocsin audit show --partner aisi.example --act sent --since 30d --full",
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
@click.option("--full", is_flag=True, help="Every detail: all fields that went, and the whole of each hash.")
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
    full: bool,
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
        newest_first=True,
    )
    for time, seconds in ((request.since, since), (request.until, until)):
        if seconds is not None:
            time.CopyFrom(Timestamp(seconds=seconds))
    found = session.collect(request, v1.ListAuditResponse, items="entries", limit=limit, most=MOST_ENTRIES_A_PAGE)
    if as_json:
        output.document(document(found))
    elif found.entries and full:
        for entry in found.entries:
            _print_entry(entry)
    elif found.entries:
        output.table(COLUMNS, [_row(entry) for entry in found.entries])
    else:
        output.talk("no entries")
    if found.next_page_token and not as_json:
        output.talk(f"{len(found.entries):,} entries; --limit shows more")


def _row(entry: v1.AuditEntry) -> list[Cell | str]:
    details = _details(entry)
    return [
        str(entry.sequence),
        output.minute(entry.at.seconds),
        Cell(entry.act, "bold"),
        entry.person,
        entry.partner,
        (entry.record_id or entry.digest)[:ID_LENGTH],
        "; ".join(f"{name} {_brief(value)}" for name, value in details.items() if value not in ("", [], {}, 0)),
    ]


def _print_entry(entry: v1.AuditEntry) -> None:
    output.styled(f"{entry.sequence}  {timestamp_text(entry.at)}  {entry.act}", "bold")
    labelled = [
        ("person", entry.person),
        ("partner", entry.partner),
        ("record", entry.record_id),
        ("digest", entry.digest),
    ]
    details = [(name, _whole(value)) for name, value in _details(entry).items()]
    hashes = [("hash", entry.hash), ("seal", entry.seal)]
    print_lines([Line(1, label, value) for label, value in (*labelled, *details, *hashes) if value])
    output.data()


def _details(entry: v1.AuditEntry) -> Mapping[str, JSON]:
    """Return the details of an entry; what does not read has none here, and `audit verify` says so."""
    try:
        body = parse_json(entry.body.encode())
    except Malformed:
        return {}
    details = body.get("details") if isinstance(body, dict) else None
    if not isinstance(details, dict):
        return {}
    went = details.get("disclosed")
    fields: list[JSON] = [*disclosed_fields([str(path) for path in went])] if isinstance(went, list) else []
    return details | {"disclosed": fields} if fields else details


def _whole(value: object) -> str:
    """Return a detail in full: of a field that stayed, why and until when, beside its path."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "path" in item for item in value):
        return ", ".join(_stayed(item) for item in value)
    return field_text(value)


def _stayed(field: Mapping[str, object]) -> str:
    said = " ".join(field_text(value) for name, value in field.items() if name != "path" and value)
    return f"{field['path']} ({said})" if said else str(field["path"])


def _brief(value: object) -> str:
    """Return a detail on a part of a line."""
    if isinstance(value, list | dict):
        if len(value) > MOST_NAMED:
            return f"({len(value)})"
        return ", ".join(_brief(item.get("path", item) if isinstance(item, dict) else item) for item in value)
    text = field_text(value)
    return f"{text[:ID_LENGTH]}…" if len(text) > LONGEST_DETAIL and " " not in text else text
