"""What RFC 9901 allows is accepted, and what breaks any one of its rules is refused with the reason of that rule."""

import dataclasses
import hmac
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.records.forge import NOW, Ed25519Forger, P256Forger, b64, digest, disclose
from tocsin.errors import (
    DisclosureMismatch,
    MalformedEncoding,
    MalformedIdentity,
    MalformedRecord,
    RecordExpired,
    SignatureMismatch,
    TocsinError,
    WrongAlgorithm,
)
from tocsin.records.keybinding import Binding
from tocsin.records.sdjwt import join_sdjwt, split_sdjwt, verify_sdjwt

ED = Ed25519Forger()
EC = P256Forger()
STRANGER = Ed25519Forger(seed=2)
RAW_KEY = ED.signer.public_key

A = disclose("salt-a", "a", 1)
B = disclose("salt-b", "b", {"c": [1, 2.5, None, True, "é"]})
X = disclose("salt-x", "element")
AFTER = {"sub": "s", "_sd": [A[1]], "_sd_alg": "sha-256"}


def verify(token, jwk=None):
    return verify_sdjwt(token, jwk=jwk or ED.jwk, now=NOW)


def chain(length):
    """Return a payload and disclosures of which each holds the digest of the next."""
    inner, texts = {"end": True}, []
    for step in range(length):
        text, found = disclose(f"salt-{step}", "next", inner)
        inner, texts = {"_sd": [found]}, [text, *texts]
    return inner, texts


def accepted():
    inner = disclose("1", "inner", "deep")
    outer = disclose("2", "outer", {"_sd": [inner[1]], "plain": 0})
    in_list = disclose("3", ["x", {"...": X[1]}])
    decoy = digest("decoy")
    rich = {"typ": "dc+sd-jwt", "kid": 42, "x5c": ["…"], "jwk": STRANGER.jwk, "vctm": []}
    rows = {
        "nothing disclosable": (ED.token({"a": 1}), {"a": 1}),
        "empty payload": (ED.token({}), {}),
        "empty _sd": (ED.token({"_sd": []}), {}),
        "one disclosed": (ED.token(AFTER, A), {"sub": "s", "a": 1}),
        "none disclosed": (ED.token(AFTER), {"sub": "s"}),
        "_sd_alg absent": (ED.token({"_sd": [A[1]]}, A), {"a": 1}),
        "values of every type": (ED.token({"_sd": [B[1]]}, B), {"b": {"c": [1, 2.5, None, True, "é"]}}),
        "in another order": (
            ED.token({"_sd": [B[1], decoy, A[1]]}, A, B),
            {"a": 1, "b": {"c": [1, 2.5, None, True, "é"]}},
        ),
        "nested in a plain object": (ED.token({"o": {"_sd": [A[1]]}}, A), {"o": {"a": 1}}),
        "recursive": (ED.token({"_sd": [outer[1]]}, outer, inner), {"outer": {"plain": 0, "inner": "deep"}}),
        "child before its parent": (
            ED.token({"_sd": [outer[1]]}, inner, outer),
            {"outer": {"plain": 0, "inner": "deep"}},
        ),
        "parent without its child": (ED.token({"_sd": [outer[1]]}, outer), {"outer": {"plain": 0}}),
        "list element": (ED.token({"l": [0, {"...": X[1]}, {"...": decoy}, 2]}, X), {"l": [0, "element", 2]}),
        "list element withheld": (ED.token({"l": [0, {"...": X[1]}]}), {"l": [0]}),
        "list in a list": (ED.token({"l": [{"...": in_list[1]}]}, in_list, X), {"l": [["x", "element"]]}),
        "one name at two levels": (ED.token({"a": 0, "o": {"_sd": [A[1]]}}, A), {"a": 0, "o": {"a": 1}}),
        "decoy of another length": (ED.token({"_sd": ["any text", A[1]]}, A), {"a": 1}),
        "empty salt and name": (ED.token({"_sd": [disclose("", "", 0)[1]]}, disclose("", "", 0)), {"": 0}),
        "white space in the JSON": (ED.token(b'{ "a" : 1 ,\n"b":\t2 }'), {"a": 1, "b": 2}),
        "escapes in the JSON": (ED.token(b'{"\\u0061":"\\/"}'), {"a": "/"}),
        "not expired": (ED.token({"exp": NOW + 1, "nbf": NOW, "iat": NOW}), {"exp": NOW + 1, "nbf": NOW, "iat": NOW}),
        "fractions of seconds": (ED.token({"exp": NOW + 0.5}), {"exp": NOW + 0.5}),
        "old": (ED.token({"iat": 1}), {"iat": 1}),
        "no typ": (ED.token({}, header={"alg": "EdDSA"}), {}),
        "alg by its new name": (ED.token({}, header={"alg": "Ed25519"}), {}),
        "members of the header that mean nothing here": (ED.token({}, header={"alg": "EdDSA", **rich}), {}),
        "512 disclosures": (
            ED.token(
                {"l": [{"...": disclose(str(i), i)[1]} for i in range(512)]}, *(disclose(str(i), i) for i in range(512))
            ),
            {"l": list(range(512))},
        ),
    }
    return [pytest.param(token, payload, id=name) for name, (token, payload) in rows.items()]


