"""The protocol between a job and whatever shows it, and the choice of who shows it.

Owns: what a view may ask of a job (`JobFeed`), what it is told (`JobListener`), what a place to show things must be
able to do (`ViewBackend`), and which one this process has. Must not know: IPython, widgets, matplotlib; a notebook's
backend registers under the entry point group "twistcluster.views" and is loaded by its first use.
"""

import functools
import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from twistcluster.wire.messages import ErrorInfo
from twistcluster.wire.pages import Packed

__all__ = [
    "ENTRY_POINTS",
    "DrawFunction",
    "JobFeed",
    "JobListener",
    "JobState",
    "PictureFeed",
    "Progress",
    "ViewBackend",
    "backend",
    "origin",
    "prepare",
    "shell",
]

ENTRY_POINTS = "twistcluster.views"

JobState = Literal["pending", "running", "done", "failed", "cancelled"]

DrawFunction = Callable[[Any, list[Any], dict[str, Any]], object]
"""`draw_fn(ax, new_results, state)`: draws what came on a matplotlib Axes; `state` is its own dict, kept between calls."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, at one moment."""

    state: JobState
    count: int | None
    """Items in all; None while a lazy job's input goes on."""
    done: int
    failed: int
    cancelled: int
    running: int
    """Items that are in a slot now, as far as is known."""
    rate: float
    """Items a second, over the last seconds."""
    seconds_left: float | None
    elapsed: float
    """Seconds since the job was opened; of an ended job: what it took."""
    waiting: str
    """Why nothing of it runs, where that needs saying."""


class JobListener(Protocol):
    """What is told of a job.

    Called on the reactor thread, and for what is there already in the subscribing thread: it must only hand on.
    Nothing is told twice; an item that failed and is run again (`retry`) is told again.
    """

    def results(self, first: int, packed: Packed) -> None:
        """Items `first` to `first + packed.count` succeeded."""

    def failed(self, index: int, error: ErrorInfo) -> None:
        """An item failed for good."""

    def printed(self, index: int, text: str) -> None:
        """What an item wrote to its standard output and error."""

    def changed(self) -> None:
        """Counts or state changed: `progress()` has news."""


class JobFeed(Protocol):
    """A job as views see it: the client's internal record of it."""

    @property
    def id(self) -> str:
        """What always finds it."""

    @property
    def label(self) -> str:
        """What people call it: "make_thumb-3"."""

    @property
    def origin(self) -> object | None:
        """In a kernel: the message (a dict with its header) of the cell that opened the job, else None."""

    @property
    def store(self) -> str:
        """Folder of the store in which its large results are."""

    def progress(self) -> Progress:
        """How far it is."""

    def subscribe(self, listener: JobListener) -> Callable[[], None]:
        """Tell the listener what is there, then what comes; the answer ends it."""

    def definition(self, digest: bytes) -> bytes:
        """The blob of a class definition that packed results name."""

    def error(self, index: int) -> BaseException:
        """The exception of a failed item, for display."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the job's end in the calling thread; False if the time was up before."""


class PictureFeed(JobFeed, Protocol):
    """A pipeline of pictures as a gallery sees it.

    Its results are PIL images, arrays or encoded pictures; or have a method `__tile__()` that returns (encoded preview,
    (width, height) of the picture, [(label, score or None, box in pixels of that size or None), ...]); or are
    `Dropped.DROPPED`, which has no tile; others are shown as words.
    """

    def names(self, index: int) -> str:
        """What a picture is called; cheap, in any thread."""

    def full(self, index: int) -> tuple[str, bytes]:
        """The whole picture for a browser, of at most 4096 pixels a side: its mime type and its bytes.

        May take seconds, so it is called in a thread of its own. Raises with a reason that is shown.
        """


class ViewBackend(Protocol):
    """A place to show things."""

    def show_job(self, feed: JobFeed, wait: bool | None) -> None:
        """`job.show()`: progress, errors, what items print; `wait` None is what suits the place."""

    def plot_job(self, feed: JobFeed, draw_fn: DrawFunction, wait: bool | None) -> None:
        """`job.plot(draw_fn)`."""

    def prepare(self) -> None:
        """Something will be shown soon: make ready what takes a while, and don't wait for it."""

    def gallery(self, feed: PictureFeed, wait: bool | None) -> None:
        """`pipeline.gallery()`: a tile for each picture, errors as tiles with their reason."""

    def display_job(self, feed: JobFeed) -> None:
        """A job is the value of a cell's last expression."""

    def error_job(self, feed: JobFeed, index: int, info: ErrorInfo) -> None:
        """The first error of a job, on the reactor thread: show it under the cell that opened the job (`origin`)."""

    def show_secret(self, title: str, line: str, about: str, until: float) -> None:
        """Show a line to be copied, until a time (seconds since 1970), nowhere where it is saved. `title` may be saved."""


def shell() -> Any | None:
    """The IPython shell of this process if it is a kernel's, else None; never imports IPython."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return None
    found = getattr(ipython, "get_ipython", lambda: None)()
    return found if getattr(found, "kernel", None) is not None else None


def origin() -> object | None:
    """In a kernel: the message of the cell that runs now, else None."""
    found = shell()
    try:
        return found.get_parent() if found is not None else None
    except Exception:  # not in a cell, or an older kernel: then a view shows where it can
        return None


def backend() -> ViewBackend:
    """Who shows things in this process: the notebook's backend in a kernel where there is one, else the terminal's."""
    return _notebook() or _terminal() if shell() is not None else _terminal()


def prepare() -> None:
    """In a kernel: something will be shown soon."""
    if shell() is not None:
        backend().prepare()


@functools.cache
def _notebook() -> ViewBackend | None:
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        return cast(ViewBackend, entry.load()())
    return None


@functools.cache
def _terminal() -> ViewBackend:
    from twistcluster.client.terminal import TerminalBackend  # here: it stands on this module

    return TerminalBackend()
