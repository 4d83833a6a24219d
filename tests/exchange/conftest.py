import pytest

from tests.exchange import notary
from tests.exchange.parties import A, B, C, Party


@pytest.fixture(autouse=True)
def no_logs():
    notary.begin()


@pytest.fixture
def parties(tmp_path):
    made = [Party(org, tmp_path) for org in (A, B, C)]
    yield made
    for party in made:
        party.store.close()


@pytest.fixture
def a(parties):
    return parties[0]


@pytest.fixture
def b(parties):
    return parties[1]


@pytest.fixture
def c(parties):
    return parties[2]
