"""This module has the commands about root keys: new, show, change, sign.

`new` and `sign` need no home: root keys lie elsewhere, and so do the people who hold them.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin_cli import output
from tocsin_cli.ask import ask
from tocsin_cli.command import Command, Entry, Section, UsageProblem, group, json_option
from tocsin_cli.commands.keys import (
    allow_older_option,
    draft_document,
    finish,
    print_draft,
    print_next_steps,
    root_key_options,
)
from tocsin_cli.document import counted, rfc3339
from tocsin_cli.session import Session, now

if TYPE_CHECKING:
    from tocsin.desk.ceremony import Authority
    from tocsin.identity.draft import Draft

_HERE = "tocsin_cli.commands.rootkeys"

root = group(
    name="root",
    examples=(
        "tocsin keys root new /media/offline/root-2.pem",
        "tocsin keys root change --add root:3fK9… --threshold 2 --draft next.draft",
        "tocsin keys root sign next.draft --root-key /media/offline/root-1.pem",
    ),
    sections=(
        Section(
            "Commands",
            (
                Entry("new", f"{_HERE}:new", "Make a root key away from any home, and print its public part."),
                Entry("show", f"{_HERE}:show", "Show the root keys, and how many of them must sign."),
                Entry("change", f"{_HERE}:change", "Add and remove root keys, and say how many must sign."),
                Entry("sign", f"{_HERE}:sign", "Sign a draft with a root key, with no home."),
            ),
        ),
    ),
    summary="Make and change root keys, and sign with them.",
)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    cls=Command,
    examples=(
        "tocsin keys root new /media/offline/root-2.pem",
        "tocsin keys root new /media/offline/root-2.pem --passphrase-file /media/other/passphrase",
    ),
)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--passphrase-file", type=_FILE, metavar="FILE", help="Encrypt the key with the passphrase in this file.")
@json_option
def new(*, file: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a root key away from any home, and print its public part.

    Nothing counts by it yet. Whoever has the home and the root keys of today
    takes the public part with `tocsin keys root change --add`.
    """
    from secrets import token_bytes

    from tocsin.desk.ceremony import make_root_key
    from tocsin.identity.version import format_root_key, root_key_id

    public = make_root_key(file, random=token_bytes, passphrase_file=passphrase_file)
    if as_json:
        output.document({"id": root_key_id(public), "public": format_root_key(public)})
        return
    output.data(format_root_key(public))
    output.hint(f"the private part is in {file}, and its id is {root_key_id(public)}")
    output.hint("make it count, with the root keys of today: tocsin keys root change --add PUBLIC")


@click.command(cls=Command, examples=("tocsin keys root show",))
@json_option
@click.pass_obj
def show(session: Session, *, as_json: bool) -> None:
    """Show the root keys, and how many of them must sign."""
    from tocsin.desk.ceremony import load_root
    from tocsin.desk.layout import Layout

    last = load_root(Layout(session.home))
    if as_json:
        found = {"identity_version": last.number, "expires_at": rfc3339(last.expires)}
        output.document({**found, "threshold": last.threshold, "root_keys": list(last.root_key_ids)})
        return
    output.data(f"{last.threshold} of {counted(len(last.root_keys), 'root key')} must sign the next version")
    for key_id in last.root_key_ids:
        output.data(f"  {key_id}")


@click.command(
    cls=Command,
    examples=(
        "tocsin keys root change --add root:3fK9… --add root:bQ2m… --threshold 2",
        "tocsin keys root change --remove 6f260089d592 --draft next.draft      where a root key was stolen",
    ),
)
@click.option("--add", multiple=True, metavar="PUBLIC", help="A root key, as `tocsin keys root new` has printed it.")
@click.option("--remove", multiple=True, metavar="ID", help="A root key that counts no more, by its id.")
@click.option("--threshold", type=click.IntRange(1, 16), default=None, help="How many must sign.  [default: as now]")
@root_key_options
@json_option
@click.pass_obj
def change(
    session: Session,
    *,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    threshold: int | None,
    who: "Authority",
    as_json: bool,
) -> None:
    """Add and remove root keys, and say how many must sign.

    As many of the root keys of today must sign it as must sign anything, and
    as many of the new ones as must from then on. The fingerprint stays.
    """
    from tocsin.desk.ceremony import change_root
    from tocsin.desk.layout import Layout

    outcome = change_root(
        Layout(session.home),
        add=add,
        remove=remove,
        threshold=threshold or 0,
        authority=who,
        now=now(),
    )
    if outcome.draft is not None:
        print_draft(outcome.draft, who, as_json=as_json)
        return
    finish(session, outcome.organisation.document)
    version = outcome.organisation.version
    if as_json:
        output.document({"identity_version": version})
        return
    output.data(f"version {version} of the identity document has the new root keys")
    print_next_steps(session.home)


@click.command(
    cls=Command,
    examples=(
        "tocsin keys root sign next.draft                              only see what it is about",
        "tocsin keys root sign next.draft --root-key /media/offline/root-1.pem",
    ),
)
@click.argument("file", type=_FILE, metavar="FILE")
@click.option("--root-key", type=_FILE, metavar="KEY", help="The root key to sign with.")
@click.option("--root-passphrase-file", type=_FILE, metavar="FILE", help="The passphrase of the root key.")
@allow_older_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def sign(
    *,
    file: Path,
    root_key: Path | None,
    root_passphrase_file: Path | None,
    allow_older: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Sign a draft with a root key, with no home.

    Prints what the draft changes of the version before, and then asks. The
    signature is added to the file, which goes on to whoever signs next, or
    back to the home: tocsin keys adopt.

    What the key has signed is kept beside it, in KEY.signed. A draft of that
    version or an older one is refused: somebody may have handed out an old
    document, in which a stolen key still counts.
    """
    from tocsin.desk.ceremony import load_draft, sign_file

    if as_json and root_key is not None and not yes:
        raise UsageProblem("--json answers a script, and a script is not asked", "give --yes too")
    draft = load_draft(file)
    if not as_json:
        _print_what_is_signed(draft)
    if root_key is not None:
        if not yes and ask("sign this? [y/N] ").lower() not in ("y", "yes"):
            output.talk("nothing was signed")
            return
        draft = sign_file(
            file,
            root_key,
            passphrase_file=root_passphrase_file,
            now=now(),
            expected=draft,
            allow_older=allow_older,
        )
    if as_json:
        output.document(draft_document(draft))
        return
    _print_who_signed(draft, file)


def _print_who_signed(draft: "Draft", file: Path) -> None:
    for key_id in draft.signed_by:
        output.data(f"signed by {key_id}")
    for line in draft.missing:
        output.hint(f"still to be signed by {line}")
    if not draft.missing:
        output.hint(f"enough have signed; in the home: tocsin keys adopt {file}")


def _print_what_is_signed(draft: "Draft") -> None:
    details = draft.version.details
    output.data(f"{details.org}  {details.name}")
    output.data(f"fingerprint {draft.fingerprint}")
    output.data(f"version {draft.version.number}, which follows version {draft.before.number}:")
    for line in draft.changes:
        output.data(f"  {line}")
