"""Galleries in a real JupyterLab, as they are painted."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.jupyter.gallery_figures import THERE, first_tile_seconds, scroll_frames
from tests.jupyter.lab import Lab, LabPage, until

ROOT = Path(__file__).parent.parent.parent
SETUP = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import time
from tests.jupyter.fakes import FakePictures, Found, found, photo, play
from twistcluster.client import views
from twistcluster.images.plan import Dropped
made = [found(number) for number in range(20)]
def make(number):
    return Dropped.DROPPED if number % 10 == 4 else found(number)
"""
GALLERY = """
feed = FakePictures("birds-3", count={count}, broken=(2,))
feed.called.update({{1: "<img src=x onerror=alert(1)>.jpg"}})
views.backend().gallery(feed, None)
"""
PLAY = "playing = play(feed, make, {seconds}, fails=(5, 17, 30))"
OVER = GALLERY + "play(feed, make, 0.1, fails=(5, 17, 30), batch=1).join()"
HOSTILE = """
evil = "<img src=x onerror='window.evil = 1'>"
feed = FakePictures(evil, count=2)
feed.called.update({0: evil, 1: evil})
feed.finish(0, [Found(photo(0), (320, 240), [(evil, 0.9, (10, 10, 90, 90))])])
feed.fail(1, "ValueError", evil)
feed.end()
views.backend().gallery(feed, None)
"""
PAINTED = "() => [...document.querySelectorAll('.tc-album .tc-tile:not([hidden]) img')].filter((i) => i.complete && i.naturalWidth).length"
FOCUSED = "() => document.activeElement.getAttribute('aria-label')"
# Where tiles are on the screen, by their index.
PLACES = """() => Object.fromEntries([...document.querySelectorAll('.tc-album .tc-tile:not([hidden])')].map((tile) => {
    const box = tile.getBoundingClientRect(); return [tile.dataset.index, [Math.round(box.left), Math.round(box.top)]]; }))"""

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def tile(page: LabPage, index: int) -> Any:
    return page.page.locator(f".tc-tile:not([hidden])[data-index='{index}']")


def shown(page: LabPage) -> list[int]:
    """Indices of the tiles in the page, in the order of their places."""
    found = page.page.evaluate(
        "() => [...document.querySelectorAll('.tc-tile:not([hidden])')]"
        ".map((tile) => [+tile.getAttribute('aria-posinset'), +tile.dataset.index])"
    )
    return [index for _, index in sorted(found)]


def over(opened: Callable[..., LabPage], count: int = 100, cell: str = OVER) -> LabPage:
    """A gallery whose job is over: it lives on, on its contact sheet."""
    page = opened(cell.format(count=count) if cell is OVER else cell)
    page.run_cell(1)
    page.page.locator(".tc-mounted .tc-tile").first.wait_for(timeout=90_000)
    page.show_cell(1)
    return page


def test_a_gallery_fills_without_moving_anything(opened: Callable[..., LabPage]) -> None:
    page = opened(GALLERY.format(count=600), PLAY.format(seconds=8))
    page.run_cell(1)
    page.page.locator(".tc-album .tc-tile").first.wait_for(timeout=90_000)
    page.run_cell(2)
    page.show_cell(1)
    grid = page.page.locator(".tc-grid")
    assert tile(page, 3).get_attribute("aria-setsize") == "600"
    grid.evaluate("(grid) => { grid.scrollTop = 700; }")
    until(lambda: int(page.page.evaluate(PAINTED)) >= 12, "twelve tiles")
    before, scrolled = page.page.evaluate(PLACES), grid.evaluate("(grid) => grid.scrollTop")
    until(lambda: "left out" in page.outputs(1).inner_text() and page.page.evaluate(PAINTED) >= 24, "what comes after")
    after = page.page.evaluate(PLACES)
    # What is looked at stays where it is; what is below may take the places of what was left out.
    looked_at = [index for index, (_, top) in before.items() if top < grid.bounding_box()["y"] + 300]
    assert len(looked_at) >= 12
    assert {index: after[index] for index in looked_at} == {index: before[index] for index in looked_at}
    assert grid.evaluate("(grid) => grid.scrollTop") == scrolled


