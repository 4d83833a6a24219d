"""This module reads anew what a running node may take over, and refuses all of it where anything is wrong.

    1. node.toml, and the environment over it                         MALFORMED_CONFIG
    2. the drafts of the policy files, which are still not in force   MALFORMED_POLICY
    3. identity document and keys, which hold together                HOME_DAMAGED, KEY_EXPOSED, IDENTITY_EXPIRED
    4. the document goes on from the one in use                       BAD_IDENTITY, IDENTITY_OUTDATED

Policies come in force by `tocsin policy apply` alone, under somebody's
signature; a reload only says of a broken draft that it is broken. What stands
behind a listener that is open, or decides who may do what, counts from the
next start.
"""

from dataclasses import dataclass, fields, replace
from typing import Final

from tocsin.config import NodeConfig, load_config
from tocsin.desk.home import Home
from tocsin.desk.papers import Papers, load_papers
from tocsin.desk.policyfiles import load_drafts
from tocsin.desk.succession import settle_keys
from tocsin.errors import MalformedPolicy
from tocsin.identity.root import update_identity

RELOADED: Final = frozenset(
    {
        "heartbeat_seconds",
        "drain_seconds",
        "retry_cap_seconds",
        "streams_per_peer",
        "calls_per_minute",
        "verify_seconds_per_minute",
        "log_format",
        "log_level",
    }
)
"""Settings that a running node takes over."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What was read, and is right."""

    config: NodeConfig
    papers: Papers
    changes: tuple[str, ...]  # of the identity, in words
    postponed: tuple[str, ...]  # settings that have changed, and count from the next start


def read_renewal(home: Home, config: NodeConfig, *, now: int) -> Renewal:
    """Read everything anew, in the order above; nothing is taken over yet. Raises a TocsinError."""
    written = load_config(home.layout.root)  # 1
    if problems := load_drafts(home.layout).problems:  # 2
        details = tuple(str(problem) for problem in problems)
        hint = "put them in order, see: tocsin policy check"
        raise MalformedPolicy("the policy files have problems", hint=hint, details=details)
    taken = replace(config, **{name: getattr(written, name) for name in RELOADED})
    names = (setting.name for setting in fields(NodeConfig))
    postponed = tuple(name for name in names if getattr(taken, name) != getattr(written, name))
    return replace(read_takeover(home, taken, now=now), postponed=postponed)


def read_takeover(home: Home, config: NodeConfig, *, now: int) -> Renewal:
    """Read identity and keys alone: when a key's time has come, no draft may keep it. Raises a TocsinError."""
    settle_keys(home.layout, now=now)  # 3
    papers = load_papers(home.layout, now=now)
    _, changes = update_identity(home.organisation, papers.organisation.document, now=now)  # 4
    return Renewal(config, papers, changes, postponed=())
