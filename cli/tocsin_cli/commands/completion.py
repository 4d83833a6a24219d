"""This module prints the script that makes a shell complete `tocsin` commands."""

import click
from click.shell_completion import get_completion_class

from tocsin_cli.command import Command

SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    examples=(
        'eval "$(tocsin completion bash)"                     for this shell',
        "tocsin completion bash > ~/.local/share/bash-completion/completions/tocsin",
        "tocsin completion fish > ~/.config/fish/completions/tocsin.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print a script that completes commands, options and partners.

    SHELL is bash, zsh or fish.
    """
    maker = get_completion_class(shell)
    assert maker is not None  # noqa: S101 - the choice above offers only shells that click knows
    click.echo(maker(ctx.find_root().command, {}, "tocsin", "_TOCSIN_COMPLETE").source())
