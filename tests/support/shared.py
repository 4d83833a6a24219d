"""This module finds public test data that lies beside the repository and is never committed."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("TOCSIN_SHARED", ROOT.parent / "shared"))


def shared(relative: str) -> Path:
    """Return a path below the shared folder, or skip the test and say what is missing."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"public test data is not here: shared/{relative}", allow_module_level=True)
    return path
