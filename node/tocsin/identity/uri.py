"""This module reads the URIs that say where a private key lies.

    file:/srv/keys/record.pem                          a file (RFC 8089), by its absolute path
    pkcs11:token=tocsin;object=record;id=%01           a key in a token (RFC 7512)
      ?module-path=/usr/lib/softhsm/libsofthsm2.so     the PKCS#11 module that reaches the token
      &pin-source=file:/etc/tocsin/pin                 the file that holds the PIN; all of it on one line

The token is named by one or more of `token`, `serial`, `model` and
`manufacturer`, the key by `object`, `id` or both. Every other attribute is
refused, as is one that stands twice. `pin-value` is refused because a URI is
copied, backed up and shown in places where no PIN belongs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from tocsin.errors import HomeDamaged

PEM_SUFFIX = ".pem"
URI_SUFFIX = ".uri"
"""Of the file that stands in the place of NAME.pem and holds the URI of the key on one line."""

TOKEN_ATTRIBUTES = ("token", "serial", "model", "manufacturer")
_PATH_ATTRIBUTES = frozenset({*TOKEN_ATTRIBUTES, "object", "id", "type"})
_QUERY_ATTRIBUTES = frozenset({"module-path", "pin-source"})

# `pk11-pchar` and `pk11-qchar` of RFC 7512 section 2.3, together.
_ATTRIBUTE = re.compile(r"([a-z-]+)=((?:[A-Za-z0-9._~:\[\]@!$'()*+,=&/?|-]|%[0-9A-Fa-f]{2})+)")
_FORM = "pkcs11:token=…;object=…?module-path=/…&pin-source=file:/…"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUri:
    """Say which key of which token is meant, and how to get at it; `shown` is the part that names the key."""

    shown: str
    token: Mapping[str, str]
    label: str | None
    object_id: bytes | None
    module: Path
    pin_file: Path


def parse_token_uri(text: str, *, where: str) -> TokenUri:
    """Read a `pkcs11:` URI; `where` is the place that it stands in.

    Raises HomeDamaged, and says nothing of what may be a PIN.
    """
    shown, _, query = text.partition("?")
    path = _attributes(shown.removeprefix("pkcs11:").split(";"), _PATH_ATTRIBUTES, where=where)
    how = _attributes(query.split("&"), _QUERY_ATTRIBUTES, where=where)
    for name in sorted(_QUERY_ATTRIBUTES - how.keys()):
        raise _bad(f"lacks {name}", where)
    token = {name: _text(path[name], where) for name in TOKEN_ATTRIBUTES if name in path}
    if not token or not path.keys() & {"object", "id"}:
        raise _bad("does not name a token and a key", where)
    if path.get("type", b"private") != b"private":
        raise _bad("names something else than a private key", where)
    module = Path(_text(how["module-path"], where))
    if not module.is_absolute():
        raise _bad("has a module-path that is not absolute", where)
    return TokenUri(
        shown=shown,
        token=token,
        label=_text(path["object"], where) if "object" in path else None,
        object_id=path.get("id"),
        module=module,
        pin_file=parse_file_uri(_text(how["pin-source"], where), where=where),
    )


def parse_file_uri(text: str, *, where: str) -> Path:
    """Return the path that a `file:` URI of this machine names (RFC 8089 section 2). Raises HomeDamaged."""
    try:
        parts = urlsplit(text)
    except ValueError:  # an address in brackets that is none
        raise _bad("names a file in another form than file:/…", where) from None
    path = Path(_text(unquote_to_bytes(parts.path), where))
    plain = parts.scheme == "file" and parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
    if not plain or not path.is_absolute():
        raise _bad("names a file in another form than file:/…", where)
    return path


def _attributes(parts: list[str], known: frozenset[str], *, where: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in parts:
        match = _ATTRIBUTE.fullmatch(part)
        if match is None:
            raise _bad("does not follow RFC 7512", where)
        name, value = match.groups()
        if name == "pin-value":
            hint = "change the PIN, write it into a file that only you can read, and name that with pin-source"
            raise HomeDamaged("the URI of the key holds a PIN", where=where, hint=hint)
        if name not in known:
            raise _bad(f"has the attribute {name}, which does not belong there", where)
        if name in found:
            raise _bad(f"has the attribute {name} twice", where)
        found[name] = unquote_to_bytes(value)
    return found


def _text(value: bytes, where: str) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise _bad("does not follow RFC 7512", where) from None
    if "\0" in text:
        raise _bad("does not follow RFC 7512", where)
    return text


def _bad(problem: str, where: str) -> HomeDamaged:
    return HomeDamaged(f"the URI of the key {problem}", where=where, hint=f"write it as {_FORM}")
