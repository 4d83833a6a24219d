"""Peers that send us in circles: what they say must bring us forward, and receipts get to where they belong."""

import asyncio
from contextlib import aclosing

import pytest

from tests.exchange.parties import A, B, founded
from tests.support.organisations import NOW
from tocsin.errors import PeerMisbehaved, PeerRefused, PeerUnreachable, StaleCursor
from tocsin.exchange import pull
from tocsin.exchange.client import PEER_CURSOR, PEER_REASON, PEER_RECEIPT
from tocsin.exchange.pull import _pull, follow_feed, hand_over, push_feed
from tocsin.exchange.receipt import Receipt, sign_receipt
from tocsin.exchange.receive import Received
from tocsin.records.disclosure import digest_of
from tocsin.store.model import Outcome, Verdict
from tocsin.v1 import exchange_service_pb2 as v1

ONE, OTHER = "A" * 22, "B" * 21 + "A"
LAB = B


def receipt(cursor):
    """Return a receipt that says to go on from a cursor."""
    feed, sequence = cursor.split(".")
    made = Receipt(
        issuer=B,
        audience=A,
        issued_at=NOW,
        chain=ONE,
        number=1,
        previous="",
        page="D" * 43,
        feed_id=feed,
        first=1,
        last=int(sequence),
        cursor=cursor,
        verdicts=(Verdict(int(sequence), Outcome.VOID),),
    )
    return sign_receipt(made, signer=founded(B).delivery).statement


class Side:
    """Stores every page, and has pages up to `head` of one feed."""

    def __init__(self, stored="", acknowledged="", head=9, pending=(), room=None):
        self.taken, self.took, self.kept, self.clocks = [], [], [], []
        self.pending = list(pending)
        self._stored, self._acknowledged, self._head, self._room = stored, acknowledged, head, room

    def stored(self, org):
        return self._stored

    def acknowledged(self, org):
        return self._acknowledged

    def last_held(self, org):
        return ""

    def prepare(self, org, page):
        return {}

    def accept(self, org, page):
        self.taken.append(page.cursor)
        return Received(cursor=self._room or page.cursor)

    def acknowledge(self, org, receipts):
        self.took += receipts

    def begin_again(self, org):
        self._stored = ""

    def note_clock(self, org, now):
        self.clocks.append(now)

    def next_page(self, org, cursor):
        feed, _, sequence = cursor.partition(".")
        if cursor and feed != ONE:
            raise StaleCursor("stale")
        return v1.Page(cursor=f"{ONE}.{self._head}") if int(sequence or 0) < self._head else None

    def receipts(self, org):
        return tuple(self.pending)

    def handed_over(self, org, receipts):
        self.kept += receipts
        self.pending = [one for one in self.pending if one not in receipts]

    def sign_again(self, org, *, but=""):
        self.pending = [f"{one} again" for one in self.pending if digest_of(one) != but]


class Client:
    """Answers one after another of what it was given: a cursor to send, to acknowledge, or an error."""

    def __init__(self, *answers, receipts=()):
        self.answers = iter(answers)
        self.took, self.delivered = [], []
        self._refusals = iter(receipts)

    def _next(self):
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def pull(self, cursor):
        return v1.PullResponse(page=v1.Page(cursor=self._next()), now=NOW)

    async def subscribe(self, cursor):
        for following in self.answers:
            yield v1.SubscribeResponse(page=v1.Page(cursor=following), now=NOW)

    async def deliver(self, page, *, last_receipt):
        self.delivered.append(page.cursor)
        answer = self._next()
        return (receipt(answer),) if answer else ()

    async def acknowledge(self, receipts):
        if (refusal := next(self._refusals, None)) is not None:
            raise refusal
        self.took.append(tuple(receipts))


@pytest.fixture(autouse=True)
def compared(monkeypatch):
    """Return whom logs were compared with, which `tests/exchange/test_gossip.py` is about."""
    peers = []

    async def compare(client, org, *, side):
        peers.append(org)

    monkeypatch.setattr(pull, "compare", compare)
    return peers


def refusing(reason, **metadata):
    return PeerRefused("no", metadata={PEER_REASON: reason, **metadata})


