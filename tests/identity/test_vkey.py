import base64

import pytest

from tests.support.organisations import signer
from tocsin.errors import MalformedIdentity
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, log_name, parse_vkey, witness_name

# The example key of golang.org/x/mod/sumdb/note, which the C2SP text grew out of.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
LOG = "lab-a.example/tocsin"
KEY = signer("log").public_key
GOOD = format_vkey(LOG, algorithm=NoteAlgorithm.ED25519, public_key=KEY)


def test_a_key_of_another_implementation_is_read_and_written_the_same():
    key = parse_vkey(GO_VKEY, name="PeterNeumann", algorithm=NoteAlgorithm.ED25519)
    assert format_vkey("PeterNeumann", algorithm=NoteAlgorithm.ED25519, public_key=key) == GO_VKEY


def test_log_and_witness_have_names_of_their_own():
    assert log_name("lab-a.example") == LOG
    assert witness_name("lab-a.example") == "lab-a.example/witness"


def test_one_key_has_another_hash_under_another_name_or_algorithm():
    others = {
        format_vkey(LOG, algorithm=NoteAlgorithm.COSIGNATURE_V1, public_key=KEY).split("+")[1],
        format_vkey("lab-b.example/tocsin", algorithm=NoteAlgorithm.ED25519, public_key=KEY).split("+")[1],
    }
    assert len(others | {GOOD.split("+")[1]}) == 3


NAME, HASH, ENCODED = GOOD.split("+", 2)
BAD = {
    "empty": "",
    "another name": GOOD.replace("lab-a", "lab-b"),
    "another hash": f"{NAME}+00000000+{ENCODED}",
    "hash in upper case": f"{NAME}+{HASH.upper()}+{ENCODED}" if HASH.upper() != HASH else "",
    "no hash": f"{NAME}+{ENCODED}",
    "no padding or more": f"{GOOD}=",
    "newline": f"{GOOD}\n",
    "white space inside": f"{NAME}+{HASH}+ {ENCODED}",
    "not base64": f"{NAME}+{HASH}+!!!!",
    "not ASCII": f"{NAME}+{HASH}+ä",
    "another algorithm": format_vkey(LOG, algorithm=NoteAlgorithm.COSIGNATURE_V1, public_key=KEY),
    "short key": format_vkey(LOG, algorithm=NoteAlgorithm.ED25519, public_key=KEY[:-1]),
    "key of low order": format_vkey(LOG, algorithm=NoteAlgorithm.ED25519, public_key=bytes(32)),
    "only an algorithm": f"{NAME}+{HASH}+{base64.b64encode(bytes([1])).decode()}",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_any_other_spelling_of_a_verifier_key_is_refused(text):
    with pytest.raises(MalformedIdentity) as refusal:
        parse_vkey(text, name=LOG, algorithm=NoteAlgorithm.ED25519)
    weak = text in (BAD["short key"], BAD["key of low order"])
    assert refusal.value.reason == ("WEAK_KEY" if weak else "BAD_IDENTITY")
