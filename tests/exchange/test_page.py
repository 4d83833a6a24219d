"""A page that is not exactly what its sender signed for us stores nothing."""

import pytest

from tests.exchange.parties import A, B, C, founded
from tests.store.making import make_record
from tests.support.organisations import NOW, record_key, signer
from tocsin.encoding import decode_base64url, dump_json, parse_json
from tocsin.errors import PeerMisbehaved
from tocsin.exchange.page import MAX_BYTES, MAX_ENTRIES, MAX_UNTIL, PAGE_TYPE, PageEntry, build_page, parse_page
from tocsin.records.jws import CLOCK_SKEW, sign
from tocsin.store.model import EntryKind, WithheldPath
from tocsin.v1 import exchange_service_pb2 as v1

FEED = "A" * 22
LAB_A = founded(A)
RECORD = make_record()
OTHER = make_record()
ENTRIES = (
    PageEntry(
        1, EntryKind.RECORD, RECORD.digest, RECORD.token, withheld=(WithheldPath("steps", "infohazard", NOW + 9),)
    ),
    PageEntry(2, EntryKind.DISCLOSURES, RECORD.digest, disclosures=RECORD.disclosures_for(frozenset({"prompts"}))),
    PageEntry(3, EntryKind.VOID),
)


def made(entries=ENTRIES, *, audience=B, signer=LAB_A.delivery, sender=A, now=NOW):
    return build_page(entries, feed_id=FEED, sender=sender, audience=audience, signer=signer, now=now, more=False)


def read(page, *, sender=LAB_A.organisation, audience=B, now=NOW):
    return parse_page(page, sender=sender, audience=audience, now=now)


def restated(page=None, *, typ=PAGE_TYPE, signer=LAB_A.delivery, **changes):
    """Return a page whose statement says something else, properly signed."""
    page = page or made()
    claims = parse_json(decode_base64url(page.statement.split(".")[1])) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    page.statement = sign(dump_json(claims), typ=typ, signer=signer)
    return page


def stated(position, **changes):
    """Return the entries' claims with one changed."""
    claims = parse_json(decode_base64url(made().statement.split(".")[1]))["entries"]
    claims[position] |= changes
    return claims


def changed(change):
    """Return a page changed after it was signed."""
    page = made()
    change(page)
    return page


def put(position, **values):
    def change(page):
        for name, value in values.items():
            if isinstance(value, list):
                del getattr(page.entries[position], name)[:]
                getattr(page.entries[position], name).extend(value)
            else:
                setattr(page.entries[position], name, value)

    return change


def flip(page):
    head, payload, signature = page.statement.split(".")
    page.statement = ".".join((head, payload, ("B" if signature[0] != "B" else "C") + signature[1:]))


def test_a_page_reads_as_it_was_made():
    page = read(made())
    assert page.entries == ENTRIES
    assert (page.sender, page.feed_id) == (A, FEED)


