"""This module writes figures down: as a table on the terminal, and as benchmarks/RESULTS.md.

A chapter of the large sizes takes an hour or more. So each is kept as it is
measured, and a run that was interrupted goes on where it ended.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Ratio

_VERDICT = {True: "yes", False: "NO", None: ""}


@dataclass(frozen=True, slots=True)
class Chapter:
    """What one chapter measured, and when, and of what; `failed` says why it could not."""

    name: str
    title: str
    about: str
    figures: tuple[Figure, ...]
    failed: str = ""
    when: str = ""


def save(chapter: Chapter, path: Path) -> None:
    """Keep a chapter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(chapter), indent=1))


def load(path: Path) -> Chapter | None:
    """Return a chapter that was kept, or None."""
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    figures = tuple(Figure(**{**figure, "ratio": Ratio(*figure["ratio"])}) for figure in kept.pop("figures"))
    return Chapter(**kept, figures=figures)


def print_table(chapters: Sequence[Chapter], console: Console) -> None:
    """Print a line for each figure, its target beside it."""
    table = Table(title="median of the turns, and the least and greatest of them", title_justify="left")
    for column in ("figure", "ratio", "of", "from", "to", "turns", "target", "holds"):
        table.add_column(column, justify="left" if column in ("figure", "of", "holds") else "right")
    for chapter in chapters:
        table.add_section()
        for figure in chapter.figures:
            table.add_row(figure.name, *cells(figure))
        if chapter.failed:
            table.add_row(chapter.title, "", "", "", "", "", "", f"not measured: {chapter.failed}")
    console.print(table)


def cells(figure: Figure) -> tuple[str, ...]:
    """Return what stands behind the name of a figure."""
    ratio = figure.ratio
    return (
        number(ratio.median),
        figure.of,
        number(ratio.least),
        number(ratio.most),
        str(ratio.count),
        target(figure),
        _VERDICT[figure.holds],
    )


def target(figure: Figure) -> str:
    """Return what a figure is to reach."""
    if figure.at_least is not None:
        return f"≥ {number(figure.at_least)}"
    return "" if figure.at_most is None else f"≤ {number(figure.at_most)}"


def number(value: float) -> str:
    """Return a ratio with as many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(chapters: Sequence[Chapter], *, machine: Sequence[str], command: str, remarks: str) -> str:
    """Return the results as a page: the machine, the table of each chapter, and where the time goes."""
    parts = ["# Results", "", f"Made by `{command}`, in the end on:", "", *(f"- {line}" for line in machine), ""]
    parts += ["Each chapter says at which state of the repository it was measured, and on which machine.", ""]
    parts += ["What stands under a table is the same in absolute terms, mostly of the best turn.", ""]
    parts += ["![How the figures grow with size](growth.png)", "", remarks.strip(), ""]
    for chapter in chapters:
        parts += [f"## {chapter.title}", "", chapter.about.strip(), ""]
        parts += [chapter.when, ""] if chapter.when else []
        if chapter.failed:
            parts += [f"Not measured: {chapter.failed}", ""]
        if chapter.figures:
            parts += ["| | ratio | of | least – greatest | turns | target | holds |", "|---|--:|---|--:|--:|--:|---|"]
            parts += [_row(figure) for figure in chapter.figures]
            parts += [""]
            notes = [f"- {figure.name}: {text}" for figure in chapter.figures if (text := _notes(figure))]
            parts += [*notes, ""] if notes else []
    return "\n".join(parts).rstrip() + "\n"


def _row(figure: Figure) -> str:
    median, of, least, most, turns, wanted, verdict = cells(figure)
    return f"| {figure.name} | {median} | {of} | {least} – {most} | {turns} | {wanted} | {verdict} |"


def _notes(figure: Figure) -> str:
    return "; ".join(text for text in (figure.plain, figure.note) if text)
