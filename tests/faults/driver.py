"""This module does operations in processes of their own, which somebody stops, or whose disk fails.

    python -m tests.faults.driver            # then on stdin, line by line: OPERATION <tab> FOLDER

For each line a child is forked, which waits until FOLDER/go is opened: whoever
wants to trace it has time to. The id of the child is answered, and in the end
how it ended. Loading the program takes longer than all that it does here, so it
is done once.

What is durable is written to FOLDER/said, line by line, as soon as it is. A
refusal with a reason is written there too, and the operation is tried again:
a full disk that has room again must not stop anybody for good.
"""

import os
import sys
from pathlib import Path

from tests.faults.pair import OPERATIONS
from tocsin.errors import TocsinError

ATTEMPTS = 40
"""More than the calls that are made to fail in a row."""


def main() -> None:
    """Fork a child for each line."""
    for line in sys.stdin:
        name, _, folder = line.rstrip("\n").partition("\t")
        child = os.fork()
        if child == 0:
            _wait_and_do(name, Path(folder))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _wait_and_do(name: str, folder: Path) -> None:
    """Do the operation once somebody opens the pipe, and never return."""
    (folder / "go").read_bytes()
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        do(name, folder, said)
    except BaseException:  # noqa: BLE001 -- a child must not go on as its parent
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def do(name: str, folder: Path, said: int) -> None:
    """Do the operation, as often as it takes."""

    def say(line: str) -> None:
        for _ in range(ATTEMPTS):  # the way to the outside is not what is tested
            try:
                os.write(said, f"{line}\n".encode())
            except OSError:
                continue
            return

    for _ in range(ATTEMPTS):
        try:
            OPERATIONS[name].run(folder, say)
        except TocsinError as error:
            say(f"refused {type(error).__name__} {error.reason}")
        else:
            say("done")
            return
    raise RuntimeError("it never goes on")


if __name__ == "__main__":
    main()
