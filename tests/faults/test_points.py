"""A node is stopped at any durable write, or its disk is full or broken: nothing is lost, doubled or half done."""

import os
import shutil
import time
from functools import cache
from pathlib import Path

import pytest

from tests.faults.pair import CANARY, OPERATIONS, A, B, make_pair, open_pair
from tests.faults.stopping import OF_THE_DISK, Driver, why_not
from tests.support.organisations import NOW
from tocsin.audit.log import verify_log
from tocsin.desk.home import open_home
from tocsin.store.model import Standing

ALL = bool(os.environ.get("TOCSIN_FAULTS"))
RESTART_SECONDS = 5.0
FAILING_TIMES = 3
# A few points in every run, all of them in `make faults`.
SAMPLED = ("post", "receive", "purge", "rotate record")
ERRORS = ("ENOSPC", "EIO")
ERROR_STEP = 6
"""Every so many writes one fails; 3 in a row do, so that half of all are hit in the end."""

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(7200 if ALL else 120),
]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Return what prepares an operation, once: the homes as it finds them, and what is there in the end."""

    @cache
    def prepare(name):
        folder = tmp_path_factory.mktemp("prepared")
        make_pair(folder)
        with open_pair(folder) as pair:
            OPERATIONS[name].prepare(pair)
            if OPERATIONS[name].unclean:
                shutil.copytree(folder, folder / "unclean", ignore=shutil.ignore_patterns("unclean"))
        return folder / "unclean" if OPERATIONS[name].unclean else folder

    return prepare


@pytest.fixture(scope="session")
def driver():
    made = Driver()
    yield made
    made.close()


@pytest.fixture
def copy(prepared, tmp_path):
    """Return what makes a copy of the homes as an operation finds them."""

    def make(name):
        shutil.rmtree(tmp_path / "homes", ignore_errors=True)
        return Path(shutil.copytree(prepared(name), tmp_path / "homes"))

    return make


@pytest.fixture
def stop(driver, copy):
    """Return what stops an operation at a point, and sees that all is well; False where there was no such point."""

    def stop_at(name, point):
        folder = copy(name)
        was_stopped = driver.stopped_at(name, folder, point)
        recover(folder, name)
        return was_stopped

    return stop_at


@pytest.fixture
def fail(driver, copy):
    """Return what lets the disk fail at a point of an operation, and sees that all is well."""

    def fail_at(name, point, error):
        folder = copy(name)
        driver.failing_at(name, folder, point, error=error, times=FAILING_TIMES)
        assert acknowledged(folder)[-1] == ["done"]
        recover(folder, name)

    return fail_at


def acknowledged(folder):
    said = folder / "said"
    return [line.split() for line in said.read_text().splitlines()] if said.exists() else []


def verify_sound(member):
    """Look whether a store fits together, its tombstones hold, and the log verifies."""
    assert not (problems := list(member.store.problems())), problems
    verify_log(member.home.log.rows(), organisation=member.home.organisation)


def verify_converged(pair):
    """Look whether both sides agree about everything that went from one to the other."""
    for one, other in ((pair.a, pair.b), (pair.b, pair.a)):
        assert one.store.logs.get(other.org).signed == other.store.logs.get(other.org).size
        assert not [row for row in one.store.logs.list() if row.stopped or one.store.logs.evidence(row.origin)]
    feed, held = pair.a.store.feeds.get(B), pair.b.store.intake.cursor(A)
    assert pair.a.store.feeds.waiting(B) == 0
    if feed is not None:
        assert (feed.feed_id, feed.head) == (held.feed_id, held.sequence)
        assert feed.acknowledged == feed.head
        given, taken = pair.b.store.receipts.last(A, given=True), pair.a.store.receipts.last(B, given=False)
        assert given.digest == taken.digest
        assert not pair.b.store.receipts.pending(A, limit=1)
        entries = pair.a.store.feeds.entries(B, after=0, limit=10_000)
        assert [entry.sequence for entry in entries] == list(range(1, feed.head + 1))
        carried = [entry.digest for entry in entries if entry.kind == "record"]
        assert len(carried) == len(set(carried)), "a record went twice"
    for digest in pair.a.store.records.own_current():
        assert pair.b.store.records.get(digest).standing is Standing.CURRENT
    own = {row[0]: row[1] for row in pair.a.store._db.rows("SELECT digest, standing FROM records")}
    for digest, standing in pair.b.store._db.rows("SELECT digest, standing FROM records"):
        assert own[digest] == standing, "both say the same of it"


def verify_acknowledged(pair, said):
    """Look whether everything is there that somebody was told is."""
    for what, *about in said:
        if what == "posted":
            assert pair.a.store.records.get(about[0]).own
        elif what == "retracted":
            (stored,) = pair.a.store.records.history(A, about[0])
            assert stored.standing in (Standing.WITHDRAWN, Standing.PURGED)
        elif what == "read":
            assert pair.b.store.logs.get(A).size >= int(about[0])
        elif what in ("made", "stored", "signed"):
            sequence = int(about[0].split(".")[1]) if about else 0
            assert pair.a.store.feeds.get(B).head >= sequence
            if what != "made":
                assert pair.b.store.intake.cursor(A).sequence >= sequence
        elif what == "refused":
            assert about[1] in ("NO_SPACE", "DISK_FAILED", "HOME_DAMAGED", "STORE_CORRUPT"), about


def verify_purged(folder, pair):
    """Look for what was purged in every file of both homes."""
    left = [pair.a.store.records.get(digest) for digest in pair.a.store.records.own_current()]
    if not left:
        for path in (path for org in (A, B) for path in (folder / org).rglob("*") if path.is_file()):
            assert CANARY.encode() not in path.read_bytes(), path


def recover(folder, name):
    """Open what was left, see that it is sound, do it again, and see that all is well."""
    said = acknowledged(folder)
    for org in (A, B):
        begun = time.monotonic()
        with open_home(folder / org, now=NOW):
            assert time.monotonic() - begun < RESTART_SECONDS
    with open_pair(folder) as pair:
        for member in (pair.a, pair.b):
            verify_sound(member)
        verify_acknowledged(pair, said)
    if name.startswith("rotate"):
        with open_home(folder / A, now=NOW) as a, open_home(folder / B, now=NOW) as b:
            b.store.peers.set_document(A, a.organisation.document)
    else:
        OPERATIONS[name].run(folder, lambda line: None)
    with open_pair(folder) as pair:
        pair.exchange()
        for member in (pair.a, pair.b):
            verify_sound(member)
        verify_acknowledged(pair, said)
        verify_converged(pair)
        if name.startswith("purge"):
            verify_purged(folder, pair)


@pytest.mark.skipif(not ALL, reason="thousands of points: make faults")
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_that_is_stopped_anywhere_loses_nothing_and_doubles_nothing(name, stop, driver, copy):
    points = driver.points_of(name, copy(name))
    stopped = [stop(name, point) for point in points]
    assert sum(stopped) >= len(points) * 9 // 10  # the last ones may be missing: what is random has no fixed size
    print(f"{name}: stopped at {sum(stopped)} points")


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sample_of_the_points_at_which_it_may_be_stopped(name, stop, driver, copy):
    points = driver.points_of(name, copy(name))
    for part in (1, 2, 3):
        assert stop(name, points[len(points) * part // 4])


@pytest.mark.skipif(not ALL, reason="hundreds of points: make faults")
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_disk_that_fails_for_a_while_is_told_and_nothing_else_comes_of_it(name, error, fail, driver, copy):
    points = driver.points_of(name, copy(name), calls=OF_THE_DISK)[::ERROR_STEP]
    for point in points:
        fail(name, point, error)
    print(f"{name}: {error} at {len(points)} points")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", ["post", "receive"])
def test_a_sample_of_the_writes_that_may_fail(name, error, fail, driver, copy):
    points = driver.points_of(name, copy(name), calls=OF_THE_DISK)
    fail(name, points[len(points) // 2], error)