@pytest.mark.parametrize(("token", "payload"), accepted())
def test_what_the_rfc_allows_is_accepted(token, payload):
    assert verify(token).payload == payload


def test_an_es256_token_is_accepted():
    assert verify(EC.token(AFTER, A), EC.jwk).payload == {"sub": "s", "a": 1}


def test_members_of_the_jwk_beyond_the_key_are_not_looked_at():
    jwk = {**EC.jwk, "kid": "k", "use": "sig", "alg": "ES256", "d": "secret"}
    assert verify(EC.token(AFTER, A), jwk).payload == {"sub": "s", "a": 1}
    assert verify(ED.token(AFTER, A), {**ED.jwk, "kid": "k", "d": "secret"}).payload == {"sub": "s", "a": 1}


def test_disclosures_come_in_the_order_sent_with_their_paths():
    element = disclose("1", {"_sd": [A[1]]})
    token = ED.token({"l": ["plain", {"...": digest("decoy")}, {"...": element[1]}]}, A, element)
    found = verify(token).disclosures
    assert [(item.encoded, item.path) for item in found] == [(A[0], ("l", 1, "a")), (element[0], ("l", 1))]
    assert found[1].value == {"_sd": [A[1]]}


def broken_forms():
    good = ED.token(AFTER, A)
    header, payload, signature = ED.jwt(AFTER).split(".")
    return {
        "bare JWT": (ED.jwt(AFTER), MalformedRecord, "BAD_FORM"),
        "no tilde at the end": (good[:-1], MalformedRecord, "BAD_FORM"),
        "nothing": ("", MalformedRecord, "BAD_FORM"),
        "one tilde": ("~", MalformedRecord, "BAD_FORM"),
        "no JWT in front": ("~" + A[0] + "~", MalformedRecord, "BAD_FORM"),
        "two parts": (f"{header}.{payload}~", MalformedRecord, "BAD_FORM"),
        "four parts": (f"{header}.{payload}.{signature}.{signature}~", MalformedRecord, "BAD_FORM"),
        "key binding nobody asked for": (
            ED.token(AFTER, A, end=ED.jwt({"iat": NOW}, header={"alg": "EdDSA", "typ": "kb+jwt"})),
            MalformedRecord,
            "BAD_FORM",
        ),
        "rubbish behind the last tilde": (good + "x", MalformedRecord, "BAD_FORM"),
        "line break at the end": (good + "\n", MalformedRecord, "BAD_FORM"),
        "JSON serialisation": (json.dumps({"payload": payload, "protected": header}), MalformedRecord, "BAD_FORM"),
        "payload is a list": (ED.token([1]), MalformedRecord, "BAD_FORM"),
        "payload is no JSON": (ED.token(b"{"), MalformedEncoding, "BAD_JSON"),
        "padding in the header": (f"{header}==.{payload}.{signature}~", MalformedEncoding, "BAD_ENCODING"),
        "padding in the payload": (f"{header}.{payload}=.{signature}~", MalformedEncoding, "BAD_ENCODING"),
        "padding in the signature": (f"{header}.{payload}.{signature}==~", MalformedEncoding, "BAD_ENCODING"),
        "white space in the payload": (
            f"{header}.{payload[:8]}\n{payload[8:]}.{signature}~",
            MalformedEncoding,
            "BAD_ENCODING",
        ),
        "white space in front": (f" {good}", MalformedEncoding, "BAD_ENCODING"),
        "trailing bits in the signature": (
            f"{header}.{payload}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}~",
            MalformedEncoding,
            "BAD_ENCODING",
        ),
        "padding in a disclosure": (padded(disclose("salt", "a", 10)), MalformedEncoding, "BAD_ENCODING"),
        "white space in a disclosure": (respelled(A[0][:4] + "\n" + A[0][4:]), MalformedEncoding, "BAD_ENCODING"),
        "plain base64 in a disclosure": (
            respelled(b64(["??>>", "a", "??>>"]).replace("-", "+")),
            MalformedEncoding,
            "BAD_ENCODING",
        ),
        "trailing bits in a disclosure": (trailing_bits(), MalformedEncoding, "BAD_ENCODING"),
        "foreign letters": (f"{header}.{payload}.é~", MalformedEncoding, "BAD_ENCODING"),
        "duplicate name in the header": (
            ED.token({}, header=b'{"alg":"EdDSA","alg":"EdDSA"}'),
            MalformedEncoding,
            "BAD_JSON",
        ),
        "duplicate name in the payload": (ED.token(b'{"a":1,"a":2}'), MalformedEncoding, "BAD_JSON"),
        "duplicate name deep in the payload": (ED.token(b'{"o":[{"a":1,"a":2}]}'), MalformedEncoding, "BAD_JSON"),
        "duplicate name in a disclosure": (respelled(b64(b'["s","a",{"b":1,"b":2}]')), MalformedEncoding, "BAD_JSON"),
        "NaN": (ED.token(b'{"a":NaN}'), MalformedEncoding, "BAD_JSON"),
        "lone surrogate": (ED.token(b'{"a":"\\ud800"}'), MalformedEncoding, "BAD_JSON"),
        "invalid UTF-8": (ED.token(b'{"a":"\xff"}'), MalformedEncoding, "BAD_JSON"),
        "byte order mark": (ED.token(b'\xef\xbb\xbf{"a":1}'), MalformedEncoding, "BAD_JSON"),
        "too deep": (ED.token(b'{"a":' * 5_000 + b"1" + b"}" * 5_000), MalformedEncoding, "BAD_JSON"),
        "an integer of 5,000 digits": (ED.token(b'{"a":' + b"9" * 5_000 + b"}"), MalformedEncoding, "BAD_JSON"),
        "more than a mebibyte": (ED.token({"a": "x" * 1_000_000}), MalformedRecord, "TOO_COMPLEX"),
        "513 disclosures": (
            ED.token(
                {"_sd": [disclose(str(i), str(i), i)[1] for i in range(513)]},
                *(disclose(str(i), str(i), i) for i in range(513)),
            ),
            MalformedRecord,
            "TOO_COMPLEX",
        ),
        "100,000 decoys": (ED.token({"_sd": [digest(str(i)) for i in range(100_000)]}), MalformedRecord, "TOO_COMPLEX"),
        "a chain of 2,000": (ED.token(*flat(chain(2_000))), MalformedRecord, "TOO_COMPLEX"),
        "a chain of 40": (ED.token(*flat(chain(40))), MalformedRecord, "TOO_COMPLEX"),
    }


