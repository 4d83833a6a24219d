r"""This module makes the entries of an origin's log: 64 bytes for each version of a record and each retraction.

    id half        SHA-256 of "tocsin-id/v1\n<record id>\n<version>\n", or for a retraction
                   SHA-256 of "tocsin-retraction/v1\n<record id>\n<version>\n<action>\n"
    digest half    the digest of what was signed, a SHA-256 as well

A stranger can guess neither half: record ids are random, and what the digest
covers is salted. Whoever holds the record computes both. The id half is what
shows two histories inside one log: two entries that share it and differ in the
digest are two records under one id and version.

What was issued is purged elsewhere; its entry stays.
"""

import hashlib
import re
from typing import Final

from tocsin.errors import MalformedLog
from tocsin.identity.names import parse_record_id

HALF_BYTES: Final = 32
ENTRY_BYTES: Final = 2 * HALF_BYTES

_RECORD: Final = "tocsin-id/v1"
_RETRACTION: Final = "tocsin-retraction/v1"
_ACTION: Final = re.compile(r"[a-z]+", re.ASCII)


def record_entry(record_id: str, version: int, digest: bytes) -> bytes:
    """Return the entry for one version of a record; raises MalformedName for another spelling of its id."""
    return _entry(_RECORD, parse_record_id(record_id), str(_counted(version)), digest=digest)


def retraction_entry(record_id: str, version: int, action: str, digest: bytes) -> bytes:
    """Return the entry for a retraction of all versions up to one.

    Raises MalformedName for another spelling of the record's id.
    """
    if not _ACTION.fullmatch(action):
        raise RuntimeError(f"{action!r} is not an action")
    return _entry(_RETRACTION, parse_record_id(record_id), str(_counted(version)), action, digest=digest)


def id_half(entry: bytes) -> bytes:
    """Return what an entry says about id and version; raises MalformedLog (BAD_ENTRY)."""
    return verify_length(entry)[:HALF_BYTES]


def digest_half(entry: bytes) -> bytes:
    """Return the digest of what was issued; raises MalformedLog (BAD_ENTRY)."""
    return verify_length(entry)[HALF_BYTES:]


def verify_length(entry: bytes) -> bytes:
    """Return an entry that is as long as ours are; raises MalformedLog (BAD_ENTRY).

    Cut elsewhere, the same bytes would be other halves.
    """
    if len(entry) != ENTRY_BYTES:
        raise MalformedLog(f"an entry has {len(entry)} bytes instead of {ENTRY_BYTES}", reason="BAD_ENTRY")
    return entry


def _entry(*lines: str, digest: bytes) -> bytes:
    if len(digest) != HALF_BYTES:
        raise RuntimeError(f"a digest has {HALF_BYTES} bytes, not {len(digest)}")
    # No part can hold a line break, so that no two lists of parts are one text.
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode("ascii")).digest() + digest


def _counted(version: int) -> int:
    if version < 1:
        raise RuntimeError(f"versions are counted from 1, and this is {version}")
    return version
