"""The notebooks about pictures, run from end to end: what their cells say, and what they leave behind."""

import base64
import io
import re
from pathlib import Path

import nbclient
import nbformat
import pytest
from PIL import Image

import twistcluster as tc
from tests.tools import require_module
from twistcluster.client.launch import running_clusters

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


class Ran:
    """A notebook that ran."""

    def __init__(self, name: str, folder: Path) -> None:
        notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
        resources = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(notebook, timeout=90, kernel_name="python3", resources=resources).execute()
        self.code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    def cell(self, source: str):
        return next(cell for cell in self.code if source in cell.source)

    def says(self, source: str) -> str:
        """What stands below a cell, as text."""
        found = []
        for output in self.cell(source).outputs:
            found += [output.get("text", ""), output.get("data", {}).get("text/plain", "")]
        return "\n".join(filter(None, found)).strip()

    def complaints(self) -> str:
        """What its cells wrote beside their outputs."""
        outputs = [output for cell in self.code for output in cell.outputs]
        return "".join(output.text for output in outputs if output.get("name") == "stderr")

    def sheet(self, source: str) -> str:
        """What a gallery left: its words. It left a contact sheet as well."""
        (output,) = [
            each for each in self.cell(source).outputs if " done" in each.get("data", {}).get("text/plain", "")
        ]
        image = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"])))
        assert image.width >= 800 and len(image.convert("RGB").resize((64, 64)).getcolors(4096)) > 100
        return output["data"]["text/plain"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for library in ("skimage", "sklearn"):
        require_module(library)
    written = tmp_path / "temporary"
    written.mkdir()
    monkeypatch.setenv("TMPDIR", str(written))
    yield tmp_path
    for left in running_clusters():  # a cell failed
        with tc.connect(left.id) as cluster:
            cluster.stop(force=True)
    assert not [path.name for path in written.iterdir() if path.name.startswith(("pictures-", "digits-"))]


@pytest.mark.slow
def test_image_processing(folder):
    ran = Ran("02-image-processing.ipynb", folder)
    assert ran.says("iterdir()))") == "120"
    assert ran.says("small = photos.fit") == "<pictures: fit, autocontrast, sharpen>"
    assert ran.sheet("small.gallery()").startswith("fit-autocontrast-sharpen-1: 119 of 120 done, 1 failed")
    assert ran.says("small.results(").startswith("119 pictures")
    (row,) = [line for line in ran.says("saved[").splitlines() if "PictureDamaged: chelsea-06.jpg" in line]
    assert "False" in row
    assert "first time, made: Counter({True: 119, False: 1})" in ran.says("again = ")
    assert "second time, made: Counter({False: 120})" in ran.says("again = ")
    facts = ran.says("metadata(").splitlines()
    assert len(facts) == 11 and re.search(r"…/china-\d\d.jpg +JPEG +1,200 +900 +RGB .*#[0-9a-f]{6} \d\d%", facts[3])
    assert len(re.findall(r"'retina-\d\d\.jpg'", ran.says("reddest"))) == 5  # as anybody sees
    assert not ran.complaints()
    kept = int(ran.says("len(posters"))
    assert 20 < kept < 100
    assert f"{kept} pictures, {119 - kept} left out" in ran.sheet("posters.gallery()")
    assert ran.says("stack()") == "((119, 120, 160, 3), dtype('uint8'))"
    assert "image/png" in ran.cell("brightness").outputs[-1]["data"]


@pytest.mark.slow
def test_image_recognition(folder):
    require_module("onnxruntime")
    ran = Ran("03-image-recognition.ipynb", folder)
    assert re.match(r"index +source +label +score", ran.says("table[:5]"))
    right = int(re.match(r"(\d+) of 450 are right", ran.says("sum(right)"))[1])
    assert right >= 437  # 97 %
    if right < 450:
        assert ran.sheet("top=2").endswith(f"{450 - right} pictures")
    assert "450 of 450 done" in ran.sheet("found.gallery()")
    assert "24 of 24 done" in ran.sheet("places.gallery()")
    assert re.search(r"^\d 0\.\d\d \[\d+, \d+, \d+, \d+\]$", ran.says("places.results()"), re.MULTILINE)
    assert "6 of 6 done" in ran.sheet("faces.gallery()")
    assert re.findall(r"'(\w+)\.\w+', 1", ran.says("faces.table()")) == ["astronaut"]
    assert re.search(r"^digits +recognize", ran.says("found.serve("), re.MULTILINE)
    digit = re.search(r"'(\d)'\)$", ran.says('cluster.ask("digits", digits[7])'))[1]
    assert int(ran.says("cluster.asking(")) >= 95
    assert ran.says("program.py {folder}") == f"It is a {digit}"
    assert re.fullmatch(rf"{digit} [01]\.\d+", ran.says("-m twistcluster ask"))
    assert ran.says("cluster.unserve(") == "no servers"
    assert not running_clusters()
