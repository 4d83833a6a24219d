"""This module has the command that imports records of other people's formats.

A source record that cannot be mapped, or that the contract refuses, is
reported with its file, line and reason; the rest are posted, and the exit code
is 3. With --strict it is all or none. Each draft carries a key made from its
source, so that importing the same file again creates nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import orjson

from tocsin.errors import MalformedSource
from tocsin.interchange import READERS, Mapped, Unmapped
from tocsin.interchange.mapping import group_of
from tocsin.schema.contract import TLPS, enum_number
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, input_path, json_option, read_input
from tocsin_cli.commands.draft import DEFAULT_TLP, override_option
from tocsin_cli.session import Session

MOST_DRAFTS_A_CALL = 100
MOST_BYTES_A_CALL = 2 * 1024 * 1024
"""Half of what a gRPC message may hold by default: the answer has to fit too."""


@dataclass(frozen=True, slots=True)
class Sourced:
    """A draft, and where in which file its source is."""

    where: str
    draft: v1.Draft
    has_original: bool = True


@dataclass(slots=True)
class Imported:
    """What became of the records of an import."""

    format: str
    dry_run: bool
    results: list[v1.PostedRecord] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def posted(self) -> list[v1.PostedRecord]:
        """Return the records that were not there before."""
        return [result for result in self.results if not result.existed]

    @property
    def existed(self) -> int:
        """Return how many records had been imported before."""
        return len(self.results) - len(self.posted)

    @property
    def waiting(self) -> int:
        """Return how many of the new records wait for something before some partner gets them."""
        return sum(bool(result.waiting) for result in self.posted)

    @property
    def lint(self) -> dict[str, int]:
        """Return in how many records each rule of the linter found something that nobody has overridden."""
        found = ({one.rule for one in result.lint if not one.overridden} for result in self.posted)
        return dict(sorted(Counter(rule for rules in found for rule in rules).items()))

    def document(self) -> dict[str, object]:
        """Return the outcome as a JSON document."""
        return {
            "format": self.format,
            "dry_run": self.dry_run,
            "imported": len(self.posted),
            "existed": self.existed,
            "waiting": self.waiting,
            "lint": self.lint,
            "refused": [{"where": where, "reason": reason} for where, reason in self.problems],
            "record_ids": [] if self.dry_run else [result.record.envelope.record_id for result in self.posted],
        }


@click.command(
    "import",
    cls=Command,
    examples=(
        "tocsin import avid reports.jsonl --dry-run",
        "tocsin import atlas ATLAS.yaml --tlp CLEAR",
        "tocsin import inspect logs/*.eval --strict",
        "tocsin import avid reports.jsonl --tlp GREEN --override email",
    ),
)
@click.argument("form", type=click.Choice(list(READERS)), metavar="FORMAT")
@click.argument("files", nargs=-1, required=True, type=input_path(), metavar="FILE...")
@click.option(
    "--tlp",
    type=click.Choice(TLPS, case_sensitive=False),
    default=DEFAULT_TLP,
    show_default=True,
    help="Marking of all.",
)
@override_option
@click.option("--dry-run", is_flag=True, help="Say what would be imported, but sign nothing.")
@click.option("--strict", is_flag=True, help="Import nothing unless everything can be imported.")
@json_option
@click.pass_obj
def import_records(
    session: Session,
    *,
    form: str,
    files: tuple[Path, ...],
    tlp: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Post the records of other people's formats.

    FORMAT is avid (reports and vulnerabilities, JSON or JSON lines), atlas
    (MITRE ATLAS case studies, YAML) or inspect (evaluation logs, JSON or
    .eval). What a source says that the contract has no field for stays in the
    record, in a part that never leaves this node.
    """
    sources, problems = read_sources(form, files, tlp=tlp, overrides=overrides)
    outcome = Imported(form, dry_run, problems=problems)
    if strict:
        outcome.problems += post_all(session, sources, outcome=Imported(form, dry_run=True)).problems
    if not (strict and outcome.problems):
        post_all(session, sources, outcome=outcome)
    for one in sources:
        if not one.has_original:
            output.warning(f"{one.where}: too long for the record to keep its original; keep the file")
    if as_json:
        output.document(outcome.document())
    else:
        _print_outcome(outcome)
    if outcome.problems:
        count = len(outcome.problems)
        raise MalformedSource(
            f"{count:,} source record{'s' if count != 1 else ''} could not be imported",
            details=tuple(f"{where}: {reason}" for where, reason in outcome.problems),
            hint=_said_of_the_rest(outcome, strict=strict),
        )


