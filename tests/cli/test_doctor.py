"""How the node does: what is checked, what waits, and how the contact with each peer goes."""

import json

import pytest

from tests.cli.messages import NOON, RECORD_ID, organisation, peer
from tocsin.v1 import desk_service_pb2 as v1

OK, WARNING, FAILURE, SKIPPED = (
    getattr(v1, f"CHECK_VERDICT_{name}") for name in ("OK", "WARNING", "FAILURE", "SKIPPED")
)


def check(name, verdict=OK, message="fine", hint=""):
    return v1.RunChecksResponse(check=name, verdict=verdict, message=message, hint=hint)


def step(name, verdict=OK, message="fine", hint=""):
    return v1.TestPeerResponse(step=name, verdict=verdict, message=message, hint=hint)


@pytest.mark.parametrize(
    ("verdicts", "code", "end"),
    [
        pytest.param([OK, OK], 0, "all is well", id="all is well"),
        pytest.param([OK, WARNING], 0, "2 checks, 0 failed, 1 to look at", id="something to look at"),
        pytest.param([WARNING, FAILURE], 9, "2 checks, 1 failed, 1 to look at", id="something that does not work"),
        pytest.param([OK, SKIPPED], 0, "all is well", id="something that was not tried"),
    ],
)
def test_the_doctor_exits_9_where_something_does_not_work(tocsin, desk, verdicts, code, end):
    checks = [check(f"check {at}", verdict) for at, verdict in enumerate(verdicts)]
    desk(*checks)
    shown = tocsin("doctor")
    assert (shown.code, shown.err.strip()) == (code, end)
    desk(*checks)
    assert tocsin("doctor", "--json").code == code


def test_each_check_has_its_verdict_and_how_to_mend_it(tocsin, desk):
    desk(
        check("clock"),
        check("certificate", WARNING, "it expires in 12 days", "tocsin keys rotate tls"),
        check("disk", FAILURE, "3 MiB are left"),
        check("peers", SKIPPED, "none"),
    )
    assert tocsin("doctor").out.splitlines() == [
        "OK    clock           fine",
        "WARN  certificate     it expires in 12 days",
        "                      → tocsin keys rotate tls",
        "FAIL  disk            3 MiB are left",
        "SKIP  peers           none",
    ]


def test_checks_are_a_document_too(tocsin, desk):
    desk(check("disk", FAILURE, "3 MiB are left", "make room"))
    assert json.loads(tocsin("doctor", "--json").out) == {
        "checks": [{"check": "disk", "verdict": "failure", "message": "3 MiB are left", "hint": "make room"}]
    }


def test_a_peer_is_tested_step_by_step(tocsin, desk):
    fake = desk(
        step("policy"), step("wire", FAILURE, "nobody answers", "ask them"), step("stored", SKIPPED, "not sent")
    )
    shown = tocsin("peer", "test", "aisi.example")
    assert fake.asked == [v1.TestPeerRequest(org="aisi.example")]
    assert shown.code == 9
    assert [line.split()[:2] for line in shown.out.splitlines()] == [
        ["OK", "policy"],
        ["FAIL", "wire"],
        ["→", "ask"],
        ["SKIP", "stored"],
    ]
    desk(step("policy"))
    shown = tocsin("peer", "test", "aisi.example", "--json")
    assert shown.code == 0
    assert json.loads(shown.out)["peer"] == "aisi.example"


def delivery(state, **fields):
    made = v1.Delivery(partner="aisi.example", record_id=RECORD_ID, title="T", state=state, **fields)
    made.since.FromSeconds(NOON)
    return made


def test_the_outbox_says_for_each_delivery_why_it_waits(tocsin, desk):
    held = delivery(v1.DELIVERY_STATE_HELD, why="the rule holds it for an hour")
    held.until.FromSeconds(NOON + 3600)
    in_review = delivery(v1.DELIVERY_STATE_IN_REVIEW, review="Xk4mT0aBcd", why="1 more person has to agree")
    fake = desk(v1.ListOutboxResponse(deliveries=[held, in_review]))
    shown = tocsin("outbox", "--partner", "aisi.example")
    assert fake.asked == [v1.ListOutboxRequest(partner="aisi.example", page_size=50)]
    first, second = shown.out.splitlines()[1:]
    assert first.split()[:3] == ["aisi.example", RECORD_ID[:8], "held"]
    assert "2026-03-01 13:00" in first
    assert "in review" in second
    assert shown.err == "tocsin: hint: somebody has to agree: tocsin review show Xk4mT0aB\n"


