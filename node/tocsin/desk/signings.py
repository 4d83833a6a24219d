"""This module remembers beside a root key which version it signed last, so that nobody has it sign an older one.

    root-1.pem             the key, or root-1.uri where it is in a token
    root-1.pem.signed      {"format": "tocsin-signed/v1", "signed": {"<fingerprint>": {"version": 4, "payload": "…"}}}

A draft carries the chain that it goes on from, and an old chain looks as good
as the newest: whoever has put a home back, or means harm, can hand one out, and
with it a version that undoes what was signed since, such as the removal of a
stolen key. The same draft may be signed again; `payload` is its SHA-256.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from tocsin.desk.founding import save_file
from tocsin.desk.layout import cause
from tocsin.encoding import JSON, dump_json, encode_base64url, parse_json
from tocsin.errors import HomeDamaged, IdentityOutdated, MalformedEncoding
from tocsin.identity.draft import Draft
from tocsin.identity.keys import sync_folder

FORMAT: Final = "tocsin-signed/v1"
MOST_BYTES: Final = 64 * 1024
"""Several hundred organisations: more than anybody has founded with one key."""
_UNREADABLE = "move it away if nobody knows what it was, and compare the draft with the newest document that you have"


def signed_path(key: Path) -> Path:
    """Return the file in which it is kept what a root key has signed."""
    return key.with_name(f"{key.name}.signed")


def verify_newer(key: Path, draft: Draft) -> None:
    """Refuse a draft of a version that this root key has signed already, or of an older one.

    Raises IdentityOutdated, and HomeDamaged where it cannot be read what was signed.
    """
    number, last = draft.version.number, _load(signed_path(key)).get(draft.fingerprint)
    if last is None or number > last[0] or last == (number, _digest(draft)):
        return
    said = f"version {last[0]} already" if number < last[0] else "another draft of that version already"
    raise IdentityOutdated(
        f"the draft is of version {number} of the identity document, and this root key has signed {said}",
        where=str(key),
        hint="ask by telephone why it goes on from an old version; if that is right, sign with --allow-older",
    )


def remember(key: Path, draft: Draft) -> None:
    """Keep that a root key signs a draft; of two versions the newer one. Raises HomeDamaged."""
    path = signed_path(key)
    try:
        signed = _load(path)
    except HomeDamaged:  # whoever signs was told, and signs all the same
        signed = {}
    number = draft.version.number
    if number >= signed.get(draft.fingerprint, (0, ""))[0]:
        signed[draft.fingerprint] = (number, _digest(draft))
    versions: dict[str, JSON] = {each: {"version": last, "payload": of} for each, (last, of) in signed.items()}
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        save_file(beside, dump_json({"format": FORMAT, "signed": versions}))
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        message = f"it cannot be written down beside the root key what it signs: {cause(error)}"
        hint = "take the key where one can write; --allow-older signs without"
        raise HomeDamaged(message, where=str(path), hint=hint) from None


def _load(path: Path) -> dict[str, tuple[int, str]]:
    """Return the last version, and the digest of it, for each fingerprint."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            value = parse_json(file.read(MOST_BYTES))
    except FileNotFoundError:
        return {}
    except OSError as error:
        message = f"what the root key has signed cannot be read: {cause(error)}"
        raise HomeDamaged(message, where=str(path), hint=_UNREADABLE) from None
    except MalformedEncoding:
        value = None
    signed = value.get("signed") if isinstance(value, dict) and value.get("format") == FORMAT else None
    if not isinstance(signed, dict):
        raise _damaged(path)
    return {fingerprint: _last(said, path) for fingerprint, said in signed.items()}


def _last(said: JSON, path: Path) -> tuple[int, str]:
    number, payload = (said.get("version"), said.get("payload")) if isinstance(said, dict) else (None, None)
    if type(number) is not int or not isinstance(payload, str):
        raise _damaged(path)
    return number, payload


def _digest(draft: Draft) -> str:
    return encode_base64url(hashlib.sha256(draft.version.payload).digest())


def _damaged(path: Path) -> HomeDamaged:
    return HomeDamaged("what the root key has signed is not written there", where=str(path), hint=_UNREADABLE)
