"""A partner may ask for fields of what it was sent, and learns nothing by asking."""

import asyncio
from dataclasses import replace

import pytest

from tests.exchange.links import side_of
from tests.exchange.parties import OPEN, RELAYED, A, B, C
from tests.support.organisations import NOW
from tocsin.errors import MalformedName, MalformedRequest, NotFound, NotPermitted, QuotaExceeded
from tocsin.exchange.ask import ask_origin
from tocsin.exchange.request import DAY_SECONDS, LONGEST_WHY, MOST_A_DAY, MOST_OPEN, MOST_PATHS, keep_request
from tocsin.records.retraction import Action
from tocsin.schema.contract import KINDS
from tocsin.store.model import DisclosureRequest, PeerState, ReviewState
from tocsin.v1 import exchange_service_pb2 as v1


def asking(a, record, *paths, by=B, why="to reproduce it"):
    digest = record if isinstance(record, str) else record.digest
    request = v1.RequestDisclosureRequest(digest=digest, paths=paths, why=why)
    return keep_request(a.office, by, request, now=a.now)


def requests(a):
    return [one for one in a.store.reviews.list(open_only=False) if isinstance(one, DisclosureRequest)]


@pytest.fixture
def sent(a, b):
    record = a.post()
    b.pull(a)
    return record


def test_a_request_is_kept_for_our_own_people(a, sent):
    assert asking(a, sent, "prompts", "poc") == v1.REQUEST_STATE_OPEN
    (asked,) = requests(a)
    assert (asked.peer, asked.digest, asked.paths, asked.why) == (B, sent.digest, ("poc", "prompts"), "to reproduce it")
    (entry,) = a.logged("requested")
    assert entry["details"] == {"review": asked.id, "paths": ["poc", "prompts"]}
    assert "reproduce" not in str(entry)


def test_of_what_was_purged_nothing_is_asked_and_nothing_that_was_written_stays(a, b, sent):
    asking(a, sent, "prompts", why="what does canary-4711 mean?")
    a.retract(sent, Action.PURGE)
    with pytest.raises(NotFound) as refused:
        asking(a, sent, "poc", why="and canary-4711?")
    assert refused.value.message == "there is no such record"
    assert [one.why for one in requests(a)] == [""]


def test_asking_again_says_where_it_stands(a, b, sent):
    for _ in range(3):
        assert asking(a, sent, "prompts") == v1.REQUEST_STATE_OPEN
    assert len(requests(a)) == 1
    a.store.reviews.set_state(requests(a)[0].id, ReviewState.REJECTED)
    assert asking(a, sent, "prompts") == v1.REQUEST_STATE_DECLINED
    assert asking(a, sent, "prompts", "poc") == v1.REQUEST_STATE_OPEN, "other fields are another request"


def test_a_request_is_granted_when_something_of_it_goes_with_the_next_page(a, b, sent):
    asking(a, sent, "prompts[*]")
    asking(a, sent, "poc")
    a.reveal(sent, "prompts")
    assert asking(a, sent, "prompts[*]") == v1.REQUEST_STATE_GRANTED
    assert asking(a, sent, "poc") == v1.REQUEST_STATE_OPEN


def test_a_request_for_what_the_partner_holds_is_answered_by_revealing_it_again(a, b, sent):
    a.reveal(sent, "prompts")
    b.pull(a)
    assert asking(a, sent, "prompts") == v1.REQUEST_STATE_OPEN
    assert a.reveal(sent, "prompts").already_sent == ("prompts",)
    assert asking(a, sent, "prompts") == v1.REQUEST_STATE_GRANTED


def test_a_request_stays_open_while_its_reveal_waits_for_people(a, b, sent):
    a.apply(lab_b=OPEN + "approvals = 1\n")
    asking(a, sent, "prompts")
    revealed = a.reveal(sent, "prompts")
    assert (revealed.queued, revealed.waiting) == ((), ("prompts",))
    b.pull(a)
    assert asking(a, sent, "prompts") == v1.REQUEST_STATE_OPEN
    a.decide(*a.proposals())
    b.pull(a)
    assert asking(a, sent, "prompts") == v1.REQUEST_STATE_GRANTED


