"""This module makes the fingerprint that two people read to each other before they trust a document.

    SHA-256( "tocsin-fingerprint/v1" ␊ org ␊ threshold ␊ root key id ␊ … )     of version 1, key ids sorted

    EKHM7W4-IWTUGYW-CNBNRM6-JCYS74Q-4JQFJNM-MQRRGHH-HE5CGZU-FY7CZQY          base32, 4 times 13 + 1 characters

It covers who may change the document, not what the document says, so it
survives every rotation, of the root keys too. The last of each 14 characters
checks the others: one wrong character, or two exchanged, is seen as a slip of
the pen and not mistaken for another organisation.
"""

import base64
import hashlib
from collections.abc import Iterable

from tocsin.errors import MalformedIdentity
from tocsin.identity.names import OrgId

# Keeps this hash apart from every other one made with SHA-256 here.
_DOMAIN = "tocsin-fingerprint/v1"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
# The digits that base32 leaves out, as the letters they are misread for.
_LOOK_ALIKES = str.maketrans("018", "OIB", " -\t\r\n")

_DATA, _BLOCKS = 13, 4
_CHECKED = _DATA + 1
_SHOWN = 7


def fingerprint(org: OrgId, *, root_key_ids: Iterable[str], threshold: int) -> str:
    """Return the fingerprint of an organisation's first root metadata."""
    lines = (_DOMAIN, org, str(threshold), *sorted(root_key_ids))
    digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).digest()
    text = base64.b32encode(digest).decode("ascii").rstrip("=")
    blocks = (text[start : start + _DATA] for start in range(0, _DATA * _BLOCKS, _DATA))
    checked = "".join(block + _ALPHABET[_check(block, number)] for number, block in enumerate(blocks))
    return "-".join(checked[start : start + _SHOWN] for start in range(0, len(checked), _SHOWN))


def is_fingerprint_well_formed(text: str) -> bool:
    """Return whether a typed text is a fingerprint at all: its length, its characters, its check characters."""
    plain = _plain(text)
    if len(plain) != _CHECKED * _BLOCKS or not _VALUES.keys() >= set(plain):
        return False
    blocks = (plain[start : start + _CHECKED] for start in range(0, len(plain), _CHECKED))
    return all(_VALUES[block[-1]] == _check(block[:-1], number) for number, block in enumerate(blocks))


def verify_fingerprint(typed: str, *, expected: str) -> None:
    """Compare what a person typed with the fingerprint of a document, whatever its case, spaces and dashes.

    Raises MalformedIdentity (FINGERPRINT_MISMATCH), which tells a slip from another organisation.
    """
    if _plain(typed) == _plain(expected):
        return
    if is_fingerprint_well_formed(typed):
        problem, hint = "is that of another organisation", "do not trust this document; ask its sender by telephone"
    else:
        problem, hint = "is mistyped", "compare it group by group"
    raise MalformedIdentity(f"the fingerprint {problem}", reason="FINGERPRINT_MISMATCH", hint=hint)


def _plain(text: str) -> str:
    return text.upper().translate(_LOOK_ALIKES)


def _check(block: str, number: int) -> int:
    """Return the check value of one block.

    The block's characters, with the check as the last, are the coefficients
    of a polynomial over GF(32) that is zero at α, a generator of the field.
    Thirteen places have thirteen different weights αⁱ, so a single wrong
    character and any two exchanged ones change the sum. The block's number
    goes in first: two exchanged blocks are seen as well.
    """
    total = number
    for character in block:
        total = _times_alpha(total) ^ _VALUES[character]
    return _times_alpha(total)


def _times_alpha(value: int) -> int:
    """Multiply in GF(32), written as polynomials over GF(2) modulo x⁵ + x² + 1, by α = x."""
    doubled = value << 1
    return doubled ^ 0b100101 if doubled & 0b100000 else doubled
