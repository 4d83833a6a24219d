"""The logs of others: what is kept of them, what is cosigned, who is caught, and what nobody can do to us by them."""

import threading
from dataclasses import replace

import pytest

from tests.exchange.parties import A, B, C
from tests.store.making import make_record
from tests.support.organisations import NOW, make_details, signer
from tests.watch.branches import Branch, cosigned, entry, founded, junk, line, words
from tocsin.audit.entry import Event
from tocsin.errors import (
    CheckpointRefused,
    Malformed,
    MalformedIdentity,
    MalformedLog,
    NotFound,
    OriginStopped,
    PeerMisbehaved,
    ProofMismatch,
    RecordRefused,
    StaleCheckpoint,
    TocsinError,
)
from tocsin.identity.root import next_version, parse_identity
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, witness_name
from tocsin.release.ledger import entry_of
from tocsin.store.model import PeerState
from tocsin.tlog.checkpoint import CLOCK_SKEW, parse_checkpoint, verify_checkpoint
from tocsin.tlog.evidence import Evidence, Kind, LoggedEntry, dump_evidence, parse_evidence, verify_evidence
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.merkle import inclusion_proof
from tocsin.tlog.note import MAX_SIGNATURES, parse_verifier
from tocsin.tlog.witness import format_request
from tocsin.watch import origins as watching
from tocsin.watch.cosigning import add_checkpoint
from tocsin.watch.origins import Watch

FIVE = "one two three four five"
OTHER = "one two drei vier fünf sechs"


def watch(party, *, now=NOW):
    return Watch(party.office, party.origin, now=now)


def read(party, branch, size=None, *, at=NOW, now=NOW, limit=16_384):
    """Let a party read a branch up to a size, as it is shown at a time."""
    reader, note = watch(party, now=now), branch.note(size, at=at)
    if reader.look(note):
        size = branch.size if size is None else size
        while (start := party.store.logs.get(branch.org).size) < size:
            reader.extend(party.origin(branch.org), branch.growth(start, size, limit=limit, note=note))
    return note


def row(party, org=C):
    return party.store.logs.get(org)


def rotated(whole):
    """Return an organisation with another witness key, by the next version of its document."""
    new, name = signer("the next witness key"), witness_name(whole.organisation.org)
    vkey = format_vkey(name, algorithm=NoteAlgorithm.COSIGNATURE_V1, public_key=new.public_key)
    details = replace(make_details(whole.organisation.org), witness_vkey=vkey)
    document = next_version(whole.organisation, details, signers=whole.roots, now=NOW)
    return replace(whole, organisation=parse_identity(document, now=NOW), witness=new)


def refused(call, *arguments, **more):
    with pytest.raises(TocsinError) as caught:
        call(*arguments, **more)
    return type(caught.value), caught.value.reason


def held_lines(party, org=C):
    return [line.name for line in parse_checkpoint(row(party, org).checkpoint).note.signatures]


def kinds(party):
    return [one.kind for one in party.store.logs.evidence()]


def resume(party, org=C, *, now):
    """Go on with an origin, as people say."""
    with party.store.transaction():
        party.store.logs.resume(org, now=now)
        party.store.logs.cut(org, 0)


@pytest.fixture
def branch():
    return Branch(C, FIVE)


