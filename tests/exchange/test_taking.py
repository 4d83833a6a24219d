"""Retractions and records of others on the way in: only the origin's key counts, and nothing comes back."""

import dataclasses

import pytest

from tests.exchange.pages import entry_of, page_of, raw, relayed, retracting
from tests.exchange.parties import RELAYED, A, B, C, founded
from tests.store.making import make_record
from tests.support.organisations import NOW
from tocsin.errors import RecordExpired
from tocsin.policy.clauses import Accept
from tocsin.records.record import parse_record
from tocsin.records.retraction import Action, sign_retraction
from tocsin.store.model import PeerState, Standing

EVERY = frozenset({"finding", "incident", "evaluation"})
KEPT = Accept(EVERY, 100, legal_hold=True)
D = "elsewhere.example"


def verdicts(received):
    return [(one.outcome.value, one.reason) for one in received.receipt.verdicts]


def standing(party, record):
    return party.store.records.get(record.digest).standing


def files(party):
    """Return what is in every file of the store."""
    path = party.store._db.path
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def theirs(org=C, *, tlp="GREEN", relay="community", **more):
    """Return a record of somebody who lets it be passed on."""
    return make_record(by=founded(org), tlp=tlp, relay=relay, **more)


def whole(record, **more):
    return raw(record, record.token, **more)


class TestRetractions:
    @pytest.mark.parametrize("action", [Action.WITHDRAW, Action.PURGE])
    def test_what_its_origin_takes_back_is_over(self, b, action):
        record = make_record()
        b.take(page_of(record))
        received = b.take(page_of(retracting(record, action), first=2))
        assert (received.retractions, verdicts(received)) == (1, [("applied", "")])
        assert standing(b, record) is (Standing.PURGED if action is Action.PURGE else Standing.WITHDRAWN)
        assert b.store.records.counts().received == 0

    @pytest.mark.parametrize("action", [Action.WITHDRAW, Action.PURGE])
    def test_a_retraction_that_is_there_first_holds_for_what_comes_later(self, b, action):
        record = make_record()
        b.take(page_of(retracting(record, action)))
        assert verdicts(b.take(page_of(record, first=2))) == [("retracted", "")]
        assert b.store.records.counts().received == 0
        assert bool(b.store.records.token(record.digest)) is (action is Action.WITHDRAW)

    def test_both_on_one_page_come_to_the_same(self, b):
        record = make_record()
        assert verdicts(b.take(page_of(retracting(record), record, retracting(record)))) == [
            ("applied", ""),
            ("retracted", ""),
            ("applied", ""),
        ]

    def test_of_what_is_purged_no_byte_stays(self, b):
        record = make_record({"title": "canary-in-the-title", "prompts": ["canary-in-a-prompt"]})
        b.take(page_of(record))
        assert b.store.records.search("canary-in-the-title")
        b.take(page_of(retracting(record, Action.PURGE), first=2))
        b.store.close()
        left = files(b)
        assert b"canary-in" not in left
        assert record.token.partition("~")[2][:60].encode() not in left

    def test_a_law_that_lets_nobody_delete_is_answered(self, b):
        b.accept(A, KEPT)
        record = make_record()
        b.take(page_of(record))
        entry = retracting(record, Action.PURGE)
        for first in (2, 3):  # asked again, the answer is the same
            received = b.take(page_of(entry, first=first))
            assert verdicts(received) == [("declined", "legal-hold")]
        assert b.store.records.token(record.digest) == record.token
        assert standing(b, record) is Standing.WITHDRAWN
        assert b.store.records.counts().received == 0
        assert len(b.logged("purge-declined")) == 1

    KEEPING = {  # noqa: RUF012
        "its origin, and another delivers the purge": (C, A, A),
        "who gave it to us, and its origin delivers the purge": (A, A, C),
    }

    @pytest.mark.parametrize(("law", "giver", "purger"), KEEPING.values(), ids=KEEPING)
    def test_a_law_is_not_got_round_by_another_way(self, b, law, giver, purger):
        record = theirs()
        b.take(page_of(relayed(record), sender=giver), sender=giver)
        b.accept(law, dataclasses.replace(KEPT, relayed=True))
        received = b.take(
            page_of(retracting(record, Action.PURGE), first=2 if giver == purger else 1, sender=purger), sender=purger
        )
        assert verdicts(received) == [("declined", "legal-hold")]
        assert b.store.records.token(record.digest) == record.token
        assert standing(b, record) is Standing.WITHDRAWN

    def test_what_was_taken_back_is_in_the_decision_log(self, b):
        record = make_record()
        b.take(page_of(record, retracting(record), retracting(record, Action.PURGE)))
        assert [one["partner"] for one in b.logged("retracted")] == [A]
        (purged,) = b.logged("purged-by-origin")
        assert (purged["digest"], purged["details"]["issuer"]) == (record.digest, A)

    def test_nobody_takes_back_what_is_anothers(self, b):
        record = make_record()
        b.take(page_of(record))
        forged = {
            "in its own name": retracting(record, by=founded(C)),
            "about its own record of the same id": entry_of(
                sign_retraction(
                    issuer=C,
                    record_id=record.record_id,
                    version=1,
                    action=Action.PURGE,
                    tlp="GREEN",
                    signer=founded(C).record,
                    now=NOW,
                ),
                record.digest,
            ),
        }
        received = b.take(page_of(*forged.values(), sender=C), sender=C)
        assert verdicts(received) == [("refused", "KEY_NOT_OF_ISSUER")] * 2
        assert standing(b, record) is Standing.CURRENT
        assert b.store.retractions.of(A, record.record_id) == ()

    def test_a_retraction_from_the_future_waits(self, b):
        record = make_record()
        b.take(page_of(record))
        page = page_of(retracting(record, now=NOW + 1000), first=2)
        with pytest.raises(RecordExpired):
            b.take(page)
        assert standing(b, record) is Standing.CURRENT
        assert verdicts(b.take(page, now=NOW + 900)) == [("applied", "")]

    def test_something_else_in_its_place_is_refused(self, b):
        record = make_record()
        token = record.token.partition("~")[0]
        entry = entry_of(type("Token", (), {"token": token}), record.digest)
        assert verdicts(b.take(page_of(entry))) == [("refused", "BAD_TYP")]

    def test_a_stricter_marking_counts(self, b):
        record = make_record(tlp="GREEN")
        successor = make_record(record_id=record.record_id, version=2, supersedes=record.digest, tlp="RED")
        correction = retracting(record, Action.CORRECT, tlp="RED", successor=successor.digest)
        b.take(page_of(record, correction))
        assert b.store.records.get(record.digest).marking == "RED"
        assert standing(b, record) is Standing.REPLACED


