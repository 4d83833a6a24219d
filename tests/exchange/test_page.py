"""A page that is not exactly what its sender signed for us stores nothing."""

from dataclasses import replace

import pytest

from tests.exchange import notary
from tests.exchange.parties import A, B, C, founded
from tests.store.making import make_record
from tests.support.organisations import NOW, record_key, signer
from tocsin.encoding import decode_base64url, dump_json, parse_json
from tocsin.errors import PeerMisbehaved
from tocsin.exchange.entry import MAX_PATHS, MAX_UNTIL, PageEntry, disclosed_paths
from tocsin.exchange.page import MAX_BYTES, MAX_ENTRIES, PAGE_TYPE, build_page, parse_page, parse_statement
from tocsin.records.disclosure import digest_of
from tocsin.records.jws import CLOCK_SKEW, sign
from tocsin.records.retraction import Action, sign_retraction
from tocsin.store.model import EntryKind, Position, WithheldPath
from tocsin.v1 import exchange_service_pb2 as v1

FEED = "A" * 22
LAB_A = founded(A)
RECORD = make_record()
OTHER = make_record()
FURTHER = RECORD.disclosures_for(frozenset({"prompts"}))
TAGS = [f"{number}" * 10 + "A" for number in range(5)]
RETRACTION = sign_retraction(
    issuer=A,
    record_id=OTHER.record_id,
    version=1,
    action=Action.WITHDRAW,
    tlp="GREEN",
    signer=LAB_A.record,
    now=NOW,
)
ENTRIES = (
    PageEntry(
        1,
        EntryKind.RECORD,
        RECORD.digest,
        RECORD.token,
        disclosed=disclosed_paths(RECORD, RECORD.token.split("~")),
        withheld=(WithheldPath("steps", "infohazard", NOW + 9),),
        tag=TAGS[1],
        proof="a proof of lab-a.example — and nothing of it is looked at here\n",
    ),
    PageEntry(
        2,
        EntryKind.DISCLOSURES,
        RECORD.digest,
        disclosures=FURTHER,
        disclosed=disclosed_paths(RECORD, FURTHER),
        origin=C,
        tag=TAGS[2],
    ),
    PageEntry(3, EntryKind.VOID, tag=TAGS[3]),
    PageEntry(4, EntryKind.RETRACTION, OTHER.digest, retraction=RETRACTION.token),  # from before there were tags
)


def made(entries=ENTRIES, *, audience=B, signer=LAB_A.delivery, sender=A, now=NOW):
    return build_page(
        entries,
        feed_id=FEED,
        sender=sender,
        audience=audience,
        checkpoint=notary.show(A),
        signer=signer,
        now=now,
        more=False,
    )


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
    assert (page.row.first, page.row.last, page.row.digest) == (1, 4, digest_of(page.row.statement))
    assert page.behind(2) == Position(FEED, 2, TAGS[2])


def test_a_page_says_which_fields_went_groups_and_lists_as_well():
    assert ENTRIES[1].disclosed == ("prompts",)
    assert {"subjects", "subjects.name", "subjects.version"} <= set(ENTRIES[0].disclosed) or {
        "subjects",
        "subjects[*].name",
    } <= set(ENTRIES[0].disclosed)


