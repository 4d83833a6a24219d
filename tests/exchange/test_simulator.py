"""Five nodes, and everything that can happen to them: whatever it was, they come to hold what policy says.

A schedule follows from its seed alone, so the one that a failure names can be
played again:

    TOCSIN_SEED=417 pytest tests/exchange/test_simulator.py
"""

import os
import subprocess
import sys

import pytest

from tests.support.schedules import Schedule
from tests.support.shared import ROOT
from tests.support.simulator import AISI, BEGINNING, LAB_A, LAB_B, PRESS, UNIVERSITY

ALL = bool(os.environ.get("TOCSIN_FAULTS"))
SCHEDULES = 1000 if ALL else 20
SEEDS = [int(os.environ["TOCSIN_SEED"])] if "TOCSIN_SEED" in os.environ else range(SCHEDULES)

_PLAY = """
import sys, tempfile
from pathlib import Path
from tests.support.schedules import Schedule
with tempfile.TemporaryDirectory() as folder:
    schedule = Schedule(Path(folder), seed=int(sys.argv[1]))
    schedule.play()
    print(schedule.federation.fingerprint())
"""


def play(folder, seed):
    schedule = Schedule(folder, seed=seed)
    try:
        schedule.play()
    except BaseException:
        last = "\n".join(schedule.federation.trace[-40:])
        print(f"seed {seed} fails; play it again with TOCSIN_SEED={seed}; what happened last:\n{last}")
        raise
    return schedule.federation.fingerprint()


@pytest.mark.parametrize("seed", SEEDS)
def test_everybody_comes_to_hold_what_policy_says(seed, tmp_path):
    play(tmp_path, seed)


JUMPS = {"a day on": 86_400, "a day back": -86_400, "to 1970": 10 - BEGINNING, "to 2100": 4_102_444_800 - BEGINNING}


@pytest.mark.parametrize("org", [LAB_A, UNIVERSITY] if ALL else [LAB_A])
@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_was_anywhere_and_is_right_again_has_lost_nothing_and_shut_nobody_out(jump, org, tmp_path):
    def jumps(schedule):
        schedule.federation.nodes[org].skew = JUMPS[jump]

    def is_set(schedule):
        schedule.federation.nodes[org].skew = 0

    before, wrong = [Schedule.post] * 4, [Schedule.wait, Schedule.kill, Schedule.start, Schedule.wait] * 2
    Schedule(tmp_path, seed=1).play([*before, jumps, *wrong, is_set, *before, jumps, *wrong, is_set, Schedule.wait])


@pytest.mark.parametrize("org", [LAB_A, UNIVERSITY])
def test_a_store_that_was_put_back_is_found_out_also_where_nobody_has_anything_new_to_say(org, tmp_path):
    def keep_copy(schedule):
        schedule.federation.nodes[org].keep_copy()

    def put_back(schedule):
        schedule.federation.nodes[org].put_back()

    said = [*[Schedule.post] * 4, Schedule.wait, Schedule.amend, Schedule.take_back, Schedule.wait]
    Schedule(tmp_path, seed=1).play([*said, keep_copy, *said, *[Schedule.wait] * 4, put_back, Schedule.wait])


def test_what_only_a_reader_has_heard_comes_back_from_it_also_where_it_cannot_call(tmp_path):
    heard = []

    def leave_alone(schedule):
        for org in (LAB_A, LAB_B, AISI):
            schedule.federation.nodes[org].kill()

    def keep_copy(schedule):
        schedule.federation.nodes[UNIVERSITY].keep_copy()

    def put_back(schedule):
        node = schedule.federation.nodes[UNIVERSITY]
        entries = node.store.feeds.entries(PRESS, after=0, limit=99)
        heard.extend(entry for entry in entries if entry.kind == "retraction")
        node.put_back()

    def is_known_again(schedule):
        assert heard, "the reader was told of what was taken back"
        store = schedule.federation.nodes[UNIVERSITY].store
        assert all(store.retractions.of(UNIVERSITY, store.records.get(entry.digest).record_id) for entry in heard)

    said = [leave_alone, *[Schedule.post] * 4, *[Schedule.wait] * 4, keep_copy, Schedule.take_back]
    Schedule(tmp_path, seed=3).play([*said, *[Schedule.wait] * 8, put_back, *[Schedule.wait] * 30, is_known_again])


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
    assert played[0].strip() == play(tmp_path, 7)
