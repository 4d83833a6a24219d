"""Three whole nodes over mutual TLS: what one posts, the others hold."""

import asyncio
import logging

import grpc.aio
import pytest

from tests.support.nodes import SHARES_EVERYTHING, federation, make_place, put_policy, running, until
from tests.support.wire import now
from tocsin.errors import PeerRefused, PeerUnreachable
from tocsin.exchange import timekeeper
from tocsin.exchange.peer import PEER_REASON
from tocsin.people.act import Act
from tocsin.people.person import Role
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import exchange_service_pb2

LAB_A, LAB_B, AISI = "lab-a.example", "lab-b.example", "aisi.example"


@pytest.fixture
def three(tmp_path):
    return [make_place(tmp_path, org) for org in (LAB_A, LAB_B, AISI)]


def test_a_record_that_is_posted_reaches_every_partner_live(three):
    async def run():
        async with federation(three) as (a, b, c):
            await a.post("one", "two")
            await until(lambda: _all_hold({"one", "two"}, b, c))
            await b.post("three")
            await until(lambda: _all_hold({"one", "two", "three"}, a, b, c))
            await until(lambda: _acknowledged(a, b.place, 2))

    asyncio.run(run())


async def _all_hold(titles, *nodes) -> bool:
    return all([await node.titles() == titles for node in nodes])


async def _acknowledged(node, partner, count) -> bool:
    return (await node.peer(partner)).entries_acknowledged == count


def test_sync_fetches_everything_once(three):
    async def run():
        async with federation(three, pull=False) as (a, b, _):
            await a.post(*(f"record {number}" for number in range(20)))
            first = await b.sync()
            assert (first[LAB_A].records, first[LAB_A].done, first[LAB_A].error_reason) == (20, True, "")
            assert first[AISI].done
            second = await b.sync()
            assert (second[LAB_A].records, second[LAB_A].unchanged) == (0, 0)
            assert (await b.peer(a.place)).records_received == 20
            assert (await a.peer(b.place)).entries_acknowledged == 20

    asyncio.run(run())


def test_a_backlog_of_many_pages_arrives_in_order(three):
    async def run():
        async with federation(three[:2], pull=False) as (a, b):
            for start in range(0, 600, 200):
                await a.post(*(f"record {number}" for number in range(start, start + 200)))
            assert (await b.sync(a.place))[LAB_A].records == 600

    asyncio.run(run())


def test_a_node_that_was_down_catches_up(three):
    async def run():
        async with federation(three) as (a, b, _):
            await a.post("before")
            await until(lambda: _all_hold({"before"}, b))
        async with running(three[0]) as a:
            await a.post("meanwhile")
        async with running(three[0]) as a, running(three[1]) as b:
            await until(lambda: _all_hold({"before", "meanwhile"}, a, b))

    asyncio.run(run())


def test_a_reader_reads_and_may_not_publish(three):
    async def run():
        lab, _, reader = three
        put_policy(lab, reader)
        put_policy(reader, lab)
        async with running(lab) as a, running(reader) as c:
            await a.know(reader, role=v1.PEER_ROLE_READER)
            await c.know(lab)
            await a.post("for all")
            await until(lambda: _all_hold({"for all"}, c))
            async with c.client_of(lab) as client:
                with pytest.raises(PeerRefused) as caught:
                    await client.deliver(exchange_service_pb2.Page(), last_receipt="")
            assert caught.value.metadata[PEER_REASON] == "NOT_PERMITTED"
            await c.post("by the reader")
            assert (await a.sync(reader))[AISI].records == 0
            assert await a.titles() == {"for all"}

    asyncio.run(run())


def test_a_removed_peer_gets_nothing_more_over_the_stream_and_the_connection_it_has(three):
    async def run():
        async with federation(three, pull=False) as (a, b, _), b.client_of(a.place) as client:
            stream = client.subscribe("")
            assert not (await anext(stream)).HasField("page")
            await a.post("first")
            while not (await anext(stream)).HasField("page"):
                pass
            await a.desk.RemovePeer(v1.RemovePeerRequest(org=LAB_B))
            with pytest.raises(PeerRefused) as caught:
                await asyncio.wait_for(_read_on(stream), timeout=5)
            assert caught.value.metadata[PEER_REASON] == "PIN_MISMATCH"
            with pytest.raises(PeerRefused):
                await client.pull("")

    asyncio.run(run())


