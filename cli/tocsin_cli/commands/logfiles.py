"""This module has the commands that read logs whole, or write files about them: log verify, export, evidence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from tocsin.errors import CheckpointRefused, Malformed, SignatureMismatch, TocsinError
from tocsin.errors import LogInconsistent as Inconsistent
from tocsin.identity.names import OrgId, parse_org
from tocsin.identity.vkey import log_name
from tocsin.tlog.checkpoint import verify_checkpoint
from tocsin.tlog.reading import Reading
from tocsin.tlog.tiles import parse_tile_path
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, UsageProblem, complete_partner, json_option
from tocsin_cli.commands.log import EVIDENCE_COLUMNS
from tocsin_cli.document import counted, document
from tocsin_cli.grid import Cell
from tocsin_cli.session import Session
from tocsin_cli.view import ID_LENGTH

EXIT_INCONSISTENT = Inconsistent.exit_code
MOST_PROBLEMS = 10
"""Problems of one log that are printed: where one entry is gone, all behind it are others."""

_ENTRY, _HASH = 64, 32


@dataclass(slots=True)
class Read:
    """A log that was read, and what is wrong with it."""

    log: v1.TransparencyLog
    problems: list[str]

    def to_json(self) -> dict[str, object]:
        """Return it as it stands in an answer."""
        return {
            "org": self.log.org,
            "size": self.log.size,
            "root": self.log.root,
            "verified": not self.problems,
            "problems": self.problems,
        }


@click.command(cls=Command, examples=("tocsin log verify", "tocsin log verify lab-b.example --json"))
@click.argument("org", required=False, default="", metavar="[ORG]", shell_complete=complete_partner)
@json_option
@click.pass_context
def verify(ctx: click.Context, *, org: str, as_json: bool) -> None:
    """Read logs whole, and say what in them is not what was signed.

    The own one and all that are followed, or one: every entry against its
    leaf, every node against the two below it, the root against the signed
    checkpoint. It is worked out here, and the node is only asked for what it
    has. With the node stopped `tocsin fsck` does the same. Where something is
    wrong the exit code is 8.
    """
    session: Session = ctx.obj
    logs = session.call(v1.GetLogRequest(org=org), v1.GetLogResponse).logs
    found = [_read(session, one) for one in logs]
    if as_json:
        output.document({"logs": [one.to_json() for one in found]})
    for one in found:
        if not as_json:
            _print_read(one)
    if any(one.problems for one in found):
        ctx.exit(EXIT_INCONSISTENT)


def _print_read(found: Read) -> None:
    entries = counted(found.log.size, "entry", "entries")
    if not found.problems:
        output.data(f"{found.log.org}: {entries}, verified" if found.log.size else f"{found.log.org}: nothing yet")
        return
    output.data(f"{found.log.org}: {entries}, NOT what was signed")
    for problem in found.problems[:MOST_PROBLEMS]:
        output.data(f"  {problem}")
    if len(found.problems) > MOST_PROBLEMS:
        output.data(f"  and {len(found.problems) - MOST_PROBLEMS:,} more")
    if found.log.own:
        output.hint("keep a copy of the home as it is, and restore the latest backup that is sound: tocsin restore")
    else:
        output.hint(f"our copy of it is damaged; it is read anew after: tocsin log resume {found.log.org}")


def _read(session: Session, log: v1.TransparencyLog) -> Read:
    """Read a log, and hold it against its checkpoint."""
    reading, problems = Reading(), list[str]()
    parts = session.stream(v1.ReadLogRequest(org="" if log.own else log.org), v1.ReadLogResponse)
    found = next(iter(parts)).log
    root = b""
    with output.bar(found.org, found.size) as tell:
        try:
            for part in parts:
                entries = _cut(part.entries, _ENTRY)
                problems += reading.take(entries, _cut(part.nodes, _HASH))
                tell(len(entries))
                if reading.size == found.signed:
                    root = reading.root()
        except TocsinError as error:
            problems.append(str(error))
    problems += _wrong_checkpoint(found, reading, root)
    return Read(found, problems)


def _cut(data: bytes, length: int) -> list[bytes]:
    return [data[at : at + length] for at in range(0, len(data), length)]


def _wrong_checkpoint(log: v1.TransparencyLog, reading: Reading, root: bytes) -> Iterator[str]:
    """Yield what does not fit between what was read and what was signed."""
    if not log.checkpoint:
        if reading.size:
            yield f"nothing of its {counted(reading.size, 'entry', 'entries')} was signed"
        return
    try:
        signed = verify_checkpoint(log.checkpoint, origin=log_name(OrgId(log.org)), vkeys=log.vkeys).checkpoint
    except (Malformed, CheckpointRefused, SignatureMismatch) as error:
        yield f"its checkpoint is not its own: {error.message}"
        return
    if signed.size > reading.size:
        yield f"it has {counted(reading.size, 'entry', 'entries')}, and {signed.size:,} were signed"
    elif signed.size and signed.root != root:
        yield f"its {counted(signed.size, 'entry', 'entries')} do not lead to the root that was signed"


@click.command(
    cls=Command,
    examples=(
        "tocsin log export public/",
        "tocsin log export lab-b/ lab-b.example",
        "tocsin log export public/ --json",
    ),
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.argument("org", required=False, default="", metavar="[ORG]", shell_complete=complete_partner)
@json_option
@click.pass_obj
def export(session: Session, *, folder: Path, org: str, as_json: bool) -> None:
    """Write a log to a folder, as files that any web server can show.

    The layout is C2SP tlog-tiles: checkpoint, tile/LEVEL/…, tile/entries/….
    A folder that holds anything already is refused.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageProblem(f"{folder} is not empty", "name a new folder")
    count = size = 0
    parts = session.stream(v1.ExportLogRequest(org=org), v1.ExportLogResponse)
    first = next(iter(parts))
    with output.bar(str(folder), first.files) as tell:
        for part in _with(first, parts):
            if part.path != "checkpoint":
                parse_tile_path(part.path)  # nothing that a node says is written anywhere else
            save(folder / part.path, part.data)
            count, size = count + 1, size + len(part.data)
            tell(1)
    if as_json:
        output.document({"folder": str(folder), "files": count, "bytes": size})
    else:
        output.data(f"{folder}: {counted(count, 'file')}, {size:,} bytes")


