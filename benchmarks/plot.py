"""This module draws how figures grow with size: a panel for each chapter, a curve for each series in it.

A curve is the median, a bar goes from the least to the greatest of the turns. A
triangle is the target at that size: the curve is to be above one that points
upwards, below one that points downwards.
"""

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from benchmarks.figures import Figure
from benchmarks.report import Chapter, number

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
STYLES = ("-", "--")
"""Colours of Okabe and Ito, told apart by people who do not see all of them; dashed where there are more curves."""
INK = "#333333"
PANEL_INCHES = (10.0, 4.2)
TICKS = (1, 1.5, 2, 3, 5)  # and ten times as much, and so on
LINE = 0.07  # between two names, as a part of a panel's height
KEY = "a bar goes from the least to the greatest of the turns;  △ is a target to be above, ▽ one to be below"

Curve = list[Figure]


def draw(chapters: Sequence[Chapter], path: Path) -> None:
    """Write a picture of all that was measured at more than one size."""
    panels = {chapter.title: curves for chapter in chapters if (curves := curves_of(chapter))}
    if not panels:
        return
    width, height = PANEL_INCHES
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(width, height * len(panels)), layout="constrained", squeeze=False
    )
    for (title, curves), panel in zip(panels.items(), axes[:, 0], strict=True):
        _draw_panel(panel, title, curves)
    figure.supxlabel(KEY, color=INK, fontsize=9)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def curves_of(chapter: Chapter) -> dict[str, Curve]:
    """Return the series of a chapter that have more than one size, in order of it."""
    series: dict[str, Curve] = {}
    for figure in chapter.figures:
        if figure.series:
            series.setdefault(figure.series, []).append(figure)
    return {
        name: sorted(curve, key=lambda figure: figure.size)
        for name, curve in series.items()
        if len({figure.size for figure in curve}) > 1
    }


def _draw_panel(panel: Axes, title: str, curves: dict[str, Curve]) -> None:
    panel.set_title(title, loc="left", color=INK, fontweight="bold")
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    panel.axhline(1, color="#999999", linewidth=0.8)
    colors = dict(zip(curves, cycle(PALETTE), strict=False))
    for place, (name, curve) in enumerate(curves.items()):
        _draw_curve(panel, curve, colors[name], STYLES[place // len(PALETTE) % len(STYLES)])
    sizes = sorted({figure.size for curve in curves.values() for figure in curve})
    panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
    panel.yaxis.set_major_locator(LogLocator(subs=TICKS))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.minorticks_off()
    panel.set_ylabel(f"to {next(iter(curves.values()))[0].of}", fontsize=8)
    _name_curves(panel, curves, colors)


def _draw_curve(panel: Axes, curve: Curve, color: str, style: str) -> None:
    sizes = [figure.size for figure in curve]
    medians = [figure.ratio.median for figure in curve]
    panel.plot(sizes, medians, color=color, linestyle=style, marker="o", markersize=5)
    panel.vlines(sizes, [figure.ratio.least for figure in curve], [figure.ratio.most for figure in curve], color=color)
    for figure in curve:
        for target, marker in ((figure.at_least, "^"), (figure.at_most, "v")):
            if target is not None:
                panel.plot(figure.size, target, marker=marker, color=color, markerfacecolor="white", markersize=8)


def _name_curves(panel: Axes, curves: dict[str, Curve], colors: dict[str, str]) -> None:
    """Write the name of each curve beside its end, no two over each other."""
    panel.autoscale_view()
    low, high = (math.log(limit) for limit in panel.get_ylim())
    places = {name: (math.log(curve[-1].ratio.median) - low) / (high - low) for name, curve in curves.items()}
    taken = -math.inf
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        taken = max(place, taken + LINE)
        panel.text(
            1.02,
            taken,
            f"{name}: {number(curves[name][-1].ratio.median)}",
            transform=panel.transAxes,
            color=colors[name],
            va="center",
        )