def test_the_statement_alone_proves_what_was_sent_to_whom():
    stated = parse_statement(made().statement, sender=LAB_A.organisation)
    assert (stated.sender, stated.audience, stated.issued_at) == (A, B, NOW)
    assert [claim["kind"] for claim in stated.entries] == ["record", "disclosures", "void", "retraction"]
    assert stated.entries[1]["origin"] == C


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
    "numbers from nought": lambda: restated(first=0, last=3),
    "fewer stated than sent": lambda: restated(last=2),
    "more stated than sent": lambda: restated(last=5),
    "more stated than a page holds": lambda: restated(last=2**40),
    "hole": lambda: changed(put(2, sequence=5)),
    "entry dropped": lambda: changed(lambda page: page.entries.pop(1)),
    "entry added": lambda: changed(lambda page: page.entries.add(sequence=5, kind=v1.ENTRY_KIND_VOID)),
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
    "record with a retraction": lambda: changed(put(0, retraction=RETRACTION.token)),
    "retraction without one": lambda: changed(put(3, retraction="")),
    "retraction with a presentation": lambda: changed(put(3, presentation=RECORD.token)),
    "retraction of no record": lambda: changed(put(3, digest="")),
    "another retraction": lambda: changed(put(3, retraction=RETRACTION.token[:-1])),
    "retraction that withholds": lambda: restated(entries=stated(3, withheld=[{"path": "steps"}])),
    "retraction that discloses": lambda: restated(entries=stated(3, disclosed=["steps"])),
    "void with a retraction": lambda: changed(put(2, retraction=RETRACTION.token)),
    "void of an origin": lambda: restated(entries=stated(2, origin=C)),
    "origin no organisation": lambda: restated(entries=stated(1, origin="xn--a.example")),
    "origin no text": lambda: restated(entries=stated(1, origin=1)),
    "origin the sender": lambda: restated(entries=stated(1, origin=A)),
    "tag of another form": lambda: restated(entries=stated(0, tag="A" * 10)),
    "tag no text": lambda: restated(entries=stated(0, tag=1)),
    "disclosed left out": lambda: restated(entries=stated(0, disclosed=None)),
    "disclosed no paths": lambda: restated(entries=stated(0, disclosed=["<b>"])),
    "disclosed out of order": lambda: restated(entries=stated(0, disclosed=["title", "severity"])),
    "disclosed twice": lambda: restated(entries=stated(0, disclosed=["title", "title"])),
    "disclosed without end": lambda: restated(entries=stated(0, disclosed=[f"a{n}" for n in range(MAX_PATHS + 1)])),
    "text that is not ASCII": lambda: changed(put(0, presentation=RECORD.token + "é~")),
    "disclosure that is not ASCII": lambda: changed(put(1, disclosures=["é"])),
    "digest of another form": lambda: changed(put(1, digest="x")),
    "a proof changed": lambda: changed(put(0, proof="another proof")),
    "a proof taken away": lambda: changed(put(0, proof="")),
    "a proof put in": lambda: changed(put(3, proof="a proof")),
    "disclosures with a proof": lambda: made((replace(ENTRIES[1], sequence=1, proof="a proof"),)),
    "void with a proof": lambda: made((replace(ENTRIES[2], sequence=1, proof="a proof"),)),
    "no checkpoint": lambda: restated(checkpoint=None),
    "an empty checkpoint": lambda: restated(checkpoint=""),
    "checkpoint no text": lambda: restated(checkpoint=1),
    "sd_hash of something else": lambda: restated(entries=stated(0, sd_hash=OTHER.digest)),
    "withheld no list": lambda: restated(entries=stated(0, withheld="steps")),
    "withheld no paths": lambda: restated(entries=stated(0, withheld=[{"reason": "infohazard"}])),
    "withheld path with control characters": lambda: restated(entries=stated(0, withheld=[{"path": "\x1b[2J"}])),
    "withheld path without end": lambda: restated(entries=stated(0, withheld=[{"path": "a" * 201}])),
    "withheld without end": lambda: restated(entries=stated(0, withheld=[{"path": "steps"}] * (MAX_PATHS + 1))),
    "withheld until no number": lambda: restated(entries=stated(0, withheld=[{"path": "steps", "until": "soon"}])),
    "withheld until before time": lambda: restated(entries=stated(0, withheld=[{"path": "steps", "until": -1}])),
    "withheld until no calendar goes": lambda: restated(
        entries=stated(0, withheld=[{"path": "steps", "until": MAX_UNTIL + 1}])
    ),
    "withheld reason no word": lambda: restated(entries=stated(0, withheld=[{"path": "steps", "reason": "<b>"}])),
    "void with something withheld": lambda: restated(entries=stated(2, withheld=[{"path": "steps"}])),
    "cursor elsewhere": lambda: changed(lambda page: setattr(page, "cursor", f"{FEED}.5")),
    "cursor with another tag": lambda: changed(lambda page: setattr(page, "cursor", f"{FEED}.4.{TAGS[0]}")),
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
