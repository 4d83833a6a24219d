"""This module finds what should not be in a record that goes far, and says which rule met which field.

It looks at texts of class COMMUNITY or wider, at every level. Its rules are
the shapes of `tocsin.release.shapes` and `deny-list`, the names that the
organisation wants to appear nowhere. It never says what stands in a field: its
findings end up in terminals, tickets and logs.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from tocsin.release.shapes import SHAPES, has_random_text
from tocsin.schema.contract import KINDS, Disclosure, Field, Shape

DENY_LIST = "deny-list"
RULES = (*SHAPES, DENY_LIST)

_WORD = re.compile(r"[^\W_]+")
# Soft hyphens, zero-width characters, byte order marks: nobody sees them, and they part what belongs together.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")

# Names as the words that they consist of, by their first word.
_Names = Mapping[str, tuple[tuple[str, ...], ...]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a field meets; `disclosure` is the class of the field."""

    rule: str
    path: str
    disclosure: Disclosure


def lint(kind: str, content: Mapping[str, object], *, names: Iterable[str]) -> tuple[Finding, ...]:
    """Return what the rules find in content, once for each field and rule, in the order of the contract.

    `names` are compared word by word, whatever their case and whatever stands
    between the words; empty ones are passed over. The caller MUST have checked
    the content against its kind.

    Raises KeyError for an unknown kind.
    """
    denied = _index(tuple(names))
    found: dict[Finding, None] = {}
    for field, written in _texts(KINDS[kind].fields, content):
        for rule in _broken_rules(_unmask(written), field, denied):
            found[Finding(rule, field.path, field.disclosure)] = None
    return tuple(found)


def _texts(fields: tuple[Field, ...], members: Mapping[str, object]) -> Iterator[tuple[Field, str]]:
    """Yield every text that goes far, with its field."""
    for field in fields:
        if field.name not in members:
            continue
        value = members[field.name]
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, Mapping):
                yield from _texts(field.fields, one)
            elif isinstance(one, str) and field.shape is Shape.TEXT and field.disclosure <= Disclosure.COMMUNITY:
                yield field, one


def _unmask(text: str) -> str:
    """Return a text without what only makes it look different: wide letters, ligatures, invisible characters."""
    return text if text.isascii() else _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def _broken_rules(text: str, field: Field, denied: _Names) -> Iterator[str]:
    for rule, is_met in SHAPES.items():
        # where the contract gives a form, such as that of a digest, random text is what belongs there
        if is_met(text) or (rule == "key" and not field.pattern and has_random_text(text)):
            yield rule
    if denied and _has_name(_words(text), denied):
        yield DENY_LIST


def _words(text: str) -> tuple[str, ...]:
    """Return the words of an unmasked text in no case; casefolding can undo the normal form, so it is made again."""
    folded = text.casefold()
    return tuple(_WORD.findall(folded if folded.isascii() else unicodedata.normalize("NFKC", folded)))


@lru_cache(maxsize=8)
def _index(names: tuple[str, ...]) -> _Names:
    index: dict[str, tuple[tuple[str, ...], ...]] = {}
    for words in filter(None, (_words(_unmask(name)) for name in names)):
        index[words[0]] = (*index.get(words[0], ()), words)
    return index


def _has_name(words: tuple[str, ...], names: _Names) -> bool:
    return any(words[at : at + len(name)] == name for at, word in enumerate(words) for name in names.get(word, ()))
