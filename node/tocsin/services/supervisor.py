"""This module tells a service manager how the node is doing, as systemd asks it of a unit with `Type=notify`.

A datagram of lines `NAME=value` goes to the socket that `NOTIFY_SOCKET` names
(sd_notify(3)): `READY=1`, `RELOADING=1` with the monotonic time, `STOPPING=1`,
and `STATUS=` in words. Without that variable nobody listens, and nothing is
sent. A manager that does not listen must never stop a node.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping

_log = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"


def tell_ready(status: str) -> None:
    """Say that the node serves, from the start or again after a reload."""
    _send({"READY": "1", "STATUS": status})


def tell_reloading() -> None:
    """Say that the node reads its settings anew; `tell_ready` follows."""
    microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _send({"RELOADING": "1", "MONOTONIC_USEC": str(microseconds)})


def tell_stopping() -> None:
    """Say that the node goes away."""
    _send({"STOPPING": "1", "STATUS": "draining"})


def _send(lines: Mapping[str, str]) -> None:
    name = os.environ.get(VARIABLE, "")
    if not name.startswith(("/", "@")):
        return
    address = f"\0{name[1:]}" if name.startswith("@") else name  # `@` stands for an abstract socket
    message = "\n".join(f"{key}={value}" for key, value in lines.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.setblocking(False)
            manager.sendto(message.encode(), address)
    except OSError as error:
        _log.warning("the service manager cannot be told: %s", (error.strerror or "unknown error").lower())
