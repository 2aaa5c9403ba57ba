"""The view thread with its real render process, and a screen that keeps what it was shown."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.jupyter.fakes import FakeFeed, photo, play
from twistcluster.jupyter.screen import Screen
from twistcluster.jupyter.stage import Stage
from twistcluster.jupyter.view import Phase, View
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.functions import dump_function


class FakeShell:
    def __init__(self) -> None:
        self.busy = False
        self.idle_since = 0.0
        self.interactive = False
        self.subshells = True
        self.published: list[dict[str, Any]] = []

    def run(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)

    def publish(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, *, update: bool) -> None:
        self.published.append(data)


class FakeWidget:
    """Acknowledges at once, as a front end that paints at once."""

    def __init__(self, screen: Screen, answers: bool) -> None:
        self.screen = screen
        self.frames: list[tuple[dict[str, Any], list[Any]]] = []
        self.answers = answers

    def send(self, content: dict[str, Any], buffers: list[Any]) -> None:
        self.frames.append((content, buffers))
        if self.answers and "n" in content:
            threading.Thread(target=self.screen._heard, args=({"kind": "ack", "n": content["n"]},)).start()

    def bundle(self) -> dict[str, Any]:
        return {"application/vnd.jupyter.widget-view+json": {"model_id": "fake"}}

    def close(self) -> None:
        pass


class Shown:
    """A view and what its screen showed."""

    def __init__(
        self,
        stage: Stage,
        feed: FakeFeed,
        draw_fn: Callable[..., object] | None,
        live: bool,
        answers: bool = True,
    ) -> None:
        blob = dump_function(draw_fn, Definitions())[0] if draw_fn else None
        self.shell = FakeShell()
        screen = Screen(self.shell, "a display", stage.wake, 30)  # type: ignore[arg-type]
        self.view = View(stage.number(), feed, blob, screen, stage.wake)
        self.widget = FakeWidget(screen, answers)
        self.view.open()
        if live:
            screen.widget = self.widget  # type: ignore[assignment]
            screen.live = True
        stage.add(self.view)

    def wait(self, timeout: float = 30.0) -> None:
        with self.view.finished:
            assert self.view.finished.wait_for(lambda: self.view.phase is Phase.FINISHED, timeout)

    @property
    def last(self) -> dict[str, Any]:
        return self.shell.published[-1]


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(hang_seconds=5.0)
    yield stage
    stage.close()
    assert until(lambda: not [p for p in psutil.Process().children() if "render" in " ".join(p.cmdline())])


def until(condition: Callable[[], Any], timeout: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def draw_points(ax: Any, new: list[Any], state: dict[str, Any]) -> None:
    state["n"] = state.get("n", 0) + len(new)
    ax.set_title(f"{state['n']} results")


@pytest.mark.alone
def test_a_gallery_fills_in_many_steps(stage: Stage) -> None:
    feed = FakeFeed(count=40)
    shown = Shown(stage, feed, None, live=True)
    play(feed, photo, 1.5, fails=(3,), says={5: "hello"})
    shown.wait()
    counts = set()
    tiles: set[int] = set()
    for content, _ in shown.widget.frames:
        tiles |= {tile["index"] for tile in content.get("tiles", [])}
        counts.add(len(tiles))
    assert len(counts) >= 5
    assert tiles == set(range(40))
    assert shown.last.keys() == {"text/plain", "image/png"}
    assert shown.last["text/plain"].startswith("make_thumb-3: 39 of 40 done, 1 failed, ")
    assert {"5: hello"} == {line for content, _ in shown.widget.frames for line in content.get("lines", [])}
    snapshot = shown.view.content.snapshot()
    assert len(snapshot["tiles"]) == 40 and snapshot["errors"][0][0] == "item 3"


@pytest.mark.alone
def test_a_plot_without_a_widget_is_pictures(stage: Stage) -> None:
    feed = FakeFeed("measure-1", count=50)
    shown = Shown(stage, feed, draw_points, live=False)
    play(feed, float, 4.0)
    shown.wait()
    assert len({data.get("image/png") for data in shown.shell.published}) >= 4


def test_a_job_that_ended_before_is_shown_whole(stage: Stage) -> None:
    feed = FakeFeed(count=3)
    feed.finish(0, [photo(0), photo(1), photo(2)])
    feed.end()
    shown = Shown(stage, feed, None, live=True)
    shown.wait()
    assert len(shown.view.content.snapshot()["tiles"]) == 3


def test_a_job_of_nothing_is_shown(stage: Stage) -> None:
    feed = FakeFeed(count=0)
    feed.end()
    shown = Shown(stage, feed, None, live=False)
    shown.wait()
    assert "no items" in shown.last["text/plain"]


def test_nothing_is_sent_while_nobody_acknowledges(stage: Stage) -> None:
    feed = FakeFeed(count=40)
    shown = Shown(stage, feed, None, live=True, answers=False)
    play(feed, photo, 1.0)
    shown.wait()
    assert len(shown.widget.frames) == 2


def hang(ax: Any, new: list[Any], state: dict[str, Any]) -> None:
    while True:
        pass


def kill(ax: Any, new: list[Any], state: dict[str, Any]) -> None:
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize(
    ("bad", "said"), [(hang, "the draw function took longer than 5 s"), (kill, "was killed by SIGKILL")]
)
def test_a_draw_function_that_hangs_or_kills_costs_only_its_own_view(
    stage: Stage, bad: Callable[..., object], said: str
) -> None:
    feed = FakeFeed(count=30)
    other = Shown(stage, feed, None, live=True)
    culprit = Shown(stage, feed, bad, live=True)
    play(feed, photo, 4.0, says={2: "once"})
    culprit.wait()
    other.wait()
    assert said in culprit.last["text/plain"]
    assert said in culprit.view.content.snapshot()["status"]["plot_error"]
    assert "killed" not in other.last["text/plain"]
    assert len(other.view.content.snapshot()["tiles"]) == 30
    assert other.view.content.snapshot()["lines"] == ["2: once"]


def test_a_render_process_that_is_killed_is_replaced(stage: Stage) -> None:
    feed = FakeFeed(count=60)
    shown = Shown(stage, feed, None, live=True)
    play(feed, photo, 2.0)
    assert until(lambda: len(shown.view.content.snapshot()["tiles"]) > 5)
    (render,) = [p for p in psutil.Process().children() if "twistcluster.jupyter.render" in p.cmdline()]
    # Between two drawings nobody is to blame; within one, the view says so and keeps what it has.
    render.kill()
    shown.wait()
    assert shown.last["text/plain"].startswith("make_thumb-3: 60 of 60 done")


def test_twenty_million_small_results_cost_little(stage: Stage) -> None:
    feed = FakeFeed("abs-1", count=2_000_000)
    shown = Shown(stage, feed, None, live=True)
    page = [*range(4096)]
    for first in range(0, 2_000_000 - 4096, 4096):
        feed.finish(first, page)
    feed.end()
    shown.wait()
    assert "image/png" in shown.last
    assert shown.view.content.snapshot()["tiles"] == []
