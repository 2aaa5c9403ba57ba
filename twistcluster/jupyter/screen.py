"""Where one view is shown: the display under its cell, and the widget inside it.

Design:
- One display of {widget, image/png, text/plain}. Frames go to the widget; where none answers, the display itself is
  updated, as PNG and text, twice a second. The last update is PNG and text only, so that it stays in the notebook.
- A front end that answers late (its first answers wait behind a busy cell) gets the widget back.
- At most two frames are on their way: the next one waits for an acknowledgement, which is sent when a frame is painted.
  Where answers can't come while a cell runs (ipykernel 6), frames go on at 10 a second without them.
- Everything is published in an empty context: a thread's or a callback's own would name another cell as its parent.

Owns: pace, acknowledgements, the display's bundle. Must not know: jobs, what a frame holds.
"""

import base64
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from twistcluster.wire.frames import Buffer

if TYPE_CHECKING:
    from twistcluster.jupyter.widget import ViewWidget

__all__ = ["INSTALL_NOTE", "Screen", "Shell"]

ANSWER_SECONDS = 3.0
"""Without a word from a widget for this long, the display goes on without it."""
PICTURE_SECONDS = 0.5
BLIND_FRAME_SECONDS = 0.1
UNACKNOWLEDGED = 2
ASKED = 100
INSTALL_NOTE = "For a live view: pip install anywidget in the environment that runs JupyterLab, then reload the page."


