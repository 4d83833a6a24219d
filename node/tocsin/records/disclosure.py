"""This module makes disclosures, and puts those received back where their digests stand (RFC 9901 sections 4.2 and 7.1).

A disclosure is the base64url text of a JSON array:

    [salt, name, value]    a member of an object; its digest stands in the object's `_sd`
    [salt, value]          an element of a list; {"...": digest} stands in its place

The digest is the base64url SHA-256 of that text. A value may hold digests
again, so a hidden group hides the names inside it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tocsin.encoding import JSON, MAX_DEPTH, decode_base64url, dump_json, encode_base64url, parse_json
from tocsin.errors import DisclosureMismatch, MalformedRecord

SD = "_sd"
SD_ALG = "_sd_alg"
ELLIPSIS = "..."
RESERVED = frozenset({SD, ELLIPSIS, "__proto__"})
"""Names that RFC 9901 section 4.2.1 forbids, and one that changes an object's prototype in JavaScript."""

MAX_DISCLOSURES = 512

Path: TypeAlias = "tuple[str | int, ...]"


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A disclosure in its place: the text as sent, the path in the processed payload, the value as signed."""

    encoded: str
    path: Path
    value: JSON


@dataclass(frozen=True, slots=True)
class _Sent:
    """A disclosure that waits for its digest to turn up; `order` is its place in the token."""

    encoded: str
    items: list[JSON]
    order: int


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
      3c. where a disclosure fits, check its form and name, and put its value there
      3d. leave out list elements without a disclosure
      3e. leave out `_sd`
      3f. leave out `_sd_alg`
      4.  no digest may occur twice
      5.  no disclosure may be left over

    The caller MUST have verified the signature over the payload.

    Raises DisclosureMismatch, MalformedRecord (BAD_HASH, BAD_STRUCTURE,
    TOO_COMPLEX) and MalformedEncoding.
    """
    folds = _Folds(_read(disclosures))  # 3a
    claims = folds.unfold_object(payload, ())  # 3b to 3f
    if len(set(folds.digests)) != len(folds.digests):  # 4
        raise DisclosureMismatch("a digest occurs more than once", reason="DUP_DIGEST")
    if folds.waiting:  # 5
        raise DisclosureMismatch(f"{len(folds.waiting)} disclosures belong nowhere", reason="BAD_DISCLOSURE")
    return claims, tuple(disclosure for _, disclosure in sorted(folds.found.items()))


def _read(disclosures: Iterable[str]) -> dict[str, _Sent]:
    """Parse and hash what was sent; the number of elements is checked where the digest is found."""
    waiting: dict[str, _Sent] = {}
    for order, encoded in enumerate(disclosures):
        items = parse_json(decode_base64url(encoded)) if encoded else None
        if not isinstance(items, list):
            raise DisclosureMismatch("a disclosure is not a list", reason="BAD_DISCLOSURE")
        digest = digest_of(encoded)
        if digest in waiting:
            raise DisclosureMismatch("a disclosure was sent twice", reason="BAD_DISCLOSURE")
        waiting[digest] = _Sent(encoded, items, order)
    return waiting


class _Folds:
    """What is met on the way through a payload."""

    __slots__ = ("digests", "found", "waiting")

    def __init__(self, waiting: dict[str, _Sent]) -> None:
        self.waiting = waiting
        self.digests: list[str] = []
        self.found: dict[int, Disclosure] = {}

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
            if name in (SD, SD_ALG, ELLIPSIS):
                _verify_reserved(name, path)
                continue
            claims[name] = self.unfold(value, (*path, name)) if isinstance(value, dict | list) else value
        if SD in members:
            for digest in self._members_sent(members[SD]):
                sent, name, value = self._member(digest)
                if name in RESERVED or name in claims:
                    raise DisclosureMismatch("a disclosed name is reserved or taken", reason="CLAIM_COLLISION")
                if name == SD_ALG:
                    raise _misplaced_hash()
                claims[name] = self._place(sent, (*path, name), value)
        return claims

    def unfold_list(self, elements: list[JSON], path: Path) -> list[JSON]:
        """Return the plain and the disclosed elements, in their order."""
        _verify_depth(path)
        shown: list[JSON] = []
        for element in elements:
            here = (*path, len(shown))
            if not isinstance(element, dict) or ELLIPSIS not in element:
                shown.append(self.unfold(element, here))
                continue
            digest = element[ELLIPSIS]
            if len(element) != 1 or not isinstance(digest, str):
                raise MalformedRecord("'...' stands beside other members or holds no digest", reason="BAD_STRUCTURE")
            self.digests.append(digest)
            if digest in self.waiting:
                sent, value = self._element(digest)
                shown.append(self._place(sent, here, value))
        return shown

    def _members_sent(self, digests: JSON) -> list[str]:
        if not isinstance(digests, list) or not all(isinstance(digest, str) for digest in digests):
            raise MalformedRecord("_sd is not a list of digests", reason="BAD_STRUCTURE")
        self.digests += digests  # type: ignore[arg-type]  # each was seen to be a text
        return sorted(self.waiting.keys() & digests, key=lambda digest: self.waiting[digest].order)

    def _member(self, digest: str) -> tuple[_Sent, str, JSON]:
        sent = self.waiting.pop(digest)
        match sent.items:
            case [str(), str(name), value]:
                return sent, name, value
        raise DisclosureMismatch("a disclosed member is not [salt, name, value]", reason="BAD_DISCLOSURE")

    def _element(self, digest: str) -> tuple[_Sent, JSON]:
        sent = self.waiting.pop(digest)
        match sent.items:
            case [str(), value]:
                return sent, value
        raise DisclosureMismatch("a disclosed element is not [salt, value]", reason="BAD_DISCLOSURE")

    def _place(self, sent: _Sent, path: Path, value: JSON) -> JSON:
        self.found[sent.order] = Disclosure(sent.encoded, path, value)
        return self.unfold(value, path)


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
