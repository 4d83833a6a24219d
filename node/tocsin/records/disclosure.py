"""This module makes disclosures, and puts those received back in their places (RFC 9901 sections 4.2 and 7.1).

A disclosure is the base64url text of a JSON array:

    [salt, name, value]    a member of an object; its digest stands in the object's `_sd`
    [salt, value]          an element of a list; {"...": digest} stands in its place

The digest is the base64url SHA-256 of that text. A value may hold digests
again, so a hidden group hides the names inside it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias, cast

from tocsin.encoding import JSON, MAX_DEPTH, decode_base64url, dump_json, encode_base64url, parse_json
from tocsin.errors import DisclosureMismatch, MalformedRecord

SD = "_sd"
SD_ALG = "_sd_alg"
ELLIPSIS = "..."
RESERVED = frozenset({SD, ELLIPSIS, "__proto__"})
"""Names that RFC 9901 section 4.2.1 forbids, and one that changes an object's prototype in JavaScript."""

MAX_DISCLOSURES = 512

Path: TypeAlias = "tuple[str | int, ...]"


class Disclosure(NamedTuple):
    """A disclosure in its place: the text as sent, the path in the processed payload, the value as signed."""

    encoded: str
    path: Path
    value: JSON


def make_disclosure(*items: object) -> tuple[str, str]:
    """Return text and digest of a disclosure: of salt, name and value, or of salt and value."""
    encoded = encode_base64url(dump_json(items))
    return encoded, digest_of(encoded)


def digest_of(text: str) -> str:
    """Return the base64url SHA-256 of ASCII text (RFC 9901 section 4.2.3)."""
    return encode_base64url(hashlib.sha256(text.encode("ascii")).digest())


def unfold(
    payload: Mapping[str, JSON], *, disclosures: Iterable[str]
) -> tuple[dict[str, JSON], tuple[Disclosure, ...]]:
    """Return the processed payload and the disclosures in their places, in the order they were sent.

    These are steps 3 to 5 of RFC 9901 section 7.1:
      3a. parse and hash each disclosure
      3b. find each digest in the payload, and in what is disclosed
      3c. where a disclosure of the right form has it, check the name and put the value there
      3d. leave out list elements without a disclosure
      3e. leave out `_sd`
      3f. leave out `_sd_alg`
      4.  no digest may occur twice
      5.  no disclosure may be left over: none is for it, or only in a place for the other form

    The caller MUST have verified the signature over the payload.

    Raises DisclosureMismatch, MalformedRecord (BAD_HASH, BAD_STRUCTURE,
    TOO_COMPLEX) and MalformedEncoding.
    """
    folds = _Folds(disclosures)  # 3a
    claims = folds.unfold_object(payload, ())  # 3b to 3f
    if len(set(folds.digests)) != len(folds.digests):  # 4
        raise DisclosureMismatch("a digest occurs more than once", reason="DUP_DIGEST")
    if folds.waiting:  # 5
        raise DisclosureMismatch(f"no place fits {len(folds.waiting)} of the disclosures", reason="BAD_DISCLOSURE")
    return claims, tuple([folds.placed[order] for order in sorted(folds.placed)])


_Waiting: TypeAlias = "tuple[int, str, str | None, JSON]"
"""A disclosure whose digest has not turned up: its place in the token, its text, its name (of an element None), its
value. A plain tuple: there are a dozen in each record, and a class of their own would cost as much as their digests."""


