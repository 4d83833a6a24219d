"""This module has the commands about the keys of a node: rotate, revoke, renew, adopt, and root for root keys.

They work on the home, whether its node runs or not.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, UsageProblem, group, input_path, json_option, read_input
from tocsin_cli.commands.record import Since
from tocsin_cli.document import rfc3339
from tocsin_cli.session import Session, desk_socket, now

if TYPE_CHECKING:
    from tocsin.desk.ceremony import Authority
    from tocsin.identity.draft import Draft

_HERE = "tocsin_cli.commands.keys"
# As tocsin.desk.succession says, which help need not import.
NAMES = ("record", "delivery", "tls", "log", "witness")
OVERLAP_DAYS = 7
MOST_OVERLAP_DAYS = 90
_REVOKED = ("record", "delivery")

keys = group(
    name="keys",
    examples=(
        "tocsin keys rotate tls",
        "tocsin keys rotate record --root-key /media/offline/root-1.pem",
        "tocsin keys rotate record --draft next.draft        where the root keys are elsewhere",
    ),
    sections=(
        Section(
            "Commands",
            (
                Entry("rotate", f"{_HERE}:rotate", "Replace a key of the node by a new one."),
                Entry("revoke", f"{_HERE}:revoke", "Say that a key was stolen: what it signed counts no more."),
                Entry("renew", f"{_HERE}:renew", "Sign the identity document for another year."),
                Entry("adopt", f"{_HERE}:adopt", "Put a draft in force that enough root keys have signed."),
                Entry("root", "tocsin_cli.commands.rootkeys:root", "Make and change root keys, and sign with them."),
            ),
        ),
    ),
    summary="Replace keys, and renew the identity document.",
)


allow_older_option = click.option(
    "--allow-older",
    is_flag=True,
    help="Sign although the root key has signed this version, or a newer one, before.",
)


def root_key_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what says who signs the next version of the identity document, which the command takes as `who`."""

    @wraps(function)
    def command(
        *given: Any,  # noqa: ANN401 - whatever else the command takes
        root_keys: tuple[Path, ...],
        root_passphrase_file: Path | None,
        draft: Path | None,
        allow_older: bool,
        **options: Any,  # noqa: ANN401
    ) -> None:
        function(*given, who=_authority(root_keys, root_passphrase_file, draft, allow_older=allow_older), **options)

    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    options = (
        click.option(
            "--root-key",
            "root_keys",
            multiple=True,
            type=file,
            metavar="FILE",
            help="A root key, where it is not in the home; may be given more than once.",
        ),
        click.option(
            "--root-passphrase-file",
            type=file,
            metavar="FILE",
            help="The passphrase of the root keys, where it is not that of the home.",
        ),
        click.option(
            "--draft",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Sign nothing: write what is to be signed here, for `tocsin keys root sign`.",
        ),
        allow_older_option,
    )
    decorated: Callable[..., None] = command
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def _authority(
    root_keys: tuple[Path, ...], root_passphrase_file: Path | None, draft: Path | None, *, allow_older: bool
) -> "Authority":
    """Return who signs, by what the options say."""
    from tocsin.desk.ceremony import Authority

    if draft is not None and (root_keys or root_passphrase_file or allow_older):
        given = "--allow-older" if allow_older and not root_keys else "--root-key"
        raise UsageProblem("a draft is signed by nobody yet", f"leave {given} out, then: tocsin keys root sign FILE")
    return Authority(root_keys, root_passphrase_file, draft, allow_older)


