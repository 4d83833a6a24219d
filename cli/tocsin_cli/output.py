"""This module prints everything: data to standard output, talk to standard error.

Text from records, peers and files is data: before a terminal sees it, every
character that a terminal would obey instead of show becomes U+FFFD. Colour is
for terminals only, and for none where NO_COLOR is set or TERM is dumb; the
words say the same without it. Lines are at most 100 columns wide.
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
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from tocsin.errors import TocsinError

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
_GAP = 2
_LEAST = 24  # columns of a flexible column, below which a spare one has to go
_FEWEST = 12  # columns of a flexible column, below which the table is rather wider than the screen

TLP_STYLES = {
    "RED": "bold red",
    "AMBER+STRICT": "yellow",
    "AMBER": "yellow",
    "GREEN": "green",
    "CLEAR": "bold",
}
SEVERITY_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow"}


class Column(NamedTuple):
    """One column of a table: a flexible one is cut, or wrapped, where the line is too short, a spare one left out."""

    title: str
    flexible: bool = False
    right: bool = False
    wraps: bool = False
    spare: bool = False


class Cell(NamedTuple):
    """One cell of a table, with a style that only a terminal sees."""

    text: str
    style: str = ""


def is_colour_wanted() -> bool:
    """Say whether anything but plain text may be printed at all."""
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Return the columns of a line."""
    columns = shutil.get_terminal_size((WIDEST, 24)).columns if sys.stdout.isatty() else WIDEST
    return max(NARROWEST, min(columns, WIDEST))


def clean(text: str) -> str:
    """Replace what a terminal would obey instead of show."""
    return _OBEYED.sub("\ufffd", text.replace("\t", "    "))


def console(columns: int = 0) -> "Console":
    """Return a console that takes text as it is: no markup, no emoji codes, no guessing of colours."""
    from rich.console import Console

    colour = "auto" if is_colour_wanted() else None
    return Console(width=columns or width(), color_system=colour, markup=False, emoji=False, highlight=False)  # type: ignore[arg-type]


def render(what: "RenderableType", *, columns: int = 0) -> None:
    """Print something of rich, without the blanks it fills lines with; as wide as the screen, or as it has to be."""
    screen = console(columns)
    with screen.capture() as captured:
        screen.print(what)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")), color=True)


def styled(text: str, style: str = "") -> None:
    """Print one paragraph in a style, wrapped."""
    from rich.text import Text

    render(Text(clean(text), style=style))


def paint(text: str, style: str) -> None:
    """Print lines that are laid out already, in a style."""
    from rich.text import Text

    if not style:
        data(text)
        return
    render(Text(clean(text), style=style, no_wrap=True, overflow="ignore"))


def marked(mark: Cell, text: str) -> None:
    """Print one line of data behind a short mark in a style, however long it is."""
    from rich.text import Text

    line = Text.assemble((f"{mark.text:<{MARK_COLUMNS}}", mark.style), f"  {clean(text)}")
    render(line, columns=max(width(), line.cell_len))


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


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell | str]]) -> None:
    """Print rows under headings, leaving out columns that are empty, and spare ones where the line is too short.

    Only flexible columns are cut: an id or a name that is not whole is of no use, so the terminal may wrap the line.
    """
    from rich.table import Table
    from rich.text import Text

    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    needed = [_needed(column, [row[at].text for row in cells]) for at, column in enumerate(columns)]
    used = [at for at in range(len(columns)) if not cells or any(row[at].text for row in cells)]
    for spare in [at for at in reversed(used) if columns[at].spare]:
        least = _LEAST if any(columns[at].flexible for at in used) else 0
        if _left(columns, needed=needed, used=used) < least:
            used.remove(spare)
    left = max(_left(columns, needed=needed, used=used), _FEWEST)
    widths = {at: min(needed[at], left) if columns[at].flexible else needed[at] for at in used}
    grid = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for at in used:
        grid.add_column(
            columns[at].title.upper(),
            width=widths[at],
            justify="right" if columns[at].right else "left",
            no_wrap=not columns[at].wraps,
            overflow="fold" if columns[at].wraps else "ellipsis",
        )
    for row in cells:
        grid.add_row(*(Text(clean(row[at].text), style=row[at].style) for at in used))
    render(grid, columns=max(width(), sum(widths.values()) + _GAP * len(used)))


def _needed(column: Column, texts: Sequence[str]) -> int:
    """Return the columns of the screen that the longest text of a column takes."""
    from rich.cells import cell_len

    return max(cell_len(clean(text)) for text in (column.title, *texts))


def _left(columns: Sequence[Column], *, needed: Sequence[int], used: Sequence[int]) -> int:
    """Return the columns of the screen that are left for each flexible column."""
    flexible = sum(columns[at].flexible for at in used)
    fixed = sum(needed[at] + _GAP for at in used if not columns[at].flexible)
    return (width() - fixed) // max(flexible, 1) - _GAP
