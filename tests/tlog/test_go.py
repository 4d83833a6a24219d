"""Go's own notes and trees accept what we sign and prove, and nothing that was altered.

The verifier is `verifier.go`, built against golang.org/x/mod/sumdb as it comes
with Go: it shares no line with ours.
"""

import base64

import pytest

from tests.support.organisations import NOW, signer
from tests.tlog.forge import ENTRIES, NODES, ORIGIN, checkpoint, cosigned, log_vkey, signed, witness_vkey
from tests.tlog.golang import ASK_SECONDS, BUILD_SECONDS, ask, words
from tests.tlog.reference import entries_of, kept
from tocsin.tlog.checkpoint import sign_checkpoint, verify_checkpoint
from tocsin.tlog.merkle import consistency_proof, inclusion_proof

AISI, UNI = "aisi.example/witness", "uni.example/witness"
FORK = kept(entries_of(20, seed="fork"))
B = signer("b")


def inclusion(index: int, size: int, *, entry: bytes = b"", text: str = "", proof: tuple[bytes, ...] = ()) -> str:
    hashes = proof or inclusion_proof(index, size, NODES)
    return words("inclusion", text or signed(size), log_vkey(), index, entry or ENTRIES[index], *hashes)


def consistency(old: int, new: int, *, text: str = "", proof: tuple[bytes, ...] = ()) -> str:
    hashes = proof or consistency_proof(old, new, NODES)
    return words("consistency", signed(old), text or signed(new), log_vkey(), *hashes)


GOOD = signed(12)
COSIGNED = cosigned(cosigned(GOOD, AISI, at=NOW - 9), UNI)
LINE = COSIGNED.removeprefix(GOOD).partition("\n")[0]
PROOF, PATH = consistency_proof(5, 12, NODES), inclusion_proof(7, 12, NODES)
FORKED = sign_checkpoint(checkpoint(12, nodes=FORK), signer=signer("lab-a.example log"))

ACCEPTED = {
    "a checkpoint": words("note", GOOD, log_vkey()),
    "one of the empty tree": words("note", signed(0), log_vkey()),
    "one with cosignatures": words("note", COSIGNED, log_vkey(), witness_vkey(AISI), witness_vkey(UNI)),
    "one with cosignatures of unknown keys": words("note", COSIGNED, log_vkey()),
    **{f"entry {i} of {n}": inclusion(i, n) for n in (1, 2, 7, 8, 20) for i in range(n)},
    **{f"a tree of {o} in one of {n}": consistency(o, n) for n in (1, 2, 7, 8, 20) for o in range(1, n + 1)},
}
REFUSED = {
    "a checkpoint with another size": words("note", GOOD.replace("\n12\n", "\n13\n"), log_vkey()),
    "another origin": words("note", GOOD.replace("lab-a.example/tocsin\n1", "lab-b.example/tocsin\n1"), log_vkey()),
    "another log's key": words("note", GOOD, log_vkey(of=B)),
    "its key under another name": words("note", GOOD, log_vkey("lab-b.example/tocsin")),
    "no empty line": words("note", GOOD.replace("\n\n", "\n"), log_vkey()),
    "CRLF": words("note", GOOD.replace("\n", "\r\n"), log_vkey()),
    "bytes behind it": words("note", GOOD + "x", log_vkey()),
    "another dash": words("note", GOOD.replace("—", "–"), log_vkey()),
    "a cosignature of another checkpoint": words("note", signed(11) + LINE + "\n", log_vkey(), witness_vkey(AISI)),
    "a cosignature under another key": words("note", COSIGNED, log_vkey(), witness_vkey(AISI, B)),
    "another entry": inclusion(7, 12, entry=ENTRIES[8]),
    "a hash altered": inclusion(7, 12, proof=(bytes(32), *PATH[1:])),
    "a hash too few": inclusion(7, 12, proof=PATH[:-1]),
    "a hash too many": inclusion(7, 12, proof=(*PATH, bytes(32))),
    "a root of another tree": inclusion(7, 12, text=FORKED),
    "a checkpoint by somebody else": inclusion(7, 12, text=signed(12, B)),
    "a fork": consistency(5, 12, text=FORKED),
    "another proof": consistency(5, 12, proof=consistency_proof(5, 12, FORK)),
    "a proof without its end": consistency(5, 12, proof=PROOF[:-1]),
    "a proof for other sizes": consistency(5, 12, proof=consistency_proof(6, 12, NODES)),
}
SIGNED_THERE = words("sign", b"\x07" * 32, ORIGIN, checkpoint(12).body())


@pytest.mark.timeout(BUILD_SECONDS + ASK_SECONDS)
def test_go_accepts_what_we_sign_and_prove_and_refuses_what_was_altered(go):
    questions = {**ACCEPTED, **REFUSED, "signed there": SIGNED_THERE}
    answers = dict(zip(questions, ask(go, questions.values()), strict=True))
    vkey, note = (base64.b64decode(word) for word in answers.pop("signed there").split())
    assert {name: said for name, said in answers.items() if said != "yes" and name in ACCEPTED} == {}
    assert [name for name in REFUSED if not answers[name].startswith("no: ")] == []
    assert verify_checkpoint(note, origin=ORIGIN, vkeys=[vkey.decode()]).checkpoint == checkpoint(12)
