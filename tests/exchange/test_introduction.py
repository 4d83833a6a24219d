"""A peer's newer identity document comes with the first comparison, and is taken where it goes on from the one held."""

from dataclasses import replace

import pytest

from tests.exchange.parties import A, B, founded
from tests.support.organisations import NOW, found, record_key, signer
from tocsin.errors import IdentityOutdated, MalformedIdentity
from tocsin.exchange.introduction import take_identity
from tocsin.identity.details import index_keys
from tocsin.identity.root import next_version, parse_identity
from tocsin.v1 import log_service_pb2 as v1
from tocsin.watch.comparison import Comparison


@pytest.fixture
def newer():
    """Return the second version of lab-a's document, with a further record key."""
    lab = founded(A)
    keys = index_keys([record_key(lab.record), record_key(signer("a further key"))])
    return next_version(lab.organisation, replace(lab.organisation, record_keys=keys), signers=lab.roots, now=NOW)


def document_of(party, org=A):
    return party.store.peers.get(org).document


def comparison(party):
    return Comparison(party.office, party.origin, now=NOW)


def test_a_document_that_goes_on_from_the_one_held_is_taken_and_the_decision_log_says_what_changed(b, newer):
    assert take_identity(b.office, A, newer, now=NOW)
    assert document_of(b) == newer
    (entry,) = b.logged("peer-changed")
    assert (entry["person"], entry["partner"], entry["details"]["version"]) == ("", A, 2)
    assert any("record key" in change for change in entry["details"]["changes"])


def test_the_document_that_is_held_changes_nothing(b):
    assert not take_identity(b.office, A, founded(A).document, now=NOW)
    assert b.logged("peer-changed") == []


def test_an_older_one_is_refused(b, newer):
    take_identity(b.office, A, newer, now=NOW)
    with pytest.raises(IdentityOutdated):
        take_identity(b.office, A, founded(A).document, now=NOW)
    assert document_of(b) == newer


def test_one_that_begins_otherwise_is_refused_and_nothing_changes(b):
    other = found(A, root_keys=2)
    document = next_version(other.organisation, other.organisation, signers=other.roots, now=NOW)
    with pytest.raises(MalformedIdentity) as caught:
        take_identity(b.office, A, document, now=NOW)
    assert caught.value.reason == "BAD_IDENTITY"
    assert document_of(b) == founded(A).document


def test_what_was_refused_for_want_of_it_is_read_again(a, b, newer):
    a.post()
    b.pull(a)
    refused = b.store.intake.cursor(A)
    b.store.intake.move(A, refused, [], now=NOW)
    with b.store.transaction():
        b.store._db.execute("UPDATE verdicts SET outcome = 'refused', reason = 'KEY_NOT_OF_ISSUER'")
    take_identity(b.office, A, newer, now=NOW)
    assert b.store.intake.cursor(A) is None


def test_whoever_holds_an_older_version_is_given_the_newer_one_when_it_asks(a, b, newer):
    a.founded = replace(founded(A), organisation=parse_identity(newer, now=NOW))
    asked = comparison(b).ask(A)
    assert asked.known_version == 1
    assert comparison(a).answer(B, asked).identity == newer
    assert comparison(a).answer(B, v1.CompareRequest(known_version=2)).identity == b""


def test_whoever_asks_hears_which_version_of_its_own_is_held(a, b):
    assert comparison(b).answer(A, v1.CompareRequest()).known_version == 1
