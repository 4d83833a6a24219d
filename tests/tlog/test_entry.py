"""An entry says nothing to strangers, and to whoever holds the record exactly which version it is."""

import hashlib

import pytest

from tests.support.organisations import seeded
from tocsin.errors import MalformedLog, MalformedName
from tocsin.identity.names import new_record_id
from tocsin.records.retraction import Action
from tocsin.tlog.entry import ENTRY_BYTES, digest_half, id_half, record_entry, retraction_entry

RECORD = "1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11"
DIGEST = hashlib.sha256(b"a token").digest()


def test_the_entry_of_a_version_is_what_the_format_says():
    expected = hashlib.sha256(b"tocsin-id/v1\n1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11\n2\n").digest()
    assert record_entry(RECORD, 2, DIGEST) == expected + DIGEST


def test_the_entry_of_a_retraction_is_what_the_format_says():
    expected = hashlib.sha256(b"tocsin-retraction/v1\n1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11\n2\npurge\n").digest()
    assert retraction_entry(RECORD, 2, Action.PURGE, DIGEST) == expected + DIGEST


def test_an_entry_comes_apart_into_its_halves():
    entry = record_entry(RECORD, 1, DIGEST)
    assert len(entry) == ENTRY_BYTES == 64
    assert id_half(entry) + digest_half(entry) == entry
    assert digest_half(entry) == DIGEST


def test_no_two_versions_retractions_or_records_share_an_id_half():
    ids = [new_record_id(seeded(str(number))) for number in range(10)]
    entries = [record_entry(each, version, DIGEST) for each in ids for version in range(1, 30)]
    entries += [
        retraction_entry(each, version, action, DIGEST) for each in ids for version in range(1, 30) for action in Action
    ]
    assert len({id_half(entry) for entry in entries}) == len(entries)


def test_two_records_under_one_id_and_version_share_the_id_half():
    other = record_entry(RECORD, 1, hashlib.sha256(b"another token").digest())
    assert id_half(other) == id_half(record_entry(RECORD, 1, DIGEST))
    assert digest_half(other) != DIGEST


@pytest.mark.parametrize("half", [id_half, digest_half])
@pytest.mark.parametrize("length", [0, 32, 63, 65, 128])
def test_an_entry_of_another_length_has_no_halves(half, length):
    with pytest.raises(MalformedLog) as refusal:
        half(bytes(length))
    assert refusal.value.reason == "BAD_ENTRY"


@pytest.mark.parametrize("record_id", [RECORD.upper(), f"{RECORD}\n1", RECORD[:-1], ""])
def test_a_record_id_has_one_spelling(record_id):
    for make in (lambda: record_entry(record_id, 1, DIGEST), lambda: retraction_entry(record_id, 1, "purge", DIGEST)):
        with pytest.raises(MalformedName) as refusal:
            make()
        assert refusal.value.reason == "BAD_NAME"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: record_entry(RECORD, 0, DIGEST), id="version 0"),
        pytest.param(lambda: record_entry(RECORD, 1, DIGEST[1:]), id="short digest"),
        pytest.param(lambda: record_entry(RECORD, 1, DIGEST.hex().encode()), id="digest as text"),
        pytest.param(lambda: retraction_entry(RECORD, -1, "purge", DIGEST), id="negative version"),
        pytest.param(lambda: retraction_entry(RECORD, 1, "", DIGEST), id="no action"),
        pytest.param(lambda: retraction_entry(RECORD, 1, "purge\n", DIGEST), id="action with a line break"),
    ],
)
def test_what_cannot_be_issued_is_a_mistake_of_the_caller(make):
    with pytest.raises(RuntimeError):
        make()
