"""Go is built once in each process that asks it; what it compiles is kept."""

import pytest

from tests.tlog.golang import build_verifier


@pytest.fixture(scope="session")
def go(tmp_path_factory):
    return build_verifier(tmp_path_factory.mktemp("go"))
