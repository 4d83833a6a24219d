"""This module has the commands that keep a home from being lost: backup, restore, fsck.

They are for whoever owns the home on this machine, and ask no node. A backup
may be made while one runs.
"""

from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING

import click

from tocsin.errors import DataLoss
from tocsin_cli import output
from tocsin_cli.command import Command, UsageProblem, json_option
from tocsin_cli.document import rfc3339
from tocsin_cli.session import Session, now

if TYPE_CHECKING:
    from tocsin.desk.backup import BackedUp

EXIT_UNSOUND = DataLoss.exit_code
A_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
MEGABYTE = 1_000_000


@click.command(
    cls=Command,
    examples=(
        "tocsin backup lab-a.tocsin-backup --to age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        "tocsin backup /mnt/backups/$(date +%F) --recipients-file offline-keys.txt",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--to", "recipients", multiple=True, metavar="AGE-KEY", help="Public key of age; may be given more than once."
)
@click.option("--recipients-file", type=A_FILE, metavar="FILE", help="A file with a public key on each line.")
@json_option
@click.pass_obj
def backup(
    session: Session, *, file: Path, recipients: tuple[str, ...], recipients_file: Path | None, as_json: bool
) -> None:
    """Write all of the home to one sealed file.

    Store, keys, identity, policies and settings, as they are at one moment;
    the node may run. Only the secret key of a recipient opens it: keep that
    key on another machine. Root keys are left out. What is purged later stays
    in backups made before.
    """
    from tocsin.desk.backup import write_backup
    from tocsin.desk.sealing import read_keys

    keys = [*recipients, *(read_keys(recipients_file) if recipients_file else ())]
    if not keys:
        raise UsageProblem("say who can open the backup", hint="--to AGE-KEY, or --recipients-file FILE")
    made = write_backup(session.home, file, recipients=keys, now=now())
    if as_json:
        output.document({"file": str(file), "bytes": made.size} | _described(made))
        return
    output.data(f"{file}: {len(made.files)} files of {made.org}, {_size(made)}")
    output.hint(f"see that it opens, where the secret key is: tocsin restore {file} --identity KEYFILE --verify-only")


@click.command(
    cls=Command,
    examples=(
        "tocsin restore lab-a.tocsin-backup --identity key.txt --verify-only",
        "tocsin --home /srv/tocsin restore lab-a.tocsin-backup --identity key.txt",
    ),
)
@click.argument("file", type=A_FILE)
@click.option(
    "--identity",
    "identities",
    type=A_FILE,
    multiple=True,
    required=True,
    metavar="KEYFILE",
    help="A secret key of age, as age-keygen writes it.",
)
@click.option("--verify-only", is_flag=True, help="See that it is whole and sound, and keep nothing of it.")
@json_option
@click.pass_obj
def restore(session: Session, *, file: Path, identities: tuple[Path, ...], verify_only: bool, as_json: bool) -> None:
    """Build a home from a backup, or see that it could be.

    Every file is compared with the backup's own list, and the store is looked
    through as by fsck. A restored home knows that it is one: partners are
    asked for what it lacks, and nothing is signed twice.
    """
    from tocsin.desk.restore import restore_home, verify_backup
    from tocsin.desk.sealing import read_keys

    keys = [key for path in identities for key in read_keys(path)]
    if verify_only:
        found = verify_backup(file, identities=keys)
    else:
        found = restore_home(file, session.home, identities=keys, now=now(), random=token_bytes)
    if as_json:
        output.document(
            {"file": str(file), "restored_to": "" if verify_only else str(session.home)} | _described(found)
        )
        return
    what = "whole and sound" if verify_only else f"restored to {session.home}"
    output.data(f"{len(found.files)} files of {found.org}, as they were on {rfc3339(found.made_at)}: {what}")
    if not verify_only:
        output.hint("partners are asked for what is missing once the node runs: tocsin serve")


@click.command(cls=Command, examples=("tocsin fsck", "tocsin fsck --json | jq -r '.findings[].problem'"))
@json_option
@click.pass_context
def fsck(ctx: click.Context, *, as_json: bool) -> None:
    """Look through the whole home for what is not as it was written.

    The store, every record, retraction and receipt, the decision log, and the
    transparency logs; no node may run meanwhile. Nothing is repaired. Where
    something is wrong the exit code is 8.
    """
    from tocsin.desk.fsck import examine_home

    session: Session = ctx.obj
    findings = []
    for finding in examine_home(session.home):
        findings.append({"part": finding.part, "problem": finding.problem})
        if not as_json:
            output.data(f"{finding.part}: {finding.problem}")
    if as_json:
        output.document({"findings": findings})
    elif findings:
        output.hint("keep a copy of the home as it is, and restore the latest backup that is sound: tocsin restore")
    else:
        output.data("everything is as it was written")
    ctx.exit(EXIT_UNSOUND if findings else 0)


def _described(made: "BackedUp") -> dict[str, object]:
    return {"org": made.org, "made_at": rfc3339(made.made_at), "files": dict(made.files)}


def _size(made: "BackedUp") -> str:
    return f"{made.size / MEGABYTE:.1f} MB"
