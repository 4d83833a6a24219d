"""Revealing takes a name here and a reveal line in the partner's policy, and signs nothing again."""

import pytest

from tests.exchange.parties import APPROVED, OPEN, A, B
from tests.store.making import record_id
from tocsin.errors import MalformedName, NotPermitted
from tocsin.exchange.reveal import Revealed


def test_a_revealed_field_goes_as_disclosures_of_what_is_held(a, b):
    record = a.post()
    b.pull(a)
    assert "prompts" not in b.store.records.get(record.digest).content
    assert a.reveal(record, "prompts") == Revealed(queued=("prompts",), already_sent=())
    (entry,) = a.page_for(B, b.cursor_of(A)).entries
    assert not entry.presentation
    assert len(entry.disclosures) == 3, "the list and its two elements"
    (received,) = b.pull(a)
    assert received.disclosures == 1
    held = b.store.records.get(record.digest)
    assert held.content["prompts"] == record.content["prompts"]
    assert b.store.intake.withheld(record.digest) == ()
    assert held.digest == record.digest


def test_revealing_again_queues_nothing(a, b):
    record = a.post()
    b.pull(a)
    a.reveal(record, "prompts")
    b.pull(a)
    entries = len(list(a.office.log.rows()))
    assert a.reveal(record, "prompts", "title") == Revealed(queued=(), already_sent=("prompts", "title"))
    assert b.pull(a) == []
    assert a.store.feeds.granted(B, record.digest) == {"prompts"}, "nothing is granted that is not in the decision log"
    assert len(list(a.office.log.rows())) == entries


def test_a_field_revealed_before_the_first_page_goes_with_the_record(a, b):
    record = a.post()
    assert a.reveal(record, "prompts").queued == ("prompts",)
    b.pull(a)
    assert b.store.records.get(record.digest).content["prompts"] == record.content["prompts"]
    assert a.store.feeds.get(B).head == 1


def test_a_group_stands_for_what_is_inside_it(a, b):
    a.set_policies(lab_b=OPEN.replace('["prompts"]', '["prompts", "evidence"]'))
    record = a.post({"evidence": [{"name": "log.txt", "media_type": "text/plain"}]})
    b.pull(a)
    assert a.reveal(record, "evidence").queued == ("evidence",)
    b.pull(a)
    assert b.store.records.get(record.digest).content["evidence"] == record.content["evidence"]


REFUSED = {
    "a field without a reveal line": (("poc",), NotPermitted, "NOT_PERMITTED"),
    "a field that never leaves the node": (("infohazard_detail",), NotPermitted, "NOT_PERMITTED"),
    "a field that the record does not have": (("transferability",), MalformedName, "BAD_NAME"),
    "one good and one bad": (("prompts", "poc"), NotPermitted, "NOT_PERMITTED"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_policy_does_not_reveal_stays_and_nothing_is_granted(a, b, case):
    paths, error, reason = REFUSED[case]
    record = a.post({"poc": "print()"})
    b.pull(a)
    with pytest.raises(error) as refused:
        a.reveal(record, *paths)
    assert refused.value.reason == reason
    assert a.store.feeds.granted(B, record.digest) == frozenset()
    assert a.store.feeds.waiting(B) == 0


def test_of_a_version_that_was_replaced_nothing_is_revealed(a, b):
    a.set_policies(lab_b=APPROVED)
    record = a.post(record_id=record_id("replaced"))
    a.post(record_id=record.record_id, version=2, supersedes=record.digest)
    with pytest.raises(NotPermitted, match="nothing of this version is sent any more"):
        a.reveal(record, "prompts")
    assert a.store.feeds.granted(B, record.digest) == frozenset()
    assert record.digest not in [one.digest for one in a.proposals()]


def test_a_record_that_does_not_go_at_all_cannot_be_revealed(a):
    record = a.post(tlp="RED")
    with pytest.raises(NotPermitted, match=r"does not go to lab-b\.example at all"):
        a.reveal(record, "title")
