"""The decision log shows every change to what was written, in the store and in a file."""

import json
import tracemalloc
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.audit.conftest import LAB
from tests.support.organisations import NOW, found, record_key, signer
from tocsin.audit.entry import Entry, Event, chain
from tocsin.audit.log import SEAL_TYPE, Log, Verified, dump_row, parse_row, verify_log
from tocsin.encoding import dump_json
from tocsin.errors import AuditInconsistent, MalformedRequest
from tocsin.identity.details import index_keys
from tocsin.records.jws import sign

B = "lab-b.example"
OTHER = found(B)
SENT = Entry(Event.SENT, partner=B, digest="d1", details={"rule": "open", "disclosed": ["title"], "sequence": 1})


@pytest.fixture
def rows(log):
    """Return a log of five entries, written in three parts; the second and third, and the last two, came together."""
    log.append(Entry(Event.FOUNDED, person="first"), now=NOW)
    log.append(Entry(Event.POSTED, person="analyst-1", digest="d1"), SENT, now=NOW + 1)
    log.append(Entry(Event.POLICY_APPLIED, person="counsel"), Entry(Event.PEER_ADDED, partner=B), now=NOW + 2)
    return list(log.rows())


def verify(rows, of=LAB):
    return verify_log(rows, organisation=of.organisation)


def refused(rows, of=LAB):
    """Return what a log is refused for."""
    with pytest.raises(AuditInconsistent) as error:
        verify(rows, of)
    assert error.value.reason == "AUDIT_INCONSISTENT"
    assert error.value.hint
    return error.value.message


def seal_of(row, *, by=LAB.delivery, typ=SEAL_TYPE, **changed):
    claims = {"iss": "lab-a.example", "seq": row.sequence, "hash": row.hash, "iat": row.at} | changed
    return sign(dump_json({name: value for name, value in claims.items() if value is not None}), typ=typ, signer=by)


def changed(rows, number, **values):
    """Return the rows with one changed as it lies there."""
    return [replace(row, **values) if row.sequence == number else row for row in rows]


def rechained(rows, *, by=None):
    """Return the rows as somebody writes them anew, who can compute hashes and may have a key."""
    written = []
    for row in rows:
        details = json.loads(row.body)["details"]
        entry = Entry(Event(row.act), row.person, row.partner, row.digest, details)
        written.append(chain(entry, after=written[-1] if written else None, now=row.at))
    if by:
        written[-1] = replace(written[-1], seal=seal_of(written[-1], by=by))
    return written


class TestWriting:
    def test_an_empty_log_verifies_and_has_no_head(self, log):
        assert verify(log.rows()) == Verified(0, "", 0)

    def test_what_was_written_verifies_and_ends_with_its_head(self, log, rows, store):
        assert verify(rows) == Verified(5, rows[-1].hash, NOW + 2)
        assert store.audit.head() == rows[-1]
        assert [row.sequence for row in rows] == [1, 2, 3, 4, 5]
        assert json.loads(rows[2].body) == {
            "seq": 3,
            "at": NOW + 1,
            "act": "sent",
            "person": "",
            "partner": B,
            "digest": "d1",
            "details": {"rule": "open", "disclosed": ["title"], "sequence": 1},
        }

    def test_what_comes_together_is_sealed_once(self, rows):
        assert [bool(row.seal) for row in rows] == [True, False, True, False, True]

    def test_nothing_to_write_writes_nothing(self, log, rows):
        log.append(now=NOW + 9)
        assert list(log.rows()) == rows

    def test_an_entry_shares_the_fate_of_what_it_is_about(self, log, rows, store):
        with suppress(ZeroDivisionError), store.transaction():
            log.append(SENT, now=NOW + 3)
            assert 1 / 0, "the page could not be signed"
        assert list(log.rows()) == rows
        with store.transaction():
            log.append(SENT, now=NOW + 3)
            log.append(SENT, now=NOW + 3)
        assert verify(log.rows()).entries == 7

    def test_a_log_that_ends_without_a_seal_is_not_taken_up(self, log, rows, store):
        store.audit.append([chain(SENT, after=rows[-1], now=NOW)])
        for call in (lambda: log.append(SENT, now=NOW), lambda: log.seal_tail(now=NOW)):
            with pytest.raises(AuditInconsistent, match=r"entry 6 .* has no seal") as error:
                call()
            assert error.value.reason == "AUDIT_INCONSISTENT"

    def test_a_sealed_log_is_left_as_it_is(self, log, rows):
        log.seal_tail(now=NOW + 9)
        assert list(log.rows()) == rows

    def test_an_empty_log_is_left_empty(self, log):
        log.seal_tail(now=NOW)
        assert list(log.rows()) == []


