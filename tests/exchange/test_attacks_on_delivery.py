"""What an exchange of this kind is attacked with on the way, one sentence for each.

The numbers are those of docs/threats.md, "Attacks on delivery".
"""

from contextlib import suppress

import pytest

from tests.exchange import notary
from tests.exchange.pages import log, proved
from tests.exchange.parties import A, B, C, Party, founded
from tests.store.making import make_record, make_retraction, record_id
from tests.support.organisations import NOW
from tocsin.audit.entry import Event
from tocsin.errors import (
    MalformedCursor,
    OriginStopped,
    PeerMisbehaved,
    ReceiptRefused,
    RecordExpired,
    StaleCursor,
    TocsinError,
)
from tocsin.exchange import chain
from tocsin.exchange.entry import PageEntry, disclosed_paths
from tocsin.exchange.page import build_page
from tocsin.exchange.recovery import keep_recovered, what_is_held
from tocsin.records.retraction import Action
from tocsin.store.model import EntryKind, RecordFilter, Standing
from tocsin.store.sqlite import open_store

HOUR, DAY = 3600, 86_400
FEED = "A" * 22


def page_of(*carried, sender=A, audience=B):
    """Return a page of whole records, and of retractions of a record, with whatever somebody signed."""
    entries = []
    for sequence, one in enumerate(carried, start=1):
        if isinstance(one, tuple):
            record, retraction = one
            entries.append(PageEntry(sequence, EntryKind.RETRACTION, record.digest, retraction=retraction.token))
        else:
            paths = disclosed_paths(one, one.token.split("~")[1:-1])
            entries.append(PageEntry(sequence, EntryKind.RECORD, one.digest, one.token, disclosed=paths))
    party = founded(sender)
    return build_page(
        [*map(proved, log(entries, sender=sender))],
        feed_id=FEED,
        sender=sender,
        audience=audience,
        checkpoint=notary.show(sender),
        signer=party.delivery,
        now=NOW,
        more=False,
    )


def contact(receiver, sender):
    """Fetch what there is as a node does that calls: receipts that are not taken are signed again, and feeds begun."""
    receiver.hears(sender)
    answer(receiver, sender)
    while True:
        try:
            page = sender.page_for(receiver.org, receiver.cursor_of(sender.org))
        except StaleCursor:
            receiver.store.intake.forget(sender.org)
            continue
        if page is None:
            return
        receiver.take(page, sender=sender.org, of=sender)
        answer(receiver, sender)


def answer(receiver, sender):
    try:
        receiver.hand_over(sender)
    except ReceiptRefused:
        random, now = receiver.office.random, receiver.now
        chain.begin_chain(receiver.store, sender.org, signer=receiver.founded.delivery, random=random, now=now)
        receiver.hand_over(sender)


def shown(party):
    return sorted(record.title for record in party.store.records.list(RecordFilter()).records)


def outcomes(received):
    return [verdict.outcome.value for verdict in received.receipt.verdicts]


@pytest.fixture
def twin(tmp_path):
    """Return a second node of lab-a.example that knows nothing of the first: the same keys, another store."""
    (tmp_path / "twin").mkdir()
    party = Party(A, tmp_path / "twin")
    yield party
    party.store.close()


def put_back(party, path):
    """Return a way to put a party's store back to what it is now."""
    party.store.snapshot(path)

    def back():
        party.store.close()
        party.store = open_store(path)

    return back


# 26. replay


def test_26_a_page_that_is_replayed_changes_nothing_and_is_for_nobody_else(a, b, c):
    a.post()
    page = a.page_for(B)
    b.take(page)
    before = b.state(but={"intake"})
    assert b.take(page, pushed=True).records == 0
    assert b.state(but={"intake"}) == before
    untouched = c.state()
    with pytest.raises(PeerMisbehaved) as refused:
        c.take(page)
    assert refused.value.reason == "PEER_MISBEHAVED"
    assert c.state() == untouched


# 27. a sender that goes back in time


def test_27_a_restored_sender_is_recognised_by_the_first_cursor_and_skips_nothing(a, b, c, tmp_path):
    a.post({"title": "before"})
    b.pull(a)
    back = put_back(a, tmp_path / "old.db")
    lost = a.post({"title": "lost with the disk"})
    b.pull(a)
    back()
    a.now = b.now = c.now = a.now + 2 * HOUR
    with pytest.raises(StaleCursor) as refused:
        a.page_for(B, b.cursor_of(A))
    assert refused.value.reason == "STALE_CURSOR"
    assert a.logged(Event.ROLLED_BACK)
    contact(b, a)
    with pytest.raises(OriginStopped) as waits:
        a.post({"title": "too early"})
    assert waits.value.reason == "ORIGIN_STOPPED", "the other one may have seen more of its log"
    contact(c, a)
    a.post({"title": "after"})
    contact(b, a)
    assert shown(b) == ["after", "before", "lost with the disk"]
    assert b.store.logs.evidence() == ()
    assert set(a.store.recoveries.open()) == {B, C}
    keep_recovered(a.office, B, what_is_held(b.store, A, ""), now=a.now)
    assert a.store.records.get(lost.digest).received_from == B, "known again, and never sent as our own"
    assert a.store.records.versions(A, lost.record_id) == (1,), "so that no version is signed twice"


