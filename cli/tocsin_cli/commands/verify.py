"""This module has the command that verifies files without a home: records, retractions, proofs, checkpoints, evidence.

Whatever is wrong with a file, its form or its signature, the exit code is 4
and the reason code says which rule it broke: a script asks one question.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from tocsin.errors import RecordRefused, TocsinError
from tocsin.identity.root import Organisation, parse_identity
from tocsin.records.record import VerifiedRecord
from tocsin.records.retraction import VerifiedRetraction
from tocsin.tlog.quorum import Quorum, parse_quorum
from tocsin_cli import output
from tocsin_cli.command import Command, input_path, json_option, read_input
from tocsin_cli.document import counted, rfc3339
from tocsin_cli.grid import Cell
from tocsin_cli.offline import WHAT_IT_READS, Issued, Known, Logged, Verdict, verify_file
from tocsin_cli.session import now as clock
from tocsin_cli.steps import Outcome, Walk
from tocsin_cli.view import disclosed_fields

EXIT_REFUSED = RecordRefused.exit_code
STYLES = {Outcome.OK: "green", Outcome.FAILED: "bold red", Outcome.NOT_TRIED: "dim"}
_WHAT_COLUMNS = 47


@click.command(
    cls=Command,
    examples=(
        "tocsin verify record.sdjwt --identity lab-a.tocsin",
        "tocsin verify record.tlog-proof --identity lab-a.tocsin --identity aisi.tocsin",
        "tocsin verify record.tlog-proof --identity lab-a.tocsin --policy witnesses.tlog",
        "tocsin export 3f2a | tocsin verify - --identity lab-a.tocsin",
        "tocsin verify *.sdjwt --identity lab-a.tocsin --identity lab-b.tocsin --json",
    ),
)
@click.argument("files", nargs=-1, required=True, type=input_path(), metavar="FILE...")
@click.option(
    "--identity",
    "identities",
    multiple=True,
    required=True,
    type=input_path(),
    metavar="FILE",
    help="Identity document of whoever signed, or of a witness; may be given more than once.",
)
@click.option(
    "--policy", type=input_path(), metavar="FILE", help="Which witnesses must have cosigned: a C2SP tlog-policy."
)
@json_option
@click.pass_context
def verify(
    ctx: click.Context, *, files: tuple[Path, ...], identities: tuple[Path, ...], policy: Path | None, as_json: bool
) -> None:
    """Verify records offline against an identity document.

    And retractions; either one with the proof that it is in its origin's
    transparency log; checkpoints; evidence against an origin. Of all but the
    first two each step is told, with the document that governs it. Needs no
    home, no node and no network. Compare the printed fingerprint with one that
    the organisation gave you. A file that is refused makes the exit code 4,
    and its reason code is printed.
    """
    organisations: dict[str, Organisation] = {found.org: found for found in map(_read_identity, identities)}
    known = Known(organisations, clock(), _read_policy(policy) if policy else None)
    results = [(file, verify_file(read_input(file), known)) for file in files]
    for file, verdict in results:
        _say_where(file, verdict.error)
    if as_json:
        output.document({"results": [_result(file, verdict) for file, verdict in results]})
    for file, verdict in results:
        if not as_json:
            print_verdict(file, verdict)
        elif verdict.error is not None:
            output.error(verdict.error)
    if any(verdict.error is not None for _, verdict in results):
        ctx.exit(EXIT_REFUSED)


def _read_identity(file: Path) -> Organisation:
    try:
        return parse_identity(read_input(file), now=clock())
    except TocsinError as error:
        error.where = error.where or str(file)
        raise


def _read_policy(file: Path) -> Quorum:
    try:
        return parse_quorum(read_input(file))
    except TocsinError as error:
        error.where = f"{file}: {error.where}"
        raise


def _say_where(file: Path, error: TocsinError | None) -> None:
    if error is not None:
        error.where = f"{_name(file)}: {error.where}" if error.where else _name(file)
        if error.reason == "BAD_FORM":
            error.hint = error.hint or WHAT_IT_READS


def print_verdict(file: Path, verdict: Verdict) -> None:
    """Print what was verified of a file, step by step."""
    if verdict.error is None:
        output.data(f"{_name(file)}: verified")
    elif verdict.walk is not None:
        output.data(f"{_name(file)}: refused")
    if verdict.walk is not None:
        _print_steps(verdict.walk)
    if verdict.error is not None:
        output.error(verdict.error)
    else:
        output.pairs(_pairs(verdict))


def _print_steps(walk: Walk) -> None:
    for step in walk:
        text = f"{step.number}  {step.planned.what:<{_WHAT_COLUMNS}}  {step.planned.document}"
        output.marked(Cell(f"{step.outcome.value.replace('failed', 'FAILED'):<9}", STYLES[step.outcome]), text)


def _pairs(verdict: Verdict) -> Iterator[tuple[str, str]]:
    if verdict.issued is not None:
        yield from _issued_pairs(verdict.issued)
    if verdict.logged is not None:
        yield from _logged_pairs(verdict.logged)
    if verdict.evidence is not None:
        yield "against", verdict.evidence.origin.org
        yield "proved", verdict.evidence.finding
    if verdict.issuer is not None:
        yield "fingerprint", verdict.issuer.fingerprint


def _issued_pairs(found: Issued) -> list[tuple[str, str]]:
    signed = ("signed", f"{rfc3339(found.issued_at)} by {found.issuer}, key {found.key_id}")
    if isinstance(found, VerifiedRetraction):
        what = f"{found.action} of {found.record_id}, versions up to {found.version}, TLP:{found.tlp}"
        return [("retraction", what), signed, ("reason", found.reason), ("successor", found.successor)]
    fields, marking = disclosed_fields(found.paths), found.marking_at(clock())
    signed_as = "" if marking == found.tlp else f" (signed as TLP:{found.tlp})"
    return [
        ("record", f"{found.kind} {found.record_id} version {found.version}, TLP:{marking}{signed_as}"),
        signed,
        ("digest", found.digest),
        ("fields", f"{len(fields)} disclosed: {', '.join(fields)}"),
    ]


def _logged_pairs(found: Logged) -> Iterator[tuple[str, str]]:
    tree = found.checkpoint.checkpoint
    yield "log", f"{tree.origin}, {counted(tree.size, 'entry', 'entries')}"
    if found.index is not None:
        yield "entry", f"{found.index:,}"
    for one in found.cosigned:
        yield "cosigned", f"{rfc3339(one.at)} by {one.verifier.name}"
    if found.cosigned_at is not None:
        yield "enough since", rfc3339(found.cosigned_at)
    if not found.cosigned:
        yield "cosigned", "by nobody who is known here"


def _result(file: Path, verdict: Verdict) -> dict[str, object]:
    result: dict[str, object] = {"file": str(file), "verified": verdict.error is None}
    if verdict.error is not None:
        result |= {"reason": verdict.error.reason, "message": verdict.error.message}
    elif verdict.issuer is not None:
        result |= {"issuer": verdict.issuer.org, **_found(verdict)}
    if verdict.walk is not None:
        steps = list(verdict.walk)
        failed = next((step.number for step in steps if step.outcome is Outcome.FAILED), None)
        result |= {"failed_step": failed, "steps": [step.to_json() for step in steps]}
    return result


def _found(verdict: Verdict) -> Mapping[str, object]:
    found: dict[str, object] = {}
    if isinstance(verdict.issued, VerifiedRetraction):
        found |= _retraction_result(verdict.issued)
    elif isinstance(verdict.issued, VerifiedRecord):
        found |= _record_result(verdict.issued)
    if verdict.logged is not None:
        found["log"] = _log_result(verdict.logged)
    if verdict.evidence is not None:
        found["evidence"] = {"kind": verdict.evidence.kind.value, "finding": verdict.evidence.finding}
    return found


def _log_result(found: Logged) -> dict[str, object]:
    tree = found.checkpoint.checkpoint
    return {
        "origin": tree.origin,
        "size": tree.size,
        "root": tree.root.hex(),
        "index": found.index,
        "cosigned": [{"witness": one.verifier.name, "at": rfc3339(one.at)} for one in found.cosigned],
        "enough_since": None if found.cosigned_at is None else rfc3339(found.cosigned_at),
    }


def _retraction_result(outcome: VerifiedRetraction) -> dict[str, object]:
    return {
        "record_id": outcome.record_id,
        "version": outcome.version,
        "action": outcome.action.value,
        "tlp": outcome.tlp,
        "retraction_reason": outcome.reason,
        "successor": outcome.successor,
        "digest": outcome.digest,
        "key_id": outcome.key_id,
        "signed_at": rfc3339(outcome.issued_at),
    }


def _record_result(outcome: VerifiedRecord) -> dict[str, object]:
    return {
        "record_id": outcome.record_id,
        "version": outcome.version,
        "kind": outcome.kind,
        "status": outcome.status,
        "tlp": outcome.tlp,
        "marking": outcome.marking_at(clock()),
        "digest": outcome.digest,
        "key_id": outcome.key_id,
        "signed_at": rfc3339(outcome.issued_at),
        "content": outcome.content,
    }


def _name(file: Path) -> str:
    return "standard input" if str(file) == "-" else str(file)
