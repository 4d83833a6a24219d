"""This module says how the node's log is written: one line an event, on standard error, without any content.

    text    2026-03-01T12:00:00Z INFO tocsin.process: draining
    json    {"ts": "2026-03-01T12:00:00Z", "level": "info", "event": "draining", "logger": "tocsin.process"}

Every module logs with `logging` of the standard library. What stands in `extra`
under one of these names becomes a member of the JSON line, and nothing else
does: `peer`, `record`, `request_id`, `duration_s`. A line of text is for people, who read all of it in the message.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

MEMBERS: Final = ("peer", "record", "request_id", "duration_s")
"""What a line may say beside its event: ids and numbers, by which lines of many nodes are put together."""


def write_logs(*, level: str, form: str) -> None:
    """Write every log of this process to standard error from now on; again, in place of what was said before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def formatter(form: str) -> logging.Formatter:
    """Return what makes a line of a record: `text` or `json`."""
    return _Json() if form == "json" else _Text()


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a line for people."""
        return f"{_time_of(record)} {record.levelname} {record.name}: {_event_of(record)}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a line for programs."""
        members = {"ts": _time_of(record), "level": record.levelname.lower(), "event": _event_of(record)}
        members |= {name: vars(record)[name] for name in MEMBERS if name in vars(record)}
        return json.dumps(members | {"logger": record.name}, default=str)


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _event_of(record: logging.LogRecord) -> str:
    """Return what happened; of an exception its type alone, for what it says may hold anything."""
    raised = record.exc_info[0] if record.exc_info else None
    return record.getMessage() + (f": {raised.__name__}" if raised else "")
