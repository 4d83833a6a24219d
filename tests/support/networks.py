"""This module gives processes networks of their own on this machine: namespaces on one bridge, whose links can fail.

A link fails silently: packets to a host go to a hardware address that nobody
has, so that connections stay open on both sides and nothing tells them. It
takes root and the program `ip`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

NOBODY = "02:00:00:00:00:00"
_PREFIX = "10.77.0."


def why_not() -> str:
    """Return why there can be no such networks here; empty: there can."""
    if shutil.which("ip") is None:
        return "the program ip is not installed"
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if made.returncode == 0 else "this system gives no network namespaces"


@dataclass(frozen=True)
class Host:
    """A namespace with one address."""

    name: str
    address: str

    @property
    def inside(self) -> tuple[str, ...]:
        """Return the command that runs another one in it."""
        return ("ip", "netns", "exec", self.name)

    def lose(self, other: "Host") -> None:
        """Lose every packet to another host from now on."""
        _run(*self.inside, "ip", "neigh", "replace", other.address, "lladdr", NOBODY, "nud", "permanent", "dev", "eth0")

    def reach(self, other: "Host") -> None:
        """Reach another host again."""
        _run(*self.inside, "ip", "neigh", "del", other.address, "dev", "eth0")


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Return hosts that reach one another; they and their bridge are gone afterwards."""
    tag = f"{os.getpid() % 0xFFFF:x}"
    bridge = f"tcb{tag}"
    with ExitStack() as made:
        _run("ip", "link", "add", bridge, "type", "bridge")
        made.callback(_run, "ip", "link", "del", bridge)
        _run("ip", "link", "set", bridge, "up")
        found = []
        for number in range(1, count + 1):
            host, link = Host(f"tocsin-{tag}-{number}", f"{_PREFIX}{number}"), f"tc{tag}v{number}"
            _run("ip", "netns", "add", host.name)
            made.callback(_run, "ip", "netns", "del", host.name)
            _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _run("ip", "link", "set", link, "master", bridge, "up")
            _run(*host.inside, "ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _run(*host.inside, "ip", "link", "set", device, "up")
            found.append(host)
        yield found


def cut(one: Host, other: Host) -> None:
    """Lose everything between two hosts, in both directions."""
    one.lose(other)
    other.lose(one)


def mend(one: Host, other: Host) -> None:
    """Let two hosts reach one another again."""
    one.reach(other)
    other.reach(one)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