async def _read_on(stream) -> None:
    async for _ in stream:
        pass


def test_a_suspended_peer_is_told_so_and_catches_up_when_it_is_resumed(three):
    async def run():
        async with federation(three) as (a, b, _):
            await until(lambda: _error(b, a.place, ""))
            await a.desk.SuspendPeer(v1.SuspendPeerRequest(org=LAB_B))
            await until(lambda: _error(b, a.place, "PEER_REFUSED"))
            await a.post("meanwhile")
            assert await b.titles() == set()
            await a.desk.ResumePeer(v1.ResumePeerRequest(org=LAB_B))
            await until(lambda: _all_hold({"meanwhile"}, b))
            await until(lambda: _error(b, a.place, ""))

    asyncio.run(run())


async def _error(node, partner, reason) -> bool:
    last_error = (await node.peer(partner)).last_error
    return last_error.startswith(reason) if reason else not last_error


def test_nothing_is_exchanged_until_both_sides_have_confirmed(three):
    async def run():
        lab, other, _ = three
        put_policy(lab, other)
        put_policy(other, lab)
        async with running(lab) as a, running(other) as b:
            await a.know(other, confirmed=False)
            await b.know(lab)
            await a.post("early")
            await until(lambda: _error(b, lab, "PEER_REFUSED"))
            assert await b.titles() == set()
            await a.know(other)
            await until(lambda: _all_hold({"early"}, b))

    asyncio.run(run())


def test_a_node_without_a_port_of_its_own_hands_over_what_it_has(tmp_path):
    async def run():
        lab, portless = make_place(tmp_path, LAB_A), make_place(tmp_path, LAB_B, endpoint=False)
        async with federation([lab, portless]) as (a, b):
            await b.post("from behind a wall")
            await a.post("to behind a wall")
            await until(lambda: _all_hold({"from behind a wall", "to behind a wall"}, a, b))
            await until(lambda: _acknowledged(b, lab, 1))

    asyncio.run(run())


def test_a_sync_without_a_port_hands_over_too(tmp_path):
    async def run():
        lab, portless = make_place(tmp_path, LAB_A), make_place(tmp_path, LAB_B, endpoint=False)
        async with federation([lab, portless], pull=False) as (a, b):
            await b.post("from behind a wall")
            assert (await b.sync())[LAB_A].done
            assert await a.titles() == {"from behind a wall"}

    asyncio.run(run())


def test_a_feed_that_is_not_where_it_was_is_read_from_the_beginning(tmp_path):
    """As after a peer has restored its home from a backup: our cursor is from its future."""

    async def run():
        places = [make_place(tmp_path, org) for org in (LAB_A, LAB_B)]
        async with federation(places, pull=False) as (a, b):
            await a.post("one", "two")
            await b.sync()
            intake = b.home.store.intake
            intake.move(LAB_A, intake.cursor(LAB_A)._replace(sequence=99), (), now=0)
            done = (await b.sync())[LAB_A]
            assert (done.records, done.unchanged, done.error_reason) == (0, 2, "")

    asyncio.run(run())


def test_a_dead_peer_costs_the_others_nothing(three):
    async def run():
        lab, other, dead = three
        for place, partner in ((lab, other), (lab, dead), (other, lab)):
            put_policy(place, partner)
        async with running(lab) as a, running(other) as b:
            await a.know(dead)
            await a.know(other)
            await b.know(lab)
            await until(lambda: _error(a, dead, "PEER_UNREACHABLE"))
            await a.post("one")
            await until(lambda: _all_hold({"one"}, b))
            assert (await a.peer(dead)).waiting == 1

    asyncio.run(run())