def test_27_a_restored_sender_that_issues_before_it_has_met_anybody_finds_out_and_stops(a, b, tmp_path):
    a.post({"title": "before"})
    b.pull(a)
    back = put_back(a, tmp_path / "old.db")
    a.post({"title": "lost with the disk"})
    b.pull(a)
    back()
    a.post({"title": "too early"})
    contact(b, a)
    assert shown(b) == ["before", "lost with the disk"]
    with pytest.raises(OriginStopped) as stopped:
        a.post({"title": "after"})
    assert stopped.value.reason == "ORIGIN_STOPPED"
    assert a.logged(Event.LOG_HELD)


def go_back(a, b, path):
    """Put A back to before it sent its second record, which B has taken."""
    a.post({"title": "before"})
    b.pull(a)
    back = put_back(a, path)
    a.post({"title": "first second"})
    b.pull(a)
    back()


def second_again(a):
    """Return a page that gives the number of the second record to another, as if nobody had asked with a cursor."""
    a.post({"title": "second second"})
    page = a.page_for(B)
    assert [entry.sequence for entry in page.entries] == [1, 2]
    return page


def test_27_a_sender_that_goes_back_on_purpose_has_another_history_and_is_stopped(a, b, tmp_path):
    go_back(a, b, tmp_path / "old.db")
    forged = second_again(a)
    before = b.state()
    with pytest.raises(OriginStopped) as stopped:
        b.take(forged, of=a)
    assert stopped.value.reason == "ORIGIN_STOPPED"
    assert [row.kind for row in b.store.logs.evidence(A)] == ["fork"]
    assert b.state() == before


def test_27_one_whose_log_goes_on_but_that_gives_its_numbers_again_on_purpose_is_refused(a, b, c, tmp_path):
    go_back(a, b, tmp_path / "old.db")
    for peer in (b, c):  # who give its log back
        a.hears(peer)
    forged = second_again(a)
    b.hears(a)
    before = b.state()
    with pytest.raises(PeerMisbehaved):
        b.take(forged)
    with pytest.raises(StaleCursor):
        b.take(forged, pushed=True)
    assert b.state() == before


# 28. equivocation


@pytest.fixture
def twice():
    return [make_record({"title": title}, record_id=record_id("twice")) for title in ("one", "other")]


def test_28_a_log_with_two_records_under_one_id_and_version_stops_its_origin_and_neither_is_taken(b, twice):
    before = b.state()
    with pytest.raises(OriginStopped) as stopped:
        b.take(page_of(*twice))
    assert stopped.value.reason == "ORIGIN_STOPPED"
    assert [row.kind for row in b.store.logs.evidence(A)] == ["entries"]
    assert b.state() == before


def test_28_two_records_under_one_id_and_version_are_kept_as_evidence_and_neither_is_shown(b, twice):
    one, other = twice
    b.store.records.add(one, received_from=A, now=NOW)  # it came before there were logs
    received = b.take(page_of(other))
    assert outcomes(received) == ["refused"]
    assert received.receipt.verdicts[0].reason == "EQUIVOCATION"
    assert shown(b) == []
    (found,) = b.store.records.equivocations()
    assert found == (A, one.record_id, 1, tuple(sorted((one.digest, other.digest))))
    for record in (one, other):
        assert b.store.records.get(record.digest).standing is Standing.EQUIVOCAL


# 29. cursors


def test_29_a_cursor_that_no_node_made_is_refused_and_nobody_reads_anothers_feed(a, b, c):
    for _ in range(2):
        a.post()
    b.pull(a)
    c.pull(a)
    feed, sequence, tag = b.cursor_of(A).split(".")
    assert a.page_for(B, f"{feed}.{sequence}.{tag}") is None
    of_another = c.cursor_of(A)
    for cursor in (f"{feed}.3.{tag}", f"{feed}.9999999999999999.{tag}", f"{feed}.2.{'B' * 10}A", of_another):
        with pytest.raises(StaleCursor):
            a.page_for(B, cursor)
    for cursor in (
        f"{feed}.02.{tag}",
        f"{feed}.-1.{tag}",
        f"{feed}.2.{tag}=",
        f"{feed}.2.",
        f"x.{tag}",
        "\0",
        "9" * 99,
    ):
        with pytest.raises(MalformedCursor):
            a.page_for(B, cursor)


# 30. retractions


