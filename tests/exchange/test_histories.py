"""lab-a shows two histories of its log, in two thousand ways: whoever was shown them finds out when they meet.

What is shown follows from its seed alone, so the one that a failure names can
be played again:

    TOCSIN_SEED=417 pytest tests/exchange/test_histories.py
"""

import os
import subprocess
import sys

import pytest

from tests.support.equivocations import Equivocations
from tests.support.histories import Histories
from tests.support.mishaps import Mishap
from tests.support.shared import ROOT

ALL = bool(os.environ.get("TOCSIN_FAULTS"))


def seeds(in_every_run, in_all):
    if "TOCSIN_SEED" in os.environ:
        return [int(os.environ["TOCSIN_SEED"])]
    return range(in_all if ALL else in_every_run)


def play(case, seed):
    try:
        case.play()
    except BaseException:
        last = "\n".join(case.stage.trace[-40:])
        print(f"seed {seed} fails; play it again with TOCSIN_SEED={seed}; what happened last:\n{last}")
        raise
    return case.stage.fingerprint()


@pytest.mark.parametrize("seed", seeds(25, 1000))
def test_a_fork_or_a_rollback_is_found_out_when_two_meet_who_were_shown_it(seed, tmp_path):
    play(Histories(tmp_path, seed=seed), seed)


@pytest.mark.parametrize("seed", seeds(25, 1000))
def test_two_records_under_one_id_and_version_are_found_out_also_where_the_log_is_one(seed, tmp_path):
    play(Equivocations(tmp_path, seed=seed), seed)


@pytest.mark.parametrize("seed", seeds(5, 100))
def test_who_puts_a_store_back_by_mistake_and_meets_somebody_who_saw_more_goes_on_behind_it(seed, tmp_path):
    play(Mishap(tmp_path, seed=seed), seed)


_PLAY = """
import sys, tempfile
from pathlib import Path
from tests.support.equivocations import Equivocations
from tests.support.histories import Histories
for case in (Histories, Equivocations):
    with tempfile.TemporaryDirectory() as folder:
        played = case(Path(folder), seed=int(sys.argv[1]))
        played.play()
        print(played.stage.fingerprint())
"""


def test_a_seed_plays_the_same_again_in_a_process_that_hashes_otherwise(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("node", "cli", "."))}
    played = [
        subprocess.run(
            [sys.executable, "-c", _PLAY, "7"],
            env=environment | {"PYTHONHASHSEED": hash_seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert played[0] == played[1]