def test_a_node_that_goes_away_ends_its_streams_in_order(three):
    async def run():
        async with federation(three[:2], pull=False) as (a, b), b.client_of(a.place) as client:
            stream = client.subscribe("")
            assert not (await anext(stream)).HasField("page")
            await asyncio.wait_for(a.node.stop(10), timeout=5)
            await asyncio.wait_for(_read_on(stream), timeout=5)
            with pytest.raises(PeerUnreachable):
                await client.pull("")

    asyncio.run(run())


HOLDS = SHARES_EVERYTHING.replace('classes = "PARTNER"', 'classes = "PARTNER"\nhold = "30m"')


def test_what_fell_due_while_the_node_was_down_is_done_at_its_start_and_said_to_be_late(tmp_path, caplog):
    lab, other = make_place(tmp_path, LAB_A), make_place(tmp_path, LAB_B)
    put_policy(lab, other, HOLDS)

    async def run():
        async with running(lab, pull=False) as a:
            await a.know(other)
            await a.post("held")
            assert (await a.peer(other)).waiting == 0
        async with running(lab, pull=False, clock=lambda: now() + 3600) as a:
            assert (await a.peer(other)).waiting == 1

    with caplog.at_level(logging.WARNING, "tocsin.exchange.timekeeper"):
        asyncio.run(run())
    (told,) = (record.message for record in caplog.records if record.name == "tocsin.exchange.timekeeper")
    assert "seconds late" in told


def test_what_is_held_goes_by_itself_when_its_time_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(timekeeper, "SHORTEST_SLEEP_SECONDS", 0.05)
    lab, other = make_place(tmp_path, LAB_A), make_place(tmp_path, LAB_B)
    put_policy(lab, other, HOLDS)
    put_policy(other, lab)
    ahead = 0

    async def run():
        nonlocal ahead

        def clock() -> int:
            return now() + ahead

        async with running(lab, clock=clock) as a, running(other, clock=clock) as b:
            await a.know(other)
            await b.know(lab)
            await a.post("held")
            await until(lambda: _error(b, lab, ""))
            assert await b.titles() == set()
            ahead = 1801
            a.node.due_changed()
            await until(lambda: _all_hold({"held"}, b))

    asyncio.run(run())


def test_what_needs_agreement_goes_when_a_second_person_has_agreed(tmp_path):
    lab, other = make_place(tmp_path, LAB_A), make_place(tmp_path, LAB_B)
    put_policy(lab, other, SHARES_EVERYTHING.replace('classes = "PARTNER"', 'classes = "PARTNER"\napprovals = 1'))
    put_policy(other, lab)

    async def run():
        async with running(lab) as a, running(other) as b:
            await a.know(other)
            await b.know(lab)
            counsel = await a.admit("counsel", Role.RELEASER)
            await a.post("worst")
            (review,) = (await a.desk.ListReviews(v1.ListReviewsRequest())).reviews
            assert await b.titles() == set()
            mine = v1.DecideReviewRequest(
                id=review.id, approve=True, statement=lab.first.sign(Act.APPROVE, review.id, now=now())
            )
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await a.desk.DecideReview(mine)
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
            async with a.as_(counsel) as second:
                statement = counsel.sign(Act.APPROVE, review.id, now=now())
                decided = await second.desk.DecideReview(
                    v1.DecideReviewRequest(id=review.id, approve=True, statement=statement)
                )
            assert list(decided.queued_for) == [LAB_B]
            await until(lambda: _all_hold({"worst"}, b))

    asyncio.run(run())


def test_a_loosened_policy_sends_the_rest_by_itself_once_it_is_applied(tmp_path):
    lab, other = make_place(tmp_path, LAB_A), make_place(tmp_path, LAB_B)
    put_policy(other, lab)

    async def run():
        async with running(lab) as a, running(other) as b:
            await a.know(other)
            await b.know(lab)
            await a.post("kept")
            await until(lambda: _error(b, lab, ""))
            assert await b.titles() == set()
            applied = await a.apply({f"{LAB_B}.toml": SHARES_EVERYTHING.format(partner=LAB_B)})
            assert [(queued.partner, queued.records) for queued in applied.queued] == [(LAB_B, 1)]
            await until(lambda: _all_hold({"kept"}, b))

    asyncio.run(run())
