"""Each attack on a record is refused with its reason, though the issuer's real key has signed it."""

import time

import pytest

from tests.records.forge import RecordForger, b64, digest, disclose
from tests.support.organisations import NOW, found
from tocsin.errors import (
    DisclosureMismatch,
    MalformedContent,
    MalformedEncoding,
    MalformedRecord,
    RecordExpired,
    SignatureMismatch,
    UntrustedIssuer,
    WrongAlgorithm,
)
from tocsin.records.record import parse_record

A = found("lab-a.example")
B = found("lab-b.example")
FORGE = RecordForger(A)
SOUND = FORGE.token(FORGE.claims())
SKEW = 300

# Whoever discloses a group in one piece discloses what a policy withholds inside it.
UNFOLDED = (MalformedRecord, "BAD_STRUCTURE")


def verify(token, *, now=NOW):
    return parse_record(token).verify(A.organisation, now=now)


def with_header(**changes):
    header = {name: value for name, value in (FORGE.header | changes).items() if value is not None}
    return FORGE.token(FORGE.claims(), header=header)


def with_content(content, *disclosures):
    return FORGE.token(FORGE.claims(content=content), *disclosures)


def with_claims(*disclosures, **changes):
    return FORGE.token(FORGE.claims(**changes), *disclosures)


def headers():
    attacker = {"kty": "OKP", "crv": "Ed25519", "x": b64(B.record.public_key)}
    unsigned = FORGE.token(FORGE.claims(), header=FORGE.header | {"alg": "none"}, signature=b"")
    return {
        "1 alg none": (unsigned, WrongAlgorithm, "BAD_ALG"),
        "1 alg HS256": (with_header(alg="HS256"), WrongAlgorithm, "BAD_ALG"),
        "1 alg missing": (with_header(alg=None), WrongAlgorithm, "BAD_ALG"),
        "1 alg ES256": (with_header(alg="ES256"), WrongAlgorithm, "BAD_ALG"),
        "1 alg in another case": (with_header(alg="ED25519"), WrongAlgorithm, "BAD_ALG"),
        "1 alg before an unknown key": (with_header(alg="none", kid="nobody's"), WrongAlgorithm, "BAD_ALG"),
        "2 crit": (with_header(crit=["exp"]), MalformedRecord, "BAD_HEADER"),
        "2 b64 false": (with_header(b64=False), MalformedRecord, "BAD_HEADER"),
        "2 jwk": (with_header(jwk=attacker), MalformedRecord, "BAD_HEADER"),
        "2 jku": (with_header(jku="https://evil.example/jwks"), MalformedRecord, "BAD_HEADER"),
        "2 x5c": (with_header(x5c=["AA"]), MalformedRecord, "BAD_HEADER"),
        "2 x5u": (with_header(x5u="https://evil.example/x"), MalformedRecord, "BAD_HEADER"),
        "2 any other member": (with_header(cty="x"), MalformedRecord, "BAD_HEADER"),
        "2 kid missing": (with_header(kid=None), MalformedRecord, "BAD_HEADER"),
        "2 kid a number": (with_header(kid=42), MalformedRecord, "BAD_HEADER"),
        "3 kid of another organisation": (with_header(kid=B.record.key_id), UntrustedIssuer, "KEY_NOT_OF_ISSUER"),
        "3 kid of the delivery key": (with_header(kid=A.delivery.key_id), UntrustedIssuer, "KEY_NOT_OF_ISSUER"),
        "3 iss of another organisation": (with_claims(iss="lab-b.example"), UntrustedIssuer, "KEY_NOT_OF_ISSUER"),
        "4 typ missing": (with_header(typ=None), MalformedRecord, "BAD_TYP"),
        "4 a page": (with_header(typ="tocsin-page+jwt"), MalformedRecord, "BAD_TYP"),
        "4 a receipt": (with_header(typ="tocsin-receipt+jwt"), MalformedRecord, "BAD_TYP"),
        "4 a key binding": (with_header(typ="kb+jwt"), MalformedRecord, "BAD_TYP"),
        "4 typ in another case": (with_header(typ="Tocsin-Record+SD-JWT"), MalformedRecord, "BAD_TYP"),
        "5 duplicate name in the header": (
            FORGE.token(FORGE.claims(), header=b'{"alg":"Ed25519","alg":"Ed25519"}'),
            MalformedEncoding,
            "BAD_JSON",
        ),
        "7 signature of something else": (
            FORGE.token(FORGE.claims(), signature=FORGE.sign(b"x")),
            SignatureMismatch,
            "BAD_SIGNATURE",
        ),
        "7 R of low order": (
            FORGE.token(FORGE.claims(), signature=bytes([1]) + bytes(63)),
            SignatureMismatch,
            "BAD_SIGNATURE",
        ),
        "7 padding": (SOUND.replace(".", "=.", 1), MalformedEncoding, "BAD_ENCODING"),
        "7 white space": (SOUND.replace(".", ".\n", 1), MalformedEncoding, "BAD_ENCODING"),
        "16 bare JWT": (SOUND[:-1], MalformedRecord, "BAD_FORM"),
        "16 a key binding behind it": (SOUND + FORGE.jwt({}), MalformedRecord, "BAD_FORM"),
        "16 nothing": ("", MalformedRecord, "BAD_FORM"),
    }


