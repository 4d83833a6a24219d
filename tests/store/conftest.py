import pytest

from tocsin.store.sqlite import open_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tocsin.db"


@pytest.fixture
def store(path):
    with open_store(path, create=True) as store:
        yield store
