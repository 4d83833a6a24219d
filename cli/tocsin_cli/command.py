"""This module shapes commands: lazily imported groups, help that starts with examples, shared options.

A group knows its commands from a table of names, so that `tocsin --help`
imports none of them:

    Entry("post", "tocsin_cli.commands.draft:post", "Sign records and queue them for partners.")

The summary stands in the table because help shows it before the command is
imported; a test holds it equal to the first line of the command's own help.
"""

import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from click.shell_completion import CompletionItem

Function = TypeVar("Function", bound=Callable[..., Any])

HELP_NAMES = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Entry(NamedTuple):
    """Where a command is, and what it is for."""

    name: str
    target: str
    summary: str


class Section(NamedTuple):
    """Commands that stand together in the help."""

    title: str
    entries: tuple[Entry, ...]


_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{42}|-[A-Za-gi-z0-9_][A-Za-z0-9_-]{6,}", re.ASCII)
"""A digest or a key id, base64url, or how one begins: one in 64 with a dash. -h is the only short option."""
_SHIELD = "\x1f"


def _unshielded(value: Any) -> Any:  # noqa: ANN401 - click's own
    if isinstance(value, tuple):
        return tuple(_unshielded(each) for each in value)
    return value.removeprefix(_SHIELD) if isinstance(value, str) else value


class Command(click.Command):
    """A command whose help starts with examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **{"context_settings": HELP_NAMES, **kwargs})
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what is no text: a command line holds any bytes, and only the name of a file may.

        An id may begin with a dash, and is no option for that.
        """
        shielded = [f"{_SHIELD}{arg}" if _DASHED_ID.fullmatch(arg) else arg for arg in args]
        rest = super().parse_args(ctx, shielded)
        ctx.params = {name: _unshielded(value) for name, value in ctx.params.items()}
        for value in ctx.params.values():
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str) and not _is_unicode(text):
                    raise UsageProblem(f"{text!a} is no text in UTF-8", "write it anew, or name a file")
        return rest

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then what click writes."""
        _write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)


class LazyGroup(click.Group):
    """A group that imports a command when it is used."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's own
        sections: Sequence[Section] = (),
        examples: Sequence[str] = (),
        **kwargs: Any,  # noqa: ANN401 - click's own
    ) -> None:
        super().__init__(*args, **{"context_settings": HELP_NAMES, **kwargs})
        self.sections = tuple(sections)
        self.examples = tuple(examples)
        self.entries = {entry.name: entry for section in sections for entry in section.entries}

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self.entries)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.target.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table is ours
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its exact name, and say which ones are near where there is none."""
        if args[0] not in self.entries and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(args[0], self.entries)
            hint = f"did you mean {' or '.join(near)}?" if near else f"see {ctx.command_path} --help"
            raise UsageProblem(f"there is no command {args[0]!r} in {ctx.command_path}", hint)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then what click writes."""
        _write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, which needs no command imported."""
        for section in self.sections:
            with formatter.section(section.title):
                formatter.write_dl([(entry.name, entry.summary) for entry in section.entries])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the names of the table, which needs no command imported."""
        offers = [
            CompletionItem(e.name, help=e.summary) for e in self.entries.values() if e.name.startswith(incomplete)
        ]
        return offers + click.Command.shell_complete(self, ctx, incomplete)


class UsageProblem(click.UsageError):
    """A wrong command line, with what to do instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def group(*, name: str, examples: Sequence[str], sections: Sequence[Section], summary: str) -> LazyGroup:
    """Make a group that only holds other commands."""
    return LazyGroup(name=name, help=summary, examples=examples, sections=sections, no_args_is_help=True)


def json_option(function: Function) -> Function:
    """Add `--json`, which every command with an answer has."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(function)


def input_path() -> click.Path:
    """Return the type of a file that is read: it exists, or is `-` for standard input."""
    return click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


def read_input(path: Path) -> bytes:
    """Return the bytes of a file, or of standard input for `-`.

    Raises click.BadParameter where the file cannot be read.
    """
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None


def _is_unicode(text: str) -> bool:
    """Say whether an argument is text: bytes that are not UTF-8 reach Python as halves of surrogate pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def complete_partner(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Offer the partners that have a policy file: looking at names needs no lock and no node."""
    from tocsin_cli.session import Session

    named = ctx.find_root().params
    session = Session(named.get("home"), profile=named.get("profile") or "")
    try:
        names = [path.stem for path in (session.home / "policies").glob("*.toml")]
    except Exception:  # noqa: BLE001 - a shell that completes has no place for errors; the command will say it
        return []
    return sorted(name for name in names if name != "floor" and name.startswith(incomplete))


def _write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    formatter.write("Examples:\n")
    for example in examples:
        formatter.write(f"  {example}\n")
    formatter.write("\n")
