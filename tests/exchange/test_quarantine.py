"""What a revoked key signed counts where witnesses knew it before, and is kept out where they did not."""

from dataclasses import replace

import pytest

from tests.exchange import notary
from tests.exchange.pages import ANOTHER_FEED, further, page_of, retracting
from tests.exchange.parties import A, C, founded
from tests.store.making import make_record
from tests.support.organisations import NOW, record_key, signer
from tocsin.exchange.receive import read_again
from tocsin.identity.details import index_keys
from tocsin.identity.root import next_version, parse_identity
from tocsin.store.model import Standing
from tocsin.tlog.quorum import parse_quorum

READ, REVOKED, LATER = NOW + 100, NOW + 200, NOW + 300


@pytest.fixture
def before(a, b):
    """Return a record that was logged, and read in the log by another, before its key was revoked."""
    record = a.post(to=(C,))
    a.post()
    a.now = b.now = READ
    b.pull(a)
    return record


def revoke(party, *, at=REVOKED):
    """Let a party hear that lab-a has revoked the record key that it signed everything with."""
    lab = founded(A)
    keys = [record_key(lab.record, status="revoked", revoked_at=at), record_key(signer("another key"))]
    details = replace(lab.organisation, record_keys=index_keys(keys))
    document = next_version(lab.organisation, details, signers=lab.roots, now=REVOKED)
    party.store.peers.set_document(A, document)
    party.now = LATER
    return parse_identity(document, now=REVOKED)


def refusals(party):
    return [refusal.reason for refusal in party.store.intake.refusals(A)]


def test_what_was_read_in_the_log_before_the_key_was_revoked_is_taken(b, before):
    revoke(b)
    assert b.take(page_of(before, feed=ANOTHER_FEED, now=LATER)).records == 1
    assert b.store.records.get(before.digest).standing is Standing.CURRENT


def test_what_came_into_the_log_after_that_is_quarantined_whatever_its_date_says(b, before):
    revoke(b)
    stolen = make_record({"title": "by the thief"}, by=founded(A), now=NOW)
    received = b.take(page_of(stolen, feed=ANOTHER_FEED, now=LATER))
    assert (received.records, received.refused, refusals(b)) == (0, 1, ["QUARANTINED"])
    assert b.store.records.token(stolen.digest) is None


def test_what_was_read_just_when_the_key_was_revoked_is_not_from_before(b, before):
    revoke(b, at=READ)
    b.take(page_of(before, feed=ANOTHER_FEED, now=LATER))
    assert refusals(b) == ["QUARANTINED"]


def test_a_retraction_by_the_thief_takes_nothing_back(b, before):
    revoke(b)
    b.take(page_of(before, retracting(before, now=NOW), feed=ANOTHER_FEED, now=LATER))
    assert refusals(b) == ["QUARANTINED"]
    assert b.store.records.get(before.digest).standing is Standing.CURRENT


def test_what_is_quarantined_is_read_again_when_an_identity_changes(b, before):
    revoke(b)
    b.take(page_of(make_record({"title": "by the thief"}, by=founded(A), now=NOW), feed=ANOTHER_FEED, now=LATER))
    assert read_again(b.store, A)


def test_the_witnesses_of_the_home_decide_where_it_names_some(a, b, before):
    """Our own cosignature is from before, and is not asked for."""
    revoke(b)
    vkey = founded(C).organisation.witness_vkey
    b.quorum = parse_quorum(f"witness aisi {vkey}\nquorum aisi\n")
    b.take(page_of(before, feed=ANOTHER_FEED, now=LATER))
    assert refusals(b) == ["QUARANTINED"]


def test_a_key_that_was_not_revoked_is_not_asked_about(b, before):
    b.now = LATER
    assert b.take(page_of(before, further(before, "summary"), feed=ANOTHER_FEED, now=LATER)).refused == 0
    assert notary.log_of(A).size == 2