def flat(pair):
    payload, texts = pair
    return payload, *texts


def respelled(text):
    """Return a token whose digest is that of the disclosure's text as it is spelled."""
    return ED.token({"_sd": [digest(text)]}, text)


def padded(disclosure):
    text = disclosure[0]
    assert len(text) % 4, "this one needs no padding: choose another"
    return respelled(text + "=" * (-len(text) % 4))


def trailing_bits():
    text = disclose("salt", "a", 10)[0]
    assert len(text) % 4
    return respelled(text[:-1] + chr(ord(text[-1]) + 1))


def broken_headers():
    public = b64(RAW_KEY)
    hs256 = f"{b64({'alg': 'HS256'})}.{b64({})}"
    mac = b64(hmac.digest(RAW_KEY, hs256.encode(), "sha256"))
    text_mac = b64(hmac.digest(public.encode(), hs256.encode(), "sha256"))
    stranger = STRANGER.token({}, header={"alg": "EdDSA", "jwk": STRANGER.jwk})
    return {
        "alg none without signature": (ED.token({}, header={"alg": "none"}, signature=b""), WrongAlgorithm, "BAD_ALG"),
        "alg none with signature": (ED.token({}, header={"alg": "none"}), WrongAlgorithm, "BAD_ALG"),
        "alg NONE": (ED.token({}, header={"alg": "NONE"}, signature=b""), WrongAlgorithm, "BAD_ALG"),
        "HS256 under the public key": (f"{hs256}.{mac}~", WrongAlgorithm, "BAD_ALG"),
        "HS256 under the text of the key": (f"{hs256}.{text_mac}~", WrongAlgorithm, "BAD_ALG"),
        "no alg": (ED.token({}, header={"typ": "example+sd-jwt"}), WrongAlgorithm, "BAD_ALG"),
        "alg null": (ED.token({}, header={"alg": None}), WrongAlgorithm, "BAD_ALG"),
        "alg a list": (ED.token({}, header={"alg": ["EdDSA"]}), WrongAlgorithm, "BAD_ALG"),
        "alg in another case": (ED.token({}, header={"alg": "eddsa"}), WrongAlgorithm, "BAD_ALG"),
        "ES256 under an Ed25519 key": (ED.token({}, header={"alg": "ES256"}), WrongAlgorithm, "BAD_ALG"),
        "Ed448": (ED.token({}, header={"alg": "Ed448"}), WrongAlgorithm, "BAD_ALG"),
        "crit": (ED.token({}, header={"alg": "EdDSA", "crit": ["exp"], "exp": 1}), MalformedRecord, "BAD_HEADER"),
        "empty crit": (ED.token({}, header={"alg": "EdDSA", "crit": []}), MalformedRecord, "BAD_HEADER"),
        "b64 false": (
            ED.token({}, header={"alg": "EdDSA", "b64": False, "crit": ["b64"]}),
            MalformedRecord,
            "BAD_HEADER",
        ),
        "b64 false without crit": (ED.token({}, header={"alg": "EdDSA", "b64": False}), MalformedRecord, "BAD_HEADER"),
        "a header that is a list": (ED.token({}, header=b'["EdDSA"]'), MalformedRecord, "BAD_HEADER"),
        "a key binding as record": (ED.token({}, header={"alg": "EdDSA", "typ": "kb+jwt"}), MalformedRecord, "BAD_TYP"),
        "signed by the key that it brings": (stranger, SignatureMismatch, "BAD_SIGNATURE"),
        "signed by somebody else": (STRANGER.token({}), SignatureMismatch, "BAD_SIGNATURE"),
        "no signature": (ED.token({}, signature=b""), SignatureMismatch, "BAD_SIGNATURE"),
        "a signature cut short": (ED.token({}, signature=b"\x01" * 63), SignatureMismatch, "BAD_SIGNATURE"),
        "a signature too long": (ED.token({}, signature=b"\x01" * 65), SignatureMismatch, "BAD_SIGNATURE"),
        "S + L": (ED.token({}, signature=plus_order({})), SignatureMismatch, "BAD_SIGNATURE"),
        "another payload under the signature": (
            ED.token({"a": 2}, signature=original({"a": 1})),
            SignatureMismatch,
            "BAD_SIGNATURE",
        ),
    }


