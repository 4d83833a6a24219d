"""This module has the commands that make records: template and post; and what a draft becomes, for amend too."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import click
import orjson

from tocsin.errors import MalformedContent, ReleaseBlocked, TocsinError, by_reason
from tocsin.schema.contract import KINDS, TLPS, enum_number
from tocsin.schema.files import parse_content_file
from tocsin.schema.template import template as template_of
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import DisclosureClass, PermittedUse
from tocsin_cli import output
from tocsin_cli.command import (
    Command,
    Function,
    UsageProblem,
    complete_partner,
    input_path,
    json_option,
    read_input,
)
from tocsin_cli.docket import print_review_hint
from tocsin_cli.document import claim, document
from tocsin_cli.session import Session
from tocsin_cli.view import kind_of, short_id, tlp_of, waiting_text

DEFAULT_TLP = "AMBER+STRICT"
"""Marking of a record that names none: for the recipient's own organisation, and nobody behind it."""

FORMATS: dict[str, Literal["toml", "yaml", "json"]] = {
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
}
CHOICES = {"kind": "RecordKind", "tlp": "Tlp", "pap": "Pap", "relay": "Relay"}
MOST_OVERRIDES_TOLD = 3
"""Findings of the linter that a hint spells out; the error itself lists all of them."""


@dataclass(frozen=True, slots=True)
class Written:
    """A draft and the file that it was written in."""

    file: str
    draft: v1.Draft


def override_option(function: Function) -> Function:
    """Add `--override`, by which a person takes findings of the linter upon itself."""
    return click.option(
        "--override",
        "overrides",
        multiple=True,
        metavar="RULE[@FIELD]",
        help="Let this finding of the linter pass, in every field or in one; your name stands in the decision log.",
    )(function)


@click.command(cls=Command, examples=("tocsin template finding > finding.toml", "tocsin template incident | less"))
@click.argument("kind", type=click.Choice(list(KINDS)), metavar="KIND")
@json_option
def template(*, kind: str, as_json: bool) -> None:
    """Print a commented TOML file to fill in.

    KIND is finding, incident or evaluation. What a valid record needs stands
    ready; everything else is commented out.
    """
    text = template_of(kind)
    if as_json:
        output.document({"kind": kind, "template": text})
        return
    output.data(text.rstrip("\n"))


