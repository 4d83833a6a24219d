from pathlib import Path

import pytest

from tests.identity.outsiders import install_tufjs
from tests.support.organisations import Founded, found


@pytest.fixture(scope="module")
def lab() -> Founded:
    return found("lab-a.example", endpoints=("lab-a.example:7443",), root_keys=3, threshold=2)


@pytest.fixture(scope="session")
def tufjs() -> Path:
    """Return the folder with another implementation of TUF."""
    return install_tufjs()