class TestRelay:
    """B takes from A what C issued."""

    def test_what_the_origin_lets_go_on_is_taken_under_its_own_keys(self, b):
        record = theirs()
        assert verdicts(b.take(page_of(relayed(record)))) == [("stored", "")]
        stored = b.store.records.get(record.digest)
        assert (stored.issuer, stored.received_from) == (C, A)

    def test_a_retraction_of_it_comes_the_same_way(self, b):
        record = theirs()
        b.take(page_of(relayed(record)))
        assert verdicts(b.take(page_of(retracting(record, Action.PURGE), first=2))) == [("applied", "")]
        assert standing(b, record) is Standing.PURGED

    REFUSED = {  # noqa: RUF012
        "the origin did not let it go on": (lambda: relayed(theirs(relay="none")), "NOT_PERMITTED"),
        "the sender says that it is its own": (lambda: whole(theirs()), "KEY_NOT_OF_ISSUER"),
        "it is somebody else's than it says": (
            lambda: whole(theirs(), origin=B),
            "KEY_NOT_OF_ISSUER",
        ),
        "the origin is nobody we know": (lambda: relayed(theirs(D)), "KEY_NOT_OF_ISSUER"),
    }

    @pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED)
    def test_anything_else_is_refused(self, b, make, reason):
        assert verdicts(b.take(page_of(make()))) == [("refused", reason)]
        assert b.store.records.counts().received == 0

    def test_nothing_of_others_is_taken_where_policy_does_not_say_so(self, b):
        b.accept(A, Accept(EVERY, 100))
        assert verdicts(b.take(page_of(relayed(theirs())))) == [("refused", "NOT_PERMITTED")]

    def test_a_retraction_is_taken_even_then(self, b):
        record = theirs()
        b.take(page_of(record, sender=C), sender=C)
        b.accept(A, Accept(EVERY, 100))
        assert verdicts(b.take(page_of(retracting(record)))) == [("applied", "")]

    STATES = {  # noqa: RUF012
        PeerState.PENDING: "refused",
        PeerState.SUSPENDED: "stored",
        PeerState.REMOVED: "refused",
        PeerState.KNOWN: "stored",
    }

    @pytest.mark.parametrize(("state", "outcome"), STATES.items())
    def test_the_origins_keys_count_where_somebody_confirmed_them(self, b, state, outcome):
        b.store.peers.set_state(C, state)
        assert verdicts(b.take(page_of(relayed(theirs()))))[0][0] == outcome

    def test_two_ways_make_one_record_with_the_fields_of_both(self, b):
        record = theirs()
        title, summary = (record.present(frozenset({path})) for path in ("title", "summary"))
        b.take(page_of(relayed(record, title)))
        received = b.take(page_of(raw(record, summary), sender=C), sender=C)
        assert verdicts(received) == [("grown", "")]
        assert {"title", "summary"} <= b.store.records.get(record.digest).content.keys()

    def test_our_own_record_that_comes_back_is_known(self, a):
        record = a.post(tlp="GREEN", relay="community")
        before = a.state(but={"intake", "peers", "receipts", "verdicts"})
        received = a.take(page_of(relayed(record), sender=B, audience=A), sender=B)
        assert verdicts(received) == [("unchanged", "")]
        assert a.state(but={"intake", "peers", "receipts", "verdicts"}) == before

    def test_a_record_said_to_be_ours_is_not(self, a):
        forged = make_record(by=founded(C))
        entry = raw(forged, forged.token, origin=A)
        received = a.take(page_of(entry, sender=B, audience=A), sender=B)
        assert verdicts(received) == [("refused", "KEY_NOT_OF_ISSUER")]


