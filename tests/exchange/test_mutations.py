"""Ten thousand records and pages that somebody has changed: each is refused with a reason, at once, and leaves nothing.

A byte is changed, dropped, doubled or put in, or a part of a page is; whoever
signs pages of its own may sign whatever it likes in them, too.
"""

import json
import random
import time

import pytest
from google.protobuf.message import DecodeError

from tests.faults.pair import A, B, make_pair, open_pair
from tests.support.organisations import NOW
from tocsin.encoding import decode_base64url, dump_json
from tocsin.errors import TocsinError
from tocsin.exchange.page import PAGE_TYPE
from tocsin.records.jws import sign
from tocsin.records.record import parse_record
from tocsin.records.retraction import parse_retraction
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin.v1 import record_pb2

RECORDS, RETRACTIONS, PAGES, SIGNED = 4000, 1000, 4000, 1000
SLOWEST_SECONDS = 0.1
JUNK = (None, True, -1, 2**80, 0.5, "", "x" * 5000, "\ud800", [], {}, [[[]]], {"a": {"b": []}}, "\x00", "../..")


@pytest.fixture
def pair(tmp_path):
    make_pair(tmp_path)
    with open_pair(tmp_path) as pair:
        yield pair


def state(member):
    """Return what an intake could change."""
    tables = (
        "records",
        "holdings",
        "withheld",
        "verdicts",
        "intake",
        "retractions",
        "receipts",
        "candidates",
        "entries",
    )
    return [member.store._db.rows(f"SELECT * FROM {table}") for table in tables]  # noqa: S608


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return some bytes with a small change; never the same."""
    changed = bytearray(data)
    while bytes(changed) == data:
        at = chance.randrange(len(changed))
        match chance.randrange(5):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                del changed[at : at + chance.choice((1, 1, 7, 300))]
            case 2:
                changed[at:at] = bytes(chance.choices(b"~._-AZaz09\x00\xff", k=chance.choice((1, 3, 40))))
            case 3:
                changed[at:at] = changed[at : at + chance.choice((1, 50, 2000))]
            case 4:
                other = chance.randrange(len(changed))
                changed[at], changed[other] = changed[other], changed[at]
    return bytes(changed)


def refuses(doing, *errors):
    """Return the reason for which something is refused, and see that it was at once; empty: it was not."""
    for _ in range(2):  # a collection of garbage may fall into one
        begun = time.thread_time()
        reason = ""
        try:
            doing()
        except TocsinError as error:
            reason = error.reason
        except errors:
            reason = "UNREADABLE"
        if time.thread_time() - begun < SLOWEST_SECONDS:
            return reason
    raise AssertionError(f"it took more than {SLOWEST_SECONDS} s to say {reason!r}")


def test_a_record_in_which_a_byte_is_another_is_none(pair):
    (digest,) = pair.a.post("a record", long=False)
    text = pair.a.store.records.token(digest)
    issuer, chance = pair.a.home.organisation, random.Random(1)  # noqa: S311
    whole = set(text.split("~"))
    for _ in range(RECORDS):
        changed = mutated(text.encode(), chance)
        if changed.isascii() and set(changed.decode().split("~")) <= whole:
            continue  # a disclosure less is another presentation, and a good one
        assert refuses(
            lambda changed=changed: parse_record(changed.decode()).verify(issuer, now=NOW), UnicodeDecodeError
        )


def test_a_retraction_in_which_a_byte_is_another_is_none(pair):
    pair.a.post("a record")
    pair.a.retract(pair.a.titled("a record"), record_pb2.RETRACTION_ACTION_WITHDRAW)
    token = pair.a.store.retractions.of(A, pair.a.titled("a record"))[0].token
    issuer, chance = pair.a.home.organisation, random.Random(2)  # noqa: S311
    for _ in range(RETRACTIONS):
        changed = mutated(token.encode(), chance)
        assert refuses(lambda text=changed: parse_retraction(text.decode()).verify(issuer, now=NOW), UnicodeDecodeError)


def some_page(pair):
    """Return a page with entries of every kind."""
    pair.a.post("one", "two", "three")
    pair.exchange()
    pair.a.post("four", "five")
    pair.a.amend("one", "one again")
    pair.a.retract(pair.a.titled("two"), record_pb2.RETRACTION_ACTION_WITHDRAW)
    pair.read_log(pair.b, pair.a)
    page = pair.a.side.next_page(B, pair.b.side.stored(A))
    assert {entry.kind for entry in page.entries} == {v1.ENTRY_KIND_RECORD, v1.ENTRY_KIND_RETRACTION}
    return page


def said(page):
    """Return what of a page is under its signature."""
    known = v1.Page.FromString(page.SerializeToString())
    known.DiscardUnknownFields()
    known.more = False
    return known


def rearranged(page, chance):
    """Return a page of which a part is another."""
    changed = v1.Page.FromString(page.SerializeToString())
    entry = chance.choice(changed.entries)
    match chance.randrange(7):
        case 0:
            changed.entries.remove(entry)
        case 1:
            changed.entries.append(entry)
        case 2:
            entry.sequence += chance.choice((1, 2**40))
        case 3:
            entry.kind = chance.randrange(9)
        case 4:
            entry.presentation, entry.retraction = entry.retraction, entry.presentation
        case 5:
            changed.cursor = mutated(changed.cursor.encode(), chance).decode(errors="replace")
        case 6:
            other = chance.choice(changed.entries)
            entry.digest, other.digest = other.digest, entry.digest
    return changed


def test_a_page_in_which_anything_is_another_is_refused_and_nothing_of_it_is_kept(pair):
    page, chance = some_page(pair), random.Random(3)  # noqa: S311
    data, before, refused = page.SerializeToString(), state(pair.b), 0
    while refused < PAGES:
        try:
            changed = v1.Page.FromString(mutated(data, chance)) if refused % 2 else rearranged(page, chance)
        except DecodeError:
            refused += 1  # the door refuses what does not parse
            continue
        if said(changed) == said(page):
            continue
        assert refuses(lambda changed=changed: pair.b.side.accept(A, changed)), changed
        refused += 1
    assert state(pair.b) == before
    assert pair.b.side.accept(A, page).records == 3


def test_whatever_nonsense_a_sender_signs_is_refused_and_nothing_of_it_is_kept(pair):
    page, chance = some_page(pair), random.Random(4)  # noqa: S311
    claims = json.loads(decode_base64url(page.statement.split(".")[1]))
    before = state(pair.b)
    for _ in range(SIGNED):
        forged = json.loads(json.dumps(claims))
        target = chance.choice((forged, *forged["entries"]))
        name, value = chance.choice(sorted(target)), chance.choice(JUNK)
        if (name, value) == ("tag", ""):
            continue  # an entry from before there were tags
        target[name] = value
        try:
            statement = sign(dump_json(forged), typ=PAGE_TYPE, signer=pair.a.home.delivery_signer)
        except (TocsinError, UnicodeEncodeError, TypeError, ValueError):
            continue  # it cannot even be written
        changed = v1.Page.FromString(page.SerializeToString())
        changed.statement = statement
        assert refuses(lambda changed=changed: pair.b.side.accept(A, changed)), (name, value)
    assert state(pair.b) == before
