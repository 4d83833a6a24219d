"""What partners have signed for: listed, exported as proof, and verified by somebody who has no node."""

import json
from dataclasses import replace

import pytest

from tests.cli.messages import NOON, RECORD_ID, record
from tests.support.organisations import found as founded
from tests.support.organisations import seeded
from tocsin.encoding import dump_json
from tocsin.errors import NotFound
from tocsin.exchange.page import PAGE_TYPE
from tocsin.exchange.receipt import Receipt, sign_receipt
from tocsin.records.disclosure import digest_of
from tocsin.records.jws import sign
from tocsin.records.record import Draft, issue, parse_record, sd_hash
from tocsin.records.retraction import Action, sign_retraction
from tocsin.store.model import Outcome, Verdict
from tocsin.v1 import desk_service_pb2 as v1

US, THEM, OTHERS = "lab-a.example", "aisi.example", "lab-b.example"
FEED, CHAIN = "f" * 21 + "A", "c" * 21 + "A"
CONTENT = {
    "title": "Tool output redirects an agent",
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "agent", "name": "Example Agent", "version": "3.1"}],
    "summary": "It follows what it reads.",
}
FIRST = frozenset({"title", "severity", "subjects[*].name"})
LATER = frozenset({"summary"})

RECORD = issue(
    Draft(record_id=RECORD_ID, kind="finding", tlp="GREEN"),
    CONTENT,
    issuer=US,
    signer=founded(US).record,
    now=NOON,
    random=seeded("record"),
)
RETRACTION = sign_retraction(
    issuer=US,
    record_id=RECORD_ID,
    version=1,
    action=Action.WITHDRAW,
    tlp="GREEN",
    signer=founded(US).record,
    now=NOON,
)
PRESENTED = RECORD.present(FIRST)
REVEALED = "~".join((RECORD.digest, *RECORD.disclosures_for(LATER), ""))
TEXTS = {"record": PRESENTED, "disclosures": REVEALED, "retraction": RETRACTION.token}


def paths_of(*shown):
    return sorted(parse_record(RECORD.present(frozenset(shown))).verify(founded(US).organisation, now=NOON).paths)


def page(first=1, kinds=("record",), sender=US, audience=THEM, **changes):
    """Return the statement of a page with one entry of each kind."""
    disclosed = {"record": ["severity", "subjects", "subjects[*].name", "title"], "disclosures": sorted(LATER)}
    entries = [
        {"seq": at, "kind": kind, "digest": RECORD.digest, "sd_hash": sd_hash(TEXTS[kind])}
        | ({"disclosed": disclosed[kind]} if kind in disclosed else {})
        for at, kind in enumerate(kinds, start=first)
    ]
    claims = {"iss": sender, "aud": audience, "iat": NOON, "feed": FEED, "first": first}
    claims |= {"last": first + len(kinds) - 1, "entries": entries} | changes
    return sign(dump_json(claims), typ=PAGE_TYPE, signer=founded(sender).delivery)


def receipt(statement, *, number=1, previous="", first=1, count=1, outcome=Outcome.STORED, reason="", signer=None):
    verdicts = tuple(Verdict(first + at, outcome, RECORD.digest, reason) for at in range(count))
    made = Receipt(
        issuer=THEM,
        audience=US,
        issued_at=NOON + 60,
        chain=CHAIN,
        number=number,
        previous=previous,
        page=digest_of(statement),
        feed_id=FEED,
        first=first,
        last=first + count - 1,
        cursor=f"{FEED}.{first + count - 1}",
        verdicts=verdicts,
    )
    return sign_receipt(made, signer=signer or founded(THEM).delivery)


def pair(statement, given, content=()):
    made = {"receipt": given.statement, "page": statement}
    return made | ({"content": [{"seq": at, "text": text} for at, text in content]} if content else {})


def exported(*pairs):
    return {"format": "tocsin-receipts/v1", "receipts": list(pairs)}


@pytest.fixture
def check(tocsin, monkeypatch, tmp_path):
    """Return a function that writes receipts and identity documents into files and verifies the receipts."""
    monkeypatch.setattr("tocsin_cli.commands.testimony.clock", lambda: NOON + 3600)

    def verify(written, *more, parties=(US, THEM)):
        (tmp_path / "receipts.json").write_text(json.dumps(written))
        identities = []
        for org in parties:
            (tmp_path / f"{org}.tocsin").write_bytes(founded(org).document)
            identities += ["--identity", tmp_path / f"{org}.tocsin"]
        return tocsin("receipts", "verify", tmp_path / "receipts.json", *identities, *more)

    return verify


