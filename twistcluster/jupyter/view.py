"""One live view of a job: what it shows, and what it asks of the render process and of its screen.

Owns: the view's content (status, errors, printed lines, thumbnails, the last plot) and its course from the first result
to the last picture. All but `ear`'s callbacks and `snapshot` runs in the view thread. Must not know: sockets,
processes, other views.

A view's course: live (results come, are drawn, frames go out) -> settling (the job ended; what is left is drawn) ->
still (the last picture is being made) -> finished (it was published; nothing more happens).
"""

import contextlib
import enum
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from twistcluster.client.views import JobFeed, Progress
from twistcluster.jupyter import progress as words
from twistcluster.jupyter.render_messages import (
    MAX_TILES,
    Card,
    Draw,
    FailedItem,
    Frame,
    Picture,
    Results,
    Snapshot,
    Tiles,
)
from twistcluster.jupyter.screen import Screen
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import ErrorInfo, Message
from twistcluster.wire.pages import Packed

__all__ = ["Ear", "Phase", "View"]

ERRORS_SHOWN = 5
LINES_KEPT = 200
LINES_IN_PICTURE = 8
LINE_CHARACTERS = 400
MESSAGE_CHARACTERS = 240
TILES_A_FRAME = 48
STATUS_SECONDS = 0.2
"""Elapsed time and rate go on while nothing else changes."""
PICTURE_REFRESH_SECONDS = 20.0
"""How often the picture beneath a living widget is renewed, for a notebook that is saved meanwhile."""
PLOT_SECONDS_UNSEEN = 0.4
"""How often a plot is drawn where it is seen as a picture only."""
SETTLE_SECONDS = 1.5
"""How long the end of a job waits for results that are counted but not here, and for the last frames to be painted."""


class Phase(enum.Enum):
    """Where a view stands."""

    LIVE = enum.auto()
    SETTLING = enum.auto()
    STILL = enum.auto()
    FINISHED = enum.auto()


class Ear:
    """What listens to a job: hands everything on to its view's thread.

    It wakes a view that waits for news, once: while a cell runs pure Python every wake of a thread costs up to 5 ms of
    waiting for the interpreter, and results may come by the thousand.
    """

    def __init__(self, news: deque[tuple["Ear", str, int, Any]], wake: Callable[[], None]) -> None:
        self.hungry = False
        """The view has nothing to do until something comes."""
        self._news = news
        self._wake = wake

    def results(self, first: int, packed: Packed) -> None:
        """Items succeeded."""
        self._tell("results", first, packed)

    def failed(self, index: int, error: ErrorInfo) -> None:
        """An item failed for good."""
        self._tell("failed", index, error)

    def printed(self, index: int, text: str) -> None:
        """What an item printed."""
        self._tell("printed", index, text)

    def changed(self) -> None:
        """Counts or state changed: seen at the next tick."""

    def _tell(self, kind: str, index: int, what: Any) -> None:
        self._news.append((self, kind, index, what))
        if self.hungry:
            self.hungry = False
            self._wake()


