"""Galleries of a real job, under nbclient: what is saved."""

import base64
import io
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parent.parent.parent
CELLS = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import twistcluster as tc
from twistcluster.client import views
from PIL import Image
class Pictures:
    def __init__(self, record):
        self.record = record
    def __getattr__(self, name):
        return getattr(self.record, name)
    def names(self, index):
        return f"IMG_{{index}}.jpg"
    def full(self, index):
        raise OSError("not asked for here")
# ---
cluster = tc.Cluster(slots=1)
def picture(number):
    if number == 3:
        raise ValueError("no such picture")
    return Image.new("RGB", (800, 600), (number * 2 % 256, 90, 200))
job = cluster.map(picture, range(130))
views.backend().gallery(Pictures(job._record), None)
# ---
state = job.state
cluster.stop(force=True)
state
"""


@pytest.mark.slow
def test_under_nbclient_a_job_of_pictures_leaves_its_contact_sheet(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS.split("# ---\n")]
    NotebookClient(
        notebook, timeout=90, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert notebook.cells[2].outputs[-1].data["text/plain"] == "'failed'"  # it was waited for
    [output] = [output for output in notebook.cells[1].outputs if "image/png" in output.data]
    assert output.data.keys() == {"text/plain", "image/png"}
    assert "129 of 130 done, 1 failed" in output.data["text/plain"] and "\n129 pictures" in output.data["text/plain"]
    with Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))) as sheet:
        assert sheet.width == 1640
        colors = {pixel for _, pixel in sheet.convert("RGB").getcolors(1 << 20)}
    # The pictures' own colours; the error and the last thirty have none.
    assert {(2 * number % 256, 90, 200) for number in range(100) if number != 3} <= {(r, g, b) for r, g, b in colors}
