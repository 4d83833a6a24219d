import pytest

from tests.support.organisations import found
from tocsin.audit.log import Log
from tocsin.store.sqlite import open_store

LAB = found()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tocsin.db"


@pytest.fixture
def store(path):
    with open_store(path, create=True) as store:
        yield store


@pytest.fixture
def log(store):
    return Log(store, org=LAB.organisation.org, signer=LAB.delivery)
