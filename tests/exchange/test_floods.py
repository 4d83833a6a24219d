"""What a member fills, and keeps busy, at the others: its own quota, and nothing beside it."""

import asyncio
import os
from dataclasses import replace

import pytest

from tests.exchange.links import side_of
from tests.exchange.pages import FEED, page_of, retracting, tag
from tests.exchange.parties import A, B, founded
from tests.exchange.test_window import calling, serving
from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.encoding import dump_json, encode_base64url
from tocsin.errors import OriginStopped, QuotaExceeded, ReceiptRefused
from tocsin.exchange import acknowledge, chain
from tocsin.exchange.entry import PageEntry
from tocsin.exchange.page import PAGE_TYPE
from tocsin.exchange.quota import Budget
from tocsin.exchange.receipt import RECEIPT_TYPE, load_receipt, parse_receipt, sign_receipt
from tocsin.exchange.taking import Taking
from tocsin.policy.clauses import Accept
from tocsin.records.jws import parse_claims, parse_jws, sign
from tocsin.records.retraction import Action
from tocsin.store import sqlite
from tocsin.store.model import EntryKind, Outcome
from tocsin.v1 import exchange_service_pb2 as v1

VOID = PageEntry(0, EntryKind.VOID)
SMALL = Accept(frozenset({"finding"}), 100, max_mb_per_hour=1)
MIB = 2**20


def padded(statement, typ, *, by, size):
    """Return a statement with a claim that nobody reads, signed again."""
    claims = parse_claims(parse_jws(statement, typ=typ)) | {"note": "x" * size}
    return sign(dump_json(claims), typ=typ, signer=founded(by).delivery)


def in_another_chain(receipt):
    again = replace(receipt, chain=encode_base64url(os.urandom(16)), statement="")
    return sign_receipt(again, signer=founded(receipt.issuer).delivery).statement


def kept(party, table="pages"):
    """Return how many bytes of statements a store holds."""
    return party.store._db.number(f"SELECT coalesce(sum(length(statement)), 0) FROM {table}")  # noqa: S608


def of_page(a, b):
    """Return the receipt of a page that A made for B, which A does not have."""
    a.post()
    b.take(a.page_for(B))
    return load_receipt(b.receipts_for(A)[-1])


def take_all(party, pages):
    for page in pages:
        party.take(page)


