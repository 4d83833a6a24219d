import itertools

import pytest

from tests.support.organisations import NOW, found, signer
from tocsin.errors import MalformedIdentity
from tocsin.identity.fingerprint import fingerprint, is_fingerprint_well_formed, verify_fingerprint
from tocsin.identity.names import parse_org
from tocsin.identity.root import next_version, parse_identity

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
ORG = parse_org("lab-a.example")
GIVEN = fingerprint(ORG, root_key_ids=["ab" * 32, "cd" * 32], threshold=2)
# Written down once: another value would break every fingerprint that people have compared.
KNOWN = "EKHM7W4-IWTUGYW-CNBNRM6-JCYS74Q-4JQFJNM-MQRRGHH-HE5CGZU-FY7CZQY"


def test_the_fingerprint_of_known_keys_never_changes():
    assert GIVEN == KNOWN


def test_a_fingerprint_has_eight_groups_of_seven():
    assert [len(group) for group in GIVEN.split("-")] == [7] * 8


def test_the_fingerprint_depends_on_name_keys_and_threshold_but_not_on_their_order():
    same = fingerprint(ORG, root_key_ids=["cd" * 32, "ab" * 32], threshold=2)
    others = {
        fingerprint(parse_org("lab-b.example"), root_key_ids=["ab" * 32, "cd" * 32], threshold=2),
        fingerprint(ORG, root_key_ids=["ab" * 32], threshold=2),
        fingerprint(ORG, root_key_ids=["ab" * 32, "cd" * 32], threshold=1),
    }
    assert same == GIVEN
    assert len(others | {GIVEN}) == 4


def test_the_fingerprint_survives_a_change_of_everything_but_the_name():
    lab = found(root_keys=2, threshold=2)
    new_roots = [signer(f"new root {number}") for number in range(3)]
    current = lab.organisation
    for number in range(3):
        document = next_version(
            current,
            current,
            signers=[*lab.roots, *new_roots],
            root_keys=[root.public_key for root in new_roots],
            threshold=3,
            now=NOW + number,
        )
        current = parse_identity(document, now=NOW)
    assert current.version == 4
    assert current.fingerprint == lab.organisation.fingerprint


@pytest.mark.parametrize(
    "typed",
    [
        GIVEN.lower(),
        GIVEN.replace("-", ""),
        GIVEN.replace("-", " "),
        f"  {GIVEN}\n",
        GIVEN.replace("O", "0").replace("I", "1").replace("B", "8"),
    ],
    ids=["lower case", "without dashes", "with spaces", "with white space around", "with digits for letters"],
)
def test_a_fingerprint_is_recognised_however_it_is_typed(typed):
    assert is_fingerprint_well_formed(typed)
    verify_fingerprint(typed, expected=GIVEN)


def test_every_single_wrong_character_is_seen():
    for place, right in enumerate(GIVEN):
        for wrong in set(ALPHABET) - {right} if right != "-" else ():
            assert not is_fingerprint_well_formed(GIVEN[:place] + wrong + GIVEN[place + 1 :])


def test_every_exchange_of_two_characters_of_a_checked_block_is_seen():
    plain = GIVEN.replace("-", "")
    for start in range(0, len(plain), 14):
        for left, right in itertools.combinations(range(start, start + 14), 2):
            swapped = list(plain)
            swapped[left], swapped[right] = swapped[right], swapped[left]
            assert is_fingerprint_well_formed("".join(swapped)) == (plain[left] == plain[right])


def test_every_exchange_of_neighbours_is_seen_also_where_the_usual_check_digits_miss_it():
    for org in ("lab-a.example", "lab-b.example", "aisi.example"):
        plain = found(org).organisation.fingerprint.replace("-", "")
        for left in range(len(plain) - 1):
            swapped = plain[:left] + plain[left + 1] + plain[left] + plain[left + 2 :]
            assert is_fingerprint_well_formed(swapped) == (swapped == plain)


def test_every_exchange_of_two_checked_blocks_is_seen():
    plain = GIVEN.replace("-", "")
    blocks = [plain[start : start + 14] for start in range(0, len(plain), 14)]
    for order in itertools.permutations(range(4)):
        assert is_fingerprint_well_formed("".join(blocks[n] for n in order)) == (order == (0, 1, 2, 3))


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "mistyped"),
        (GIVEN[:-1], "mistyped"),
        (GIVEN + "A", "mistyped"),
        (GIVEN[:-1] + "!", "mistyped"),
        (GIVEN[:-1] + ("A" if GIVEN[-1] != "A" else "B"), "mistyped"),
        (found("lab-b.example").organisation.fingerprint, "another organisation"),
    ],
    ids=["nothing", "too short", "too long", "a foreign character", "a wrong character", "another's"],
)
def test_a_slip_is_told_from_another_organisation(typed, words):
    with pytest.raises(MalformedIdentity) as refusal:
        verify_fingerprint(typed, expected=GIVEN)
    assert refusal.value.reason == "FINGERPRINT_MISMATCH"
    assert words in refusal.value.message
    assert refusal.value.hint