class TestReading:
    def test_what_is_read_is_kept_and_cosigned(self, a, branch):
        read(a, branch)
        standing = row(a)
        assert (standing.size, standing.signed, standing.cosigned) == (5, 5, 5)
        assert standing.cosigned_root == branch.log.root(5)
        assert held_lines(a) == [f"{C}/tocsin", f"{C}/witness", f"{A}/witness"]
        (kept,) = a.store.logs.checkpoints(C)
        assert kept.checkpoint == standing.checkpoint

    def test_what_is_known_is_not_wanted(self, a, branch):
        note = read(a, branch)
        assert not watch(a).look(note)
        assert not watch(a).look(branch.note(3))
        assert not watch(a).look(Branch("nobody.example", FIVE).note())

    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    def test_a_log_may_come_in_parts(self, a, branch, limit):
        read(a, branch, limit=limit)
        assert row(a).signed == 5
        assert TransparencyLog(a.store.logs, C).root(5) == branch.log.root(5)

    def test_a_part_has_no_checkpoint_and_is_not_cosigned(self, a, branch):
        watch(a).extend(a.origin(C), branch.growth(0, limit=3))
        assert (row(a).size, row(a).checkpoint, row(a).cosigned) == (3, "", 0)

    def test_an_empty_log_is_nothing_to_read(self, a):
        assert not watch(a).look(Branch(C).note())
        assert watch(a).require(Branch(C).note())[0].org == C

    def test_entries_that_are_known_already_change_nothing(self, a, branch):
        note = read(a, branch)
        before = row(a)
        for growth in (branch.growth(0, note=note), branch.growth(3, note=note), branch.growth(0, 2)):
            assert watch(a).extend(a.origin(C), growth) == 5
        assert row(a) == before

    def test_entries_behind_a_hole_are_not_taken(self, a, branch):
        assert watch(a).extend(a.origin(C), branch.growth(2)) == 0
        assert row(a).size == 0

    FALSE = {  # noqa: RUF012
        "another entry": lambda growth: replace(growth, entries=(entry("x"), *growth.entries[1:])),
        "an entry too few, and no proof": lambda growth: replace(growth, entries=growth.entries[:-1]),
        "an entry too many": lambda growth: replace(growth, entries=(*growth.entries, entry("x"))),
        "a proof of something else": lambda growth: replace(
            growth, entries=growth.entries[:3], end_proof=(bytes(32),) * 3
        ),
        "a proof that is too short": lambda growth: replace(growth, entries=growth.entries[:3], end_proof=()),
        "another order": lambda growth: replace(growth, entries=growth.entries[::-1]),
    }

    @pytest.mark.parametrize("change", FALSE.values(), ids=FALSE)
    def test_entries_that_do_not_lead_to_the_checkpoint_are_not_kept(self, a, branch, change):
        assert refused(watch(a).extend, a.origin(C), change(branch.growth(0))) == (PeerMisbehaved, "PEER_MISBEHAVED")
        assert row(a).size == 0
        assert kinds(a) == []

    def test_entries_with_the_checkpoint_of_another_log_are_not_kept(self, a, branch):
        growth = branch.growth(0, note=Branch(B, FIVE).note())
        assert refused(watch(a).extend, a.origin(C), growth) == (PeerMisbehaved, "PEER_MISBEHAVED")

    def test_two_who_bring_the_same_log_at_once_bring_it_once(self, a):
        branch = Branch(C, " ".join(map(str, range(200))))
        note, failures = branch.note(), []

        def bring(step):
            reader = watch(a)
            try:
                while (start := row(a).size) < 200:
                    reader.extend(a.origin(C), branch.growth(start, limit=step, note=note))
            except Exception as error:  # noqa: BLE001 -- a thread tells nobody
                failures.append(error)

        threads = [threading.Thread(target=bring, args=(step,)) for step in (7, 11, 13)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert (row(a).size, row(a).signed) == (200, 200)
        assert TransparencyLog(a.store.logs, C).root(200) == branch.log.root(200)


class TestWhoIsNoOrigin:
    def test_our_own_log_is_none_that_we_watch(self, a):
        """Else whoever shows us our own checkpoint would have us keep its signatures, and show them to everybody."""
        ours = Branch(A, FIVE)
        assert watch(a).verify(ours.note()) is None
        assert not watch(a).look(ours.note())
        assert refused(watch(a).require, ours.note()) == (PeerMisbehaved, "PEER_MISBEHAVED")
        growth = ours.growth(0)
        assert refused(watch(a).extend, a.origin(A), growth) == (PeerMisbehaved, "PEER_MISBEHAVED")
        assert row(a, A).size == 0

    def test_our_own_checkpoint_on_anothers_page_does_not_change_our_log(self, a, b):
        a.post()
        note = a.office.tlog.show
        with a.store.transaction():
            text = note(now=NOW)
        before = row(a, A)
        watch(a, now=NOW + 9).look(cosigned(text, B))
        assert row(a, A) == before

    @pytest.mark.parametrize("state", [PeerState.PENDING, PeerState.REMOVED])
    def test_an_origin_that_nobody_confirmed_is_not_known(self, a, branch, state):
        a.store.peers.set_state(C, state)
        assert watch(a).verify(branch.note()) is None

    @pytest.mark.parametrize("state", [PeerState.KNOWN, PeerState.SUSPENDED])
    def test_an_origin_that_was_confirmed_is_known_whatever_is_exchanged(self, a, branch, state):
        a.store.peers.set_state(C, state)
        read(a, branch)
        assert row(a).signed == 5

    @pytest.mark.parametrize("name", ["aisi.example", "aisi.example/tocsin/tocsin", "/tocsin", "aisi.example/witness"])
    def test_a_name_that_is_no_origins_is_not_known(self, a, branch, name):
        assert watch(a).verify(branch.note().replace(f"{C}/tocsin\n", f"{name}\n", 1)) is None


class TestVerifying:
    def test_a_checkpoint_of_another_key_says_nothing(self, a, branch):
        note = branch.note(signer=signer("a thief"))
        assert refused(watch(a).look, note) == (CheckpointRefused, "UNSIGNED_CHECKPOINT")
        assert refused(watch(a).extend, a.origin(C), branch.growth(0, note=note)) == (
            CheckpointRefused,
            "UNSIGNED_CHECKPOINT",
        )
        assert row(a).size == 0

    @pytest.mark.parametrize(("ahead", "counts"), [(CLOCK_SKEW, True), (CLOCK_SKEW + 1, False)])
    def test_what_is_said_of_a_time_that_has_not_come_waits(self, a, branch, ahead, counts):
        note = branch.note(at=NOW + ahead)
        if counts:
            assert watch(a).look(note)
        else:
            assert refused(watch(a).look, note) == (CheckpointRefused, "FUTURE_COSIGNATURE")
            assert watch(a, now=NOW + 1).look(note)

    def test_what_cannot_be_read_is_malformed(self, a, branch):
        assert refused(watch(a).look, "") == (MalformedLog, "BAD_NOTE")
        assert refused(watch(a).look, branch.note().replace("\n5\n", "\n05\n")) == (MalformedLog, "BAD_CHECKPOINT")
        assert refused(watch(a).look, branch.note().replace("\n\n", "\nmore\n\n")) == (MalformedLog, "BAD_CHECKPOINT")


class TestFork:
    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8])
    @pytest.mark.parametrize("other", [1, 2, 3, 4, 5, 6, 7, 8])
    def test_two_histories_prove_themselves_whatever_their_sizes(self, a, size, other):
        """Also of two trees of which one size is a power of two, where a proof has no root of the older in it."""
        names = [*"abcdefgh"]
        one, two = Branch(C, " ".join(names[:size])), Branch(C, " ".join(["x", *names[1:other]]))
        read(a, one)
        assert refused(read, a, two) == (OriginStopped, "ORIGIN_STOPPED")
        (bundle,) = [found.bundle for found in a.store.logs.evidence(C)]
        found = verify_evidence(parse_evidence(bundle), known=founded(C).organisation)
        assert found.kind is Kind.FORK
        assert row(a).stopped == watching.STOPPED[Kind.FORK]
        assert [one["act"] for one in a.logged(Event.ORIGIN_STOPPED)] == [Event.ORIGIN_STOPPED]

    @pytest.mark.parametrize("size", range(1, 9))
    @pytest.mark.parametrize("more", range(4))
    def test_one_history_is_none_whatever_its_sizes(self, a, size, more):
        branch = Branch(C, " ".join("abcdefghijkl"[: size + more]))
        read(a, branch, size)
        read(a, branch)
        for earlier in range(size + more + 1):
            assert not watch(a).look(branch.note(earlier, at=NOW - 1))
        assert (row(a).stopped, kinds(a)) == ("", [])

    def test_of_whom_was_caught_nothing_is_taken(self, a, branch):
        read(a, branch, 3)
        other = Branch(C, OTHER)
        refused(read, a, other)
        before = row(a)
        stopped = (OriginStopped, "ORIGIN_STOPPED")
        assert not watch(a).look(branch.note())
        assert refused(watch(a).extend, a.origin(C), branch.growth(3)) == stopped
        assert refused(watch(a).require, branch.note(3)) == stopped
        assert refused(watch(a).verify_taking, C) == stopped
        assert row(a) == before

    def test_whoever_says_that_another_tree_stands_before_must_prove_it(self, a, branch):
        """Else anybody could have us throw away what we have read so far, again and again."""
        watch(a).extend(a.origin(C), branch.growth(0, limit=3))
        lie = replace(branch.growth(3), start_root=bytes(32))
        assert refused(watch(a).extend, a.origin(C), lie) == (PeerMisbehaved, "PEER_MISBEHAVED")
        assert row(a).size == 3
        read(a, branch, 3)
        assert refused(watch(a).extend, a.origin(C), lie) == (PeerMisbehaved, "PEER_MISBEHAVED")
        assert (row(a).size, row(a).stopped) == (3, "")

    @pytest.mark.parametrize("size", [1, 2, 3, 4])
    def test_a_part_that_leads_to_another_tree_is_read_again(self, a, branch, size):
        """What is in between was signed by nobody: that another tree begins otherwise proves nothing."""
        other = Branch(C, "eins zwei drei vier fünf sechs")
        watch(a).extend(a.origin(C), branch.growth(0, limit=size))
        assert watch(a).extend(a.origin(C), other.growth(size)) == 0
        assert (row(a).size, kinds(a)) == (0, [])
        read(a, other)
        assert row(a).signed == 6

    def test_a_smaller_tree_that_a_part_does_not_begin_with_has_it_read_again(self, a, branch):
        watch(a).extend(a.origin(C), branch.growth(0, limit=4))
        assert watch(a).look(Branch(C, OTHER).note(3))
        assert (row(a).size, kinds(a)) == (0, [])

    def test_parts_of_two_branches_never_make_one_log(self, a, branch):
        other = Branch(C, "one two drei vier fünf sechs")
        reader, origin = watch(a), a.origin(C)
        reader.extend(origin, branch.growth(0, limit=2))
        reader.extend(origin, other.growth(2, limit=2))
        assert row(a).size == 4
        assert reader.extend(origin, branch.growth(4)) == 0
        assert reader.extend(origin, branch.growth(0)) == 5
        assert refused(reader.extend, origin, other.growth(5)) == (OriginStopped, "ORIGIN_STOPPED")

    def test_what_was_cosigned_by_request_proves_a_fork_when_the_log_is_read(self, a, branch):
        request = format_request(old=0, proof=(), checkpoint=branch.note(4))
        add_checkpoint(a.office, a.origin, request, now=NOW)
        assert refused(read, a, Branch(C, OTHER)) == (OriginStopped, "ORIGIN_STOPPED")
        assert kinds(a) == ["fork"]