BROKEN = {
    "no entries": lambda: v1.Page(statement=made().statement, cursor=made().cursor),
    "too many entries": lambda: v1.Page(
        statement=made().statement, entries=[v1.Entry(sequence=number) for number in range(1, MAX_ENTRIES + 2)]
    ),
    "too many bytes": lambda: made(
        (PageEntry(1, EntryKind.RECORD, RECORD.digest, RECORD.token + "x" * (MAX_BYTES + 100_000)),)
    ),
    "no statement": lambda: v1.Page(entries=made().entries, cursor=made().cursor),
    "statement of another type": lambda: restated(typ="tocsin-record+sd-jwt"),
    "signature broken": lambda: changed(flip),
    "signed by the record key": lambda: made(signer=LAB_A.record),
    "signed by another organisation": lambda: made(signer=founded(C).delivery),
    "another issuer": lambda: made(sender=C),
    "another audience": lambda: made(audience=C),
    "from the future": lambda: made(now=NOW + CLOCK_SKEW + 1),
    "before its key was valid": lambda: made(now=NOW - 1),
    "no time": lambda: restated(iat="now"),
    "claim missing": lambda: restated(feed=None),
    "feed of another form": lambda: restated(feed="../feed"),
    "entries no list": lambda: restated(entries={}),
    "entry claim no object": lambda: restated(entries=[1, 2, 3]),
    "numbers no numbers": lambda: restated(first="1"),
    "numbers from nought": lambda: restated(first=0, last=2),
    "fewer stated than sent": lambda: restated(last=2),
    "hole": lambda: changed(put(2, sequence=4)),
    "entry dropped": lambda: changed(lambda page: page.entries.pop(1)),
    "entry added": lambda: changed(lambda page: page.entries.add(sequence=4, kind=v1.ENTRY_KIND_VOID)),
    "entries swapped": lambda: changed(lambda page: page.entries.reverse()),
    "kind changed": lambda: changed(put(2, kind=v1.ENTRY_KIND_RECORD)),
    "kind unknown": lambda: changed(put(2, kind=99)),
    "another record": lambda: changed(put(0, digest=OTHER.digest, presentation=OTHER.token)),
    "another record under its digest": lambda: changed(put(0, presentation=OTHER.token)),
    "another record, signed as this one": lambda: made((PageEntry(1, EntryKind.RECORD, OTHER.digest, RECORD.token),)),
    "a disclosure withheld on the way": lambda: changed(put(0, presentation=RECORD.present(frozenset({"title"})))),
    "a further disclosure changed": lambda: changed(put(1, disclosures=["WyJhIiwiYiJd"])),
    "void with a record": lambda: changed(put(2, presentation=RECORD.token)),
    "void with a digest": lambda: changed(put(2, digest=RECORD.digest)),
    "record without text": lambda: changed(put(0, presentation="")),
    "record with disclosures beside it": lambda: changed(put(0, disclosures=["WyJhIiwiYiJd"])),
    "disclosures without any": lambda: changed(put(1, disclosures=[])),
    "text that is not ASCII": lambda: changed(put(0, presentation=RECORD.token + "é~")),
    "disclosure that is not ASCII": lambda: changed(put(1, disclosures=["é"])),
    "digest of another form": lambda: changed(put(1, digest="x")),
    "sd_hash of something else": lambda: restated(entries=stated(0, sd_hash=OTHER.digest)),
    "withheld no list": lambda: restated(entries=stated(0, withheld="steps")),
    "withheld no paths": lambda: restated(entries=stated(0, withheld=[{"reason": "infohazard"}])),
    "withheld path with control characters": lambda: restated(entries=stated(0, withheld=[{"path": "\x1b[2J"}])),
    "withheld path without end": lambda: restated(entries=stated(0, withheld=[{"path": "a" * 201}])),
    "withheld without end": lambda: restated(entries=stated(0, withheld=[{"path": "steps"}] * 300)),
    "withheld until no number": lambda: restated(entries=stated(0, withheld=[{"path": "steps", "until": "soon"}])),
    "withheld until before time": lambda: restated(entries=stated(0, withheld=[{"path": "steps", "until": -1}])),
    "withheld until no calendar goes": lambda: restated(
        entries=stated(0, withheld=[{"path": "steps", "until": MAX_UNTIL + 1}])
    ),
    "withheld reason no word": lambda: restated(entries=stated(0, withheld=[{"path": "steps", "reason": "<b>"}])),
    "void with something withheld": lambda: restated(entries=stated(2, withheld=[{"path": "steps"}])),
    "cursor elsewhere": lambda: changed(lambda page: setattr(page, "cursor", f"{FEED}.4")),
    "no cursor": lambda: changed(lambda page: setattr(page, "cursor", "")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_its_sender_did_not_sign_for_us_is_refused_and_stores_nothing(b, case):
    page = BROKEN[case]()
    with pytest.raises(PeerMisbehaved) as refused:
        read(page)
    assert refused.value.reason == "PEER_MISBEHAVED"
    before = b.state()
    with pytest.raises(PeerMisbehaved):
        b.take(page)
    assert b.state() == before


def test_claims_that_a_newer_sender_adds_are_left_alone():
    assert read(restated(checkpoint="later", entries=stated(0, hop="later"))).entries == ENTRIES


@pytest.mark.parametrize(("status", "accepted"), [("active", True), ("retired", True), ("revoked", False)])
def test_a_delivery_key_counts_as_its_document_says(status, accepted):
    organisation = LAB_A.organisation
    key = record_key(signer(f"{A} delivery"), status=status, revoked_at=NOW if status == "revoked" else None)
    fields = {name: getattr(organisation, name) for name in type(organisation).__dataclass_fields__}
    sender = type(organisation)(**fields | {"delivery_keys": {key.key_id: key}})
    if accepted:
        assert read(made(), sender=sender).entries == ENTRIES
    else:
        with pytest.raises(PeerMisbehaved, match="not valid then"):
            read(made(), sender=sender)


def test_entries_that_do_not_follow_one_another_are_never_signed():
    with pytest.raises(RuntimeError, match="consecutive"):
        made((ENTRIES[0], ENTRIES[2]))


def test_a_size_is_never_underestimated():
    assert made().ByteSize() <= sum(entry.size() for entry in ENTRIES)
