"""This module has the commands that read records: list, show, search."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.schema.contract import KINDS, TLPS, choices, enum_number
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import Tlp
from tocsin_cli import output
from tocsin_cli.command import Command, UsageProblem, json_option
from tocsin_cli.document import claim, document, rfc3339
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import Session, now
from tocsin_cli.view import (
    LABEL_COLUMNS,
    Line,
    Tone,
    kind_of,
    marking_text,
    record_lines,
    short_id,
    tlp_of,
    withheld_of,
    wrapped,
)

MOST_RECORDS_A_PAGE = 500
_AGES = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGE = re.compile(r"(\d{1,5})([hdw])")

OVER = {
    v1.STANDING_REPLACED: "a later version stands in its place",
    v1.STANDING_EQUIVOCAL: "its origin signed another record with the same id and version; this one is evidence",
    v1.STANDING_WITHDRAWN: "its origin has taken it back",
    v1.STANDING_PURGED: "its origin has taken it back, and what was held of it is deleted",
}
"""What a version is that is not what its origin says today."""

COLUMNS = (
    Column("id"),
    Column("kind", spare=True),
    Column("severity"),
    Column("tlp"),
    Column("title", flexible=True),
    Column("from"),
    Column("signed", spare=True),
    Column("withheld", right=True),
)


class Since(click.ParamType[int]):
    """A time: RFC 3339, a date, or an age such as `7d`."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return unix seconds."""
        if isinstance(value, int):
            return value
        text = str(value)
        if age := age_of(text):
            return now() - age
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is not a time; write 2026-03-01, 2026-03-01T12:00:00Z or an age such as 7d", param, ctx
            )
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def age_of(text: str) -> int:
    """Return the seconds of an age such as `7d`; 0 where it is none."""
    age = _AGE.fullmatch(text)
    return int(age[1]) * _AGES[age[2]] if age else 0