def original(payload):
    return ED.sign(f"{b64(ED.header)}.{b64(payload)}".encode())


def plus_order(payload):
    order = 2**252 + 27742317777372353535851937790883648493
    signature = original(payload)
    return signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")


def broken_disclosures():
    empty = {"_sd": [digest("")]}
    four = disclose("s", "a", 1, 2)
    two = disclose("s", 1)
    one = disclose("s")
    none = disclose()
    nested = disclose("s", "o", {"a": 0, "_sd": [A[1]]})
    same_name = disclose("other salt", "a", 2)
    holder = disclose("s", "o", {"_sd": [A[1]]})
    list_holder = disclose("s", "o", [{"...": X[1]}])
    decoy = digest("decoy")
    object_text = b64({"salt": "s"})
    return {
        "unreferenced": (ED.token({"_sd": [A[1]]}, A, B), DisclosureMismatch, "BAD_DISCLOSURE"),
        "unreferenced, of no digests at all": (ED.token({}, A), DisclosureMismatch, "BAD_DISCLOSURE"),
        "referenced from a parent not sent": (ED.token({"_sd": [holder[1]]}, A), DisclosureMismatch, "BAD_DISCLOSURE"),
        "digest is only a plain value": (ED.token({"x": A[1]}, A), DisclosureMismatch, "BAD_DISCLOSURE"),
        "changed": (ED.token(AFTER, disclose("salt-a", "a", 2)), DisclosureMismatch, "BAD_DISCLOSURE"),
        "digest with padding": (ED.token({"_sd": [A[1] + "="]}, A), DisclosureMismatch, "BAD_DISCLOSURE"),
        "sent twice": (ED.token(AFTER, A, A), DisclosureMismatch, "BAD_DISCLOSURE"),
        "empty": (ED.token(AFTER, A, ""), DisclosureMismatch, "BAD_DISCLOSURE"),
        "empty, with its digest": (ED.token(empty, ""), DisclosureMismatch, "BAD_DISCLOSURE"),
        "four items": (ED.token({"_sd": [four[1]]}, four), DisclosureMismatch, "BAD_DISCLOSURE"),
        "four items in a list": (ED.token({"l": [{"...": four[1]}]}, four), DisclosureMismatch, "BAD_DISCLOSURE"),
        "one item": (ED.token({"_sd": [one[1]]}, one), DisclosureMismatch, "BAD_DISCLOSURE"),
        "one item in a list": (ED.token({"l": [{"...": one[1]}]}, one), DisclosureMismatch, "BAD_DISCLOSURE"),
        "no item": (ED.token({"_sd": [none[1]]}, none), DisclosureMismatch, "BAD_DISCLOSURE"),
        "an element in _sd": (ED.token({"_sd": [two[1]]}, two), DisclosureMismatch, "BAD_DISCLOSURE"),
        "a member in a list": (ED.token({"l": [{"...": A[1]}]}, A), DisclosureMismatch, "BAD_DISCLOSURE"),
        "an object": (ED.token({"_sd": [digest(object_text)]}, object_text), DisclosureMismatch, "BAD_DISCLOSURE"),
        "a text": (ED.token({"_sd": [digest(b64('"abc"'))]}, b64('"abc"')), DisclosureMismatch, "BAD_DISCLOSURE"),
        "salt a number": (held(disclose(1, "a", 1)), DisclosureMismatch, "BAD_DISCLOSURE"),
        "salt null": (held(disclose(None, "a", 1)), DisclosureMismatch, "BAD_DISCLOSURE"),
        "name a number": (held(disclose("s", 1, 1)), DisclosureMismatch, "BAD_DISCLOSURE"),
        "name null": (held(disclose("s", None, 1)), DisclosureMismatch, "BAD_DISCLOSURE"),
        "salt of an element a list": (
            ED.token({"l": [{"...": disclose([], 1)[1]}]}, disclose([], 1)),
            DisclosureMismatch,
            "BAD_DISCLOSURE",
        ),
        "name _sd": (held(disclose("s", "_sd", ["x"])), DisclosureMismatch, "CLAIM_COLLISION"),
        "name ...": (held(disclose("s", "...", "x")), DisclosureMismatch, "CLAIM_COLLISION"),
        "name __proto__": (held(disclose("s", "__proto__", {})), DisclosureMismatch, "CLAIM_COLLISION"),
        "name _sd deep inside": (
            ED.token({"o": {"p": {"_sd": [disclose("s", "_sd", [])[1]]}}}, disclose("s", "_sd", [])),
            DisclosureMismatch,
            "CLAIM_COLLISION",
        ),
        "name _sd_alg": (held(disclose("s", "_sd_alg", "sha-256")), MalformedRecord, "BAD_HASH"),
        "a plain claim's name": (ED.token({"a": 1, "_sd": [A[1]]}, A), DisclosureMismatch, "CLAIM_COLLISION"),
        "a plain claim's name, deep inside": (
            ED.token({"o": [{"a": 1, "_sd": [A[1]]}]}, A),
            DisclosureMismatch,
            "CLAIM_COLLISION",
        ),
        "a plain claim's name inside a disclosure": (
            ED.token({"_sd": [nested[1]]}, nested, A),
            DisclosureMismatch,
            "CLAIM_COLLISION",
        ),
        "iss again": (
            ED.token({"iss": "i", "_sd": [disclose("s", "iss", "j")[1]]}, disclose("s", "iss", "j")),
            DisclosureMismatch,
            "CLAIM_COLLISION",
        ),
        "another disclosure's name": (
            ED.token({"_sd": [A[1], same_name[1]]}, A, same_name),
            DisclosureMismatch,
            "CLAIM_COLLISION",
        ),
        "digest twice in one _sd": (ED.token({"_sd": [A[1], A[1]]}, A), DisclosureMismatch, "DUP_DIGEST"),
        "digest twice, undisclosed": (ED.token({"_sd": [decoy, decoy]}), DisclosureMismatch, "DUP_DIGEST"),
        "digest in two objects": (ED.token({"_sd": [A[1]], "o": {"_sd": [A[1]]}}, A), DisclosureMismatch, "DUP_DIGEST"),
        "digest in two objects, undisclosed": (
            ED.token({"o": {"_sd": [decoy]}, "p": {"_sd": [decoy]}}),
            DisclosureMismatch,
            "DUP_DIGEST",
        ),
        "digest twice in a list": (
            ED.token({"l": [{"...": X[1]}, {"...": X[1]}]}, X),
            DisclosureMismatch,
            "DUP_DIGEST",
        ),
        "digest twice in a list, undisclosed": (
            ED.token({"l": [{"...": decoy}, {"...": decoy}]}),
            DisclosureMismatch,
            "DUP_DIGEST",
        ),
        "digest in _sd and in a list": (
            ED.token({"_sd": [A[1]], "l": [{"...": A[1]}]}, A),
            DisclosureMismatch,
            "DUP_DIGEST",
        ),
        "digest again inside a disclosure": (
            ED.token({"_sd": [A[1], holder[1]]}, A, holder),
            DisclosureMismatch,
            "DUP_DIGEST",
        ),
        "digest again in a disclosed list": (
            ED.token({"_sd": [list_holder[1]], "l": [{"...": X[1]}]}, X, list_holder),
            DisclosureMismatch,
            "DUP_DIGEST",
        ),
    }


