"""This module has the commands about the own node: init, serve, status."""

from pathlib import Path
from secrets import token_bytes

import click

from tocsin.config import DEFAULT_LISTEN
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, json_option
from tocsin_cli.commands.peer import print_peers
from tocsin_cli.document import document, timestamp_text
from tocsin_cli.session import Session, now, wait_for_lock

KINDS = ("lab", "government", "academia", "civil-society", "vendor")
ANY_HOST = ("0.0.0.0", "[::]")  # noqa: S104 - addresses that nobody can dial, so they are not advertised


@click.command(
    cls=Command,
    examples=(
        'tocsin init lab-a.example --kind lab --name "Lab A" --listen 0.0.0.0:7470',
        'tocsin init aisi.example --kind government --name "AI Safety Institute" --listen ""     only pulls',
        'tocsin --home /srv/tocsin init uni.example --kind academia --name "University" --root-keys 3 --threshold 2',
    ),
)
@click.argument("org", metavar="ORG")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What the organisation is.")
@click.option("--name", required=True, metavar="TEXT", help="Its name, for people.")
@click.option(
    "--listen",
    default=DEFAULT_LISTEN,
    show_default=True,
    metavar="HOST:PORT",
    help='Where the node listens; "" opens no port, the node then only pulls.',
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="HOST:PORT",
    help="Where partners reach the node, where that is not what it listens on; may be given more than once.",
)
@click.option("--contact", default="", metavar="TEXT", help="Whom partners write to.")
@click.option(
    "--root-keys", type=click.IntRange(1, 16), default=1, show_default=True, help="Keys that sign the identity."
)
@click.option(
    "--threshold", type=click.IntRange(1, 16), default=1, show_default=True, help="How many of them must agree."
)
@click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Encrypt the keys with the passphrase in this file.",
)
@json_option
@click.pass_obj
def init(
    session: Session,
    *,
    org: str,
    kind: str,
    name: str,
    listen: str,
    endpoints: tuple[str, ...],
    contact: str,
    root_keys: int,
    threshold: int,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a home: keys, identity, policies and store.

    ORG is the organisation's canonical id, a DNS name that it owns. The home
    is made whole or not at all.
    """
    from tocsin.desk.founding import create_home

    made = create_home(
        session.home,
        org=org,
        name=name,
        kind=kind,
        listen=listen,
        endpoints=endpoints or _advertised(listen, org),
        contact=contact,
        root_keys=root_keys,
        threshold=threshold,
        passphrase_file=passphrase_file,
        now=now(),
        random=token_bytes,
    )
    if as_json:
        output.document({"org": made.org, "home": str(session.home), "fingerprint": made.fingerprint})
        return
    output.data(f"made {session.home} for {made.org}")
    output.data(f"fingerprint {made.fingerprint}")
    output.hint(f"move {session.home / 'keys'}/root-*.pem to a place that is offline: they are for emergencies")
    output.hint("give partners your identity: tocsin identity export > my.tocsin")


def _advertised(listen: str, org: str) -> tuple[str, ...]:
    """Return what partners dial when nobody says it: the organisation's name where any address is listened on."""
    if not listen:
        return ()
    host, _, port = listen.rpartition(":")
    return (f"{org}:{port}" if host in ANY_HOST else listen,)


@click.command(cls=Command, examples=("tocsin serve", "tocsin --home /srv/tocsin serve"))
@click.pass_obj
def serve(session: Session) -> None:
    """Run the node of a home until it is told to stop.

    SIGTERM and Ctrl-C let running calls finish first. Settings are in
    node.toml; the log goes to standard error and never holds a record's content.
    """
    from tocsin.node import run

    wait_for_lock(lambda: run(session.home))


@click.command(cls=Command, examples=("tocsin status", "tocsin status --json"))
@json_option
@click.pass_obj
def status(session: Session, *, as_json: bool) -> None:
    """Say how the node and its peers are doing."""
    found = session.call(v1.GetStatusRequest(), v1.GetStatusResponse)
    if as_json:
        output.document(document(found))
        return
    organisation = found.organisation
    output.styled(f"{organisation.org}  {organisation.name}", "bold")
    running = f"running since {timestamp_text(found.started_at)}, listening on {found.listen or 'no port'}"
    output.pairs(
        [
            ("node", running if found.serving else "not running; start it with tocsin serve"),
            ("records", f"{found.own_records:,} own, {found.received_records:,} received"),
            ("store", f"{found.store_bytes / 1024 / 1024:.1f} MiB"),
            ("fingerprint", organisation.fingerprint),
            ("identity", f"version {organisation.version}, expires {timestamp_text(organisation.expires_at)}"),
            ("software", found.version),
        ]
    )
    output.data()
    print_peers(found.peers)
    for text in found.warnings:
        output.warning(text)
