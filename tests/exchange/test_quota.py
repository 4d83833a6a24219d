"""What one peer may cost us: each limit alone, on clocks that a test sets."""

from types import SimpleNamespace

import pytest

from tocsin.errors import QuotaExceeded
from tocsin.exchange.entry import PageEntry
from tocsin.exchange.quota import Budget, verify_quota, within_quota
from tocsin.policy.clauses import Accept
from tocsin.store.model import EntryKind, Taken

EVERY = frozenset({"finding"})
LAB, OTHER = "lab-b.example", "aisi.example"
NOW = 1_800_000_000
MIB = 2**20


class Clocks:
    """A clock that goes on, and the work of a thread."""

    def __init__(self):
        self.now = self.work = 0.0


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def budget(clocks):
    return Budget(20, monotonic=lambda: clocks.now, spent=lambda: clocks.work)


def work(budget, clocks, seconds, *, peer=LAB):
    with budget.spending(peer):
        clocks.work += seconds


class TestBudget:
    def test_who_has_spent_it_is_refused_before_anything_is_done(self, budget, clocks):
        work(budget, clocks, 20)
        with pytest.raises(QuotaExceeded) as refused:
            work(budget, clocks, 1)
        assert refused.value.reason == "QUOTA_EXCEEDED"
        assert int(refused.value.metadata["retry_after_seconds"]) >= 1
        assert clocks.work == 20

    def test_pages_that_end_at_once_are_all_counted(self, budget, clocks):
        others = []

        class Lock:
            """Lets another thread do its work wherever it is let go."""

            def __enter__(self):
                return self

            def __exit__(self, *_):
                if others:
                    others.pop()()

        budget._lock = Lock()
        with budget.spending(LAB):
            clocks.work += 10
            others.append(lambda: work(budget, clocks, 10))
        with pytest.raises(QuotaExceeded):
            work(budget, clocks, 1)

    def test_it_comes_back_evenly_over_a_minute(self, budget, clocks):
        work(budget, clocks, 26)
        clocks.now += 15  # five seconds are back
        with pytest.raises(QuotaExceeded) as refused:
            work(budget, clocks, 1)
        clocks.now += int(refused.value.metadata["retry_after_seconds"])
        work(budget, clocks, 1)
        clocks.now += 600
        work(budget, clocks, 19)
        work(budget, clocks, 1)

    def test_one_peer_spends_nothing_of_anothers(self, budget, clocks):
        work(budget, clocks, 500)
        work(budget, clocks, 1, peer=OTHER)

    def test_what_fails_is_counted_as_well(self, budget, clocks):
        def spend():
            with budget.spending(LAB):
                clocks.work += 20
                raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011
            spend()
        with pytest.raises(QuotaExceeded):
            spend()


def store_with(entries, size):
    return SimpleNamespace(intake=SimpleNamespace(taken_within=lambda peer, seconds, now: Taken(entries, size)))


def entry(size):
    return PageEntry(1, EntryKind.RECORD, presentation="x" * size)


FULL = {"records": (10, 0), "bytes": (1, 3 * MIB)}


@pytest.mark.parametrize(("entries", "size"), FULL.values(), ids=FULL)
def test_an_hour_that_is_full_is_full_whatever_comes(entries, size):
    with pytest.raises(QuotaExceeded) as refused:
        verify_quota(store_with(entries, size), LAB, accept=Accept(EVERY, 10, 3), now=NOW)
    assert int(refused.value.metadata["retry_after_seconds"]) > 0


FITTING = {
    "all of it": (0, 0, [100] * 3, 3),
    "as many records as are left": (8, 0, [100] * 3, 2),
    "as many bytes as are left": (0, 2 * MIB, [MIB // 2, MIB // 4, MIB // 2], 2),
    "a large one in an hour in which nothing came": (0, 0, [5 * MIB, 100], 1),
    "no large one where something came": (1, 100, [5 * MIB], 0),
}


@pytest.mark.parametrize(("entries", "size", "sizes", "fit"), FITTING.values(), ids=FITTING)
def test_a_page_is_taken_up_to_where_the_hour_is_full(entries, size, sizes, fit):
    page = [entry(one) for one in sizes]
    taken = within_quota(store_with(entries, size), page, LAB, accept=Accept(EVERY, 10, 3), now=NOW)
    assert len(taken) == fit


def test_void_entries_cost_nothing():
    page = [PageEntry(number, EntryKind.VOID) for number in range(1, 50)]
    assert len(within_quota(store_with(9, 0), page, LAB, accept=Accept(EVERY, 10, 3), now=NOW)) == 49
