"""The test of the way to a peer: a made-up record goes there, and nothing of it is left."""

import asyncio
import secrets

import pytest

from tests.desk.conftest import AISI, LAB_A, LAB_B, SHARING, Office, copy_home, make_home, put_policy
from tests.desk.federation import deliver, introduce
from tocsin.desk.room import Room, open_office
from tocsin.desk.testing import CONTENT, MOST_LOOKS, Trials
from tocsin.errors import NotFound, NotPermitted, PeerUnreachable
from tocsin.store.model import AuditFilter, Standing
from tocsin.v1 import desk_service_pb2 as v1

OK, WARNING = v1.CHECK_VERDICT_OK, v1.CHECK_VERDICT_WARNING
FAILURE, SKIPPED = v1.CHECK_VERDICT_FAILURE, v1.CHECK_VERDICT_SKIPPED


class Wire:
    """What happens while the test waits: each pause, the feeds move as far as they may."""

    def __init__(self, office: Office, partner: Office | None) -> None:
        self.office, self.partner = office, partner
        self.reachable = self.answers = True
        self.pauses = 0

    async def pause(self, seconds: float) -> None:
        self.pauses += 1
        if self.partner is not None:
            deliver(self.office, self.partner, answer=self.answers)

    async def probe(self, org: str) -> int | None:
        if not self.reachable:
            raise PeerUnreachable(f"{org} cannot be reached", hint="look at its node")
        return 0


@pytest.fixture
def lab_b(tmp_path, office, open_office):
    partner = open_office(copy_home(tmp_path / "lab-b", LAB_B))
    office.desk.remove_peer(v1.RemovePeerRequest(org=LAB_B), office.me)
    introduce(office, partner)
    return partner


@pytest.fixture
def wire(office, lab_b):
    return Wire(office, lab_b)


def trials(office, wire) -> Trials:
    release = open_office(office.home, strict=False, random=secrets.token_bytes)
    room = Room(office.home, office.clock, secrets.token_bytes, office.events, release)
    return Trials(room, wire.probe, pause=wire.pause)


def steps(office, wire, org=LAB_B) -> list[v1.TestPeerResponse]:
    async def run():
        return [step async for step in trials(office, wire).test_peer(v1.TestPeerRequest(org=org), office.me)]

    return asyncio.run(run())


def told(found) -> list[tuple[str, int]]:
    return [(step.step, step.verdict) for step in found]


def leftovers(office) -> list[str]:
    """Return the made-up records of which anything is held."""
    rows = office.home.store.audit.list(AuditFilter(act="posted"), limit=99)
    return [row.digest for row in rows if office.home.store.records.token(row.digest)]


def test_the_whole_way_is_tried_and_nothing_is_left(office, lab_b, wire):
    found = steps(office, wire)
    assert told(found) == [("policy", OK), ("wire", OK), ("sent", OK), ("stored", OK), ("removed", OK)]
    assert leftovers(office) == []
    (row,) = office.home.store.audit.list(AuditFilter(act="posted"), limit=9)
    assert office.home.store.records.get(row.digest).standing is Standing.PURGED
    assert lab_b.home.store.records.get(row.digest).standing is Standing.PURGED
    assert lab_b.home.store.records.token(row.digest) is None


def test_the_record_is_for_this_peer_alone(office, wire):
    office.add_peer(AISI)
    put_policy(office, AISI)
    steps(office, wire)
    assert office.home.store.feeds.waiting(AISI) == 0
    assert office.home.store.feeds.get(AISI) is None


INCIDENTS = """
partner = "{partner}"

[[share]]
name = "incidents"
kinds = ["incident"]
max_tlp = "AMBER"
classes = "PARTNER"
"""
POLICIES = {
    "nothing": (SHARING.partition("[[share]]")[0] + '[accept]\nkinds = ["*"]\n', "see what it shares"),
    "no findings": (INCIDENTS, "see what it shares"),
    "what people agree to": (SHARING.replace("[[share]]", "[[share]]\napprovals = 1"), "make a finding wait"),
    "what was held for a while": (SHARING.replace("[[share]]", '[[share]]\nhold = "72h"'), "make a finding wait"),
}


@pytest.mark.parametrize("case", POLICIES)
def test_a_policy_is_told_that_shares_only(office, wire, case):
    text, hint = POLICIES[case]
    put_policy(office, LAB_B, text)
    (step,) = steps(office, wire)
    assert (step.step, step.verdict) == ("policy", WARNING)
    assert hint in step.hint
    assert office.home.store.records.counts().own == 0


