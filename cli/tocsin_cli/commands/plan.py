"""This module has the commands that change what is in force: policy plan, policy apply.

A plan says what would change over the real records before anything does. What
is applied is what was planned: the signature is on the very files that the
plan names, worked out here and not believed.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from tocsin.errors import Conflict
from tocsin.people.act import Act, policy_subject
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import Tlp
from tocsin_cli import output
from tocsin_cli.ask import is_agreed
from tocsin_cli.command import Command, UsageProblem, input_path, json_option
from tocsin_cli.commands.policy import LEGEND, Named, cell_of, read_policies, refuse_problems, subject_of
from tocsin_cli.document import claim, document
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import Session
from tocsin_cli.view import ID_LENGTH, disclosed_fields, waiting_text

CHANGES_SHOWN = 50
"""Changes on a screen; each is some lines."""
MOST_NAMED = 12
"""Fields of a record that newly goes which are named; of more the number says more than a page of names."""

SUMMARY = (
    Column("partner"),
    Column("new records", right=True),
    Column("more fields", right=True),
    Column("stopped", right=True),
    Column("fewer fields", right=True),
    Column("of them waiting", right=True),
)
REACH = (Column("partner"), Column("kind"), Column("tlp", wraps=True), Column("today"), Column("then"))
CHANGES = (
    Column("record"),
    Column("tlp", spare=True),
    Column("title", flexible=True),
    Column("partner"),
    Column("change", flexible=True, wraps=True),
    Column("rule", spare=True),
)

_files_argument = click.argument("files", nargs=-1, type=input_path(), metavar="[FILE...]")
_limit_option = click.option(
    "--limit", type=click.IntRange(min=0), default=CHANGES_SHOWN, show_default=True, help="Most changes to print."
)
_full_option = click.option("--full", is_flag=True, help="Name every field of records that newly go.")


@click.command(
    cls=Command,
    examples=("tocsin policy plan", "tocsin policy plan aisi.toml --limit 500", "tocsin policy plan --json"),
)
@_files_argument
@_limit_option
@_full_option
@json_option
@click.pass_obj
def plan(session: Session, *, files: tuple[Path, ...], limit: int, full: bool, as_json: bool) -> None:
    """Say what changed policy files would release or stop.

    Asks the policies in force and the files in the home about every record,
    each FILE in the place of the one for the same partner. Nothing changes
    until the files are applied. With a problem in a file the exit code is 3.
    """
    named = read_policies(files)
    found = make_plan(session, named)
    if as_json:
        output.document(document(found))
    refuse_problems(found.problems, named)
    if not as_json:
        print_plan(found, limit=limit, full=full)
        if found.changed_files:
            output.hint(f"put it in force: tocsin policy apply{''.join(f' {one.place}' for one in named)}")


@click.command(
    cls=Command,
    examples=("tocsin policy apply", "tocsin policy apply aisi.toml --yes"),
)
@_files_argument
@_limit_option
@_full_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def apply(session: Session, *, files: tuple[Path, ...], limit: int, full: bool, yes: bool, as_json: bool) -> None:
    """Put policy files in force, under your signature.

    Shows the plan and asks. All files take effect, or none: with a problem in
    one, what is in force stays in force. Each FILE takes the place of the one
    for the same partner, in the home too. Where nobody is known any more whose
    signature counts, the same files are put in force anew.
    """
    if as_json and not yes:
        raise UsageProblem("--json answers a script, and a script is not asked", "give --yes too")
    named = read_policies(files)
    found = make_plan(session, named)
    refuse_problems(found.problems, named)
    if not as_json:
        print_plan(found, limit=limit, full=full)
    if not yes and not is_agreed("put these files in force, under your signature?"):
        output.talk("nothing was changed")
        return
    answer = sign_and_apply(session, found, named)
    if as_json:
        output.document(document(answer))
    else:
        _print_applied(answer, found)


def make_plan(session: Session, named: Sequence[Named] = ()) -> v1.PlanPoliciesResponse:
    """Return the whole plan as if it were one answer, showing how far it is."""
    whole = v1.PlanPoliciesResponse()
    request = v1.PlanPoliciesRequest(files=[one.file for one in named])
    with ExitStack() as stack:
        advance = None
        for part in session.stream(request, v1.PlanPoliciesResponse):
            if part.total:
                advance = advance or stack.enter_context(output.bar("weighing", part.total))
                advance(max(part.weighed - whole.weighed, 0))
            whole.MergeFrom(part)
    return whole


def sign_and_apply(
    session: Session, found: v1.PlanPoliciesResponse, named: Sequence[Named] = ()
) -> v1.ApplyPoliciesResponse:
    """Put planned files in force. Raises Conflict where the node would have something else signed than it shows."""
    files = {file.name: file.text for file in found.files}
    missing = [one.place for one in named if files.get(one.file.name) != one.file.text]
    if missing or policy_subject(files, replaces=found.replaces) != found.subject:
        raise Conflict(
            f"the plan is not about {' and '.join(missing) or 'the files that it names'}",
            reason="CONFLICT",
            hint="do not sign it; let whoever runs the node look at it",
        )
    statement = session.sign(Act.APPLY_POLICIES, on=found.subject)
    return session.call(v1.ApplyPoliciesRequest(files=found.files, statement=statement), v1.ApplyPoliciesResponse)


def print_plan(found: v1.PlanPoliciesResponse, *, limit: int = CHANGES_SHOWN, full: bool = False) -> None:
    """Print what would change: what the rules let out at most, then how much for each partner and record."""
    output.data(f"changed: {', '.join(found.changed_files) or 'nothing, the files are in force as they are'}")
    _print_reach(found, limit=limit)
    if not found.changes:
        output.data("of the records here nothing would go to anybody that does not go today, and nothing would stop")
        return
    output.data(f"weighed {found.total:,} record{'s' if found.total != 1 else ''}\n")
    output.table(SUMMARY, _summary(found.changes))
    if limit:
        output.data()
        output.table(CHANGES, [_change(one, full=full) for one in found.changes[:limit]])
    if len(found.changes) > limit:
        output.talk(f"{limit:,} of {len(found.changes):,} changes; --limit shows more")


def _print_reach(found: v1.PlanPoliciesResponse, *, limit: int) -> None:
    """Print where the files let out something else at most, whether or not there is a record yet that it concerns."""
    markings: dict[tuple[str, str, Cell, Cell], list[str]] = defaultdict(list)
    for before, after in zip(found.cells_before, found.cells_after, strict=True):
        place = (before.partner, subject_of(before))
        markings[*place, cell_of(before), cell_of(after)].append(claim(Tlp.DESCRIPTOR, before.tlp))
    rows: list[list[Cell | str]] = [
        [Cell(org, "bold"), kind, ", ".join(tlps), old, new] for (org, kind, old, new), tlps in markings.items()
    ]
    if not rows or not limit:
        return
    output.data("what goes at most, also of records to come\n")
    output.table(REACH, rows[:limit])
    output.talk(LEGEND)
    if len(rows) > limit:
        output.talk(f"{limit:,} of {len(rows):,} rows; --limit shows more")
    output.data()


def _summary(changes: Sequence[v1.PolicyChange]) -> list[list[Cell | str]]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
    for one in changes:
        counted = counts[one.partner]
        counted[0] += bool(one.whole and one.released)
        counted[1] += bool(not one.whole and one.released)
        counted[2] += bool(one.whole and not one.released)
        counted[3] += bool(not one.whole and one.stopped)
        counted[4] += one.HasField("waiting")
    return [[Cell(org, "bold"), *(f"{count:,}" for count in counts[org])] for org in sorted(counts)]


def _change(one: v1.PolicyChange, *, full: bool) -> list[Cell | str]:
    tlp = claim(Tlp.DESCRIPTOR, one.tlp)
    released, stopped = (", ".join(disclosed_fields(paths)) for paths in (one.released, one.stopped))
    if one.whole:
        count = len(disclosed_fields(one.released))
        released = released if full or count <= MOST_NAMED else f"{count} fields; --full names them"
        text, style = (f"goes, with {released}", "green") if released else ("goes no more", "red")
    else:
        text = "; ".join(f"{verb} {paths}" for verb, paths in (("also", released), ("without", stopped)) if paths)
        style = "green" if released else "red"
    waits = f"; {waiting_text(one.waiting)}" if one.HasField("waiting") else ""
    return [
        Cell(one.record_id[:ID_LENGTH], "bold"),
        Cell(tlp, output.TLP_STYLES.get(tlp, "")),
        one.title,
        one.partner,
        Cell(text + waits, style),
        f"{one.file}:{one.line}" if one.line else one.file,
    ]


def _print_applied(answer: v1.ApplyPoliciesResponse, found: v1.PlanPoliciesResponse) -> None:
    output.data(f"in force: {', '.join(file.name for file in found.files)}")
    for queued in answer.queued:
        output.data(f"  {queued.records:,} record{'s' if queued.records != 1 else ''} queued for {queued.partner}")
    if answer.reviews_voided:
        releases = "release is" if answer.reviews_voided == 1 else "releases are"
        why = "policy is not the one that it was proposed under"
        output.data(f"  {answer.reviews_voided:,} proposed {releases} void: {why}")
    if answer.reviews_opened:
        output.data(f"  {answer.reviews_opened:,} release{'s are' if answer.reviews_opened != 1 else ' is'} proposed")
        output.hint("see what waits for somebody to agree: tocsin review list")
