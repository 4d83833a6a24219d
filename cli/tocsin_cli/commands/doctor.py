"""This module has the commands that look whether things work: doctor for the node, peer test for one peer.

Each prints what it sees as it sees it, and how to mend what does not work.
Where something does not, the exit code is 9.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import click

from tocsin.errors import LocalState
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, complete_partner, json_option
from tocsin_cli.document import document
from tocsin_cli.grid import Cell
from tocsin_cli.session import Session

EXIT_FAILED = LocalState.exit_code
VERDICTS = {
    v1.CHECK_VERDICT_OK: Cell("OK", "green"),
    v1.CHECK_VERDICT_WARNING: Cell("WARN", "yellow"),
    v1.CHECK_VERDICT_FAILURE: Cell("FAIL", "bold red"),
    v1.CHECK_VERDICT_SKIPPED: Cell("SKIP", "dim"),
}
NAME_COLUMNS = 15


@dataclass(frozen=True, slots=True)
class Check:
    """One check, whichever call it is of."""

    name: str
    answer: v1.RunChecksResponse | v1.TestPeerResponse


@click.command(cls=Command, examples=("tocsin doctor", "tocsin doctor --json | jq '.checks[] | select(.hint != \"\")'"))
@json_option
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Look the node over, and say how to mend what is wrong.

    Clock, certificates, key permissions, store, disk, each peer, policies,
    decision log and transparency log. Where something fails the exit code is 9.
    """
    session: Session = ctx.obj
    stream = session.stream(v1.RunChecksRequest(), v1.RunChecksResponse)
    found = _show((Check(answer.check, answer) for answer in stream), as_json=as_json)
    if as_json:
        output.document({"checks": [document(check.answer) for check in found]})
    else:
        _print_counts(found)
    ctx.exit(_exit_code(found))


@click.command("test", cls=Command, examples=("tocsin peer test aisi.example", "tocsin peer test aisi.example --json"))
@click.argument("org", metavar="ORG", shell_complete=complete_partner)
@json_option
@click.pass_context
def test_peer(ctx: click.Context, *, org: str, as_json: bool) -> None:
    """Send a made-up record to a peer, and take it back.

    It goes through the real policy and over the real wire, is marked as a
    test, and is purged at both ends. Where a step fails the exit code is 9.
    """
    session: Session = ctx.obj
    stream = session.stream(v1.TestPeerRequest(org=org), v1.TestPeerResponse)
    found = _show((Check(answer.step, answer) for answer in stream), as_json=as_json)
    if as_json:
        output.document({"peer": org, "steps": [document(check.answer) for check in found]})
    ctx.exit(_exit_code(found))


def _show(checks: Iterable[Check], *, as_json: bool) -> list[Check]:
    """Return the checks, and print each as it comes."""
    return list(checks if as_json else _printed(checks))


def _printed(checks: Iterable[Check]) -> Iterator[Check]:
    for check in checks:
        verdict = VERDICTS.get(check.answer.verdict, Cell("?"))
        output.marked(verdict, f"{check.name:<{NAME_COLUMNS}} {check.answer.message}")
        if check.answer.hint:
            output.data(f"{'':<{output.MARK_COLUMNS + NAME_COLUMNS + 3}}→ {check.answer.hint}")
        yield check


def _print_counts(checks: Sequence[Check]) -> None:
    failed, warned = (
        sum(check.answer.verdict == verdict for check in checks)
        for verdict in (v1.CHECK_VERDICT_FAILURE, v1.CHECK_VERDICT_WARNING)
    )
    output.talk(
        f"\n{len(checks)} checks, {failed} failed, {warned} to look at" if failed or warned else "\nall is well"
    )


def _exit_code(checks: Sequence[Check]) -> int:
    failed = any(check.answer.verdict == v1.CHECK_VERDICT_FAILURE for check in checks)
    return EXIT_FAILED if failed else 0
