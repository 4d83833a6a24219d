"""This module runs a node: `python -m tocsin --home DIR`."""

import argparse
import os
import sys
from pathlib import Path

from tocsin.errors import TocsinError

DEFAULT_HOME = "~/.tocsin"


def main() -> int:
    """Run a node until it is told to stop, and return the exit code."""
    # gRPC would tell of every stranger's handshake on standard error; it reads this when it is first imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from tocsin.process import run

    parser = argparse.ArgumentParser(prog="python -m tocsin", description="Run a node on a home.")
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("TOCSIN_HOME", DEFAULT_HOME)),
        help="the home; default: TOCSIN_HOME, else ~/.tocsin",
    )
    parser.add_argument("--once", action="store_true", help="fetch from every peer, and stop")
    arguments = parser.parse_args()
    try:
        run(arguments.home, once=arguments.once)
    except TocsinError as error:
        for line in (f"error: {error}", *error.details, *([f"hint: {error.hint}"] if error.hint else [])):
            print(f"tocsin: {line}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