def test_a_receipt_proves_what_went_which_fields_and_when_it_was_acknowledged(check):
    statement = page(41, ("record", "disclosures"))
    shown = check(exported(pair(statement, receipt(statement, first=41, count=2))))
    assert (shown.code, shown.err) == (0, "")
    assert f"{THEM} acknowledges to {US}" in shown.out
    assert founded(US).organisation.fingerprint in shown.out
    assert founded(THEM).organisation.fingerprint in shown.out
    first, second = (line.split() for line in shown.out.splitlines()[-2:])
    short = RECORD.digest[:8]
    assert first == ["2026-03-01", "12:01", "41", "record", short, "stored", "severity,", "subjects[*].name,", "title"]
    assert second == ["2026-03-01", "12:01", "42", "disclosures", short, "stored", "summary"]


def test_content_that_is_handed_along_is_what_went(check):
    statement = page(1, ("record", "disclosures", "retraction"))
    given = receipt(statement, count=3)
    texts = list(enumerate(TEXTS.values(), start=1))
    shown = check(exported(pair(statement, given, texts)), "--json")
    assert shown.code == 0
    (found,) = json.loads(shown.out)["receipts"]
    assert [entry["content_verified"] for entry in found["entries"]] == [True, True, True]
    assert (found["issuer"], found["audience"], found["at"]) == (THEM, US, "2026-03-01T12:01:00Z")


GOOD = page()
LONGER = page(2, ("record", "disclosures"))


def chained(first, **fields):
    return receipt(LONGER, number=2, previous=first.digest, first=2, count=2, **fields)


REFUSED = {
    "content that is another": (exported(pair(GOOD, receipt(GOOD), [(1, RECORD.token)])), "BAD_RECEIPT"),
    "a receipt for another page": (exported(pair(LONGER, receipt(GOOD))), "BAD_RECEIPT"),
    "a page that is not there": (exported(pair("", receipt(GOOD))), "BAD_RECEIPT"),
    "a receipt signed by somebody else": (
        exported(pair(GOOD, receipt(GOOD, signer=founded(US).delivery))),
        "BAD_RECEIPT",
    ),
    "a page signed by somebody else": (
        exported(pair(page(sender=OTHERS), receipt(page(sender=OTHERS)))),
        "BAD_RECEIPT",
    ),
    "a page for somebody else": (exported(pair(page(audience=OTHERS), receipt(page(audience=OTHERS)))), "BAD_RECEIPT"),
    "a verdict on what the page does not have": (exported(pair(GOOD, receipt(GOOD, count=2))), "BAD_RECEIPT"),
    "a page in the place of a receipt": (exported({"receipt": GOOD, "page": GOOD}), "BAD_TYP"),
    "no receipt": (exported(), "BAD_FORM"),
    "another format": ({"format": "other", "receipts": [pair(GOOD, receipt(GOOD))]}, "BAD_FORM"),
    "content without a number": (exported(pair(GOOD, receipt(GOOD)) | {"content": [{"text": "x"}]}), "BAD_FORM"),
    "two receipts with one number": (
        exported(pair(GOOD, receipt(GOOD)), pair(GOOD, receipt(GOOD, outcome=Outcome.UNCHANGED))),
        "BAD_CHAIN",
    ),
    "a receipt that follows another one": (
        exported(pair(GOOD, receipt(GOOD)), pair(LONGER, chained(receipt(GOOD, outcome=Outcome.UNCHANGED)))),
        "BAD_CHAIN",
    ),
}