class TestPutBack:
    def test_a_smaller_tree_at_a_later_time_is_a_log_that_was_put_back(self, a, branch):
        read(a, branch, at=NOW)
        assert refused(watch(a, now=NOW + 9).look, branch.note(3, at=NOW + 1)) == (OriginStopped, "ORIGIN_STOPPED")
        assert kinds(a) == ["rollback"]

    def test_it_is_one_whichever_of_the_two_comes_first(self, a, branch):
        read(a, branch, 3, at=NOW + 1, now=NOW + 9)
        assert refused(read, a, branch, at=NOW, now=NOW + 9) == (OriginStopped, "ORIGIN_STOPPED")
        assert kinds(a) == ["rollback"]

    @pytest.mark.parametrize("at", [NOW, NOW - 1, NOW - 10_000_000], ids=["same second", "before", "long before"])
    def test_a_message_that_was_under_way_makes_nobody_guilty(self, a, branch, at):
        read(a, branch, at=NOW)
        assert not watch(a).look(branch.note(3, at=at))
        assert watch(a).require(branch.note(3, at=at))
        assert row(a).stopped == ""

    def test_what_is_not_dated_makes_nobody_guilty(self, a, branch):
        read(a, branch, at=NOW)
        assert not watch(a, now=NOW + 9).look(branch.bare(3))
        assert row(a).stopped == ""

    def test_an_origin_that_never_dates_its_checkpoints_is_read(self, a, branch):
        reader = watch(a)
        assert reader.look(branch.bare(3))
        reader.extend(a.origin(C), branch.growth(0, 3, note=branch.bare(3)))
        reader.extend(a.origin(C), branch.growth(3, note=branch.bare()))
        assert row(a).signed == 5
        assert refused(reader.look, Branch(C, OTHER).bare(5)) == (OriginStopped, "ORIGIN_STOPPED")

    def test_the_latest_time_of_a_tree_counts(self, a, branch):
        """Who shows five entries, then three, and then five again was put back in between."""
        read(a, branch, at=NOW)
        watch(a, now=NOW + 9).look(branch.note(at=NOW + 5))
        assert held_lines(a).count(f"{C}/witness") == 1
        assert not watch(a, now=NOW + 9).look(branch.note(3, at=NOW + 5))
        assert refused(watch(a, now=NOW + 9).look, branch.note(3, at=NOW + 6)) == (OriginStopped, "ORIGIN_STOPPED")


