"""This module measures how soon the command answers, from the start of its process to its end."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.command import TOCSIN, environment, serving

from benchmarks.figures import Figure, Scale, Work, ratio_of, take_turns
from benchmarks.progress import Steps
from tocsin_cli.demo.records import demo_records

TITLE = "Start of the command"
ABOUT = (
    "Whole processes, by the clock, with their bytecode cached as an installation has it. `tocsin list` asks a running"
    " node for a dozen records, which takes gRPC, the person's keys and the identity of the organisation."
)
TURNS = 20  # a turn takes a second, and what else the machine does weighs on each
BARE = (sys.executable, "-c", "import grpc, cryptography")
OF = 'the time of python -c "import grpc, cryptography"'


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    turns = max(TURNS, scale.runs)
    with tempfile.TemporaryDirectory() as folder:
        home, around = Path(folder) / "lab", _around(Path(folder))
        _run(*_tocsin(home, "init", "lab-a.example", "--kind", "lab", "--name", "Lab A", "--listen", ""), env=around)()
        with serving(home, env=around), steps.counting("start", 3 * (turns + 1)) as count:
            _run(*_tocsin(home, "post", *map(str, demo_records())), env=around)()
            works: Mapping[str, Work] = {
                "bare": _run(*BARE, env=around),
                "help": _run(*TOCSIN, "--help", env=around),
                "list": _run(*_tocsin(home, "list"), env=around),
            }
            take_turns(1, works, step=count)  # fills the caches of bytecode and of files
            times = take_turns(turns, works, step=count)
    for name, shown, most in (("help", "tocsin --help", 1.0), ("list", "tocsin list", None)):
        yield Figure(
            shown, ratio_of(times, name, "bare"), of=OF, at_most=most, plain=f"{min(times[name]) * 1000:.0f} ms"
        )


def _around(folder: Path) -> dict[str, str]:
    """Return an environment with a place for profiles and for bytecode, wherever the code lies."""
    around = environment(XDG_CONFIG_HOME=folder / "config", LOGNAME="first", PYTHONPYCACHEPREFIX=folder / "bytecode")
    around.pop("PYTHONDONTWRITEBYTECODE", None)
    return around


def _tocsin(home: Path, *arguments: str) -> tuple[str, ...]:
    return (*TOCSIN, "--home", str(home), *arguments)


def _run(*command: str, env: Mapping[str, str]) -> Work:
    """Return a piece of work: to run a command that succeeds."""

    def run() -> None:
        subprocess.run(command, env=env, check=True, capture_output=True)

    return run
