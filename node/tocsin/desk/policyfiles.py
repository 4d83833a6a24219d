"""This module reads the policy files of a home and hands their text to the policy room.

A file that cannot be read, or is not UTF-8, is one more problem with its name
beside it, never an exception: what is wrong with one partner's file must not
hide what is wrong with another's. Files are named as people see them, from the
home: `policies/aisi.example.toml`.
"""

import os
from dataclasses import replace
from pathlib import PurePosixPath

from tocsin.desk.layout import PRIVATE_FILE, Layout, cause
from tocsin.errors import HomeDamaged
from tocsin.identity.names import OrgId
from tocsin.policy.model import PolicySet, Problem
from tocsin.policy.parse import parse_policies
from tocsin.policy.starter import starter_policy


def load_policies(layout: Layout) -> PolicySet:
    """Read every policy file of a home as it is now."""
    files: dict[str, str] = {}
    unreadable: list[Problem] = []
    for path in sorted(layout.policies.glob("*.toml")):
        name = layout.relative(path)
        try:
            data = path.read_bytes()
            files[name] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            unreadable.append(Problem(name, data.count(b"\n", 0, error.start) + 1, "not UTF-8 text"))
        except OSError as error:
            unreadable.append(Problem(name, 1, f"cannot be read: {cause(error)}"))
    policies = parse_policies(files)
    # A floor that is not there has no path to be named by; here it has.
    named = (replace(p, file=layout.relative(layout.policies / PurePosixPath(p.file).name)) for p in policies.problems)
    return replace(policies, problems=(*named, *unreadable))


def write_starter(layout: Layout, partner: OrgId) -> PolicySet | None:
    """Write a policy file for a new partner, which accepts and shares nothing, and return what it says.

    What stands there already is left alone, and None is returned. Raises
    HomeDamaged where the file cannot be written; then there is none.
    """
    path = layout.policy(partner)
    text = starter_policy(partner)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    except FileExistsError:
        return None
    except OSError as error:
        raise _cannot_write(layout.relative(path), error) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        path.unlink()  # half of a policy is a problem that nobody wrote
        raise _cannot_write(layout.relative(path), error) from None
    return parse_policies({layout.relative(path): text})


def _cannot_write(where: str, error: OSError) -> HomeDamaged:
    message = f"the policy file cannot be written: {cause(error)}"
    return HomeDamaged(message, where=where, hint="make room, or mend the folder")


def changed_files(before: PolicySet, after: PolicySet) -> tuple[str, ...]:
    """Return the files that differ between two readings, those that came or went among them."""
    files = sorted(before.digests.keys() | after.digests.keys())
    return tuple(file for file in files if before.digests.get(file) != after.digests.get(file))