class TestWhatIsInIt:
    def test_two_entries_under_one_id_and_version_are_two_histories(self, a, branch):
        branch.add(entry("two", "something else"))
        assert refused(read, a, branch) == (OriginStopped, "ORIGIN_STOPPED")
        assert kinds(a) == ["entries"]

    def test_so_are_two_that_came_in_different_parts(self, a, branch):
        branch.add(*words("six seven"), entry("one", "something else"))
        read(a, branch, 6)
        assert refused(read, a, branch, limit=1) == (OriginStopped, "ORIGIN_STOPPED")
        assert kinds(a) == ["entries"]

    def test_the_same_entry_twice_is_none(self, a, branch):
        read(a, branch.add(*words("two")))
        assert row(a).stopped == ""

    def test_a_record_that_the_log_does_not_have_is_proved_by_what_it_has(self, a):
        record = make_record({"title": "one"}, by=founded(C))
        other = make_record({"title": "two"}, by=founded(C), record_id=record.record_id)
        branch = Branch(C).add(entry_of(other), *words("x y"))
        read(a, branch)
        call = (a.origin(C), branch.proof(0), entry_of(record))
        assert refused(watch(a).verify_logged, *call) == (ProofMismatch, "NOT_INCLUDED"), "a digest proves nothing"
        bare = f"{record.token.partition('~')[0]}~"
        assert refused(watch(a).verify_logged, *call, record=bare) == (OriginStopped, "ORIGIN_STOPPED")
        assert kinds(a) == ["record"]

    def test_what_was_proved_before_its_origin_was_caught_by_the_same_page_counts_no_more(self, a):
        record = make_record({"title": "one"}, by=founded(C))
        other = make_record({"title": "two"}, by=founded(C), record_id=record.record_id)
        branch = Branch(C).add(entry_of(other), *words("x y"))
        read(a, branch)
        reader, bare = watch(a), f"{record.token.partition('~')[0]}~"
        reader.verify_logged(a.origin(C), branch.proof(0), entry_of(other))
        assert reader.still_holds()
        call = (a.origin(C), branch.proof(0), entry_of(record))
        for _ in range(2):
            assert refused(reader.verify_logged, *call, record=bare) == (OriginStopped, "ORIGIN_STOPPED")
        assert not reader.still_holds()
        call = (a.origin(C), branch.proof(0), entry_of(other))
        assert refused(reader.verify_logged, *call) == (OriginStopped, "ORIGIN_STOPPED"), "when it is looked at again"
        assert reader.still_holds(), "nothing rests on that log now, and the page can be stored"
        assert kinds(a) == ["record"]
        assert len(a.logged(Event.ORIGIN_STOPPED)) == 1


