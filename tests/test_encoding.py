"""base64url and JSON are read in exactly one way."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shared import shared
from tocsin.encoding import MAX_DEPTH, MAX_INTEGER, decode_base64url, dump_json, encode_base64url, parse_json
from tocsin.errors import MalformedEncoding

DUPLICATE_NAMES = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}


@given(st.binary(max_size=200))
def test_what_is_encoded_decodes_to_itself(data):
    text = encode_base64url(data)
    assert decode_base64url(text) == data
    assert not set(text) & set("+/=\n")


@given(st.text(alphabet="AQgwUxyz09-_+/= \n\x00é", max_size=12))
def test_what_decodes_is_the_only_text_that_does(text):
    try:
        data = decode_base64url(text)
    except MalformedEncoding:
        return
    assert encode_base64url(data) == text


def test_every_character_is_taken_in_one_way_or_not_at_all():
    for text in (
        rest[:at] + chr(code) + rest[at:] for code in range(256) for rest in ("A", "AA", "AAA") for at in (0, 1)
    ):
        try:
            data = decode_base64url(text)
        except MalformedEncoding:
            continue
        assert encode_base64url(data) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("QQ==", id="padding"),
        pytest.param("QUI=", id="one padding character"),
        pytest.param("QQ\n", id="line break at the end"),
        pytest.param("Q Q", id="space inside"),
        pytest.param("\tQQ", id="tab in front"),
        pytest.param("QR", id="four trailing bits not zero"),
        pytest.param("QUJ", id="two trailing bits not zero"),
        pytest.param("Q", id="six bits only"),
        pytest.param("QUJDR", id="six bits too many"),
        pytest.param("+/+/", id="the alphabet of plain base64"),
        pytest.param("QQ.", id="foreign character"),
        pytest.param("QQ\x00", id="null character"),
        pytest.param("QＱ", id="full-width letter"),
        pytest.param("=", id="padding alone"),
    ],
)
def test_base64url_in_another_spelling_is_refused(text):
    with pytest.raises(MalformedEncoding) as refusal:
        decode_base64url(text)
    assert refusal.value.reason == "BAD_ENCODING"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"a":1,"a":2}', id="duplicate name"),
        pytest.param(b'{"a":1,"a":1}', id="duplicate name and value"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="duplicate name behind an escape"),
        pytest.param(b'[{"x":{"a":1,"b":0,"a":2}}]', id="duplicate name inside"),
        pytest.param(b'{"a":' + b"[" * 1000 + b"]" * 1000 + b',"a":1}', id="depth under a name that is dropped"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"[Infinity]", id="infinity"),
        pytest.param(b"[-Infinity]", id="negative infinity"),
        pytest.param(b"1e999", id="infinity by exponent"),
        pytest.param(b'"\\ud800"', id="lone high surrogate"),
        pytest.param(b'"\\udc00\\ud800"', id="surrogates the wrong way round"),
        pytest.param(b'"\xed\xa0\x80"', id="surrogate in UTF-8"),
        pytest.param(b'"\xff"', id="invalid UTF-8"),
        pytest.param(b'"\xc0\xaf"', id="overlong UTF-8"),
        pytest.param('"a"'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b"[" * 33 + b"]" * 33, id="33 levels"),
        pytest.param(b'{"a":' * 33 + b"1" + b"}" * 33, id="33 levels of objects"),
        pytest.param(b"[" * 5_000 + b"]" * 5_000, id="5,000 levels"),
        pytest.param(b"[" * 200_000, id="200,000 levels"),
        pytest.param(b"9" * 5_000, id="5,000 digits"),
        pytest.param(b"9007199254740993", id="2^53 + 1"),
        pytest.param(b"-9007199254740993", id="-2^53 - 1"),
        pytest.param(b"18446744073709551616", id="2^64"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}{}", id="two values"),
        pytest.param(b"{} x", id="something behind"),
    ],
)
def test_json_with_two_readings_is_refused_at_once(data):
    before = time.process_time()  # a busy machine does not count
    with pytest.raises(MalformedEncoding) as refusal:
        parse_json(data)
    assert refusal.value.reason == "BAD_JSON"
    assert time.process_time() - before < 0.1, "hostile input must be cheap (10 ms; ten times that for a slow machine)"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b" { } ", {}),
        (b'{"a": [1, 2.5, -0.0, 1e3]}', {"a": [1, 2.5, 0.0, 1000.0]}),
        (b"9007199254740992", MAX_INTEGER),
        (b"-9007199254740992", -MAX_INTEGER),
        (b'"\\ud83d\\ude00 \\u00e9"', "😀 é"),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
        (b"[" + b"[]," * 100 + b"[]]", [[]] * 101),
        (b"false", False),
    ],
)
def test_json_with_one_reading_is_read(data, value):
    read = parse_json(data)
    assert value is None or read == value


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_what_is_dumped_is_read_back(value):
    assert parse_json(dump_json(value)) == value


def test_every_wrong_file_of_json_test_suite_is_refused():
    files = sorted(shared("vectors/JSONTestSuite/test_parsing").glob("n_*.json"))
    assert len(files) == 188
    for file in files:
        with pytest.raises(MalformedEncoding) as refusal:
            parse_json(file.read_bytes())
        assert refusal.value.reason == "BAD_JSON", file.name


def test_every_right_file_of_json_test_suite_without_duplicate_names_is_read():
    files = sorted(shared("vectors/JSONTestSuite/test_parsing").glob("y_*.json"))
    assert len(files) == 95
    refused = set()
    for file in files:
        try:
            parse_json(file.read_bytes())
        except MalformedEncoding:
            refused.add(file.name)
    assert refused == DUPLICATE_NAMES