def bodies():
    nested = b'{"iss":"lab-a.example","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    return {
        "5 duplicate name in the payload": (FORGE.token(b'{"tlp":"RED","tlp":"CLEAR"}'), MalformedEncoding, "BAD_JSON"),
        "6 NaN": (FORGE.token(b'{"iss":"lab-a.example","iat":NaN}'), MalformedEncoding, "BAD_JSON"),
        "6 lone surrogate": (FORGE.token(b'{"iss":"\\ud800"}'), MalformedEncoding, "BAD_JSON"),
        "6 invalid UTF-8": (FORGE.token(b'{"iss":"\xff"}'), MalformedEncoding, "BAD_JSON"),
        "6 200,000 levels": (FORGE.token(nested), MalformedEncoding, "BAD_JSON"),
        "6 an integer of 5,000 digits": (FORGE.token(b'{"iat":' + b"9" * 5_000 + b"}"), MalformedEncoding, "BAD_JSON"),
        "6 byte order mark": (FORGE.token(b"\xef\xbb\xbf{}"), MalformedEncoding, "BAD_JSON"),
        "6 a payload that is a list": (FORGE.token([]), MalformedRecord, "BAD_FORM"),
        "13 100,000 decoys": (
            with_content({"_sd": [digest(str(number)) for number in range(100_000)]}),
            MalformedRecord,
            "TOO_COMPLEX",
        ),
        "13 a chain of 2,000": (with_content(*chain(2_000)), MalformedRecord, "TOO_COMPLEX"),
        "13 a chain of 100": (with_content(*chain(100)), MalformedRecord, "TOO_COMPLEX"),
    }


def chain(length):
    inner, texts = {"_sd": []}, []
    for step in range(length):
        text, found_digest = disclose(f"salt-{step}", "next", inner)
        inner, texts = {"_sd": [found_digest]}, [text, *texts]
    return inner, *texts