class TestProofs:
    def test_a_proof_in_what_was_read_counts(self, a, branch):
        read(a, branch)
        assert watch(a).verify_logged(a.origin(C), branch.proof(2), entry("three")) == 2
        assert watch(a).verify_logged(a.origin(C), branch.proof(2, 3), entry("three")) == 2

    def test_a_proof_in_what_was_not_read_waits_for_it(self, a, branch):
        read(a, branch, 3)
        assert refused(watch(a).verify_logged, a.origin(C), branch.proof(2), entry("three")) == (
            StaleCheckpoint,
            "STALE_CHECKPOINT",
        )

    FALSE = {  # noqa: RUF012
        "none": (lambda branch: "", MalformedLog, "BAD_PROOF"),
        "of another entry": (lambda branch: branch.proof(3), ProofMismatch, "NOT_INCLUDED"),
        "of another log": (lambda branch: Branch(B, FIVE).proof(2), MalformedLog, "BAD_PROOF"),
        "of a log that nobody knows": (
            lambda branch: Branch("nobody.example", FIVE).proof(2),
            MalformedLog,
            "BAD_PROOF",
        ),
        "under another key": (
            lambda branch: branch.proof(2, note=branch.note(signer=signer("a thief"))),
            CheckpointRefused,
            "UNSIGNED_CHECKPOINT",
        ),
    }

    @pytest.mark.parametrize(("proof", "error", "reason"), FALSE.values(), ids=FALSE)
    def test_a_proof_that_is_none_is_refused(self, a, branch, proof, error, reason):
        read(a, branch)
        assert refused(watch(a).verify_logged, a.origin(C), proof(branch), entry("three")) == (error, reason)

    def test_a_proof_in_a_history_that_is_known_and_over_refuses_an_entry_and_nothing_else(self, a, branch):
        """Whoever passes a record on may be on the other branch still, and has other things to say."""
        old = Branch(C, OTHER)
        read(a, old)
        resume(a, now=NOW + 5)
        read(a, branch, at=NOW + 6, now=NOW + 9)
        for size in (3, 5, 6):
            call = (a.origin(C), old.proof(2, size), entry("drei"))
            assert refused(watch(a, now=NOW + 9).verify_logged, *call) == (ProofMismatch, "NOT_CONSISTENT")
        assert row(a).stopped == ""

    def test_a_log_that_is_cut_meanwhile_is_no_damaged_store(self, a, branch):
        read(a, branch)
        failures, done = [], threading.Event()

        def cut():
            while not done.is_set():
                with a.store.transaction():
                    a.store.logs.cut(C, 0)
                    a.store.logs.append(C, branch.shelf.kept, list(branch.shelf.hashes.items()), size=0, now=NOW)

        thread = threading.Thread(target=cut)
        thread.start()
        try:
            for _ in range(200):
                watch(a).require(branch.note())
        except Exception as error:  # noqa: BLE001 -- told below
            failures.append(error)
        finally:
            done.set()
            thread.join()
        assert failures == []


class TestGoingOn:
    def test_what_was_shown_until_then_stops_nobody_again(self, a, branch):
        other = Branch(C, OTHER)
        read(a, branch)
        refused(read, a, other)
        (bundle,) = [found.bundle for found in a.store.logs.evidence()]
        resume(a, now=NOW + 5)
        late = watch(a, now=NOW + 9)
        assert not late.look(branch.note())
        read(a, other, at=NOW + 6, now=NOW + 9)
        late.keep_evidence(bundle)
        assert not late.look(branch.note(at=NOW + 5))
        assert not late.look(branch.bare())
        assert (row(a).stopped, row(a).signed) == ("", 6)

    def test_what_is_shown_from_then_on_does(self, a, branch):
        other = Branch(C, OTHER)
        read(a, branch)
        refused(read, a, other)
        resume(a, now=NOW + 5)
        read(a, other, at=NOW + 6, now=NOW + 9)
        assert refused(watch(a, now=NOW + 9).look, branch.note(at=NOW + 6)) == (OriginStopped, "ORIGIN_STOPPED")

    def test_evidence_that_is_known_stops_nobody_again_even_where_the_clocks_differ(self, a, branch):
        read(a, branch, at=NOW + 200)
        refused(read, a, Branch(C, OTHER), at=NOW + 200)
        (bundle,) = [found.bundle for found in a.store.logs.evidence()]
        resume(a, now=NOW + 5)
        watch(a, now=NOW + 9).keep_evidence(bundle)
        assert row(a).stopped == ""

    def test_a_smaller_log_than_was_cosigned_is_read_and_not_cosigned(self, a, branch):
        """A witness never says of a smaller tree, nor of another one, that it is the largest that it has seen."""
        read(a, branch)
        resume(a, now=NOW + 5)
        other = Branch(C, OTHER)
        for size in (2, 4, 5, 6):
            read(a, other, size, at=NOW + 6, now=NOW + 9)
            assert (row(a).signed, row(a).cosigned) == (size, 5)
            assert f"{A}/witness" not in held_lines(a)
            assert watch(a).cosigned(C) == ""

    def test_the_same_log_is_cosigned_again_where_it_goes_on(self, a, branch):
        read(a, branch, 3)
        resume(a, now=NOW + 5)
        read(a, branch, 2, at=NOW + 6, now=NOW + 9)
        assert (row(a).signed, row(a).cosigned) == (2, 3)
        read(a, branch, at=NOW + 7, now=NOW + 9)
        assert row(a).cosigned == 5
        assert f"{A}/witness" in held_lines(a)


