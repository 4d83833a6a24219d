import pytest

from tests.support.organisations import NOW, signer
from tests.tlog.forge import LOG, ORIGIN, cosigned, log_vkey, signed, verified, witness_vkey
from tocsin.errors import CheckpointRefused, MalformedLog, SignatureMismatch
from tocsin.tlog.checkpoint import CLOCK_SKEW
from tocsin.tlog.note import Signature
from tocsin.tlog.quorum import MAX_LINES, MAX_POLICY, Quorum, parse_quorum

AISI, UNI, NGO, LAB = (f"{org}.example/witness" for org in ("aisi", "uni", "ngo", "lab"))
W = f"witness aisi {witness_vkey(AISI)}\nwitness uni {witness_vkey(UNI)}\nwitness ngo {witness_vkey(NGO)}\n"
GOOD = signed(12)


def times(text: str) -> tuple[int | None, ...]:
    """Return since when each of four quorums stands where AISI, UNI and NGO cosigned 30, 20 and 10 seconds ago."""
    everyone = cosigned(cosigned(cosigned(GOOD, AISI, at=NOW - 30), UNI, at=NOW - 20), NGO, at=NOW - 10)
    quorum = parse_quorum(text)
    return quorum.cosigned_at(quorum.verify(verified(everyone), now=NOW))


TIMES = {
    "one witness": ("quorum uni\n", -20),
    "any": ("group g any aisi uni ngo\nquorum g\n", -30),
    "one": ("group g 1 aisi uni ngo\nquorum g\n", -30),
    "two": ("group g 2 aisi uni ngo\nquorum g\n", -20),
    "all": ("group g all aisi uni ngo\nquorum g\n", -10),
    "a group of groups": ("group g any uni ngo\ngroup h all aisi g\nquorum h\n", -20),
    "the first group": ("group g all uni ngo\ngroup h any aisi g\nquorum h\n", -30),
    "a group of one": ("group g all ngo\nquorum g\n", -10),
}


@pytest.mark.parametrize(("lines", "since"), TIMES.values(), ids=TIMES)
def test_a_quorum_stands_since_the_earliest_time_by_which_enough_had_cosigned(lines, since):
    assert times(W + lines) == NOW + since


def test_where_no_quorum_is_needed_a_checkpoint_without_cosignatures_is_good():
    quorum = parse_quorum("quorum none\n")
    assert quorum.verify(verified(GOOD), now=NOW) == ()
    assert quorum.cosigned_at(()) is None
    assert times(W + "quorum none\n") is None


def refusal_of(quorum: Quorum, text: str) -> CheckpointRefused:
    with pytest.raises(CheckpointRefused) as refusal:
        quorum.verify(verified(text), now=NOW)
    return refusal.value


MISSING = {
    "one witness": ("quorum aisi\n", (UNI,), ("witness aisi has not cosigned",)),
    "two of three": (
        "group g 2 aisi uni ngo\nquorum g\n",
        (NGO,),
        ("group g: 1 of the 2 that it needs, without aisi, uni",),
    ),
    "a group in a group": (
        "group g 2 uni ngo\ngroup h all aisi g\nquorum h\n",
        (AISI, UNI),
        ("group h: 1 of the 2 that it needs, without g", "group g: 1 of the 2 that it needs, without ngo"),
    ),
    "witnesses whom nobody named": ("quorum aisi\n", (LAB,), ("witness aisi has not cosigned",)),
}


@pytest.mark.parametrize(("lines", "names", "details"), MISSING.values(), ids=MISSING)
def test_too_few_cosignatures_are_refused_and_it_is_said_whose_are_missing(lines, names, details):
    refusal = refusal_of(parse_quorum(W + lines), cosigned(GOOD, *names))
    assert refusal.reason == "NO_QUORUM"
    assert refusal.details == details


def test_a_witness_from_the_future_is_refused_whoever_else_has_cosigned():
    quorum = parse_quorum(W + "quorum aisi\n")
    text = cosigned(cosigned(GOOD, AISI), UNI, at=NOW + CLOCK_SKEW + 1)
    assert refusal_of(quorum, text).reason == "FUTURE_COSIGNATURE"


def test_a_line_of_a_known_witness_that_does_not_verify_is_refused():
    quorum = parse_quorum(W + "quorum aisi\n")
    line = Signature(UNI, quorum.witnesses["uni"].verifier.key_hash, bytes(72)).line()
    with pytest.raises(SignatureMismatch) as refusal:
        quorum.verify(verified(cosigned(GOOD, AISI) + line), now=NOW)
    assert refusal.value.reason == "BAD_SIGNATURE"


def test_a_witness_counts_under_its_key_not_under_its_name():
    impostor = GOOD + cosigned(GOOD, AISI).partition(GOOD)[2].replace(AISI, UNI)
    assert refusal_of(parse_quorum(W + "quorum uni\n"), impostor).reason == "NO_QUORUM"


def test_the_keys_of_a_log_are_found_by_its_origin():
    text = f"log {log_vkey()}\nlog {log_vkey(of=signer('2'))} https://lab-a.example/log\nquorum none\n"
    quorum = parse_quorum(text)
    assert quorum.vkeys_of(ORIGIN) == (log_vkey(), log_vkey(of=signer("2")))
    assert quorum.vkeys_of("lab-b.example/tocsin") is None
    assert [log.url for log in quorum.logs] == ["", "https://lab-a.example/log"]