@click.command(
    cls=Command,
    examples=(
        "tocsin post finding.toml --dry-run",
        "tocsin post finding.toml",
        "tocsin post incident.yaml --tlp RED --to aisi.example --to lab-b.example",
        "tocsin post finding.toml --override email@summary",
        "my-tool --json | tocsin post - --kind evaluation",
    ),
)
@click.argument("files", nargs=-1, required=True, type=input_path(), metavar="FILE...")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Kind of record, where the file does not say it.")
@click.option("--tlp", type=click.Choice(TLPS, case_sensitive=False), help=f"Marking.  [default: {DEFAULT_TLP}]")
@click.option(
    "--to",
    "recipients",
    multiple=True,
    metavar="PARTNER",
    shell_complete=complete_partner,
    help="Only this partner, if policy allows it at all; may be given more than once.",
)
@override_option
@click.option("--dry-run", is_flag=True, help="Check everything and say who would get it, but sign nothing.")
@json_option
@click.pass_obj
def post(
    session: Session,
    *,
    files: tuple[Path, ...],
    kind: str | None,
    tlp: str | None,
    recipients: tuple[str, ...],
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Sign records and queue them for partners.

    FILE is TOML, YAML or JSON with the field names of the contract, or - for
    standard input. All files are checked before the first one is signed: one
    bad file, and nothing is posted. What looks like a key, an address or a
    name that should not go far is told; beyond TLP:AMBER it is refused until
    somebody overrides it by name.
    """
    written = [read_draft(file, kind=kind, tlp=tlp, recipients=recipients, overrides=overrides) for file in files]
    drafts = [one.draft for one in written]
    answer = session.call(v1.PostRecordsRequest(drafts=drafts, dry_run=True), v1.PostRecordsResponse)
    _raise_first_refusal(written, answer)
    if not dry_run:
        answer = session.call(v1.PostRecordsRequest(drafts=drafts), v1.PostRecordsResponse)
        _raise_first_refusal(written, answer)
    if as_json:
        output.document(document(answer))
        return
    for one, result in zip(written, answer.results, strict=True):
        _print_posted(one, result, dry_run=dry_run)
    if not dry_run:
        _print_next(answer.results)


def read_draft(
    file: Path,
    *,
    kind: str | None = None,
    tlp: str | None = None,
    recipients: tuple[str, ...] = (),
    overrides: tuple[str, ...] = (),
) -> Written:
    """Read one file; what the command line says wins over what the file says, and what nobody says has its default."""
    written = read_changes(file, kind=kind, tlp=tlp, recipients=recipients, overrides=overrides)
    if not written.draft.kind:
        hint = 'give --kind, or write record.kind = "finding" in the file'
        raise UsageProblem(f"{written.file} does not say its kind", hint)
    written.draft.tlp = written.draft.tlp or enum_number("Tlp", DEFAULT_TLP)  # type: ignore[assignment]
    return written


def read_changes(
    file: Path,
    *,
    kind: str | None = None,
    tlp: str | None = None,
    recipients: tuple[str, ...] = (),
    overrides: tuple[str, ...] = (),
) -> Written:
    """Read one file as what is to change: what nobody says stays unspecified."""
    data = read_input(file)
    name = "standard input" if str(file) == "-" else str(file)
    settings, content = parse_content_file(data, format=_format_of(file, data), name=name, kind=kind or "")
    texts = {setting: value for setting, value in settings.items() if isinstance(value, str)}
    lists = {setting: [str(item) for item in value] for setting, value in settings.items() if isinstance(value, list)}
    texts |= {"kind": kind or texts.get("kind", ""), "tlp": tlp or texts.get("tlp", "")}
    draft = v1.Draft(
        content_json=orjson.dumps(content).decode(),
        retention_until=texts.get("retention_until", ""),
        recipients=recipients or lists.get("to", ()),
        overrides=overrides,
    )
    for setting, enum in CHOICES.items():
        setattr(draft, setting, enum_number(enum, texts.get(setting, "")))
    for use in lists.get("permitted_use", ()):
        draft.permitted_use.append(PermittedUse.Value(f"PERMITTED_USE_{use.upper()}"))
    for step in cast("list[dict[str, str]]", settings.get("downgrade_at", [])):
        draft.downgrade_at.add(at=step["at"], tlp=enum_number("Tlp", step["tlp"]))
    return Written(name, draft)


def refusal(result: v1.PostedRecord, *, where: str) -> TocsinError:
    """Return the error that a refused draft stands for."""
    error_class = by_reason(result.error_reason) or MalformedContent
    hint = _override_hint(result) if error_class is ReleaseBlocked else ""
    # How to override is the hint, and need not stand there twice.
    told = [line for line in result.error_details if not (hint and "--override" in line)]
    first, *rest = told or ["the draft was refused"]
    return error_class(first, reason=result.error_reason, where=where, details=tuple(rest), hint=hint)


def _override_hint(result: v1.PostedRecord) -> str:
    names = [f"--override {found.rule}@{found.path}" for found in result.lint if not found.overridden]
    more = " …" if len(names) > MOST_OVERRIDES_TOLD else ""
    return f"take it out, or take it upon yourself by name: {' '.join(names[:MOST_OVERRIDES_TOLD])}{more}"


def _raise_first_refusal(written: list[Written], answer: v1.PostRecordsResponse) -> None:
    refused = [(one, result) for one, result in zip(written, answer.results, strict=True) if result.error_reason]
    for one, result in refused[1:]:
        output.error(refusal(result, where=one.file))
    if refused:
        raise refusal(refused[0][1], where=refused[0][0].file)


def _print_posted(one: Written, result: v1.PostedRecord, *, dry_run: bool) -> None:
    record = result.record
    name = "would post" if dry_run else "posted"
    label = one.file if dry_run else short_id(record)
    output.data(f"{name} {label}  {kind_of(record)}  TLP:{tlp_of(record)}  {record.title}")
    print_recipients(result, where=one.file, dry_run=dry_run)


def print_recipients(result: v1.PostedRecord, *, where: str, dry_run: bool) -> None:
    """Print who gets what was signed, and what whoever signed it should look at again."""
    if result.queued_for or not result.waiting:
        whom = ", ".join(result.queued_for) or "nobody"
        output.data(f"  {'for' if dry_run else 'queued for'} {whom}")
    for waiting in result.waiting:
        output.data(f"  {waiting.partner} {waiting_text(waiting)}")
    for notice in result.notices:
        output.warning(f"{where}: {notice}")
    for found in result.lint:
        if not found.overridden:
            output.warning(f"{where}: {lint_text(found)}")


def lint_text(found: v1.LintFinding) -> str:
    """Return a finding of the linter in words; what it found is not in it."""
    disclosure = claim(DisclosureClass.DESCRIPTOR, found.disclosure).upper()
    return f"{found.path}, which is {disclosure}, holds what the rule {found.rule} of the linter finds: look again"


def _print_next(results: Sequence[v1.PostedRecord]) -> None:
    queued = [result for result in results if result.queued_for]
    print_review_hint(waiting for result in results for waiting in result.waiting)
    if queued:
        output.hint(f"see what a partner gets: tocsin preview {short_id(queued[0].record)} --to PARTNER")
    elif results and not results[0].waiting:
        output.hint(f"see why a partner does not get it: tocsin explain {short_id(results[0].record)} --to PARTNER")


def _format_of(file: Path, data: bytes) -> Literal["toml", "yaml", "json"]:
    if file.suffix.lower() in FORMATS:
        return FORMATS[file.suffix.lower()]
    if str(file) != "-":
        raise UsageProblem(f"{file} is of no known format", "name it .toml, .yaml or .json")
    return "json" if data.lstrip()[:1] in (b"{", b"[") else "toml"