class TestLines:
    def test_there_is_one_line_a_key_and_the_first_that_a_witness_said_stays(self, a, branch):
        read(a, branch)
        for at in (NOW + 3, NOW + 1, NOW + 2):
            watch(a, now=NOW + 9).look(cosigned(branch.note(), B, at=at))
        watch(a, now=NOW + 9).look(cosigned(branch.note(), A, at=NOW + 3))
        lines = parse_checkpoint(row(a).checkpoint).note.signatures
        assert [line.name for line in lines] == [f"{C}/tocsin", f"{C}/witness", f"{A}/witness", f"{B}/witness"]
        assert [int.from_bytes(line.signature[:8], "big") for line in lines[2:]] == [NOW, NOW + 1]

    @pytest.mark.parametrize("count", [1, 40, MAX_SIGNATURES - 1])
    def test_lines_that_say_nothing_here_are_left_out(self, a, branch, count):
        """Else whoever brings a checkpoint first could fill it, and nobody could add anything for all the others."""
        note = branch.bare() + junk(count)
        reader = watch(a)
        reader.extend(a.origin(C), branch.growth(0, note=note))
        assert held_lines(a) == [f"{C}/tocsin", f"{A}/witness"]
        reader.look(branch.bare() + junk(count, seed="more"))
        reader.look(cosigned(branch.note(), B))
        assert held_lines(a) == [f"{C}/tocsin", f"{C}/witness", f"{A}/witness", f"{B}/witness"]

    def forged(self, branch, name, by, *, at=NOW):
        """Return a line under the name and hash of a key that did not sign it."""
        good = line(branch.bare(), name, founded(by).witness, at=at)
        return good.replace(good[-12:-4], "AAAAAAAA")

    @pytest.mark.parametrize("by", [A, B, C], ids=["ours", "another's", "the origin's"])
    def test_a_forged_line_does_no_harm(self, a, branch, by):
        note = branch.bare() + self.forged(branch, witness_name(by), by)
        watch(a).extend(a.origin(C), branch.growth(0, note=note))
        assert held_lines(a) == [f"{C}/tocsin", f"{A}/witness"]
        watch(a).look(note)
        watch(a).look(cosigned(branch.note(), B))
        assert held_lines(a) == [f"{C}/tocsin", f"{C}/witness", f"{A}/witness", f"{B}/witness"]

    def test_a_line_from_the_future_waits_and_keeps_no_other_from_counting(self, a, branch):
        read(a, branch)
        early = line(branch.bare(), witness_name(B), founded(B).witness, at=NOW + CLOCK_SKEW + 1)
        watch(a).look(branch.note() + early)
        assert f"{B}/witness" not in held_lines(a)
        watch(a, now=NOW + 1).look(branch.note() + early)
        assert f"{B}/witness" in held_lines(a)

    def test_a_log_that_a_former_key_of_ours_has_cosigned_is_cosigned_with_the_one_of_today(self, a, branch):
        note = read(a, branch)
        a.founded = rotated(a.founded)
        assert not watch(a, now=NOW + 1).look(note)
        key = parse_verifier(a.office.tlog.witness_vkey, algorithm=NoteAlgorithm.COSIGNATURE_V1)
        lines = parse_checkpoint(row(a).checkpoint).note.signatures
        assert [key.is_signer_of(line) for line in lines if line.name == key.name] == [True]

    def test_our_own_line_that_comes_back_is_not_there_twice(self, a, branch):
        note = branch.note()
        watch(a).extend(a.origin(C), branch.growth(0, note=cosigned(note, A, at=NOW - 5)))
        assert held_lines(a).count(f"{A}/witness") == 1

    def test_what_we_have_not_cosigned_is_cosigned_when_it_is_shown_again(self, a, branch):
        """Our clock was behind what we had said last, and the log does not grow any more."""
        read(a, branch, 3, now=NOW + 100)
        read(a, branch, now=NOW + 50)
        assert f"{A}/witness" not in held_lines(a)
        watch(a, now=NOW + 50).look(branch.note(at=NOW + 1))
        assert f"{A}/witness" not in held_lines(a)
        watch(a, now=NOW + 100).look(branch.note(at=NOW + 2))
        assert (held_lines(a).count(f"{A}/witness"), row(a).cosigned) == (1, 5)

    def test_nor_is_what_an_empty_log_is_shown_with_filled_up(self, a, branch):
        empty = Branch(C)
        watch(a).look(empty.note() + junk(60))
        assert held_lines(a) == [f"{C}/tocsin", f"{C}/witness"]
        watch(a).look(cosigned(empty.note(at=NOW + 1), B))
        assert held_lines(a) == [f"{C}/tocsin", f"{C}/witness", f"{B}/witness"]
        assert row(a).cosigned == 0
        read(a, branch, at=NOW + 2)
        assert row(a).signed == 5

    def test_what_a_receipt_tells_is_our_line_alone(self, a, branch):
        read(a, branch)
        watch(a).look(cosigned(branch.note(), B))
        note = parse_checkpoint(watch(a).cosigned(C)).note
        assert [line.name for line in note.signatures] == [f"{A}/witness"]
        assert watch(a).cosigned(B) == ""


def bundle_of(kind, *checkpoints, **more):
    return dump_evidence(Evidence(kind=kind, identity=founded(C).document, checkpoints=checkpoints, **more))


def fork_of(older, newer, size):
    """Return evidence that a branch does not begin with the first entries of another."""
    log = newer.log
    proof = {"older_root": log.root(size), "proof": log.consistency(size, newer.size)}
    return bundle_of(Kind.FORK, older.note(size), newer.note(), **proof)


