"""A store that was put back: what it lost comes back from the peers, and nothing is signed twice."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.exchange.parties import A, B, C, Party, founded
from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.errors import OriginStopped, PeerMisbehaved, PeerRefused
from tocsin.exchange import recovery
from tocsin.exchange.client import PEER_REASON
from tocsin.exchange.pull import give_back, recover_from
from tocsin.exchange.recovery import keep_recovered, recognise, what_is_held
from tocsin.records.record import parse_record
from tocsin.records.retraction import Action
from tocsin.store.model import PeerRole, PeerState, Standing
from tocsin.v1 import exchange_service_pb2 as v1


def everything_held(party, caller):
    """Return each answer until the last one."""
    answers = [what_is_held(party.store, caller, "")]
    while answers[-1].next:
        answers.append(what_is_held(party.store, caller, answers[-1].next))
    return answers


def records(answers):
    return {parse_record(token).digest for answer in answers for token in answer.records}


class TestServing:
    def test_the_caller_gets_what_it_signed_and_we_hold(self, a, b, c):
        mine = [a.post({"title": f"n{number}"}) for number in range(3)]
        c.post()
        b.pull(a)
        b.pull(c)
        a.retract(mine[0])
        b.pull(a)
        answers = everything_held(b, A)
        assert records(answers) == {record.digest for record in mine}
        assert [len(answer.retractions) for answer in answers] == [0, 1, 0]

    def test_nothing_of_what_we_issued_ourselves_is_given_to_others(self, b):
        b.post()
        assert records(everything_held(b, A)) == set()

    def test_an_answer_holds_no_more_than_a_message(self, a, b, monkeypatch):
        for number in range(5):
            a.post({"title": f"n{number}"})
        b.pull(a)
        monkeypatch.setattr(recovery, "MOST_BYTES", 1)
        answers = everything_held(b, A)
        assert [len(answer.records) for answer in answers] == [1, 1, 1, 1, 1, 0, 0]
        monkeypatch.setattr(recovery, "MOST_RECORDS", 2)
        monkeypatch.setattr(recovery, "MOST_BYTES", 10_000_000)
        again = everything_held(b, A)
        assert [len(answer.records) for answer in again] == [2, 2, 1, 0, 0]
        assert records(again) == records(answers)

    def test_retractions_come_page_by_page_as_well(self, a, b, monkeypatch):
        monkeypatch.setattr(recovery, "MOST_RECORDS", 2)
        for number in range(3):
            a.retract(a.post({"title": f"n{number}"}))
        assert [len(answer.retractions) for answer in everything_held(a, A)][-3:] == [2, 1, 0]

    @pytest.mark.parametrize(
        "place", ["nowhere", "records", "retractions.", "retractions.x", "retractions." + "9" * 12]
    )
    def test_a_place_that_nobody_made_leads_nowhere_far(self, b, place):
        assert everything_from(b, place).retractions == []

    def test_what_was_purged_is_not_given_back(self, a, b):
        record = a.post()
        b.pull(a)
        a.retract(record, Action.PURGE)
        b.pull(a)
        answers = everything_held(b, A)
        assert records(answers) == set()
        assert sum(len(answer.retractions) for answer in answers) == 1


def everything_from(party, place):
    return what_is_held(party.store, A, place)


class TestKeeping:
    """B has lost everything, its log as well, and its peers have not."""

    @pytest.fixture
    def lost(self, b, tmp_path):
        folder = tmp_path / "lost"
        folder.mkdir()
        party = Party(B, folder)
        yield party
        party.store.close()

    def give_back(self, giver, lost):
        lost.hears(giver)
        for answer in everything_held(giver, B):
            keep_recovered(lost.office, giver.org, answer, now=NOW)

    def test_what_comes_back_is_never_sent_as_ours(self, a, b, lost):
        record = b.post(partners=(A, C))
        a.pull(b)
        self.give_back(a, lost)
        stored = lost.store.records.get(record.digest)
        assert (stored.issuer, stored.received_from, stored.own) == (B, A, False)
        assert lost.office.load(record.digest, now=NOW) is None
        assert lost.store.feeds.holders(B, record.record_id) == {A}

    def test_its_version_is_taken(self, a, b, lost):
        one = b.post(partners=(A, C))
        two, _ = b.amend(one, {"title": "two"}, partners=(A, C))
        a.pull(b)
        self.give_back(a, lost)
        assert lost.store.records.versions(B, one.record_id)[-1] == two.version

    def test_its_log_comes_back_and_goes_on_when_everybody_has_said_how_much_of_it_it_saw(self, a, b, c, lost):
        b.post(partners=(A, C))
        a.pull(b)
        self.give_back(a, lost)
        before = lost.store.logs.get(B)
        assert (before.size, lost.store.logs.awaited()) == (b.store.logs.get(B).size, (C,))
        with pytest.raises(OriginStopped) as refused:
            lost.post()
        assert refused.value.reason == "ORIGIN_STOPPED"
        assert lost.page_for(C) is None
        self.give_back(c, lost)
        lost.post()
        assert lost.store.logs.get(B).size == before.size + 1
        assert [brought.records for brought in c.pull(lost)] == [1]

    def test_what_expired_is_known_as_well(self, a, b, lost):
        record = b.post(partners=(A, C), exp=NOW + 60)
        a.pull(b)
        answer = everything_held(a, B)[0]
        keep_recovered(lost.office, A, answer, now=NOW + 3600)
        assert lost.store.records.versions(B, record.record_id) == (1,)

    def test_two_peers_give_back_what_each_was_told(self, a, b, c, lost):
        record = make_record(by=founded(B))
        b.publish(record, partners=(A, C))
        a.pull(b)
        c.pull(b)
        for giver in (a, c):
            self.give_back(giver, lost)
        assert lost.store.feeds.holders(B, record.record_id) == {A, C}

    @pytest.mark.parametrize("action", [Action.WITHDRAW, Action.PURGE])
    def test_what_was_taken_back_stays_so(self, a, b, c, lost, action):
        record = b.post(partners=(A, C))
        lost.publish(record)  # the backup is from before it was taken back
        a.pull(b)
        b.retract(record, action)
        a.pull(b)
        for giver in (a, c):
            self.give_back(giver, lost)
        standing = Standing.PURGED if action is Action.PURGE else Standing.WITHDRAWN
        assert lost.store.records.get(record.digest).standing is standing
        assert lost.page_for(C) is None

    def test_whoever_holds_what_was_corrected_since_is_told_though_the_correction_itself_came_back(self, a, b, c, lost):
        one = b.post(partners=(A, C), relay="community", tlp="GREEN")
        lost.publish(one, partners=())  # the backup is from before it was amended
        lost.store.feeds.note_holder(C, one.digest)
        a.pull(b)
        b.amend(one, {"title": "two"}, partners=(A, C))
        a.pull(b)
        for giver in (a, c):
            self.give_back(giver, lost)
        page = lost.page_for(C)
        assert [(entry.kind, entry.digest) for entry in page.entries] == [(v1.ENTRY_KIND_RETRACTION, one.digest)]

    def test_what_is_there_whole_stays_whole(self, a, b):
        record = b.post(partners=(A, C))
        a.pull(b)
        before = b.store.records.get(record.digest)
        for answer in everything_held(a, B):
            keep_recovered(b.office, A, answer, now=NOW)
        assert b.store.records.get(record.digest) == before

    def test_what_we_did_not_sign_is_left_out(self, lost, caplog):
        forged = make_record(by=founded(C))
        answer = v1.RecoverResponse(records=[forged.token, "no record"], retractions=["no retraction"])
        keep_recovered(lost.office, A, answer, now=NOW)
        assert lost.store.records.counts().received == 0
        assert lost.logged("recovered")[0]["details"] == {"records": 0, "retractions": 0, "refused": 3}
        assert "3 things" in caplog.text

    def test_who_holds_what_was_passed_on_is_known_again(self, a, b, c):
        record = a.post(relay="community", tlp="GREEN")
        b.pull(a)
        bare = f"{record.token.partition('~')[0]}~"
        keep_recovered(b.office, C, v1.RecoverResponse(records=[bare]), now=NOW)
        assert b.store.feeds.holders(A, record.record_id) == {C}
        assert b.store.records.token(record.digest) != bare  # what is held stays

    def test_what_is_not_accepted_comes_in_by_no_other_way(self, lost):
        record = make_record(by=founded(A), relay="community", tlp="GREEN")
        lost.accept(C, replace(lost.policies.policies[C].accept, relayed=False))
        keep_recovered(lost.office, C, v1.GiveBackRequest(records=[record.token]), now=NOW)
        assert lost.store.records.counts().received == 0
        assert lost.logged("recovered")[0]["details"]["refused"] == 1

    def test_what_a_peer_issued_itself_comes_with_its_feed_alone(self, lost):
        record = make_record(by=founded(A))
        keep_recovered(lost.office, A, v1.GiveBackRequest(records=[record.token]), now=NOW)
        assert lost.store.records.counts().received == 0
        assert lost.logged("recovered")[0]["details"]["refused"] == 1

    def test_of_what_was_passed_on_no_field_is_given_back(self, a, b, c):
        record = make_record(by=founded(B), relay="community", tlp="GREEN")
        a.store.records.add(record, received_from=C, now=NOW)
        (answer,) = [each for each in everything_held(a, C) if each.records]
        assert list(answer.records) == [f"{record.token.partition('~')[0]}~"]

    def test_how_far_a_peer_has_answered_is_kept(self, lost):
        lost.store.recoveries.begin(A, now=NOW)
        keep_recovered(lost.office, A, v1.RecoverResponse(next="records.x"), now=NOW)
        assert lost.store.recoveries.open() == {A: "records.x"}
        keep_recovered(lost.office, A, v1.RecoverResponse(), now=NOW)
        assert lost.store.recoveries.open() == {}


class TestRecognising:
    def test_every_member_is_asked(self, a, caplog):
        a.store.peers.set_role(C, PeerRole.READER)
        recognise(a.office, B, now=NOW)
        assert a.store.recoveries.open() == {B: ""}
        (entry,) = a.logged("rolled-back")
        assert (entry["partner"], entry["details"]) == (B, {"asked": [B]})
        assert "put back" in caplog.text

    def test_nobody_is_asked_with_whom_nothing_is_exchanged(self, a):
        a.store.peers.set_state(B, PeerState.SUSPENDED)
        a.store.peers.set_state(C, PeerState.KNOWN)
        recognise(a.office, B, now=NOW)
        assert a.store.recoveries.open() == {}

    def test_a_partner_that_makes_up_cursors_has_nobody_asked_again_within_the_hour(self, a):
        recognise(a.office, B, now=NOW)
        for peer in (B, C):
            a.store.recoveries.advance(peer, "")
        recognise(a.office, B, now=NOW + 3599)
        assert a.store.recoveries.open() == {}
        recognise(a.office, B, now=NOW + 3601)
        assert set(a.store.recoveries.open()) == {B, C}


class Asked:
    """A peer that gives back what its store holds."""

    def __init__(self, answers):
        self.asked, self._answers = [], iter(answers)

    async def recover(self, after):
        self.asked.append(after)
        return next(self._answers)

    async def give_back(self, held):
        self.asked.append(held)
        return next(self._answers)


class TestAsking:
    def side(self, party):
        def to_recover(org):
            return party.store.recoveries.open().get(org)

        def keep(org, answer):
            keep_recovered(party.office, org, answer, now=NOW)

        return SimpleNamespace(to_recover=to_recover, keep_recovered=keep)

    def test_a_peer_is_asked_where_it_stopped_and_to_its_end(self, a):
        a.store.recoveries.begin(B, now=NOW)
        a.store.recoveries.advance(B, "records.x")
        peer = Asked([v1.RecoverResponse(next="records.y"), v1.RecoverResponse()])
        asyncio.run(recover_from(peer, B, side=self.side(a)))
        assert peer.asked == ["records.x", "records.y"]
        assert a.store.recoveries.open() == {}

    def test_a_peer_that_lets_us_ask_nothing_is_asked_no_more(self, a):
        a.store.recoveries.begin(B, now=NOW)

        class Closed:
            async def recover(self, after):
                raise PeerRefused("not for readers", metadata={PEER_REASON: "NOT_PERMITTED"})

        asyncio.run(recover_from(Closed(), B, side=self.side(a)))
        assert a.store.recoveries.open() == {}

    def test_a_peer_that_is_not_to_be_asked_is_not(self, a):
        peer = Asked([])
        asyncio.run(recover_from(peer, B, side=self.side(a)))
        assert peer.asked == []

    def test_a_peer_that_gives_the_same_back_again_and_again_is_not_asked_for_ever(self, a):
        a.store.recoveries.begin(B, now=NOW)
        peer = Asked([v1.RecoverResponse(next="records.x")] * 9)
        with pytest.raises(PeerMisbehaved) as refused:
            asyncio.run(recover_from(peer, B, side=self.side(a)))
        assert refused.value.reason == "PEER_MISBEHAVED"
        assert len(peer.asked) == 2

    def test_nor_one_that_leads_from_place_to_place_and_gives_nothing(self, a):
        a.store.recoveries.begin(B, now=NOW)
        peer = Asked([v1.RecoverResponse(next=f"records.{number}") for number in range(9)])
        with pytest.raises(PeerMisbehaved):
            asyncio.run(recover_from(peer, B, side=self.side(a)))
        assert len(peer.asked) == 3

    @pytest.mark.parametrize("is_wanted", [True, False])
    def test_what_is_held_is_given_back_as_long_as_it_is_wanted(self, a, b, is_wanted):
        b.post(partners=(A, C))
        a.pull(b)
        peer = Asked([is_wanted] * 3)
        side = SimpleNamespace(what_is_held=lambda org, after: what_is_held(a.store, org, after))
        asyncio.run(give_back(peer, B, side=side))
        assert len(peer.asked) == (3 if is_wanted else 1)
        assert len(peer.asked[0].records) == 1

    TOO_LARGE = {  # noqa: RUF012
        "records": v1.RecoverResponse(records=["x"] * 257),
        "retractions": v1.RecoverResponse(retractions=["x"] * 257),
        "a place": v1.RecoverResponse(next="x" * 257),
    }

    @pytest.mark.parametrize("answer", TOO_LARGE.values(), ids=TOO_LARGE)
    def test_more_than_one_answer_holds_is_not_looked_at(self, a, answer):
        a.store.recoveries.begin(B, now=NOW)
        with pytest.raises(PeerMisbehaved) as refused:
            keep_recovered(a.office, B, answer, now=NOW)
        assert refused.value.reason == "PEER_MISBEHAVED"
        assert a.store.recoveries.open() == {B: ""}
        assert a.logged("recovered") == []