def test_the_gallery_lives_on_after_the_end_and_the_notebook_keeps_a_picture(
    lab: Lab, opened: Callable[..., LabPage]
) -> None:
    page = over(opened)
    until(lambda: page.page.evaluate(PAINTED) >= 20, "tiles")
    assert page.page.locator(".tc-shown").inner_text() == "87 pictures · 10 left out"
    page.page.locator(".tc-grid").evaluate("(grid) => { grid.scrollTop = grid.scrollHeight; }")
    until(lambda: tile(page, 99).locator("img").count(), "the last tile")
    page.save()
    name = f"{page.page.url.rpartition('/')[2].partition('?')[0]}"
    [output] = json.loads((lab.folder / name).read_text())["cells"][1]["outputs"]
    assert output["data"].keys() == {"image/png", "text/plain"}
    page.reload()  # the kernel is there, and the gallery comes back upon its picture
    page.show_cell(1)
    page.page.locator(".tc-mounted .tc-tile img").first.wait_for(timeout=30_000)
    shutdown = "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.shutdown(); }"
    page.page.evaluate(shutdown)
    page.page.locator(".tc-grid").evaluate("(grid) => { grid.scrollTop = grid.scrollHeight; }")
    until(lambda: "No answer from the kernel" in page.outputs(1).inner_text(), "that nobody answers")
    page.reload()
    page.show_cell(1)
    page.outputs(1).locator("img").wait_for()
    assert page.page.locator(".tc-album").count() == 0


def test_the_end_of_a_job_moves_nothing(opened: Callable[..., LabPage]) -> None:
    page = opened(
        GALLERY.format(count=120),
        "# below\n" * 5,
        "feed.finish(0, [found(number) for number in range(119)]); feed.finish(119, [found(0)]); feed.end()",
    )
    page.run_cell(1)
    page.page.locator(".tc-album .tc-tile").first.wait_for(timeout=90_000)
    page.run_cell(3, wait=False)
    page.show_cell(1)
    page.page.locator(".tc-grid").evaluate("(grid) => { grid.scrollTop = 300; }")
    watch = """() => { window.tops = new Set(); const look = () => {
        const tile = document.querySelector(".tc-tile:not([hidden])[data-index='14']");
        const below = document.querySelector('.jp-Cell[data-windowed-list-index="2"]');
        window.tops.add([tile ? Math.round(tile.getBoundingClientRect().top) : 'gone', below ? Math.round(below.getBoundingClientRect().top) : 'gone'].join());
        requestAnimationFrame(look); }; requestAnimationFrame(look); }"""
    page.page.evaluate(watch)
    page.page.locator(".tc-mounted .tc-tile").first.wait_for(timeout=60_000)
    time.sleep(0.5)  # what comes after is looked at, too
    tops = page.page.evaluate("() => [...window.tops]")
    assert len(tops) == 1, tops


def test_what_users_say_is_never_markup(opened: Callable[..., LabPage]) -> None:
    page = over(opened, cell=HOSTILE)
    evil = "<img src=x onerror='window.evil = 1'>"
    assert tile(page, 0).get_attribute("aria-label") == f"{evil}: {evil} 0.90"
    assert tile(page, 0).locator("img").get_attribute("alt") == f"{evil}: {evil} 0.90"
    assert tile(page, 1).locator(".tc-words").inner_text() == f"ValueError: {evil}"
    until(lambda: f"{evil} (1)" in page.page.locator(".tc-select").inner_text(), "the label, to choose")
    for index in (0, 1):
        tile(page, index).click()
        assert page.page.locator(".tc-full b").inner_text() == evil
        page.page.keyboard.press("Escape")
    assert page.page.evaluate("() => window.evil || document.querySelectorAll('img[src=x]').length") == 0