class TestPages:
    def test_pages_of_nothing_fill_no_more_of_the_disk_than_an_hour_has(self, b):
        b.accept(A, SMALL)
        pages = (page_of(*[VOID] * 256, first=1 + 256 * number) for number in range(200))
        with pytest.raises(QuotaExceeded) as refused:
            take_all(b, pages)
        assert refused.value.reason == "QUOTA_EXCEEDED"
        assert kept(b) + kept(b, "receipts") < 2 * MIB

    def test_nor_do_statements_that_are_padded(self, b):
        b.accept(A, SMALL)
        pages = [page_of(VOID, first=number) for number in range(1, 20)]
        for page in pages:
            page.statement = padded(page.statement, PAGE_TYPE, by=A, size=MIB // 4)
        with pytest.raises(QuotaExceeded):
            take_all(b, pages)
        assert kept(b) < 2 * MIB

    def test_a_page_that_says_one_thing_many_times_is_obeyed_once(self, b, monkeypatch):
        record, obeyed = make_record(), []
        obey = Taking._obey
        monkeypatch.setattr(
            Taking, "_obey", lambda taking, *said, **more: obeyed.append(said) or obey(taking, *said, **more)
        )
        purges = [retracting(record, Action.PURGE, version=number) for number in range(1, 21)]
        received = b.take(page_of(record, *purges))
        assert {verdict.outcome for verdict in received.receipt.verdicts[1:]} == {Outcome.APPLIED}
        assert len(obeyed) == 1

    def test_a_log_that_says_it_of_one_version_in_many_words_stops_its_origin(self, b):
        record = make_record()
        with pytest.raises(OriginStopped) as stopped:
            b.take(page_of(record, *(retracting(record, Action.PURGE, now=NOW + number) for number in range(20))))
        assert stopped.value.reason == "ORIGIN_STOPPED"
        assert len(b.store.logs.evidence(A)) == 1
        assert b.store.retractions.of(A, record.record_id) == ()

    def test_nobody_has_the_disk_overwritten_with_every_page(self, b, monkeypatch):
        done = []
        monkeypatch.setattr(sqlite, "scrub", lambda db: not done.append(db))
        for number in range(5):
            record = make_record()
            b.take(page_of(record, retracting(record, Action.PURGE), first=1 + 2 * number))
            b.keep_time()
        assert len(done) == 1


class TestReceipts:
    def test_a_page_is_signed_for_a_few_times_and_no_more_is_kept(self, a, b):
        receipt = of_page(a, b)
        for _ in range(acknowledge.MOST_OF_PAGE):
            a.take_receipts([in_another_chain(receipt)], giver=B)
        with pytest.raises(ReceiptRefused) as refused:
            a.take_receipts([in_another_chain(receipt)], giver=B)
        assert refused.value.reason == "NEVER_SENT", "by which its giver lets it go"
        assert len(a.store.receipts.list(given=False)[0]) == acknowledge.MOST_OF_PAGE
        assert a.store.feeds.get(B).acknowledged == 1

    def test_one_that_is_longer_than_its_verdicts_is_refused(self, a, b):
        statement = padded(of_page(a, b).statement, RECEIPT_TYPE, by=B, size=10_000)
        with pytest.raises(ReceiptRefused) as refused:
            a.take_receipts([statement], giver=B)
        assert refused.value.reason == "BAD_RECEIPT"
        assert kept(a, "receipts") == 0

    def test_the_longest_of_ours_is_taken(self, a, b):
        receipt = of_page(a, b)
        (verdict,) = receipt.verdicts
        longest = [replace(verdict, sequence=10**15 + place, reason="A" * 40) for place in range(256)]
        numbers = {"first": 10**15, "last": 10**15 + 255, "number": 10**15, "previous": receipt.page}
        cursor = receipt.cursor.replace(".1.", f".{10**15 + 255}.")
        signed = sign_receipt(
            replace(receipt, **numbers, cursor=cursor, verdicts=tuple(longest)), signer=founded(B).delivery
        )
        parsed = parse_receipt(signed.statement, giver=founded(B).organisation, audience=A, now=NOW)
        assert len(parsed.verdicts) == 256

    def test_time_that_they_take_is_counted(self, a, b):
        receipt = of_page(a, b)
        work = iter(range(0, 1000, 30))
        side = replace(side_of(a), budget=Budget(20.0, monotonic=lambda: 0.0, spent=lambda: next(work)))
        side.acknowledge(B, [receipt.statement])
        for ask in (lambda: side.acknowledge(B, [receipt.statement]), lambda: side.what_is_held(B, "")):
            with pytest.raises(QuotaExceeded) as refused:
                ask()
            assert refused.value.metadata["retry_after_seconds"]


class TestWhoLeavesReceipts:
    def deliver(self, b, pages, *, last=""):
        """Have A push pages to B as one that holds this receipt of B; return the receipts that come back to each."""

        async def run():
            side = side_of(b)
            calling(side, A)
            service = serving(side)
            requests = [v1.DeliverRequest(page=page, last_receipt=last) for page in pages]
            return [list((await service.Deliver(request, None)).receipts) for request in requests]

        return asyncio.run(run())

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        monkeypatch.setattr(chain, "MOST_RECEIPTS", 4)

    def test_it_is_given_those_before_anything_more_is_taken(self, b):
        given = self.deliver(b, [page_of(VOID, first=number) for number in range(1, 10)])
        assert [len(receipts) for receipts in given] == [1, 2, 3, 4, 4, 4, 4, 4, 4]
        assert b.cursor_of(A) == f"{FEED}.4.{tag(4)}"

    def test_whatever_it_says_that_it_holds_no_more_is_signed_again_than_a_message_has(self, b):
        pages = [page_of(VOID, first=number) for number in range(1, 10)]
        self.deliver(b, pages)
        self.deliver(b, pages[4:5], last="A" * 43)
        assert len(b.store.receipts.pending(A, limit=99)) == 4

    def test_who_takes_them_goes_on(self, b):
        given = self.deliver(b, [page_of(VOID, first=number) for number in range(1, 6)])
        last = load_receipt(given[-1][-1]).digest
        (receipts,) = self.deliver(b, [page_of(VOID, first=5)], last=last)
        assert [load_receipt(one).cursor for one in receipts] == [f"{FEED}.5.{tag(5)}"]
