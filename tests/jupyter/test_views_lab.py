"""Views in a real JupyterLab, as they are painted."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.jupyter.lab import Lab, LabPage, until

ROOT = Path(__file__).parent.parent.parent
SETUP = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import time
from tests.jupyter.fakes import FakeFeed, photo, play
from twistcluster.jupyter.backend import JupyterBackend
backend = JupyterBackend()
"""
GALLERY = """
feed = FakeFeed(count={count})
backend.show_job(feed, None)
"""
PLAY = """
play(feed, photo, {seconds}, fails=(7,), says={{3: "<img src=x onerror=alert(1)> hello"}})
"""
PLOT = """
def histogram(ax, new, state):
    state.setdefault("all", []).extend(new)
    ax.clear()
    ax.hist(state["all"], bins=20)

feed = FakeFeed("brightness-1", count=120)
play(feed, lambda number: float(number * number % 97), 6)
backend.plot_job(feed, histogram, None)
"""
LONG = """
feed = FakeFeed("long-1", count=400)
play(feed, photo, 40)
backend.show_job(feed, None)
"""
PAINTED = "() => [...document.querySelectorAll('.tc-tile img')].filter((image) => image.complete && image.naturalWidth).length"
PLOTTED = (
    "() => { const i = document.querySelector('.tc-plot img'); return i && i.complete && i.naturalWidth ? i.src : '' }"
)

# How many pictures a second there are is counted.
pytestmark = [pytest.mark.slow, pytest.mark.alone]


def gallery(opened: Callable[..., LabPage], count: int = 600) -> LabPage:
    """A gallery of ten pictures a second, whose job begins when the browser is ready to draw it: a cold one takes its time
    to load what it needs. By default it outlives the test.
    """
    page = opened(GALLERY.format(count=count), PLAY.format(seconds=count / 10))
    page.run_cell(1)
    page.page.locator(".tc-view").wait_for(timeout=90_000)
    page.run_cell(2)
    page.show_cell(1)  # nothing is drawn for a view that is out of sight
    return page


def seen_until(page: LabPage, expression: str, gone: str, timeout: float = 40.0) -> set[Any]:
    """Everything that an expression says until a selector matches nothing any more."""
    values = set()
    deadline = time.monotonic() + timeout
    while page.page.locator(gone).count():
        values.add(page.page.evaluate(expression))
        assert time.monotonic() < deadline, f"{gone} is still there"
        time.sleep(0.05)
    return values


def test_a_gallery_fills_and_leaves_its_picture(opened: Callable[..., LabPage]) -> None:
    page = gallery(opened, 150)
    begun = time.monotonic()
    until(lambda: page.page.evaluate(PAINTED), "the first tile")
    print(f"first tile painted {time.monotonic() - begun:.2f} s after the job was begun")
    counts = seen_until(page, PAINTED, ".tc-view")
    assert len(counts) >= 5
    image = page.outputs(1).locator("img")
    image.wait_for()
    assert str(image.get_attribute("src")).startswith("data:image/png")
    assert page.page.locator(".tc-view").count() == 0


def test_what_users_say_is_never_markup(opened: Callable[..., LabPage]) -> None:
    page = gallery(opened)
    until(lambda: "onerror" in page.outputs(1).inner_text(), "what item 3 printed")
    assert page.page.locator(".tc-output img").count() == 0
    failed = page.page.locator(".tc-tile.tc-bad")
    failed.wait_for()
    assert failed.get_attribute("aria-label") == "item 7: ValueError: no such picture"


def test_tiles_have_alt_text_and_take_the_keyboard(opened: Callable[..., LabPage]) -> None:
    page = gallery(opened)
    until(lambda: int(page.page.evaluate(PAINTED)) >= 20, "twenty tiles")
    first = page.page.locator(".tc-tile").first
    assert first.locator("img").get_attribute("alt") == "Result of item 0"
    first.focus()
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("ArrowRight")
    assert page.page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "item 2"
    page.page.keyboard.press("Enter")
    assert page.page.locator(".tc-preview").inner_text() == "item 2"
    page.page.keyboard.press("Escape")
    assert not page.page.locator(".tc-preview").is_visible()


def test_a_plot_lives_and_leaves_its_picture(opened: Callable[..., LabPage]) -> None:
    page = opened(PLOT)
    page.run_cell(1)
    until(lambda: page.page.evaluate(PLOTTED), "the first plot")
    assert len(seen_until(page, PLOTTED, ".tc-view") - {""}) >= 5
    page.outputs(1).locator("img").wait_for()


def test_the_view_lives_while_a_cell_runs(opened: Callable[..., LabPage]) -> None:
    page = opened(LONG, "end = time.monotonic() + 5\nwhile time.monotonic() < end:\n    sum(range(1000))")
    page.run_cell(1)
    until(lambda: page.page.evaluate(PAINTED), "the first tile")
    page.run_cell(2, wait=False)
    page.show_cell(1)
    before = page.page.evaluate(PAINTED)
    until(lambda: page.page.evaluate(PAINTED) >= before + 15, "fifteen tiles more", 5.0)


def test_a_reloaded_page_shows_what_was_there_and_goes_on(opened: Callable[..., LabPage]) -> None:
    page = opened(LONG)
    page.run_cell(1)
    until(lambda: page.page.evaluate(PAINTED) >= 30, "thirty tiles")
    page.save()
    page.reload()
    page.show_cell(1)
    until(lambda: page.page.evaluate(PAINTED) >= 30, "the tiles from before the reload", 10.0)
    before = page.page.evaluate(PAINTED)
    until(lambda: page.page.evaluate(PAINTED) > before + 10, "ten tiles more")


INVITE = """
import twistcluster as tc
get_ipython().run_line_magic("load_ext", "twistcluster")
cluster = tc.Cluster("invites", listen="tls:127.0.0.1:0", slots=0)
get_ipython().run_line_magic("cluster", "connect invites")
get_ipython().run_line_magic("cluster", "invite --uses 2")
"""


def test_a_token_is_shown_and_copied_and_not_saved(lab: Lab, opened: Callable[..., LabPage]) -> None:
    page = opened(INVITE, "cluster.stop(force=True)")
    page.run_cell(1)
    try:
        line = page.outputs(1).locator(".tc-secret")
        line.wait_for(timeout=90_000)
        text = line.inner_text()
        token = text.removeprefix("TWISTCLUSTER_TOKEN=").split()[0]
        assert token.startswith("tc1_") and " twistcluster-worker --join 127.0.0.1:" in text
        shown = page.outputs(1).inner_text()
        assert "Good 2 times" in shown and "Take it back: twistcluster deny invites worker-" in shown
        copy = page.outputs(1).get_by_role("button", name="Copy")
        copy.click()
        until(lambda: page.outputs(1).get_by_role("button").inner_text() == "Copied", "the line is copied")
        page.save()
        saved = (lab.folder / f"{page.page.url.rpartition('/')[2].partition('?')[0]}").read_text()
        assert "An invitation was shown here, and isn't saved" in saved
        assert token not in saved and token[-32:] not in saved
        page.reload()  # the kernel is there, and tells it again
        line.wait_for(timeout=90_000)
        assert line.inner_text() == text
    finally:
        page.run_cell(2)