class TestEvidence:
    def test_what_somebody_else_has_found_stops_an_origin_here(self, a, branch):
        bundle = fork_of(branch, Branch(C, OTHER), 4)
        assert refused(watch(a).keep_evidence, bundle) == (OriginStopped, "ORIGIN_STOPPED")
        assert (kinds(a), row(a).stopped) == (["fork"], watching.STOPPED[Kind.FORK])
        watch(a).keep_evidence(bundle)
        watch(a).keep_evidence(fork_of(branch, Branch(C, OTHER), 5))
        assert kinds(a) == ["fork"]

    def test_that_a_log_was_put_back_does_so_too(self, a, branch):
        bundle = bundle_of(Kind.ROLLBACK, branch.note(5, at=NOW), branch.note(3, at=NOW + 1))
        assert refused(watch(a).keep_evidence, bundle) == (OriginStopped, "ORIGIN_STOPPED")

    def no_fork(branch):  # noqa: N805 -- makes a case, below
        return fork_of(branch, branch, 3)

    def other_key(branch):  # noqa: N805
        other = Branch(C, OTHER)
        thief = signer("a thief")
        proof = {"older_root": other.log.root(4), "proof": other.log.consistency(4, 6)}
        return bundle_of(Kind.FORK, branch.note(4, signer=thief), other.note(signer=thief), **proof)

    def other_document(branch):  # noqa: N805
        good = parse_evidence(fork_of(branch, Branch(C, OTHER), 4))
        return dump_evidence(replace(good, identity=founded(B).document))

    def in_order(branch):  # noqa: N805
        return bundle_of(Kind.ROLLBACK, branch.note(5, at=NOW), branch.note(3, at=NOW))

    def by_another_witness(branch):  # noqa: N805
        late = branch.note(3, at=NOW + 1, witness=founded(B).witness)
        return bundle_of(Kind.ROLLBACK, branch.note(5, at=NOW), late)

    def one_entry(branch):  # noqa: N805
        proof = inclusion_proof(1, 5, branch.log.read)
        return bundle_of(Kind.ENTRIES, branch.note(), entries=(LoggedEntry(1, entry("two"), proof),) * 2)

    def not_in_it(branch):  # noqa: N805
        proof = inclusion_proof(1, 5, branch.log.read)
        other = LoggedEntry(1, entry("two", "else"), proof)
        return bundle_of(Kind.ENTRIES, branch.note(), entries=(LoggedEntry(1, entry("two"), proof), other))

    FORGED = {  # noqa: RUF012
        "nothing at all": (lambda branch: b"{}", MalformedLog, "BAD_EVIDENCE"),
        "of one history": (no_fork, MalformedLog, "BAD_EVIDENCE"),
        "under a key of somebody else": (other_key, CheckpointRefused, "UNSIGNED_CHECKPOINT"),
        "with the document of somebody else": (other_document, MalformedIdentity, "FINGERPRINT_MISMATCH"),
        "shown in one second": (in_order, MalformedLog, "BAD_EVIDENCE"),
        "dated by another witness": (by_another_witness, MalformedLog, "BAD_EVIDENCE"),
        "one entry twice": (one_entry, MalformedLog, "BAD_EVIDENCE"),
        "an entry that is not in it": (not_in_it, ProofMismatch, "NOT_INCLUDED"),
    }

    @pytest.mark.parametrize(("make", "error", "reason"), FORGED.values(), ids=FORGED)
    def test_what_proves_nothing_stops_nobody(self, a, branch, make, error, reason):
        assert issubclass(error, (Malformed, RecordRefused)), "whoever brings it is spoken with all the same"
        assert refused(watch(a).keep_evidence, make(branch)) == (error, reason)
        assert (kinds(a), row(a).stopped) == ([], "")

    def test_evidence_against_somebody_who_is_not_known_is_nobodys(self, a, branch):
        bundle = fork_of(branch, Branch(C, OTHER), 4)
        a.store.peers.set_state(C, PeerState.PENDING)
        watch(a).keep_evidence(bundle)
        assert kinds(a) == []

    def test_evidence_against_ourselves_stops_us(self, a):
        """It is signed by us: whoever has our keys, or this home, has shown two histories."""
        ours, other = Branch(A, FIVE), Branch(A, OTHER)
        good = parse_evidence(fork_of(ours, other, 4))
        bundle = dump_evidence(replace(good, identity=founded(A).document))
        assert refused(watch(a).keep_evidence, bundle) == (OriginStopped, "ORIGIN_STOPPED")
        assert refused(a.post) == (OriginStopped, "ORIGIN_STOPPED")

    def test_the_evidence_of_a_record_goes_from_people_to_people(self, a, branch):
        record = make_record({"title": "one"}, by=founded(C))
        other = make_record({"title": "two"}, by=founded(C), record_id=record.record_id)
        branch = Branch(C).add(entry_of(other))
        logged = (LoggedEntry(0, entry_of(other), ()),)
        bare = f"{record.token.partition('~')[0]}~"
        watch(a).keep_evidence(bundle_of(Kind.RECORD, branch.note(), entries=logged, record=bare))
        assert (kinds(a), row(a).stopped) == ([], "")


