"""This module reads `node.toml` and knows where a home keeps its desk socket.

    listen           = "127.0.0.1:7470"   # address of the peer port; "" opens none
    pull             = true               # call the peers that have an endpoint, and stay in touch
    desk_listen      = ""                 # address for our own people elsewhere; "": the desk socket alone
    strict           = false              # nobody holds release, policy and keys at once
    passphrase_file  = ""                 # file with the passphrase of the keys; "": they have none
    ...

Each setting is also read from the environment, as `TOCSIN_` and its name in
capitals; the environment wins over the file. Unknown settings are errors, and
every problem of a file is reported at once.
"""

import hashlib
import os
import re
import stat
import tempfile
import tomllib
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from tocsin.errors import HomeDamaged, MalformedConfig

if TYPE_CHECKING:
    from annotated_types import Interval
    from pydantic import ValidationError

CONFIG_FILE = "node.toml"
_ENVIRONMENT = "TOCSIN_"

# Loopback, so that a node started by accident is nobody else's business; the port is unassigned at IANA.
DEFAULT_LISTEN = "127.0.0.1:7470"
# Most middle boxes forget a silent connection after 60 s or more: three signs of life in that time.
DEFAULT_HEARTBEAT_SECONDS = 20.0
# Service managers usually kill 90 s after SIGTERM, people expect less than 30 s; calls take 5 s at most.
DEFAULT_DRAIN_SECONDS = 10.0
# A peer that was away for a week is found again within five minutes; at this pace a dead one costs nothing.
DEFAULT_RETRY_CAP_SECONDS = 300.0
# A peer needs one stream; a second one for the overlap when it reconnects, two more to be generous.
DEFAULT_STREAMS_PER_PEER = 4
# A peer that catches up makes two calls for a page of 256 records: 25 pages a second, about what a core verifies.
DEFAULT_CALLS_PER_MINUTE = 3000

# A page of 256 records takes 30 ms to verify: a peer that catches up takes a third of one core, and nobody's two.
DEFAULT_VERIFY_SECONDS_PER_MINUTE = 20.0

# The desk is our own: 200 drafts at once, each with the original file it was made from, and pages of full records.
DESK_MESSAGE_BYTES = 64 * 1024 * 1024

# `sockaddr_un.sun_path` has 108 bytes, the last one a NUL.
LONGEST_SOCKET_PATH = 107
# Where a socket fits whatever the runtime and temporary directories are called.
SHORTEST_BASE = "/tmp"  # noqa: S108  (the folder in it is made private, and looked at before it is used)

