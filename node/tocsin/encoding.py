"""This module turns bytes into base64url and JSON, and reads both back strictly.

Signed text must have exactly one reading and one spelling: a reader that
takes the last of two equal names, or skips a line break inside base64url,
gives one record two meanings or two digests. So everything here refuses what
does not re-encode to itself.

base64url   RFC 7515 section 2: no padding, no white space, the alphabet of
            RFC 4648 section 5, trailing bits zero.
JSON        RFC 8259 within I-JSON (RFC 7493): UTF-8, no byte order mark, no
            duplicate names, no lone surrogates, no NaN or infinity, integers
            within ±2^53, at most 32 levels.
"""

import json
import math
from itertools import chain
from typing import NoReturn, TypeAlias

import orjson
import pybase64

from tocsin.errors import MalformedEncoding

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

MAX_DEPTH = 32
"""Levels of arrays and objects; our deepest content has six."""

MAX_INTEGER = 2**53
"""Beyond this a reader that has only doubles sees another number (RFC 7493 section 2.2)."""

_ALPHABET = b"-_"  # for + and /
_PADDING = ("", "===", "==", "=")
# By the length modulo 4: which last characters leave no bit set that belongs to no byte.
_LAST = (None, frozenset(""), frozenset("AQgw"), frozenset("AEIMQUYcgkosw048"))


def encode_base64url(data: bytes) -> str:
    """Return the unpadded base64url text of the bytes (RFC 7515 section 2)."""
    return pybase64.b64encode_as_string(data, _ALPHABET).rstrip("=")


def decode_base64url(text: str) -> bytes:
    """Return the bytes whose only base64url text this is.

    Raises MalformedEncoding (BAD_ENCODING) for any other spelling of them.
    """
    left = len(text) % 4
    last = _LAST[left]
    if last is not None and text[-1] not in last:
        raise MalformedEncoding("not base64url: bits are left over at the end", reason="BAD_ENCODING")
    if "+" in text or "/" in text or "=" in text:  # the first two are read as what stands for them; we add the third
        raise MalformedEncoding("not base64url", reason="BAD_ENCODING")
    try:
        return pybase64.b64decode(text + _PADDING[left], _ALPHABET, validate=True)
    except ValueError as error:  # binascii.Error, and what is not ASCII
        raise MalformedEncoding("not base64url", reason="BAD_ENCODING") from error


def dump_json(value: object) -> bytes:
    """Return compact UTF-8 JSON, names in the order given.

    The value is our own: one that JSON cannot hold is a bug (TypeError).
    """
    return orjson.dumps(value)


def parse_json(data: bytes) -> JSON:
    """Return the only reading of the bytes.

    The fast reader accepts duplicate names and any depth up to its own limit.
    Where its value re-encodes to the very bytes read, no name can have been
    dropped; everything else (white space, escapes, exponents, and the attacks)
    is read again by the strict reader.

    Raises MalformedEncoding (BAD_JSON).
    """
    if not data.strip():
        raise MalformedEncoding("not JSON: there is nothing in it", reason="BAD_JSON")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedEncoding(f"not JSON: {error}", reason="BAD_JSON") from error
    if not _reencodes(value, data):
        value = _parse_strictly(data)
    # No text is deeper than it has opening brackets: most need no walk.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and not _is_shallow(value, MAX_DEPTH):
        _refuse(f"more than {MAX_DEPTH} levels")
    return value  # type: ignore[no-any-return]


def _reencodes(value: object, data: bytes) -> bool:
    try:
        return orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER) == data
    except orjson.JSONEncodeError:  # an integer of more than 53 bits, or too deep
        return False


def _parse_strictly(data: bytes) -> JSON:
    try:
        return json.loads(  # type: ignore[no-any-return]
            data.decode("utf-8"),
            object_pairs_hook=_unique_names,
            parse_int=_small_integer,
            parse_float=_finite_number,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedEncoding("not JSON that all readers read alike", reason="BAD_JSON") from error


def _unique_names(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    members = dict(pairs)
    if len(members) != len(pairs):
        _refuse("a name occurs twice in one object")
    return members


def _small_integer(text: str) -> int:
    # Counting digits first: converting thousands of them takes quadratic time.
    if len(text) > len(str(-MAX_INTEGER)) or abs(number := int(text)) > MAX_INTEGER:
        _refuse("an integer beyond ±2^53")
    return number


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse("a number beyond the range of a double")
    return number


def _is_shallow(value: JSON, levels: int) -> bool:
    """Say whether arrays and objects reach no deeper than so many levels."""
    layer = [value]
    for _ in range(levels + 1):
        inner = [one for one in layer if isinstance(one, (dict, list))]
        if not inner:
            return True
        layer = [*chain.from_iterable(one.values() if isinstance(one, dict) else one for one in inner)]
    return False


def _refuse(problem: str) -> NoReturn:
    raise MalformedEncoding(f"not JSON that all readers read alike: {problem}", reason="BAD_JSON")
