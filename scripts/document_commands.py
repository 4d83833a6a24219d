"""This script writes docs/commands.md from the help of every command."""

from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from tocsin_cli.main import cli

TARGET = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
HEAD = """\
# Commands

The help of every command, as `tocsin COMMAND --help` prints it. Data goes to standard output and talk to standard
error; `--json` prints one document with the names of the contract; `-` is standard input; `NO_COLOR` is respected. Exit
codes are in [errors.md](errors.md). This page is written by `make docs`.
"""


def find_commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words that call each command below one."""
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from find_commands(found, (*words, name))


def help_of(words: tuple[str, ...]) -> str:
    """Return what a command prints for --help."""
    runner = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "100"})
    return runner.invoke(cli, [*words, "--help"], prog_name="tocsin", catch_exceptions=False).output


def page() -> str:
    """Return the whole page."""
    sections = [
        f"## {' '.join(('tocsin', *words))}\n\n```\n{help_of(words).strip()}\n```\n" for words in find_commands(cli)
    ]
    return "\n".join([HEAD, *sections])


if __name__ == "__main__":
    TARGET.write_text(page())
