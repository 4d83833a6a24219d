"""This module says how the node's log is written: one line an event, on standard error, without any content.

    text    2026-03-01T12:00:00Z INFO tocsin.process: draining
    json    {"ts": "2026-03-01T12:00:00Z", "level": "info", "event": "draining", "logger": "tocsin.process"}

Every module logs with `logging` of the standard library. What stands in `extra`
under one of these names becomes a member of the JSON line, and nothing else
does: `peer`, `record`, `request_id`, `duration_s`. A line of text is for people, who read all of it in the message.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from structlog.stdlib import ProcessorFormatter

MEMBERS: Final = ("peer", "record", "request_id", "duration_s")
"""What a line may say beside its event: ids and numbers, by which lines of many nodes are put together."""

Members = MutableMapping[str, Any]


def write_logs(*, level: str, form: str) -> None:
    """Write every log of this process to standard error from now on; again, in place of what was said before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def formatter(form: str) -> ProcessorFormatter:
    """Return what makes a line of a record: `text` or `json`."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(MEMBERS),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    renderer = structlog.processors.JSONRenderer(ensure_ascii=True) if form == "json" else _render_text
    last = [_only_text, ProcessorFormatter.remove_processors_meta, _in_order, renderer]
    return ProcessorFormatter(processors=last, foreign_pre_chain=shared)


def _only_text(_logger: object, _method: str, members: Members) -> Members:
    """Name the type of an exception and leave out what it says, which may hold anything."""
    raised = members.pop("exc_info", None)
    if isinstance(raised, tuple) and raised[0] is not None:
        members["event"] = f"{members['event']}: {raised[0].__name__}"
    return members


def _in_order(_logger: object, _method: str, members: Members) -> Members:
    order = ("ts", "level", "event", *MEMBERS, "logger")
    return {name: members[name] for name in order if name in members}


def _render_text(_logger: object, _method: str, members: Members) -> str:
    return f"{members['ts']} {members['level'].upper()} {members['logger']}: {members['event']}"
