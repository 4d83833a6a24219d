"""This module has the commands about the keys of a node: rotate, renew.

They work on the home, whether its node runs or not.
"""

from pathlib import Path

import click

from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, group, json_option
from tocsin_cli.document import rfc3339
from tocsin_cli.session import Session, desk_socket, now

_HERE = "tocsin_cli.commands.keys"
# As tocsin.desk.rotation says, which help need not import.
NAMES = ("record", "delivery", "tls")
OVERLAP_DAYS = 7
MOST_OVERLAP_DAYS = 90

keys = group(
    name="keys",
    examples=("tocsin keys rotate tls", "tocsin keys rotate record --root-key /media/offline/root-1.pem"),
    sections=(
        Section(
            "Commands",
            (
                Entry("rotate", f"{_HERE}:rotate", "Replace a key of the node by a new one."),
                Entry("renew", f"{_HERE}:renew", "Sign the identity document for another year."),
            ),
        ),
    ),
    summary="Replace keys, and renew the identity document.",
)

root_key_option = click.option(
    "--root-key",
    "root_keys",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A root key, where it is not in the home; may be given more than once.",
)


@click.command(
    cls=Command,
    examples=(
        "tocsin keys rotate tls",
        "tocsin keys rotate record --overlap 14 --root-key /media/offline/root-1.pem",
        "tocsin keys rotate delivery --overlap 0     at once, where the old key must not be used any more",
    ),
)
@click.argument("name", type=click.Choice(NAMES), metavar="record|delivery|tls")
@click.option(
    "--overlap",
    type=click.IntRange(0, MOST_OVERLAP_DAYS),
    default=OVERLAP_DAYS,
    show_default=True,
    metavar="DAYS",
    help="How long partners have to take the new identity document before the new key is used.",
)
@root_key_option
@json_option
@click.pass_obj
def rotate(session: Session, *, name: str, overlap: int, root_keys: tuple[Path, ...], as_json: bool) -> None:
    """Replace a key of the node by a new one.

    The next version of the identity document names the new key beside the old
    one, so a root key must be here. What the old key signed stands. Partners
    that have not taken the document when the new key takes over refuse what
    it signs, or its connection.
    """
    from secrets import token_bytes

    from tocsin.desk.layout import Layout
    from tocsin.desk.rotation import rotate_key
    from tocsin.identity.certificate import DAY

    rotated = rotate_key(
        Layout(session.home), name, now=now(), random=token_bytes, overlap=overlap * DAY, root_keys=root_keys
    )
    organisation = rotated.organisation
    _renew_profiles(session.home, organisation.document)
    starts = rfc3339(rotated.takes_over_at)
    if as_json:
        output.document({"key": name, "identity_version": organisation.version, "takes_over_at": starts})
        return
    when = f"takes over on {starts}" if overlap else "is in use"
    output.data(f"version {organisation.version} of the identity document names the new {name} key, which {when}")
    _print_next_steps(session.home)


@click.command(cls=Command, examples=("tocsin keys renew", "tocsin keys renew --root-key /media/offline/root-1.pem"))
@root_key_option
@json_option
@click.pass_obj
def renew(session: Session, *, root_keys: tuple[Path, ...], as_json: bool) -> None:
    """Sign the identity document for another year.

    It says the same as before. A root key must be here.
    """
    from tocsin.desk.layout import Layout
    from tocsin.desk.rotation import renew_document

    organisation = renew_document(Layout(session.home), now=now(), root_keys=root_keys)
    _renew_profiles(session.home, organisation.document)
    expires = rfc3339(organisation.expires)
    if as_json:
        output.document({"identity_version": organisation.version, "expires_at": expires})
        return
    output.data(f"version {organisation.version} of the identity document is valid until {expires}")
    _print_next_steps(session.home)


def _renew_profiles(home: Path, document: bytes) -> None:
    """Let everybody with a profile on this machine know the node by its new certificate."""
    from tocsin_cli.profile import load_profiles

    for profile in load_profiles():
        if profile.is_of(home):
            profile.renew_identity(document, now=now())


def _print_next_steps(home: Path) -> None:
    if desk_socket(home) is not None:
        output.hint(f"let the running node read it: kill -HUP $(cat {home}/lock)")
    output.hint("send your partners the document, which they take with `tocsin peer add`: tocsin identity export")
