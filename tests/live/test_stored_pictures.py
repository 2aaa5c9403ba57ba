"""A notebook whose job makes pictures that lie in the store: its gallery has them."""

import base64
import io

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

CELL = """
import numpy as np, twistcluster as tc
from PIL import Image

def paint(i):
    return Image.fromarray(np.full((600, 800, 3), COLOURS[i], dtype="u1"))

def bright(image):
    return Image.fromarray(np.asarray(image) + 40 * np.ones((1, 1, 3), dtype="u1"))

COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
cluster = tc.Cluster(slots=2)
painted = cluster.map(paint, range(3))
"""
SHOW = "job = cluster.map(bright, painted)\njob.show()"
LOOK = "print(job[2].where, np.asarray(job[2].result())[0, 0])\ncluster.close()"


def test_a_gallery_of_stored_pictures(tmp_path):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(code) for code in (CELL, SHOW, LOOK)]
    NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    (shown,) = notebook.cells[1].outputs
    assert "3 of 3 done" in shown.data["text/plain"]
    with Image.open(io.BytesIO(base64.b64decode(shown.data["image/png"]))) as still:
        pixels = np.asarray(still.convert("RGB")).reshape(-1, 3).astype(int)
    for colour in ((240, 40, 40), (40, 240, 40), (40, 40, 240)):
        near = (abs(pixels - colour).max(axis=1) < 25).mean()
        assert near > 0.005, (colour, near)
    (printed,) = notebook.cells[2].outputs
    assert printed.text.startswith("store of ") and printed.text.endswith("[ 40  40 240]\n")