class TestTampering:
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            pytest.param("at", NOW + 7, id="at"),
            pytest.param("act", "released", id="act"),
            pytest.param("person", "counsel", id="person"),
            pytest.param("partner", "aisi.example", id="partner"),
            pytest.param("digest", "d2", id="digest"),
            pytest.param("body", "{}", id="body"),
            pytest.param("body", "not an entry", id="body that is no JSON"),
            pytest.param("body", "\ud800", id="body that is no text"),
            pytest.param("hash", "A" * 43, id="hash"),
            pytest.param("seal", "not a seal", id="seal"),
        ],
    )
    def test_a_changed_column_shows(self, rows, column, value):
        assert refused(changed(rows, 3, **{column: value})).startswith("entry 3 of the decision log")

    def test_a_changed_number_shows(self, rows):
        assert refused(changed(rows, 3, sequence=9)).startswith("entry 3 of the decision log is missing")

    def test_a_changed_body_shows_even_with_its_columns(self, rows):
        body = rows[2].body.replace(B, "aisi.example")
        assert "its hash is another" in refused(changed(rows, 3, body=body, partner="aisi.example"))

    @pytest.mark.parametrize("body", ['{"details":{}}', "[]", "null"], ids=str)
    def test_a_body_that_is_no_entry_shows_even_under_its_own_hash(self, rows, body):
        assert "does not say" in refused(changed(rows, 3, body=body))

    @pytest.mark.parametrize("number", [1, 2, 3, 4])
    def test_an_entry_that_was_taken_out_shows(self, rows, number):
        kept = [row for row in rows if row.sequence != number]
        assert refused(kept) == (
            f"entry {number} of the decision log is missing: entry {number + 1} stands in its place"
        )

    def test_entries_in_another_order_show(self, rows):
        assert "is missing" in refused([rows[0], rows[2], rows[1], *rows[3:]])
        assert "is missing" in refused(rows[::-1])

    def test_an_entry_that_stands_twice_shows(self, rows):
        assert "is missing" in refused([*rows, rows[-1]])

    def test_an_end_cut_off_between_two_seals_shows(self, rows):
        for length in (2, 4):
            assert refused(rows[:length]) == f"entry {length} of the decision log is the last one and has no seal"

    def test_an_end_cut_off_at_a_seal_shows_only_in_number_and_head(self, rows):
        whole, cut = verify(rows), verify(rows[:3])
        assert (cut.entries, cut.head) == (3, rows[2].hash)
        assert (whole.entries, whole.head) != (cut.entries, cut.head)

    def test_a_log_that_was_written_anew_without_the_key_shows(self, rows):
        doctored = changed(rows, 3, partner="aisi.example")
        assert "has no seal" in refused(rechained(doctored))
        assert "is sealed with a key that is not the organisation's" in refused(
            rechained(doctored, by=signer("a thief"))
        )

    def test_seals_that_are_kept_do_not_fit_a_log_that_was_written_anew(self, rows):
        anew = [replace(row, seal=old.seal) for row, old in zip(rechained(rows[1:]), rows[1:], strict=True)]
        assert refused(anew) == "entry 2 of the decision log has a seal that was made for something else"

    @pytest.mark.parametrize(
        "seal",
        [
            pytest.param({"seq": 4}, id="another place"),
            pytest.param({"hash": "A" * 43}, id="another hash"),
            pytest.param({"iat": NOW}, id="another time"),
            pytest.param({"iss": B}, id="another organisation"),
            pytest.param({"aud": B}, id="one claim more"),
            pytest.param({"iat": None}, id="one claim less"),
        ],
    )
    def test_a_seal_that_says_something_else_shows(self, rows, seal):
        assert "made for something else" in refused(changed(rows, 5, seal=seal_of(rows[4], **seal)))

    @pytest.mark.parametrize(
        ("seal", "why"),
        [
            pytest.param({"typ": "tocsin-page+jwt"}, "does not verify", id="another type"),
            pytest.param({"by": LAB.record}, "not the organisation's", id="its record key"),
            pytest.param({"by": OTHER.delivery}, "not the organisation's", id="another organisation's key"),
        ],
    )
    def test_a_seal_of_another_sort_or_key_shows(self, rows, seal, why):
        assert why in refused(changed(rows, 5, seal=seal_of(rows[4], **seal)))

    def test_a_seal_with_a_bit_turned_shows(self, rows):
        head, payload, signature = rows[4].seal.split(".")
        turned = ("B" if signature[0] == "A" else "A") + signature[1:]
        assert "does not verify" in refused(changed(rows, 5, seal=f"{head}.{payload}.{turned}"))

    def test_a_log_of_another_organisation_is_not_ours(self, rows):
        assert "not the organisation's" in refused(rows, OTHER)


