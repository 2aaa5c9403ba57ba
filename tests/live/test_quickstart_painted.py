"""The quickstart in a real JupyterLab: what Chromium painted while the job ran."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.jupyter.lab import Lab
from tests.live.test_quickstart import NOTEBOOK, PICTURES, read
from tests.tools import require_module, until

TWISTCLUSTER = (sys.executable, "-m", "twistcluster.cli.main")
SAMPLER = """
() => {
  const seen = window.seen = { tiles: [], plots: [], ended: false };
  const hash = (image) => {
    const canvas = document.createElement("canvas");
    canvas.width = 64; canvas.height = 36;
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0, 64, 36);
    return pen.getImageData(0, 0, 64, 36).data.reduce((sum, value) => (sum * 31 + value) | 0, 7);
  };
  const painted = (image) => {
    const box = image.getBoundingClientRect();
    return image.complete && image.naturalWidth > 0 && box.width > 0 && box.bottom > 0 && box.top < innerHeight;
  };
  const sample = () => {
    const labels = [...document.querySelectorAll(".tc-view")].filter((view) => /paint-\\d+$/.test(view.querySelector(".tc-label").textContent));
    for (const view of labels) {
      const counts = view.querySelector(".tc-counts").textContent;
      if (counts.startsWith("ALL_BUT_ONE of")) { seen.ended = true; continue; }
      const tiles = [...view.querySelectorAll(".tc-tile img")].filter(painted).length;
      if (tiles) seen.tiles.push(tiles);
      const plot = view.querySelector(".tc-plot img");
      if (plot && painted(plot)) seen.plots.push(hash(plot));
    }
    requestAnimationFrame(sample);
  };
  requestAnimationFrame(sample);
}
""".replace("ALL_BUT_ONE", str(PICTURES - 1))


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(400)
def test_the_quickstart_is_painted_live_in_a_browser(tmp_path):
    for library in ("skimage", "sklearn"):
        require_module(library)
    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copy(NOTEBOOK, folder / "quickstart.ipynb")
    cells = read().cells
    code = [at for at, cell in enumerate(cells) if cell.cell_type == "code"]
    live = next(at for at in code if "job.plot(" in cells[at].source)
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(folder, height=1600))
        own = {**os.environ, "JUPYTER_RUNTIME_DIR": str(lab.home / "runtime")}
        page = lab.open("quickstart.ipynb")
        stack.callback(subprocess.run, [*TWISTCLUSTER, "stop", "default", "--force"], env=own, capture_output=True)
        for at in code[: code.index(live)]:
            page.run_cell(at)
        page.page.evaluate(SAMPLER)
        page.run_cell(live)
        until(lambda: page.page.evaluate("window.seen.tiles.length") > 20, 60, "tiles to be painted")
        page.screenshot(tmp_path / "live.png")
        until(lambda: page.page.evaluate("window.seen.ended"), 120, "the job to end")
        seen = page.page.evaluate("window.seen")
        for at in code[code.index(live) + 1 :]:
            page.run_cell(at)
        page.show_cell(live)
        page.screenshot(tmp_path / "ended.png")
        page.save()
        until(lambda: saved_pictures(folder / "quickstart.ipynb", live) >= 2, 30, "the pictures to be saved")
        assert not lab.errors
    assert len(set(seen["tiles"])) >= 5
    assert len(set(seen["plots"])) >= 5


def saved_pictures(path, number) -> int:
    """How many PNGs the saved notebook has under this cell."""
    cell = json.loads(path.read_text())["cells"][number]
    return sum("image/png" in output.get("data", {}) for output in cell["outputs"])