def test_what_was_refused_is_said_not_to_go_again(tocsin, desk):
    desk(v1.ListOutboxResponse(deliveries=[delivery(v1.DELIVERY_STATE_REFUSED, why="aisi.example refused it")]))
    assert "tocsin: hint: what was refused does not go again" in tocsin("outbox").err


def test_an_empty_outbox_says_so(tocsin, desk):
    desk(v1.ListOutboxResponse())
    shown = tocsin("outbox")
    assert (shown.out, shown.err) == ("", "nothing waits: everything that went is acknowledged\n")


def test_an_outbox_that_is_cut_says_so(tocsin, desk):
    desk(v1.ListOutboxResponse(deliveries=[delivery(v1.DELIVERY_STATE_QUEUED)], next_page_token="x"))
    assert tocsin("outbox", "--limit", "1").err == "1 deliveries; --limit shows more\n"


@pytest.fixture
def at_noon(monkeypatch):
    monkeypatch.setattr("tocsin_cli.commands.peer.now", lambda: NOON)


def waiting_peer(**fields):
    found = peer(
        contact=v1.CONTACT_STATE_WAITING,
        failures=3,
        waiting=7,
        entries_sent=12,
        entries_acknowledged=10,
        **fields,
    )
    found.next_attempt_at.FromSeconds(NOON + 90)
    found.oldest_waiting_at.FromSeconds(NOON - 7200)
    return found


@pytest.mark.usefixtures("at_noon")
def test_status_says_how_the_contact_goes_and_how_far_behind_a_peer_is(tocsin, desk):
    calm = peer(contact=v1.CONTACT_STATE_IN_TOUCH)
    desk(v1.GetStatusResponse(organisation=organisation(), peers=[waiting_peer(), calm]))
    heading, behind, in_touch = tocsin("status").out.splitlines()[-3:]
    assert heading.split()[-5:] == ["IN", "FLIGHT", "WAITING", "OLDEST", "CONTACT"]
    assert behind.split()[-8:] == ["2", "7", "2", "h", "again", "in", "1", "min"]
    assert in_touch.split()[-3:] == ["0", "in", "touch"]


@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize(
    ("ahead", "told"),
    [(0, "agrees with ours"), (-1, "agrees with ours"), (700, "11 min ahead of ours"), (-86_400, "1 d behind ours")],
)
def test_peer_show_tells_its_clock_and_when_it_is_called_again(tocsin, desk, ahead, told):
    desk(v1.GetPeerResponse(peer=waiting_peer(clock_ahead=ahead)))
    lines = dict(line.split(maxsplit=1) for line in tocsin("peer", "show", "lab-b.example").out.splitlines() if line)
    assert lines["clock"] == told
    assert lines["contact"] == "again in 1 min"
    assert lines["waiting"] == "7, the oldest for 2 h"
    assert lines["failures"] == "3 attempts since the last one that did not fail"


def test_an_organisation_may_be_known_and_no_more(tocsin, desk, tmp_path):
    (tmp_path / "uni.tocsin").write_bytes(b"{}")
    fake = desk(v1.AddPeerResponse(peer=peer(v1.PEER_STATE_KNOWN)))
    shown = tocsin("peer", "add", tmp_path / "uni.tocsin", "--known", "--fingerprint", "F")
    assert fake.asked == [v1.AddPeerRequest(document=b"{}", fingerprint="F", known=True)]
    assert shown.out == "lab-b.example is known\n"
    assert "relayed = true" in shown.err
    refused = tocsin("peer", "add", tmp_path / "uni.tocsin", "--known", "--role", "reader")
    assert (refused.code, refused.out) == (2, "")
