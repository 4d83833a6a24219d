"""A receipt says what became of a page, and proves it to whoever has both statements."""

from dataclasses import replace

import pytest

from tests.exchange import notary
from tests.exchange.parties import A, B, C, founded
from tests.store.making import make_record
from tests.support.organisations import NOW, YEAR
from tocsin.encoding import dump_json, parse_json
from tocsin.errors import ReceiptRefused
from tocsin.exchange.entry import PageEntry, disclosed_paths
from tocsin.exchange.page import build_page
from tocsin.exchange.receipt import (
    MAX_RECEIPT,
    RECEIPT_TYPE,
    Receipt,
    load_receipt,
    parse_receipt,
    sign_receipt,
    verify_receipt_of_page,
)
from tocsin.records.disclosure import digest_of
from tocsin.records.jws import parse_claims, parse_jws, sign
from tocsin.store.model import EntryKind, Outcome, Verdict

FEED, CHAIN = "A" * 22, "B" * 21 + "A"
TAG = "C" * 10 + "A"
DIGEST, OTHER = "D" * 43, "E" * 43


def receipt_of(*, signer=None, **changed):
    """Return a receipt of B for a page of A."""
    receipt = Receipt(
        issuer=B,
        audience=A,
        issued_at=NOW,
        chain=CHAIN,
        number=2,
        previous=OTHER,
        page=DIGEST,
        feed_id=FEED,
        first=41,
        last=43,
        cursor=f"{FEED}.43.{TAG}",
        verdicts=(
            Verdict(41, Outcome.STORED, digest=DIGEST),
            Verdict(42, Outcome.DECLINED, digest=OTHER, reason="legal-hold"),
            Verdict(43, Outcome.VOID),
        ),
    )
    return sign_receipt(replace(receipt, **changed), signer=signer or founded(B).delivery)


def parse(statement, *, giver=B, audience=A, now=NOW):
    return parse_receipt(statement, giver=founded(giver).organisation, audience=audience, now=now)


def test_what_was_signed_is_what_is_read():
    receipt = receipt_of()
    assert parse(receipt.statement) == receipt == load_receipt(receipt.statement)
    assert receipt.digest == digest_of(receipt.statement)
    assert receipt.refused == 1


def test_the_first_of_a_chain_names_none_before_it():
    first = receipt_of(number=1, previous="")
    assert "previous" not in parse_claims(parse_jws(first.statement, typ=RECEIPT_TYPE))
    assert parse(first.statement).previous == ""


def test_it_may_end_within_its_page():
    verdicts = (Verdict(42, Outcome.STORED, digest=DIGEST),)
    assert parse(receipt_of(verdicts=verdicts, cursor=f"{FEED}.42.{TAG}").statement).verdicts == verdicts


def claims_with(**changed):
    """Return a receipt whose claims are other ones; None: the claim is missing."""
    claims = parse_claims(parse_jws(receipt_of().statement, typ=RECEIPT_TYPE)) | changed
    kept = {name: value for name, value in claims.items() if value is not None}
    return sign(dump_json(kept), typ=RECEIPT_TYPE, signer=founded(B).delivery)


def verdict(seq, **more):
    return {"seq": seq, "outcome": "stored", **more}


