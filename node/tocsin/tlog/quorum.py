"""This module says whose cosignatures make a checkpoint good, and reads it from a file (C2SP tlog-policy).

    # comments, empty lines, spaces and tabs are ignored
    log lab-a.example/tocsin+1f0d6a3c+AaYx…
    witness aisi aisi.example/witness+9b1deb4d+BKPr…  https://aisi.example/witness
    witness uni  uni.example/witness+5c1e7a02+BJ8k…
    witness ngo  ngo.example/witness+0a9d3f41+BC4t…
    group outside 2 aisi uni ngo                      any, all, or how many of its members
    quorum outside                                    a witness, a group, or none

A line refers to lines above it only, and a name is a member of one group at
most. So a witness counts in one way only, and groups cannot go in circles.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NoReturn

from tocsin.errors import CheckpointRefused, MalformedLog
from tocsin.identity.vkey import NoteAlgorithm
from tocsin.tlog.checkpoint import Cosignature, VerifiedCheckpoint, cosignatures
from tocsin.tlog.note import Verifier, parse_verifier

MAX_LINES: Final = 64
"""Of each kind. tlog-policy asks for room for 32 logs, 32 witnesses and 32 groups."""

MAX_POLICY: Final = 64 * 1024
"""Bytes: as many lines with the longest keys and addresses stay below."""

NONE: Final = "none"
"""The name of the quorum for which no cosignature is needed."""

_BLANK = " \t"
_ITEMS = re.compile(r"[ \t]+")
_COUNT = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Party:
    """A log or a witness: its key, and where it is reached, empty where the file does not say."""

    verifier: Verifier
    url: str


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses and groups of which so many must have cosigned."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quorum:
    """Which logs and witnesses are known, and which of the witnesses must stand behind a checkpoint."""

    logs: tuple[Party, ...]
    witnesses: Mapping[str, Party]
    groups: Mapping[str, Group]
    rule: str

    def vkeys_of(self, origin: str) -> tuple[str, ...] | None:
        """Return the keys of a log by its origin, or None for a log that the file does not name."""
        return tuple(log.verifier.vkey for log in self.logs if log.verifier.name == origin) or None

    def verify(self, checkpoint: VerifiedCheckpoint, *, now: int) -> tuple[Cosignature, ...]:
        """Verify that enough witnesses have cosigned a checkpoint, and return all known ones that have.

          1. every cosignature of a known witness verifies        tlog-cosignature (`cosignatures`)
          2. the witness or group of the quorum line has cosigned  tlog-policy, Defining the quorum

        The caller MUST have verified the checkpoint with the keys of its log:
        the log lines here are for callers that have no other source of them.

        Raises CheckpointRefused (NO_QUORUM, FUTURE_COSIGNATURE; details say
        who is missing) and SignatureMismatch.
        """
        verifiers = [witness.verifier for witness in self.witnesses.values()]
        found = cosignatures(checkpoint.note, verifiers=verifiers, now=now)  # 1
        if self.rule != NONE and self.cosigned_at(found) is None:  # 2
            tree = checkpoint.checkpoint
            raise CheckpointRefused(
                f"too few witnesses have cosigned the tree of {tree.size} entries of {tree.origin!r}",
                reason="NO_QUORUM",
                details=tuple(self._missing(self.rule, self._times(found))),
                hint="ask for the proof again later: the log may still be collecting cosignatures",
            )
        return found

    def cosigned_at(self, found: Iterable[Cosignature]) -> int | None:
        """Return since when the quorum stands: the earliest time by which enough had cosigned, or None.

        A group stands at the k-th smallest time of its members: fewer than k
        of them cannot move it, whatever time they state.
        """
        return None if self.rule == NONE else self._time(self.rule, self._times(found))

    def _times(self, found: Iterable[Cosignature]) -> dict[str, int]:
        names = {witness.verifier: name for name, witness in self.witnesses.items()}
        return {names[each.verifier]: each.at for each in found if each.verifier in names}

    def _time(self, name: str, times: Mapping[str, int]) -> int | None:
        group = self.groups.get(name)
        if group is None:
            return times.get(name)
        known = sorted(at for member in group.members if (at := self._time(member, times)) is not None)
        return known[group.threshold - 1] if len(known) >= group.threshold else None

    def _missing(self, name: str, times: Mapping[str, int]) -> Iterable[str]:
        group = self.groups.get(name)
        if group is None:
            yield f"witness {name} has not cosigned"
            return
        absent = [member for member in group.members if self._time(member, times) is None]
        count = len(group.members) - len(absent)
        yield f"group {name}: {count} of the {group.threshold} that it needs, without {', '.join(absent)}"
        for member in absent:
            if member in self.groups:
                yield from self._missing(member, times)


@dataclass(slots=True)
class _Reading:
    """What the lines above say."""

    logs: list[Party] = field(default_factory=list)
    witnesses: dict[str, Party] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    rule: str = ""


def parse_quorum(text: str | bytes) -> Quorum:
    """Read which witnesses count.

    Raises MalformedLog (BAD_LOG_POLICY), whose place is the line.
    """
    # Names are octets to tlog-policy: what is not UTF-8 is kept apart, never repaired.
    text = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    if len(text) > MAX_POLICY:
        _refuse(1, f"more than {MAX_POLICY} characters")
    reading = _Reading()
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if any((char < " " and char != "\t") or char == "\x7f" for char in line):
            _refuse(number, "a control character stands in it")
        stripped = line.strip(_BLANK)
        if stripped and not stripped.startswith("#"):
            _read(reading, _ITEMS.split(stripped), number)
    if lines[-1]:
        _refuse(len(lines), "the last line has no end")
    if not reading.rule:
        _refuse(len(lines), "no quorum line says whose cosignatures are needed")
    witnesses, groups = MappingProxyType(reading.witnesses), MappingProxyType(reading.groups)
    return Quorum(tuple(reading.logs), witnesses, groups, reading.rule)


def _read(reading: _Reading, items: list[str], number: int) -> None:
    match items:
        case ["log", vkey, *url] if len(url) <= 1:
            reading.logs.append(_party(vkey, url, NoteAlgorithm.ED25519, reading.logs, number))
        case ["witness", name, vkey, *url] if len(url) <= 1:
            _verify_new(reading, name, number)
            known = reading.witnesses.values()
            reading.witnesses[name] = _party(vkey, url, NoteAlgorithm.COSIGNATURE_V1, known, number)
        case ["group", name, count, *members] if members:
            _verify_new(reading, name, number)
            reading.groups[name] = _group(reading, count, tuple(members), number)
        case ["quorum", name]:
            if reading.rule:
                _refuse(number, "a second quorum line")
            if name != NONE:
                _verify_defined(reading, name, number)
            reading.rule = name
        case _:
            _refuse(number, "no line of the form log, witness, group or quorum")
    if max(len(reading.logs), len(reading.witnesses), len(reading.groups)) > MAX_LINES:
        _refuse(number, f"more than {MAX_LINES} logs, witnesses or groups")


def _party(vkey: str, url: list[str], algorithm: NoteAlgorithm, known: Iterable[Party], number: int) -> Party:
    try:
        verifier = parse_verifier(vkey, algorithm=algorithm)
    except MalformedLog as error:
        _refuse(number, error.message)
    if any(each.verifier.public_key == verifier.public_key for each in known):
        _refuse(number, "its key stands in a line above already")
    return Party(verifier, "".join(url))


def _group(reading: _Reading, count: str, members: tuple[str, ...], number: int) -> Group:
    for member in members:
        _verify_defined(reading, member, number)
        if member in reading.members:
            _refuse(number, f"{member!r} is a member of a group already")
        reading.members.add(member)
    counts = {"any": 1, "all": len(members)}
    threshold = counts.get(count) or (int(count) if _COUNT.fullmatch(count) else 0)
    if not 1 <= threshold <= len(members):
        _refuse(number, f"{count!r} is not any, all, or a number up to that of the members")
    return Group(threshold, members)


def _verify_new(reading: _Reading, name: str, number: int) -> None:
    if name == NONE or name in reading.witnesses or name in reading.groups:
        _refuse(number, f"{name!r} stands for something already")


def _verify_defined(reading: _Reading, name: str, number: int) -> None:
    if name not in reading.witnesses and name not in reading.groups:
        _refuse(number, f"no line above defines {name!r}")


def _refuse(number: int, problem: str) -> NoReturn:
    raise MalformedLog(problem, reason="BAD_LOG_POLICY", where=f"line {number}")
