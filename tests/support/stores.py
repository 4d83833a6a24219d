"""This module makes empty stores for tests: the migrations run once, and every store is a copy of what they made."""

import tempfile
from functools import cache
from pathlib import Path

from tocsin.store.sqlite import SqliteStore, open_store


def new_store(path: Path) -> SqliteStore:
    """Return a store at a path, as `open_store(path, create=True)` makes it in ten times the time."""
    path.write_bytes(_empty())
    return open_store(path)


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tocsin.db"
        with open_store(path, create=True):
            pass
        return path.read_bytes()
