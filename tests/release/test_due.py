"""What has a time goes when its time has come, not before, and after a downtime as well, saying how late."""

import pytest

from tests.exchange.parties import APPROVED, HELD, HOUR, NARROW, OPEN, A, B, C
from tests.store.making import make_record, record_id
from tests.support.organisations import NOW
from tocsin.errors import Overloaded
from tocsin.records.envelope import Downgrade
from tocsin.release import due
from tocsin.release.due import MOST_AT_ONCE
from tocsin.release.weigh import Weighed, weigh
from tocsin.store.model import Due, DueKind, PeerState, RecordFilter

HOLD = 72 * HOUR
EMBARGO = {"embargo": {"state": "agreed", "until": "2026-03-04T12:00:00Z"}}  # three days from NOW
UNTIL = NOW + 72 * HOUR
DOWNGRADES = (Downgrade("2026-03-02T12:00:00Z", "AMBER"), Downgrade("2026-03-03T12:00:00Z", "GREEN"))
LATER = OPEN + 'withhold = ["subjects"]\nwithhold_until = 2026-03-04T12:00:00Z\n'


def dues(party):
    return party.store.dues.until(NOW + 10 * 365 * 24 * HOUR, limit=100)


def kinds(party):
    return [(one.kind.value, one.partner, one.due_at) for one in dues(party)]


class TestHolds:
    def test_a_held_record_goes_when_the_hold_is_over_and_not_a_second_before(self, a, b):
        a.set_policies(lab_b=HELD)
        record = a.post(partners=(B,))
        assert kinds(a) == [("hold", B, NOW + HOLD)]
        for a.now, acted in ((NOW, 0), (NOW + HOLD - 1, 0), (NOW + HOLD, 1)):
            assert a.page_for(B) is None
            assert len(a.keep_time()) == acted
        assert dues(a) == ()
        b.now = a.now
        assert [received.records for received in b.pull(a)] == [1]
        assert a.logged("due")[0]["details"] == {"kind": "hold", "due_at": NOW + HOLD, "late": 0}
        assert a.logged("due")[0]["digest"] == record.digest

    def test_a_hold_that_ended_while_nobody_was_there_says_how_late_it_is(self, a):
        a.set_policies(lab_b=HELD)
        a.post(partners=(B,))
        a.now = NOW + HOLD + 5 * HOUR
        (acted,) = a.keep_time()
        assert (acted.kind, acted.partner, acted.late, acted.queued) == (DueKind.HOLD, B, 5 * HOUR, (B,))
        assert a.keep_time() == ()

    def test_the_hold_is_asked_again_when_the_page_is_made(self, a):
        record = a.post(partners=(B,))
        a.set_policies(lab_b=HELD)
        assert a.page_for(B) is None
        assert kinds(a) == [("hold", B, NOW + HOLD)], "what waits after all is noted"
        assert a.store.feeds.sent(B, record.digest) is None

    def test_a_hold_runs_while_people_look_at_it(self, a, b):
        a.set_policies(lab_b=HELD + "approvals = 1\n")
        a.post(partners=(B,))
        assert a.decide(*a.proposals()).queued == ()
        assert a.page_for(B) is None
        a.now = b.now = NOW + HOLD
        assert [one.queued for one in a.keep_time()] == [(B,)]
        assert [received.records for received in b.pull(a)] == [1]

    def test_a_hold_that_is_over_before_people_agree_lets_nothing_go(self, a):
        a.set_policies(lab_b=HELD + "approvals = 1\n")
        a.post(partners=(B,))
        a.now = NOW + HOLD
        assert [one.queued for one in a.keep_time()] == [()]
        assert a.page_for(B) is None
        assert a.decide(*a.proposals()).queued == (B,)

    def test_a_record_that_was_replaced_while_it_was_held_does_not_go(self, a):
        a.set_policies(lab_b=HELD)
        record = a.post(partners=(B,), record_id=record_id("held"))
        a.post(record_id=record.record_id, version=2, supersedes=record.digest, tlp="RED")
        a.now = NOW + HOLD
        assert [one.queued for one in a.keep_time()] == [()]
        assert a.page_for(B) is None

    def test_a_partner_that_is_suspended_by_then_gets_nothing(self, a):
        a.set_policies(lab_b=HELD)
        a.post(partners=(B,))
        a.store.peers.set_state(B, PeerState.SUSPENDED)
        a.now = NOW + HOLD
        assert [one.queued for one in a.keep_time()] == [()]