def held(disclosure):
    return ED.token({"_sd": [disclosure[1]]}, disclosure)


def broken_structures():
    decoy = digest("decoy")
    element = disclose("s", {"...": decoy})
    return {
        "_sd a text": (ED.token({"_sd": A[1]}, A), MalformedRecord, "BAD_STRUCTURE"),
        "_sd null": (ED.token({"_sd": None}), MalformedRecord, "BAD_STRUCTURE"),
        "_sd an object": (ED.token({"_sd": {A[1]: 1}}, A), MalformedRecord, "BAD_STRUCTURE"),
        "_sd with a number": (ED.token({"_sd": [A[1], 1]}, A), MalformedRecord, "BAD_STRUCTURE"),
        "_sd with a list": (ED.token({"_sd": [[A[1]]]}), MalformedRecord, "BAD_STRUCTURE"),
        "_sd with an object": (ED.token({"_sd": [{"...": A[1]}]}), MalformedRecord, "BAD_STRUCTURE"),
        "_sd a text, deep inside": (ED.token({"o": [{"_sd": "x"}]}), MalformedRecord, "BAD_STRUCTURE"),
        "_sd a text, inside a disclosure": (held(disclose("s", "o", {"_sd": "x"})), MalformedRecord, "BAD_STRUCTURE"),
        "... beside another member": (ED.token({"l": [{"...": X[1], "x": 1}]}, X), MalformedRecord, "BAD_STRUCTURE"),
        "... beside _sd": (ED.token({"l": [{"...": X[1], "_sd": []}]}, X), MalformedRecord, "BAD_STRUCTURE"),
        "... with a number": (ED.token({"l": [{"...": 1}]}), MalformedRecord, "BAD_STRUCTURE"),
        "... with a list": (ED.token({"l": [{"...": [X[1]]}]}, X), MalformedRecord, "BAD_STRUCTURE"),
        "... with null": (ED.token({"l": [{"...": None}]}), MalformedRecord, "BAD_STRUCTURE"),
        "... at the top": (ED.token({"...": X[1]}, X), MalformedRecord, "BAD_STRUCTURE"),
        "... in an object": (ED.token({"o": {"...": X[1]}}, X), MalformedRecord, "BAD_STRUCTURE"),
        "... as the value of a disclosed member": (
            held(disclose("s", "o", {"...": decoy})),
            MalformedRecord,
            "BAD_STRUCTURE",
        ),
        "... as the value of a disclosed element": (
            ED.token({"l": [{"...": element[1]}]}, element),
            MalformedRecord,
            "BAD_STRUCTURE",
        ),
        "_sd_alg unknown": (ED.token({"_sd": [A[1]], "_sd_alg": "md5"}, A), MalformedRecord, "BAD_HASH"),
        "_sd_alg in another case": (ED.token({"_sd": [A[1]], "_sd_alg": "SHA-256"}, A), MalformedRecord, "BAD_HASH"),
        "_sd_alg of a truncated hash": (
            ED.token({"_sd": [A[1]], "_sd_alg": "sha-256-128"}, A),
            MalformedRecord,
            "BAD_HASH",
        ),
        "_sd_alg null": (ED.token({"_sd_alg": None}), MalformedRecord, "BAD_HASH"),
        "_sd_alg a list": (ED.token({"_sd_alg": ["sha-256"]}), MalformedRecord, "BAD_HASH"),
        "_sd_alg in an object": (ED.token({"o": {"_sd_alg": "sha-256"}}), MalformedRecord, "BAD_HASH"),
        "_sd_alg in a list": (ED.token({"l": [{"_sd_alg": "sha-256"}]}), MalformedRecord, "BAD_HASH"),
        "_sd_alg inside a disclosure": (held(disclose("s", "o", {"_sd_alg": "sha-256"})), MalformedRecord, "BAD_HASH"),
    }