def _with(first: v1.ExportLogResponse, rest: Iterator[v1.ExportLogResponse]) -> Iterator[v1.ExportLogResponse]:
    yield first
    yield from rest


@click.command(cls=Command, examples=("tocsin log evidence", "tocsin log evidence lab-b.example --save evidence/"))
@click.argument("org", required=False, default="", metavar="[ORG]", shell_complete=complete_partner)
@click.option(
    "--save", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write each into a file."
)
@json_option
@click.pass_obj
def evidence(session: Session, *, org: str, folder: Path | None, as_json: bool) -> None:
    """List what proves that an origin has shown two histories.

    With --save each piece becomes a file that anybody verifies without a node:
    `tocsin verify FILE --identity ORG.tocsin`.
    """
    found = session.call(v1.ListEvidenceRequest(org=org), v1.ListEvidenceResponse)
    files = [_save(session, one, folder) for one in found.evidence] if folder else []
    if as_json:
        output.document(document(found) | {"files": [str(file) for file in files]})
        return
    if not found.evidence:
        output.talk(f"nothing is held against {org}" if org else "nothing is held against anybody")
        return
    output.table(EVIDENCE_COLUMNS, [evidence_row(one) for one in found.evidence])
    for file in files:
        output.talk(f"wrote {file}")
    if not files:
        output.hint("for somebody else to verify: tocsin log evidence --save DIR")


def _save(session: Session, one: v1.LogEvidence, folder: Path) -> Path:
    found = session.call(v1.GetEvidenceRequest(digest=one.digest), v1.GetEvidenceResponse)
    # Nothing that a node says is written anywhere else.
    file = folder / evidence_file(one)
    save(file, found.bundle)
    return file


def evidence_file(one: v1.LogEvidence) -> str:
    """Return the name under which evidence is saved."""
    return f"{parse_org(one.org)}-{one.kind}-{one.digest[:ID_LENGTH]}.json".replace("/", "_")


def evidence_row(one: v1.LogEvidence) -> Sequence[Cell | str]:
    """Return a row of the table of evidence."""
    finding = one.finding or "does not verify under the identity document held today"
    return [Cell(one.org, "bold"), one.kind, output.minute(one.at.seconds), finding, one.digest]


def save(file: Path, data: bytes) -> None:
    """Write a file, in a folder that is made where it is not there."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    except OSError as error:
        raise click.BadParameter(f"{file}: {(error.strerror or 'cannot be written').lower()}") from None
