"""Galleries in the view thread with its real render process, and a screen that keeps what it was shown."""

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.jupyter.fakes import FakePictures, Found, found, photo, play
from tests.jupyter.test_stage import FakeShell, FakeWidget, until
from twistcluster.images.plan import Dropped
from twistcluster.jupyter.album_view import AlbumView
from twistcluster.jupyter.render_messages import PICTURE, WORDS
from twistcluster.jupyter.screen import Screen
from twistcluster.jupyter.stage import KEPT, Stage
from twistcluster.jupyter.view import Phase


class Shown:
    """A gallery, and what its screen showed."""

    def __init__(self, stage: Stage, feed: FakePictures, *, live: bool = True, answers: bool = True) -> None:
        self.shell = FakeShell()
        self.screen = Screen(self.shell, "a display", stage.wake, 30, "album")  # type: ignore[arg-type]
        self.view = AlbumView(stage.number(), feed, self.screen, stage.wake)
        self.widget = FakeWidget(self.screen, answers)
        self.view.open()
        if live:
            self.shell.interactive = True
            self.screen.widget = self.widget  # type: ignore[assignment]
            self.screen.live = True
        stage.add(self.view)

    def says(self, **what: Any) -> None:
        """What a front end does."""
        threading.Thread(target=self.screen._heard, args=(what,)).start()

    def wait(self, timeout: float = 30.0) -> None:
        with self.view.finished:
            assert self.view.finished.wait_for(lambda: self.view.phase is Phase.FINISHED, timeout)

    def told(self, kind: str) -> list[tuple[dict[str, Any], list[Any]]]:
        return [(content, buffers) for content, buffers in list(self.widget.frames) if content["kind"] == kind]

    @property
    def tiles(self) -> list[int]:
        return [tile["index"] for content, _ in self.told("frame") for tile in content.get("tiles", [])]

    @property
    def facts(self) -> dict[int, int]:
        return {row[0]: row[1] for content, _ in self.told("frame") for row in content.get("facts", [])}


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(hang_seconds=5.0)
    yield stage
    stage.close()
    assert until(lambda: not [p for p in psutil.Process().children() if "render" in " ".join(p.cmdline())])


def make(number: int) -> Any:
    return Dropped.DROPPED if number % 5 == 4 else found(number)


def test_a_gallery_fills_and_leaves_its_contact_sheet(stage: Stage) -> None:
    feed = FakePictures(count=150)
    shown = Shown(stage, feed)
    play(feed, make, 1.0, fails=(3,))
    shown.wait()
    assert sorted(shown.facts) == list(range(150)) and shown.facts[3] == 2 and shown.facts[4] == 4
    # What nobody asked for isn't sent, only the first, which somebody is sure to see.
    assert sorted(shown.tiles) == [index for index in range(60) if index % 5 != 4]
    last = shown.shell.published[-1]
    assert last.keys() == {"text/plain", "image/png"}
    assert last["text/plain"].splitlines()[1] == "119 pictures, 30 left out"
    [(still, _)] = shown.told("still")
    assert last["image/png"].endswith(still["tail"]) and len(still["tail"]) == 64
    assert shown.view.content.snapshot()["still"] == still["tail"]


def test_what_somebody_looks_at_is_drawn_first(stage: Stage) -> None:
    feed = FakePictures(count=2000)
    for first in range(0, 2000, 10):
        feed.finish(first, [Found(photo(first, 1600, 1200), (1600, 1200), [])] * 10)
    shown = Shown(stage, feed)
    assert until(lambda: 0 in shown.tiles)
    shown.says(kind="want", indices=[1500, 1501], width=176)
    assert until(lambda: 1500 in shown.tiles and 1501 in shown.tiles, 20.0)
    assert len(shown.view.content.snapshot()["facts"]) < 1000


