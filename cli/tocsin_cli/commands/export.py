"""This module has the command that prints records in forms that other tools read.

One record leaves as the SD-JWT text that this node holds. All records leave as
JSON lines (everything), CSV or Markdown (without imported originals); what a
sender withheld is marked as withheld in each of them, and nothing in them can
act as a formula or as markup.
"""

import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence

import click

from tocsin.schema.contract import KINDS
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, UsageProblem, json_option
from tocsin_cli.document import content_of, document, rfc3339
from tocsin_cli.session import Session
from tocsin_cli.view import bar, field_text, kind_of, record_lines, tlp_of, withheld_of

FORMATS = ("jsonl", "csv", "markdown")
ORIGINAL = "source"
"""The imported original of a record: half a megabyte at most, and no cell of a spreadsheet."""
PLAIN_COLUMNS = ("record_id", "version", "origin", "kind", "status", "tlp", "signed_at", "digest", "received_from")

# A spreadsheet takes a cell that begins so for a formula, some in full-width characters too (OWASP, CSV injection).
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_MARKUP = re.compile(r"([\\`*_\[\]<>|~&])")
# What begins a heading, a list or a quotation, at the start of a line only.
_BLOCK = re.compile(r"^(\s*)([#+=-]|\d+(?=[.)]))", re.M)


@click.command(
    cls=Command,
    examples=(
        "tocsin export 3f2a > record.sdjwt",
        "tocsin export --all --format csv > records.csv",
        "tocsin export --all --format jsonl | jq -r .title",
    ),
)
@click.argument("record_id", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="All current records instead of one.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Form of --all.  [default: jsonl]")
@json_option
@click.pass_obj
def export(session: Session, *, record_id: str | None, everything: bool, form: str | None, as_json: bool) -> None:
    """Print records in a form that other tools read.

    One record is printed as the SD-JWT text that this node holds: its origin's
    signature verifies anywhere, with tocsin verify or any RFC 9901 library.
    """
    if everything == bool(record_id):
        raise UsageProblem("name either one record or --all", "tocsin export 3f2a, or tocsin export --all")
    if form and (record_id or as_json):
        one = "one record is exported as it was signed" if record_id else "--json is one JSON document"
        raise UsageProblem(f"--format goes with --all alone: {one}", "tocsin export --all --format csv")
    if record_id:
        request = v1.GetRecordRequest(id=record_id, with_token=True)
        record = session.call(request, v1.GetRecordResponse).record
        if as_json:
            output.document(document(record))
        else:
            output.data(record.token)
        return
    if as_json:
        output.document({"records": [document(record) for record in _all(session)]})
        return
    {"jsonl": _print_jsonl, "csv": _print_csv, "markdown": _print_markdown}[form or "jsonl"](_all(session))


def _all(session: Session) -> Iterator[v1.Record]:
    request = v1.ListRecordsRequest(full=True)  # the desk knows how many fit into an answer
    for page in session.pages(request, v1.ListRecordsResponse):
        yield from page.records


def _print_jsonl(records: Iterator[v1.Record]) -> None:
    for record in records:
        click.echo(json.dumps(document(record), ensure_ascii=True))


def _print_csv(records: Iterator[v1.Record]) -> None:
    fields = list(
        dict.fromkeys(field.name for kind in KINDS.values() for field in kind.fields if field.name != ORIGINAL)
    )
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*PLAIN_COLUMNS, *fields])
    for record in records:
        writer.writerow([_cell(text) for text in (*_plain(record), *_content_cells(record, fields))])


def _plain(record: v1.Record) -> tuple[str, ...]:
    fields = document(record.envelope)
    return (
        record.envelope.record_id,
        str(record.envelope.version),
        record.envelope.iss,
        kind_of(record),
        str(fields["status"]),
        tlp_of(record),
        rfc3339(record.envelope.iat),
        record.digest,
        record.received_from,
    )


def _content_cells(record: v1.Record, fields: Sequence[str]) -> Iterator[str]:
    content, withheld = content_of(record.content), withheld_of(record)
    for name in fields:
        hidden = [bar(withheld[path]) for path in withheld if re.split(r"[.\[]", path, maxsplit=1)[0] == name]
        shown = [field_text(content[name])] if name in content else []
        yield "; ".join(dict.fromkeys((*shown, *hidden)))


def _cell(text: str) -> str:
    text = output.clean(text)
    return f"'{text}" if _FORMULA.match(text) else text


def _print_markdown(records: Iterator[v1.Record]) -> None:
    for record in records:
        signed = (
            f"{kind_of(record)} of {record.envelope.iss}, TLP:{tlp_of(record)}, signed {rfc3339(record.envelope.iat)}"
        )
        output.data(f"## {_plain_text(record.title or record.envelope.record_id)}\n")
        output.data(f"{_plain_text(signed)}  \nid `{record.envelope.record_id}`, digest `{record.digest}`\n")
        record.content.fields.pop(ORIGINAL, None)
        for line in record_lines(record):
            label = line.label.removeprefix("- ")
            # The first field of an element begins the element and, inside it, the list of its fields.
            start = "  " * line.depth + ("- " if label == line.label else "- - ")
            first, *more = _MARKUP.sub(r"\\\1", line.value).split("\n")
            value = f"\n{' ' * len(start)}".join((first, *(_BLOCK.sub(r"\1\\\2", text) for text in more)))
            output.data(f"{start}**{_plain_text(label)}** {value}".rstrip())
        output.data()


def _plain_text(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
