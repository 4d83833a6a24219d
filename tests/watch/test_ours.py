"""Our own log, as others hold it: who has cosigned it, whether we were put back, and when we go on."""

import random
import threading
from dataclasses import replace

import pytest

from tests.exchange.parties import A, B, C
from tests.support.organisations import NOW, make_details, signer
from tests.watch.branches import Branch, cosigned, entry, founded, line
from tocsin.audit.entry import Event
from tocsin.errors import CheckpointRefused, MalformedLog, NotPermitted, OriginStopped, PeerMisbehaved, TocsinError
from tocsin.identity.root import next_version, parse_identity
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, log_name, witness_name
from tocsin.release.ledger import PUT_BACK, enter_missing, go_on, note_restored
from tocsin.store.model import PeerState
from tocsin.store.sqlite import open_store
from tocsin.tlog.checkpoint import CLOCK_SKEW, parse_checkpoint, verify_checkpoint
from tocsin.tlog.evidence import is_rollback
from tocsin.tlog.note import MAX_SIGNATURES
from tocsin.watch.comparison import Comparison
from tocsin.watch.growth import grow
from tocsin.watch.ours import FORKED, Ours


def ours(party, *, now=NOW):
    return Ours(party.office, now=now)


def by(org):
    return founded(org).organisation


def row(party):
    return party.store.logs.get(party.org)


def shown(party, *, now=NOW):
    with party.store.transaction():
        return party.office.tlog.show(now=now)


def growth(party, start, *, limit=16_384, now=NOW):
    """Return how the log of a party goes on, as somebody who has read it gives it back."""
    return replace(grow(party.store.logs, party.org, start=start, limit=limit), checkpoint=shown(party, now=now))


def kept(party, size):
    """Return who has cosigned a tree of a party, and when, as it is kept."""
    rows = [one for one in party.store.logs.checkpoints(party.org) if one.size == size]
    lines = parse_checkpoint(rows[-1].checkpoint).note.signatures[1:] if rows else ()
    return {line.name: int.from_bytes(line.signature[:8], "big") for line in lines}


def refused(call, *arguments, **more):
    with pytest.raises(TocsinError) as caught:
        call(*arguments, **more)
    return type(caught.value), caught.value.reason


@pytest.fixture
def posted(a):
    """Return a party that has issued five records."""
    for number in range(5):
        a.post({"title": f"n{number}"})
    return a


class Backup:
    """A copy of a party's store, to which it may be put back."""

    def __init__(self, party, folder):
        self.party, self.path = party, folder / "backup.db"
        party.store._db.copy_to(self.path)

    def put_back(self, *, told=True):
        """Put the party back; `told` says that it was by the command."""
        self.party.store.close()
        self.party.store = open_store(self.path)
        if told:
            note_restored(self.party.store, self.party.org, now=NOW)


@pytest.fixture
def lost(posted, tmp_path):
    """Return a party that was put back, and what it has lost: its log of nine entries, of which it has five."""
    backup = Backup(posted, tmp_path)
    for number in range(5, 9):
        posted.post({"title": f"n{number}"})
    whole = Branch(A).add(*posted.store.logs.entries(A, start=0, limit=99))
    backup.put_back()
    return posted, whole


