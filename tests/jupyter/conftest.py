"""A JupyterLab in Chromium, for the tests of a module together."""

from collections.abc import Callable, Iterator

import pytest

from tests.jupyter.lab import Lab, LabPage, chromium_or_skip, write_notebook


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    chromium_or_skip()
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def opened(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Callable[..., LabPage]]:
    """Opens notebooks whose first cell, the module's SETUP, has run."""
    pages: list[LabPage] = []

    def open_with(*cells: str) -> LabPage:
        name = f"{request.node.name}.ipynb"
        write_notebook(lab.folder / name, request.module.SETUP, *cells)
        page = lab.open(name)
        pages.append(page)
        page.run_cell(0)
        return page

    lab.errors.clear()
    yield open_with
    for page in pages:
        page.close()
    assert lab.errors == []