def broken_times():
    hidden = disclose("s", "exp", NOW - 1)
    early = disclose("s", "nbf", NOW + 1)
    return {
        "expired": (ED.token({"exp": NOW - 1}), RecordExpired, "NOT_VALID_NOW"),
        "expired this second": (ED.token({"exp": NOW}), RecordExpired, "NOT_VALID_NOW"),
        "not valid yet": (ED.token({"nbf": NOW + 1}), RecordExpired, "NOT_VALID_NOW"),
        "issued tomorrow": (ED.token({"iat": NOW + 86_400}), RecordExpired, "NOT_VALID_NOW"),
        "expired by a disclosure": (ED.token({"_sd": [hidden[1]]}, hidden), RecordExpired, "NOT_VALID_NOW"),
        "not valid yet by a disclosure": (ED.token({"_sd": [early[1]]}, early), RecordExpired, "NOT_VALID_NOW"),
        "exp a text": (ED.token({"exp": str(NOW + 1)}), MalformedRecord, "BAD_CLAIM"),
        "exp null": (ED.token({"exp": None}), MalformedRecord, "BAD_CLAIM"),
        "exp true": (ED.token({"exp": True}), MalformedRecord, "BAD_CLAIM"),
        "nbf a list": (ED.token({"nbf": [NOW]}), MalformedRecord, "BAD_CLAIM"),
    }


