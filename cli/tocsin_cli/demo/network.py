"""This module runs three organisations on this machine: a home, a node process and a first person for each.

They are real nodes on loopback ports, with keys of their own and mutual TLS
between them; each knows the other two by a confirmed fingerprint. People have
their keys in profiles beside the homes. Closing the network ends the processes
that it started, and removes homes and profiles unless they are to be kept.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tocsin.config import desk_socket_path
from tocsin.desk.founding import Founder, create_home
from tocsin.errors import HomeExists, NodeNotRunning
from tocsin.identity.names import OrgId
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli.commands.plan import make_plan, sign_and_apply
from tocsin_cli.commands.policy import Named
from tocsin_cli.profile import Profile, make_keys, new_profile
from tocsin_cli.session import Session, desk_socket, now

START_SECONDS = 20.0
"""Longest wait for a node to open its desk; it takes a second on a laptop."""
STOP_SECONDS = 10.0
"""Longest wait for a node to end by itself before it is killed."""
PAUSE_SECONDS = 0.05
FIRST = "first"
"""The first person of each: it has every role."""
PROFILES = "profiles"
COPY = "-copy"
"""How the folder of a copied home ends."""
PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections: none takes a port between its choice and its use."""


@dataclass(frozen=True, slots=True)
class Member:
    """One organisation of the demo."""

    org: str
    name: str
    kind: str
    role: str


LAB_A = Member("lab-a.example", "Lab A", "lab", "member")
LAB_B = Member("lab-b.example", "Lab B", "lab", "member")
AISI = Member("aisi.example", "AI Safety Institute", "government", "reader")
MEMBERS = (LAB_A, LAB_B, AISI)


@dataclass(slots=True)
class Node:
    """One organisation at work: its home, its first person's session at the desk, its process once it runs."""

    member: Member
    home: Path
    endpoint: str
    fingerprint: str
    session: Session
    process: "subprocess.Popen[bytes] | None" = None


class Network:
    """The three nodes, for as long as the context lasts."""

    def __init__(self, keep: Path | None = None) -> None:
        self._keep = keep
        self._resources = ExitStack()
        self.nodes: dict[str, Node] = {}
        self._copies: list[Node] = []

    def __enter__(self) -> Self:
        """Make the homes; nothing runs yet."""
        with self._resources:
            folder = self._folder()
            self._resources.callback(self._stop)
            for member, port in zip(MEMBERS, free_ports(len(MEMBERS)), strict=True):
                self.nodes[member.org] = _found(member, folder=folder, endpoint=f"127.0.0.1:{port}")
            self._resources = self._resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes, and remove what is not to be kept."""
        self._resources.close()

    def __getitem__(self, member: Member) -> Node:
        return self.nodes[member.org]

    def introduce(self) -> None:
        """Make each a peer of the others, under the fingerprint that its people confirmed, and apply its policies."""
        documents = {
            org: node.session.call(v1.GetIdentityRequest(), v1.GetIdentityResponse).document
            for org, node in self.nodes.items()
        }
        for org, node in self.nodes.items():
            for other, peer in self.nodes.items():
                if other != org:
                    role = v1.PEER_ROLE_READER if peer.member.role == "reader" else v1.PEER_ROLE_MEMBER
                    request = v1.AddPeerRequest(document=documents[other], fingerprint=peer.fingerprint, role=role)
                    node.session.call(request, v1.AddPeerResponse)
            apply(node.session, {other: policy_text(org, other) for other in self.nodes if other != org})

    def start(self) -> None:
        """Start the node processes and wait until each can be asked."""
        self.start_again(*self.nodes.values())

    def start_again(self, *nodes: Node) -> None:
        """Start some nodes, and wait until they can be asked."""
        for node in nodes:
            log = self._resources.enter_context((node.home / "node.log").open("ab"))
            node.process = _start(node.home, log=log)
        for node in nodes:
            _wait_for(node)

    def stop(self, *nodes: Node) -> None:
        """End the processes of some nodes, in order."""
        running = [node.process for node in nodes if node.process is not None]
        for node in nodes:
            node.session.close()
            node.process = None
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def copy(self, node: Node) -> Node:
        """Copy the home of a node that is stopped, and return the copy; it ends with the network, whatever is kept."""
        home = node.home.with_name(f"{node.home.name}{COPY}")
        shutil.copytree(node.home, home)
        session = Session(home, profile=str(node.session.profile.folder))
        self._copies.append(Node(node.member, home, node.endpoint, node.fingerprint, session))
        return self._copies[-1]

    def _folder(self) -> Path:
        if self._keep is None:
            folder = Path(tempfile.mkdtemp(prefix="tocsin-demo-"))
            self._resources.callback(shutil.rmtree, folder, ignore_errors=True)
            return folder
        folder = self._keep.expanduser().absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise HomeExists(
                "something stands here already", where=str(folder), hint="name a folder that does not exist"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _stop(self) -> None:
        nodes = (*self.nodes.values(), *self._copies)
        self.stop(*nodes)
        for node in nodes:
            folder = desk_socket_path(node.home).parent
            if not folder.is_relative_to(node.home):  # a home with a long path has its socket elsewhere
                shutil.rmtree(folder, ignore_errors=True)
        for node in self._copies:
            shutil.rmtree(node.home, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens on, all different."""
    free: list[int] = []
    while len(free) < count:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free += [port] * (port not in free)
    return free


