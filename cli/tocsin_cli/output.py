"""This module prints everything: data to standard output, talk to standard error.

Text from records, peers and files is data: before a terminal sees it, every
character that a terminal would obey instead of show becomes U+FFFD. Colour is
for terminals only, and for none where NO_COLOR is set or TERM is dumb; the
words say the same without it. Lines are at most 100 columns wide.

Whatever lays text out is imported when something is: help and errors need none of it.
"""

import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tocsin.errors import TocsinError
    from tocsin_cli.grid import Cell, Column

WIDEST = 100
"""Columns; a longer line is hard to follow, and hard to paste into a mail."""
NARROWEST = 60
"""Columns; tables in less are unreadable, better let the terminal wrap."""

# What reorders or hides what stands beside it, and what nobody sees but a machine that reads along: tags, for one,
# spell out ASCII.
_HIDDEN = "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
# Control characters but newline.
_OBEYED = re.compile(f"[\x00-\x09\x0b-\x1f\x7f-\x9f{_HIDDEN}]")
_ESCAPED = re.compile(f"[\x7f-\x9f{_HIDDEN}]")

FOR_ALL = frozenset({"--home", "--profile"})
"""Options of every command, which stand before it."""

LABEL_COLUMNS = 17
MARK_COLUMNS = 4

TLP_STYLES = {
    "RED": "bold red",
    "AMBER+STRICT": "yellow",
    "AMBER": "yellow",
    "GREEN": "green",
    "CLEAR": "bold",
}
SEVERITY_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow"}


def is_colour_wanted() -> bool:
    """Say whether anything but plain text may be printed at all."""
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def colour() -> bool | None:
    """Say whether colour is printed: True everywhere, False nowhere, None on a terminal."""
    return (True if os.environ.get("FORCE_COLOR") else None) if is_colour_wanted() else False


def width() -> int:
    """Return the columns of a line."""
    columns = shutil.get_terminal_size((WIDEST, 24)).columns if sys.stdout.isatty() else WIDEST
    return max(NARROWEST, min(columns, WIDEST))


def clean(text: str) -> str:
    """Replace what a terminal would obey instead of show."""
    return _OBEYED.sub("\ufffd", text.replace("\t", "    "))


def render(what: "RenderableType") -> None:
    """Print something of rich, without the blanks it fills lines with, and with nothing in it taken for markup."""
    from rich.console import Console

    system = "auto" if is_colour_wanted() else None
    screen = Console(width=width(), color_system=system, markup=False, emoji=False, highlight=False)  # type: ignore[arg-type]
    with screen.capture() as captured:
        screen.print(what)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")), color=True)


def styled(text: str, style: str = "") -> None:
    """Print text in a style, wrapped."""
    from tocsin_cli.grid import wrap

    paint("\n".join(line for paragraph in clean(text).split("\n") for line in wrap(paragraph, width())), style)


def paint(text: str, style: str) -> None:
    """Print lines that are laid out already, in a style."""
    from tocsin_cli.grid import coloured

    click.echo("\n".join(coloured(line, style) for line in clean(text).split("\n")))


def marked(mark: "Cell", text: str) -> None:
    """Print one line of data behind a short mark in a style, however long it is."""
    from tocsin_cli.grid import coloured

    click.echo(coloured(f"{mark.text:<{MARK_COLUMNS}}", mark.style) + f"  {clean(text)}")


def raw(content: bytes) -> None:
    """Print bytes as they are, for a file or a pipe."""
    click.echo(content, nl=False)


def data(text: str = "") -> None:
    """Print text as data, however long its lines are."""
    click.echo(clean(text))


def document(value: Mapping[str, object] | Sequence[object]) -> None:
    """Print one JSON document; what a terminal would obey stands in it as an escape."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    click.echo(_ESCAPED.sub(lambda match: json.dumps(match[0])[1:-1], text))


def talk(text: str) -> None:
    """Print what a person wants to know and a script does not, to standard error."""
    click.echo(clean(text), err=True)


def hint(text: str) -> None:
    """Say what to do next, to standard error."""
    click.echo(f"{click.style('tocsin: hint:', fg='cyan')} {clean(text)}", err=True)


def problem(text: str, details: Iterable[str] = ()) -> None:
    """Say what is wrong, with a line for each detail, to standard error."""
    click.echo(f"{click.style('tocsin: error:', fg='red', bold=True)} {clean(text)}", err=True)
    for detail in details:
        click.echo("  " + clean(detail).replace("\n", "\n    "), err=True)


def warning(text: str) -> None:
    """Say what needs attention but stops nothing, to standard error."""
    click.echo(f"{click.style('tocsin: warning:', fg='yellow')} {clean(text)}", err=True)


def error(raised: "TocsinError") -> None:
    """Print what is wrong, where, its reason code, and what to do next."""
    details = () if raised.details in ((str(raised),), (raised.message,)) else raised.details
    problem(f"{raised} [{raised.reason}]", details)
    if raised.hint:
        hint(raised.hint)


def usage_error(raised: click.ClickException) -> None:
    """Print what is wrong with a command line."""
    message = " ".join(raised.format_message().split()).rstrip(".")
    context = getattr(raised, "ctx", None)
    if isinstance(raised, click.NoSuchOption) and raised.option_name in FOR_ALL and context:
        command = context.command_path.removeprefix("tocsin ")
        problem(f"{raised.option_name} stands before the command")
        hint(f"tocsin {raised.option_name} … {command} …")
        return
    problem(message[:1].lower() + message[1:])
    advice = getattr(raised, "hint", "") or (f"see {context.command_path} --help" if context else "")
    if advice:
        hint(advice)


def bug(raised: Exception) -> None:
    """Own up to a bug, without a traceback unless it is asked for."""
    if os.environ.get("TOCSIN_DEBUG"):
        traceback.print_exception(raised)
    problem(f"this is a bug in tocsin: {type(raised).__name__} [INTERNAL]")
    hint("set TOCSIN_DEBUG=1 to see where, and report it")


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print labelled values under each other, leaving out the empty ones."""
    for label, value in rows:
        if value:
            click.echo(f"{label:<{LABEL_COLUMNS}} {clean(value)}")


def progress(text: str) -> None:
    """Show how far something is, on a line that the next one overwrites; only on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{clean(text)}", err=True, nl=False, color=True)


@contextmanager
def bar(label: str, length: int) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on standard error where that is a terminal; the caller says how many more are done."""
    shown = click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())
    with shown:
        yield shown.update


def minute(seconds: int) -> str:
    """Return a time as people read it in a table: UTC, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def table(columns: "Sequence[Column]", rows: "Iterable[Sequence[Cell | str]]") -> None:
    """Print rows under headings."""
    from tocsin_cli.grid import Cell, lay_out

    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    cleaned = [[Cell(clean(cell.text), cell.style) for cell in row] for row in cells]
    click.echo("\n".join(lay_out(columns, cleaned, width=width())))