def test_comments_spaces_tabs_and_names_of_any_octets_are_read():
    text = f"# who\n\n \t \n\t# counts\n  witness\t\xc4 \t {witness_vkey(AISI)}   https://x \t\n\tquorum  \xc4 \n"
    for spelling in (text, text.encode(), text.encode("latin-1")):
        quorum = parse_quorum(spelling)
        assert [each.url for each in quorum.witnesses.values()] == ["https://x"]
        assert quorum.rule in quorum.witnesses
    assert parse_quorum(W + "group any 1 aisi uni\nquorum any\n").groups["any"].threshold == 1


def test_two_names_that_look_alike_are_two():
    text = f"witness K {witness_vkey(AISI)}\nwitness \u212a {witness_vkey(UNI)}\ngroup g all K \u212a\nquorum g\n"
    assert list(parse_quorum(text).witnesses) == ["K", "\u212a"]


BAD = {
    "nothing": ("", 1),
    "no quorum": (W, 4),
    "two quorums": (W + "quorum aisi\nquorum none\n", 5),
    "a quorum of nobody known": (W + "quorum lab\n", 4),
    "a quorum defined below": (f"quorum aisi\n{W}", 1),
    "a quorum of two": (W + "quorum aisi uni\n", 4),
    "no end of the last line": (W + "quorum aisi", 4),
    "line ends of CR and LF": (W.replace("\n", "\r\n"), 1),
    "a NUL": (W + "# \0\n", 4),
    "a DEL": (W + "# \x7f\n", 4),
    "a form feed for a space": (W + "quorum\faisi\n", 4),
    "a no-break space for a space": (W + "quorum\u00a0aisi\n", 4),
    "an unknown word": (W + "witnesses x\n", 4),
    "a word in upper case": (W + "Quorum aisi\n", 4),
    "a witness called none": (f"witness none {witness_vkey(AISI)}\n", 1),
    "a group called none": (W + "group none any aisi\n", 4),
    "a group of none": (W + "group g any none\n", 4),
    "a name twice": (W + f"witness aisi {witness_vkey(LAB)}\n", 4),
    "a group with a witness's name": (W + "group aisi any uni\n", 4),
    "a group in itself": (W + "group g any g\n", 4),
    "a member defined below": (W + "group g any h\ngroup h any aisi\n", 4),
    "a member twice": (W + "group g 2 aisi aisi\n", 4),
    "a member of two groups": (W + "group g any aisi\ngroup h any aisi\n", 5),
    "a group of nobody": (W + "group g any\n", 4),
    "a group without a number": (W + "group g aisi uni\n", 4),
    "more than there are": (W + "group g 3 aisi uni\n", 4),
    "none of them": (W + "group g 0 aisi uni\n", 4),
    "a negative number": (W + "group g -1 aisi uni\n", 4),
    "a leading zero": (W + "group g 01 aisi uni\n", 4),
    "digits of another script": (W + "group g ١ aisi uni\n", 4),
    "thousands of digits": (W + f"group g {'9' * 5_000} aisi uni\n", 4),
    "a witness without a key": ("witness aisi\n", 1),
    "a witness with two addresses": (f"witness aisi {witness_vkey(AISI)} a b\n", 1),
    "a witness with the key of a log": (f"witness aisi {log_vkey(AISI)}\n", 1),
    "a log with the key of a witness": (f"log {witness_vkey(ORIGIN)}\n", 1),
    "a key that is none": ("log lab-a.example/tocsin+00000000+AA==\n", 1),
    "one key under two names": (W + f"witness lab {witness_vkey(LAB, signer(AISI))}\n", 4),
    "one log twice": (f"log {log_vkey()}\nlog {log_vkey('lab-b.example/tocsin', LOG)}\n", 2),
    "too long": (W + "#" * MAX_POLICY + "\n", 1),
    "too many logs": ("".join(f"log {log_vkey(of=signer(str(n)))}\n" for n in range(MAX_LINES + 1)), MAX_LINES + 1),
}


@pytest.mark.parametrize(("text", "line"), BAD.values(), ids=BAD)
def test_a_file_that_says_anything_else_is_refused_with_its_line(text, line):
    with pytest.raises(MalformedLog) as refusal:
        parse_quorum(text)
    assert refusal.value.reason == "BAD_LOG_POLICY"
    assert refusal.value.where == f"line {line}"


def test_as_many_lines_are_read_as_the_document_asks_for():
    logs = "".join(f"log {log_vkey(of=signer(f'log {n}'))}\n" for n in range(32))
    witnesses = "".join(f"witness w{n} {witness_vkey(f'w{n}.example/witness')}\n" for n in range(32))
    groups = "group g0 any w0\n" + "".join(f"group g{n} all g{n - 1} w{n}\n" for n in range(1, 32))
    quorum = parse_quorum(logs + witnesses + groups + "quorum g31\n")
    assert (len(quorum.logs), len(quorum.witnesses), len(quorum.groups)) == (32, 32, 32)
    everyone = cosigned(GOOD, *(f"w{n}.example/witness" for n in range(32)))
    assert len(quorum.verify(verified(everyone), now=NOW)) == 32