def disclosures():
    title = disclose("salt", "title", "T")
    other = disclose("another salt", "title", "U")
    element = disclose("salt", "x")
    group = disclose("salt", "ssvc", {"decision": "act"})
    listed = disclose("salt", "cwe", ["CWE-1"])
    half = disclose("salt", "cwe", [{"...": digest("x")}, "CWE-1"])
    holder = disclose("salt", "ssvc", {"_sd": [title[1]]})
    return {
        "5 duplicate name in a disclosure": (raw(b'["s","title",{"a":1,"a":2}]'), MalformedEncoding, "BAD_JSON"),
        "7 padding in a disclosure": (respelled(b64(["salt", "title", ""]) + "="), MalformedEncoding, "BAD_ENCODING"),
        "8 digest twice": (with_content({"_sd": [title[1]] * 2}, title), DisclosureMismatch, "DUP_DIGEST"),
        "8 digest twice, undisclosed": (with_content({"_sd": [title[1]] * 2}), DisclosureMismatch, "DUP_DIGEST"),
        "8 digest again in a disclosure": (
            with_content({"_sd": [title[1], holder[1]]}, title, holder),
            DisclosureMismatch,
            "DUP_DIGEST",
        ),
        "9 unreferenced": (with_content({"_sd": []}, title), DisclosureMismatch, "BAD_DISCLOSURE"),
        "9 sent twice": (with_content({"_sd": [title[1]]}, title, title), DisclosureMismatch, "BAD_DISCLOSURE"),
        "9 empty": (with_content({"_sd": [title[1]]}, title, ""), DisclosureMismatch, "BAD_DISCLOSURE"),
        "9 four items": (raw(b'["s","title","T",1]'), DisclosureMismatch, "BAD_DISCLOSURE"),
        "9 an element in _sd": (with_content({"_sd": [element[1]]}, element), DisclosureMismatch, "BAD_DISCLOSURE"),
        "9 salt a number": (raw(b'[1,"title","T"]'), DisclosureMismatch, "BAD_DISCLOSURE"),
        "10 name _sd": (raw(b'["s","_sd",[]]'), DisclosureMismatch, "CLAIM_COLLISION"),
        "10 name ...": (raw(b'["s","...","x"]'), DisclosureMismatch, "CLAIM_COLLISION"),
        "10 name __proto__": (raw(b'["s","__proto__","x"]'), DisclosureMismatch, "CLAIM_COLLISION"),
        "10 a name that stands there": (
            with_content({"title": "V", "_sd": [title[1]]}, title),
            DisclosureMismatch,
            "CLAIM_COLLISION",
        ),
        "10 two disclosures of one name": (
            with_content({"_sd": [title[1], other[1]]}, title, other),
            DisclosureMismatch,
            "CLAIM_COLLISION",
        ),
        "10 tlp injected": (injected("tlp", "CLEAR"), DisclosureMismatch, "CLAIM_COLLISION"),
        "10 iss injected": (injected("iss", "lab-b.example"), DisclosureMismatch, "CLAIM_COLLISION"),
        "10 a name that reads as a path": (raw(b'["s","ssvc.decision","act"]'), MalformedRecord, "BAD_CLAIM"),
        "10 a plain name that reads as a path": (with_content({"subjects[*].name": "x"}), MalformedRecord, "BAD_CLAIM"),
        "11 _sd_alg unknown": (with_claims(_sd_alg="md5"), MalformedRecord, "BAD_HASH"),
        "11 _sd_alg truncated": (with_claims(_sd_alg="sha-256-32"), MalformedRecord, "BAD_HASH"),
        "11 _sd_alg in content": (with_content({"_sd_alg": "sha-256"}), MalformedRecord, "BAD_HASH"),
        "12 ... in an object": (with_content({"...": digest("x")}), MalformedRecord, "BAD_STRUCTURE"),
        "12 ... beside another": (
            with_claims(unknown=[{"...": digest("x"), "a": 1}]),
            MalformedRecord,
            "BAD_STRUCTURE",
        ),
        "12 _sd not a list": (with_content({"_sd": "x"}), MalformedRecord, "BAD_STRUCTURE"),
        "17 a group that stands plain": (with_content({"ssvc": {"decision": "act"}}), *UNFOLDED),
        "17 a list that stands plain": (with_content({"cwe": [{"...": digest("x")}]}), *UNFOLDED),
        "17 a group disclosed in one piece": (with_content({"_sd": [group[1]]}, group), *UNFOLDED),
        "17 a list disclosed in one piece": (with_content({"_sd": [listed[1]]}, listed), *UNFOLDED),
        "17 a list with an open element": (with_content({"_sd": [half[1]]}, half), *UNFOLDED),
    }


def raw(data):
    return respelled(b64(data))


def respelled(text):
    return with_content({"_sd": [digest(text)]}, text)


def injected(name, value):
    text, found_digest = disclose("salt", name, value)
    return FORGE.token({**FORGE.claims(), "_sd": [found_digest]}, text)


def hidden(name):
    """Hide a claim that must be plain, and disclose it."""
    text, found_digest = disclose("salt", name, FORGE.claims(exp=NOW + 60)[name])
    return FORGE.token({**FORGE.claims(without=[name]), "_sd": [found_digest]}, text)


def claims():
    required = ("iss", "iat", "record_id", "version", "kind", "schema", "status", "tlp", "content", "_sd_alg")
    missing = {
        f"14 {name} missing": (FORGE.token(FORGE.claims(without=[name])), MalformedRecord, "MISSING_CLAIM")
        for name in required
    }
    concealed = {
        f"14 {name} hidden": (hidden(name), MalformedRecord, "MISSING_CLAIM") for name in (*required[:-1], "exp")
    }
    wrong = {
        "iss": "Lab-A.example",
        "iat": str(NOW),
        "exp": NOW + 0.5,
        "record_id": "1",
        "version": True,
        "supersedes": digest("x"),
        "kind": "rumour",
        "schema": "tocsin.v2",
        "status": "",
        "tlp": "tlp:red",
        "pap": None,
        "permitted_use": ["anything"],
        "relay": "everybody",
        "retention_until": "2030-1-1T00:00:00Z",
        "downgrade_at": {"at": "2030-01-01T00:00:00Z", "tlp": "CLEAR"},
    }
    bad = {
        f"{name} out of its contract": (with_claims(**{name: value}), MalformedRecord, "BAD_CLAIM")
        for name, value in wrong.items()
    }
    more = {
        "a later version that supersedes nothing": (with_claims(version=2), MalformedRecord, "BAD_CLAIM"),
        "version 0": (with_claims(version=0), MalformedRecord, "BAD_CLAIM"),
        "a permitted use twice": (with_claims(permitted_use=["research"] * 2), MalformedRecord, "BAD_CLAIM"),
        "permitted use a text": (with_claims(permitted_use="research"), MalformedRecord, "BAD_CLAIM"),
        "content a text": (with_claims(content="x"), MalformedRecord, "BAD_STRUCTURE"),
        "digests beside content": (FORGE.token({**FORGE.claims(), "_sd": []}), MalformedRecord, "BAD_STRUCTURE"),
        "a disclosure beside content": (injected("note", "x"), MalformedRecord, "BAD_STRUCTURE"),
        "a coarse value that contradicts the exact one": (
            with_claims(kind="incident", content={"affected_count": 3, "affected_band": "0"}),
            MalformedRecord,
            "BAD_CLAIM",
        ),
        "content against its contract": (raw(b'["s","severity",7]'), MalformedContent, "BAD_CONTENT"),
        "15 expired": (with_claims(exp=NOW - SKEW), RecordExpired, "NOT_VALID_NOW"),
        "15 not valid yet": (with_claims(nbf=NOW + SKEW + 1), RecordExpired, "NOT_VALID_NOW"),
        "15 issued in the future": (with_claims(iat=NOW + SKEW + 1), RecordExpired, "NOT_VALID_NOW"),
    }
    return missing | concealed | bad | more | schedules()


