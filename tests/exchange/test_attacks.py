"""What an exchange of this kind is attacked with on the side of policy and redaction, one sentence for each.

The numbers are those of docs/threats.md, "Attacks on what is withheld".
"""

import json

import pytest

from tests.exchange.parties import A, B, C, founded
from tests.records.forge import disclose
from tests.store.making import CONTENT
from tests.support.organisations import NOW
from tocsin.errors import NotFound
from tocsin.exchange import outbox
from tocsin.exchange.page import PAGE_TYPE
from tocsin.exchange.request import keep_request
from tocsin.policy.reach import leaves
from tocsin.records.jws import parse_jws, sign
from tocsin.records.record import RECORD_TYPE, parse_record
from tocsin.schema.contract import Disclosure
from tocsin.v1 import exchange_service_pb2 as v1

SECRET = "hidden-5d1f"
NESTED = {
    "subjects": [
        {"kind": "model", "name": "Open", "checkpoint": SECRET},
        {"kind": "agent", "name": "Open", "checkpoint": SECRET},
    ],
    "evidence": [{"name": f"{SECRET}.zip", "custody": [SECRET]}],
    "prompts": [SECRET],
    "details": f"as told: {SECRET}",
}
COMMUNITY = """
[[share]]
name = "outline"
kinds = ["*"]
max_tlp = "AMBER"
classes = "COMMUNITY"
"""


def sent_to(b, digest):
    """Return what a partner holds of a record; None where that is nothing."""
    token = b.store.records.token(digest)
    return None if token is None else parse_record(token).verify(founded(A).organisation, now=NOW)


# 17. policy on one field, the secret in another


def test_17_a_secret_in_a_nested_an_alias_or_a_free_text_field_stays_unless_a_rule_reached_that_field(a, b):
    a.apply(lab_b=COMMUNITY)
    record = a.post(NESTED)
    b.pull(a)
    held = sent_to(b, record.digest)
    assert SECRET not in json.dumps(held.content)
    assert not any(SECRET in str(disclosure.value) for disclosure in held.disclosures)
    named = {path for path, leaf in leaves("finding").items() if leaf.disclosure <= Disclosure.COMMUNITY}
    assert held.paths & leaves("finding").keys() <= named


def test_17_a_field_that_the_contract_does_not_know_stays(a, b):
    known, known_digest = disclose("c2FsdC1vZi10aGUtdGl0bGU", "title", "A title")
    unknown, unknown_digest = disclose("c2FsdC1vZi10aGUtb3RoZXI", "field_of_tomorrow", SECRET)
    claims = {
        "iss": A,
        "iat": NOW,
        "record_id": "3f2b8c1e-6a57-4d0f-9b1e-0c2d4e6f8a10",
        "version": 1,
        "kind": "finding",
        "schema": "tocsin.v1",
        "status": "issued",
        "tlp": "GREEN",
        "_sd_alg": "sha-256",
        "content": {"finding_kind": "vulnerability", "_sd": sorted([known_digest, unknown_digest])},
    }
    jwt = sign(json.dumps(claims).encode(), typ=RECORD_TYPE, signer=founded(A).record)
    record = parse_record(f"{jwt}~{known}~{unknown}~").verify(founded(A).organisation, now=NOW)
    a.publish(record)
    b.pull(a)
    assert sent_to(b, record.digest).content == {"finding_kind": "vulnerability", "title": "A title"}


# 18. nobody in particular is nobody


@pytest.mark.parametrize(
    "rules",
    [
        "",
        COMMUNITY.replace('"AMBER"', '"CLEAR"'),
        COMMUNITY + "when = 'title == \"another title\"'\n",
        "expires = 2026-01-01T00:00:00Z\n" + COMMUNITY,
        COMMUNITY.replace('["*"]', '["incident"]'),
    ],
    ids=["no rule", "another marking", "no condition that holds", "an expired agreement", "another kind"],
)
def test_18_what_no_rule_names_goes_to_nobody(a, b, rules):
    a.apply(lab_b=rules)
    a.post(tlp="GREEN")
    assert a.page_for(B) is None