def test_what_the_partner_was_not_sent_looks_like_nothing(a, b, c, sent):
    denied = a.post(tlp="RED")
    only_c = a.post(to=[C])
    unsent = a.post({"title": "queued, not sent"})
    void = a.post({"title": "void"})
    c.pull(a)
    b.pull(a)
    a.store.feeds.void(B, a.store.feeds.get(B).head)
    later = a.post({"title": "later"})
    answers = set()
    for record in ("A" * 43, "", "no digest at all", denied, only_c, void, later):
        with pytest.raises(NotFound) as refused:
            asking(a, record, "prompts")
        answers.add((refused.value.reason, refused.value.message, refused.value.hint, str(refused.value.metadata)))
    assert len(answers) == 1
    assert asking(a, unsent, "prompts") == v1.REQUEST_STATE_OPEN
    assert [one.digest for one in requests(a)] == [unsent.digest]


def test_a_field_that_never_leaves_and_one_that_is_not_there_get_the_same_silence(a, b, sent):
    assert "infohazard_detail" in sent.paths
    assert "transferability" not in sent.paths
    answers = {
        path: asking(a, sent, path) for path in ("prompts", "infohazard_detail", "transferability", "discoverers")
    }
    assert set(answers.values()) == {v1.REQUEST_STATE_OPEN}
    assert b.pull(a) == []


REFUSED = {
    "no path": ((), "", MalformedRequest, "BAD_REQUEST"),
    "too many paths": (KINDS["finding"].paths()[: MOST_PATHS + 1], "", MalformedRequest, "BAD_REQUEST"),
    "too long a text": (("prompts",), "x" * (LONGEST_WHY + 1), MalformedRequest, "BAD_REQUEST"),
    "a path that is no field": (("prompts", "passwords"), "", MalformedName, "BAD_NAME"),
    "a path that is no text of a path": (("prompts'; --",), "", MalformedName, "BAD_NAME"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_is_refused_with(a, sent, case):
    paths, why, error, reason = REFUSED[case]
    with pytest.raises(error) as refused:
        asking(a, sent, *paths, why=why)
    assert refused.value.reason == reason
    assert requests(a) == []


def test_only_so_many_are_open_for_one_record(a, sent):
    paths = KINDS["finding"].paths()
    for path in paths[:MOST_OPEN]:
        asking(a, sent, path)
    with pytest.raises(QuotaExceeded) as refused:
        asking(a, sent, paths[MOST_OPEN])
    assert refused.value.reason == "QUOTA_EXCEEDED"
    assert asking(a, sent, paths[0]) == v1.REQUEST_STATE_OPEN, "what was asked before may be asked about"
    a.store.reviews.set_state(requests(a)[0].id, ReviewState.REJECTED)
    asking(a, sent, paths[MOST_OPEN])


def test_only_so_many_come_in_a_day(a, b):
    paths = KINDS["finding"].paths()
    records = [a.post({"title": f"n{number}"}) for number in range(1 + MOST_A_DAY // 20)]
    b.pull(a)
    for number in range(MOST_A_DAY):
        asking(a, records[number // 20], paths[number % 20])
    with pytest.raises(QuotaExceeded) as refused:
        asking(a, records[-1], "prompts")
    assert refused.value.metadata["retry_after_seconds"]
    a.now = NOW + DAY_SECONDS + 1
    assert asking(a, records[-1], "prompts") == v1.REQUEST_STATE_OPEN


def test_nobody_but_its_origin_is_asked_about_a_record(a, b, c):
    b.set_policies(aisi=RELAYED)
    record = a.post(relay="community", partners=[B])
    b.pull(a)
    c.pull(b)
    assert c.store.records.get(record.digest).received_from == B
    with pytest.raises(NotFound):
        asking(b, record, "prompts", by=C)


class Client:
    """Stands for the channel to the origin."""

    def __init__(self, party):
        self._party = party

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def request_disclosure(self, digest, *, paths, why):
        request = v1.RequestDisclosureRequest(digest=digest, paths=paths, why=why)
        return side_of(self._party).keep_request(B, request)


def test_our_own_people_ask_the_origin(a, b, sent):
    def ask_for(*paths):
        side = replace(side_of(b), dial=lambda organisation: Client({A: a}[organisation.org]))
        return asyncio.run(ask_origin(A, digest=sent.digest, paths=paths, why="", side=side))

    assert ask_for("prompts") == v1.REQUEST_STATE_OPEN
    b.store.peers.set_state(A, PeerState.SUSPENDED)
    with pytest.raises(NotPermitted):
        ask_for("prompts")