def apply(session: Session, policies: Mapping[str, str]) -> v1.ApplyPoliciesResponse:
    """Put policies for some partners in force, as `tocsin policy apply` does."""
    named = [Named(org, v1.PolicyFile(name=f"{org}.toml", text=text)) for org, text in policies.items()]
    return sign_and_apply(session, make_plan(session, named), named)


def policy_text(org: str, partner: str, *, variant: str = "") -> str:
    """Return the policy file of one organisation for another: accept everything, share what the demo's files say."""
    folder = files("tocsin_cli") / "demo" / "policies"
    own = folder / f"{org}-to-{partner}{variant}.toml"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    return (folder / "accept.toml").read_text(encoding="utf-8").replace("PARTNER", partner)


def add_person(node: Node, name: str, *roles: "v1.PersonRole.ValueType") -> Session:
    """Let a further person work with a node, and return its session."""
    profile = _profile(node.member, name, home=node.home)
    keys = make_keys(profile.org, now=now(), random=secrets.token_bytes)
    with new_profile(profile, keys) as save_identity:
        save_identity(node.session.profile.load_organisation().document)
        node.session.call(v1.AddPersonRequest(card=keys.card(name), roles=roles), v1.AddPersonResponse)
    return Session(node.home, profile=str(profile.folder))


def _found(member: Member, *, folder: Path, endpoint: str) -> Node:
    home = folder / member.org
    profile = _profile(member, FIRST, home=home)
    keys = make_keys(profile.org, now=now(), random=secrets.token_bytes)
    with new_profile(profile, keys) as save_identity:
        made = create_home(
            home,
            org=member.org,
            name=member.name,
            kind=member.kind,
            listen=endpoint,
            endpoints=(endpoint,),
            contact="",
            founder=Founder(FIRST, keys.signer, keys.certificate),
            now=now(),
            random=secrets.token_bytes,
        )
        save_identity(made.document)
    return Node(member, home, endpoint, made.fingerprint, Session(home, profile=str(profile.folder)))


def _profile(member: Member, name: str, *, home: Path) -> Profile:
    folder = home.parent / PROFILES / f"{name}@{member.org}"
    return Profile(folder=folder, name=name, org=OrgId(member.org), home=str(home))


def _start(home: Path, *, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    # Settings of the person who runs the demo are not those of the three nodes.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    command = [sys.executable, "-m", "tocsin_cli", "--home", str(home), "serve"]
    # A session of its own: Ctrl-C is for the demo, which then ends its nodes in order.
    return subprocess.Popen(  # noqa: S603 - our own command
        command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


def _wait_for(node: Node) -> None:
    give_up = time.monotonic() + START_SECONDS
    while desk_socket(node.home) is None:
        ended = node.process is not None and node.process.poll() is not None
        if ended or time.monotonic() > give_up:
            lines = (node.home / "node.log").read_text(errors="replace").splitlines()
            raise NodeNotRunning(
                f"the node of {node.member.org} did not start",
                details=tuple(lines[-5:]),
                hint="is the machine very busy?",
            )
        time.sleep(PAUSE_SECONDS)