class TestEmbargoes:
    def test_an_embargoed_record_goes_when_the_embargo_ends(self, a, b):
        a.post(EMBARGO, partners=(B,))
        assert kinds(a) == [("embargo", B, UNTIL)]
        assert a.page_for(B) is None
        a.now = b.now = UNTIL
        assert [one.queued for one in a.keep_time()] == [(B,)]
        assert [received.records for received in b.pull(a)] == [1]

    def test_a_partner_named_for_the_record_gets_it_at_once(self, a, b):
        a.post(EMBARGO, to=[B])
        assert [received.records for received in b.pull(a)] == [1]

    def test_what_is_withheld_until_a_date_follows_as_disclosures(self, a, b):
        a.set_policies(lab_b=LATER)
        record = a.post(partners=(B,))
        b.pull(a)
        assert "subjects" not in b.store.records.get(record.digest).content
        told = {note.path: note.until for note in b.store.intake.withheld(record.digest)}
        assert told == {"prompts": 0, "subjects": UNTIL}
        a.now = b.now = UNTIL
        assert [one.queued for one in a.keep_time()] == [(B,)]
        assert [received.disclosures for received in b.pull(a)] == [1]
        assert b.store.records.get(record.digest).content["subjects"] == record.content["subjects"]


class TestDowngrades:
    def test_a_lowered_marking_counts_at_the_origin_and_opens_what_it_opens(self, a, b):
        a.set_policies(lab_b=OPEN.replace('"AMBER"', '"GREEN"'))
        record = a.post(tlp="RED", downgrade_at=DOWNGRADES, partners=(B,))
        assert [kind for kind, _, _ in kinds(a)].count("downgrade") == 2
        assert a.page_for(B) is None
        a.now = b.now = NOW + 24 * HOUR
        a.keep_time()
        assert a.store.records.get(record.digest).marking == "AMBER"
        assert a.page_for(B) is None
        a.now = b.now = NOW + 48 * HOUR
        assert B in {org for one in a.keep_time() for org in one.queued}
        assert [received.records for received in b.pull(a)] == [1]
        assert b.store.records.get(record.digest).tlp == "RED", "what was signed stays as it was signed"

    def test_the_receiver_lowers_it_too(self, a, b):
        a.set_policies(lab_b=OPEN.replace('"AMBER"', '"RED"'))
        record = a.post(tlp="RED", downgrade_at=DOWNGRADES, partners=(B,))
        b.pull(a)
        assert b.store.records.list(RecordFilter(tlp="RED")).total == 1
        b.now = NOW + 50 * HOUR
        acted = b.keep_time()
        assert [(one.kind, one.digest, one.late) for one in acted] == [
            (DueKind.DOWNGRADE, record.digest, 26 * HOUR),
            (DueKind.DOWNGRADE, record.digest, 2 * HOUR),
        ]
        assert b.store.records.get(record.digest).marking == "GREEN"

    def test_the_marking_stays_where_the_record_does_not_verify_any_more(self, a, b):
        a.set_policies(lab_b=OPEN.replace('"AMBER"', '"RED"'))
        record = a.post(tlp="RED", downgrade_at=DOWNGRADES, partners=(B,), exp=NOW + 30 * HOUR)
        b.pull(a)
        b.now = NOW + 50 * HOUR
        b.keep_time()
        assert b.store.records.get(record.digest).marking == "RED"
        assert dues(b) == ()


class TestRetention:
    KEPT = "2026-03-02T12:00:00Z"

    def test_what_was_received_is_deleted_and_known_by_its_plain_claims(self, a, b):
        record = a.post(retention_until=self.KEPT, partners=(B,))
        b.pull(a)
        b.now = NOW + 24 * HOUR
        (acted,) = b.keep_time()
        assert (acted.kind, acted.digest, acted.late) == (DueKind.RETENTION, record.digest, 0)
        held = b.store.records.get(record.digest)
        assert (held.token, held.content) == ("", {})
        assert b.store.records.search("calendar") == ()
        assert [(one["digest"], one["partner"]) for one in b.logged("erased")] == [(record.digest, A)]

    def test_what_was_deleted_does_not_come_back(self, a, b):
        record = a.post(retention_until=self.KEPT, partners=(B,))
        page = a.page_for(B)
        b.take(page)
        b.now = NOW + 24 * HOUR
        b.keep_time()
        b.store.intake.forget(A)
        assert b.take(page).refused == 1
        assert b.store.records.get(record.digest).token == ""

    def test_the_origin_sends_it_no_more_and_keeps_it(self, a):
        a.set_policies(lab_b=APPROVED)
        record = a.post(retention_until=self.KEPT, partners=(B,))
        assert len(a.proposals()) == 1
        a.now = NOW + 24 * HOUR
        a.keep_time()
        assert a.proposals() == []
        assert a.page_for(B) is None
        assert a.store.records.get(record.digest).token == record.token