def schedules():
    """Schedules of downgrades for a record marked AMBER."""
    first, second = "2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z"
    wrong = {
        "raised": [(first, "RED")],
        "to what it is": [(first, "AMBER")],
        "down and up": [(first, "CLEAR"), (second, "GREEN")],
        "to one marking twice": [(first, "GREEN"), (second, "GREEN")],
        "back in time": [(second, "GREEN"), (first, "CLEAR")],
        "twice at one time": [(first, "GREEN"), (first, "CLEAR")],
        "to no marking": [(first, "WHITE")],
        "at no time": [("soon", "GREEN")],
        "at a number": [(NOW, "GREEN")],
    }
    made = {name: [{"at": at, "tlp": tlp} for at, tlp in steps] for name, steps in wrong.items()}
    made |= {"without a time": [{"tlp": "GREEN"}], "by a text": ["GREEN"], "by itself": None}
    made["with something more"] = [{"at": first, "tlp": "GREEN", "unless": "asked"}]
    return {
        f"marking lowered {name}": (with_claims(downgrade_at=steps), MalformedRecord, "BAD_CLAIM")
        for name, steps in made.items()
    } | {"14 downgrade_at disclosed": (injected("downgrade_at", []), MalformedRecord, "MISSING_CLAIM")}


ATTACKS = headers() | bodies() | disclosures() | claims()


@pytest.mark.parametrize(("token", "error", "reason"), [pytest.param(*row, id=name) for name, row in ATTACKS.items()])
def test_an_attack_is_refused_with_its_reason(token, error, reason):
    before = time.process_time()  # a busy machine does not count
    with pytest.raises(error) as refusal:
        verify(token)
    assert type(refusal.value) is error
    assert refusal.value.reason == reason
    assert time.process_time() - before < 0.1, "a refusal must be cheap (10 ms; ten times that for a slow machine)"


def test_what_the_attacks_were_made_of_is_accepted():
    assert verify(SOUND).content == {"finding_kind": "hazard"}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": NOW - SKEW + 1}, id="expired within the skew"),
        pytest.param({"nbf": NOW + SKEW}, id="not yet valid within the skew"),
        pytest.param({"iat": NOW + SKEW}, id="issued in the future within the skew"),
        pytest.param({"permitted_use": []}, id="an empty list of uses"),
        pytest.param({"relay": "none"}, id="the default written out"),
    ],
)
def test_what_is_at_the_edge_is_accepted(changes):
    assert verify(with_claims(**changes)).issuer == "lab-a.example"


def test_the_older_name_of_the_algorithm_is_accepted():
    assert verify(with_header(alg="EdDSA")).issuer == "lab-a.example"


def test_what_a_newer_contract_adds_is_kept():
    inner = disclose("salt", "new_part", 1)
    group = disclose("salt", "new_group", {"_sd": [inner[1]]})
    field = disclose("salt", "new_field", "v")
    content = {"finding_kind": "hazard", "new_plain": 1, "_sd": [group[1], field[1]]}
    record = verify(with_claims(field, group, inner, content=content, new_claim={"a": 1}))
    assert record.content == {"finding_kind": "hazard", "new_plain": 1, "new_field": "v", "new_group": {"new_part": 1}}
    assert record.paths == {"finding_kind", "new_plain", "new_field", "new_group", "new_group.new_part"}
    assert verify(record.present(frozenset({"new_field"}))).content.keys() == {"finding_kind", "new_plain", "new_field"}