def test_tiles_take_the_keyboard(opened: Callable[..., LabPage]) -> None:
    page = over(opened, 1000)
    keys, focused = page.page.keyboard, lambda: page.page.evaluate(FOCUSED)
    tile(page, 0).focus()
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    assert focused() == "IMG_0002.jpg: sky 0.96, valley 0.66, sun 0.36"
    keys.press("ArrowDown")
    below = int(page.page.evaluate("() => document.activeElement.getAttribute('aria-posinset')"))
    assert below > 5
    keys.press("PageDown")
    keys.press("PageUp")
    assert int(page.page.evaluate("() => document.activeElement.getAttribute('aria-posinset')")) == below
    keys.press("End")
    until(lambda: focused().startswith("IMG_0999.jpg: "), "the last tile has the focus, and its thumbnail")
    page.page.locator(".tc-grid").evaluate("(grid) => { grid.scrollTop = 0; }")
    until(lambda: 0 in shown(page), "the first tile")
    assert focused().startswith("IMG_0999.jpg")  # scrolled out of sight, it keeps the focus
    keys.press("Home")
    assert focused().startswith("IMG_0000.jpg")
    keys.press("d")
    keys.press("d")  # which deletes a cell, elsewhere
    assert page.cell(1).count() == 1
    assert page.page.locator(".tc-tile[tabindex='0']").count() == 1


def test_a_tile_opens_its_full_picture(opened: Callable[..., LabPage]) -> None:
    page = over(opened)
    full = page.page.locator(".tc-full")
    tile(page, 1).focus()
    page.page.keyboard.press("Enter")
    assert full.locator("b").inner_text() == "<img src=x onerror=alert(1)>.jpg"
    until(lambda: full.locator("img").evaluate("(image) => image.naturalWidth") == 960, "the full picture")
    assert full.locator(".tc-full-about").inner_text() == "960 × 720 · 2 of 90"  # noqa: RUF001
    assert [box.inner_text() for box in full.locator(".tc-full-box").all()] == ["sky 0.67", "ridge 0.97"]
    assert not full.locator(".tc-full-state").is_visible()
    page.page.keyboard.press("ArrowRight")
    until(lambda: full.locator(".tc-full-state").inner_text() == "no such file: IMG_0002.jpg", "why there is none")
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("ArrowRight")  # 4 was left out
    assert full.locator(".tc-full-text").inner_text() == "ValueError: no such picture"
    page.page.keyboard.press("Escape")
    assert not full.is_visible()
    assert page.page.evaluate(FOCUSED) == "IMG_0005.jpg failed: ValueError: no such picture"


def test_filters(opened: Callable[..., LabPage]) -> None:
    page = over(opened)
    told = page.page.locator(".tc-shown")
    select = page.page.locator(".tc-select")
    until(lambda: select.locator("option").count() == 5, "the labels")
    sun = next(option for option in select.locator("option").all_inner_texts() if option.startswith("sun "))
    select.select_option(label=sun)
    number = int(sun.removeprefix("sun (").removesuffix(")"))
    until(lambda: told.inner_text() == f"{number} pictures of 87 · 10 left out", "pictures with a sun")
    assert shown(page)[0] == 0 and shown(page) == sorted(shown(page))
    page.page.locator(".tc-scores input").fill("0.95")
    until(lambda: int(told.inner_text().split()[0]) < number, "fewer of them")
    until(lambda: all(" sun 0.9" in tile(page, index).get_attribute("aria-label") for index in shown(page)), "suns")
    page.page.locator(".tc-bad-only input").check()
    until(lambda: told.inner_text() == "3 errors · 10 left out", "errors")
    assert shown(page) == [5, 17, 30]
    page.page.locator(".tc-bad-only input").uncheck()
    until(lambda: told.inner_text() == "87 pictures · 10 left out", "all of them")


def test_thousands_of_tiles_are_some_dozens_in_the_page(opened: Callable[..., LabPage]) -> None:
    page = over(opened, cell=THERE)
    seen = scroll_frames(page, 700, 60)
    assert seen["nodes"] < 150
    print(f"longest frame {max(seen['times']):.0f} ms")
    page.page.locator(".tc-grid").evaluate("(grid) => { grid.scrollTop = grid.scrollHeight; }")
    until(lambda: tile(page, 4999).locator("img").count(), "the last tile's thumbnail")


def test_the_first_tile_is_painted(opened: Callable[..., LabPage]) -> None:
    page = opened("begun = time.time()\n" + GALLERY.format(count=10_000) + "playing = play(feed, found, 500)")
    print(f"first tile painted after {first_tile_seconds(page, 1):.2f} s")
    assert tile(page, 0).get_attribute("aria-setsize") == "10000"
