"""The notebook's backend of views: what `job.show()`, `job.plot()` and a job as a cell's value do in a kernel.

Owns: the kernel's one stage, and the rules of waiting. Satisfies client/views.py's `ViewBackend`; loaded by the first
use of a view through the entry point group "twistcluster.views". Must not know: how views are drawn.
"""

import html
import os
import uuid
from typing import Any

from IPython.core.getipython import get_ipython

from twistcluster.client.patience import detached, wait_until
from twistcluster.client.views import DrawFunction, JobFeed, PictureFeed
from twistcluster.jupyter.album_view import AlbumView
from twistcluster.jupyter.screen import Screen, Shell
from twistcluster.jupyter.stage import Stage
from twistcluster.jupyter.view import Phase, View
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.functions import dump_function
from twistcluster.wire.messages import ErrorInfo

__all__ = ["JupyterBackend"]

FPS = 10.0
MESSAGE_CHARACTERS = 300


class JupyterBackend:
    """Shows jobs in the notebook of this kernel.

    Args:
        fps: Frames a second that a view shows at most (30 is the most that is taken).
    """

    def __init__(self, fps: float = FPS) -> None:
        self.fps = fps
        self.shell = Shell(get_ipython())
        self._stage: Stage | None = None
        self._open: list[View] = []
        self._pid = os.getpid()

    @property
    def stage(self) -> Stage:
        """The thread of all views; a forked child, which has no threads, gets its own."""
        if self._stage is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._stage = Stage()
        return self._stage

    def show_job(self, feed: JobFeed, wait: bool | None) -> None:
        """Show progress, errors, what items print, and pictures, while the job runs."""
        self._show(feed, None, wait)

    def plot_job(self, feed: JobFeed, draw_fn: DrawFunction, wait: bool | None) -> None:
        """Show what `draw_fn(ax, new_results, state)` draws of the results, while the job runs.

        Raises:
            NotPicklable: The function can't travel to the render process.
        """
        blob, _ = dump_function(draw_fn, Definitions(), name="the draw function")
        self._show(feed, blob, wait)

    def prepare(self) -> None:
        """Start the render process."""
        self.stage.prepare()

    def gallery(self, feed: PictureFeed, wait: bool | None) -> None:
        """Show pictures while they come, and after it: a tile for each, to browse, to filter, to open."""
        stage = self.stage
        stage.prepare()
        screen = Screen(self.shell, _display_id(), stage.wake, self.fps, "album")
        self._run(AlbumView(stage.number(), feed, screen, stage.wake), wait)

    def display_job(self, feed: JobFeed) -> None:
        """A job is the value of a cell's last expression: as `show()`."""
        self._show(feed, None, None)

    def show_secret(self, title: str, line: str, about: str, until: float) -> None:
        """Show a line where the notebook doesn't save it; where nobody looks (nbclient), say only that there was one."""
        from twistcluster.jupyter.secret import SecretWidget, fallback  # here: see screen.py

        if self.shell.interactive:
            data = SecretWidget(line, about, until).bundle(title)
        else:
            data = {"text/plain": fallback(title)}
        self.shell.publish(data, {}, _display_id(), update=False)

    def error_job(self, feed: JobFeed, index: int, info: ErrorInfo) -> None:
        """Show a job's first error under the cell that opened it. In any thread: it is handed on."""
        parent = feed.origin if isinstance(feed.origin, dict) else None
        text = error_text(feed.label, index, info)
        self.stage.call(lambda: self.shell.publish_under(parent, error_bundle(text)))

    def _show(self, feed: JobFeed, draw_blob: bytes | None, wait: bool | None) -> None:
        stage = self.stage
        stage.prepare()
        screen = Screen(self.shell, _display_id(), stage.wake, self.fps)
        self._run(View(stage.number(), feed, draw_blob, screen, stage.wake), wait)

    def _run(self, view: View, wait: bool | None) -> None:
        view.open()
        self.stage.add(view)
        self._open = [*(other for other in self._open if other.phase is not Phase.FINISHED), view]
        if wait if wait is not None else not self.shell.interactive:
            # The job's other views, too: what nbclient saves after this cell shall have the end of them all.
            for shown in [other for other in self._open if other.feed is view.feed]:
                self._await(shown)

    def _await(self, view: View) -> None:
        label = view.feed.label
        wait_until(
            view.finished,
            lambda: view.phase is Phase.FINISHED,
            None,
            lambda: detached(label, f"cluster.job({label!r})"),
            # Of a job that is over, only this process's own stage is waited for.
            here=view.feed.progress().state not in {"pending", "running"},
        )


def _display_id() -> str:
    return f"twistcluster-{uuid.uuid4().hex}"


def error_text(label: str, index: int, info: ErrorInfo) -> str:
    """At most five lines: which job and item, the exception, what to type next."""
    message = info.message.strip().splitlines()[:2] or [""]
    message[0] = f"{info.type}: {message[0]}" if message[0] else info.type
    shown = [line if len(line) <= MESSAGE_CHARACTERS else line[: MESSAGE_CHARACTERS - 1] + "…" for line in message]
    lines = [f"{label}: item {index} failed", *shown]
    lines.append(f"All errors, with their tracebacks: job.errors()  or  %cluster errors {label}")
    return "\n".join(lines)


def error_bundle(text: str) -> dict[str, Any]:
    """The words as they are, and as HTML with everything escaped."""
    head, *rest = (html.escape(line) for line in text.splitlines())
    body = "".join(f"<div>{line}</div>" for line in rest)
    style = (
        "border-left:3px solid #c62828;padding:4px 10px;margin:2px 0;white-space:pre-wrap;overflow-wrap:anywhere;"
        "font-family:var(--jp-code-font-family,monospace);font-size:12px;color:var(--jp-content-font-color1,inherit)"
    )
    return {"text/plain": text, "text/html": f'<div style="{style}"><b>{head}</b>{body}</div>'}
