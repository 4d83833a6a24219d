"""This module lays out a record for people: its fields in the order of the contract, bars where one is withheld.

    subjects
      - kind            model
        name            Orion
        version         ████████ withheld: trade_secret
    steps               ████████ withheld: infohazard
    prompts             ████████ withheld: embargo until 2027-01-01T00:00:00Z

A bar stands where the field would stand. It says nothing about how long the
field is, because nobody here knows.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from textwrap import wrap

from tocsin.schema.contract import KINDS, Field
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import RecordKind, Tlp
from tocsin_cli.document import claim, content_of, timestamp_text

BAR = "█" * 8
ID_LENGTH = 8
"""Characters of the id of a record or a review that people are shown; any unique prefix finds it."""
LABEL_COLUMNS = 26
LONGEST_VALUE = 1200
"""Characters of one value on a screen; an imported original may have half a million."""

Withheld = Mapping[str, v1.WithheldField]


class Tone(StrEnum):
    """What a line is, so that a terminal can colour it."""

    VALUE = "value"
    GROUP = "group"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True)
class Line:
    """One labelled line; `depth` is the number of groups around it."""

    depth: int
    label: str
    value: str
    tone: Tone = Tone.VALUE


def kind_of(record: v1.Record) -> str:
    """Return the kind of a record as a claim."""
    return claim(RecordKind.DESCRIPTOR, record.envelope.kind)


def tlp_of(record: v1.Record) -> str:
    """Return the marking of a record that counts today, as a claim."""
    return claim(Tlp.DESCRIPTOR, record.marking or record.envelope.tlp)


def marking_text(record: v1.Record) -> str:
    """Return the marking of a record that counts today, and the signed one where a signed schedule has lowered it."""
    today, signed = tlp_of(record), claim(Tlp.DESCRIPTOR, record.envelope.tlp)
    return f"TLP:{today}" if today == signed else f"TLP:{today} (signed as TLP:{signed})"


def short_id(record: v1.Record) -> str:
    """Return the part of the record id that people are shown."""
    return record.envelope.record_id[:ID_LENGTH]


def withheld_of(record: v1.Record) -> dict[str, v1.WithheldField]:
    """Return what the sender said it withheld by path, without what is inside something else that it withheld."""
    told = {field.path: field for field in record.withheld}
    return {path: field for path, field in told.items() if not any(above in told for above in _above(path))}


def bar(field: v1.WithheldField) -> str:
    """Return what stands where a value would stand: why it is withheld, and until when, as far as that is told."""
    reason = f": {field.reason}" if field.reason else ""
    until = f" until {timestamp_text(field.until)}" if field.HasField("until") else ""
    return f"{BAR} withheld{reason}{until}"


def waiting_text(waiting: v1.Waiting) -> str:
    """Return what a release waits for, and who has agreed to it."""
    more = waiting.approvals_needed
    parts = [
        f"until {timestamp_text(waiting.not_before)}" if waiting.HasField("not_before") else "",
        f"for {more} more {'person' if more == 1 else 'people'} to agree" if more else "",
    ]
    agreed = f"; {', '.join(waiting.approved_by)} agreed" if waiting.approved_by else ""
    return f"waits {' and '.join(part for part in parts if part)}{agreed}" if any(parts) else waiting.why


def record_lines(record: v1.Record) -> list[Line]:
    """Return the content of a record, line by line."""
    kind = KINDS.get(kind_of(record))
    fields = kind.fields if kind else ()
    return list(_group(content_of(record.content), fields=fields, withheld=withheld_of(record)))


def field_text(value: object) -> str:
    """Return one value on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(field_text(item) for item in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {field_text(item)}" for name, item in value.items())
    return str(value)


def disclosed_fields(paths: Collection[str]) -> list[str]:
    """Return the fields that hold something themselves, without the groups and lists around them."""
    around = {path.rpartition(".")[0].removesuffix("[*]") for path in paths}
    return sorted({path.removesuffix("[*]") for path in paths} - around)


def wrapped(line: Line, columns: int) -> Iterator[str]:
    """Yield the screen lines of one line, its value aligned under itself."""
    label = f"{'  ' * line.depth}{line.label}"
    room = max(columns - LABEL_COLUMNS - 1, 20)
    parts = [
        part
        for paragraph in _cut(line.value).split("\n")
        for part in (wrap(paragraph, room, break_on_hyphens=False) or [""])
    ]
    if not line.value:
        yield label
        return
    yield f"{label:<{LABEL_COLUMNS}} {parts[0]}" if len(label) <= LABEL_COLUMNS else f"{label} {parts[0]}"
    yield from (f"{'':{LABEL_COLUMNS}} {part}".rstrip() for part in parts[1:])


def _group(
    content: Mapping[str, object],
    *,
    fields: Sequence[Field],
    withheld: Withheld,
    prefix: str = "",
    depth: int = 0,
) -> Iterator[Line]:
    known = {field.name: field for field in fields}
    hidden = _names(withheld, prefix=prefix)
    order = [*known, *(name for name in (*content, *hidden) if name not in known)]
    for name in dict.fromkeys(order):
        path = prefix + name
        if name in content:
            inner = known[name].fields if name in known else ()
            yield from _value(content[name], name=name, inner=inner, withheld=withheld, path=path, depth=depth)
        elif name in hidden:
            yield from _bars(name, path=path, withheld=withheld, depth=depth)


def _value(
    value: object, *, name: str, inner: Sequence[Field], withheld: Withheld, path: str, depth: int
) -> Iterator[Line]:
    if isinstance(value, Mapping):
        yield Line(depth, name, "", Tone.GROUP)
        yield from _group(value, fields=inner, withheld=withheld, prefix=f"{path}.", depth=depth + 1)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        yield Line(depth, name, "", Tone.GROUP)
        for item in value:
            entry = item if isinstance(item, Mapping) else {"": item}
            lines = _group(entry, fields=inner, withheld=withheld, prefix=f"{path}[*].", depth=depth + 2)
            for first in islice(lines, 1):
                yield Line(first.depth - 1, f"- {first.label}", first.value, first.tone)
            yield from lines
    else:
        yield Line(depth, name, _listed(value) if isinstance(value, list) else field_text(value))


def _listed(values: Sequence[object]) -> str:
    """Return a list on one line, or one of sentences on a line each."""
    texts = [field_text(value) for value in values]
    if len(texts) > 1 and any(text.endswith((".", "!", "?")) for text in texts):
        return "\n".join(f"- {text}" for text in texts)
    return ", ".join(texts)


def _bars(name: str, *, path: str, withheld: Withheld, depth: int) -> Iterator[Line]:
    inside = [hidden for hidden in withheld if hidden == path or hidden.startswith((f"{path}.", f"{path}[*]"))]
    if inside in ([path], [f"{path}[*]"]):
        yield Line(depth, name, bar(withheld[inside[0]]), Tone.WITHHELD)
        return
    for hidden in inside:
        yield Line(depth, name + hidden.removeprefix(path), bar(withheld[hidden]), Tone.WITHHELD)


def _names(withheld: Withheld, *, prefix: str) -> dict[str, None]:
    below = (path.removeprefix(prefix) for path in withheld if path.startswith(prefix))
    return dict.fromkeys(rest.split(".")[0].removesuffix("[*]") for rest in below)


def _above(path: str) -> Iterator[str]:
    for at, character in enumerate(path):
        if character in ".[" and at:
            yield path[:at]
            if path.startswith("[*]", at):
                yield path[: at + 3]


def _cut(value: str) -> str:
    if len(value) <= LONGEST_VALUE:
        return value
    return f"{value[:LONGEST_VALUE]}… ({len(value):,} characters in all; --json prints them)"
