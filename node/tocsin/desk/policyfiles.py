"""This module reads the policy files of a home and hands their text to the policy room.

A file that cannot be read, or is not UTF-8, is one more problem with its name
beside it, never an exception: what is wrong with one partner's file must not
hide what is wrong with another's.
"""

from dataclasses import replace
from pathlib import Path

from tocsin.policy.model import PolicySet, Problem
from tocsin.policy.parse import parse_policies


def load_policies(folder: Path) -> PolicySet:
    """Read every policy file in a folder as it is now."""
    files: dict[str, str] = {}
    unreadable: list[Problem] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            files[path.name] = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            line = path.read_bytes()[: error.start].count(b"\n") + 1
            unreadable.append(Problem(path.name, line, "not UTF-8 text"))
        except OSError as error:
            unreadable.append(Problem(path.name, 1, f"cannot be read: {error.strerror}"))
    policies = parse_policies(files)
    return replace(policies, problems=(*policies.problems, *unreadable)) if unreadable else policies