@pytest.mark.parametrize(("written", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_proves_nothing_is_refused_with_its_reason(check, written, reason):
    shown = check(written)
    assert shown.code == 4
    assert f"[{reason}]" in shown.err
    assert str(check(written, "--json").code) == "4"


def test_both_identities_are_needed(check):
    shown = check(exported(pair(GOOD, receipt(GOOD))), parties=(US,))
    assert (shown.code, shown.out) == (4, "")
    assert f"none of the identity documents is {THEM}'s [KEY_NOT_OF_ISSUER]" in shown.err


def test_a_gap_in_the_chain_shows(check):
    shown = check(exported(pair(LONGER, chained(receipt(GOOD)))))
    assert shown.code == 0
    assert "not here          1\n" in shown.out
    whole = check(exported(pair(GOOD, receipt(GOOD)), pair(LONGER, chained(receipt(GOOD)))))
    assert whole.code == 0
    assert "not here" not in whole.out
    assert f"verified          2 receipts of the chain {CHAIN}" in whole.out


def test_one_bad_receipt_does_not_hide_the_good_ones(check):
    bad = pair(LONGER, receipt(GOOD, outcome=Outcome.UNCHANGED))
    shown = check(exported(pair(GOOD, receipt(GOOD)), bad))
    assert shown.code == 4
    assert "verified          1 receipt of the chain" in shown.out
    assert "receipts.json: receipt 2: " in shown.err


def test_what_is_wrong_with_many_receipts_is_told_once(check):
    written = exported(pair(GOOD, receipt(GOOD)), pair(LONGER, chained(receipt(GOOD))))
    shown = check(written, parties=(US,))
    assert shown.code == 4
    assert shown.err.count("tocsin: error:") == shown.err.count("tocsin: hint:") == 1
    assert "receipt 1: aisi.example is a party to it" in shown.err
    assert "  and the same of 1 further receipt\n" in shown.err
    assert len(json.loads(check(written, "--json", parties=(US,)).out)["refused"]) == 2


def test_a_refusal_by_the_receiver_is_told_with_its_reason(check):
    refused = receipt(GOOD, outcome=Outcome.REFUSED, reason="BAD_SIGNATURE")
    assert "refused BAD_SIGNATURE" in check(exported(pair(GOOD, refused))).out


def listed(statement=GOOD, **fields):
    given = receipt(statement)
    made = v1.Receipt(
        issuer=THEM,
        audience=US,
        chain=CHAIN,
        number=1,
        first=1,
        last=1,
        statement=given.statement,
        page_statement=statement,
        **fields,
    )
    made.at.FromSeconds(NOON + 60)
    return made


def test_receipts_are_listed_by_partner(tocsin, desk):
    fake = desk(v1.ListReceiptsResponse(receipts=[listed(refused=2)]))
    _, row = tocsin("receipts", "list", "--partner", THEM).out.splitlines()
    assert fake.asked == [v1.ListReceiptsRequest(partner=THEM, page_size=20)]
    assert row.split() == [THEM, "1", "1", "2026-03-01", "12:01", "2", CHAIN]


def test_receipts_that_we_gave_are_listed_by_whom_they_were_given_to(tocsin, desk):
    fake = desk(v1.ListReceiptsResponse(receipts=[listed()]))
    assert tocsin("receipts", "list", "--given").out.splitlines()[1].startswith(US)
    assert fake.asked[0].given


@pytest.mark.parametrize(("named", "asked"), [("3f2b", True), (RECORD.digest, False)])
def test_a_record_is_named_by_its_id_or_by_its_digest(tocsin, desk, named, asked):
    fake = desk(v1.GetRecordResponse(record=record()), v1.ListReceiptsResponse())
    tocsin("receipts", "list", "--record", named)
    assert isinstance(fake.asked[0], v1.GetRecordRequest) == asked
    assert fake.asked[-1].digest == (record().digest if asked else RECORD.digest)


def test_what_is_exported_verifies(tocsin, desk, check):
    desk(v1.ListReceiptsResponse(receipts=[listed()]))
    shown = tocsin("receipts", "export", "--partner", THEM)
    assert (shown.code, shown.err) == (0, "")
    assert json.loads(shown.out) == exported(pair(GOOD, receipt(GOOD)))
    assert check(json.loads(shown.out)).code == 0


def test_an_export_with_content_holds_the_very_bytes_that_went(tocsin, desk, check):
    statement = page(1, ("record", "disclosures", "retraction"))
    desk(
        v1.ListReceiptsResponse(receipts=[replaced(listed(), statement)]),
        v1.GetRecordResponse(record=record(token=RECORD.token)),
        v1.GetRecordResponse(record=record(token=RECORD.token)),
        v1.GetRetractionResponse(retraction=v1.Retraction(token=RETRACTION.token)),
    )
    written = json.loads(tocsin("receipts", "export", "--with-content").out)
    assert [one["text"] for one in written["receipts"][0]["content"]] == list(TEXTS.values())
    assert check(written).code == 0


def replaced(message, statement):
    message.page_statement = statement
    message.statement = receipt(statement, count=3).statement
    message.last = 3
    return message


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(NotFound("there is no such record"), id="a record that is gone"),
        pytest.param(v1.GetRecordResponse(record=record(token="")), id="a record without its content"),
        pytest.param(v1.GetRecordResponse(record=record(token=PRESENTED.split("~")[0] + "~")), id="less of it"),
    ],
)
def test_what_the_node_does_not_hold_any_more_is_left_out(tocsin, desk, answer):
    desk(v1.ListReceiptsResponse(receipts=[listed()]), answer)
    written = json.loads(tocsin("receipts", "export", "--with-content").out)
    assert written == exported(pair(GOOD, receipt(GOOD)))


def test_a_receipt_whose_statement_was_changed_is_refused(check):
    header, payload, signature = receipt(GOOD).statement.split(".")
    flipped = f"{header}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    shown = check(exported(pair(GOOD, replace(receipt(GOOD), statement=flipped))))
    assert shown.code == 4
    assert "[BAD_RECEIPT]" in shown.err