class TestCosignatures:
    def test_what_a_peer_has_cosigned_is_kept_beside_what_others_have(self, posted):
        note = shown(posted)
        assert not ours(posted).look(cosigned(note, B, at=NOW + 1), by=by(B))
        assert not ours(posted).look(cosigned(note, C, at=NOW + 2), by=by(C))
        assert kept(posted, 5) == {f"{B}/witness": NOW + 1, f"{C}/witness": NOW + 2}

    def test_the_first_that_a_peer_has_said_of_a_tree_stays(self, posted):
        note = shown(posted)
        for at in (NOW + 2, NOW + 1, NOW + 3):
            ours(posted).look(cosigned(note, B, at=at), by=by(B))
        assert kept(posted, 5) == {f"{B}/witness": NOW + 1}

    def test_it_may_come_with_a_receipt(self, posted):
        bare = shown(posted).partition("\n\n")[0] + "\n\n"
        assert ours(posted).cosigned(bare + line(shown(posted), f"{B}/witness", founded(B).witness), by=by(B))
        assert kept(posted, 5) == {f"{B}/witness": NOW}

    def test_who_brings_the_line_of_somebody_else_brings_none(self, posted):
        ours(posted).look(cosigned(shown(posted), C), by=by(B))
        assert kept(posted, 5) == {}

    def test_a_forged_line_is_left_out_and_stops_nothing(self, posted):
        note = shown(posted)
        forged = line(Branch(A, "x").bare(), f"{B}/witness", founded(B).witness)
        assert not ours(posted).look(note + forged, by=by(B))
        assert kept(posted, 5) == {}
        assert not ours(posted).look(cosigned(note, B), by=by(B))
        assert not ours(posted).look(note + forged, by=by(B))
        assert kept(posted, 5) == {f"{B}/witness": NOW}

    def test_one_from_the_future_waits(self, posted):
        note = cosigned(shown(posted), B, at=NOW + CLOCK_SKEW + 1)
        assert not ours(posted).look(note, by=by(B))
        assert kept(posted, 5) == {}
        assert not ours(posted, now=NOW + 1).look(note, by=by(B))
        assert kept(posted, 5) == {f"{B}/witness": NOW + CLOCK_SKEW + 1}

    def test_a_tree_of_before_is_cosigned_as_well(self, posted):
        whole = Branch(A).add(*posted.store.logs.entries(A, start=0, limit=99))
        assert not ours(posted).look(cosigned(whole.note(3), B), by=by(B))
        assert kept(posted, 3) == {f"{B}/witness": NOW}
        assert row(posted).stopped == ""

    @pytest.mark.parametrize(
        "text",
        [Branch(A, "x y z").bare(), Branch(B, "x y z").bare(), Branch(A, " ".join("abcdefgh")).bare()],
        ids=["another tree", "another log", "a larger tree"],
    )
    def test_with_a_receipt_nothing_else_is_heard(self, posted, text):
        assert not ours(posted).cosigned(cosigned(text, B), by=by(B))
        assert (posted.store.logs.checkpoints(A), row(posted).stopped) == ((), "")

    def test_there_are_as_many_as_a_checkpoint_can_have(self, posted):
        note = shown(posted)
        extra = [signer(f"witness {number}") for number in range(MAX_SIGNATURES)]
        vkeys = [
            format_vkey(f"{B}/witness", algorithm=NoteAlgorithm.COSIGNATURE_V1, public_key=one.public_key)
            for one in extra
        ]
        for one, vkey in zip(extra, vkeys, strict=True):
            peer = replace(by(B), witness_vkey=vkey)
            assert not ours(posted).look(note + line(note, f"{B}/witness", one), by=peer)
        (found,) = [one.checkpoint for one in posted.store.logs.checkpoints(A)]
        assert len(parse_checkpoint(found).note.signatures) == MAX_SIGNATURES

    def test_what_is_kept_is_signed_with_the_key_of_today(self, posted):
        ours(posted).look(cosigned(shown(posted), B), by=by(B))
        posted.founded = rotated(posted.founded, "log")
        ours(posted).look(cosigned(shown(posted), C), by=by(C))
        text = posted.store.logs.checkpoints(A)[-1].checkpoint
        verify_checkpoint(text, origin=log_name(A), vkeys=posted.founded.organisation.log_vkeys)
        assert kept(posted, 5) == {f"{B}/witness": NOW, f"{C}/witness": NOW}


def rotated(whole, which):
    """Return an organisation whose log or witness key was stolen and replaced: the old one counts no more."""
    new, org = signer(f"the next {which} key"), whole.organisation.org
    name, algorithm = (
        (log_name(org), NoteAlgorithm.ED25519) if which == "log" else (witness_name(org), NoteAlgorithm.COSIGNATURE_V1)
    )
    vkey = format_vkey(name, algorithm=algorithm, public_key=new.public_key)
    details = replace(make_details(org), **{f"{which}_vkey": vkey})
    document = next_version(whole.organisation, details, signers=whole.roots, now=NOW)
    return replace(whole, organisation=parse_identity(document, now=NOW), **{which: new})