class TestWitness:
    """AddCheckpoint, as C2SP tlog-witness has it: the old size, the proof, and what was cosigned before."""

    def ask(self, party, branch, old, size=None, *, note="", proof=None, now=NOW):
        size = branch.size if size is None else size
        given = branch.log.consistency(old, size) if proof is None else proof
        request = format_request(old=old, proof=given, checkpoint=note or branch.note(size))
        return add_checkpoint(party.office, party.origin, request, now=now)

    def test_a_checkpoint_is_cosigned_once_it_is_kept(self, a, branch):
        answer = self.ask(a, branch, 0, 3)
        text = branch.note(3) + answer
        verify_checkpoint(text, origin=f"{C}/tocsin", vkeys=founded(C).organisation.log_vkeys)
        assert (row(a).cosigned, row(a).cosigned_root, row(a).cosigned_at) == (3, branch.log.root(3), NOW)
        assert answer.startswith(f"\u2014 {A}/witness ")
        assert self.ask(a, branch, 3, now=NOW + 1)
        assert row(a).cosigned == 5

    def test_the_same_tree_is_cosigned_again_at_the_later_time(self, a, branch):
        first = self.ask(a, branch, 0)
        again = self.ask(a, branch, 5, now=NOW + 7)
        assert first != again
        assert (row(a).cosigned, row(a).cosigned_at) == (5, NOW + 7)

    def test_an_old_size_that_is_not_the_last_is_told_the_last(self, a, branch):
        self.ask(a, branch, 0, 3)
        for old in (0, 2, 4):
            with pytest.raises(StaleCheckpoint) as stale:
                self.ask(a, branch, old)
            assert (stale.value.reason, stale.value.metadata["size"]) == ("STALE_CHECKPOINT", "3")
        assert row(a).cosigned == 3

    def test_a_smaller_tree_is_never_cosigned(self, a, branch):
        self.ask(a, branch, 0)
        assert refused(self.ask, a, branch, 3, 3, proof=()) == (StaleCheckpoint, "STALE_CHECKPOINT")
        assert refused(self.ask, a, branch, 5, 3, proof=()) == (MalformedLog, "BAD_PROOF")
        assert row(a).cosigned == 5

    def test_an_earlier_time_is_never_cosigned(self, a, branch):
        self.ask(a, branch, 0, 3, now=NOW + 100)
        assert refused(self.ask, a, branch, 3, now=NOW + 99) == (CheckpointRefused, "FUTURE_COSIGNATURE")
        assert (row(a).cosigned, row(a).cosigned_at) == (3, NOW + 100)
        read(a, branch, now=NOW + 99)
        assert (row(a).signed, row(a).cosigned) == (5, 3)
        assert f"{A}/witness" not in held_lines(a)

    def test_another_tree_is_never_cosigned(self, a, branch):
        self.ask(a, branch, 0, 4)
        other = Branch(C, OTHER)
        assert refused(self.ask, a, other, 4) == (ProofMismatch, "NOT_CONSISTENT")
        assert refused(self.ask, a, other, 4, 4, proof=()) == (ProofMismatch, "NOT_CONSISTENT")
        assert refused(self.ask, a, branch, 4, proof=(bytes(32),) * 3) == (ProofMismatch, "NOT_CONSISTENT")
        assert row(a).cosigned == 4

    def test_a_tree_that_contradicts_what_was_read_stops_its_origin(self, a, branch):
        read(a, branch)
        assert refused(self.ask, a, Branch(C, OTHER), 5, 5, proof=()) == (OriginStopped, "ORIGIN_STOPPED")
        assert refused(self.ask, a, branch, 5, proof=()) == (OriginStopped, "ORIGIN_STOPPED")
        assert kinds(a) == ["fork"]

    def test_a_log_that_is_not_known_and_ours_look_like_one_that_is_not_there(self, a, branch):
        nothing = (NotFound, "NOT_FOUND")
        assert refused(self.ask, a, Branch("nobody.example", FIVE), 0) == nothing
        a.post()
        with a.store.transaction():
            ours = a.office.tlog.show(now=NOW)
        request = format_request(old=row(a, A).cosigned, proof=(), checkpoint=ours)
        assert refused(add_checkpoint, a.office, a.origin, request, now=NOW) == nothing
        a.store.peers.set_state(C, PeerState.REMOVED)
        assert refused(self.ask, a, branch, 0) == nothing

    def test_a_key_that_is_not_the_logs_is_refused(self, a, branch):
        note = branch.note(signer=signer("a thief"))
        assert refused(self.ask, a, branch, 0, note=note) == (CheckpointRefused, "UNSIGNED_CHECKPOINT")

    def test_what_was_cosigned_by_request_is_no_hindrance_to_reading_less(self, a, branch):
        self.ask(a, branch, 0)
        read(a, branch, 3)
        assert (row(a).signed, row(a).cosigned) == (3, 5)
        read(a, branch)
        assert (row(a).signed, row(a).cosigned) == (5, 5)
        assert row(a).stopped == ""

    @pytest.mark.parametrize("by", ["reading", "request"])
    def test_nothing_is_cosigned_that_is_not_kept(self, a, branch, monkeypatch, by):
        """The power goes when the line is signed and before it is kept: nobody has seen the line."""

        def signed(*arguments, **more):
            assert row(a).cosigned == 5, "it was kept first"
            raise OSError("the power went")

        monkeypatch.setattr(watching, "cosign", signed)
        with pytest.raises(OSError, match="power"):
            read(a, branch) if by == "reading" else self.ask(a, branch, 0)
        assert (row(a).cosigned, row(a).size, row(a).checkpoint) == (0, 0, "")
        monkeypatch.undo()
        read(a, branch)
        assert row(a).cosigned == 5

    def test_of_two_requests_at_once_one_is_told_the_other(self, a, branch):
        answers = []

        def ask():
            try:
                answers.append(self.ask(a, branch, 0))
            except StaleCheckpoint as error:
                answers.append(error.reason)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers)[:3] == ["STALE_CHECKPOINT"] * 3
        assert answers.count("STALE_CHECKPOINT") == 3
