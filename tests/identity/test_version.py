import copy
import json

import pytest

from tests.identity.forging import assert_refused, chain_of, document_of
from tests.support.organisations import NOW, found, signer
from tocsin.errors import MalformedIdentity
from tocsin.identity.root import parse_identity


def set_in(path, value):
    """Return a change of signed root metadata at one place."""

    def change(signed):
        *way, last = path
        for step in way:
            signed = signed[next(iter(signed)) if step == "*" else step]
        signed[last] = value

    return change


RSA_KEY = {"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": "x"}}
WEAK_HEX = "01" + "00" * 31
FORMS = {
    "another type of metadata": (set_in(["_type"], "targets"), "not TUF root metadata"),
    "no type": (set_in(["_type"], None), "not TUF root metadata"),
    "another major version of TUF": (set_in(["spec_version"], "2.0.0"), "not TUF root metadata"),
    "an expiry that is no time": (set_in(["expires"], "tomorrow"), "not TUF root metadata"),
    "an expiry in another spelling": (set_in(["expires"], "2027-3-1T12:00:00Z"), "in its one spelling"),
    "keys as a list": (set_in(["keys"], []), "not TUF root metadata"),
    "a key of an unknown type": (set_in(["keys", "*"], {"keytype": "x", "scheme": "x", "keyval": {}}), ""),
    "an RSA key": (set_in(["keys", "*"], RSA_KEY), ""),
    "a key without a value": (set_in(["keys", "*", "keyval"], {}), "not TUF root metadata"),
    "a key in upper-case hex": (set_in(["keys", "*", "keyval", "public"], "AB" * 32), "lower-case hex"),
    "a short key": (set_in(["keys", "*", "keyval", "public"], "ab" * 31), "lower-case hex"),
    "a key that is a number": (set_in(["keys", "*", "keyval", "public"], 7), "not TUF root metadata"),
    "a key not under its own id": (
        set_in(["keys", "*", "keyval", "public"], signer("x").public_key.hex()),
        "under the",
    ),
    "a key with more to it": (set_in(["keys", "*", "note"], "x"), "under the id"),
    "a key for no role": (set_in(["keys", "00" * 32], {}), "not TUF root metadata"),
    "a role missing": (set_in(["roles"], {"root": {"keyids": [], "threshold": 1}}), "not TUF root metadata"),
    "a role for somebody": (set_in(["roles", "targets", "keyids"], ["00" * 32]), "given to somebody"),
    "a threshold of nothing": (set_in(["roles", "root", "threshold"], 0), "not TUF root metadata"),
    "a threshold that is true": (set_in(["roles", "root", "threshold"], True), "not an integer"),
    "a threshold beyond the keys": (set_in(["roles", "root", "threshold"], 4), "fewer than its threshold"),
    "key ids as an object": (set_in(["roles", "root", "keyids"], {}), "another type"),
    "no consistent snapshots": (set_in(["consistent_snapshot"], False), "another type"),
    "a role with more to it": (set_in(["roles", "root", "note"], "x"), "the root role's keys"),
    "a float": (set_in(["x-tocsin", "extra"], 1.5), "not an integer"),
    "a float for a whole number": (set_in(["version"], 1.0), ""),
}


@pytest.mark.parametrize(("change", "words"), FORMS.values(), ids=FORMS)
def test_root_metadata_that_is_not_of_our_narrow_form_is_refused(lab, change, words):
    value = chain_of(lab.document)[0]
    change(value["signed"])
    assert_refused(document_of(value), words=words)


def test_a_weak_root_key_is_refused(lab):
    value = chain_of(lab.document)[0]
    set_in(["keys", "*", "keyval", "public"], WEAK_HEX)(value["signed"])
    assert_refused(document_of(value), reason="WEAK_KEY")


ENVELOPES = {
    "empty": b"",
    "not JSON": b"-----BEGIN CERTIFICATE-----",
    "a list": b"[]",
    "null": b"null",
    "no chain": b'{"format": "tocsin-identity/v1"}',
    "another format": b'{"format": "tocsin-identity/v2", "chain": [{}]}',
    "something more": b'{"format": "tocsin-identity/v1", "chain": [{}], "note": 1}',
    "a chain that is an object": b'{"format": "tocsin-identity/v1", "chain": {}}',
    "a version that is null": b'{"format": "tocsin-identity/v1", "chain": [null]}',
    "a version that is empty": b'{"format": "tocsin-identity/v1", "chain": [{}]}',
    "signed by a text": b'{"format": "tocsin-identity/v1", "chain": [{"signed": {}, "signatures": "x"}]}',
    "signed that is a text": b'{"format": "tocsin-identity/v1", "chain": [{"signed": "x", "signatures": []}]}',
    "nested too deep": b'{"format": "tocsin-identity/v1", "chain": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a lone surrogate": b'{"format": "tocsin-identity/v1", "chain": ["\\ud800"]}',
    "too many versions": b'{"format": "tocsin-identity/v1", "chain": [' + b"0," * 256 + b"0]}",
    "too large": b" " * (1024 * 1024) + b"{}",
}


@pytest.mark.parametrize("document", ENVELOPES.values(), ids=ENVELOPES)
def test_what_is_no_identity_document_is_refused(document):
    assert_refused(document)


def test_a_document_cut_short_anywhere_is_refused(lab):
    for length in range(0, len(lab.document), 97):
        assert_refused(lab.document[:length])


def test_duplicate_names_are_refused_wherever_they_stand(lab):
    text = lab.document.decode()
    for name, extra in (
        ('"format"', '"format":"x",'),
        ('"_type"', '"_type":"root",'),
        ('"org"', '"org":"lab-b.example",'),
        ('"threshold"', '"threshold":1,'),
    ):
        assert_refused(text.replace(name, extra + name, 1).encode(), words="")


def test_unsigned_members_and_odd_signatures_are_refused(lab):
    version = chain_of(lab.document)[0]
    first = version["signatures"][0]
    for changed in (
        version | {"note": "unsigned"},
        version | {"signatures": [first | {"sig": first["sig"].upper()}, *version["signatures"][1:]]},
        version | {"signatures": [first | {"sig": first["sig"] + " "}, *version["signatures"][1:]]},
        version | {"signatures": [first | {"sig": 7}]},
    ):
        assert_refused(document_of(changed))


def places(value, way=()):
    """Yield the way to every value inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inside:
        yield (*way, step)
        yield from places(item, (*way, step))


ODD_VALUES = (None, True, -1, 2**53, 1.5, "", "x", "1.1", [], ["x"], [[]], [None], {}, {"x": []})


def test_no_value_of_another_type_anywhere_does_more_than_be_refused():
    whole = json.loads(found("lab-a.example").document)
    for way in list(places(whole)):
        for odd in ODD_VALUES:
            changed = copy.deepcopy(whole)
            *steps, last = way
            holder = changed
            for step in steps:
                holder = holder[step]
            if holder[last] != odd:
                holder[last] = odd
                with pytest.raises(MalformedIdentity):
                    parse_identity(json.dumps(changed).encode(), now=NOW)
