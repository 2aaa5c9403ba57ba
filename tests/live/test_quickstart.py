"""The quickstart, as `make demo` runs it, and as somebody sees it in JupyterLab."""

import base64
import io
import re
import time
from pathlib import Path

import nbclient
import nbformat
import pytest
from PIL import Image

from tests.tools import require_module

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01-quickstart.ipynb"
PICTURES = 250
COUNT = re.compile(rf"^paint-\d+: (\d+) of {PICTURES} done")
BROKEN = 17


class Watching(nbclient.NotebookClient):
    """Runs a notebook and keeps every message, with the time at which it came."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen: list[tuple[float, dict]] = []

    def process_message(self, msg, cell, cell_index):
        self.seen.append((time.monotonic(), msg))
        return super().process_message(msg, cell, cell_index)


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def text_of(cell) -> str:
    parts = []
    for output in cell.outputs:
        parts += [output.get("text", ""), output.get("data", {}).get("text/plain", ""), *output.get("traceback", [])]
    return "\n".join(parts)


def cell_with(notebook, source: str):
    return next(cell for cell in notebook.cells if cell.cell_type == "code" and source in cell.source)


def displays(seen) -> dict[str, list[tuple[str, str]]]:
    """For each display, in the order of their opening, what it showed: (text, PNG)."""
    shown: dict[str, list[tuple[str, str]]] = {}
    for _, message in seen:
        if message["msg_type"] not in {"display_data", "update_display_data"}:
            continue
        data = message["content"]["data"]
        number = message["content"].get("transient", {}).get("display_id")
        if number and COUNT.match(data.get("text/plain", "")):
            shown.setdefault(number, []).append((data["text/plain"], data.get("image/png", "")))
    return shown


def running(text: str) -> bool:
    match = COUNT.match(text)
    return bool(match) and int(match[1]) < PICTURES - 1


def picture(png: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(png)))


@pytest.mark.parametrize("path", sorted(NOTEBOOK.parent.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_saved_without_outputs_and_explains_every_cell(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [at for at, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    assert all(not notebook.cells[at].outputs and notebook.cells[at].execution_count is None for at in code)
    explained = [at for at in code if notebook.cells[at - 1].cell_type == "markdown"]
    assert explained == code
    assert all(len(notebook.cells[at].source.splitlines()) <= 18 for at in code)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_the_quickstart_runs_headless_and_keeps_its_pictures(tmp_path):
    for library in ("skimage", "sklearn"):
        require_module(library)
    nbconvert = require_module("nbconvert")
    notebook = read()
    client = Watching(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()

    # Live: pictures of a gallery and of a plot, while the job ran.
    live = list(displays(client.seen).values())
    assert len(live) >= 2
    gallery, plot = (next(found for found in live if is_plot(found) == wanted) for wanted in (False, True))
    while_running = [text for text, png in gallery if running(text) and png]
    assert len({COUNT.match(text)[1] for text in while_running}) >= 5
    assert len({png for text, png in plot if running(text) and png}) >= 5

    # The end of it: all but the broken one.
    for found in (gallery, plot):
        text, png = found[-1]
        assert COUNT.match(text)[1] == str(PICTURES - 1) and "1 failed" in text
        assert picture(png).width >= 800

    # What the cells say.
    assert "'default'" in text_of(cell_with(notebook, "%cluster start"))
    assert f"item {BROKEN}" in text_of(cell_with(notebook, "job.plot(brightness"))
    assert cell_with(notebook, "len(painted)").outputs[-1]["data"]["text/plain"] == str(PICTURES - 1)
    assert "truncated" in text_of(cell_with(notebook, "job.errors()"))
    status = text_of(cell_with(notebook, "%cluster status"))
    assert len(re.findall(r"this machine|\bworker\b", status)) >= 2
    assert text_of(cell_with(notebook, "Counter(job.results())")).count(":") >= 2
    assert text_of(cell_with(notebook, "worker.wait()")).strip() == "0"

    # The saved page has the final pictures in it.
    page, _ = nbconvert.HTMLExporter(embed_images=True).from_notebook_node(notebook)
    for found in (gallery, plot):
        assert "".join(found[-1][1].split()) in "".join(page.split())


def is_plot(found) -> bool:
    """A plot's card has the proportions of a figure; a gallery of hundreds is taller."""
    image = picture(next(png for _, png in reversed(found) if png))
    return image.height < image.width * 0.75