BROKEN = broken_forms() | broken_headers() | broken_disclosures() | broken_structures() | broken_times()


@pytest.mark.parametrize(("token", "error", "reason"), [pytest.param(*row, id=name) for name, row in BROKEN.items()])
def test_what_breaks_a_rule_is_refused_with_its_reason(token, error, reason):
    with pytest.raises(error) as refusal:
        verify(token)
    assert type(refusal.value) is error
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        pytest.param(lambda data: EC.sign_der(data), "BAD_SIGNATURE", id="DER instead of r || s"),
        pytest.param(lambda _: bytes(64), "BAD_SIGNATURE", id="r and s zero"),
        pytest.param(lambda data: EC.sign(data)[:63], "BAD_SIGNATURE", id="cut short"),
        pytest.param(lambda data: EC.sign(data + b"x"), "BAD_SIGNATURE", id="of something else"),
    ],
)
def test_an_es256_signature_of_another_form_is_refused(signature, reason):
    data = f"{b64(EC.header)}.{b64(AFTER)}".encode()
    with pytest.raises(SignatureMismatch) as refusal:
        verify(EC.token(AFTER, A, signature=signature(data)), EC.jwk)
    assert refusal.value.reason == reason


def test_the_label_of_the_token_never_chooses_the_algorithm():
    with pytest.raises(WrongAlgorithm):
        verify(EC.token(AFTER, A, header={"alg": "EdDSA"}), EC.jwk)


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        pytest.param({}, "BAD_IDENTITY", id="empty"),
        pytest.param({"kty": "oct", "k": "AA"}, "BAD_IDENTITY", id="a shared secret"),
        pytest.param({"kty": "RSA", "n": "AA", "e": "AQAB"}, "BAD_IDENTITY", id="RSA"),
        pytest.param({**ED.jwk, "crv": "X25519"}, "BAD_IDENTITY", id="a key for agreement"),
        pytest.param({**EC.jwk, "crv": "P-384"}, "BAD_IDENTITY", id="another curve"),
        pytest.param({**EC.jwk, "x": b64(b"\x01")}, "BAD_IDENTITY", id="a short coordinate"),
        pytest.param({**EC.jwk, "x": EC.jwk["y"]}, "WEAK_KEY", id="a point off the curve"),
        pytest.param({**ED.jwk, "x": b64(bytes(32))}, "WEAK_KEY", id="a point of low order"),
    ],
)
def test_a_key_of_another_kind_is_refused(jwk, reason):
    with pytest.raises(MalformedIdentity) as refusal:
        verify_sdjwt(ED.token({}), jwk=jwk, now=NOW)
    assert refusal.value.reason == reason


def test_joining_the_parts_gives_the_token_back():
    token = ED.token(AFTER, A)
    parts = split_sdjwt(token)
    assert join_sdjwt(parts.issuer_jwt, parts.disclosures) == token
    assert verify(join_sdjwt(parts.issuer_jwt, ())).payload == {"sub": "s"}


