"""Since when an entry is known is said by witnesses, by enough of them, and by nobody who may have the stolen key."""

import pytest

from tests.support.organisations import NOW, signer
from tests.tlog.forge import ORIGIN, cosigned, log_vkey, signed, witness_vkey
from tocsin.errors import MalformedLog
from tocsin.tlog.checkpoint import CLOCK_SKEW, cosign, verify_checkpoint
from tocsin.tlog.judgement import earliest_cosigned, quorum_of
from tocsin.tlog.quorum import Quorum, parse_quorum

OURS = "lab-b.example/witness"
VKEYS = (log_vkey(),)
OTHERS = ("aisi.example/witness", "cert.example/witness")


def known_since(*notes: str, index: int = 7, quorum: Quorum | None = None, vkeys=VKEYS, now: int = NOW):
    quorum = quorum_of([witness_vkey(OURS)]) if quorum is None else quorum
    return earliest_cosigned(notes, index=index, origin=ORIGIN, vkeys=vkeys, quorum=quorum, now=now)


def two_of_three() -> Quorum:
    lines = [f"witness {name} {witness_vkey(name)}" for name in (OURS, *OTHERS)]
    return parse_quorum("\n".join([*lines, f"group g 2 {OURS} {' '.join(OTHERS)}", "quorum g", ""]))


def test_the_first_checkpoint_that_contains_it_says_since_when():
    notes = [cosigned(signed(size), OURS, at=NOW + size) for size in (12, 8, 7, 20)]
    assert known_since(*notes, now=NOW + 20) == NOW + 8
    assert known_since(*notes, index=8, now=NOW + 20) == NOW + 12
    assert known_since(*notes, index=0, now=NOW + 20) == NOW + 7
    assert known_since(*notes, index=19, now=NOW + 20) == NOW + 20


def test_a_larger_tree_that_was_cosigned_earlier_counts_more_than_a_smaller_one():
    notes = (cosigned(signed(8), OURS, at=NOW), cosigned(signed(12), OURS, at=NOW - 60))
    assert known_since(*notes) == NOW - 60


NOTHING = {
    "no checkpoint": (),
    "one that ends before it": (cosigned(signed(7), OURS),),
    "one that nobody has cosigned": (signed(12),),
    "one that only a stranger has cosigned": (cosigned(signed(12), OTHERS[0]),),
    "one that the log has not signed": (cosigned(signed(12), OURS).replace(ORIGIN, "lab-c.example/tocsin"),),
    "one whose cosignature is of another tree": (
        signed(12) + cosigned(signed(11), OURS).splitlines(keepends=True)[-1],
    ),
    "one that was cosigned in the future": (cosigned(signed(12), OURS, at=NOW + CLOCK_SKEW + 1),),
    "what is no checkpoint": ("", "…", signed(12).partition("\n\n")[0]),
}


@pytest.mark.parametrize("notes", NOTHING.values(), ids=NOTHING)
def test_what_nobody_stands_behind_says_nothing_and_hides_nothing(notes):
    assert known_since(*notes) is None
    good = cosigned(signed(12), OURS, at=NOW - 5)
    assert known_since(*notes, good) == known_since(good, *notes) == NOW - 5


def test_a_thief_with_the_key_of_the_log_cannot_make_it_older():
    """It signs any tree, and says any time under a key of its own, which is none of the witnesses'."""
    thief = cosigned(signed(12), "lab-a.example/witness", at=NOW - 10_000)
    assert known_since(thief) is None
    assert known_since(cosigned(thief, OURS, at=NOW)) == NOW


def test_fewer_than_the_quorum_asks_for_move_nothing():
    liar = cosigned(signed(12), OTHERS[0], at=NOW - 10_000)
    assert known_since(liar, quorum=two_of_three()) is None
    assert known_since(cosigned(liar, OURS), quorum=two_of_three()) == NOW
    assert known_since(cosigned(cosigned(liar, OURS), OTHERS[1], at=NOW - 3), quorum=two_of_three()) == NOW - 3


def test_a_quorum_that_asks_for_nobody_proves_nothing():
    assert known_since(cosigned(signed(12), OURS), quorum=parse_quorum("quorum none\n")) is None


def test_any_of_our_own_keys_is_enough_and_no_key_is_nobody():
    old, new = signer("old"), signer("new")
    both = quorum_of([witness_vkey(OURS, new), witness_vkey(OURS, old), witness_vkey(OURS)])
    assert known_since(cosigned(signed(12), OURS), quorum=both) == NOW
    assert known_since(cosigned(signed(12), OURS), quorum=quorum_of([witness_vkey(OURS, new)])) is None
    assert known_since(cosigned(signed(12), OURS), quorum=quorum_of([])) is None


def test_a_key_that_signs_checkpoints_is_no_witness():
    with pytest.raises(MalformedLog) as refused:
        quorum_of([log_vkey()])
    assert refused.value.reason == "BAD_NOTE"


def test_a_checkpoint_under_a_former_key_counts_where_that_is_given():
    former = signer("a former log")
    vkeys = (log_vkey(), log_vkey(of=former))
    checkpoint = verify_checkpoint(signed(12, former), origin=ORIGIN, vkeys=vkeys)
    note = checkpoint.text + cosign(checkpoint, name=OURS, signer=signer(OURS), now=NOW)
    assert known_since(note) is None
    assert known_since(note, vkeys=vkeys) == NOW
