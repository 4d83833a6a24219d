import base64

import pytest

from tests.support.organisations import signer
from tests.tlog.forge import LOG, ORIGIN, log_vkey, witness_vkey
from tocsin.errors import MalformedLog, SignatureMismatch
from tocsin.identity.vkey import NoteAlgorithm
from tocsin.tlog.note import (
    MAX_NOTE,
    MAX_SIGNATURES,
    Note,
    Signature,
    format_note,
    parse_note,
    parse_signatures,
    parse_verifier,
    sign_text,
    verify_text,
)

# The example of golang.org/x/mod/sumdb/note, which the C2SP text grew out of.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

TEXT = "one\n\ntwo\n"
LINE = sign_text(TEXT, name=ORIGIN, signer=LOG)
KEY = parse_verifier(log_vkey(), algorithm=NoteAlgorithm.ED25519)
GOOD = format_note(Note(TEXT, (LINE,)))


def line_of(encoded: str, name: str = ORIGIN) -> str:
    return f"one\n\n— {name} {encoded}\n"


def test_a_note_of_another_implementation_is_read_verified_and_written_the_same():
    note = parse_note(GO_NOTE)
    key = parse_verifier(GO_VKEY, algorithm=NoteAlgorithm.ED25519)
    assert verify_text(note, verifiers=[key]) == (key,)
    assert format_note(note) == GO_NOTE
    assert key.vkey == GO_VKEY


def test_what_we_sign_is_read_back_and_verifies():
    note = parse_note(GOOD)
    assert note == Note(TEXT, (LINE,))
    assert note == parse_note(GOOD.encode())
    assert verify_text(note, verifiers=[KEY]) == (KEY,)


def test_the_text_ends_at_the_last_empty_line():
    assert parse_note(GOOD).text == TEXT


