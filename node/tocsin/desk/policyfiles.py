"""This module reads and writes the policy files that people edit: the folder of a home, and files that a caller sends.

They count for nothing until they are applied (`tocsin.desk.inforce`). A file
is known by its bare name, `floor.toml` or `ORG.toml`, and shown as people find
it from the home: `policies/aisi.example.toml`. A file that cannot be read, or
is not UTF-8, is one more problem with its name beside it, never an exception:
what is wrong with one partner's file must not hide what is wrong with another's.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tocsin.desk.inforce import FOLDER, SUFFIX, parse_set
from tocsin.desk.layout import PRIVATE_FILE, Layout, cause
from tocsin.errors import HomeDamaged, MalformedName, MalformedRequest
from tocsin.identity.names import OrgId, parse_org
from tocsin.policy.model import PolicySet, Problem
from tocsin.policy.parse import FLOOR
from tocsin.policy.starter import starter_policy
from tocsin.v1 import desk_service_pb2 as v1


@dataclass(frozen=True, slots=True)
class Drafts:
    """The files of a folder, as text by bare name, and what is wrong with those that have none."""

    files: Mapping[str, str]
    unreadable: tuple[Problem, ...] = ()

    def overlaid(self, files: Mapping[str, str]) -> "Drafts":
        """Return the folder with some files in place of those of the same name."""
        kept = tuple(problem for problem in self.unreadable if problem.file.removeprefix(f"{FOLDER}/") not in files)
        return Drafts({**self.files, **files}, kept)

    def parse(self) -> PolicySet:
        """Return what the files say."""
        return parse_set(self.files)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return everything that is wrong with the files."""
        unread = {problem.file for problem in self.unreadable}
        # A floor that cannot be read is not missing as well.
        return (*(problem for problem in self.parse().problems if problem.file not in unread), *self.unreadable)


def load_drafts(layout: Layout) -> Drafts:
    """Read every policy file of a home's folder as it is now."""
    files: dict[str, str] = {}
    unreadable: list[Problem] = []
    for path in sorted(layout.policies.glob(f"*{SUFFIX}")):
        place = layout.relative(path)
        try:
            data = path.read_bytes()
            files[path.name] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            unreadable.append(Problem(place, data.count(b"\n", 0, error.start) + 1, "not UTF-8 text"))
        except OSError as error:
            unreadable.append(Problem(place, 1, f"cannot be read: {cause(error)}"))
    return Drafts(files, tuple(unreadable))


def parse_files(messages: Iterable[v1.PolicyFile]) -> dict[str, str]:
    """Return the files that a caller sent. Raises MalformedName and MalformedRequest.

    A name becomes the name of a file in the home, so it is nothing but one.
    """
    files: dict[str, str] = {}
    for message in messages:
        if not message.name.endswith(SUFFIX):
            hint = f"{FLOOR}, or the partner's organisation id and {SUFFIX}"
            raise MalformedName(f"{message.name[:80]!r} is no name of a policy file", hint=hint)
        if message.name != FLOOR:
            parse_org(message.name.removesuffix(SUFFIX))
        if message.name in files:
            raise MalformedRequest(f"{message.name} is there twice")
        files[message.name] = message.text
    return files


def changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the places of the files that differ, those that came or went among them."""
    names = sorted(before.keys() | after.keys())
    return tuple(f"{FOLDER}/{name}" for name in names if before.get(name) != after.get(name))


def write_starter(layout: Layout, partner: OrgId) -> None:
    """Write a draft for a new partner, which accepts everything and shares nothing; one that is there stays.

    Raises HomeDamaged where it cannot be written.
    """
    path = layout.policy(partner)
    if not path.exists():
        _write(layout, path, starter_policy(partner))


def save_files(layout: Layout, files: Mapping[str, str]) -> None:
    """Make the folder say what was applied; a file that was not among it is somebody's next draft, and stays.

    Raises HomeDamaged where one cannot be written.
    """
    here = load_drafts(layout).files
    for name, text in files.items():
        if here.get(name) != text:
            _write(layout, layout.policies / name, text)


def _write(layout: Layout, path: Path, text: str) -> None:
    """Put a text in a file's place in one step: half of a policy is a problem that nobody wrote."""
    beside = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        message = f"the policy file cannot be written: {cause(error)}"
        raise HomeDamaged(message, where=layout.relative(path), hint="make room, or mend the folder") from None