HOLDER = P256Forger(secret=11)
BINDING = Binding(nonce="n-1", audience="https://verifier.example")
BOUND = ED.token({**AFTER, "cnf": {"jwk": HOLDER.jwk}}, A)
KB_HEADER = {"alg": "ES256", "typ": "kb+jwt"}
KB_CLAIMS = {"iat": NOW, "nonce": "n-1", "aud": "https://verifier.example", "sd_hash": digest(BOUND)}


def bind(header=None, holder=HOLDER, token=BOUND, **claims):
    merged = {name: value for name, value in (KB_CLAIMS | claims).items() if value is not None}
    return token + holder.jwt(merged, header=KB_HEADER if header is None else header)


def test_a_key_binding_is_accepted_where_it_is_expected():
    found = verify_sdjwt(bind(), jwk=ED.jwk, now=NOW, binding=BINDING)
    assert found.payload["a"] == 1


@pytest.mark.parametrize(
    ("token", "error", "reason"),
    [
        pytest.param(BOUND, MalformedRecord, "BAD_FORM", id="missing"),
        pytest.param(bind(nonce="n-2"), MalformedRecord, "BAD_CLAIM", id="another nonce"),
        pytest.param(bind(aud="https://other.example"), MalformedRecord, "BAD_CLAIM", id="another audience"),
        pytest.param(bind(nonce=None), MalformedRecord, "BAD_CLAIM", id="no nonce"),
        pytest.param(bind(iat=None), MalformedRecord, "MISSING_CLAIM", id="no time"),
        pytest.param(bind(iat=NOW - 301), RecordExpired, "NOT_VALID_NOW", id="stale"),
        pytest.param(bind(iat=NOW + 301), RecordExpired, "NOT_VALID_NOW", id="from the future"),
        pytest.param(bind(sd_hash=digest("x")), DisclosureMismatch, "BAD_DISCLOSURE", id="of other disclosures"),
        pytest.param(bind(holder=P256Forger(secret=12)), SignatureMismatch, "BAD_SIGNATURE", id="by another holder"),
        pytest.param(bind({"alg": "ES256", "typ": "jwt"}), MalformedRecord, "BAD_TYP", id="of another type"),
        pytest.param(bind({**KB_HEADER, "alg": "none"}), WrongAlgorithm, "BAD_ALG", id="unsigned"),
        pytest.param(bind({**KB_HEADER, "crit": ["x"]}), MalformedRecord, "BAD_HEADER", id="with extensions"),
        pytest.param(
            bind(token=ED.token(AFTER, A), sd_hash=digest(ED.token(AFTER, A))),
            MalformedRecord,
            "MISSING_CLAIM",
            id="no key to bind to",
        ),
    ],
)
def test_a_key_binding_that_breaks_a_rule_is_refused(token, error, reason):
    with pytest.raises(error) as refusal:
        verify_sdjwt(token, jwk=ED.jwk, now=NOW, binding=BINDING)
    assert refusal.value.reason == reason


def test_what_was_verified_does_not_change():
    found = verify(ED.token(AFTER, A))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.payload = {}


def test_a_token_with_any_character_changed_or_left_out_is_refused():
    token = ED.token({**AFTER, "l": [{"...": X[1]}]}, A, X)
    verify(token)
    for at, character in enumerate(token):
        other = "A" if character != "A" else "B"
        for damaged in (token[:at] + other + token[at + 1 :], token[:at] + token[at + 1 :]):
            with pytest.raises(TocsinError):
                verify(damaged)


NAMES = st.sampled_from(["a", "b", "_sd", "...", "_sd_alg", "exp", "iat", "cnf"])
DIGESTS = st.sampled_from([A[1], B[1], X[1], digest("decoy"), "sha-256"])
CLAIMS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | DIGESTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200)
@given(st.dictionaries(NAMES, CLAIMS, max_size=4), st.lists(st.sampled_from([A, B, X]), max_size=3))
def test_whatever_an_issuer_signs_is_read_or_refused_and_never_breaks_the_reader(payload, disclosures):
    try:
        found = verify(ED.token(payload, *disclosures))
    except TocsinError:
        return
    assert len(found.disclosures) == len(disclosures)
    assert not names_in(found.payload) & {"_sd", "...", "_sd_alg"}


def names_in(value):
    if isinstance(value, dict):
        return set(value).union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()
