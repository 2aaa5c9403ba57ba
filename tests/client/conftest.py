import pytest

from tests.wire.other import Notebook


@pytest.fixture
def notebook():
    notebook = Notebook()
    yield notebook
    notebook.close()
