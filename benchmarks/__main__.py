"""This module runs the chapters, prints their figures, and writes them down when it measured the large sizes."""

import argparse
import importlib
import os
import platform
import signal
import sqlite3
import ssl
import subprocess
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figure, Scale
from benchmarks.progress import Steps
from benchmarks.report import Chapter, load, markdown, print_table, save

HERE = Path(__file__).parent
KEPT = HERE / ".cache" / "full"
sys.path.append(str(HERE / ".cache" / "plot"))  # matplotlib lies there, out of the way of all that is measured
CHAPTERS = ("ingest", "parts", "verify", "taxii", "visible", "scale", "memory", "peers", "policy", "command", "log")
"""In this order; each is a module of this package."""
WRITTEN = ("benchmarks/RESULTS.md", "benchmarks/growth.png")
VERSIONS = ("cryptography", "pynacl", "grpcio", "protobuf", "orjson")


def main() -> int:
    """Measure, print, and write down; 1 where a chapter could not be measured."""
    asked = _arguments()
    scale = Scale(full=asked.full, runs=asked.runs)
    with Steps() as steps:
        measure = _measure_once if asked.full and not asked.chapters else _measure
        chapters = [measure(name, scale, steps) for name in asked.chapters or CHAPTERS]
    console = Console(width=None if sys.stdout.isatty() else 160)
    print_table(chapters, console)
    console.print(*_machine(), *(f"{one.title}: {one.when}" for one in chapters), sep="\n", highlight=False)
    if asked.full:
        _write()
    return 1 if any(chapter.failed for chapter in chapters) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, chapter by chapter.")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=f"one of {', '.join(CHAPTERS)} (default: all)")
    parser.add_argument(
        "--full",
        action="store_true",
        help="also the large sizes; writes RESULTS.md and the plot, and goes on where it was interrupted: "
        "a chapter that was measured is measured again where it is named",
    )
    parser.add_argument(
        "--runs", type=int, default=Scale().runs, help="turns of what alternates (default: %(default)s)"
    )
    asked = parser.parse_args()
    if asked.full and not find_spec("matplotlib"):
        parser.error("--full draws a plot with matplotlib, which `make bench-full` installs")
    if asked.runs < 1:
        parser.error("at least one turn is needed")
    if unknown := set(asked.chapters) - set(CHAPTERS):
        parser.error(f"no such chapter: {', '.join(sorted(unknown))}")
    return asked


def _measure_once(name: str, scale: Scale, steps: Steps) -> Chapter:
    """Return a chapter as it was measured before, or measure it."""
    if kept := load(KEPT / f"{name}.json"):
        steps.say(f"{kept.title}: was measured before ({kept.when})")
    return kept or _measure(name, scale, steps)


def _measure(name: str, scale: Scale, steps: Steps) -> Chapter:
    """Measure one chapter; what goes wrong in it does not keep the others from being measured."""
    module = importlib.import_module(f"benchmarks.{name}")
    figures: list[Figure] = []
    failed = ""
    steps.say(module.TITLE)
    before, state = _ticks(), _commit()
    try:
        for figure in module.measure(scale, steps):
            figures.append(figure)
            steps.say(f"  {figure.name}: {figure.ratio.median:.2f} of {figure.of}")
    except Exception as error:  # noqa: BLE001  (the other chapters are still worth their time)
        traceback.print_exc()
        failed = f"{type(error).__name__}: {error}"
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d}{state}, on {_processor()}; {_stolen(before, _ticks())}."
    chapter = Chapter(name, module.TITLE, module.ABOUT, tuple(figures), failed, when)
    if scale.full and not failed:
        save(chapter, KEPT / f"{name}.json")
    return chapter


def _write() -> None:
    """Write down every chapter as it was measured with the large sizes, once all of them were."""
    from benchmarks.plot import draw

    kept = {name: load(KEPT / f"{name}.json") for name in CHAPTERS}
    chapters = [chapter for chapter in kept.values() if chapter]
    if missing := [name for name, chapter in kept.items() if chapter is None]:
        print(f"{WRITTEN[0]} is written when these are measured as well: {' '.join(missing)}", file=sys.stderr)
        return
    remarks = (HERE / "LIMITS.md").read_text()
    page, plot = (HERE.parent / name for name in WRITTEN)
    page.write_text(
        markdown(chapters, machine=_machine(), command="make bench-full", remarks=remarks), encoding="utf-8"
    )
    draw(chapters, plot)


def _machine() -> tuple[str, ...]:
    """Say what machine it is, and the versions of what the figures depend on."""
    return (
        f"{_processor()}, {platform.system()} {platform.release().partition('-')[0]}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {ssl.OPENSSL_VERSION} (of Python)",
        ", ".join(f"{name} {version(name)}" for name in VERSIONS),
    )


def _processor() -> str:
    """Say which processor it is, and how many cores of it there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if "model name" in line)
    return f"{os.cpu_count()} cores of {next(models, platform.processor())}"


def _ticks() -> tuple[int, ...]:
    """Return what the cores have done so far, as /proc/stat counts it: user, nice, system, idle, …, steal eighth."""
    return tuple(int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:9])


def _stolen(before: Sequence[int], after: Sequence[int]) -> str:
    """Say how much of the time when there was work a virtual machine was not let run: figures suffer by it."""
    user, nice, system, _, _, *interrupts, steal = (now - then for then, now in zip(before, after, strict=True))
    worked = user + nice + system + sum(interrupts)
    return (
        f"of the time in which there was work, the machine's host gave {steal / max(1, worked + steal):.0%} to others"
    )


def _commit() -> str:
    """Say which state of the repository is measured, whatever was written down of it; nothing where it is none."""
    found = _git("rev-parse", "--short", "HEAD").stdout.strip()
    is_changed = _git("diff", "--quiet", "HEAD", "--", ".", *(f":!{name}" for name in WRITTEN)).returncode
    return f" at {found}{'-dirty' if is_changed else ''}" if found else ""


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=HERE.parent, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends with it
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; what --full has measured by now is kept", file=sys.stderr)
        sys.exit(130)