class Shell:
    """The kernel's shell: whether a cell runs now, and how things are published."""

    def __init__(self, ip: Any) -> None:
        self.ip = ip
        self.busy = True
        """A cell runs: it is one that asked for the first view."""
        self.idle_since = float("inf")
        self.interactive = bool(getattr(ip.kernel, "_allow_stdin", True))
        """Nobody looks while nbclient or nbconvert runs a notebook: they wait for what is to be saved."""
        self.subshells = bool(getattr(ip.kernel, "_supports_kernel_subshells", False))
        # Before 7.1, ipykernel finds no parent in an empty context: there it is taken from the cell that began last.
        self._context: contextvars.Context | None = None
        self._parent_needs_context = not contextvars.Context().run(_finds_parent, ip)
        self._began()
        ip.events.register("pre_execute", self._began)
        ip.events.register("post_execute", self._ended)

    def _began(self) -> None:
        self.busy = True
        self.idle_since = float("inf")
        if self._parent_needs_context:
            self._context = contextvars.copy_context()

    def _ended(self) -> None:
        self.busy = False
        self.idle_since = time.monotonic()

    def run(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Call what publishes: in an empty context, so that it isn't taken for another cell's."""
        context = self._context.copy() if self._context is not None else contextvars.Context()
        context.run(function, *arguments, **options)

    def publish(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, *, update: bool) -> None:
        """Show or update a display."""
        self.run(
            self.ip.display_pub.publish,
            data=data,
            metadata=metadata,
            transient={"display_id": display_id},
            update=update,
        )

    def publish_under(self, parent: dict[str, Any] | None, data: dict[str, Any]) -> None:
        """Show something under the cell that this message came from."""
        publisher = self.ip.display_pub
        content = {"data": data, "metadata": {}, "transient": {}}
        publisher.session.send(
            publisher.pub_socket,
            "display_data",
            content,
            parent=parent or publisher.parent_header,
            ident=publisher.topic,
        )


def _finds_parent(ip: Any) -> bool:
    try:
        ip.kernel.get_parent()
        return ip.display_pub.parent_header is not None
    except LookupError:
        return False


class Screen:
    """The display of one view."""

    def __init__(
        self,
        shell: Shell,
        display_id: str,
        wake: Callable[[], None],
        fps: float,
        kind: Literal["view", "album"] = "view",
    ) -> None:
        self.shell = shell
        self.display_id = display_id
        self.widget: ViewWidget | None = None
        self._kind = kind
        self.asked: deque[dict[str, Any]] = deque(maxlen=ASKED)
        """What front ends said that isn't about pace: for the view."""
        self.live = False
        """Frames go to the widget."""
        self.theme: Literal["light", "dark"] = "light"
        self.ratio = 1.0
        self._wake = wake
        self.frame_seconds = 1 / min(30.0, fps)
        self._opened = 0.0
        self._answered = False
        self._answers_while_busy = False
        self._visible = True
        self.used = False
        """Somebody points at it or has the focus in it: not the moment to put another display in its place."""
        self._sent = 0
        self._acknowledged = 0
        self.sent_at = 0.0
        self._picture_at = 0.0

    # ---- what the main thread does --------------------------------------------------------------------------------

    def open(self, text: str, snapshot: Callable[[], dict[str, Any]]) -> None:
        """Show the view, empty as it is, under the cell that runs."""
        data: dict[str, Any] = {"text/plain": text}
        if self.shell.interactive:
            # Here: anywidget takes a tenth of a second, in which the render process starts.
            from twistcluster.jupyter.widget import AlbumWidget, ViewWidget

            self.widget = (AlbumWidget if self._kind == "album" else ViewWidget)(snapshot, self._heard)
            self.live = True
            data |= self.widget.bundle()
        self._opened = time.monotonic()
        self.shell.publish(data, {}, self.display_id, update=False)

    # ---- what front ends say, in any thread -----------------------------------------------------------------------

    def _heard(self, content: dict[str, Any]) -> None:
        """Hand on: only single values are set here, and the view thread is woken."""
        self._answered = True
        if threading.current_thread() is not threading.main_thread():
            self._answers_while_busy = True
        if "theme" in content:
            self.theme = "dark" if content["theme"] == "dark" else "light"
        self.used = bool(content.get("used"))
        ratio = content.get("ratio")
        if isinstance(ratio, int | float) and 0.5 <= ratio <= 4:
            self.ratio = float(ratio)
        match content.get("kind"):
            case "hello":  # a new page: what was on its way to the old one is lost
                self._acknowledged = self._sent
                self._visible = True
            case "ack":
                number = content.get("n")
                if isinstance(number, int):
                    self._acknowledged = max(self._acknowledged, min(number, self._sent))
            case "visible":
                self._visible = bool(content.get("visible"))
            case _:
                self.asked.append(content)
        self._wake()

    # ---- what the view thread does ---------------------------------------------------------------------------------

    @property
    def looked_at(self) -> bool:
        """Whether anybody can see what is drawn."""
        return not self.live or self._visible

    @property
    def up_to_date(self) -> bool:
        """Whether all frames that were sent are painted."""
        return not self.live or self._acknowledged >= self._sent or not self._visible

    @property
    def note(self) -> str:
        """What to say where there is no live view."""
        missing = self.shell.interactive and not self.live and not self.shell.busy and not self._answered
        return INSTALL_NOTE if missing else ""

    def tick(self, now: float) -> bool:
        """Decide whether the widget lives; True if that changed."""
        if self.widget is None or self.live == self._answered:
            return False
        if self._answered:
            self.live = True
            return True
        # A busy shell can't pass on an answer, unless it has subshells for it.
        since = self._opened if self.shell.subshells else max(self._opened, self.shell.idle_since)
        if self.live and now - since >= ANSWER_SECONDS:
            self.live = False
            return True
        return False

    def next_frame_at(self, now: float) -> float:
        """When the next frame may be sent; infinity while that waits for the front end."""
        if not self.live or not self._visible:
            return float("inf")
        if self._sent - self._acknowledged < UNACKNOWLEDGED:
            return self.sent_at + self.frame_seconds
        if self.shell.busy and not self._answers_while_busy:
            return self.sent_at + max(BLIND_FRAME_SECONDS, self.frame_seconds)
        return float("inf")

    def next_picture_at(self) -> float:
        """When the display itself may be updated next."""
        return float("inf") if self.live else self._picture_at + PICTURE_SECONDS

    def send(self, frame: dict[str, Any], buffers: Sequence[Buffer], now: float) -> None:
        """Send a frame to the widget."""
        assert self.widget is not None
        self._sent += 1
        self.sent_at = now
        content = {"kind": "frame", "n": self._sent, **frame}
        self.shell.run(self.widget.send, content, list(buffers))

    def tell(self, content: dict[str, Any], buffers: Sequence[Buffer]) -> None:
        """Send the front end an answer, at once: it was asked for, so there are no more of them than questions."""
        if self.widget is not None:
            self.shell.run(self.widget.send, content, list(buffers))

    def show_picture(self, png: bytes, size: tuple[int, int], text: str, now: float, *, last: bool) -> None:
        """Update the display; the last time without the widget."""
        data: dict[str, Any] = {"text/plain": text}
        if png:
            data["image/png"] = base64.b64encode(png).decode("ascii")
        if self.live and not last and self.widget is not None:
            data |= self.widget.bundle()
        self._picture_at = now
        self.shell.publish(data, {"image/png": {"width": size[0], "height": size[1]}}, self.display_id, update=True)

    def close(self) -> None:
        """Nobody will look again."""
        if self.widget is not None:
            self.shell.run(self.widget.close)
            self.widget = None
            self.live = False