def _said_of_the_rest(outcome: Imported, *, strict: bool) -> str:
    if strict or not outcome.results:
        return "nothing was imported"
    return f"everything else {'can be' if outcome.dry_run else 'was'} imported"


def read_sources(
    form: str, files: Sequence[Path], *, tlp: str, overrides: Sequence[str] = ()
) -> tuple[list[Sourced], list[tuple[str, str]]]:
    """Map the records of some files to drafts, and collect those that cannot be mapped."""
    sources: list[Sourced] = []
    problems: list[tuple[str, str]] = []
    for file in files:
        for found in READERS[form](read_input(file), name=str(file)):
            if isinstance(found, Unmapped):
                problems.append((found.where, found.reason))
            else:
                has_original = "original" in group_of(found.content.get("source"))
                sources.append(Sourced(found.where, _draft(form, found, tlp=tlp, overrides=overrides), has_original))
    return sources, problems


def _draft(form: str, found: Mapped, *, tlp: str, overrides: Sequence[str]) -> v1.Draft:
    draft = v1.Draft(
        content_json=orjson.dumps(found.content).decode(),
        idempotency_key=f"{form}:{found.digest}",
        overrides=overrides,
    )
    for setting, enum, claim in (("kind", "RecordKind", found.kind), ("tlp", "Tlp", tlp)):
        setattr(draft, setting, enum_number(enum, claim))
    return draft


def post_all(session: Session, sources: Sequence[Sourced], *, outcome: Imported) -> Imported:
    """Post drafts batch by batch, showing how far it is, and note what became of each."""
    with output.bar("checking" if outcome.dry_run else "posting", len(sources)) as progress:
        for batch in batches(sources):
            request = v1.PostRecordsRequest(drafts=[one.draft for one in batch], dry_run=outcome.dry_run)
            answer = session.call(request, v1.PostRecordsResponse)
            for one, result in zip(batch, answer.results, strict=True):
                _note(result, one=one, outcome=outcome)
            progress(len(batch))
    return outcome


def batches(sources: Sequence[Sourced]) -> Iterator[list[Sourced]]:
    """Yield the drafts in lists that fit into one call."""
    batch: list[Sourced] = []
    size = 0
    for one in sources:
        more = one.draft.ByteSize()
        if batch and (len(batch) == MOST_DRAFTS_A_CALL or size + more > MOST_BYTES_A_CALL):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += more
    if batch:
        yield batch


def _note(result: v1.PostedRecord, *, one: Sourced, outcome: Imported) -> None:
    if result.error_reason:
        outcome.problems.append((one.where, "; ".join(result.error_details) or result.error_reason))
    else:
        outcome.results.append(result)


def _print_outcome(outcome: Imported) -> None:
    count = len(outcome.posted)
    verb = "would import" if outcome.dry_run else "imported"
    before = f"; {outcome.existed:,} imported before" if outcome.existed else ""
    waiting = f"; {outcome.waiting:,} wait for somebody or for a date" if outcome.waiting else ""
    output.data(f"{verb} {count:,} record{'s' if count != 1 else ''}{before}{waiting}")
    for rule, records in outcome.lint.items():
        where = f"{records:,} record{'s' if records != 1 else ''}"
        output.warning(f"the rule {rule} of the linter finds something in {where}: look again")
