"""Fetching from peers on demand, side by side."""

import asyncio

import pytest

from tests.desk.conftest import AISI, LAB_B
from tests.support.organisations import found
from tocsin.errors import NotFound, PeerPending, PeerSuspended, PeerUnreachable
from tocsin.exchange.progress import Progress
from tocsin.v1 import desk_service_pb2 as v1


@pytest.fixture
def two_peers(root, open_office):
    """Return a function that opens a home with two peers and a puller."""

    def opening(puller):
        office = open_office(root, puller=puller)
        for org in (LAB_B, AISI):
            peer = found(org, endpoints=(f"{org}:7443",))
            fingerprint = peer.organisation.fingerprint
            office.desk.add_peer(v1.AddPeerRequest(document=peer.document, fingerprint=fingerprint), office.me)
        return office

    return opening


def sync(office, *peers: str) -> list[v1.SyncPeersResponse]:
    async def run() -> list[v1.SyncPeersResponse]:
        return [line async for line in office.desk.sync_peers(v1.SyncPeersRequest(peers=peers), office.me)]

    return asyncio.run(run())


async def brings_two_pages(org):
    yield Progress(records=1)
    yield Progress(records=2, refused=1)


async def brings_nothing(org):
    for _ in ():
        yield Progress()


async def aisi_is_down(org):
    yield Progress(records=1)
    if org == AISI:
        raise PeerUnreachable(f"{org} cannot be reached", where="aisi.example:7443", hint="look whether it is up")


def test_every_page_is_told_and_the_end_of_each_peer(two_peers):
    lines = sync(two_peers(brings_two_pages))
    for org in (LAB_B, AISI):
        own = [line for line in lines if line.peer == org]
        assert [(line.records, line.refused, line.done) for line in own] == [(1, 0, False), (2, 1, False), (2, 1, True)]


def test_a_peer_with_nothing_new_ends_with_zeros(two_peers):
    assert sync(two_peers(brings_nothing), LAB_B) == [v1.SyncPeersResponse(peer=LAB_B, done=True)]


def test_a_peer_that_fails_says_why_and_the_others_go_on(two_peers):
    last = {line.peer: line for line in sync(two_peers(aisi_is_down)) if line.done}
    assert last[AISI].error_reason == "PEER_UNREACHABLE"
    assert last[AISI].error_message == "aisi.example:7443: aisi.example cannot be reached"
    assert last[AISI].error_hint == "look whether it is up"
    assert last[AISI].records == 1
    assert last[LAB_B].error_reason == ""


def test_a_slow_peer_holds_up_nobody(two_peers):
    released = []

    async def slow_b(org):
        if org == LAB_B:
            while not released:
                await asyncio.sleep(0)
        yield Progress(records=1)
        released.append(org)

    last = [line.peer for line in sync(two_peers(slow_b)) if line.done]
    assert last == [AISI, LAB_B]


def test_a_bug_in_a_puller_is_raised_and_not_waited_for(two_peers):
    async def broken(org):
        yield Progress()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sync(two_peers(broken))


def test_whoever_stops_listening_stops_the_fetching(two_peers):
    ended = []

    async def endless(org):
        try:
            while True:
                yield Progress()
                await asyncio.sleep(0)
        finally:
            ended.append(org)

    office = two_peers(endless)

    async def run() -> None:
        lines = office.desk.sync_peers(v1.SyncPeersRequest(), office.me)
        await anext(lines)
        await lines.aclose()

    asyncio.run(run())
    assert sorted(ended) == [AISI, LAB_B]


def test_only_active_peers_with_an_endpoint_are_asked(two_peers):
    office = two_peers(brings_nothing)
    office.add_peer("lab-c.example")  # says no endpoint
    office.desk.suspend_peer(v1.SuspendPeerRequest(org=AISI), office.me)
    assert {line.peer for line in sync(office)} == {LAB_B}


def test_a_peer_named_twice_is_asked_once(two_peers):
    assert [line.peer for line in sync(two_peers(brings_nothing), AISI, AISI)] == [AISI]


def test_a_peer_that_cannot_be_asked_is_refused_before_anything_is_fetched(two_peers):
    asked = []

    async def noted(org):
        asked.append(org)
        yield Progress()

    office = two_peers(noted)
    office.add_peer("lab-c.example", confirmed=False)
    office.desk.suspend_peer(v1.SuspendPeerRequest(org=AISI), office.me)
    for named, error in {"lab-c.example": PeerPending, AISI: PeerSuspended, "nobody.example": NotFound}.items():
        with pytest.raises(error):
            sync(office, LAB_B, named)
    assert asked == []