def test_after_the_end_it_answers_who_browses(stage: Stage) -> None:
    feed = FakePictures(count=100, broken=(6,))
    feed.finish(0, [photo(0)] * 100)
    feed.end()
    shown = Shown(stage, feed)
    shown.wait()
    assert max(shown.tiles) == 59
    shown.says(kind="want", indices=[99, 98], width=176)
    assert until(lambda: 99 in shown.tiles)
    shown.says(kind="full", index=5)
    assert until(lambda: shown.told("full"))
    [(answer, [data])] = shown.told("full")
    assert (answer["index"], answer["mime"], answer["error"]) == (5, "image/jpeg", "") and data == photo(5, 960, 720)
    shown.says(kind="full", index=6)
    assert until(lambda: len(shown.told("full")) == 2)
    assert shown.told("full")[1][0]["error"] == "no such file: IMG_0006.jpg"


def test_the_oldest_galleries_are_forgotten(stage: Stage) -> None:
    feed = FakePictures(count=1)
    feed.finish(0, [photo(0)])
    feed.end()
    galleries = [Shown(stage, feed) for _ in range(KEPT + 1)]
    for shown in galleries:
        shown.wait()
    assert until(lambda: sum(shown.screen.widget is None for shown in galleries) == 1)


def test_where_nobody_answers_two_frames_are_sent(stage: Stage) -> None:
    feed = FakePictures(count=40)
    shown = Shown(stage, feed, answers=False)
    play(feed, make, 1.0)
    shown.wait()
    assert len(shown.told("frame")) == 2


def test_the_display_is_left_alone_while_somebody_looks(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twistcluster.jupyter.view.PICTURE_REFRESH_SECONDS", 0.0)
    feed = FakePictures(count=20)
    shown = Shown(stage, feed)
    feed.finish(0, [photo(0)])
    assert until(lambda: shown.tiles)
    assert len(shown.shell.published) == 1
    shown.says(kind="visible", visible=False)
    assert until(lambda: len(shown.shell.published) > 1)
    feed.end("cancelled")
    shown.wait()


class Deadly:
    """Ends the process that looks at it."""

    def __tile__(self) -> None:
        os.kill(os.getpid(), 9)


def test_a_picture_that_kills_the_render_process_is_told_of_in_words(stage: Stage) -> None:
    feed = FakePictures(count=3)
    shown = Shown(stage, feed)
    feed.finish(0, [photo(0)])
    feed.finish(1, [Deadly()])
    feed.finish(2, [photo(2)])
    feed.end()
    shown.wait()
    assert shown.facts == {0: PICTURE, 1: WORDS, 2: PICTURE}
    [told] = [tile for content, _ in shown.told("frame") for tile in content.get("tiles", []) if tile["index"] == 1]
    assert told["text"] == "can't be shown: showing a result ended the process that draws: it was killed by SIGKILL"
    assert "image/png" in shown.shell.published[-1]


def test_a_render_process_that_is_killed_is_replaced(stage: Stage) -> None:
    feed = FakePictures(count=60)
    shown = Shown(stage, feed)
    feed.finish(0, [photo(0)] * 30)
    assert until(lambda: len(shown.facts) == 30 and not shown.view._drawing)
    [render] = [p for p in psutil.Process().children() if "twistcluster.jupyter.render" in p.cmdline()]
    render.kill()
    feed.finish(30, [photo(0)] * 30)
    feed.end()
    shown.wait()
    assert len(shown.facts) == 60


def test_ten_thousand_pictures_that_are_there_cost_the_kernel_little(stage: Stage) -> None:
    feed = FakePictures(count=10_000)
    values = [found(number) for number in range(20)]
    for first in range(0, 10_000, 20):
        feed.finish(first, values)
    feed.end()
    shown = Shown(stage, feed)
    own = psutil.Process()
    begun, memory = time.process_time(), own.memory_info().rss
    shown.wait(60.0)
    assert len(shown.facts) == 10_000
    # 10,000 thumbnails of 5 kB are 50 MB; all but 16 MiB of them are in a file.
    assert own.memory_info().rss - memory < 45 << 20
    assert "and 9,900 more" in shown.view.content.card("").note
    assert time.process_time() - begun < 4.0
    print(f"{time.process_time() - begun:.2f} s of the processor")