def test_18_a_stranger_and_an_empty_audience_get_nothing(a):
    a.post(partners=[])
    assert a.page_for(B) is None
    assert a.page_for("stranger.example") is None


# 19. loosened, then tightened


def test_19_what_was_tightened_again_is_not_sent_again_and_a_repeated_page_is_weighed_anew(a, b):
    record = a.post(NESTED)
    first = a.page_for(B)
    a.apply(lab_b=COMMUNITY)
    assert a.page_for(B, first.cursor) is None
    again = a.page_for(B)
    assert again.cursor == first.cursor
    seen = parse_record(again.entries[0].presentation).verify(founded(A).organisation, now=NOW)
    assert seen.digest == record.digest
    assert SECRET not in json.dumps(seen.content)


# 20. no orphans


def test_20_a_child_never_goes_without_the_group_around_it_nor_a_group_alone(a, b):
    a.apply(lab_b=COMMUNITY)
    record = a.post(NESTED)
    b.pull(a)
    held = sent_to(b, record.digest)
    places = {disclosure.path for disclosure in held.disclosures}
    for place in places:
        assert all(place[:size] in places for size in range(2, len(place)) if place[:size] != ("content",))
    boxes = {other[:size] for other in places for size in range(1, len(other))}
    values = {disclosure.path: disclosure.value for disclosure in held.disclosures}
    assert all(box in boxes for box, value in values.items() if isinstance(value, dict | list))


# 21. counts, lengths, order


def test_21_two_records_that_differ_in_what_is_withheld_look_alike(a, b):
    a.apply(lab_b=COMMUNITY)
    shapes = set()
    for details in (None, "short", "long " * 400):
        record = a.post({"details": details, "prompts": ["one"] * (1 if details is None else 8)})
        b.pull(a)
        token = b.store.records.token(record.digest)
        jwt, *disclosures = token.split("~")
        shapes.add((len(jwt), tuple(sorted(len(disclosure) for disclosure in disclosures))))
    assert len(shapes) == 1


# 22. what cannot be helped is told: two partners who compare hold the same signature


def test_22_two_partners_hold_the_same_signature_and_two_records_share_nothing(a, b, c):
    first, second = a.post(), a.post()
    b.pull(a)
    c.pull(a)
    assert b.store.records.token(first.digest).split("~")[0] == c.store.records.token(first.digest).split("~")[0]
    one, other = (set(b.store.records.token(record.digest).split("~")) - {""} for record in (first, second))
    assert one & other == set()


# 23. numbers without gaps


def test_23_hidden_records_leave_no_gap_in_a_partners_numbers(a, b):
    for tlp in ("GREEN", "RED", "GREEN", "RED", "GREEN"):
        a.post(tlp=tlp)
    page = a.page_for(B)
    assert [entry.sequence for entry in page.entries] == [1, 2, 3]
    assert not page.more


# 24. answers say nothing about what the caller may not see


def test_24_a_hidden_record_a_missing_one_and_another_partners_are_answered_alike(a, b, c):
    a.apply(lab_b=COMMUNITY.replace("AMBER", "GREEN"))
    hidden, of_other = a.post(tlp="AMBER"), a.post(to=[C])
    told = set()
    for digest in (hidden.digest, of_other.digest, "A" * 43):
        with pytest.raises(NotFound) as refused:
            keep_request(a.office, B, v1.RequestDisclosureRequest(digest=digest, paths=["prompts"]), now=a.now)
        told.add((refused.value.message, refused.value.hint, refused.value.where, str(refused.value.metadata)))
    assert len(told) == 1


def test_24_a_page_counts_only_what_the_partner_sees(a, b):
    a.post(tlp="RED")
    shown = a.post()
    page = a.page_for(B)
    assert [entry.digest for entry in page.entries] == [shown.digest]
    assert json.loads(parse_jws(page.statement, typ=PAGE_TYPE).payload)["last"] == 1
    assert outbox.next_page(a.office, B, page.cursor, signer=founded(A).delivery, now=a.now) is None


# 25 stands in tests/test_canaries.py: two hundred planted texts, and everything that can be asked


def test_the_record_that_is_attacked_has_something_to_hide():
    assert {"prompts", "infohazard_detail"} <= CONTENT.keys()