class View:
    """One `job.show()` or `job.plot(draw_fn)`.

    Args:
        number: What the render process calls it.
        feed: The job.
        draw_blob: The pickled draw function of a plot; without it the view is a gallery, if results are pictures.
        screen: Where it is shown.
        wake: Wakes the view thread.
    """

    def __init__(
        self, number: int, feed: JobFeed, draw_blob: bytes | None, screen: Screen, wake: Callable[[], None]
    ) -> None:
        self.number = number
        self.feed = feed
        self.draw_blob = draw_blob
        self.screen = screen
        self.phase = Phase.LIVE
        self.finished = threading.Condition()
        self._wake = wake
        self._news: deque[tuple[Ear, str, int, Any]] = deque()
        self._ear: Ear | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._progress: Progress = feed.progress()
        self._progress_at = 0.0
        self._received = 0
        self._settle_until = float("inf")
        # The content.
        self._errors: dict[int, ErrorInfo] = {}
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._tiles: dict[int, dict[str, Any]] = {}
        self._plot: dict[str, Any] | None = None
        self._plot_error = ""
        self.broken = ""
        """Why nothing is drawn any more, if so."""
        self._pictures: bool | None = None if draw_blob is None else False
        # What the front end hasn't got yet.
        self._new_tiles: deque[int] = deque()
        self._new_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._lines_anew = False
        self._new_plot = False
        self._new_errors = False
        self._new_status = True
        self._status: dict[str, Any] = self._make_status()
        # Requests on their way.
        self._undrawn = draw_blob is not None
        self._drawing = False
        self._draw_asked_at = 0.0
        self._draw_seconds = 0.03
        self._picturing = False
        self._still_asked = False
        self._pictured_at = time.monotonic()
        self._picture_due = True
        self._outbox: list[tuple[Message, tuple[Buffer, ...], tuple[bytes, ...]]] = []

    # ---- opening and listening -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Show it, and begin to listen."""
        self.screen.open(words.summary(self.feed.label, self._progress), self.snapshot)
        self.listen()

    def listen(self) -> None:
        """Hear everything from the start; the news of an earlier ear don't count any more."""
        self._unsubscribe()
        self._received = 0
        self._lines.clear()
        self._new_lines.clear()
        self._lines_anew = True
        self._ear = Ear(self._news, self._wake)
        self._unsubscribe = self.feed.subscribe(self._ear)

    def snapshot(self) -> dict[str, Any]:
        """Everything that is shown now: what a front end starts from."""
        plot = self._plot
        return {
            "status": self._status,
            "tiles": [tile for _, tile in sorted(self._tiles.copy().items())],
            "errors": self._told_errors(),
            "lines": list(self._lines.copy()),
            "plot": plot,
        }

    # ---- one step --------------------------------------------------------------------------------------------------

    def step(self, now: float) -> None:
        """Take in what happened."""
        if self.phase is Phase.FINISHED:
            return
        self._hear()
        self._look(now)
        if self.screen.tick(now):
            self._new_status = True
            self._picture_due = True
            self._pictured_at = 0.0
        if self.phase is Phase.LIVE and self._ended(now):
            self.phase = Phase.SETTLING
            self._settle_until = now + SETTLE_SECONDS
            self._new_status = True
        if self.phase is Phase.SETTLING and self._settled(now):
            self.phase = Phase.STILL

    def show(self, now: float) -> None:
        """Send the front end what it hasn't got, if it may get it now."""
        if self.phase is Phase.FINISHED or not self._changed() or now < self.screen.next_frame_at(now):
            return
        # Counts alone can wait for what is being drawn, to go with it in one frame.
        only_counts = self._drawing and not (self._new_plot or self._new_errors or self._new_lines or self._has_tiles())
        if not only_counts or now - self.screen.sent_at >= STATUS_SECONDS:
            self._send_frame(now)

    def requests(
        self, now: float, number: Callable[[], int]
    ) -> list[tuple[Message, tuple[Buffer, ...], tuple[bytes, ...]]]:
        """What to send to the render process now: messages, their buffers, the definitions that they name."""
        outbox, self._outbox = self._outbox, []
        if self.phase is Phase.FINISHED:
            return []
        if self._draw_due(now):
            self._drawing = True
            self._draw_asked_at = now
            self._undrawn = False
            ratio = self.screen.ratio if self.screen.live else 1.0
            outbox.append((Draw(self.number, number(), ratio), (), ()))
        if self._picture_wanted(now):
            self._picturing = True
            self._picture_due = False
            self._pictured_at = now
            self._still_asked = self.phase is Phase.STILL
            scale = 2 if self._still_asked else 1
            plot = (self._plot["data"],) if self._plot and self.broken else ()
            outbox.append((Snapshot(self.number, number(), self._card(), self.screen.theme, scale), plot, ()))
        return outbox

    def next_step_at(self, now: float) -> float:
        """When there is something to do without any news."""
        if self.phase is Phase.FINISHED:
            return float("inf")
        times = [now + self.screen.frame_seconds]
        if self._ear is not None:
            idle = not self._undrawn and not self._drawing and not self._changed()
            self._ear.hungry = idle and self._next_draw_at(now) <= now
            if self._ear.hungry and self._news:
                return now
        if self._changed():
            times.append(self.screen.next_frame_at(now))
        if self._undrawn and not self._drawing:
            times.append(self._next_draw_at(now))
        if self._picture_due and not self._picturing:
            times.append(self.screen.next_picture_at())
        return min(times)

    def _hear(self) -> None:
        while self._news:
            ear, kind, index, what = self._news.popleft()
            if ear is not self._ear:
                continue
            if kind == "results":
                self._take_results(index, what)
            elif kind == "failed":
                self._take_failure(index, what)
            else:
                self._take_lines(index, what)

    def _take_results(self, first: int, packed: Packed) -> None:
        self._received += packed.count
        wanted = self.draw_blob is not None or (self._pictures is not False and first < MAX_TILES)
        if wanted and not self.broken:
            message = Results(self.number, first, packed.count, packed.kind, packed.definitions)
            self._outbox.append((message, packed.buffers, packed.definitions))
            self._undrawn = True

    def _take_failure(self, index: int, info: ErrorInfo) -> None:
        self._errors[index] = info
        self._new_errors = True
        if index < MAX_TILES and self.draw_blob is None:
            reason = _one_line(f"{info.type}: {info.message}" if info.message else info.type)
            self._outbox.append((FailedItem(self.number, index, reason), (), ()))
            self._add_tile({"index": index, "width": 0, "height": 0, "text": reason, "failed": True, "data": b""})

    def _take_lines(self, index: int, text: str) -> None:
        for line in text.splitlines()[-LINES_KEPT:]:
            told = f"{index}: {line[:LINE_CHARACTERS]}"
            self._lines.append(told)
            self._new_lines.append(told)

    def _look(self, now: float) -> None:
        if now - self._progress_at < STATUS_SECONDS and self._progress.state not in words.ENDED and not self._changed():
            return
        self._progress_at = now
        progress = self.feed.progress()
        if progress != self._progress:
            self._progress = progress
            self._picture_due = True
        status = self._make_status()
        if status != self._status:
            self._status = status
            self._new_status = True

    def _ended(self, now: float) -> bool:
        """Whether the job ended and all its results are here (or won't come)."""
        if self._progress.state not in words.ENDED:
            self._settle_until = float("inf")
            return False
        self._settle_until = min(self._settle_until, now + SETTLE_SECONDS)
        return self._received >= self._progress.done or now >= self._settle_until

    def _settled(self, now: float) -> bool:
        if self._outbox or self._undrawn or self._drawing:
            # Drawing takes as long as it takes; after it the front end gets its time.
            self._settle_until = now + SETTLE_SECONDS
            return False
        return (not self._changed() and self.screen.up_to_date) or now >= self._settle_until or not self.screen.live

    # ---- drawing -----------------------------------------------------------------------------------------------------

    def _draw_due(self, now: float) -> bool:
        if not self._undrawn or self._drawing or self.broken:
            return False
        if self.phase is not Phase.LIVE:
            return True
        return self.screen.looked_at and now >= self._next_draw_at(now)

    def _next_draw_at(self, now: float) -> float:
        if self.screen.live:
            # Begun as early as it takes, so that drawing overlaps with the way of the frame before.
            return self.screen.next_frame_at(now) - self._draw_seconds
        return self._draw_asked_at + (0.0 if self.draw_blob is None else PLOT_SECONDS_UNSEEN)

    def _picture_wanted(self, now: float) -> bool:
        if self._picturing:
            return False
        if self.phase is Phase.STILL:
            return True
        if not self._picture_due or self.phase is not Phase.LIVE:
            return False
        if self.screen.live:
            # The page builds the view anew for each update of its display.
            return now - self._pictured_at >= PICTURE_REFRESH_SECONDS and not self.screen.used
        return now >= self.screen.next_picture_at()

    def answered(self, answer: Message, buffers: list[Buffer], now: float) -> None:
        """The render process did what it was asked."""
        if not isinstance(answer, Picture):
            self._draw_seconds = min(0.5, 0.5 * self._draw_seconds + 0.5 * (now - self._draw_asked_at))
        match answer:
            case Tiles(_, _, tiles, pictures, more):
                self._drawing = False
                self._undrawn = self._undrawn or more
                self._pictures = pictures
                for tile, data in zip(tiles, buffers, strict=True):
                    self._add_tile({
                        "index": tile.index, "width": tile.width, "height": tile.height, "text": tile.text,
                        "failed": False, "data": bytes(data),
                    })  # fmt: skip
                self._picture_due = self._picture_due or bool(tiles)
            case Frame(_, _, width, height, error, more):
                self._drawing = False
                self._undrawn = self._undrawn or more
                self._plot_error = error
                self._picture_due = True
                if buffers:
                    self._plot = {"width": width, "height": height, "data": bytes(buffers[0])}
                    self._new_plot = True
            case Picture(_, _, width, height):
                self._picturing = False
                self._publish(bytes(buffers[0]), (width, height), now)
        self._progress_at = 0.0

    def _publish(self, png: bytes, size: tuple[int, int], now: float) -> None:
        last = self._still_asked
        if self.phase is not Phase.LIVE and not last:
            return
        lines = [words.summary(self.feed.label, self._progress), self.broken or self._plot_error, self.screen.note]
        self.screen.show_picture(png, size, "\n".join(line for line in lines if line), now, last=last)
        if last:
            self._finish()

    def _finish(self) -> None:
        self._unsubscribe()
        self._unsubscribe = lambda: None
        with self.finished:
            self.phase = Phase.FINISHED
            self.finished.notify_all()

    def render_lost(self, broken: str, now: float) -> None:
        """The render process ended. `broken` says why nothing is drawn here any more; without it, draw all anew."""
        again = self.phase in {Phase.LIVE, Phase.SETTLING} and not self.broken
        self._drawing = False
        if self._still_asked and broken:
            # Even the last picture can't be made: the words stay.
            self._publish(b"", (0, 0), now)
            return
        self._picturing = self._still_asked = False
        if self.phase is Phase.FINISHED:
            return
        self._outbox = []
        if broken:
            self.broken = broken
            self._undrawn = False
            self._new_status = True
        elif again:
            self.listen()
        self._outbox[:0] = [
            (FailedItem(self.number, index, _one_line(f"{info.type}: {info.message}")), (), ())
            for index, info in self._errors.items()
            if index < MAX_TILES and self.draw_blob is None
        ]

    def give_up(self, error: Exception) -> None:
        """Something in here went wrong: say so in words, and end."""
        with contextlib.suppress(Exception):
            text = f"{self.feed.label}: the view ended with {type(error).__name__}: {error}"
            self.screen.show_picture(b"", (0, 0), text, time.monotonic(), last=True)
        self._finish()

    # ---- what the front end gets ---------------------------------------------------------------------------------

    def _add_tile(self, tile: dict[str, Any]) -> None:
        self._tiles[tile["index"]] = tile
        self._new_tiles.append(tile["index"])

    def _has_tiles(self) -> bool:
        return bool(self._new_tiles) and bool(self._pictures)

    def _changed(self) -> bool:
        return self._has_tiles() or self._new_status or self._new_plot or self._new_errors or bool(self._new_lines)

    def _send_frame(self, now: float) -> None:
        frame: dict[str, Any] = {"status": self._status}
        buffers: list[Buffer] = []
        if self._pictures:
            taken = dict.fromkeys(self._new_tiles.popleft() for _ in range(min(TILES_A_FRAME, len(self._new_tiles))))
            tiles = [self._tiles[index] for index in taken]
            frame["tiles"] = [{key: tile[key] for key in tile if key != "data"} for tile in tiles]
            buffers.extend(tile["data"] for tile in tiles)
        if self._new_plot and self._plot:
            frame["plot"] = {"width": self._plot["width"], "height": self._plot["height"]}
            buffers.append(self._plot["data"])
        if self._new_errors:
            frame["errors"] = self._told_errors()
        if self._new_lines:
            frame["lines"] = list(self._new_lines)
            frame["lines_anew"] = self._lines_anew
            self._lines_anew = False
            self._new_lines.clear()
        self._new_plot = self._new_errors = self._new_status = False
        self.screen.send(frame, buffers, now)

    def _make_status(self) -> dict[str, Any]:
        progress = self._progress
        tile_count = 0
        gallery = ""
        if self._pictures:
            known = max(self._tiles, default=-1) + 1
            tile_count = min(MAX_TILES, max(known, progress.count or 0))
            shown = sum(1 for tile in self._tiles.copy().values() if not tile["failed"])
            of = f" of {progress.count:,}" if progress.count is not None else ""
            gallery = f"{shown:,}{of} shown"
            if progress.count is not None and progress.count > MAX_TILES:
                gallery += f" (the first {MAX_TILES} items)"
        return {
            "label": self.feed.label,
            "state": progress.state,
            "counts": words.counts(progress),
            "failures": words.failures(progress),
            "detail": words.detail(progress),
            "parts": words.parts(progress),
            "note": self._note(),
            "plot": self.draw_blob is not None,
            "plot_error": self.broken or self._plot_error,
            "gallery": gallery,
            "tiles": tile_count,
            "errors_hidden": self._errors_hidden(),
        }

    def _note(self) -> str:
        if self._progress.state == "cancelled":
            return "cancelled"
        if self._progress.state in words.ENDED:
            return ""
        return self._progress.waiting

    def _errors_hidden(self) -> str:
        hidden = self._progress.failed - ERRORS_SHOWN
        return f"and {hidden:,} more: %cluster errors {self.feed.label}" if hidden > 0 else ""

    def _told_errors(self) -> list[tuple[str, str]]:
        first = itertools.islice(sorted(self._errors.copy().items()), ERRORS_SHOWN)
        return [(f"item {index}", _one_line(f"{info.type}: {info.message}")) for index, info in first]

    def _card(self) -> Card:
        status = self._status
        summary = status["counts"] + (", " + status["failures"] if status["failures"] else "")
        errors = [f"{where}  {what}" for where, what in self._told_errors()]
        if status["errors_hidden"]:
            errors.append(status["errors_hidden"])
        if status["plot_error"]:
            errors = [*status["plot_error"].splitlines()[:2], *errors]
        return Card(
            label=status["label"],
            state=status["state"],
            summary=summary,
            detail=status["detail"],
            parts=status["parts"] or [],
            errors=errors,
            lines=list(self._lines.copy())[-LINES_IN_PICTURE:],
            note=" · ".join(said for said in (status["note"], self.screen.note) if said),
        )


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARACTERS else line[: MESSAGE_CHARACTERS - 1] + "…"
