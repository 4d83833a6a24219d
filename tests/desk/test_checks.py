"""What is wrong with a node is found, each with the command that mends it."""

import asyncio
import secrets
import shutil
import sqlite3
from contextlib import closing
from typing import NamedTuple

import pytest

from tests.desk.conftest import AISI, LAB_A, LAB_B
from tests.support.organisations import NOW, found
from tocsin.audit.entry import Entry, Event
from tocsin.desk import examination
from tocsin.desk.checks import SKEW_SECONDS, Checks, compare_clocks
from tocsin.desk.papers import load_papers
from tocsin.desk.room import Room
from tocsin.desk.room import open_office as office_of
from tocsin.desk.rotation import renew_document, rotate_key
from tocsin.errors import PeerUnreachable
from tocsin.exchange.circuit import Contact, Contacts, Happened
from tocsin.identity.certificate import DAY
from tocsin.store.damage import Examined
from tocsin.store.model import PeerRole, PeerState
from tocsin.v1 import desk_service_pb2 as v1

OK, WARN, FAIL, SKIP = (
    v1.CHECK_VERDICT_OK,
    v1.CHECK_VERDICT_WARNING,
    v1.CHECK_VERDICT_FAILURE,
    v1.CHECK_VERDICT_SKIPPED,
)
NAMES = {
    *("clock", "identity", "certificate", "keys", "disk", "store", "policies"),
    *("decision log", "log", "receipts", "retractions"),
}


@pytest.fixture
def office(root, open_office):
    (root / "keys" / "root-1.pem").unlink()
    return open_office(root)


async def nobody(org):
    raise PeerUnreachable(f"{org} cannot be reached", hint="compare fingerprints")


def checks_of(office, probe=nobody, contacts=None) -> list[v1.RunChecksResponse]:
    room = Room(
        office.home,
        office.clock,
        secrets.token_bytes,
        office.events,
        office_of(office.home, strict=False, random=secrets.token_bytes),
    )

    async def collect():
        checks = Checks(room, probe, contacts or Contacts())
        return [answer async for answer in checks.run_checks(v1.RunChecksRequest())]

    return asyncio.run(collect())


def wrong(answers) -> list[tuple[str, int]]:
    return [(answer.check, answer.verdict) for answer in answers if answer.verdict in (WARN, FAIL)]


def add_peer(office, org, *, endpoints=("127.0.0.1:7470",), state=PeerState.ACTIVE):
    document = found(org, endpoints=endpoints).document
    office.home.store.peers.add(org, document=document, role=PeerRole.MEMBER, state=state, now=NOW)


def test_of_a_new_home_everything_is_well(office):
    answers = checks_of(office)
    assert wrong(answers) == []
    assert {answer.check for answer in answers} == NAMES
    assert all(answer.message for answer in answers)


def _clock_behind(office, monkeypatch):
    office.clock.now -= DAY


def _document_expires(office, monkeypatch):
    office.clock.now += 330 * DAY


def _key_is_open(office, monkeypatch):
    office.home.layout.key("delivery").chmod(0o640)


def _home_is_open(office, monkeypatch):
    office.home.layout.root.chmod(0o755)


def _root_key_is_here(office, monkeypatch):
    office.home.layout.root_key(1).touch()


class Usage(NamedTuple):
    """As shutil says it."""

    total: int
    used: int
    free: int


def _disk_is_nearly_full(office, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 1000, 1000))


def _disk_fills(office, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - 10**8, 10**8))


def _wal_is_large(office, monkeypatch):
    monkeypatch.setattr(examination, "LARGE_WAL", -1)


def _draft_is_broken(office, monkeypatch):
    (office.home.layout.policies / f"{LAB_B}.toml").write_text("partner = ")


def _log_was_changed(office, monkeypatch):
    with closing(sqlite3.connect(office.home.layout.store)) as database, database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE audit SET person = 'somebody else'")


def _receipt_refused(office, monkeypatch):
    office.home.log.append(Entry(Event.RECEIPT_REFUSED, partner=LAB_B), now=NOW)


def _lost_things(office, monkeypatch):
    add_peer(office, LAB_B, state=PeerState.SUSPENDED)
    office.home.store.recoveries.begin(LAB_B, now=NOW)


