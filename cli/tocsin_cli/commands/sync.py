"""This module has the command that fetches what peers have for this node."""

import click

from tocsin.errors import PeerUnreachable, TocsinError, by_reason
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, complete_partner, json_option
from tocsin_cli.document import document
from tocsin_cli.session import Session


@click.command(
    cls=Command,
    examples=("tocsin sync", "tocsin sync lab-a.example --json"),
)
@click.argument("peers", nargs=-1, metavar="[PEER...]", shell_complete=complete_partner)
@json_option
@click.pass_obj
def sync(session: Session, *, peers: tuple[str, ...], as_json: bool) -> None:
    """Fetch what peers have for this node.

    The node follows its peers by itself; this makes it fetch now, and says
    what came. Where no node is to run all the time: tocsin serve --once.
    """
    finished = _fetch(session, peers, quiet=as_json)
    if as_json:
        output.document({"peers": [document(last) for last in finished]})
    _raise_failures(finished)


def _fetch(session: Session, peers: tuple[str, ...], *, quiet: bool) -> list[v1.SyncPeersResponse]:
    finished = []
    for progress in session.stream(v1.SyncPeersRequest(peers=peers), v1.SyncPeersResponse):
        if not progress.done:
            output.progress(f"{progress.peer}: {progress.records:,} records so far")
            continue
        output.progress("")
        finished.append(progress)
        if not quiet:
            output.data(f"{progress.peer}  {_summary(progress)}")
    if not finished and not quiet:
        output.talk("no peer to fetch from: none is active and has an endpoint")
        output.hint("see who is known: tocsin peer list; add one: tocsin peer add FILE --fingerprint F")
    return finished


def _summary(progress: v1.SyncPeersResponse) -> str:
    parts = [
        f"{progress.records:,} new record{'s' if progress.records != 1 else ''}",
        f"{progress.disclosures:,} with further fields" if progress.disclosures else "",
        f"{progress.refused:,} refused" if progress.refused else "",
        "stopped early" if progress.error_reason else "",
    ]
    return ", ".join(part for part in parts if part)


def _raise_failures(finished: list[v1.SyncPeersResponse]) -> None:
    """Print every failure, and end with the exit code of the first one."""
    failures = [_failure(progress) for progress in finished if progress.error_reason]
    for failure in failures[1:]:
        output.error(failure)
    if failures:
        raise failures[0]


def _failure(progress: v1.SyncPeersResponse) -> TocsinError:
    error = by_reason(progress.error_reason) or PeerUnreachable
    return error(progress.error_message, reason=progress.error_reason, hint=progress.error_hint)