ENCODED = base64.b64encode(LINE.key_hash + LINE.signature).decode()
UNPADDED = ENCODED.rstrip("=")
BAD = {
    "nothing": "",
    "no empty line": GOOD.replace("\n\n", "\n"),
    "no signature": "one\n\n",
    "an empty line at the end": GOOD + "\n",
    "bytes behind the last line": GOOD + "x",
    "no newline at the end": GOOD[:-1],
    "line ends of CR and LF": GOOD.replace("\n", "\r\n"),
    "one CR": GOOD.replace("one", "one\r"),
    "a tab": GOOD.replace("one", "o\tne"),
    "a NUL": GOOD.replace("one", "o\0ne"),
    "the line twice": GOOD + LINE.line(),
    "one key twice, with two signatures": GOOD + Signature(ORIGIN, LINE.key_hash, bytes(64)).line(),
    "a hyphen": GOOD.replace("—", "-"),
    "two hyphens": GOOD.replace("—", "--"),
    "an en dash": GOOD.replace("—", "–"),
    "a horizontal bar": GOOD.replace("—", "―"),
    "no dash": GOOD.replace("— ", ""),
    "two spaces behind the dash": GOOD.replace("— ", "—  "),
    "a no-break space behind the dash": GOOD.replace("— ", "—\u00a0"),
    "text below the signatures": GOOD + "three\n",
    "no name": f"one\n\n—  {ENCODED}\n",
    "a name with a plus": line_of(ENCODED, "lab+a"),
    "a name with a no-break space": line_of(ENCODED, "lab\u00a0a"),
    "a name with a line separator": line_of(ENCODED, "lab\u2028a"),
    "no signature behind the name": f"one\n\n— {ORIGIN}\n",
    "nothing behind the name": line_of(""),
    "a space at the end": line_of(ENCODED + " "),
    "base64 without padding": line_of(UNPADDED),
    "base64 with more padding": line_of(ENCODED + "=" * 4),
    "base64 with bits left over": line_of(base64.b64encode(bytes(7)).decode().replace("A==", "B==")),
    "base64url": line_of(base64.urlsafe_b64encode(b"\xff" * 9).decode()),
    "a signature beyond ASCII": line_of("ä" * 8),
    "a key hash and no signature": line_of(base64.b64encode(bytes(4)).decode()),
    "less than a key hash": line_of(base64.b64encode(bytes(3)).decode()),
    "bytes that are no UTF-8": GOOD.encode().replace(b"one", b"\xff"),
    "a lone surrogate": GOOD.replace("one", "\ud800"),
    "longer than a note may be": "x" * MAX_NOTE + GOOD,
    "more signatures than a note may have": "one\n\n"
    + "".join(Signature(f"w{number}", bytes(4), b"x").line() for number in range(MAX_SIGNATURES + 1)),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_any_other_spelling_is_refused(text):
    with pytest.raises(MalformedLog) as refusal:
        parse_note(text)
    assert refusal.value.reason == "BAD_NOTE"


def test_a_note_at_the_limits_is_read():
    lines = tuple(Signature(f"w{number}", bytes(4), b"x") for number in range(MAX_SIGNATURES))
    assert len(parse_note(format_note(Note("one\n", lines))).signatures) == MAX_SIGNATURES
    filled = "x" * (MAX_NOTE - len(GOOD.encode())) + GOOD
    assert parse_note(filled).text.endswith(TEXT)


def test_sixteen_signatures_as_long_as_any_known_are_read():
    lines = tuple(Signature(f"w{number}", bytes(4), bytes(4_900)) for number in range(16))
    assert parse_note(format_note(Note("one\n", lines))).signatures == lines


def test_lines_that_stand_alone_are_read_as_a_witness_sends_them():
    assert parse_signatures(LINE.line()) == (LINE,)
    for text in ("", "\n", LINE.line() + "\n", LINE.line()[:-1], "\n" + LINE.line()):
        with pytest.raises(MalformedLog) as refusal:
            parse_signatures(text)
        assert refusal.value.reason == "BAD_NOTE"


OTHER = sign_text(TEXT, name="lab-b.example/tocsin", signer=signer("b"))
IGNORED = {
    "another key": OTHER,
    "another key of that name": sign_text(TEXT, name=ORIGIN, signer=signer("b")),
    "that key hash under another name": Signature("lab-b.example/tocsin", LINE.key_hash, LINE.signature),
    "that key under another name": sign_text(TEXT, name="lab-b.example/tocsin", signer=LOG),
    "an algorithm of another length": Signature(ORIGIN, bytes(4), bytes(71)),
}


@pytest.mark.parametrize("line", IGNORED.values(), ids=IGNORED)
def test_a_line_of_an_unknown_key_is_ignored_whatever_it_says(line):
    assert verify_text(Note(TEXT, (line,)), verifiers=[KEY]) == ()
    assert verify_text(Note(TEXT, (line, LINE)), verifiers=[KEY]) == (KEY,)


MISMATCHES = {
    "another text": Note("two\n", (LINE,)),
    "another signature": Note(TEXT, (Signature(ORIGIN, LINE.key_hash, bytes(64)),)),
    "a shorter signature": Note(TEXT, (Signature(ORIGIN, LINE.key_hash, LINE.signature[:-1]),)),
    "a longer signature": Note(TEXT, (Signature(ORIGIN, LINE.key_hash, LINE.signature + b"\0"),)),
    "text moved into the signature": Note(TEXT[1:], (Signature(ORIGIN, LINE.key_hash, LINE.signature + b"o"),)),
    "another signature beside a good one": Note(TEXT, (OTHER, Signature(ORIGIN, LINE.key_hash, OTHER.signature))),
}


@pytest.mark.parametrize("note", MISMATCHES.values(), ids=MISMATCHES)
def test_a_line_of_a_known_key_that_does_not_verify_refuses_the_note(note):
    keys = [KEY, parse_verifier(log_vkey("lab-b.example/tocsin", signer("b")), algorithm=NoteAlgorithm.ED25519)]
    with pytest.raises(SignatureMismatch) as refusal:
        verify_text(note, verifiers=keys)
    assert refusal.value.reason == "BAD_SIGNATURE"


def test_of_two_keys_that_share_name_and_hash_either_may_have_signed():
    twin = type(KEY)(KEY.name, KEY.key_hash, KEY.algorithm, signer("b").public_key)
    assert verify_text(Note(TEXT, (LINE,)), verifiers=[twin, KEY]) == (KEY,)
    with pytest.raises(SignatureMismatch):
        verify_text(Note(TEXT, (LINE,)), verifiers=[twin])


BAD_VKEYS = {
    "nothing": "",
    "no name": log_vkey()[len(ORIGIN) :],
    "a name with a space": log_vkey().replace("lab-a", "lab a"),
    "a name with a newline": log_vkey().replace("lab-a", "lab\na"),
    "a name with a lone surrogate": "\ud800" + log_vkey(),
    "another hash": log_vkey().replace("+", "+00000000+", 1),
    "a key that cosigns": witness_vkey(ORIGIN, LOG),
    "ECDSA, which is not known here": f"{ORIGIN}+00000000+{base64.b64encode(bytes([2]) + bytes(91)).decode()}",
    "a key of low order": log_vkey(of=type("Weak", (), {"public_key": bytes(32)})),
}


@pytest.mark.parametrize("vkey", BAD_VKEYS.values(), ids=BAD_VKEYS)
def test_a_verifier_key_that_is_none_of_a_log_is_refused(vkey):
    with pytest.raises(MalformedLog) as refusal:
        parse_verifier(vkey, algorithm=NoteAlgorithm.ED25519)
    assert refusal.value.reason == "BAD_NOTE"


def test_a_key_that_signs_checkpoints_is_none_that_cosigns_them():
    assert parse_verifier(witness_vkey("aisi.example/witness"), algorithm=NoteAlgorithm.COSIGNATURE_V1)
    with pytest.raises(MalformedLog) as refusal:
        parse_verifier(log_vkey(), algorithm=NoteAlgorithm.COSIGNATURE_V1)
    assert refusal.value.reason == "BAD_NOTE"


UNSIGNABLE = {
    "no newline": ("one", ORIGIN),
    "a control character": ("one\r\n", ORIGIN),
    "a name with a space": ("one\n", "lab a"),
}


@pytest.mark.parametrize(("text", "name"), UNSIGNABLE.values(), ids=UNSIGNABLE)
def test_signing_what_makes_no_note_is_a_mistake_of_ours(text, name):
    with pytest.raises(RuntimeError):
        sign_text(text, name=name, signer=LOG)