def _origin_is_stopped(office, monkeypatch):
    office.home.store.logs.stop(LAB_B, "it signed two different histories of its log", now=NOW)


def _own_log_waits(office, monkeypatch):
    office.home.store.logs.stop(LAB_A, "this home was put back", now=NOW)
    office.home.store.logs.await_word([LAB_B])


def _own_log_is_damaged(office, monkeypatch):
    office.home.tlog.issue(bytes(64), now=NOW)
    with office.home.store.transaction():
        office.home.store._db.execute("UPDATE log_nodes SET hash = zeroblob(32)")


def _log_policy_is_broken(office, monkeypatch):
    office.home.layout.witnesses.write_text("quorum nobody\n")


FOUND = {
    "the clock is behind": (_clock_behind, "clock", FAIL, "timedatectl"),
    "the identity document expires soon": (_document_expires, "identity", WARN, "tocsin keys renew"),
    "a key that others can read": (_key_is_open, "keys", FAIL, "chmod 600"),
    "a home that others can look into": (_home_is_open, "keys", FAIL, "chmod 700"),
    "a root key that is still here": (_root_key_is_here, "keys", WARN, "offline"),
    "a disk that is nearly full": (_disk_is_nearly_full, "disk", FAIL, "make room"),
    "a disk that fills": (_disk_fills, "disk", WARN, "make room"),
    "a write-ahead log that grows": (_wal_is_large, "disk", WARN, "fuser"),
    "a draft with a mistake": (_draft_is_broken, "policies", WARN, "tocsin policy check"),
    "a decision log that somebody changed": (_log_was_changed, "decision log", FAIL, "keep a copy"),
    "a receipt that was refused": (_receipt_refused, "receipts", WARN, "tocsin audit show"),
    "an origin that is stopped": (_origin_is_stopped, "log", WARN, f"tocsin log evidence {LAB_B}"),
    "a log of our own that waits": (_own_log_waits, "log", FAIL, "tocsin log show"),
    "a log of our own that is damaged": (_own_log_is_damaged, "log", FAIL, "tocsin restore"),
    "a log policy with a mistake": (_log_policy_is_broken, "log", FAIL, "tocsin log policy"),
    "what is still to be recovered": (_lost_things, "retractions", WARN, "tocsin sync"),
}


@pytest.mark.parametrize(("spoil", "check", "verdict", "hint"), FOUND.values(), ids=FOUND)
def test_what_is_wrong_is_found_with_what_mends_it(office, monkeypatch, spoil, check, verdict, hint):
    spoil(office, monkeypatch)
    answers = [answer for answer in checks_of(office) if answer.check == check and answer.verdict == verdict]
    assert answers
    assert any(hint in answer.hint for answer in answers)


def test_what_was_found_when_the_store_was_read_is_told(office):
    office.home.store.examined = Examined(NOW, ("entry 7 of the feed is missing",))
    (answer,) = [answer for answer in checks_of(office) if answer.check == "store"]
    assert (answer.verdict, answer.message) == (FAIL, "entry 7 of the feed is missing")
    assert "tocsin fsck" in answer.hint


def test_a_key_that_waits_is_told(root, open_office):
    office = open_office(root)
    layout = office.home.layout
    rotate_key(layout, "record", now=NOW, random=secrets.token_bytes, overlap=7 * DAY)
    office.home.renew(load_papers(layout, now=NOW), now=NOW)
    answers = checks_of(office)
    messages = [answer.message for answer in answers if answer.check == "keys"]
    assert any("the next record key takes over on" in message for message in messages)
    assert [verdict for check, verdict in wrong(answers) if check == "identity"] == []
    office.clock.now = NOW + 7 * DAY + 3 * 3600
    (late,) = [answer for answer in checks_of(office) if "was to take over on" in answer.message]
    assert late.verdict == FAIL
    assert "kill -HUP" in late.hint


def test_a_check_that_fails_by_itself_hides_no_other(office, monkeypatch):
    def broken(_, **__):
        raise ValueError("canary")

    monkeypatch.setattr(type(office.home.store), "examine", broken)
    answers = checks_of(office)
    (answer,) = [answer for answer in answers if answer.check == "store"]
    assert (answer.verdict, "canary" in answer.message) == (FAIL, False)
    assert {answer.check for answer in answers} == NAMES