def with_keys(*keys):
    """Return the organisation with these delivery keys, as a later document has them."""
    return replace(LAB, organisation=replace(LAB.organisation, delivery_keys=index_keys(keys)))


def with_key(**values):
    """Return the organisation with its delivery key as a later document has it."""
    (key,) = LAB.organisation.delivery_keys.values()
    return with_keys(replace(key, **values))


class TestKeys:
    @pytest.mark.parametrize(
        "values",
        [
            pytest.param({"status": "revoked", "revoked_at": NOW}, id="revoked"),
            pytest.param({"not_after": NOW + 1}, id="over before the end of the log"),
            pytest.param({"not_before": NOW + 9}, id="not valid yet"),
        ],
    )
    def test_a_log_whose_last_seal_does_not_count_is_not_believed(self, rows, values):
        assert "with a key that does not count" in refused(rows, with_key(**values))

    def test_a_log_whose_key_was_retired_stands(self, rows):
        assert verify(rows, with_key(status="retired")).entries == 5

    def test_a_new_key_covers_what_an_old_one_sealed(self, log, rows, store):
        new = signer("a new delivery key")
        Log(store, org=LAB.organisation.org, signer=new).append(SENT, now=NOW + 3)
        (key,) = LAB.organisation.delivery_keys.values()
        revoked = replace(key, status="revoked", revoked_at=NOW)
        after = with_keys(revoked, record_key(new))
        assert verify(log.rows(), after).entries == 6
        assert "does not count" in refused(rows, after)


class TestFiles:
    def test_a_log_verifies_as_a_file_as_it_does_in_the_store(self, log, rows):
        lines = [dump_row(row) for row in rows]
        assert all("\n" not in line for line in lines)
        assert [parse_row(f"{line}\n") for line in lines] == rows
        assert verify(parse_row(line) for line in lines) == verify(log.rows())

    def test_a_file_that_was_changed_is_refused(self, rows):
        lines = [dump_row(row).replace("analyst-1", "analyst-2") for row in rows]
        assert refused([parse_row(line) for line in lines]).startswith("entry 2 ")

    @pytest.mark.parametrize(
        "line",
        [
            pytest.param("", id="empty"),
            pytest.param("{", id="no JSON"),
            pytest.param("[]", id="no object"),
            pytest.param("{}", id="nothing in it"),
            pytest.param('{"sequence": 1}', id="too little"),
            pytest.param("\ud800", id="no text"),
        ],
    )
    def test_a_line_that_is_no_entry_is_refused(self, line):
        with pytest.raises(MalformedRequest) as error:
            parse_row(line)
        assert error.value.reason == "BAD_REQUEST"

    @pytest.mark.parametrize(
        "values", [{"sequence": "1"}, {"sequence": True}, {"at": 1.5}, {"seal": None}, {"more": ""}], ids=str
    )
    def test_a_line_with_a_wrong_value_is_refused(self, rows, values):
        with pytest.raises(MalformedRequest):
            parse_row(json.dumps(json.loads(dump_row(rows[0])) | values))


def test_a_long_log_is_verified_without_being_held_in_memory(log, store):
    for _ in range(100):
        log.append(*[SENT] * 100, now=NOW)
    held = sum(len(dump_row(row)) for row in log.rows())
    tracemalloc.start()
    try:
        assert verify(log.rows()).entries == 10_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < held / 2