class _Folds:
    """The disclosures that wait for their digests to turn up, by digest, and what was met on the way."""

    __slots__ = ("digests", "placed", "waiting")

    def __init__(self, disclosures: Iterable[str]) -> None:
        self.waiting: dict[str, _Waiting] = {}
        self.digests: list[str] = []
        self.placed: dict[int, Disclosure] = {}
        for order, encoded in enumerate(disclosures):
            self.waiting[digest_of(encoded)] = _read(encoded, order)
            if len(self.waiting) <= order:
                raise DisclosureMismatch("a disclosure was sent twice", reason="BAD_DISCLOSURE")

    def unfold(self, value: JSON, path: Path) -> JSON:
        """Return the value as far as it is disclosed."""
        if isinstance(value, dict):
            return self.unfold_object(value, path)
        if isinstance(value, list):
            return self.unfold_list(value, path)
        return value

    def unfold_object(self, members: Mapping[str, JSON], path: Path) -> dict[str, JSON]:
        """Return the plain members, and then the disclosed ones in the order they were sent."""
        _verify_depth(path)
        claims: dict[str, JSON] = {}
        for name, value in members.items():
            if name in _OF_FORM:
                _verify_reserved(name, path)
            else:
                claims[name] = self.unfold(value, (*path, name)) if isinstance(value, (dict, list)) else value
        if SD in members:
            for waiting in self._members_of(members[SD]):
                name = cast("str", waiting[2])
                if name in RESERVED or name in claims:
                    raise DisclosureMismatch("a disclosed name is reserved or taken", reason="CLAIM_COLLISION")
                if name == SD_ALG:
                    raise _misplaced_hash()
                claims[name] = self._place(waiting, (*path, name))
        return claims

    def _members_of(self, digests: JSON) -> list[_Waiting]:
        """Return the disclosed members of an object, in the order they were sent, and take note of its digests."""
        if not isinstance(digests, list) or not set(map(type, digests)) <= {str}:
            raise MalformedRecord("_sd is not a list of digests", reason="BAD_STRUCTURE")
        texts, waiting = cast("list[str]", digests), self.waiting
        self.digests += texts
        found = [digest for digest in waiting.keys() & texts if waiting[digest][2] is not None]
        return sorted([waiting.pop(digest) for digest in found])

    def unfold_list(self, elements: list[JSON], path: Path) -> list[JSON]:
        """Return the plain and the disclosed elements, in their order."""
        _verify_depth(path)
        shown: list[JSON] = []
        for element in elements:
            if not isinstance(element, dict) or ELLIPSIS not in element:
                shown.append(self.unfold(element, (*path, len(shown))))
                continue
            digest = element[ELLIPSIS]
            if len(element) != 1 or not isinstance(digest, str):
                raise MalformedRecord("'...' stands beside other members or holds no digest", reason="BAD_STRUCTURE")
            self.digests.append(digest)
            if digest in self.waiting and self.waiting[digest][2] is None:
                shown.append(self._place(self.waiting.pop(digest), (*path, len(shown))))
        return shown

    def _place(self, waiting: _Waiting, path: Path) -> JSON:
        """Put a disclosure in its place, and return its value as far as that is disclosed."""
        order, encoded, _, value = waiting
        self.placed[order] = Disclosure(encoded, path, value)
        return self.unfold(value, path) if isinstance(value, (dict, list)) else value


_OF_FORM = frozenset({SD, SD_ALG, ELLIPSIS})
_OF_MEMBER, _OF_ELEMENT = 3, 2  # items of a disclosure


def _read(encoded: str, order: int) -> _Waiting:
    """Read a disclosure, whichever of the two forms it has."""
    items = parse_json(decode_base64url(encoded)) if encoded else None
    if isinstance(items, list) and items and isinstance(items[0], str):
        if len(items) == _OF_MEMBER and isinstance(items[1], str):
            return order, encoded, items[1], items[2]
        if len(items) == _OF_ELEMENT:
            return order, encoded, None, items[1]
    problem = "a disclosure is neither [salt, name, value] nor [salt, value]"
    raise DisclosureMismatch(problem, reason="BAD_DISCLOSURE")


def _verify_depth(path: Path) -> None:
    """Bound what disclosures inside disclosures add up to; each alone was bounded when it was parsed."""
    if len(path) >= MAX_DEPTH:
        raise MalformedRecord(f"disclosures reach more than {MAX_DEPTH} levels deep", reason="TOO_COMPLEX")


def _verify_reserved(name: str, path: Path) -> None:
    if name == ELLIPSIS:
        raise MalformedRecord("'...' stands outside a list", reason="BAD_STRUCTURE")
    if name == SD_ALG and path:
        raise _misplaced_hash()


def _misplaced_hash() -> MalformedRecord:
    return MalformedRecord("_sd_alg stands elsewhere than at the top", reason="BAD_HASH")