BAD = {
    "another's key": lambda: receipt_of(signer=founded(C).delivery).statement,
    "a record key": lambda: receipt_of(signer=founded(B).record).statement,
    "another issuer": lambda: receipt_of(issuer=C).statement,
    "another audience": lambda: receipt_of(audience=C).statement,
    "from the future": lambda: receipt_of(issued_at=NOW + 1000).statement,
    "before the key was valid": lambda: receipt_of(issued_at=NOW - 2 * YEAR).statement,
    "another type": lambda: sign(b"{}", typ="tocsin-page+jwt", signer=founded(B).delivery),
    "no token": lambda: "receipt",
    "too long": lambda: "x" * (MAX_RECEIPT + 1),
    "a flipped signature": lambda: receipt_of().statement[:-2] + "AA",
    "no verdicts": lambda: claims_with(verdicts=[]),
    "verdicts with a hole": lambda: claims_with(verdicts=[verdict(41), verdict(43)]),
    "a verdict on no entry of the page": lambda: claims_with(verdicts=[verdict(44)]),
    "a verdict twice": lambda: claims_with(verdicts=[verdict(43), verdict(43)]),
    "an unknown outcome": lambda: claims_with(verdicts=[{"seq": 43, "outcome": "eaten"}]),
    "a verdict without an outcome": lambda: claims_with(verdicts=[{"seq": 43}]),
    "a verdict that is none": lambda: claims_with(verdicts=["stored"]),
    "a reason that is a text": lambda: claims_with(verdicts=[verdict(43, reason="because I say so")]),
    "verdicts that are none": lambda: claims_with(verdicts={"43": "stored"}),
    "a cursor elsewhere": lambda: claims_with(cursor=f"{FEED}.44.{TAG}"),
    "a cursor of another feed": lambda: claims_with(cursor=f"{CHAIN}.43.{TAG}"),
    "no cursor": lambda: claims_with(cursor=""),
    "a cursor that is no text": lambda: claims_with(cursor=43),
    "a page of too many": lambda: claims_with(last=41 + 256),
    "a page that ends before it begins": lambda: claims_with(last=40),
    "number 0": lambda: claims_with(number=0),
    "a later one without one before": lambda: claims_with(previous=None),
    "a first one behind another": lambda: claims_with(number=1),
    "a chain that is no name": lambda: claims_with(chain="chain"),
    "a number that is a truth": lambda: claims_with(number=True),
    **{f"without {name}": lambda name=name: claims_with(**{name: None}) for name in ("iat", "page", "aud", "verdicts")},
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_a_receipt_that_does_not_hold_is_refused(make):
    with pytest.raises(ReceiptRefused) as refused:
        parse(make())
    assert refused.value.reason == "BAD_RECEIPT"


class TestOfItsPage:
    """What an auditor does who has nothing but statements and identity documents."""

    @pytest.fixture
    def page(self):
        record = make_record()
        paths = disclosed_paths(record, record.token.split("~")[1:-1])
        entries = [
            PageEntry(41, EntryKind.RECORD, record.digest, record.token, disclosed=paths, tag=TAG),
            PageEntry(42, EntryKind.VOID, tag=TAG),
        ]
        signer, shown = founded(A).delivery, notary.show(A)
        return build_page(
            entries, feed_id=FEED, sender=A, audience=B, checkpoint=shown, signer=signer, now=NOW, more=False
        )

    def receipt(self, page, /, **changed):
        digest = parse_json(parse_jws(page.statement, typ="tocsin-page+jwt").payload)["entries"][0]["digest"]
        verdicts = (Verdict(41, Outcome.STORED, digest=digest), Verdict(42, Outcome.VOID))
        values = {"page": digest_of(page.statement), "last": 42, "cursor": page.cursor, "verdicts": verdicts}
        return receipt_of(**values | changed)

    def test_it_proves_what_was_sent_and_which_fields(self, page):
        stated = verify_receipt_of_page(self.receipt(page), page.statement, sender=founded(A).organisation)
        assert (stated.sender, stated.audience, stated.first, stated.last) == (A, B, 41, 42)
        assert "title" in stated.entries[0]["disclosed"]

    OTHER_PAGES = {  # noqa: RUF012
        "another page": {"page": DIGEST},
        "another feed": {"feed_id": CHAIN, "cursor": f"{CHAIN}.42.{TAG}"},
        "other numbers": {"first": 40},
        "a verdict on another record": {
            "verdicts": (Verdict(41, Outcome.STORED, digest=OTHER), Verdict(42, Outcome.VOID))
        },
        "a digest for a void entry": {"verdicts": (Verdict(42, Outcome.STORED, digest=OTHER),)},
        "a receipt of somebody else": {"issuer": C},
        "a receipt for somebody else": {"audience": C},
    }

    @pytest.mark.parametrize("changed", OTHER_PAGES.values(), ids=OTHER_PAGES)
    def test_it_proves_nothing_of_another_page(self, page, changed):
        with pytest.raises(ReceiptRefused) as refused:
            verify_receipt_of_page(self.receipt(page, **changed), page.statement, sender=founded(A).organisation)
        assert refused.value.reason == "BAD_RECEIPT"

    def test_a_page_that_somebody_else_signed_proves_nothing(self, page):
        with pytest.raises(ReceiptRefused) as refused:
            verify_receipt_of_page(self.receipt(page), page.statement, sender=founded(C).organisation)
        assert refused.value.reason == "BAD_RECEIPT"
