"""This module is the root command: it finds the command that is meant and ends every error properly.

A command ends in one of these ways, and never in a traceback:

    0        done                         1    the output cannot be written, or nobody reads it any more
    2        the command line is wrong    130  interrupted
    3 … 9    what the error tree says     70   a bug; `TOCSIN_DEBUG=1` shows where

Nothing heavy is imported here: `tocsin --help` and shell completion must be quick.
"""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from tocsin_cli import output
from tocsin_cli.command import Entry, LazyGroup, Section

EXIT_OUTPUT = 1  # as click does it where it notices first
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Why a file or a disk takes no more; the home's own files have domain errors for it, so this is our output."""
EXIT_USAGE = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

SECTIONS = (
    Section(
        "Start here",
        (
            Entry(
                "demo", "tocsin_cli.commands.demo:demo", "Watch three organisations exchange records on this machine."
            ),
            Entry("init", "tocsin_cli.commands.node:init", "Make a home: keys, identity, policies and store."),
            Entry("serve", "tocsin_cli.commands.node:serve", "Run the node of a home until it is told to stop."),
            Entry("status", "tocsin_cli.commands.node:status", "Say how the node and its peers are doing."),
        ),
    ),
    Section(
        "Records",
        (
            Entry("template", "tocsin_cli.commands.draft:template", "Print a commented TOML file to fill in."),
            Entry("post", "tocsin_cli.commands.draft:post", "Sign records and queue them for partners."),
            Entry("amend", "tocsin_cli.commands.amend:amend", "Sign the next version of an own record."),
            Entry("remark", "tocsin_cli.commands.amend:remark", "Change the marking of an own record."),
            Entry("retract", "tocsin_cli.commands.retract:retract", "Take an own record back, for good."),
            Entry(
                "retractions",
                "tocsin_cli.commands.retract:retractions",
                "List what was taken back, and what partners answered.",
            ),
            Entry("list", "tocsin_cli.commands.record:list_records", "List the records that this node holds."),
            Entry("show", "tocsin_cli.commands.record:show", "Show one record, and what is withheld of it."),
            Entry("search", "tocsin_cli.commands.record:search", "Find records by the words they contain."),
            Entry("export", "tocsin_cli.commands.export:export", "Print records in a form that other tools read."),
            Entry("import", "tocsin_cli.commands.source:import_records", "Post the records of other people's formats."),
        ),
    ),
    Section(
        "Who sees what",
        (
            Entry("policy", "tocsin_cli.commands.policy:policy", "Check, plan and apply the policy files."),
            Entry(
                "explain",
                "tocsin_cli.commands.verdict:explain",
                "Say whether a partner gets a record, which fields, and why.",
            ),
            Entry("preview", "tocsin_cli.commands.verdict:preview", "Show exactly what a partner gets of a record."),
            Entry("reveal", "tocsin_cli.commands.verdict:reveal", "Send further fields of a record to a partner."),
            Entry(
                "review",
                "tocsin_cli.commands.review:review",
                "Decide about proposed releases, and what partners ask for.",
            ),
        ),
    ),
    Section(
        "Who may do what",
        (
            Entry(
                "person",
                "tocsin_cli.commands.person:person",
                "Add, list, change or remove the organisation's own people.",
            ),
            Entry("audit", "tocsin_cli.commands.audit:audit", "Show, verify or export the decision log."),
            Entry("log", "tocsin_cli.commands.log:log", "Show, verify or export the transparency logs."),
        ),
    ),
    Section(
        "Other organisations",
        (
            Entry("identity", "tocsin_cli.commands.identity:identity", "Show or export the own identity."),
            Entry("peer", "tocsin_cli.commands.peer:peer", "Add, list, suspend or remove organisations."),
            Entry("sync", "tocsin_cli.commands.sync:sync", "Fetch what peers have for this node."),
            Entry("outbox", "tocsin_cli.commands.outbox:outbox", "List what waits to go, each with the reason why."),
            Entry(
                "receipts",
                "tocsin_cli.commands.receipts:receipts",
                "List, verify or export what partners have signed for.",
            ),
            Entry(
                "request",
                "tocsin_cli.commands.request:request",
                "Ask the origin of a record for fields that it withholds.",
            ),
        ),
    ),
    Section(
        "Keep it running",
        (
            Entry(
                "doctor", "tocsin_cli.commands.doctor:doctor", "Look the node over, and say how to mend what is wrong."
            ),
            Entry("keys", "tocsin_cli.commands.keys:keys", "Replace keys, and renew the identity document."),
            Entry("backup", "tocsin_cli.commands.backup:backup", "Write all of the home to one sealed file."),
            Entry(
                "restore",
                "tocsin_cli.commands.backup:restore",
                "Build a home from a backup, or see that it could be.",
            ),
            Entry(
                "fsck",
                "tocsin_cli.commands.backup:fsck",
                "Look through the whole home for what is not as it was written.",
            ),
        ),
    ),
    Section(
        "Without a home",
        (
            Entry(
                "verify", "tocsin_cli.commands.verify:verify", "Verify records offline against an identity document."
            ),
            Entry("sdjwt", "tocsin_cli.commands.sdjwt:sdjwt", "Verify any RFC 9901 SD-JWT by a given key."),
            Entry(
                "completion",
                "tocsin_cli.commands.completion:completion",
                "Print a script that completes commands, options and partners.",
            ),
        ),
    ),
)

