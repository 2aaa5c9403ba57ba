"""Views in a terminal or script: a progress bar on standard error that waits, as tqdm's does.

Owns: what a job looks like as text. Must not know: notebooks, how a job travels.
"""

import shutil
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TextIO

from twistcluster.client.patience import detached, refuse_to_wait
from twistcluster.client.quantities import duration_text
from twistcluster.client.views import DrawFunction, JobFeed, PictureFeed, Progress
from twistcluster.wire.messages import ErrorInfo
from twistcluster.wire.pages import Packed

__all__ = ["TerminalBackend", "progress_line"]

REDRAW_SECONDS: Final = 0.1
ERRORS_SHOWN: Final = 5
BAR: Final = 24


class TerminalBackend:
    """Shows jobs on standard error.

    Args:
        stream: Instead of standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._shown: set[str] = set()
        """Jobs whose progress bar tells of their errors."""

    def show_job(self, feed: JobFeed, wait: bool | None) -> None:
        """A progress bar, until the job's end; with `wait=False` one line, and no waiting."""
        self._show(_Bar(feed, self._out()), feed, wait)

    def gallery(self, feed: PictureFeed, wait: bool | None) -> None:
        """There is nothing to show pictures on: progress instead, and a line for each picture that failed."""
        self._show(_Bar(feed, self._out(), feed.names), feed, wait)

    def _show(self, bar: "_Bar", feed: JobFeed, wait: bool | None) -> None:
        if wait is False:
            self._write(progress_line(feed.label, feed.progress(), self._columns()) + "\n")
            return
        self._shown.add(feed.id)
        unsubscribe = feed.subscribe(bar)
        try:
            while not bar.finished():
                refuse_to_wait()
                bar.draw(self._columns())
                bar.woken.wait(REDRAW_SECONDS)
        except KeyboardInterrupt:
            raise detached(feed.label, f"cluster.job({feed.label!r})") from None
        finally:
            unsubscribe()
            self._shown.discard(feed.id)
            bar.close(self._columns())

    def prepare(self) -> None:
        """Nothing takes a while here."""

    def show_secret(self, title: str, line: str, about: str, until: float) -> None:
        """On standard output: somebody who asks for it there means to have it there."""
        sys.stdout.write(f"{line}\n{about}\n")

    def plot_job(self, feed: JobFeed, draw_fn: DrawFunction, wait: bool | None) -> None:
        """There is nothing to draw on: progress instead, and a line that says so."""
        self._write(f"{feed.label}: plots are drawn in a notebook; job.results() has what this one would show.\n")
        self.show_job(feed, wait)

    def display_job(self, feed: JobFeed) -> None:
        """One line (in a terminal IPython)."""
        self._write(progress_line(feed.label, feed.progress(), self._columns()) + "\n")

    def error_job(self, feed: JobFeed, index: int, info: ErrorInfo) -> None:
        """One line."""
        if feed.id in self._shown:
            return
        text = _error_text(index, info, self._columns() - len(feed.label) - 2)
        self._write(f"{feed.label}: {text} (job.errors() has all, with tracebacks)\n")

    def _out(self) -> TextIO:
        return self._stream or sys.stderr

    def _columns(self) -> int:
        return shutil.get_terminal_size((100, 24)).columns

    def _write(self, text: str) -> None:
        try:
            self._out().write(text)
            self._out().flush()
        except (OSError, ValueError, AttributeError):
            pass  # no standard error: nothing to show it on


class _Bar:
    """The listener behind a progress bar; with `names` it tells of all errors, by those names."""

    def __init__(self, feed: JobFeed, out: Any, names: Callable[[int], str] | None = None) -> None:
        self.woken = threading.Event()
        self._feed = feed
        self._names = names
        self._out = out
        self._live = bool(getattr(out, "isatty", lambda: False)())
        self._errors: list[tuple[int, ErrorInfo]] = []
        self._shown = 0
        self._drawn = 0

    def results(self, first: int, packed: Packed) -> None:
        """Counted by the job."""

    def failed(self, index: int, error: ErrorInfo) -> None:
        """Shown with the next redraw."""
        if self._names or len(self._errors) < ERRORS_SHOWN:
            self._errors.append((index, error))

    def printed(self, index: int, text: str) -> None:
        """`job.logs()` has it."""

    def changed(self) -> None:
        """At the end the bar shall not wait for its next redraw."""
        if self.finished():
            self.woken.set()

    def finished(self) -> bool:
        return self._feed.progress().state in {"done", "failed", "cancelled"}

    def draw(self, columns: int) -> None:
        for index, error in self._errors[self._shown :]:
            self._line(_error_text(index, error, columns, self._names(index) if self._names else ""), columns)
            self._shown += 1
        if self._live:
            text = progress_line(self._feed.label, self._feed.progress(), columns)
            self._out.write("\r" + text.ljust(self._drawn))
            self._out.flush()
            self._drawn = len(text)

    def close(self, columns: int) -> None:
        self.draw(columns)
        if self._live:
            self._out.write("\n")
        else:
            self._out.write(progress_line(self._feed.label, self._feed.progress(), columns) + "\n")
        self._out.flush()

    def _line(self, text: str, columns: int) -> None:
        if self._live:
            self._out.write("\r" + text.ljust(self._drawn) + "\n")
        else:
            self._out.write(text + "\n")
        self._drawn = 0


def progress_line(label: str, progress: Progress, columns: int = 100) -> str:
    """One line: what is done of a job, how fast, how long it takes yet.

    Example:
        >>> progress_line("abs-1", Progress("running", 10, 5, 0, 0, 2, 2.5, 2.0, 2.0, ""), 60)
        'abs-1  [############            ]  5/10  2.5/s  2.0 s left'
    """
    finished = progress.done + progress.failed + progress.cancelled
    parts = [label]
    if progress.count and columns >= 60:
        filled = BAR * finished // progress.count
        parts.append(f"[{'#' * filled:<{BAR}}]")
    parts.append(f"{finished:,}" + (f"/{progress.count:,}" if progress.count is not None else ""))
    parts += [f"{progress.failed:,} failed"] * bool(progress.failed)
    parts += [f"{progress.cancelled:,} cancelled"] * bool(progress.cancelled)
    if progress.rate:
        parts.append(f"{progress.rate:,.1f}/s" if progress.rate < 100 else f"{progress.rate:,.0f}/s")
    if progress.state in {"done", "failed", "cancelled"}:
        parts += [duration_text(progress.elapsed), progress.state]
    elif progress.waiting:
        parts.append(progress.waiting)
    elif progress.seconds_left is not None:
        parts.append(f"{duration_text(progress.seconds_left)} left")
    return "  ".join(parts)[: max(20, columns - 1)]


def _error_text(index: int, info: ErrorInfo, columns: int, name: str = "") -> str:
    message = " ".join(info.message.split())
    text = f"{_printable(name) or f'item {index}'} failed: {info.type}" + (f": {message}" if message else "")
    limit = max(60, min(columns, 200))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _printable(name: str) -> str:
    """A file's name may hold anything, also what moves a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in name)