def test_a_marking_is_found_that_goes(office, wire):
    put_policy(office, LAB_B, SHARING.replace('max_tlp = "AMBER"', 'max_tlp = "GREEN"'))
    policy, *_ = steps(office, wire)
    assert "GREEN" in policy.message


def test_a_peer_that_does_not_answer_gets_nothing(office, wire):
    wire.reachable = False
    found = steps(office, wire)
    assert told(found) == [("policy", OK), ("wire", FAILURE)]
    assert (found[1].message, found[1].hint) == (
        f"PEER_UNREACHABLE: {LAB_B} cannot be reached",
        "look at its node",
    )
    assert office.home.store.records.counts().own == 0


def test_a_peer_that_takes_nothing_in_time_gets_nothing_later(office, wire):
    wire.partner = None
    found = steps(office, wire)
    assert told(found) == [("policy", OK), ("wire", OK), ("sent", FAILURE), ("removed", OK)]
    assert wire.pauses == MOST_LOOKS
    assert leftovers(office) == []
    assert office.home.store.feeds.get(LAB_B) is None


def test_a_peer_that_gives_no_receipts_is_said_not_to(office, wire):
    wire.answers = False
    found = steps(office, wire)
    assert told(found) == [("policy", OK), ("wire", OK), ("sent", OK), ("stored", WARNING), ("removed", WARNING)]
    assert leftovers(office) == []


def test_a_peer_that_refuses_the_record_is_told_with_its_reason(office, lab_b, wire):
    put_policy(lab_b, LAB_A, SHARING.replace('kinds = ["*"]', 'kinds = ["incident"]'))
    found = steps(office, wire)
    assert told(found)[:4] == [("policy", OK), ("wire", OK), ("sent", OK), ("stored", FAILURE)]
    assert "NOT_PERMITTED" in found[3].message
    assert leftovers(office) == []


def test_a_peer_under_a_legal_hold_keeps_its_copy_and_says_so(office, lab_b, wire):
    put_policy(lab_b, LAB_A, SHARING.replace("[accept]", "[accept]\nlegal_hold = true"))
    found = steps(office, wire)
    assert told(found)[-1] == ("removed", WARNING)
    assert "legal-hold" in found[-1].message


@pytest.mark.parametrize("after", ["policy", "wire", "sent", "stored"])
def test_nothing_is_left_when_whoever_asked_goes_away(office, wire, after):
    async def run():
        stream = trials(office, wire).test_peer(v1.TestPeerRequest(org=LAB_B), office.me)
        async for step in stream:
            if step.step == after:
                break
        await stream.aclose()

    asyncio.run(run())
    assert leftovers(office) == []


def test_nothing_is_left_when_the_call_is_cancelled_while_it_waits(office, wire):
    wire.partner = None

    async def run():
        waiting = asyncio.Event()

        async def pause(seconds):
            waiting.set()
            await asyncio.Event().wait()

        wire.pause = pause
        task = asyncio.create_task(collect())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def collect():
        return [step async for step in trials(office, wire).test_peer(v1.TestPeerRequest(org=LAB_B), office.me)]

    asyncio.run(run())
    assert leftovers(office) == []
    assert len(office.home.store.audit.list(AuditFilter(act="posted"), limit=9)) == 1


def test_a_peer_without_an_endpoint_calls_by_itself(tmp_path, office, open_office):
    partner = open_office(make_home(tmp_path / "aisi", AISI, listen="", endpoints=()))
    introduce(office, partner)
    put_policy(office, AISI)
    found = steps(office, Wire(office, partner), AISI)
    assert told(found) == [("policy", OK), ("wire", SKIPPED), ("sent", OK), ("stored", OK), ("removed", OK)]


def test_only_an_active_peer_is_tested(office, wire):
    with pytest.raises(NotFound):
        steps(office, wire, AISI)
    office.desk.suspend_peer(v1.SuspendPeerRequest(org=LAB_B), office.me)
    with pytest.raises(NotPermitted) as caught:
        steps(office, wire)
    assert caught.value.reason == "NOT_PERMITTED"


def test_what_is_sent_says_of_itself_that_it_is_a_test(office):
    assert "test" in CONTENT["title"].lower()
