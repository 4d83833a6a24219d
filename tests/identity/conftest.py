import pytest

from tests.support.organisations import Founded, found


@pytest.fixture(scope="module")
def lab() -> Founded:
    return found("lab-a.example", endpoints=("lab-a.example:7443",), root_keys=3, threshold=2)
