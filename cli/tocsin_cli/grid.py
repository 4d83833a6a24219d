"""This module lays text out in the columns of a screen: in lines, and in rows under headings.

    ID        SEVERITY  TITLE               FROM
    3f2b9c01  high      Tool output redir…  lab-a.example

Text is as wide as a terminal shows it: a Chinese character takes two columns,
a combining accent none.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

import click
from rich.cells import cell_len, chop_cells, set_cell_size

_GAP = 2
_LEAST = 24  # columns of a flexible column, below which a spare one has to go
_FEWEST = 12  # columns of a flexible column, below which the table is rather wider than the screen
_WORD = re.compile(r"\s*\S+\s*")


class Column(NamedTuple):
    """One column of a table: a flexible one is cut, or wrapped, where the line is too short, a spare one left out."""

    title: str
    flexible: bool = False
    right: bool = False
    wraps: bool = False
    spare: bool = False


class Cell(NamedTuple):
    """One cell of a table, with a style that only a terminal sees: a colour, `bold` or `dim`, or several of them."""

    text: str
    style: str = ""


def coloured(text: str, style: str) -> str:
    """Return text in a style such as `bold red`."""
    if not text or not style:
        return text
    words = style.split()
    colour = next((word for word in words if word not in ("bold", "dim")), None)
    return click.style(text, fg=colour, bold="bold" in words or None, dim="dim" in words or None)


def wrap(text: str, width: int) -> Iterator[str]:
    """Yield one paragraph in lines, broken between words, and inside a word that is longer than a line."""
    line = ""
    for word in _WORD.findall(text):
        length = cell_len(word.rstrip())
        if cell_len(line) + length <= width:
            line += word
            continue
        if line.strip():
            yield line.rstrip()
        *full, line = chop_cells(word, width) if length > width else (word,)
        yield from full
    yield line.rstrip()


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, width: int) -> Iterator[str]:
    """Yield the lines of a table, wider than `width` where nothing in it can be cut.

    Columns that are empty are left out, and spare ones where the line is too
    short. Only flexible ones are cut: an id or a name that is not whole is of
    no use, so the terminal may wrap the line.
    """
    table = [[Cell(column.title.upper(), "bold") for column in columns], *rows]
    used = [at for at in range(len(columns)) if not rows or any(row[at].text for row in rows)]
    widths = _widths(columns, table, used=used, width=width)
    for row in table:
        blocks = [list(_block(row[at], columns[at], width)) for at, width in widths.items()]
        for line in zip_longest(*blocks):
            parts = (part or " " * width for part, width in zip(line, widths.values(), strict=True))
            yield (" " * _GAP).join(parts).rstrip()


def _widths(
    columns: Sequence[Column], table: Sequence[Sequence[Cell]], *, used: list[int], width: int
) -> dict[int, int]:
    """Return which columns are shown, and how wide each is."""
    needed = [max(cell_len(row[at].text) for row in table) for at in range(len(columns))]
    for spare in [at for at in reversed(used) if columns[at].spare]:
        least = _LEAST if any(columns[at].flexible for at in used) else 0
        if _left(columns, needed=needed, used=used, width=width) < least:
            used.remove(spare)
    left = max(_left(columns, needed=needed, used=used, width=width), _FEWEST)
    return {at: min(needed[at], left) if columns[at].flexible else needed[at] for at in used}


def _left(columns: Sequence[Column], *, needed: Sequence[int], used: Sequence[int], width: int) -> int:
    """Return how wide each flexible column may be."""
    flexible = sum(columns[at].flexible for at in used)
    fixed = sum(needed[at] + _GAP for at in used if not columns[at].flexible)
    return (width - fixed) // max(flexible, 1) - _GAP


def _block(cell: Cell, column: Column, width: int) -> Iterator[str]:
    """Yield the lines of a cell, each as wide as its column."""
    for paragraph in cell.text.split("\n"):
        for text in wrap(paragraph, width) if column.wraps else (_cut(paragraph, width),):
            blank = " " * (width - cell_len(text.rstrip()))
            shown = coloured(text.rstrip(), cell.style)
            yield blank + shown if column.right else shown + blank


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
