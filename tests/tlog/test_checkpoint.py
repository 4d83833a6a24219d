import base64
import json

import pytest

from tests.support.organisations import NOW, signer
from tests.support.shared import shared
from tests.tlog.forge import LOG, ORIGIN, checkpoint, cosigned, log_vkey, signed, verified, witness, witness_vkey
from tocsin.errors import CheckpointRefused, MalformedLog, SignatureMismatch, TocsinError
from tocsin.identity.vkey import NoteAlgorithm, format_vkey
from tocsin.tlog.checkpoint import (
    CLOCK_SKEW,
    MAX_CHECKPOINT,
    Checkpoint,
    add_cosignatures,
    cosign,
    cosignatures,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from tocsin.tlog.merkle import EMPTY_ROOT, MAX_SIZE
from tocsin.tlog.note import (
    MAX_SIGNATURES,
    Note,
    Signature,
    format_note,
    parse_note,
    parse_signatures,
    parse_verifier,
    sign_text,
)

GOOD = signed(12)
CHECKPOINT = checkpoint(12)
BODY = CHECKPOINT.body()
ROOT = BODY.split("\n")[2]
AISI, UNI, NGO = (f"{org}.example/witness" for org in ("aisi", "uni", "ngo"))
VECTORS = "vectors/sigstore-conformance/test/assets/bundle-verify"


def note_over(body: str) -> str:
    """Return any text as a note with a good signature of the log."""
    return format_note(Note(body, (sign_text(body, name=ORIGIN, signer=LOG),)))


def refusal_of(text: str | bytes, *, origin: str = ORIGIN, vkeys: tuple[str, ...] = (log_vkey(),)) -> TocsinError:
    with pytest.raises(TocsinError) as refusal:
        verify_checkpoint(text, origin=origin, vkeys=vkeys)
    return refusal.value


# Form


def test_what_a_log_signs_is_read_back_and_verifies():
    read = verify_checkpoint(GOOD, origin=ORIGIN, vkeys=[log_vkey()])
    assert read.checkpoint == CHECKPOINT
    assert read.text == GOOD
    assert read.checkpoint.body() == GOOD.partition("\n\n")[0] + "\n"


@pytest.mark.parametrize("size", [0, 1, 2, 20])
def test_a_checkpoint_of_any_size_is_signed_and_verified(size):
    assert verified(signed(size)).checkpoint.size == size


def test_the_largest_size_is_read():
    assert verified(note_over(f"{ORIGIN}\n{MAX_SIZE}\n{ROOT}\n")).checkpoint.size == 2**63 - 1


EMPTY = base64.b64encode(EMPTY_ROOT).decode()
BAD_BODIES = {
    "no root": f"{ORIGIN}\n12\n",
    "only an origin": f"{ORIGIN}\n",
    "nothing": "\n",
    "no origin": f"12\n{ROOT}\n",
    "an empty origin": f"\n12\n{ROOT}\n",
    "no size": f"{ORIGIN}\n{ROOT}\n",
    "an empty size": f"{ORIGIN}\n\n{ROOT}\n",
    "an empty line at the end": f"{ORIGIN}\n12\n{ROOT}\n\n",
    "leading zeroes": f"{ORIGIN}\n012\n{ROOT}\n",
    "only zeroes": f"{ORIGIN}\n00\n{EMPTY}\n",
    "a negative size": f"{ORIGIN}\n-12\n{ROOT}\n",
    "a sign": f"{ORIGIN}\n+12\n{ROOT}\n",
    "a space before the size": f"{ORIGIN}\n 12\n{ROOT}\n",
    "hexadecimal": f"{ORIGIN}\n0xc\n{ROOT}\n",
    "an underscore": f"{ORIGIN}\n1_2\n{ROOT}\n",
    "digits of another script": f"{ORIGIN}\n١٢\n{ROOT}\n",
    "2^63": f"{ORIGIN}\n{2**63}\n{ROOT}\n",
    "20 digits": f"{ORIGIN}\n{10**19}\n{ROOT}\n",
    "thousands of digits": f"{ORIGIN}\n{'9' * 5_000}\n{ROOT}\n",
    "size 0 with the root of something": f"{ORIGIN}\n0\n{ROOT}\n",
    "a root of 31 bytes": f"{ORIGIN}\n12\n{base64.b64encode(bytes(31)).decode()}\n",
    "a root of 33 bytes": f"{ORIGIN}\n12\n{base64.b64encode(bytes(33)).decode()}\n",
    "a root without padding": f"{ORIGIN}\n12\n{ROOT.rstrip('=')}\n",
    "a root with bits left over": f"{ORIGIN}\n12\n{'A' * 42}B=\n",
    "a root with a space": f"{ORIGIN}\n12\n{ROOT} \n",
    "a root in hex": f"{ORIGIN}\n12\n{CHECKPOINT.root.hex()}\n",
    "a root beyond ASCII": f"{ORIGIN}\n12\n{'ä' * 44}\n",
    "another log": f"lab-b.example/tocsin\n12\n{ROOT}\n",
    "the origin in another case": f"{ORIGIN.upper()}\n12\n{ROOT}\n",
    "the origin with a space": f"{ORIGIN} \n12\n{ROOT}\n",
    "an extension line": f"{ORIGIN}\n12\n{ROOT}\nTimestamp: 1689177396617352539\n",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_note_that_is_no_checkpoint_of_the_log_is_refused_though_the_log_signed_it(body):
    refusal = refusal_of(note_over(body))
    assert (type(refusal), refusal.reason) == (MalformedLog, "BAD_CHECKPOINT")


NOT_NOTES = {
    "no empty line": GOOD.replace("\n\n", "\n"),
    "CRLF": GOOD.replace("\n", "\r\n"),
    "bytes behind it": GOOD + "x",
    "no signature": GOOD.partition("—")[0],
    "the log's line twice": GOOD + GOOD.partition("\n\n")[2],
    "no UTF-8": b"\xff" + GOOD.encode(),
}


@pytest.mark.parametrize("text", NOT_NOTES.values(), ids=NOT_NOTES)
def test_what_is_no_note_is_no_checkpoint(text):
    refusal = refusal_of(text)
    assert (type(refusal), refusal.reason) == (MalformedLog, "BAD_NOTE")


def test_extension_lines_of_other_logs_are_read_and_written_the_same():
    text = note_over(BAD_BODIES["an extension line"])
    read = parse_checkpoint(text)
    assert read.checkpoint.extensions == ("Timestamp: 1689177396617352539",)
    assert read.checkpoint.body() == parse_note(text).text


def test_a_checkpoint_is_read_up_to_its_limit_in_bytes():
    least = len(note_over(f"{ORIGIN}\n12\n{ROOT}\nä\n").encode())
    room = MAX_CHECKPOINT - least
    assert parse_checkpoint(note_over(f"{ORIGIN}\n12\n{ROOT}\nä{'x' * room}\n"))
    with pytest.raises(MalformedLog) as refusal:
        parse_checkpoint(note_over(f"{ORIGIN}\n12\n{ROOT}\nä{'x' * room}x\n"))
    assert refusal.value.reason == "BAD_CHECKPOINT"


UNSIGNABLE = {
    "a negative size": Checkpoint(ORIGIN, -1, EMPTY_ROOT),
    "an empty tree with a root": Checkpoint(ORIGIN, 0, CHECKPOINT.root),
    "a short root": Checkpoint(ORIGIN, 1, b"x"),
    "an origin with a space": Checkpoint("lab a", 0, EMPTY_ROOT),
    "an origin of two lines": Checkpoint(f"{ORIGIN}\n1", 0, EMPTY_ROOT),
    "extension lines": Checkpoint(ORIGIN, 0, EMPTY_ROOT, ("x",)),
}


@pytest.mark.parametrize("made", UNSIGNABLE.values(), ids=UNSIGNABLE)
def test_signing_what_is_no_checkpoint_is_a_mistake_of_ours(made):
    with pytest.raises(RuntimeError):
        sign_checkpoint(made, signer=LOG)


# Whose it is


LINE = parse_note(GOOD).signatures[0]
COSIGNED = cosigned(GOOD, AISI)


def signed_by(*lines: Signature) -> str:
    return format_note(Note(BODY, lines))


SAME_KEY = cosign(verified(GOOD), name=ORIGIN, signer=LOG, now=NOW)  # the log's own key, used to cosign
UNSIGNED = {
    "another log's key": signed_by(sign_text(BODY, name=ORIGIN, signer=signer("b"))),
    "its key under another name": signed_by(sign_text(BODY, name="lab-b.example/tocsin", signer=LOG)),
    "its key hash under another name": signed_by(Signature("lab-b.example/tocsin", LINE.key_hash, LINE.signature)),
    "its key hash, and another signature": signed_by(Signature(ORIGIN, LINE.key_hash, bytes(64))),
    "its key hash, and ECDSA": signed_by(Signature(ORIGIN, LINE.key_hash, bytes(71))),
    "its signature over another checkpoint": signed_by(parse_note(signed(11)).signatures[0]),
    "only witnesses": signed_by(*parse_signatures(cosigned(GOOD, AISI, UNI).partition(LINE.line())[2])),
    "its key as a witness": signed_by(*parse_signatures(SAME_KEY)),
    "a cosignature under its key hash": signed_by(
        Signature(ORIGIN, LINE.key_hash, parse_signatures(SAME_KEY)[0].signature)
    ),
}


@pytest.mark.parametrize("text", UNSIGNED.values(), ids=UNSIGNED)
def test_a_checkpoint_that_the_log_did_not_sign_is_refused(text):
    refusal = refusal_of(text)
    assert (type(refusal), refusal.reason) == (CheckpointRefused, "UNSIGNED_CHECKPOINT")


def test_unknown_keys_are_ignored_beside_the_log_s_own():
    others = sign_text(BODY, name="lab-b.example/tocsin", signer=signer("b")), Signature(ORIGIN, bytes(4), bytes(71))
    for lines in ((*others, LINE), (LINE, *others)):
        assert verified(signed_by(*lines)).checkpoint == CHECKPOINT


def test_while_its_key_changes_a_log_has_two_and_one_is_enough_but_both_must_hold():
    new = signer("lab-a.example log 2")
    vkeys = (log_vkey(), log_vkey(of=new))
    both = signed_by(LINE, sign_text(BODY, name=ORIGIN, signer=new))
    for text in (GOOD, signed(12, new), both):
        assert verify_checkpoint(text, origin=ORIGIN, vkeys=vkeys).checkpoint == CHECKPOINT
    forged = signed_by(LINE, Signature(ORIGIN, parse_note(both).signatures[1].key_hash, bytes(64)))
    assert refusal_of(forged, vkeys=vkeys).reason == "UNSIGNED_CHECKPOINT"


def test_a_log_without_keys_signs_nothing():
    assert refusal_of(GOOD, vkeys=()).reason == "UNSIGNED_CHECKPOINT"


def test_a_key_that_cosigns_is_none_of_a_log():
    refusal = refusal_of(GOOD, vkeys=(witness_vkey(ORIGIN, LOG),))
    assert (type(refusal), refusal.reason) == (MalformedLog, "BAD_NOTE")


# Cosignatures


def times(text: str, *names: str, now: int = NOW) -> dict[str, int]:
    found = cosignatures(parse_note(text), verifiers=[witness(name) for name in names], now=now)
    return {each.verifier.name: each.at for each in found}


def test_a_witness_cosigns_and_says_when():
    text = cosigned(cosigned(GOOD, AISI, at=NOW - 9), UNI)
    assert times(text, AISI, UNI, NGO) == {AISI: NOW - 9, UNI: NOW}
    assert times(text, NGO) == {}
    assert verified(text).checkpoint == CHECKPOINT


def test_a_cosignature_is_over_the_lines_that_the_document_states():
    (line,) = parse_signatures(cosign(verified(GOOD), name=AISI, signer=signer(AISI), now=1_679_315_147))
    assert line.signature[:8] == (1_679_315_147).to_bytes(8, "big")
    message = f"cosignature/v1\ntime 1679315147\n{BODY}".encode()
    assert line.signature[8:] == signer(AISI).sign(message)
    assert len(line.signature) == 72


def test_a_clock_that_is_a_little_ahead_is_let_pass():
    assert times(cosigned(GOOD, AISI, at=NOW + CLOCK_SKEW), AISI) == {AISI: NOW + CLOCK_SKEW}


def with_line(name: str, of: str, signature: bytes) -> str:
    return GOOD + Signature(name, witness(of).key_hash, signature).line()


COSIGNATURE = parse_signatures(COSIGNED.partition(LINE.line())[2])[0].signature
BAD_COSIGNATURES = {
    "from the future": (cosigned(GOOD, AISI, at=NOW + CLOCK_SKEW + 1), CheckpointRefused, "FUTURE_COSIGNATURE"),
    "from beyond all time": (cosigned(GOOD, AISI, at=2**64 - 1), CheckpointRefused, "FUTURE_COSIGNATURE"),
    "another time written over it": (
        with_line(AISI, AISI, bytes(8) + COSIGNATURE[8:]),
        SignatureMismatch,
        "BAD_SIGNATURE",
    ),
    "no time": (with_line(AISI, AISI, COSIGNATURE[8:]), SignatureMismatch, "BAD_SIGNATURE"),
    "bytes behind it": (with_line(AISI, AISI, COSIGNATURE + b"\0"), SignatureMismatch, "BAD_SIGNATURE"),
    "one byte": (with_line(AISI, AISI, b"\0"), SignatureMismatch, "BAD_SIGNATURE"),
    "of another checkpoint": (
        format_note(Note(checkpoint(11).body(), parse_note(COSIGNED).signatures)),
        SignatureMismatch,
        "BAD_SIGNATURE",
    ),
    "its key as a log's": (
        with_line(AISI, AISI, signer(AISI).sign(BODY.encode())),
        SignatureMismatch,
        "BAD_SIGNATURE",
    ),
    "its key as a log's, with a time": (
        with_line(AISI, AISI, COSIGNATURE[:8] + signer(AISI).sign(BODY.encode())),
        SignatureMismatch,
        "BAD_SIGNATURE",
    ),
}


@pytest.mark.parametrize(("text", "error", "reason"), BAD_COSIGNATURES.values(), ids=BAD_COSIGNATURES)
def test_a_known_witness_s_line_that_does_not_hold_is_refused(text, error, reason):
    with pytest.raises(error) as refusal:
        times(text, AISI)
    assert refusal.value.reason == reason
    assert times(text, UNI) == {}


def test_a_witness_s_key_hash_under_another_name_is_unknown():
    assert times(with_line(UNI, AISI, COSIGNATURE), AISI, UNI) == {}


def test_a_key_that_signs_checkpoints_is_not_asked_for_cosignatures():
    key = parse_verifier(log_vkey(), algorithm=NoteAlgorithm.ED25519)
    with pytest.raises(RuntimeError):
        cosignatures(parse_note(GOOD), verifiers=[key], now=NOW)


def test_a_name_that_no_line_can_have_cosigns_nothing():
    with pytest.raises(RuntimeError):
        cosign(verified(GOOD), name="aisi example", signer=signer(AISI), now=NOW)


# Collecting them


def lines_of(text: str) -> str:
    return text.partition(LINE.line())[2]


def add(text: str, lines: str, *names: str) -> str:
    return add_cosignatures(text, lines, verifiers=[witness(name) for name in names], now=NOW)


def test_cosignatures_are_added_below_the_log_s_own_line():
    assert add(GOOD, lines_of(COSIGNED), AISI) == COSIGNED
    both = add(COSIGNED, lines_of(cosigned(GOOD, UNI)), UNI)
    assert times(both, AISI, UNI) == {AISI: NOW, UNI: NOW}
    assert verified(both).checkpoint == CHECKPOINT


@pytest.mark.parametrize(("held", "given"), [(9, 5), (5, 9), (7, 7)])
def test_of_two_cosignatures_of_a_witness_the_earlier_one_stays(held, given):
    text = add(cosigned(GOOD, AISI, at=NOW - held), lines_of(cosigned(GOOD, AISI, at=NOW - given)), AISI)
    assert times(text, AISI) == {AISI: NOW - max(held, given)}
    assert len(parse_note(text).signatures) == 2


def test_a_forged_line_of_earlier_does_not_keep_a_witness_out():
    forged = with_line(AISI, AISI, bytes(8) + COSIGNATURE[8:])
    assert add(forged, lines_of(COSIGNED), AISI) == COSIGNED


def test_lines_of_unknown_keys_are_not_added():
    assert add(GOOD, lines_of(COSIGNED), UNI) == GOOD


def test_nothing_that_does_not_hold_is_added():
    with pytest.raises(SignatureMismatch):
        add(GOOD, lines_of(BAD_COSIGNATURES["another time written over it"][0]), AISI)
    with pytest.raises(CheckpointRefused):
        add(GOOD, lines_of(BAD_COSIGNATURES["from the future"][0]), AISI)
    with pytest.raises(MalformedLog) as refusal:
        add(GOOD, "", AISI)
    assert refusal.value.reason == "BAD_NOTE"


def test_no_more_are_added_than_a_note_has_room_for():
    full = GOOD + "".join(Signature(f"w{number}", bytes(4), b"x").line() for number in range(MAX_SIGNATURES - 1))
    with pytest.raises(MalformedLog) as refusal:
        add(full, lines_of(COSIGNED), AISI)
    assert refusal.value.reason == "BAD_NOTE"


# Logs and witnesses of others


TESSERA_ORIGIN = "example.com/log/testdata"
TESSERA_VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"


@pytest.mark.parametrize("size", range(16))
def test_a_log_of_another_implementation_verifies_at_every_size(size):
    text = shared(f"vectors/tessera-log/testdata/log/checkpoint.{size}").read_text(encoding="utf-8")
    read = verify_checkpoint(text, origin=TESSERA_ORIGIN, vkeys=[TESSERA_VKEY])
    assert read.checkpoint.size == size
    assert read.text == text


def bundle(name: str) -> tuple[str, dict[str, str]]:
    """Return the checkpoint of a bundle, and the Ed25519 keys of the logs that its trusted root names."""
    folder = shared(VECTORS) / name
    entry = json.loads((folder / "bundle.sigstore.json").read_text())["verificationMaterial"]["tlogEntries"][0]
    vkeys = {}
    if (folder / "trusted_root.json").exists():
        for log in json.loads((folder / "trusted_root.json").read_text())["tlogs"]:
            if log["publicKey"]["keyDetails"] == "PKIX_ED25519":
                origin = log["baseUrl"].removeprefix("https://")
                key = base64.b64decode(log["publicKey"]["rawBytes"])[-32:]
                vkeys[origin] = format_vkey(origin, algorithm=NoteAlgorithm.ED25519, public_key=key)
    return entry["inclusionProof"]["checkpoint"]["envelope"], vkeys


REKOR = "log2025-alpha1.rekor.sigstage.dev"
# What is wrong with those that end in _fail and stand here is not in their checkpoint: it is in the timestamp, the
# envelope or the trusted root.
GOOD_BUNDLES = {
    "rekor2-happy-path": (REKOR, 736, 1),
    "rekor2-checkpoint-cosigned": (REKOR, 736, 2),  # a witness whose key nobody states: ignored
    "rekor2-checkpoint-multiple-cosigs": (REKOR, 736, 3),
    "rekor2-checkpoint-origin-not-first": (REKOR, 736, 2),  # the witness's line stands first
    "rekor2-checkpoint-two-sigs-cosigned": (REKOR, 736, 3),  # and a second one of the log, by an ECDSA key
    "rekor2-checkpoint-two-sigs-from-origin": (REKOR, 736, 2),
    "rekor2-dsse-happy-path": ("log2025-alpha3.rekor.sigstage.dev", 4_026_479, 4),
    "rekor2-timestamp-with-embedded-cert": (REKOR, 29_470, 1),
    "rekor2-timestamp-with-expired-cert-chain": (REKOR, 32_512, 1),
    "rekor2-timestamp-without-embedded-cert": (REKOR, 29_473, 1),
    "rekor2-no-timestamp_fail": (REKOR, 736, 1),
    "rekor2-timestamp-payload-mismatch_fail": (REKOR, 5_865, 1),
    "rekor2-dsse-invalid-sig_fail": ("log2025-alpha3.rekor.sigstage.dev", 4_026_479, 4),
    "trust-root-tlog-missing-validity-start_fail": (REKOR, 736, 1),
}


@pytest.mark.parametrize(("name", "expected"), GOOD_BUNDLES.items(), ids=GOOD_BUNDLES)
def test_a_checkpoint_of_a_public_log_verifies(name, expected):
    text, vkeys = bundle(name)
    origin, size, lines = expected
    read = verify_checkpoint(text, origin=origin, vkeys=[vkeys[origin]])
    assert (read.checkpoint.size, len(read.note.signatures)) == (size, lines)
    assert read.text == text


BAD_BUNDLES = {
    "rekor2-checkpoint-missing-log-signature_fail": (REKOR, MalformedLog, "BAD_NOTE"),
    "rekor2-checkpoint-missing-origin_fail": (REKOR, MalformedLog, "BAD_CHECKPOINT"),
    "rekor2-checkpoint-missing-root-hash_fail": (REKOR, MalformedLog, "BAD_CHECKPOINT"),
    "rekor2-checkpoint-missing-size_fail": (REKOR, MalformedLog, "BAD_CHECKPOINT"),
    # Origin and name were both changed: another log to whoever expects REKOR …
    "rekor2-checkpoint-no-matching-signature_fail": (REKOR, MalformedLog, "BAD_CHECKPOINT"),
    # These end their root with a line for the time, which is refused before anybody asks for their ECDSA keys.
    "checkpoint-bad-keyhint_fail": ("rekor.sigstore.dev - 2605736670972794746", MalformedLog, "BAD_CHECKPOINT"),
    "invalid-checkpoint-signature_fail": ("rekor.sigstore.dev - 2605736670972794746", MalformedLog, "BAD_CHECKPOINT"),
    # Signed with ECDSA, an unknown key here; that its root is of another tree is shown with the proofs.
    "checkpoint-wrong-roothash_fail": (
        "rekor.sigstore.dev - 2605736670972794746",
        CheckpointRefused,
        "UNSIGNED_CHECKPOINT",
    ),
}


@pytest.mark.parametrize(("name", "expected"), BAD_BUNDLES.items(), ids=BAD_BUNDLES)
def test_a_checkpoint_that_is_none_of_a_public_log_is_refused(name, expected):
    text, vkeys = bundle(name)
    origin, error, reason = expected
    refusal = refusal_of(text, origin=origin, vkeys=tuple(vkeys.values()))
    assert (type(refusal), refusal.reason) == (error, reason)


def test_to_whoever_takes_the_origin_from_the_checkpoint_the_renamed_one_is_unsigned():
    text, vkeys = bundle("rekor2-checkpoint-no-matching-signature_fail")
    origin = parse_checkpoint(text).checkpoint.origin
    assert refusal_of(text, origin=origin, vkeys=(vkeys[REKOR],)).reason == "UNSIGNED_CHECKPOINT"


def test_of_two_signatures_of_a_public_log_the_one_with_ecdsa_is_an_unknown_key():
    text, vkeys = bundle("rekor2-checkpoint-two-sigs-from-origin")
    ed25519, ecdsa = parse_note(text).signatures
    only = format_note(Note(parse_note(text).text, (ecdsa,)))
    assert ed25519.name == ecdsa.name
    assert refusal_of(only, origin=REKOR, vkeys=(vkeys[REKOR],)).reason == "UNSIGNED_CHECKPOINT"


def test_every_checkpoint_of_the_public_bundles_is_read_or_refused_with_a_reason():
    read, refused = 0, set()
    for folder in sorted(shared(VECTORS).iterdir()):
        try:
            text, _ = bundle(folder.name)
        except (OSError, ValueError, LookupError):  # no bundle, not JSON, or none with a checkpoint
            continue
        try:
            assert format_note(parse_checkpoint(text).note) == text
            read += 1
        except MalformedLog:
            refused.add(folder.name)
    assert read > 40
    assert refused == {name for name in BAD_BUNDLES if "missing" in name}
