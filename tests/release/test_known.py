"""What was verified is remembered for exactly its text, its identity and its time, and for nothing else."""

from contextlib import suppress
from dataclasses import replace

import pytest

from tests.exchange.parties import A, founded
from tests.store.making import make_record
from tests.support.organisations import NOW, found, seeded
from tocsin.errors import SignatureMismatch, UntrustedIssuer
from tocsin.identity.keys import generate_ed25519
from tocsin.identity.signer import FileSigner
from tocsin.records import record as records
from tocsin.release import known as module
from tocsin.release.known import Known

ORIGIN = founded(A).organisation


@pytest.fixture
def verified(monkeypatch):
    """Return the texts that were verified whole."""
    texts = []

    def parse(token):
        texts.append(token)
        return records.parse_record(token)

    monkeypatch.setattr(module, "parse_record", parse)
    return texts


def verify(known, record, *, token="", origin=ORIGIN, now=NOW):
    return known.verify(token or record.token, digest=record.digest, origin=origin, now=now)


def test_the_same_text_is_verified_once(verified):
    known, record = Known(), make_record()
    assert verify(known, record) == record
    assert verify(known, record, now=NOW + 9) is verify(known, record)
    assert verified == [record.token]


CHANGED = {
    "another text under its digest": {"token": make_record().token},
    "another identity document": {"origin": found(A, now=NOW + 1000).organisation},
    "an earlier time": {"now": NOW - 1},
}


@pytest.mark.parametrize("case", CHANGED)
def test_anything_else_is_verified_anew(verified, case):
    known, record = Known(), make_record()
    verify(known, record)
    with suppress(UntrustedIssuer):  # the other document's keys came later
        verify(known, record, **CHANGED[case])
    assert len(verified) == 2


def test_what_expires_is_verified_each_time(verified):
    known, record = Known(), make_record(exp=NOW + 100)
    verify(known, record)
    verify(known, record)
    assert len(verified) == 2


def test_of_what_was_posted_the_signature_is_verified_once(verified, monkeypatch):
    known, record, signatures = Known(), make_record(), []
    is_signed = module.verify_issued
    monkeypatch.setattr(module, "verify_issued", lambda *given: signatures.append(given) or is_signed(*given))
    known.note_posted(record, frozenset())
    assert known.verify_ahead(record.digest, ours=ORIGIN, now=NOW)
    assert verify(known, record) is record
    assert (verified, len(signatures)) == ([], 1)


def test_what_was_posted_under_another_key_is_not_let_through():
    known, stranger = Known(), FileSigner(generate_ed25519(seeded("stranger")))
    record = make_record(by=replace(founded(A), record=stranger))
    known.note_posted(record, frozenset())
    assert not known.verify_ahead(record.digest, ours=ORIGIN, now=NOW)
    with pytest.raises(UntrustedIssuer) as refused:
        verify(known, record)
    assert refused.value.reason == "KEY_NOT_OF_ISSUER"


def test_a_signature_that_was_made_wrong_is_not_let_through():
    class Broken:
        key_id = founded(A).record.key_id

        def sign(self, data):
            return bytes(64)

    known, record = Known(), make_record(by=replace(founded(A), record=Broken()))
    known.note_posted(record, frozenset())
    assert not known.verify_ahead(record.digest, ours=ORIGIN, now=NOW)
    with pytest.raises(SignatureMismatch):
        verify(known, record)


def test_it_is_whole_as_it_was_posted_for_those_it_was_posted_for():
    known, record = Known(), make_record()
    assert not known.is_whole(record.digest, record.token, frozenset())
    verify(known, record)
    assert not known.is_whole(record.digest, record.token, frozenset())
    known.note_whole(record.digest, record.token, frozenset())
    assert known.is_whole(record.digest, record.token, frozenset())
    assert not known.is_whole(record.digest, record.token + "~", frozenset())
    assert not known.is_whole(record.digest, record.token, frozenset({"lab-b.example"}))


def test_the_least_used_are_forgotten():
    first, second, third = (make_record({"title": f"n{number}"}) for number in range(3))
    known = Known(most=len(first.token) + len(second.token))
    for record in (first, second, first, third):
        verify(known, record)
    held = [known.verify_ahead(record.digest, ours=ORIGIN, now=NOW) for record in (first, second, third)]
    assert held == [len(first.token), 0, len(third.token)]


def test_what_is_erased_is_forgotten():
    known, record = Known(), make_record()
    verify(known, record)
    known.forget(record.digest)
    assert not known.verify_ahead(record.digest, ours=ORIGIN, now=NOW)
    assert verify(known, record) == record, "for whoever has read it a moment before"
    assert not known.verify_ahead(record.digest, ours=ORIGIN, now=NOW)
