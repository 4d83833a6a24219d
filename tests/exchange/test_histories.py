"""lab-a shows two histories of its log, in a thousand ways: whoever was shown them finds out when they meet.

What is shown follows from its seed alone, so the one that a failure names can
be played again:

    TOCSIN_SEED=417 pytest tests/exchange/test_histories.py
"""

import os

import pytest

from tests.support.histories import Case

ALL = bool(os.environ.get("TOCSIN_FAULTS"))
CASES = 1000 if ALL else 25
SEEDS = [int(os.environ["TOCSIN_SEED"])] if "TOCSIN_SEED" in os.environ else range(CASES)


def play(case, seed):
    try:
        case.play()
    except BaseException:
        last = "\n".join(case.stage.trace[-40:])
        print(f"seed {seed} fails; play it again with TOCSIN_SEED={seed}; what happened last:\n{last}")
        raise


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fork_or_a_rollback_is_found_out_when_two_meet_who_were_shown_it(seed, tmp_path):
    play(Case(tmp_path, seed=seed), seed)
