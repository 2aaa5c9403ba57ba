"""One live view of a job: when it listens, has something drawn, shows it, and ends.

Owns: the view's course from the first result to the last picture. All but the callbacks of its `Ear` runs in the view
thread. Must not know: sockets, processes, other views, the wording of anything.

A view's course: live (results come, are drawn, frames go out) -> settling (the job ended; what is left is drawn) ->
still (the last picture is being made) -> finished (it was published; nothing more happens).
"""

import contextlib
import enum
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from twistcluster.client.views import JobFeed
from twistcluster.jupyter import progress as words
from twistcluster.jupyter.content import Content
from twistcluster.jupyter.ear import Ear
from twistcluster.jupyter.render_messages import (
    MAX_TILES,
    Draw,
    FailedItem,
    Frame,
    OpenGallery,
    OpenPlot,
    Picture,
    Results,
    Snapshot,
    Tiles,
)
from twistcluster.jupyter.screen import Screen
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import ErrorInfo, Message
from twistcluster.wire.pages import Packed

__all__ = ["Phase", "Request", "View"]

STATUS_SECONDS = 0.2
"""Elapsed time and rate go on while nothing else changes."""
PICTURE_REFRESH_SECONDS = 20.0
"""How often the picture beneath a living widget is renewed, for a notebook that is saved meanwhile."""
PLOT_SECONDS_UNSEEN = 0.4
"""How often a plot is drawn where it is seen as a picture only."""
SETTLE_SECONDS = 1.5
"""How long the end of a job waits for results that are counted but not here, and for the last frames to be painted."""


Request = tuple[Message, tuple[Buffer, ...], tuple[bytes, ...]]
"""A message for the render process, its buffers, the definitions that they name."""


class Phase(enum.Enum):
    """Where a view stands."""

    LIVE = enum.auto()
    SETTLING = enum.auto()
    STILL = enum.auto()
    FINISHED = enum.auto()


