"""docs/verify.md does what it says: its blocks verify files that we make, and refuse what was altered."""

import base64
import json
import re
import subprocess
import sys
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.making import make_record
from tests.support.organisations import NOW, Founded, found, make_details, signer
from tests.support.shared import ROOT
from tests.tlog.golang import build_verifier
from tocsin.identity.root import next_version
from tocsin.identity.vkey import log_name, witness_name
from tocsin.release.ledger import entry_of
from tocsin.store.sqlite import open_store
from tocsin.tlog.checkpoint import cosign, verify_checkpoint
from tocsin.tlog.entry import record_entry
from tocsin.tlog.log import OwnLog
from tocsin.tlog.proof import LogProof, format_proof, parse_proof
from tocsin.tlog.tiles import ENTRIES, entry_bundle, tiles_of

PAGE = (ROOT / "docs" / "verify.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)
PYTHON = [text for language, text in BLOCKS if language == "python"]
LAB, AISI = found("lab-a.example"), found("aisi.example", root_keys=3, threshold=2)
RECORD = make_record(by=LAB)
OTHERS = [
    record_entry(f"68a3b439-a539-418d-a498-{number:012d}", 1, number.to_bytes(32, "big")) for number in range(299)
]
INDEX = 130


def cosigned(text: str, *witnesses: Founded) -> str:
    verified = verify_checkpoint(text, origin=log_name("lab-a.example"), vkeys=LAB.organisation.log_vkeys)
    for one in witnesses:
        text += cosign(verified, name=witness_name(one.organisation.org), signer=one.witness, now=NOW)
    return text


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, bytes]:
    """Return the files that the page speaks of, by their names."""
    folder = tmp_path_factory.mktemp("log")
    files = {"lab-a.tocsin": LAB.document, "aisi.tocsin": AISI.document}
    with open_store(folder / "lab-a.db", create=True) as store:
        log = OwnLog(store.logs, LAB.organisation.org, LAB.log, LAB.witness)
        log.issue(*OTHERS[:INDEX], entry_of(RECORD), *OTHERS[INDEX:260], now=NOW)
        proof = log.prove(entry_of(RECORD))
        text = cosigned(proof.checkpoint, LAB, AISI)
        files["record.tlog-proof"] = format_proof(
            LogProof(proof.index, proof.hashes, text, RECORD.token.encode())
        ).encode()
        log.issue(*OTHERS[260:], now=NOW)
        for one in tiles_of(log.size):
            if one.level == ENTRIES:
                entries = store.logs.entries(log.org, start=one.begin, limit=one.width)
                files[f"public/{one.path}"] = entry_bundle(entries)
        files["public/checkpoint"] = store.logs.get(log.org).checkpoint.encode()
    return files