class TestPutBack:
    def test_a_larger_checkpoint_of_ours_has_us_wait_for_everybody(self, posted, tmp_path):
        backup = Backup(posted, tmp_path)
        posted.post()
        larger = shown(posted)
        backup.put_back(told=False)
        for org in (B, C):
            assert ours(posted).look(larger, by=by(org))
        assert (row(posted).stopped, row(posted).size) == (PUT_BACK, 5)
        assert set(posted.store.logs.awaited()) == {B, C}
        assert len(posted.logged(Event.LOG_HELD)) == 1

    def test_while_we_wait_nothing_is_issued_sent_or_shown(self, lost):
        a, _ = lost
        assert refused(a.post) == (OriginStopped, "ORIGIN_STOPPED")
        assert a.page_for(B) is None
        comparison = Comparison(a.office, a.origin, now=NOW)
        assert comparison.shown() == ""
        assert comparison.growth(A, 0) is None

    @pytest.mark.parametrize("key", ["thief", "witness"])
    def test_a_note_that_our_key_did_not_sign_changes_nothing(self, posted, key):
        by_key = {"thief": signer("a thief"), "witness": founded(A).witness}[key]
        larger = Branch(A).add(*posted.store.logs.entries(A, start=0, limit=99)).add(entry("x"))
        before = row(posted)
        assert refused(ours(posted).look, larger.note(signer=by_key), by=by(B)) == (
            CheckpointRefused,
            "UNSIGNED_CHECKPOINT",
        )
        assert refused(ours(posted).extend, larger.growth(5, note=larger.note(signer=by_key)), by=B) == (
            CheckpointRefused,
            "UNSIGNED_CHECKPOINT",
        )
        assert row(posted) == before

    def test_what_is_no_checkpoint_of_ours_changes_nothing(self, posted):
        before = row(posted)
        for text in ("", Branch(B, "x").note(), shown(posted).replace("\n\n", "\nmore\n\n", 1)):
            assert refused(ours(posted).look, text, by=by(B))[0] is MalformedLog
        assert row(posted) == replace(before, cosigned=5, cosigned_root=row(posted).cosigned_root, cosigned_at=NOW)

    def test_where_a_key_was_stolen_since_a_tree_of_ours_is_ours_all_the_same(self, posted):
        """A peer may hold our log as the old key signed it, and has no other until it grows."""
        note = cosigned(shown(posted), B)
        posted.founded = rotated(posted.founded, "log")
        assert not ours(posted).look(note, by=by(B))
        assert (kept(posted, 5), row(posted).stopped) == ({f"{B}/witness": NOW}, "")
        forged = Branch(A, "a b c d e f")
        for size in (3, 5, 6):
            assert refused(ours(posted).look, forged.note(size), by=by(B)) == (
                CheckpointRefused,
                "UNSIGNED_CHECKPOINT",
            )
        assert row(posted).stopped == ""