@click.command(
    "list",
    cls=Command,
    examples=(
        "tocsin list",
        "tocsin list --severity high --since 7d",
        "tocsin list --from lab-b.example --kind incident --json",
    ),
)
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only this kind.")
@click.option("--from", "origin", metavar="ORG", default="", help="Only records of this organisation.")
@click.option("--since", type=Since(), help="Only records signed since this time, or in an age such as 7d.")
@click.option("--tlp", type=click.Choice(TLPS, case_sensitive=False), help="Only this marking.")
@click.option("--severity", type=click.Choice(choices("Severity")), help="Only findings of this severity.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most records to print.")
@json_option
@click.pass_obj
def list_records(
    session: Session,
    *,
    kind: str | None,
    origin: str,
    since: int | None,
    tlp: str | None,
    severity: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the records that this node holds."""
    request = v1.ListRecordsRequest(severity=severity or "")
    filters = {"from": origin, "kind": enum_number("RecordKind", kind or ""), "tlp": enum_number("Tlp", tlp or "")}
    for name, value in filters.items():
        setattr(request, name, value)
    if since is not None:
        request.since.CopyFrom(Timestamp(seconds=since))
    found = session.collect(request, v1.ListRecordsResponse, items="records", limit=limit, most=MOST_RECORDS_A_PAGE)
    if as_json:
        output.document(document(found))
        return
    print_records(found.records)
    if found.more_than_total or found.total > len(found.records):
        total = f"{'more than ' if found.more_than_total else ''}{found.total:,}"
        output.talk(f"{len(found.records)} of {total} records; --limit shows more")


@click.command(cls=Command, examples=("tocsin search prompt injection", "tocsin search AML.T0051 --json"))
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@click.option(
    "--limit", type=click.IntRange(min=1, max=500), default=50, show_default=True, help="Most records to print."
)
@json_option
@click.pass_obj
def search(session: Session, *, words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Find records by the words they contain.

    All words must occur. Nothing in them is an operator, and only what this
    node may read is searched. The best come first; of words that more than
    10,000 records have, among those that were stored last.
    """
    found = session.call(v1.SearchRecordsRequest(text=" ".join(words), limit=limit), v1.SearchRecordsResponse)
    if as_json:
        output.document(document(found))
        return
    print_records(found.records)


@click.command(
    cls=Command,
    examples=(
        "tocsin show 3f2a",
        "tocsin show 3f2a --version 1",
        "tocsin show 3f2a --json | jq .content",
        "tocsin show 3f2a --draft > finding.toml               to edit, and then: tocsin amend 3f2a finding.toml",
        "tocsin show 3f2a --proof > record.tlog-proof          for tocsin verify, anywhere",
    ),
)
@click.argument("record_id", metavar="ID")
@click.option("--version", type=click.IntRange(min=1), default=None, help="This version instead of the newest.")
@click.option("--draft", "as_draft", is_flag=True, help="Print an own record as a TOML file to edit.")
@click.option("--proof", is_flag=True, help="Print the record with the proof that it is in its origin's log.")
@click.option("--without-record", is_flag=True, help="With --proof: the proof alone.")
@json_option
@click.pass_obj
def show(
    session: Session,
    *,
    record_id: str,
    version: int | None,
    as_draft: bool,
    proof: bool,
    without_record: bool,
    as_json: bool,
) -> None:
    """Show one record, and what is withheld of it.

    ID is the record's id, any beginning of it that no other record has, or
    the record's digest. A proof is a C2SP tlog-proof, with the record as it is
    held here along it.
    """
    if as_draft and (as_json or proof):
        raise UsageProblem("--draft prints a TOML file, and nothing else", "leave the other option out")
    if proof:
        _print_proof(session, record_id, version or 0, without_record=without_record, as_json=as_json)
        return
    if without_record:
        raise UsageProblem("only a proof can do without the record", "tocsin show ID --proof --without-record")
    found = session.call(v1.GetRecordRequest(id=record_id, version=version or 0), v1.GetRecordResponse).record
    if as_json:
        output.document(document(found))
    elif as_draft:
        output.data(_draft_of(found).rstrip("\n"))
    else:
        print_record(found)


def _print_proof(session: Session, record_id: str, version: int, *, without_record: bool, as_json: bool) -> None:
    request = v1.ProveRecordRequest(id=record_id, version=version, without_record=without_record)
    found = session.call(request, v1.ProveRecordResponse)
    if as_json:
        output.document(document(found))
    else:
        output.raw(found.proof.encode())


def _draft_of(record: v1.Record) -> str:
    if not record.own:
        hint = "`tocsin request` asks its origin for more of it"
        raise UsageProblem(f"{short_id(record)} is of {record.envelope.iss}: only its origin amends it", hint)
    if not record.content.fields:
        raise UsageProblem(f"{short_id(record)} has no content any more", "post it anew, from a file of yours")
    from tocsin_cli.redraft import redraft  # and whatever reads the files that people write

    return redraft(record)


def print_records(records: Sequence[v1.Record]) -> None:
    """Print a table of records, or say that there are none."""
    if not records:
        output.talk("no records")
        return
    output.table(COLUMNS, [_row(record) for record in records])


def _row(record: v1.Record) -> list[Cell | str]:
    tlp, hidden = tlp_of(record), len(withheld_of(record))
    return [
        Cell(short_id(record), "bold"),
        kind_of(record),
        Cell(record.severity, output.SEVERITY_STYLES.get(record.severity, "")),
        Cell(tlp, output.TLP_STYLES.get(tlp, "")),
        record.title,
        record.envelope.iss,
        rfc3339(record.envelope.iat)[:10],
        str(hidden or ""),
    ]


def print_record(record: v1.Record) -> None:
    """Print one record: what it is, its content with bars, and where it comes from."""
    envelope = record.envelope
    output.styled(record.title or envelope.record_id, "bold")
    version = f"version {envelope.version} " if envelope.version > 1 or len(record.versions) > 1 else ""
    output.styled(
        f"{marking_text(record)}  {kind_of(record)} {version}of {envelope.iss}, signed {rfc3339(envelope.iat)}",
        output.TLP_STYLES.get(tlp_of(record), ""),
    )
    if record.standing in OVER:
        output.styled(f"{claim(v1.Standing.DESCRIPTOR, record.standing).upper()}: {OVER[record.standing]}", "bold red")
    output.data()
    title = Line(0, "title", record.title)  # stands above already
    if lines := [line for line in record_lines(record) if line != title]:
        print_lines(lines)
        output.data()
    for label, value in _provenance(record):
        if value:  # whole on one line, so that an id can be copied
            output.data(f"{label:<{LABEL_COLUMNS}} {value}")


def print_lines(lines: list[Line]) -> None:
    """Print labelled lines; on a terminal, groups are bold and bars stand out."""
    styles = {Tone.GROUP: "bold", Tone.WITHHELD: "magenta", Tone.VALUE: ""}
    for line in lines:
        cleaned = Line(line.depth, output.clean(line.label), output.clean(line.value), line.tone)
        output.paint("\n".join(wrapped(cleaned, output.width())), styles[line.tone])


def _provenance(record: v1.Record) -> list[tuple[str, str]]:
    steps = record.envelope.downgrade_at
    stored = record.HasField("stored_at")  # not in a preview, which nobody has received yet
    received = (
        f"{record.received_from} at {rfc3339(record.stored_at.seconds)}" if record.received_from and stored else ""
    )
    return [
        ("id", record.envelope.record_id),
        ("digest", record.digest),
        ("signature", f"{record.signature}, key {record.key_id}" if record.signature else ""),
        ("received from", received),
        ("narrowed to", ", ".join(record.recipients)),
        ("posted by", record.author),
        ("versions", ", ".join(map(str, record.versions)) if len(record.versions) > 1 else ""),
        ("keep until", record.envelope.retention_until),
        ("marking", ", ".join(f"{claim(Tlp.DESCRIPTOR, step.tlp)} from {step.at}" for step in steps)),
    ]