def everything(feed):
    async def run():
        async with aclosing(feed) as pages:
            return [one async for one in pages]

    return asyncio.run(run())


@pytest.mark.parametrize("reading", [_pull, follow_feed])
def test_a_peer_that_goes_from_feed_to_feed_is_not_followed(reading):
    side = Side()
    with pytest.raises(PeerMisbehaved) as refused:
        everything(reading(Client(f"{ONE}.1", f"{OTHER}.1", f"{ONE}.1"), LAB, side=side))
    assert refused.value.reason == "PEER_MISBEHAVED"
    assert side.taken == [f"{ONE}.1"]


@pytest.mark.parametrize("reading", [_pull, follow_feed])
def test_a_peer_answers_with_the_feed_that_it_was_asked_for(reading):
    side = Side(stored=f"{ONE}.4")
    with pytest.raises(PeerMisbehaved):
        everything(reading(Client(f"{OTHER}.1"), LAB, side=side))
    assert side.taken == []


def test_a_peer_that_sends_the_same_page_again_and_again_is_not_asked_for_more():
    side = Side()
    with pytest.raises(PeerMisbehaved) as refused:
        everything(_pull(Client(f"{ONE}.1", f"{ONE}.1", f"{ONE}.1"), LAB, side=side))
    assert refused.value.reason == "PEER_MISBEHAVED"
    assert side.taken == [f"{ONE}.1"] * 2


def test_a_stream_begins_with_a_comparison(compared):
    everything(follow_feed(Client(f"{ONE}.9"), LAB, side=Side()))
    assert compared == [LAB]


def test_a_stream_is_left_where_not_all_of_a_page_was_taken():
    """What follows on it would leave a hole; the next contact goes on where the quota ended."""
    side = Side(room=f"{ONE}.3")
    brought = everything(follow_feed(Client(f"{ONE}.9", f"{ONE}.12"), LAB, side=side))
    assert [one.cursor for one in brought] == [f"{ONE}.3"]
    assert side.taken == [f"{ONE}.9"]


def test_receipts_that_wait_go_with_a_sign_of_life():
    """Else a peer that has nothing more to say would wait for them until it has."""

    class Alive(Client):
        async def subscribe(self, cursor):
            yield v1.SubscribeResponse(page=v1.Page(cursor=f"{ONE}.9"), now=NOW)
            for _ in range(3):
                yield v1.SubscribeResponse(now=NOW)

    async def run():
        async with aclosing(follow_feed(client, LAB, side=side)) as pages:
            assert (await anext(pages)).cursor == f"{ONE}.9"
            assert await anext(pages) is None
            assert client.took == [], "nothing waited when the page came"
            side.pending = ["one"]
            assert await anext(pages) is None
            assert await anext(pages) is None

    client, side = Alive(), Side()
    asyncio.run(run())
    assert client.took == [("one",)]


def test_what_a_peer_says_its_clock_is_is_noted():
    side = Side()
    everything(follow_feed(Client(f"{ONE}.9"), LAB, side=side))
    assert side.clocks == [NOW]


class TestHandingOver:
    ONES = ("one", "two")

    def hand_over(self, client, pending=ONES):
        side = Side(pending=pending)
        asyncio.run(hand_over(client, LAB, side=side))
        return side

    def test_what_is_pending_goes_in_order_and_is_then_known_to_have_gone(self):
        client = Client()
        side = self.hand_over(client)
        assert client.took == [self.ONES]
        assert side.kept == [*self.ONES]

    def test_where_nothing_is_pending_nobody_is_called(self):
        client = Client()
        self.hand_over(client, ())
        assert client.took == []

    @pytest.mark.parametrize("reason", ["BAD_CHAIN", "BAD_RECEIPT"])
    def test_what_does_not_follow_is_signed_again_once(self, reason):
        client = Client(receipts=[refusing(reason)])
        side = self.hand_over(client)
        assert client.took == [("one again", "two again")]
        assert side.pending == []

    def test_a_receipt_for_what_the_peer_does_not_know_is_left_out(self):
        client = Client(receipts=[refusing("NEVER_SENT", **{PEER_RECEIPT: digest_of("one")})])
        self.hand_over(client)
        assert client.took == [("two again",)]

    def test_a_peer_that_takes_nothing_is_not_asked_for_ever(self):
        with pytest.raises(PeerRefused):
            self.hand_over(Client(receipts=[refusing("BAD_CHAIN")] * 2))

    @pytest.mark.parametrize("error", [refusing("QUOTA_EXCEEDED"), PeerUnreachable("down")], ids=lambda e: e.reason)
    def test_what_is_no_answer_to_a_receipt_changes_none(self, error):
        side = Side(pending=self.ONES)
        with pytest.raises(type(error)):
            asyncio.run(hand_over(Client(receipts=[error]), LAB, side=side))
        assert side.pending == [*self.ONES]


