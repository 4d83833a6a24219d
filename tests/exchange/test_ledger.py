"""What an organisation issues is in its log: with what it is about, or not at all."""

import pytest

from tests.exchange.parties import B
from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.errors import Conflict
from tocsin.records.retraction import Action
from tocsin.release.ledger import enter_earlier, entry_of
from tocsin.tlog.proof import verify_proof


def logged(party):
    return party.store.logs.entries(party.org, start=0, limit=99)


def proved(party, entry):
    organisation = party.founded.organisation
    proof = party.office.tlog.prove(entry)
    origin = f"{party.org}/tocsin"
    return verify_proof(proof, entry, origin=origin, vkeys=organisation.log_vkeys, quorum=None, now=NOW).index


def test_every_version_and_every_retraction_has_an_entry_and_a_proof(a):
    first = a.post({"title": "one"})
    second, _ = a.amend(first, {"title": "two"})
    a.retract(second, Action.WITHDRAW)
    one, two, correction, withdrawal = logged(a)
    assert {one, two} == {entry_of(first), entry_of(second)} or {one, correction} == {entry_of(first), entry_of(second)}
    assert [proved(a, entry) for entry in (one, two, correction, withdrawal)] == [0, 1, 2, 3]


def test_what_is_posted_again_is_entered_once(a):
    record = a.post()
    a.publish(record, partners=(B,))
    assert logged(a) == (entry_of(record),)


def test_what_is_refused_is_not_entered(a):
    record = a.post()
    other = make_record({"title": "other"}, by=a.founded, record_id=record.record_id)
    with pytest.raises(Conflict):
        a.publish(other, partners=(B,))
    assert logged(a) == (entry_of(record),)


def test_where_it_cannot_be_entered_nothing_is_issued(a, monkeypatch):
    def full(*_args, **_more):
        raise OSError("no log")

    monkeypatch.setattr(type(a.store.logs), "append", full)
    with pytest.raises(OSError, match="no log"):
        a.post()
    assert a.store.records.counts().own == 0


def test_the_entry_of_what_was_purged_stays(a):
    record = a.post()
    a.retract(record, Action.PURGE)
    assert entry_of(record) in logged(a)


def test_what_others_issued_is_no_entry_of_ours(a, b):
    a.post()
    b.pull(a)
    assert logged(b) == ()


def test_what_was_issued_before_there_was_a_log_is_entered_once(a):
    first = a.post({"title": "one"})
    second, _ = a.amend(first, {"title": "two"})
    a.retract(second, Action.WITHDRAW)
    before = set(logged(a))
    a.store.logs.cut(a.org, 0)
    assert enter_earlier(a.store, a.office.tlog, now=NOW) == 4
    assert set(logged(a)) == before
    assert enter_earlier(a.store, a.office.tlog, now=NOW) == 0
    a.office.tlog.verify(a.founded.organisation.log_vkeys)