@click.command(
    cls=Command,
    examples=(
        "tocsin keys rotate tls",
        "tocsin keys rotate record --overlap 14 --root-key /media/offline/root-1.pem",
        "tocsin keys rotate log --stolen             at once, and what the old key signs counts no more",
    ),
)
@click.argument("name", type=click.Choice(NAMES), metavar="record|delivery|tls|log|witness")
@click.option(
    "--overlap",
    type=click.IntRange(0, MOST_OVERLAP_DAYS),
    default=None,
    metavar="DAYS",
    help=f"How long partners have to take the document before the new key is used.  [default: {OVERLAP_DAYS}]",
)
@click.option("--stolen", is_flag=True, help="For tls, log and witness: somebody else has the old key.")
@root_key_options
@json_option
@click.pass_obj
def rotate(
    session: Session,
    *,
    name: str,
    overlap: int | None,
    stolen: bool,
    who: "Authority",
    as_json: bool,
) -> None:
    """Replace a key of the node by a new one.

    The next version of the identity document names the new key beside the old
    one, so a root key must be here. What the old key signed stands. Partners
    that have not taken the document when the new key takes over refuse what
    it signs, or its connection.

    A stolen key is named no more, and the new one is used at once. A record or
    delivery key that was stolen is revoked instead: tocsin keys revoke.
    """
    from secrets import token_bytes

    from tocsin.desk.layout import Layout
    from tocsin.desk.rotation import rotate_key
    from tocsin.identity.certificate import DAY

    days = _days(name, overlap, stolen=stolen)
    rotated = rotate_key(
        Layout(session.home), name, now=now(), random=token_bytes, overlap=days * DAY, authority=who, stolen=stolen
    )
    starts = rfc3339(rotated.takes_over_at)
    if rotated.draft is not None:
        print_draft(rotated.draft, who, as_json=as_json)
        return
    organisation = rotated.organisation
    finish(session, organisation.document)
    if as_json:
        output.document({"key": name, "identity_version": organisation.version, "takes_over_at": starts})
        return
    when = f"takes over on {starts}" if days else "is in use"
    output.data(f"version {organisation.version} of the identity document names the new {name} key, which {when}")
    print_next_steps(session.home)


def _days(name: str, overlap: int | None, *, stolen: bool) -> int:
    """Return for how many days the old key goes on."""
    if stolen and name in _REVOKED:
        raise UsageProblem(f"a {name} key that was stolen is revoked", "tocsin keys revoke KEYID")
    if stolen and overlap:
        raise UsageProblem("a key that was stolen has no overlap", "leave --overlap out")
    return 0 if stolen else OVERLAP_DAYS if overlap is None else overlap


@click.command(
    cls=Command,
    examples=(
        "tocsin keys revoke 3fK9xQ2mB7dA",
        "tocsin keys revoke 3fK9xQ2mB7dA --at 2026-11-02T08:00:00Z --root-key /media/offline/root-1.pem",
        "tocsin keys revoke lab-a.example/tocsin+33d7b496+AZ…        a former key of the log",
    ),
)
@click.argument("key_id", metavar="KEYID")
@click.option(
    "--at", type=Since(), default=None, metavar="TIME", help="Since when somebody else had it.  [default: now]"
)
@root_key_options
@json_option
@click.pass_obj
def revoke(
    session: Session,
    *,
    key_id: str,
    at: int | None,
    who: "Authority",
    as_json: bool,
) -> None:
    """Say that a key was stolen: what it signed counts no more.

    For record, delivery, log and witness keys, by their ids or the first
    eight characters (tocsin identity show); of a log or witness key what
    follows its name will do. Where the key is in use, the same version of the
    identity document names a new one, which is used at once.

    Whoever stole the key can write any date into what it signs. So partners
    that have taken the document ask when it was logged: a record counts where
    a checkpoint contains it that witnesses had cosigned before the time that
    --at says, and is kept in quarantine otherwise. A log or witness key is
    named no more, also among the former ones.
    """
    from secrets import token_bytes

    from tocsin.desk.layout import Layout
    from tocsin.desk.rotation import revoke_key

    revoked = revoke_key(Layout(session.home), key_id, now=now(), random=token_bytes, at=at, authority=who)
    if revoked.draft is not None:
        print_draft(revoked.draft, who, as_json=as_json)
        return
    version = revoked.organisation.version
    finish(session, revoked.organisation.document)
    if as_json:
        found = {"key": revoked.name, "revoked": list(revoked.keys), "replaced": revoked.is_replaced}
        output.document({**found, "identity_version": version})
        return
    lines = [f"version {version} of the identity document revokes the {revoked.name} key {key}" for key in revoked.keys]
    output.data("\n".join([*lines, *([f"a new {revoked.name} key is in use"] if revoked.is_replaced else [])]))
    output.warning(_CONSEQUENCES[revoked.name])
    print_next_steps(session.home)


