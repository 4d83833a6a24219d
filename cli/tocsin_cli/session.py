"""This module knows whom a command asks, and as whom: a home or a desk elsewhere, and the profile of a person.

Everybody speaks to the running node over mutual TLS, on the desk socket of its
home, or on its `desk_listen` from another machine:

    session.call(GetStatusRequest(), GetStatusResponse)

The name of a call follows from the name of its request, which the contract's
lint rules guarantee.
"""

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tocsin.people.act import Act
    from tocsin_cli.profile import Profile

Answer = TypeVar("Answer", bound="Message")
Outcome = TypeVar("Outcome")

LOCK_PATIENCE_SECONDS = 3.0
"""How long to wait for whatever holds the home to listen, or to let go; a node has its socket open sooner than that."""
_LOCK_PAUSE_SECONDS = 0.05


def home_folder() -> Path:
    """Return the home that is used when nobody names one."""
    return Path.home() / ".tocsin"


def now() -> int:
    """Return unix seconds."""
    return int(time.time())


class Connection(Protocol):
    """A way to reach the desk."""

    def call(self, request: "Message", answer: type[Answer]) -> Answer:
        """Ask and wait for the answer."""
        ...

    def stream(self, request: "Message", answer: type[Answer]) -> Iterator[Answer]:
        """Ask and yield the answers as they come."""
        ...

    def close(self) -> None:
        """Let go of the channel."""
        ...


class Session:
    """What one command works with: who asks, whom, and the connection, made when it is first needed."""

    def __init__(
        self, home: Path | None = None, *, profile: str = "", connect: "Callable[[Session], Connection] | None" = None
    ) -> None:
        """Take what the command line names; `profile` is a name or a folder."""
        self.named_profile = profile
        self._home = home.expanduser().absolute() if home is not None else None
        self._connect = connect or connect_desk
        self._connection: Connection | None = None
        self._profile: Profile | None = None

    @property
    def profile(self) -> "Profile":
        """Return as whom we ask. Raises ProfileMissing, and UsageProblem where several could be meant."""
        from tocsin_cli.profile import find_profile

        if self._profile is None:
            home = self._home if self._home or self.named_profile else home_folder()
            self._profile = find_profile(self.named_profile, home=home)
        return self._profile

    @property
    def is_remote(self) -> bool:
        """Say whether the node is on another machine: a profile is named that has no home here."""
        return self._home is None and bool(self.named_profile) and not self.profile.home

    @property
    def home(self) -> Path:
        """Return the home: the one that is named, else the profile's, else the usual one.

        Raises HomeMissing where the node is on another machine.
        """
        if self.is_remote:
            from tocsin.errors import HomeMissing

            message, hint = f"the home of {self.profile.org} is on another machine", "name a home here with --home"
            raise HomeMissing(message, where=str(self.profile.folder), hint=hint)
        if self._home is None:
            self._home = Path(self.profile.home) if self.named_profile else home_folder()
        return self._home

    def place_of(self, file: str) -> str:
        """Return how people find a file that is named relative to the home."""
        return f"{file} in the home of the node" if self.is_remote else str(self.home / file)

    @property
    def desk(self) -> Connection:
        """Return the connection, made on first use."""
        if self._connection is None:
            self._connection = self._connect(self)
        return self._connection

    def call(self, request: "Message", answer: type[Answer]) -> Answer:
        """Ask the desk and wait for the answer."""
        return self.desk.call(request, answer)

    def pages(self, request: Any, answer: type[Answer]) -> Iterator[Answer]:  # noqa: ANN401 - any request with pages
        """Ask the desk for page after page; who asks may change `request.page_size` in between."""
        while True:
            page: Any = self.call(request, answer)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def collect(self, request: Any, answer: type[Answer], *, items: str, limit: int, most: int) -> Answer:  # noqa: ANN401
        """Ask for pages of at most `most` until there are `limit` items, and return them as one answer."""
        found: Any = answer()
        page: Any
        request.page_size = min(limit, most)
        for page in self.pages(request, answer):
            found.MergeFrom(page)
            found.next_page_token = page.next_page_token  # merging leaves an empty one out
            missing = limit - len(getattr(found, items))
            if missing <= 0:
                break
            request.page_size = min(missing, most)
        return found  # type: ignore[no-any-return]

    def stream(self, request: "Message", answer: type[Answer]) -> Iterator[Answer]:
        """Ask the desk and yield its answers as they come."""
        return self.desk.stream(request, answer)

    def sign(self, act: "Act", *, on: str) -> str:
        """Return the statement of whoever asks that it decides this; `on` is the hash of what it is about.

        Raises ProfileMissing and KeyExposed.
        """
        from tocsin.people.act import sign_act

        who = self.profile
        return sign_act(act, on=on, org=who.org, person=who.name, signer=who.load_signer(), now=now())

    def close(self) -> None:
        """Let go of the desk; the next call takes it up again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect_desk(session: Session) -> Connection:
    """Reach the desk over mutual TLS, as the person of the session.

    Raises HomeMissing, ProfileMissing, KeyExposed, NodeNotRunning where nobody
    listens, and HomeLocked where something holds the home and does not listen.
    """
    from tocsin_cli.connection import reach_port, reach_socket

    if session.is_remote:
        return reach_port(session.profile)
    _verify_home(session.home)
    profile = session.profile
    path = wait_for_lock(lambda: _verify_listening(session.home))
    return reach_socket(path, profile, is_listening=lambda: desk_socket(session.home) is not None)


def wait_for_lock(action: Callable[[], Outcome]) -> Outcome:
    """Do what needs the lock of a home, or its node, and wait a little where something holds it.

    Raises HomeLocked where something holds it for longer than our patience.
    """
    from tocsin.errors import HomeLocked

    give_up = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            return action()
        except HomeLocked:
            if time.monotonic() > give_up:
                raise
            time.sleep(_LOCK_PAUSE_SECONDS)


def desk_socket(home: Path) -> Path | None:
    """Return the desk socket of a home where somebody listens on it."""
    from tocsin.config import desk_socket_path

    path = desk_socket_path(home)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None
    return path


def _verify_home(home: Path) -> None:
    """Tell a folder that is no home from one whose node does not run."""
    from tocsin.desk.layout import Layout
    from tocsin.errors import HomeDamaged, HomeMissing

    if home.is_dir() and not os.access(home, os.R_OK | os.X_OK):
        hint = "run as the user whose home it is, or with a profile for its desk port: --profile NAME"
        raise HomeDamaged("the home cannot be read: permission denied", where=str(home), hint=hint)
    layout = Layout(home)
    if any(map(os.path.lexists, (layout.settings, layout.keys, layout.document, layout.store))):
        return
    from tocsin_cli.profile import load_profiles

    elsewhere = [profile.label for profile in load_profiles() if not profile.home]
    raise HomeMissing(
        "there is no home here",
        where=str(home),
        hint="make one with `tocsin init ORG`, or name another with --home or TOCSIN_HOME"
        + (f"; for a node elsewhere: --profile {' or '.join(elsewhere)}" if elsewhere else ""),
    )


def _verify_listening(home: Path) -> Path:
    """Return the socket of the node; raise HomeLocked where one may be about to open it."""
    from tocsin.desk.layout import Layout
    from tocsin.errors import HomeLocked, NodeNotRunning

    if path := desk_socket(home):
        return path
    with suppress(OSError), Layout(home).lock.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "wait for it to end, or stop it"
            raise HomeLocked("something holds the home and does not listen", where=str(home), hint=hint) from None
    raise NodeNotRunning("no node is running on this home", where=str(home), hint="start it with: tocsin serve")