class TestPushing:
    def push(self, client, **more):
        side = Side(**more)
        asyncio.run(push_feed(client, LAB, side=side))
        return side

    def test_a_feed_is_handed_over_until_there_is_nothing_left(self):
        client = Client(f"{ONE}.5", f"{ONE}.9")
        side = self.push(client)
        assert len(side.took) == 2
        assert client.delivered == [f"{ONE}.9"] * 2

    @pytest.mark.parametrize("answer", [f"{ONE}.4", f"{ONE}.3", f"{OTHER}.9", ""])
    def test_a_peer_that_takes_our_pages_and_stores_nothing_is_not_given_more(self, answer):
        """Else one that names two cursors in turn would have us make pages for ever."""
        client = Client(answer, f"{ONE}.5", f"{ONE}.4")
        with pytest.raises(PeerMisbehaved) as refused:
            self.push(client, acknowledged=f"{ONE}.4")
        assert refused.value.reason == "PEER_MISBEHAVED"
        assert len(client.delivered) == 1

    def test_receipts_that_a_peer_had_left_over_come_before_it_takes_a_page(self, monkeypatch):
        monkeypatch.setattr(Side, "last_held", lambda side, org: f"{len(side.took)}")
        client = Client(f"{ONE}.3", f"{ONE}.4", f"{ONE}.9")
        self.push(client, acknowledged=f"{ONE}.4")
        assert client.delivered == [f"{ONE}.9"] * 3

    STANDS = {  # noqa: RUF012
        "at an earlier place": {PEER_CURSOR: f"{ONE}.2"},
        "at a place of another feed": {PEER_CURSOR: f"{OTHER}.7"},
        "at the beginning": {},
    }

    @pytest.mark.parametrize("metadata", STANDS.values(), ids=STANDS)
    def test_a_peer_that_was_put_back_is_given_what_it_lacks(self, metadata):
        client = Client(refusing("STALE_CURSOR", **metadata), f"{ONE}.9")
        self.push(client, acknowledged=f"{ONE}.8")
        assert len(client.delivered) == 2

    def test_a_peer_that_has_everything_already_is_given_nothing(self):
        client = Client(refusing("STALE_CURSOR", **{PEER_CURSOR: f"{ONE}.9"}))
        self.push(client, acknowledged=f"{ONE}.4")
        assert len(client.delivered) == 1

    def test_a_peer_that_moves_its_place_again_and_again_is_not_followed(self):
        client = Client(*[refusing("STALE_CURSOR", **{PEER_CURSOR: f"{ONE}.{place}"}) for place in (2, 3, 2)])
        with pytest.raises(PeerRefused):
            self.push(client, acknowledged=f"{ONE}.8")
        assert len(client.delivered) == 2

    def test_a_peer_that_has_not_read_our_log_as_far_as_a_page_goes_is_compared_with_and_given_it_again(self, compared):
        client = Client(refusing("STALE_CHECKPOINT"), f"{ONE}.5", refusing("STALE_CHECKPOINT"), f"{ONE}.9")
        self.push(client)
        assert len(client.delivered) == 4
        assert compared == [LAB, LAB]

    def test_one_that_says_so_again_and_again_is_not_given_more(self, compared):
        client = Client(*[refusing("STALE_CHECKPOINT")] * 3)
        with pytest.raises(PeerRefused):
            self.push(client)
        assert len(client.delivered) == 2
        assert compared == [LAB]

    def test_what_a_peer_refuses_is_told(self):
        with pytest.raises(PeerRefused):
            self.push(Client(refusing("QUOTA_EXCEEDED")), acknowledged=f"{ONE}.8")
