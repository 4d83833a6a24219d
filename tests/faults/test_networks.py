"""Five real nodes in networks of their own, whose links are cut, lose packets one way, and go silent for long."""

import os
import time
from contextlib import ExitStack

import pytest

from tests.support.networks import cut, hosts, mend, why_not
from tests.support.nodes import make_place
from tests.support.processes import desk, held, introduce, post, serving, usage, wait_until

NODES = 5
LONG = bool(os.environ.get("TOCSIN_FAULTS"))
HALF_OPEN_SECONDS = 600 if LONG else 3
CONVERGED_SECONDS = 180
# Caches fill and threads are made as they are needed; what grows with each fault grows by more.
MORE_MEMORY = 32 * 1024 * 1024
MORE_DESCRIPTORS = 24

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(HALF_OPEN_SECONDS + 600),
]


@pytest.fixture
def federation(tmp_path):
    """Return hosts, places, their processes, and a function that posts at one and says what was posted in all."""
    with ExitStack() as running:
        networks = running.enter_context(hosts(NODES))
        places = [
            make_place(tmp_path, f"lab-{number}.example", listen=f"{host.address}:7470")
            for number, host in enumerate(networks, 1)
        ]
        introduce(places)
        processes = [
            running.enter_context(
                serving(place, log=tmp_path / f"{place.org}.log", inside=host.inside, retry_cap_seconds=2)
            )
            for place, host in zip(places, networks, strict=True)
        ]
        desks = [running.enter_context(desk(place)) for place in places]
        yield networks, places, processes, desks


def converged(places, posted):
    wait_until(lambda: all(held(place) == posted for place in places), seconds=CONVERGED_SECONDS)


def test_five_nodes_converge_after_cuts_loss_one_way_and_silence_and_use_no_more_than_before(federation):
    networks, places, processes, desks = federation
    posted = set()

    def everybody_posts(round_):
        for number, stub in enumerate(desks):
            posted.update(post(stub, *(f"{round_} {number} {each}" for each in range(4))))

    everybody_posts("before")
    converged(places, posted)
    before = [usage(process) for process in processes]

    cut(networks[0], networks[1])
    cut(networks[2], networks[3])
    everybody_posts("cut")
    wait_until(lambda: len(held(places[4])) == len(posted), seconds=CONVERGED_SECONDS)  # nobody else waits for them
    mend(networks[0], networks[1])
    mend(networks[2], networks[3])
    converged(places, posted)

    networks[1].lose(networks[0])  # answers get lost, questions arrive
    everybody_posts("one way")
    networks[1].reach(networks[0])
    converged(places, posted)

    for other in networks[1:]:
        cut(networks[0], other)
    everybody_posts("half open")
    time.sleep(HALF_OPEN_SECONDS)
    assert len(held(places[0])) < len(posted)
    for other in networks[1:]:
        mend(networks[0], other)
    converged(places, posted)

    for process, was in zip(processes, before, strict=True):
        now = usage(process)
        assert process.poll() is None
        assert now.threads <= was.threads + 32 + 8, (was, now)  # the executor's threads are made as they are needed
        assert now.descriptors <= was.descriptors + MORE_DESCRIPTORS, (was, now)
        assert now.memory <= was.memory + MORE_MEMORY, (was, now)
