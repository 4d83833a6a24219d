"""What is measured: a figure says by itself whether it holds, and none is lost between a run and its page."""

import importlib
import io
import itertools

import pytest
from benchmarks.__main__ import CHAPTERS
from benchmarks.figures import Figure, percentile, ratio_of, spread, take_turns
from benchmarks.report import Chapter, load, markdown, print_table, save
from rich.console import Console

from tests.support.shared import ROOT

FAST = Figure("verify", spread([0.8, 0.6, 0.9]), of="raw", at_least=0.7, plain="9 a second")
SLOW = Figure("a call", spread([21.0]), of="an idle one", at_most=20)
KNOWN = Figure("issue", spread([1.0, 2.0]), of="the reference")
CHAPTER = Chapter("verify", "Verify", "What is done.", (FAST, SLOW, KNOWN), when="Measured today.")


def test_a_figure_holds_by_its_median_and_one_without_a_target_says_nothing():
    assert [figure.holds for figure in (FAST, SLOW, KNOWN)] == [True, False, None]


def test_a_ratio_is_taken_within_a_turn_so_what_slows_the_machine_for_a_while_slows_both():
    slowed = {"ours": [1.0, 10.0, 1.0], "theirs": [3.0, 30.0, 3.0]}
    assert ratio_of(slowed, "theirs", "ours") == (3.0, 3.0, 3.0, 3)


def test_who_begins_changes_from_turn_to_turn():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    found = take_turns(3, works)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [len(seconds) for seconds in found.values()] == [3, 3]


def test_a_piece_of_work_may_say_itself_how_long_it_took():
    times = itertools.count(5.0)
    assert take_turns(2, {"work": lambda: next(times)}) == {"work": [5.0, 6.0]}


def test_the_99th_percentile_of_a_hundred_is_the_greatest_and_that_of_a_thousand_is_not():
    assert percentile(range(100), 0.99) == 99
    assert percentile(range(1000), 0.99) == 990


def test_a_chapter_that_was_kept_is_the_same_again(tmp_path):
    save(CHAPTER, tmp_path / "kept" / "verify.json")
    assert load(tmp_path / "kept" / "verify.json") == CHAPTER
    assert load(tmp_path / "kept" / "log.json") is None


def test_what_falls_short_is_said_as_plainly_as_what_holds():
    page = markdown([CHAPTER], machine=["2 cores"], command="make bench-full", remarks="")
    assert "| verify | 0.80 | raw | 0.60 – 0.90 | 3 | ≥ 0.70 | yes |" in page
    assert "| a call | 21.0 | an idle one | 21.0 – 21.0 | 1 | ≤ 20.0 | NO |" in page
    assert "| issue | 1.50 | the reference | 1.00 – 2.00 | 2 |  |  |" in page
    assert "- verify: 9 a second" in page


def test_a_chapter_that_could_not_be_measured_says_why_on_the_page_and_on_the_terminal():
    failed = Chapter("log", "A log", "Of what.", (), failed="RuntimeError: no room")
    assert "Not measured: RuntimeError: no room" in markdown([failed], machine=[], command="", remarks="")
    terminal = io.StringIO()
    print_table([failed], Console(file=terminal, width=120))
    assert "not measured: RuntimeError: no room" in terminal.getvalue()


def test_the_readme_quotes_five_figures_as_they_stand_in_the_results():
    readme, results = ((ROOT / page).read_text() for page in ("README.md", "benchmarks/RESULTS.md"))
    section = readme.partition("## What it costs")[2].partition("\n## ")[0]
    quoted = [cells(line) for line in section.splitlines() if line.startswith("| ")][1:]
    measured = {(name, ratio, of, target, holds) for name, ratio, of, _, _, target, holds in rows(results)}
    missed, held = (sum(row[-1] == said for row in rows(results)) for said in ("NO", "yes"))
    assert len(quoted) == 5
    assert f"{missed} of {missed + held} targets are missed" in readme.replace("\n  ", " ")
    assert [row for row in quoted if row not in measured] == []
    assert "`make bench`" in section


def rows(page):
    return [row for line in page.splitlines() if line.startswith("| ") and len(row := cells(line)) == 7]


def cells(line):
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_says_what_it_measures_before_it_does(name):
    chapter = importlib.import_module(f"benchmarks.{name}")
    assert chapter.TITLE
    assert chapter.ABOUT
    assert callable(chapter.measure)