def test_each_peer_is_called_and_one_that_does_not_answer_hides_no_other(office):
    for org in (LAB_B, AISI):
        add_peer(office, org)
    add_peer(office, "uni.example", state=PeerState.SUSPENDED)
    add_peer(office, "quiet.example", endpoints=())

    async def probe(org):
        if org == AISI:
            raise PeerUnreachable(f"{org} cannot be reached", hint="compare fingerprints")
        return 2

    told = [(answer.verdict, answer.message) for answer in checks_of(office, probe) if answer.check == "peers"]
    assert [verdict for verdict, _ in told] == [FAIL, OK, WARN, SKIP]
    for (_, message), org in zip(told, (AISI, LAB_B, "quiet.example", "uni.example"), strict=True):
        assert org in message


async def lets_us_in(org):
    return 0


def test_a_peer_that_answers_and_sends_what_is_not_good_is_told(office):
    contacts = Contacts()
    add_peer(office, LAB_B)
    contacts.note(LAB_B, "follow", Contact().after(Happened.FAILED))
    office.home.store.peers.note_error(LAB_B, reason="PEER_MISBEHAVED", message="the page is not good", now=NOW)
    (answer,) = [answer for answer in checks_of(office, lets_us_in, contacts) if answer.check == "peers"]
    assert answer.verdict == WARN
    assert answer.message == f"{LAB_B} answers, and the exchange fails: PEER_MISBEHAVED: the page is not good"
    assert "take its newer document: tocsin peer add FILE" in answer.hint


def test_a_peer_without_an_endpoint_that_has_called_is_heard_of(office):
    contacts = Contacts()
    add_peer(office, LAB_B, endpoints=())
    (answer,) = [answer for answer in checks_of(office, contacts=contacts) if answer.check == "peers"]
    assert (answer.verdict, answer.message) == (WARN, f"{LAB_B} has no endpoint and has not called yet")
    contacts.note_call(LAB_B, now=NOW)
    (answer,) = [answer for answer in checks_of(office, contacts=contacts) if answer.check == "peers"]
    assert (answer.verdict, answer.message) == (OK, f"{LAB_B} has no endpoint, and has called within the last day")


def test_a_document_that_the_node_has_not_read_is_told(root, open_office):
    office = open_office(root)
    layout = office.home.layout
    renew_document(layout, now=NOW)
    (answer,) = [answer for answer in checks_of(office) if answer.check == "identity" and answer.verdict == WARN]
    assert answer.message == "the node goes on with version 1, and version 2 is in the home"
    assert answer.hint == f"kill -HUP $(cat {layout.lock})"


def test_of_a_peer_that_nobody_can_call_no_command_asks_for_what_was_lost(office):
    add_peer(office, LAB_B, endpoints=())
    office.home.store.recoveries.begin(LAB_B, now=NOW)
    (answer,) = [answer for answer in checks_of(office) if answer.check == "retractions"]
    assert "tocsin sync" not in answer.hint
    assert f"tocsin list --from {LAB_A}" in answer.hint


def test_peers_are_called_side_by_side(office):
    for org in (LAB_B, AISI):
        add_peer(office, org)
    waiting = asyncio.Barrier(2)

    async def probe(org):
        await asyncio.wait_for(waiting.wait(), 5)

    assert [answer.verdict for answer in checks_of(office, probe) if answer.check == "peers"] == [OK, OK]


CLOCKS = {
    "nobody says": ({}, SKIP),
    "they agree": ({LAB_B: 3, AISI: -2}, OK),
    "they differ a little": ({LAB_B: 100, AISI: 0}, WARN),
    "one of several is wrong": ({LAB_B: SKEW_SECONDS + 1, AISI: 0, LAB_A: 1}, WARN),
    "ours is wrong": ({LAB_B: 86_400, AISI: 86_401}, FAIL),
}


@pytest.mark.parametrize(("skews", "verdict"), CLOCKS.values(), ids=CLOCKS)
def test_of_clocks_that_differ_the_one_is_wrong_that_is_alone(skews, verdict):
    assert compare_clocks(skews).verdict == verdict