def run(folder: Path, files: dict[str, bytes]) -> dict[str, object]:
    """Run every Python block of the page in a folder with these files, as a reader would."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    session: dict[str, object] = {}
    with chdir(folder):
        for number, block in enumerate(PYTHON, start=1):
            exec(compile(block, f"block {number}", "exec"), session)  # noqa: S102 -- our own page, which readers run too
            session["last_block"] = number
    return session


def test_every_block_runs_on_the_files_that_it_is_about(tmp_path, made):
    session = run(tmp_path, made)
    assert session["last_block"] == len(PYTHON)
    assert session["entry"] == entry_of(RECORD)
    assert session["cosigned"] == {"aisi.example/witness": NOW}
    assert (session["index"], session["size"], session["published"]) == (INDEX, 261, 300)
    strip = session["without_check_letters"]
    assert strip(LAB.organisation.fingerprint) == session["lab_letters"]
    assert strip(AISI.organisation.fingerprint) == session["aisi_letters"]


NEW_ROOT = signer("lab-a.example root-2")
TWO_VERSIONS = next_version(
    LAB.organisation,
    replace(make_details("lab-a.example"), contact='mailto:"Ünal" <u@lab-a.example>'),
    signers=[*LAB.roots, NEW_ROOT],
    root_keys=[NEW_ROOT.public_key],
    now=NOW,
)


def test_an_identity_document_of_several_versions_has_the_fingerprint_of_the_first(tmp_path, made):
    session = run(tmp_path, made | {"lab-a.tocsin": TWO_VERSIONS})
    assert session["without_check_letters"](LAB.organisation.fingerprint) == session["lab_letters"]
    assert session["lab"]["contact"].startswith("mailto:")


def test_a_version_that_the_root_keys_before_did_not_sign_is_refused(tmp_path, made):
    document = json.loads(TWO_VERSIONS)
    last = document["chain"][-1]
    (kept,) = last["signed"]["roles"]["root"]["keyids"]
    last["signatures"] = [one for one in last["signatures"] if one["keyid"] == kept]
    with pytest.raises(AssertionError):
        run(tmp_path, made | {"lab-a.tocsin": json.dumps(document).encode()})


def test_a_record_of_which_less_is_disclosed_has_the_same_proof(tmp_path, made):
    proof = parse_proof(made["record.tlog-proof"].decode())
    token = RECORD.token.partition("~")[0] + "~"
    less = format_proof(LogProof(proof.index, proof.hashes, proof.checkpoint, token.encode())).encode()
    assert run(tmp_path, made | {"record.tlog-proof": less})["entry"] == entry_of(RECORD)


def proof_with(made, **parts) -> bytes:
    proof = parse_proof(made["record.tlog-proof"].decode())
    settings = {"index": proof.index, "hashes": proof.hashes, "checkpoint": proof.checkpoint, "extra": proof.extra}
    return format_proof(LogProof(**settings | parts)).encode()


def altered_signature(made) -> bytes:
    header, payload, rest = RECORD.token.split(".", 2)
    flipped = ("A" if rest[0] != "A" else "B") + rest[1:]
    return proof_with(made, extra=f"{header}.{payload}.{flipped}".encode())


def with_a_disclosure(made) -> bytes:
    return proof_with(made, extra=RECORD.token.encode() + base64.urlsafe_b64encode(b'["salt","title","x"]') + b"~")


def signed_by_another(made) -> bytes:
    proof = parse_proof(made["record.tlog-proof"].decode())
    text = proof.checkpoint.replace("\n261\n", "\n262\n")
    return proof_with(made, checkpoint=text)


def cosigned_by_nobody(made) -> bytes:
    text = parse_proof(made["record.tlog-proof"].decode()).checkpoint
    kept = [line for line in text.splitlines(keepends=True) if "aisi.example" not in line]
    return proof_with(made, checkpoint="".join(kept))


def cosigned_at_another_time(made) -> bytes:
    text = parse_proof(made["record.tlog-proof"].decode()).checkpoint
    (line,) = [line for line in text.splitlines(keepends=True) if "aisi.example" in line]
    head, _, encoded = line.rstrip("\n").rpartition(" ")
    raw = bytearray(base64.b64decode(encoded))
    raw[11] ^= 1
    return proof_with(made, checkpoint=text.replace(line, f"{head} {base64.b64encode(raw).decode()}\n"))


STEP = {
    name: number for number, name in enumerate(["tools", "keys", "letters", "1", "2", "3", "4", "5", "6", "7", "go"])
}
ALTERED = {
    "another version of the format": (
        "record.tlog-proof",
        lambda made: made["record.tlog-proof"].replace(b"@v1", b"@v2"),
        "1",
    ),
    "a record with another signature": ("record.tlog-proof", altered_signature, "2"),
    "a disclosure that nobody signed": ("record.tlog-proof", with_a_disclosure, "2"),
    "another identity document": (
        "lab-a.tocsin",
        lambda made: made["lab-a.tocsin"].replace(b'"Lab-A"', b'"Lab-B"'),
        "keys",
    ),
    "the document of somebody else": ("lab-a.tocsin", lambda made: made["aisi.tocsin"], "2"),
    "a checkpoint of another size": ("record.tlog-proof", signed_by_another, "4"),
    "no cosignature of the witness": ("record.tlog-proof", cosigned_by_nobody, "5"),
    "a cosignature with another time": ("record.tlog-proof", cosigned_at_another_time, "5"),
    "another place": ("record.tlog-proof", lambda made: proof_with(made, index=INDEX - 1), "6"),
    "a hash too few": (
        "record.tlog-proof",
        lambda made: proof_with(made, hashes=parse_proof(made["record.tlog-proof"].decode()).hashes[:-1]),
        "6",
    ),
    "an entry altered": (
        "public/tile/entries/000",
        lambda made: made["public/tile/entries/000"][:-1] + b"x",
        "7",
    ),
}


@pytest.mark.parametrize("case", ALTERED)
def test_what_was_altered_is_refused_at_its_step(tmp_path, made, case):
    name, alter, step = ALTERED[case]
    with pytest.raises((AssertionError, ValueError, subprocess.CalledProcessError)) as refused:
        run(tmp_path, made | {name: alter(made)})
    places = [frame.name for frame in refused.traceback if str(frame.path).startswith("block ")]
    files = [str(frame.path) for frame in refused.traceback if str(frame.path).startswith("block ")]
    assert places
    assert files[0] == f"block {STEP[step] + 1}"


def test_it_takes_nothing_but_pythons_own_library():
    imported = {
        name.partition(".")[0]
        for block in PYTHON
        for name in re.findall(r"^(?:from|import) ([\w., ]+?)(?: import .*)?$", block, re.M)
    }
    names = {each.strip() for line in imported for each in line.split(",")}
    assert names <= sys.stdlib_module_names
    assert names >= {"base64", "hashlib", "json", "subprocess"}


def test_every_step_that_the_command_names_is_there():
    told = re.findall(r"docs/verify\.md, (step \d|evidence)", (ROOT / "cli/tocsin_cli/offline.py").read_text())
    assert told
    for name in told:
        assert re.search(rf"^## {name}", PAGE, re.M | re.I)


def test_the_program_in_go_says_the_same(tmp_path, made):
    (program,) = [text for language, text in BLOCKS if language == "go"]
    (tmp_path / "check.go").write_text(program)
    verifier = build_verifier(tmp_path / "go", main=tmp_path / "check.go")
    run(tmp_path, made)
    arguments = (tmp_path / "arguments").read_text().split("\n")
    for index, code in ((str(INDEX), 0), (str(INDEX - 1), 1)):
        arguments[2] = index
        done = subprocess.run([verifier, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