_CONSEQUENCES = {
    "record": "for partners that take the document, a record of the key counts where a checkpoint contains it that was "
    "cosigned before the revocation, and is quarantined otherwise; issue again what you stand by",
    "delivery": "pages and receipts that the key signed prove nothing to partners that take the document",
    "log": "checkpoints that the key signed prove nothing to partners that take the document; the log is signed again",
    "witness": "cosignatures of the key prove nothing to partners that take the document",
}


@click.command(cls=Command, examples=("tocsin keys renew", "tocsin keys renew --root-key /media/offline/root-1.pem"))
@root_key_options
@json_option
@click.pass_obj
def renew(
    session: Session,
    *,
    who: "Authority",
    as_json: bool,
) -> None:
    """Sign the identity document for another year.

    It says the same as before. A root key must be here.
    """
    from tocsin.desk.layout import Layout
    from tocsin.desk.rotation import renew_document

    outcome = renew_document(Layout(session.home), now=now(), authority=who)
    if outcome.draft is not None:
        print_draft(outcome.draft, who, as_json=as_json)
        return
    organisation = outcome.organisation
    finish(session, organisation.document)
    expires = rfc3339(organisation.expires)
    if as_json:
        output.document({"identity_version": organisation.version, "expires_at": expires})
        return
    output.data(f"version {organisation.version} of the identity document is valid until {expires}")
    print_next_steps(session.home)


@click.command(cls=Command, examples=("tocsin keys adopt next.draft",))
@click.argument("file", type=input_path(), metavar="FILE")
@json_option
@click.pass_obj
def adopt(session: Session, *, file: Path, as_json: bool) -> None:
    """Put a draft in force that enough root keys have signed.

    It must be the one that was drafted in this home last. Where it is refused,
    nothing has changed; where signatures are missing, it is told whose.
    """
    from tocsin.desk.ceremony import adopt_draft
    from tocsin.desk.layout import Layout
    from tocsin.identity.draft import parse_draft

    adopted = parse_draft(read_input(file))
    organisation = adopt_draft(Layout(session.home), adopted, now=now())
    finish(session, organisation.document)
    if as_json:
        output.document({"identity_version": organisation.version, "changes": list(adopted.changes)})
        return
    output.data(f"version {organisation.version} of the identity document is in force")
    for change in adopted.changes:
        output.data(f"  {change}")
    print_next_steps(session.home)


def print_draft(draft: "Draft", who: "Authority", *, as_json: bool) -> None:
    """Print what was drafted, and what to do with it."""
    if as_json:
        output.document(draft_document(draft))
        return
    path = who.draft
    output.data(f"version {draft.version.number} of the identity document is drafted in {path}")
    for change in draft.changes:
        output.data(f"  {change}")
    for line in draft.missing:
        output.hint(f"to be signed by {line}")
    output.hint(f"take it to whoever holds them: tocsin keys root sign {path} --root-key KEY")
    output.hint(f"then here: tocsin keys adopt {path}")


def draft_document(draft: "Draft") -> dict[str, object]:
    """Return a draft as `--json` prints it."""
    return {
        "org": draft.version.details.org,
        "fingerprint": draft.fingerprint,
        "identity_version": draft.version.number,
        "expires_at": rfc3339(draft.version.expires),
        "changes": list(draft.changes),
        "signed_by": list(draft.signed_by),
        "missing": list(draft.missing),
    }


def finish(session: Session, document: bytes) -> None:
    """Let everybody with a profile on this machine know the node by its new certificate."""
    from tocsin_cli.profile import load_profiles

    for profile in load_profiles():
        if profile.is_of(session.home):
            profile.renew_identity(document, now=now())


def print_next_steps(home: Path) -> None:
    """Say how node and partners learn of a new version."""
    if desk_socket(home) is not None:
        output.hint(f"let the running node read it: kill -HUP $(cat {home}/lock)")
    output.hint("send your partners the document, which they take with `tocsin peer add`: tocsin identity export")
