"""This module lends tests a folder that outlives them, for what is slow to build or to fetch.

It lies in the user's caches and not in the repository. Whatever is in it can
be thrown away, and is made again.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cache_folder(name: str) -> Iterator[Path]:
    """Lend a folder to one process at a time: tests run in several."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "tocsin-tests" / name
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
