"""This module has the commands about the own node: init, serve, status."""

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING

import click

from tocsin.config import DEFAULT_LISTEN
from tocsin.errors import MalformedName
from tocsin.identity.names import parse_org
from tocsin.people.person import parse_person_name
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, UsageProblem, json_option
from tocsin_cli.commands.peer import print_peers
from tocsin_cli.commands.person import roles_of
from tocsin_cli.document import document, timestamp_text
from tocsin_cli.profile import Profile, default_folder, load_profiles, make_keys, new_profile, set_aside
from tocsin_cli.session import Session, now, wait_for_lock

if TYPE_CHECKING:
    from tocsin.desk.founding import Founder

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
@click.option("--person", metavar="NAME", help="Name of the first person, who has every role.  [default: your login]")
@click.option(
    "--profile",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where that person's keys go, not in the home.  [default: NAME@ORG among your profiles]",
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
    person: str | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Make a home: keys, identity, policies and store.

    ORG is the organisation's canonical id, a DNS name that it owns. The home
    is made whole or not at all, and with it the first person, who has every
    role, and whose own keys lie in a profile outside the home.
    """
    from tocsin.desk.founding import create_home

    first = _first_person(session, org=org, person=person, folder=folder)
    with _founder(first) as (founder, save_identity):
        made = create_home(
            session.home,
            org=first.org,
            name=name,
            kind=kind,
            listen=listen,
            endpoints=endpoints or _advertised(listen, org),
            contact=contact,
            founder=founder,
            root_keys=root_keys,
            threshold=threshold,
            passphrase_file=passphrase_file,
            now=now(),
            random=token_bytes,
        )
        save_identity(made.document)
    _print_made(first, fingerprint=made.fingerprint, as_json=as_json)


def _first_person(session: Session, *, org: str, person: str | None, folder: Path | None) -> Profile:
    org_id = parse_org(org)
    name = parse_person_name(person) if person is not None else _login_name()
    place = folder.expanduser().absolute() if folder is not None else default_folder(name, org_id)
    return Profile(folder=place, name=name, org=org_id, home=str(session.home))


@contextmanager
def _founder(first: Profile) -> "Iterator[tuple[Founder, Callable[[bytes], object]]]":
    """Make the keys of the first person, which are a profile once the home is there."""
    from tocsin.desk.founding import Founder

    keys = make_keys(first.org, now=now(), random=token_bytes)
    with new_profile(first, keys, replaces=True) as save_identity:
        yield Founder(first.name, keys.signer, keys.certificate), save_identity
        for left in load_profiles():
            if left.is_of(Path(first.home)):  # of a home that stood there before: its keys open nothing any more
                set_aside(left.folder)


def _print_made(first: Profile, *, fingerprint: str, as_json: bool) -> None:
    if as_json:
        answer = {"org": first.org, "home": first.home, "fingerprint": fingerprint}
        output.document({**answer, "person": first.name, "profile": str(first.folder)})
        return
    output.data(f"made {first.home} for {first.org}")
    output.data(f"fingerprint {fingerprint}")
    output.data(f"{first.name} has every role, with the keys in {first.folder}")
    output.hint(f"move {first.home}/keys/root-*.pem to a place that is offline: they are for emergencies")
    output.hint("start the node: tocsin serve")


def _login_name() -> str:
    try:
        return parse_person_name(getpass.getuser().lower())
    except (OSError, KeyError, MalformedName):
        raise UsageProblem("your login is no name for a person here", "give one: --person NAME") from None


def _advertised(listen: str, org: str) -> tuple[str, ...]:
    """Return what partners dial when nobody says it: the organisation's name where any address is listened on."""
    if not listen:
        return ()
    host, _, port = listen.rpartition(":")
    return (f"{org}:{port}" if host in ANY_HOST else listen,)


@click.command(
    cls=Command,
    examples=(
        "tocsin serve",
        "tocsin --home /srv/tocsin serve",
        "tocsin serve --once                     for cron: needs no open port",
    ),
)
@click.option("--once", is_flag=True, help="Fetch from every peer, and stop.")
@click.pass_obj
def serve(session: Session, *, once: bool) -> None:
    """Run the node of a home until it is told to stop.

    SIGTERM and Ctrl-C let running calls finish first; SIGHUP reads settings,
    identity, keys and certificates anew. Settings are in node.toml; the log
    goes to standard error and never holds a record's content.
    """
    from tocsin.process import run

    wait_for_lock(lambda: run(session.home, once=once))


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
    reviews = "review waits" if found.reviews_open == 1 else "reviews wait"
    output.pairs(
        [
            ("you", f"{found.caller.name}: {', '.join(roles_of(found.caller)) or 'no role'}"),
            ("node", f"running since {timestamp_text(found.started_at)}, listening on {found.listen or 'no port'}"),
            ("records", f"{found.own_records:,} own, {found.received_records:,} received"),
            ("store", f"{found.store_bytes / 1024 / 1024:.1f} MiB"),
            ("fingerprint", organisation.fingerprint),
            ("identity", f"version {organisation.version}, expires {timestamp_text(organisation.expires_at)}"),
            ("software", found.version),
            ("waiting", f"{found.reviews_open:,} {reviews} for a decision" if found.reviews_open else ""),
        ]
    )
    if found.reviews_open:
        output.hint("see what waits: tocsin review list")
    output.data()
    print_peers(found.peers)
    for text in found.warnings:
        output.warning(text)
