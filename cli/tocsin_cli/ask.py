"""This module asks whoever sits at the terminal, before something takes effect that cannot be taken back."""

import sys

import click

from tocsin_cli import output
from tocsin_cli.command import UsageProblem


def is_agreed(question: str) -> bool:
    """Ask whether to go on; anything but a yes is a no. Raises UsageProblem where nobody answers."""
    return ask(f"{question} [y/N] ").lower() in ("y", "yes")


def ask(question: str) -> str:
    """Return what somebody types. The question goes to standard error, so that data can be piped on.

    Raises UsageProblem where standard input has ended: nobody is there.
    """
    click.echo(output.clean(question), err=True, nl=False)
    answer = sys.stdin.buffer.readline()
    if not answer:
        output.talk("")
        raise UsageProblem("nobody is there to answer", "--yes agrees without being asked")
    return answer.decode("utf-8", "replace").strip()