class TestOnward:
    """B holds what A issued, and passes it on to C."""

    @pytest.fixture
    def relaying(self, b):
        b.set_policies(aisi=RELAYED, lab_a=RELAYED)
        return b

    def test_what_may_go_on_is_queued_but_not_for_whom_it_came_from(self, relaying):
        record = theirs(A)
        received = relaying.take(page_of(record))
        assert received.onward == (C,)
        assert relaying.store.feeds.candidates(C, limit=9) == (record.digest,)
        assert relaying.store.feeds.waiting(A) == 0

    def test_what_may_not_go_on_is_queued_for_nobody(self, relaying):
        assert relaying.take(page_of(theirs(A, relay="none"))).onward == ()

    def test_nothing_goes_on_where_no_rule_speaks_of_others(self, b):
        assert b.take(page_of(theirs(A))).onward == ()

    def test_it_goes_on_and_so_does_that_it_is_over(self, relaying, c):
        record = theirs(A)
        relaying.take(page_of(record))
        assert c.pull(relaying)[0].records == 1
        token = c.store.records.token(record.digest)
        assert parse_record(token).verify(founded(A).organisation, now=NOW).paths <= record.paths
        received = relaying.take(page_of(retracting(record, Action.PURGE), first=2))
        assert received.onward == (C,)
        assert c.pull(relaying)[0].retractions == 1
        assert standing(c, record) is Standing.PURGED

    def test_a_retraction_goes_on_whatever_policy_says_today(self, relaying, c):
        record = theirs(A)
        relaying.take(page_of(record))
        c.pull(relaying)
        relaying.set_policies(aisi="")
        relaying.take(page_of(retracting(record), first=2))
        assert c.pull(relaying)[0].retractions == 1

    def test_who_holds_nothing_through_us_is_not_told(self, relaying):
        record = theirs(A, relay="none")
        relaying.take(page_of(record))
        assert relaying.take(page_of(retracting(record), first=2)).onward == ()

    def test_the_same_retraction_again_goes_nowhere(self, relaying, c):
        record = theirs(A)
        relaying.take(page_of(record))
        c.pull(relaying)
        entry = retracting(record)
        relaying.take(page_of(entry, first=2))
        assert relaying.take(page_of(entry, first=3)).onward == ()
