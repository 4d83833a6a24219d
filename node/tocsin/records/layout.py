"""This module lays content out so that every part of it can be withheld and nothing tells what was.

    {"finding_kind": "…", "_sd": [digest, …]}          content: top-level ALWAYS scalars stand plain
    [salt, "title", "…"]                               a field
    [salt, "protocol", {"_sd": [digest, …]}]           a group: all names inside it are hidden with it
    [salt, "subjects", [{"...": digest}, …]]           a list: each element can be withheld
    [salt, {"_sd": [digest, …]}]                       a group in a list

Each `_sd` is filled with decoys up to a constant of its message type and
sorted, each list up to a bucket with the decoys at random places: neither how
many fields or elements there are shows, nor which (RFC 9901 sections 4.2.5,
4.2.6 and 9.3). Each salt and decoy is fresh, also from one version of a
record to the next, where an equal digest would say that nothing changed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import cast

from tocsin.encoding import JSON, encode_base64url
from tocsin.records.disclosure import ELLIPSIS, SD, make_disclosure
from tocsin.schema.contract import Field, Kind, bucket

SALT_BYTES = 16
"""128 bits, which RFC 9901 section 9.3 recommends."""

DIGEST_BYTES = 32
DRAW_BYTES = 8
"""Enough for choosing a place among 64 without a bias that anybody could measure."""


def lay_out(
    content: Mapping[str, object], *, kind: Kind, random: Callable[[int], bytes]
) -> tuple[dict[str, JSON], list[str]]:
    """Return the `content` claim and its disclosures, in the order of the contract: the author's would tell something.

    Empty groups and lists say nothing and are left out. The caller MUST have
    checked the content against its kind.
    """
    members = _without_empty(cast("dict[str, JSON]", content))
    plain = {field.name: members.pop(field.name) for field in kind.fields if field.name in members and field.is_plain}
    layout = _Layout(random)
    digests: list[JSON] = [*layout.conceal_members(members, fields=kind.fields)]
    return {**plain, SD: digests}, layout.disclosures


class _Layout:
    """The disclosures made so far, and where salts and decoys come from."""

    __slots__ = ("_random", "disclosures")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self.disclosures: list[str] = []

    def conceal_members(self, members: Mapping[str, JSON], *, fields: tuple[Field, ...]) -> list[str]:
        """Return the sorted digests of an object, as many as its message type always has."""
        present = [field for field in fields if field.name in members]
        digests = [self._conceal(field.name, self._arrange(members[field.name], field)) for field in present]
        digests += self._decoys(bucket(len(fields)) - len(digests))
        return sorted(digests)

    def _arrange(self, value: JSON, field: Field) -> JSON:
        """Return a value with what is inside it concealed."""
        if field.repeated:
            return self._arrange_list(cast("list[JSON]", value), field)
        return self._arrange_one(value, field)

    def _arrange_one(self, value: JSON, field: Field) -> JSON:
        if not isinstance(value, dict):
            return value
        return {SD: [*self.conceal_members(value, fields=field.fields)]}

    def _arrange_list(self, elements: list[JSON], field: Field) -> JSON:
        """Return the digests of the elements, in order, among decoys at random places."""
        size = bucket(len(elements))
        real = iter([self._conceal(self._arrange_one(element, field)) for element in elements])
        decoys = iter(self._decoys(size - len(elements)))
        return [{ELLIPSIS: next(real if is_real else decoys)} for is_real in self._places(len(elements), size)]

    def _conceal(self, *items: JSON) -> str:
        salt = encode_base64url(self._random(SALT_BYTES))
        text, digest = make_disclosure(salt, *items)
        self.disclosures.append(text)
        return digest

    def _decoys(self, count: int) -> list[str]:
        """Return random digests; hashing the random bytes first would only make other random bytes of them."""
        drawn = self._random(count * DIGEST_BYTES)
        return [encode_base64url(drawn[at : at + DIGEST_BYTES]) for at in range(0, len(drawn), DIGEST_BYTES)]

    def _places(self, chosen: int, size: int) -> Iterable[bool]:
        """Say for each place whether it is one of those chosen, all choices being equally likely."""
        drawn = self._random(size * DRAW_BYTES)
        for left in range(size, 0, -1):
            draw = int.from_bytes(drawn[(left - 1) * DRAW_BYTES : left * DRAW_BYTES], "big") % left
            yield draw < chosen
            chosen -= draw < chosen


def _without_empty(members: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the members that say something, at every level."""
    kept: dict[str, JSON] = {}
    for name, value in members.items():
        if isinstance(value, dict):
            value = _without_empty(value)
        elif isinstance(value, list):
            value = [_without_empty(element) if isinstance(element, dict) else element for element in value]
        if value not in ({}, []):
            kept[name] = value
    return kept
