"""This module has the command that fetches what peers have for this node."""

import time
from collections.abc import Iterator
from itertools import count

import click

from tocsin.errors import PeerUnreachable, TocsinError, by_reason
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, complete_partner, json_option
from tocsin_cli.document import document
from tocsin_cli.session import Session

ROUND_SECONDS = 60.0
"""Pause between rounds without a running node: no partner minds one call a minute."""


@click.command(
    cls=Command,
    examples=(
        "tocsin sync --once                             fetch once and stop: for cron, needs no open port",
        "tocsin sync --once lab-a.example --json",
        "tocsin sync                                    go on until Ctrl-C",
    ),
)
@click.argument("peers", nargs=-1, metavar="[PEER...]", shell_complete=complete_partner)
@click.option("--once", is_flag=True, help="Fetch once and stop.")
@json_option
@click.pass_obj
def sync(session: Session, *, peers: tuple[str, ...], once: bool, as_json: bool) -> None:
    """Fetch what peers have for this node.

    With a node running, the node fetches now; it follows its peers by itself
    anyway. Without one, this command fetches, and without --once it does so
    every minute.
    """
    for started in count():
        finished = _fetch(session, peers, quiet=as_json)
        if as_json:
            output.document({"peers": [document(last) for last in finished]})
        if once or as_json or session.desk.serving:
            _raise_failures(finished)
            return
        for failure in _failures(finished):
            output.error(failure)
        session.close()
        if not started:
            output.talk(f"fetching again every {ROUND_SECONDS:.0f} seconds; Ctrl-C ends it")
        time.sleep(ROUND_SECONDS)


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
    failures = list(_failures(finished))
    for failure in failures[1:]:
        output.error(failure)
    if failures:
        raise failures[0]


def _failures(finished: list[v1.SyncPeersResponse]) -> Iterator[TocsinError]:
    for progress in finished:
        if progress.error_reason:
            error = by_reason(progress.error_reason) or PeerUnreachable
            yield error(progress.error_message, reason=progress.error_reason, hint=progress.error_hint)