class TestGivenBack:
    @pytest.mark.parametrize("limit", [1, 2, 3, 16_384])
    def test_what_we_have_lost_comes_back(self, lost, limit):
        a, whole = lost
        while (start := row(a).size) < 9:
            assert ours(a).extend(whole.growth(start, limit=limit), by=B) > start
            signed = verify_checkpoint(row(a).checkpoint, origin=log_name(A), vkeys=by(A).log_vkeys).checkpoint
            assert (signed.size, signed.root) == (row(a).size, whole.log.root(signed.size)), "we sign what we signed"
        assert row(a).stopped == PUT_BACK

    FALSE = {  # noqa: RUF012
        "another entry": lambda growth: replace(growth, entries=(entry("x"), *growth.entries[1:])),
        "one too few": lambda growth: replace(growth, entries=growth.entries[:-1]),
        "one too many": lambda growth: replace(growth, entries=(*growth.entries, entry("x"))),
        "a part with a proof of something else": lambda growth: replace(
            growth, entries=growth.entries[:2], end_proof=(bytes(32),) * 4
        ),
        "a part that is another, with the right proof": lambda growth: replace(
            growth, entries=(entry("x"), growth.entries[1])
        ),
    }

    @pytest.mark.parametrize("change", FALSE.values(), ids=FALSE)
    @pytest.mark.parametrize("limit", [2, 3, 16_384], ids=["up to 7", "up to 8", "all"])
    def test_what_we_did_not_sign_is_neither_taken_nor_signed(self, lost, change, limit):
        a, whole = lost
        before = row(a)
        growth = change(whole.growth(5, limit=limit))
        assert refused(ours(a).extend, growth, by=B) == (PeerMisbehaved, "PEER_MISBEHAVED")
        assert row(a) == before

    def test_what_begins_elsewhere_is_told_where_we_stand(self, lost):
        a, whole = lost
        for start in (0, 4, 6):
            assert ours(a).extend(whole.growth(start), by=B) == 5
        assert ours(a).extend(whole.growth(3, 5), by=B) == 5
        assert row(a).size == 5

    def test_a_log_that_waits_for_nobody_takes_nothing(self, posted):
        whole = Branch(A).add(*posted.store.logs.entries(A, start=0, limit=99))
        assert refused(ours(posted).extend, whole.growth(0), by=B) == (NotPermitted, "NOT_PERMITTED")

    def test_a_larger_tree_of_ours_has_us_wait_even_where_its_entries_are_none(self, posted):
        whole = Branch(A).add(*posted.store.logs.entries(A, start=0, limit=99)).add(entry("x"))
        lie = replace(whole.growth(5), entries=(entry("y"),))
        assert refused(ours(posted).extend, lie, by=B) == (PeerMisbehaved, "PEER_MISBEHAVED")
        assert (row(posted).stopped, row(posted).size) == (PUT_BACK, 5)

    def test_two_who_give_it_back_at_once_give_it_back_once(self, lost):
        a, whole = lost
        failures = []

        def give(org, limit):
            try:
                while (start := row(a).size) < 9:
                    ours(a).extend(whole.growth(start, limit=limit), by=org)
            except Exception as error:  # noqa: BLE001 -- a thread tells nobody
                failures.append(error)

        threads = [threading.Thread(target=give, args=case) for case in ((B, 1), (C, 3))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert a.office.tlog.root(9) == whole.log.root(9)


class TestFork:
    def test_another_tree_under_our_signature_stops_us_until_people_say_so(self, posted):
        assert not ours(posted).look(Branch(A, "a b c").note(), by=by(B))
        assert row(posted).stopped == FORKED
        assert refused(posted.post) == (OriginStopped, "ORIGIN_STOPPED")
        ours(posted).said(B)
        ours(posted).said(C)
        assert row(posted).stopped == FORKED

    def test_so_does_one_that_is_larger_once_its_entries_are_wanted(self, posted):
        """Whoever was put back without a word, and went on, is told by the first who has seen more."""
        other = Branch(A, " ".join("abcdefghij"))
        assert ours(posted).look(other.note(), by=by(B))
        assert row(posted).stopped == PUT_BACK
        assert refused(ours(posted).extend, other.growth(5), by=B) == (OriginStopped, "ORIGIN_STOPPED")
        assert (row(posted).stopped, row(posted).size) == (FORKED, 5)

    def test_whoever_says_so_must_prove_it(self, lost):
        a, whole = lost
        lie = replace(whole.growth(5), start_root=bytes(32))
        assert refused(ours(a).extend, lie, by=B) == (PeerMisbehaved, "PEER_MISBEHAVED")
        assert (row(a).stopped, row(a).size) == (PUT_BACK, 5)

    def test_it_stops_us_also_while_we_wait(self, lost):
        a, _ = lost
        ours(a).look(Branch(A, "a b c").note(), by=by(B))
        for org in (B, C):
            ours(a).said(org)
        assert row(a).stopped == FORKED


class TestGoingOn:
    def test_we_go_on_when_everybody_has_said_what_it_saw(self, lost):
        a, whole = lost
        ours(a).said(B)
        ours(a).said(B)
        assert row(a).stopped == PUT_BACK
        ours(a).extend(whole.growth(5), by=C)
        ours(a).said(C)
        assert (row(a).stopped, row(a).size) == ("", 9)
        assert len(a.logged(Event.LOG_RESUMED)) == 1
        a.post({"title": "behind it"})
        assert a.store.logs.entries(A, start=0, limit=99)[:9] == tuple(whole.shelf.kept)

    def test_who_is_not_waited_for_has_nothing_to_say(self, lost):
        a, _ = lost
        ours(a).said("nobody.example")
        ours(a).said(A)
        assert (len(a.store.logs.awaited()), row(a).stopped) == (2, PUT_BACK)

    def test_a_word_where_nothing_waits_changes_nothing(self, posted):
        before = row(posted)
        ours(posted).said(B)
        assert (row(posted), posted.logged(Event.LOG_RESUMED)) == (before, [])

    def test_who_is_no_active_peer_is_not_waited_for(self, posted):
        posted.store.peers.set_state(C, PeerState.SUSPENDED)
        note_restored(posted.store, A, now=NOW)
        assert posted.store.logs.awaited() == (B,)

    def test_what_was_seen_before_people_went_on_without_it_holds_nobody_up_again(self, lost):
        """Else one peer that is left out, or that wants us to wait, would have us wait again at its next word."""
        a, whole = lost
        for org in (B, C):
            a.store.logs.has_said(org)
        go_on(a.store, a.office.tlog, now=NOW + 5)
        for size in (6, 9):
            assert not ours(a, now=NOW + 9).look(whole.note(size), by=by(C))
        late = ours(a, now=NOW + 9)
        assert refused(late.extend, whole.growth(row(a).size), by=C) == (NotPermitted, "NOT_PERMITTED")
        for number in range(6):
            a.post({"title": f"anew {number}"})
        assert not ours(a, now=NOW + 9).look(whole.note(), by=by(C))
        assert row(a).stopped == ""

    def test_what_is_shown_from_then_on_does(self, lost):
        a, whole = lost
        go_on(a.store, a.office.tlog, now=NOW + 5)
        assert ours(a, now=NOW + 9).look(whole.note(at=NOW + 6), by=by(C))
        assert row(a).stopped == PUT_BACK

    def test_what_was_issued_and_lost_is_entered_behind_what_came_back(self, lost):
        a, whole = lost
        with a.store.transaction():
            a.store.logs.cut(A, 4)
            a.office.tlog.sign(a.founded.log, now=NOW)
        ours(a).extend(whole.growth(4, 7), by=B)
        for org in (B, C):
            ours(a).said(org)
        assert row(a).size == 7, "the fifth came back, and is not entered again"
        assert enter_missing(a.store, a.office.tlog, now=NOW) == 0


class TestShowing:
    """What we say of our log at a time must never look like a log that was put back: others would stop us."""

    def test_no_two_notes_are_in_the_wrong_order_whatever_the_clock_does(self, a):
        rng, notes, failures = random.Random(7), [], []  # noqa: S311 -- plays, guards nothing
        clocks = [[NOW + rng.choice((0, 1, 2, 50, -100_000, 200)) for _ in range(25)] for _ in range(4)]

        def live(times, which):
            try:
                for at in times:
                    if rng.random() < 0.4:
                        with a.store.transaction():
                            a.office.tlog.issue(entry(f"{which} {at} {rng.random()}"), now=at)
                    notes.append(shown(a, now=at))
            except Exception as error:  # noqa: BLE001 -- a thread tells nobody
                failures.append(error)

        threads = [threading.Thread(target=live, args=(times, at)) for at, times in enumerate(clocks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        verified = [verify_checkpoint(text, origin=log_name(A), vkeys=by(A).log_vkeys) for text in set(notes)]
        assert len(verified) > 10
        assert not any(is_rollback(one, other, origin=by(A)) for one in verified for other in verified)

    @pytest.mark.parametrize("which", ["log", "witness"])
    def test_nor_are_those_before_and_after_a_key_was_replaced(self, posted, which):
        before = shown(posted, now=NOW + 9)
        old = posted.office.tlog
        posted.founded = rotated(posted.founded, which)
        with posted.store.transaction():
            posted.office.tlog.issue(entry("x"), now=NOW + 9)
        after = shown(posted, now=NOW + 10)
        with posted.store.transaction():
            late = old.show(now=NOW + 11)  # a call that had begun before
        again = shown(posted, now=NOW + 12)
        sizes = [parse_checkpoint(text).checkpoint.size for text in (before, after, late, again)]
        assert sizes == [5, 6, 6, 6]
        verify_checkpoint(again, origin=log_name(A), vkeys=posted.founded.organisation.log_vkeys)

    def test_nor_are_those_before_and_after_we_were_put_back(self, lost):
        a, whole = lost
        for org in (B, C):
            while (start := row(a).size) < 9:
                ours(a, now=NOW + 5).extend(whole.growth(start, limit=2), by=org)
            ours(a, now=NOW + 5).said(org)
        notes = [whole.note(size) for size in range(10)] + [shown(a, now=NOW + at) for at in (4, 5, 6)]
        verified = [verify_checkpoint(text, origin=log_name(A), vkeys=by(A).log_vkeys) for text in notes[5:]]
        assert not any(is_rollback(one, other, origin=by(A)) for one in verified[4:] for other in verified[4:])

    def test_nothing_is_said_that_is_not_kept(self, posted):
        before = row(posted)

        def fail():
            with posted.store.transaction():
                posted.office.tlog.show(now=NOW + 5)
                assert row(posted).cosigned_at == NOW + 5, "it was kept first"
                raise OSError("the power went")

        with pytest.raises(OSError, match="power"):
            fail()
        assert row(posted) == before

    def test_what_is_said_twice_in_a_second_is_the_same(self, posted):
        assert shown(posted) == shown(posted)