_LISTEN = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Settings of one node; what is not set has the default of its constant.

    `listen` is `host:port` (`[host]:port` for IPv6, port 0 for any free one);
    empty, the node opens no port and calls others itself. Without `pull` it
    calls nobody unless told to by `tocsin sync`. `desk_listen` has the form of
    `listen`: our own people elsewhere are let in there by the same keys as at
    the desk socket. With `strict`, whoever holds the roles of releaser,
    policy-admin and operator acts as an operator alone. `passphrase_file` is
    taken from the home where it is relative. The last three numbers count for
    each peer alone; the last of them is the time of one core that is spent on
    verifying what it sends. `metrics_listen` is a port of this machine alone.
    """

    listen: str = DEFAULT_LISTEN
    pull: bool = True
    desk_listen: str = ""
    strict: bool = False
    passphrase_file: str = ""
    heartbeat_seconds: "Annotated[float, Interval(ge=0.05, le=300)]" = DEFAULT_HEARTBEAT_SECONDS
    drain_seconds: "Annotated[float, Interval(ge=0, le=60)]" = DEFAULT_DRAIN_SECONDS
    retry_cap_seconds: "Annotated[float, Interval(ge=0.05, le=86_400)]" = DEFAULT_RETRY_CAP_SECONDS
    streams_per_peer: "Annotated[int, Interval(ge=1, le=64)]" = DEFAULT_STREAMS_PER_PEER
    calls_per_minute: "Annotated[int, Interval(ge=1, le=1_000_000)]" = DEFAULT_CALLS_PER_MINUTE
    verify_seconds_per_minute: "Annotated[float, Interval(ge=0.1, le=600)]" = DEFAULT_VERIFY_SECONDS_PER_MINUTE
    metrics_listen: str = ""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def load_config(home: Path) -> NodeConfig:
    """Read `node.toml` of a home, and the environment over it.

    Raises HomeDamaged where the file is missing, MalformedConfig with a line
    for each problem where it does not read.
    """
    # Time that commands which need no setting do not spend.
    from annotated_types import Interval
    from pydantic import ConfigDict, ValidationError, create_model, field_validator

    hints = get_type_hints(NodeConfig, localns={"Interval": Interval}, include_extras=True)
    settings: dict[str, Any] = {field.name: (hints[field.name], field.default) for field in fields(NodeConfig)}
    checks = {
        "listen_has_its_form": field_validator("listen", "desk_listen", "metrics_listen")(_check_listen),
        "metrics_stay_here": field_validator("metrics_listen")(_check_loopback),
    }
    config = ConfigDict(extra="forbid")
    model = create_model("NodeSettings", __config__=config, __validators__=checks, **settings)
    variables = {name: f"{_ENVIRONMENT}{name.upper()}" for name in settings}
    overruled = {name: os.environ[variable] for name, variable in variables.items() if variable in os.environ}
    try:
        read = model(**_load_toml(home / CONFIG_FILE) | overruled)
    except ValidationError as error:
        raise MalformedConfig(
            "the settings of the node are not right",
            where=CONFIG_FILE,
            hint=f"correct {home / CONFIG_FILE} or the TOCSIN_ variables, then start again",
            details=_problems(error),
        ) from None
    return NodeConfig(**read.model_dump())


def default_config_text(listen: str = DEFAULT_LISTEN) -> str:
    """Return the `node.toml` that a new home starts with: every setting, commented out where it has its default."""
    lines = [
        "# Settings of this node. What is commented out shows its default.",
        "# Each may also be given in the environment: TOCSIN_LISTEN and so on.",
        f"listen = {_toml(listen)}",
    ]
    defaults = asdict(NodeConfig())
    del defaults["listen"]
    return "\n".join(lines + [f"# {name} = {_toml(value)}" for name, value in defaults.items()]) + "\n"


def _fits_a_socket(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH


def desk_socket_path(home: Path) -> Path:
    """Return where the desk socket of a home is, or would be.

    It is `run/desk.sock` in the home; where that is too long for a socket
    address, it is in a folder of the user's runtime directory that is named
    after the home, or of `/tmp` where that is too long as well. That folder
    may lie where others can write, so it is looked at here, for the node and
    for the command alike.

    Raises HomeDamaged where somebody else made that folder, or opened it.
    """
    home = home.expanduser().resolve()
    path = home / "run" / "desk.sock"
    if _fits_a_socket(path):
        return path
    name = f"tocsin-{os.getuid()}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / name
    if not _fits_a_socket(folder / path.name):
        folder = Path(SHORTEST_BASE) / name
    if os.path.lexists(folder) and not is_private_folder(folder):
        raise HomeDamaged(
            "the folder of the desk socket belongs to somebody else or is open to others",
            where=str(folder),
            hint="remove the folder, or move the home to a shorter path",
        )
    return folder / "desk.sock"


def is_private_folder(folder: Path) -> bool:
    """Say whether this is a real folder that belongs to us and is closed to all others."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _load_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HomeDamaged(
            "the home has no node.toml", where=str(path), hint="write one; an empty file takes every default"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise HomeDamaged("node.toml cannot be read", where=str(path), hint=str(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise MalformedConfig(
            "node.toml is not TOML", where=CONFIG_FILE, hint=f"correct {path}", details=(_lower(str(error)),)
        ) from None


def _check_listen(value: str) -> str:
    match = _LISTEN.fullmatch(value)
    if value and (match is None or int(match["port"]) > 65_535):
        raise ValueError('not of the form "host:port"')
    return value


def _check_loopback(value: str) -> str:
    host = value.rpartition(":")[0].strip("[]")
    with suppress(ValueError):
        if not value or host == "localhost" or ip_address(host).is_loopback:
            return value
    raise ValueError("not an address of this machine alone, such as 127.0.0.1:9470: it asks nobody who they are")


def _problems(error: "ValidationError") -> tuple[str, ...]:
    known = [field.name for field in fields(NodeConfig)]
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = get_close_matches(name, known, n=1)
            lines.append(f"{name}: unknown setting" + (f", did you mean {near[0]}?" if near else ""))
        else:
            lines.append(f"{name}: {_lower(problem['msg'].removeprefix('Value error, '))}")
    return tuple(lines)


def _toml(value: str | bool | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