@pytest.mark.parametrize("action", [Action.WITHDRAW, Action.PURGE])
def test_30_a_retraction_that_comes_first_waits_for_its_record(b, action):
    record = make_record()
    received = b.take(page_of((record, make_retraction(record, action)), record))
    assert outcomes(received) == ["applied", "retracted"]
    assert shown(b) == []
    assert bool(b.store.records.token(record.digest)) is (action is Action.WITHDRAW)


def test_30_what_was_purged_stays_so_whoever_sends_it_again_and_asking_twice_changes_nothing(a, b):
    record = a.post()
    b.pull(a)
    a.retract(record, Action.PURGE)
    b.pull(a)
    retraction = make_retraction(record, Action.PURGE)
    received = b.take(page_of((record, retraction), (record, retraction), record))
    assert outcomes(received) == ["applied", "applied", "retracted"]
    assert not b.store.records.token(record.digest)
    b.store.intake.forget(A)
    assert outcomes(b.take(page_of(record))) == ["retracted"]
    assert shown(b) == []
    assert not b.store.records.token(record.digest)


def test_30_nobody_but_its_origin_retracts_a_record(a, b):
    record = a.post()
    b.pull(a)
    in_its_name = make_retraction(record, by=founded(C))
    in_anothers = make_retraction(make_record(record_id=record.record_id, by=founded(C)), by=founded(C))
    received = b.take(page_of((record, in_its_name), (record, in_anothers), sender=C), sender=C)
    assert [(verdict.outcome, verdict.reason) for verdict in received.receipt.verdicts] == [
        ("refused", "KEY_NOT_OF_ISSUER"),
        ("refused", "KEY_NOT_OF_ISSUER"),
    ]
    assert shown(b) == [record.content["title"]]


# 31. receipts


def refused_receipts(a, receipts, *, giver=B):
    before = a.store.feeds.get(B).acknowledged
    with pytest.raises(ReceiptRefused) as refused:
        a.take_receipts(receipts, giver=giver)
    assert a.store.feeds.get(B).acknowledged == before
    assert a.logged(Event.RECEIPT_REFUSED)[-1]["details"]["reason"] == refused.value.reason
    return refused.value.reason


def test_31_a_receipt_for_what_was_never_sent_is_refused_and_shown(a, b, twin):
    a.post()
    a.page_for(B)
    twin.post()
    b.take(twin.page_for(B))
    assert refused_receipts(a, b.receipts_for(A)) == "NEVER_SENT"


def test_31_a_receipt_of_another_or_out_of_its_chain_is_refused(a, b, c):
    for _ in range(2):
        a.post()
        b.take(a.page_for(B, b.cursor_of(A)))
    c.take(a.page_for(C))
    first, second = b.receipts_for(A)
    head, payload, signature = first.split(".")
    forged = f"{head}.{payload}.{signature[:-4]}AAAA"
    for statements in ([forged], c.receipts_for(A), ["x"], [""]):
        assert refused_receipts(a, statements) == "BAD_RECEIPT"
    assert refused_receipts(a, [second]) == "BAD_CHAIN"
    a.take_receipts([first, second], giver=B)
    assert a.store.feeds.get(B).acknowledged == 2
    a.take_receipts([first], giver=B)
    assert a.store.feeds.get(B).acknowledged == 2, "the same again is no step back"


# 32. clocks


@pytest.mark.parametrize("who", ["sender", "receiver"])
@pytest.mark.parametrize("jump", [DAY, -DAY, 4_102_444_800 - NOW, -NOW], ids=["+1 day", "-1 day", "2100", "1970"])
def test_32_a_clock_that_jumps_loses_nothing_and_sends_nothing_twice(a, b, who, jump):
    a.post({"title": "one"})
    b.pull(a)
    a.post({"title": "two"})
    jumping = a if who == "sender" else b
    jumping.now += jump
    with suppress(TocsinError):  # whether it goes meanwhile is for policy and dates to say
        contact(b, a)
    jumping.now = NOW
    a.post({"title": "three"})
    contact(b, a)
    assert shown(b) == ["one", "three", "two"]
    assert a.store.feeds.get(B).acknowledged == a.store.feeds.get(B).head == 3
    assert a.page_for(B, b.cursor_of(A)) is None


def test_32_what_was_signed_in_the_future_waits_and_what_stands_before_it_does_not(b):
    page = page_of(make_record({"title": "today"}), make_record({"title": "tomorrow"}, now=NOW + DAY))
    assert outcomes(b.take(page)) == ["stored"]
    with pytest.raises(RecordExpired) as waits:
        b.take(page)
    assert waits.value.reason == "NOT_VALID_NOW"
    assert shown(b) == ["today"]
    b.now += DAY
    assert outcomes(b.take(page)) == ["stored"]
    assert shown(b) == ["today", "tomorrow"]
