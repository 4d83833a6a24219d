"""This module turns a TOML, YAML or JSON file that somebody wrote into content and envelope settings.

The top level of a file is content; the reserved name `record` holds what goes
into the envelope and into no content:

    record.kind = "finding"
    record.tlp = "AMBER"
    record.to = ["aisi.example"]
    record.downgrade_at = [{at = 2027-01-01T00:00:00Z, tlp = "GREEN"}]

    title = "Tool output can redirect an agent's next action"
    …
"""

import difflib
import math
from collections.abc import Iterator, Mapping

from tocsin.errors import MalformedContent
from tocsin.schema.check import check_content, is_time
from tocsin.schema.contract import KINDS, PAPS, PERMITTED_USES, RELAYS, TLPS
from tocsin.schema.document import Document, Format, parse_document

SETTINGS_KEY = "record"

# What each setting may say; nothing: any text.
_VOCABULARIES: Mapping[str, tuple[str, ...]] = {
    "kind": tuple(KINDS),
    "tlp": TLPS,
    "pap": PAPS,
    "permitted_use": PERMITTED_USES,
    "relay": RELAYS,
    "retention_until": (),
    "downgrade_at": (),
    "to": (),
}
_NO_TIME = "not a time in UTC such as 2026-03-01T12:00:00Z"
_LISTS = frozenset({"permitted_use", "downgrade_at", "to"})


def parse_content_file(
    text: bytes, *, format: Format, name: str, kind: str = ""
) -> tuple[dict[str, object], dict[str, object]]:
    """Return the envelope settings and the content of a file.

    `kind` is the kind of the record where the caller knows it; else the file
    says it in `record.kind`. Where neither does, the content is not checked.

    Raises MalformedContent with `name:line: problem` for each problem in
    `details`.
    """
    document = parse_document(text, format=format, name=name)
    content = dict(document.value)
    settings = content.pop(SETTINGS_KEY, {})
    problems = [*_setting_problems(settings)]
    said = settings.get("kind") if isinstance(settings, dict) else None
    kind = kind or (said if isinstance(said, str) else "")
    if kind in KINDS:
        try:
            check_content(kind, content)
        except MalformedContent as error:
            problems += error.details
    if problems:
        _refuse(problems, document, name)
    return settings, content  # type: ignore[return-value]


def _setting_problems(settings: object) -> Iterator[str]:
    """Yield the problems of the envelope settings."""
    if not isinstance(settings, dict):
        yield f"{SETTINGS_KEY}: not a group of fields"
        return
    for name, value in settings.items():
        problem = _setting_problem(name, value)
        if problem:
            yield f"{SETTINGS_KEY}.{name}: {problem}"


def _setting_problem(name: str, value: object) -> str:
    """Return what is wrong with a setting, or nothing."""
    if name not in _VOCABULARIES:
        near = difflib.get_close_matches(name, _VOCABULARIES, 1)
        return f"no such setting, did you mean {near[0]!r}?" if near else "no such setting"
    if name in _LISTS and not isinstance(value, list):
        return "not a list"
    if name == "downgrade_at":
        return _schedule_problem(value)
    vocabulary = _VOCABULARIES[name]
    for one in value if isinstance(value, list) and name in _LISTS else [value]:
        if not isinstance(one, str):
            return "not a text: write it in quotes"
        if vocabulary and one not in vocabulary:
            return f"none of {', '.join(vocabulary)}"
    if name == "retention_until" and not is_time(value):
        return _NO_TIME
    return ""


def _schedule_problem(steps: object) -> str:
    """Return what is wrong with the shape of a schedule, or nothing; its order is looked at when it is signed."""
    for step in steps if isinstance(steps, list) else ():
        if not isinstance(step, dict) or step.keys() != {"at", "tlp"}:
            return 'not steps such as {at = 2027-01-01T00:00:00Z, tlp = "GREEN"}'
        if not is_time(step["at"]):
            return _NO_TIME
        if step["tlp"] not in TLPS:
            return f"none of {', '.join(TLPS)}"
    return ""


def _refuse(problems: list[str], document: Document, name: str) -> None:
    """Raise with the line of each problem, in the order of the lines; what is missing has none and comes last."""
    lines = document.find_lines()
    placed = [(_line_of(problem.partition(":")[0], lines), problem) for problem in problems]
    placed.sort(key=lambda one: one[0] or math.inf)
    first_line, first = placed[0]
    raise MalformedContent(
        first if len(placed) == 1 else f"several problems, the first is {first}",
        where=f"{name}:{first_line}" if first_line else name,
        details=tuple(f"{name}:{line}: {problem}" if line else f"{name}: {problem}" for line, problem in placed),
    )


def _line_of(place: str, lines: Mapping[str, int]) -> int:
    """Return the line of a place, or of the nearest place around it; 0 where there is none."""
    while place:
        if place in lines:
            return lines[place]
        place = place[: max(place.rfind("."), place.rfind("["), 0)]
    return 0
