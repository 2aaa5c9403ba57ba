"""How soon a gallery shows its first tile, and how smoothly it scrolls, in Chromium.

    python -m tests.jupyter.gallery_figures

prints: seconds from the call of `gallery()` to the first tile painted, with 10,000 pictures pending, in a fresh kernel
and in the same one again; and the frames of a scroll through 5,000 tiles, by the wheel and by leaps.
"""

import tempfile
from pathlib import Path
from typing import Any

from tests.jupyter.lab import Lab, LabPage, until, write_notebook

__all__ = ["first_tile_seconds", "scroll_frames"]

ROOT = Path(__file__).parent.parent.parent
SETUP = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import time
from tests.jupyter.fakes import FakePictures, found, photo, play
from twistcluster.client import views
made = [found(number) for number in range(20)]
views.prepare()  # as cluster.images(…) does
"""
PENDING = """
feed = FakePictures("pictures-1", count=10_000)
begun = time.time()
views.backend().gallery(feed, None)
playing = play(feed, lambda number: made[number % 20], 60)
"""
THERE = """
feed = FakePictures("pictures-2", count=5_000)
for number in range(0, 5_000, 20):
    feed.finish(number, made)
feed.end()
views.backend().gallery(feed, None)
"""
WATCH = """() => { window.tileAt = 0; const look = () => {
    for (const image of document.querySelectorAll('.tc-album .tc-tile img'))
        if (image.complete && image.naturalWidth && !image.closest('.tc-seen')) {
            // The frame in which it is drawn ends before the next one begins.
            requestAnimationFrame(() => { window.tileAt = Date.now() / 1000; });
            return;
        }
    requestAnimationFrame(look); }; look(); }"""
SCROLL = """async ([by, frames]) => {
    const grid = document.querySelector('.tc-mounted .tc-grid');
    const times = []; let last = performance.now(); let blank = 0;
    grid.scrollTop = 0;
    for (let frame = 0; frame < frames; frame++) {
        await new Promise((go) => requestAnimationFrame(go));
        const now = performance.now(); times.push(now - last); last = now;
        grid.scrollTop += by;
        if (grid.scrollTop + grid.clientHeight >= grid.scrollHeight - 1) grid.scrollTop = 0;
    }
    return { times, nodes: grid.querySelectorAll('.tc-tile').length }; }"""


def first_tile_seconds(page: LabPage, cell: int) -> float:
    """Run a cell like PENDING; how long until a tile is painted."""
    page.page.evaluate(WATCH)
    page.run_cell(cell, wait=False)
    painted = until(lambda: page.page.evaluate("() => window.tileAt"), "the first tile")
    page.wait_for_cell()
    page.show_cell(cell)
    begun = page.page.evaluate(
        "async () => { const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;"
        " const asked = kernel.requestExecute({code: '', user_expressions: {begun: 'begun'}, store_history: false});"
        " return (await asked.done).content.user_expressions.begun.data['text/plain']; }"
    )
    return float(painted) - float(begun)


def scroll_frames(page: LabPage, by: int, frames: int) -> dict[str, Any]:
    """Scroll the first gallery that is over; the milliseconds of each frame, and how many tiles are in the page."""
    seen: dict[str, Any] = page.page.evaluate(SCROLL, [by, frames])
    return seen


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "notebooks"
        folder.mkdir()
        write_notebook(folder / "figures.ipynb", SETUP, PENDING)
        write_notebook(folder / "scroll.ipynb", SETUP, THERE)
        with Lab(folder) as lab:
            for again in range(3):
                page = lab.open("figures.ipynb")
                page.run_cell(0)
                print(f"first tile, fresh kernel {again + 1}: {first_tile_seconds(page, 1):.2f} s")
                page.page.evaluate(
                    "() => document.querySelectorAll('.tc-album').forEach((one) => one.classList.add('tc-seen'))"
                )
                page.close()
            page = lab.open("scroll.ipynb")
            page.run_cell(0)
            page.run_cell(1)
            page.page.locator(".tc-mounted .tc-grid").wait_for(timeout=60_000)
            for what, by in (("as a wheel does, 120 pixels a frame", 120), ("a screen a frame", 600), ("leaps", 9_973)):
                seen = scroll_frames(page, by, 240)
                times = sorted(seen["times"])
                middle, longest = times[len(times) // 2], times[-1]
                print(
                    f"scrolling {what}: median {middle:.0f} ms, longest frame {longest:.0f} ms, {seen['nodes']} tiles"
                )
            page.close()


if __name__ == "__main__":
    main()
