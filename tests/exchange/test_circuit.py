"""The contact with a peer is a table of states, and pauses have full jitter."""

from itertools import product

import pytest

from tests.support.organisations import NOW
from tocsin.exchange.circuit import Contact, Contacts, ContactState, Happened, Pace

CALLING, IN_TOUCH, WAITING = ContactState.CALLING, ContactState.IN_TOUCH, ContactState.WAITING
LAB = "lab-b.example"

TABLE = {
    (WAITING, Happened.TIME): CALLING,
    (WAITING, Happened.PEER): CALLING,
    (CALLING, Happened.ANSWERED): IN_TOUCH,
    (CALLING, Happened.ENDED): WAITING,
    (CALLING, Happened.FAILED): WAITING,
    (IN_TOUCH, Happened.ANSWERED): IN_TOUCH,
    (IN_TOUCH, Happened.ENDED): WAITING,
    (IN_TOUCH, Happened.FAILED): WAITING,
}


@pytest.mark.parametrize(("state", "happened"), [*product(ContactState, Happened)])
def test_every_event_leads_where_the_table_says_or_is_refused(state, happened):
    contact = Contact(state, failures=3)
    if (state, happened) not in TABLE:
        with pytest.raises(RuntimeError):
            contact.after(happened)
        return
    assert contact.after(happened).state is TABLE[state, happened]


FAILURES = {Happened.FAILED: 4, Happened.ENDED: 3, Happened.ANSWERED: 0}


@pytest.mark.parametrize(("happened", "failures"), FAILURES.items())
def test_failures_are_counted_until_the_peer_answers(happened, failures):
    assert Contact(CALLING, failures=3).after(happened).failures == failures


def test_the_next_attempt_is_known_while_it_waits_and_only_then():
    waiting = Contact().after(Happened.FAILED, next_attempt_at=NOW + 8)
    assert waiting.next_attempt_at == NOW + 8
    assert waiting.after(Happened.TIME).next_attempt_at == 0


PAUSES = {0: 1.0, 1: 2.0, 3: 8.0, 8: 256.0, 9: 300.0, 1000: 300.0}


@pytest.mark.parametrize(("failures", "seconds"), PAUSES.items())
def test_pauses_double_up_to_the_cap(failures, seconds):
    assert Pace(cap=300).longest(failures) == seconds


def test_a_pause_is_anything_up_to_the_longest():
    picked = [Pace(cap=300).jitter(8.0) for _ in range(200)]
    assert 0 <= min(picked) < 2 < 6 < max(picked) <= 8


class TestContacts:
    def test_a_peer_that_nobody_calls_has_none(self):
        contacts = Contacts()
        contacts.note(LAB, "_follow", Contact())
        contacts.forget(LAB)
        assert contacts.of(LAB) is None

    def test_of_two_contacts_with_one_peer_the_worse_is_shown(self):
        contacts = Contacts()
        contacts.note(LAB, "_follow", Contact(IN_TOUCH))
        contacts.note(LAB, "_push", Contact(WAITING, failures=2, next_attempt_at=NOW))
        assert contacts.of(LAB) == Contact(WAITING, 2, NOW)

    def test_a_peers_clock_is_known_once_it_says_it(self):
        contacts = Contacts()
        assert contacts.clock_ahead(LAB) is None
        contacts.note_clock(LAB, theirs=0, ours=NOW)
        assert contacts.clock_ahead(LAB) is None
        contacts.note_clock(LAB, theirs=NOW - 90, ours=NOW)
        assert contacts.clock_ahead(LAB) == -90