EXAMPLES = (
    "tocsin demo                                             see what it does, in some seconds",
    'tocsin init lab-a.example --kind lab --name "Lab A"     make a home for your organisation',
    "tocsin serve                                            run its node; the other commands ask it",
    "tocsin template finding > finding.toml                  a form to fill in; four fields are enough",
    "tocsin post finding.toml                                sign it, and queue it for your partners",
    "tocsin explain 3f2a --to aisi.example                   who gets which field, and why",
)


@click.command(
    cls=LazyGroup,
    name="tocsin",
    sections=SECTIONS,
    examples=EXAMPLES,
    no_args_is_help=True,
    subcommand_metavar="COMMAND ...",
)
@click.option(
    "--home",
    type=click.Path(file_okay=False, readable=False, path_type=Path),
    envvar="TOCSIN_HOME",
    metavar="DIR",
    help="Folder of the organisation's node.  [default: TOCSIN_HOME, else ~/.tocsin]",
)
@click.option(
    "--profile",
    default="",
    envvar="TOCSIN_PROFILE",
    metavar="NAME|DIR",
    help="As whom: NAME, NAME@ORG or a folder.  [default: TOCSIN_PROFILE, else your only one for the home]",
)
@click.version_option(package_name="tocsin", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, home: Path | None, profile: str) -> None:
    """Exchange AI-safety records with other organisations, each field under your own policy."""
    from tocsin_cli.session import Session

    session = Session(home, profile=profile)
    ctx.obj = session
    ctx.call_on_close(session.close)
    ctx.color = output.colour()


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        code = cli.main(args=list(arguments), prog_name="tocsin", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as problem:
        click.echo(problem.format_message(), err=True)
        return EXIT_USAGE
    except click.ClickException as problem:
        output.usage_error(problem)
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        output.talk("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _give_up_output()  # whoever read us has seen enough
        return EXIT_OUTPUT
    except OSError as problem:
        if problem.errno not in FULL:
            return _report(problem)
        _give_up_output()
        output.problem(f"the output cannot be written: {os.strerror(problem.errno).lower()}")
        return EXIT_OUTPUT
    except Exception as problem:  # noqa: BLE001 - the outermost handler: what is not ours is a bug
        return _report(problem)


def _give_up_output() -> None:
    """Let what is left in the buffer go nowhere: it must not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(problem: Exception) -> int:
    from tocsin.errors import TocsinError

    if isinstance(problem, TocsinError):
        output.error(problem)
        return problem.exit_code
    output.bug(problem)
    return EXIT_BUG


def main() -> NoReturn:
    """Run the command line of this process."""
    # gRPC would tell of every stranger's handshake on standard error; it reads this when it is first imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if sys.stdout is None:  # started with it closed: nobody wants to read us
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    sys.exit(run(sys.argv[1:]))