class TestWeighing:
    def weighed(self, a, record):
        return weigh(a.office, record, partners=(B,), now=a.now)[B]

    @pytest.mark.parametrize(
        ("rules", "expected"),
        [(OPEN, "queued"), (NARROW, "queued"), (HELD, "waiting"), (APPROVED, "waiting"), ("", "nothing")],
    )
    def test_a_record_is_queued_or_waits_or_there_is_nothing(self, a, rules, expected):
        a.set_policies(lab_b=rules)
        record = a.post(partners=())
        assert self.weighed(a, record) == expected
        assert a.store.feeds.waiting(B) == (expected == "queued")

    def test_what_the_partner_holds_is_nothing(self, a, b):
        record = a.post()
        b.pull(a)
        assert self.weighed(a, record) is Weighed.NOTHING

    def test_an_embargo_is_waited_for(self, a):
        assert self.weighed(a, a.post(EMBARGO, partners=())) is Weighed.WAITING

    def test_posting_says_for_whom_a_record_is_queued_and_who_waits(self, a):
        a.set_policies(aisi=HELD)
        published = a.publish(make_record(by=a.founded))
        assert (published.queued, published.waiting) == ((B,), (C,))


class TestClock:
    def test_with_a_clock_before_the_record_nothing_goes_and_nothing_is_lost(self, a, b):
        record = a.post()
        a.page_for(B)
        newer = a.post({"title": "newer"})
        a.now = NOW - 301
        assert a.page_for(B) is None, "neither what has its number nor what has none yet"
        assert weigh(a.office, record, partners=(B,), now=a.now)[B] is Weighed.WAITING
        a.now = NOW
        (received,) = b.pull(a)
        assert (received.records, received.unchanged) == (2, 0)
        assert newer.digest == b.store.records.get(newer.digest).digest

    def test_a_clock_that_is_a_little_behind_is_no_matter(self, a):
        a.post()
        a.now = NOW - 299
        assert a.page_for(B) is not None


def test_a_thousand_things_are_done_in_their_order(a, monkeypatch):
    monkeypatch.setattr("tocsin.release.due.MOST_AT_ONCE", 3)
    assert MOST_AT_ONCE > 3
    record = a.post()
    for late in range(10):
        a.store.dues.add(Due(DueKind.HOLD, record.digest, B, NOW - late))
    assert [one.late for one in a.keep_time()] == list(reversed(range(10)))


def test_what_cannot_be_done_does_not_hold_up_the_rest(a):
    broken, sound = a.post({"title": "broken"}), a.post({"title": "sound"})
    for record in (broken, sound):
        a.store.dues.add(Due(DueKind.HOLD, record.digest, B, NOW))
    with a.store.transaction():
        a.store._db.execute("UPDATE holdings SET token = substr(token, 2) WHERE record = 1")
    assert [one.digest for one in a.keep_time()] == [broken.digest, sound.digest]
    assert dues(a) == ()


def test_nor_does_what_fails_in_us_and_it_stays_due(a, monkeypatch, caplog):
    broken, sound = a.post({"title": "broken"}), a.post({"title": "sound"})
    for record in (broken, sound):
        a.store.dues.add(Due(DueKind.HOLD, record.digest, B, NOW))
    real, error = due._do, ValueError("canary")

    def do(office, item, stored, *, now):
        if stored.digest == broken.digest:
            raise error
        return real(office, item, stored, now=now)

    monkeypatch.setattr(due, "_do", do)
    assert [one.digest for one in a.keep_time()] == [sound.digest]
    assert [one.digest for one in dues(a)] == [broken.digest]
    assert "failed: ValueError" in caplog.text
    assert "canary" not in caplog.text


def test_without_a_disk_nothing_else_is_tried(a, monkeypatch):
    for number in range(3):
        a.store.dues.add(Due(DueKind.HOLD, a.post({"title": f"{number}"}).digest, B, NOW))
    tried = []

    def do(office, item, stored, *, now):
        tried.append(stored.digest)
        raise Overloaded("the disk is full", reason="NO_SPACE")

    monkeypatch.setattr(due, "_do", do)
    with pytest.raises(Overloaded):
        a.keep_time()
    assert len(tried) == 1
    assert len(dues(a)) == 3
