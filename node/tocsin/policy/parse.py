"""This module reads policy files: every problem of every file at once.

A file with a problem gives no policy: nothing is sent to that partner and
nothing taken from it. A floor with a problem, or none, gives no floor: nothing
is sent to anybody.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Final

from tocsin.identity.names import OrgId
from tocsin.policy.clauses import Accept, Floor, Never, Policy, Require, Share
from tocsin.policy.document import SectionReader, parse_document
from tocsin.policy.idle import find_shadow, find_taker, is_taken_earlier
from tocsin.policy.model import PolicySet, Problem
from tocsin.policy.rules import read_accept, read_head, read_never, read_require, read_share
from tocsin.policy.spelling import did_you_mean

FLOOR: Final = "floor.toml"
_PARTNERS_FILE: Final = "a partner's file"
_TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    _PARTNERS_FILE: ("[[share]]", "[accept]"),
    FLOOR: ("[[never]]", "[[require]]"),
}


def parse_policies(files: Mapping[str, str]) -> PolicySet:
    """Read the policy files of a home, given as text by file name."""
    problems: list[Problem] = []
    policies: dict[OrgId, Policy] = {}
    floor: Floor | None = None
    if not any(_is_floor(file) for file in files):
        problems.append(Problem(FLOOR, 1, "missing: without a floor nothing is sent to anybody"))
    for file, text in sorted(files.items(), key=lambda item: (not _is_floor(item[0]), item[0])):
        found: list[Problem] = []
        policy: Policy | None = None
        if _is_floor(file):
            floor = _read_floor(file, text, found)
        else:
            policy = _read_policy(file, text, files, found)
        _report_namesakes(file, files, found)
        if _is_floor(file) and found:
            floor = None
        if policy and not found:
            policies[policy.partner] = policy
        problems.extend(sorted(found, key=lambda problem: problem.line))
    # No problems: a floor that stops everything for a while must be able to come in force.
    taken = tuple(_find_taken(policies.values(), floor, files)) if floor else ()
    return PolicySet(policies, floor, tuple(problems), taken)


def _is_floor(file: str) -> bool:
    """Say whether a file is the floor and not a partner's."""
    return PurePosixPath(file).name == FLOOR


def _digest(text: str) -> str:
    """Return the SHA-256 of a file in hex."""
    return sha256(text.encode()).hexdigest()


def _read_floor(file: str, text: str, problems: list[Problem]) -> Floor | None:
    """Return the floor, or None where there is a problem."""
    nevers: list[Never] = []
    requires: list[Require] = []
    for section in parse_document(text, file=file, problems=problems):
        reader = SectionReader(section, file=file, problems=problems)
        if section.name == "never" and section.is_listed:
            nevers.append(read_never(reader))
        elif section.name == "require" and section.is_listed:
            require = read_require(reader)
            requires += [require] if require else []
        elif section.name:
            _report_table(reader, FLOOR)
        else:
            reader.finish()
    _report_twins((*nevers, *requires), file, problems)
    return None if problems else Floor(tuple(nevers), file, _digest(text), tuple(requires))


def _read_policy(file: str, text: str, files: Iterable[str], problems: list[Problem]) -> Policy | None:
    """Return a partner's policy, or None where none can be made of the file."""
    partner: OrgId | None = None
    agreement, expires = "", None
    shares: list[Share] = []
    accept: Accept | None = None
    for section in parse_document(text, file=file, problems=problems):
        reader = SectionReader(section, file=file, problems=problems)
        if section.name == "share" and section.is_listed:
            _add_share(reader, shares)
        elif section.name == "accept" and not section.is_listed:
            accept = read_accept(reader)
        elif section.name:
            _report_table(reader, _PARTNERS_FILE)
        else:
            partner, agreement, expires = read_head(reader, files=files)
    _report_twins(shares, file, problems)
    if partner is None:
        return None
    return Policy(partner, agreement, expires, tuple(shares), accept, file, _digest(text))


def _add_share(reader: SectionReader, shares: list[Share]) -> None:
    """Add a share rule to those before it, which must leave it something to do."""
    share = read_share(reader)
    if share is None:
        return
    shadow = find_shadow(share, shares)
    if shadow is not None:
        reader.report(f"never reached: {shadow.name!r} at line {shadow.line} covers everything that this rule does")
    elif is_taken_earlier(share, shares):
        reader.report("never reached: the rules before it together cover everything that this rule does")
    shares.append(share)


def _report_table(reader: SectionReader, of: str) -> None:
    """Report a table that such a file does not have."""
    written = f"[[{reader.section.name}]]" if reader.section.is_listed else f"[{reader.section.name}]"
    other = next((file for file, tables in _TABLES.items() if file != of and written in tables), None)
    if other:
        reader.report(f"{written} belongs in {other}")
        return
    guess = did_you_mean(written, _TABLES[of]) or f"; {of} has {' and '.join(_TABLES[of])}"
    reader.report(f"unknown table {written}{guess}")


def _report_namesakes(file: str, files: Iterable[str], problems: list[Problem]) -> None:
    """Report another file of the same name: neither of two counts."""
    name = PurePosixPath(file).name
    for other in files:
        if other != file and PurePosixPath(other).name == name:
            problems.append(Problem(file, 1, f"two files of one name: {other} is another {name}"))


def _find_taken(policies: Iterable[Policy], floor: Floor, files: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the rules of which the floor leaves nothing."""
    for policy in policies:
        for share in policy.shares:
            never = find_taker(share, floor, partner=policy.partner)
            if never is not None:
                source = files[policy.file].split("\n")[share.line - 1].rstrip("\r")
                place = f"{floor.file}:{never.line}"
                why = f"shares nothing: {never.name!r} at {place} takes everything that this rule shares"
                yield Problem(policy.file, share.line, why, 1, source)


def _report_twins(rules: Iterable[Share | Never | Require], file: str, problems: list[Problem]) -> None:
    """Report rules of one name: an explanation could not say which it means."""
    seen: dict[str, int] = {}
    for rule in rules:
        if rule.name and rule.name in seen:
            problems.append(
                Problem(file, rule.line, f"another rule, at line {seen[rule.name]}, is named {rule.name!r} too")
            )
        seen.setdefault(rule.name, rule.line)
