import pytest

from tests.support.organisations import found
from tests.support.stores import new_store
from tocsin.audit.log import Log

LAB = found()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tocsin.db"


@pytest.fixture
def store(path):
    with new_store(path) as store:
        yield store


@pytest.fixture
def log(store):
    return Log(store, org=LAB.organisation.org, signer=LAB.delivery)
