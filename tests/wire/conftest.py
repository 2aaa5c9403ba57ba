import pytest

from tests.wire.other import Notebook, Other
from twistcluster.wire.definitions import Definitions


@pytest.fixture
def notebook():
    notebook = Notebook()
    yield notebook
    notebook.close()


@pytest.fixture
def book():
    return Definitions()


@pytest.fixture
def other(book):
    other = Other(book)
    yield other
    other.close()
