import pytest

from tests.support.stores import new_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tocsin.db"


@pytest.fixture
def store(path):
    with new_store(path) as store:
        yield store
