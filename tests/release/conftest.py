import pytest

from tests.exchange.parties import A, B, C, Party


@pytest.fixture
def a(tmp_path):
    party = Party(A, tmp_path)
    yield party
    party.store.close()


@pytest.fixture
def b(tmp_path):
    party = Party(B, tmp_path)
    yield party
    party.store.close()


@pytest.fixture
def c(tmp_path):
    party = Party(C, tmp_path)
    yield party
    party.store.close()