class View:
    """One `job.show()` or `job.plot(draw_fn)`.

    Args:
        number: What the render process calls it.
        feed: The job.
        draw_blob: The pickled draw function of a plot; without it the view is a gallery, if results are pictures.
        screen: Where it is shown.
        wake: Wakes the view thread.
        content: What it shows instead of a job's progress with its plot or gallery.
    """

    def __init__(
        self,
        number: int,
        feed: JobFeed,
        draw_blob: bytes | None,
        screen: Screen,
        wake: Callable[[], None],
        content: Content | None = None,
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
        self.content = content or Content(feed.label, feed.progress(), plot=draw_blob is not None)
        self._progress_at = 0.0
        self._received = 0
        self._settle_until = float("inf")
        # Requests on their way.
        self._undrawn = draw_blob is not None
        self._drawing = False
        self._draw_asked_at = 0.0
        self._draw_seconds = 0.03
        self._picturing = False
        self._still_asked = False
        self._pictured_at = time.monotonic()
        self._picture_due = True
        self._outbox: list[Request] = []

    # ---- opening and listening -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Show it, and begin to listen."""
        self.screen.open(self.content.text(""), self.content.snapshot)
        self.listen()

    def opening(self) -> tuple[Message, list[Buffer]]:
        """What opens it in the render process."""
        if self.draw_blob is not None and not self.content.broken:
            return OpenPlot(self.number), [self.draw_blob]
        return OpenGallery(self.number), []

    def listen(self) -> None:
        """Hear everything from the start; the news of an earlier ear don't count any more."""
        self._unsubscribe()
        self._received = 0
        self.content.hear_anew()
        self._ear = Ear(self._news, self._wake)
        self._unsubscribe = self.feed.subscribe(self._ear)

    # ---- one step --------------------------------------------------------------------------------------------------

    def step(self, now: float) -> None:
        """Take in what happened."""
        if self.phase is Phase.FINISHED:
            return
        self._hear()
        self._look(now)
        if self.screen.tick(now):
            self.content.repeat_status()
            self._picture_due = True
            self._pictured_at = 0.0
        if self.phase is Phase.LIVE and self._ended(now):
            self.phase = Phase.SETTLING
            self._settle_until = now + SETTLE_SECONDS
            self.content.repeat_status()
        if self.phase is Phase.SETTLING and self._settled(now):
            self.phase = Phase.STILL

    def show(self, now: float) -> None:
        """Send the front end what it hasn't got, if it may get it now."""
        if self.phase is Phase.FINISHED or not self.content.changed or now < self.screen.next_frame_at(now):
            return
        # Counts alone can wait for what is being drawn, to go with it in one frame.
        only_counts = self._drawing and not self.content.more_than_counts
        if not only_counts or now - self.screen.sent_at >= STATUS_SECONDS:
            self.screen.send(*self.content.frame(), now)

    def requests(self, now: float, number: Callable[[], int]) -> list[Request]:
        """What to send to the render process now: messages, their buffers, the definitions that they name."""
        outbox, self._outbox = self._outbox, []
        if self.phase is Phase.FINISHED:
            return []
        if self._draw_due(now):
            self._drawing = True
            self._draw_asked_at = now
            self._undrawn = False
            outbox += self._draw_requests(number())
        if self._picture_wanted(now):
            self._picturing = True
            self._picture_due = False
            self._pictured_at = now
            self._still_asked = self.phase is Phase.STILL
            scale = 2 if self._still_asked else 1
            plot = self.content.plot
            last_plot = (plot["data"],) if plot and self.content.broken else ()
            outbox.append(
                (
                    Snapshot(self.number, number(), self.content.card(self.screen.note), self.screen.theme, scale),
                    last_plot,
                    (),
                )
            )
        return outbox

    def next_step_at(self, now: float) -> float:
        """When there is something to do without any news."""
        if self.phase is Phase.FINISHED:
            return float("inf")
        times = [now + self.screen.frame_seconds]
        if self._ear is not None:
            idle = not self._undrawn and not self._drawing and not self.content.changed
            self._ear.hungry = idle and self._next_draw_at(now) <= now
            if self._ear.hungry and self._news:
                return now
        if self.content.changed:
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
                self.content.printed(index, what)

    def _take_results(self, first: int, packed: Packed) -> None:
        self._received += packed.count
        self.content.succeeded(first, packed.count)
        wanted = self.draw_blob is not None or (self.content.pictures is not False and first < MAX_TILES)
        if wanted and not self.content.broken:
            store = self.feed.store if packed.objects else ""
            message = Results(self.number, first, packed.count, packed.kind, packed.definitions, store)
            self._outbox.append((message, packed.buffers, packed.definitions))
            self._undrawn = True

    def _take_failure(self, index: int, info: ErrorInfo) -> None:
        reason = self.content.failed(index, info)
        if reason:
            self._outbox.append((FailedItem(self.number, index, reason), (), ()))

    def _look(self, now: float) -> None:
        if (
            now - self._progress_at < STATUS_SECONDS
            and self.content.progress.state not in words.ENDED
            and not self.content.changed
        ):
            return
        self._progress_at = now
        was_single = self.content.is_single
        if self.content.look(self.feed.progress()):
            self._picture_due = True
        if self.content.is_single and not was_single and self._received and not self.content.broken:
            self._undrawn = True  # a lazy job's input turned out to be one item

    def _ended(self, now: float) -> bool:
        """Whether the job ended and all its results are here (or won't come)."""
        if self.content.progress.state not in words.ENDED:
            self._settle_until = float("inf")
            return False
        self._settle_until = min(self._settle_until, now + SETTLE_SECONDS)
        return self._received >= self.content.progress.done or now >= self._settle_until

    def _settled(self, now: float) -> bool:
        if self._outbox or self._undrawn or self._drawing:
            # Drawing takes as long as it takes; after it the front end gets its time.
            self._settle_until = now + SETTLE_SECONDS
            return False
        return (
            (not self.content.changed and self.screen.up_to_date) or now >= self._settle_until or not self.screen.live
        )

    # ---- drawing -----------------------------------------------------------------------------------------------------

    def _draw_due(self, now: float) -> bool:
        if not self._undrawn or self._drawing or self.content.broken:
            return False
        if self.phase is not Phase.LIVE:
            return True
        return self.screen.looked_at and now >= self._next_draw_at(now)

    def _draw_requests(self, request: int) -> list[Request]:
        ratio = self.screen.ratio if self.screen.live else 1.0
        return [(Draw(self.number, request, ratio, self.content.is_single), (), ())]

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
            case Tiles(_, _, tiles, pictures, more, result):
                self._drawing = False
                self._undrawn = self._undrawn or more
                self.content.pictures = pictures
                for tile, data in zip(tiles, buffers, strict=True):
                    self.content.tile(tile.index, tile.width, tile.height, tile.text, bytes(data))
                self.content.result = result
                self._picture_due = self._picture_due or bool(tiles) or bool(result)
            case Frame(_, _, width, height, error, more):
                self._drawing = False
                self._undrawn = self._undrawn or more
                self.content.plot_error = error
                self._picture_due = True
                if buffers:
                    self.content.plotted(width, height, bytes(buffers[0]))
            case Picture(_, _, width, height):
                self._picturing = False
                self._publish(bytes(buffers[0]), (width, height), now)
        self._progress_at = 0.0

    def _publish(self, png: bytes, size: tuple[int, int], now: float) -> None:
        last = self._still_asked
        if self.phase is not Phase.LIVE and not last:
            return
        self.screen.show_picture(png, size, self.content.text(self.screen.note), now, last=last)
        if last:
            self._finish()

    def close(self) -> None:
        """Nobody will look again, after its end."""
        self.screen.close()
        self.forget()

    def forget(self) -> None:
        """Let go of what it kept."""

    def _finish(self) -> None:
        self._unsubscribe()
        self._unsubscribe = lambda: None
        with self.finished:
            self.phase = Phase.FINISHED
            self.finished.notify_all()

    def render_lost(self, broken: str, now: float) -> None:
        """The render process ended. `broken` says why nothing is drawn here any more; without it, draw all anew."""
        again = self.phase in {Phase.LIVE, Phase.SETTLING} and not self.content.broken
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
            self.content.broken = broken
            self._undrawn = False
            self.content.repeat_status()
        elif again:
            self.listen()
        self._outbox[:0] = [(FailedItem(self.number, *failure), (), ()) for failure in self.content.failures()]

    def give_up(self, error: Exception) -> None:
        """Something in here went wrong: say so in words, and end."""
        with contextlib.suppress(Exception):
            text = f"{self.feed.label}: the view ended with {type(error).__name__}: {error}"
            self.screen.show_picture(b"", (0, 0), text, time.monotonic(), last=True)
        self._finish()
