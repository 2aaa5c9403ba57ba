"""The render process: a child of the kernel that decodes results and draws them, for all views of that kernel.

Design:
- Strictly one thing after another, in the order of the link: the oldest request without an answer is the one that it
  works on, so a kernel that waits too long knows which view to blame.
- Results are kept packed until a `Draw`: so decoding a user's class, calling a user's function and opening a user's
  picture all happen inside a request.
- Its life hangs on the link: a thread watches for the kernel's end of it to close.

Must not know: jobs, IPython, widgets. Started by jupyter/renderer.py as `python -m twistcluster.jupyter.render FD`.
"""

import io
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from PIL import Image

from twistcluster.jupyter.card import CardTile, draw_card
from twistcluster.jupyter.pictures import is_picture, thumbnail
from twistcluster.jupyter.plot import Plot, told
from twistcluster.jupyter.render_messages import (
    CloseView,
    Definition,
    Draw,
    FailedItem,
    Frame,
    KernelToRender,
    OpenGallery,
    OpenPlot,
    Picture,
    Results,
    Snapshot,
    Surroundings,
    Tile,
    Tiles,
)
from twistcluster.wire.codec import Codec
from twistcluster.wire.frames import Buffer, FrameDecoder
from twistcluster.wire.functions import load_function
from twistcluster.wire.limits import FRAME_BYTES
from twistcluster.wire.messages import Message
from twistcluster.wire.pages import PLAIN, Packed, framed_item, unpack_plain
from twistcluster.wire.values import Definitions, loads

__all__ = ["DECIDE_AFTER", "MAX_TILES", "Render", "main"]

MAX_TILES = 600
"""A gallery shows the first of a job's items."""
DECIDE_AFTER = 16
"""Results without a picture among them, after which a job has no gallery."""
TILES_SECONDS = 0.05
"""How long one `Draw` of a gallery makes thumbnails before it answers, so that tiles come steadily."""
PLOT_SECONDS = 0.5
"""How long one `Draw` of a plot decodes results before it draws what it has."""
TEXT_CHARACTERS = 120

Answer = tuple[Message, Sequence[Buffer]]


class Canvas(Protocol):
    """One view, as the render process sees it."""

    def take(self, first: int, packed: Packed) -> None:
        """Keep results until the next `draw`."""

    def failed(self, index: int, reason: str) -> None:
        """An item without a result."""

    def draw(self, request: Draw) -> Answer:
        """Decode what was taken, draw it."""

    def still(self, snapshot: Snapshot, last_plot: bytes) -> Answer:
        """The view as one picture. `last_plot`: a PNG that stands in for a plot that can't be drawn any more."""


class Inbox:
    """Packed results that wait to be decoded, one value at a time."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._waiting: deque[tuple[int, Packed]] = deque()
        self._plain: list[Any] | None = None
        self._at = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, first: int, packed: Packed) -> None:
        if packed.count:
            self._waiting.append((first, packed))

    def clear(self) -> None:
        self._waiting.clear()
        self._plain = None
        self._at = 0

    def next(self) -> tuple[int, Any, str]:
        """The next value, its index, and why it could not be decoded, if so."""
        first, packed = self._waiting[0]
        at = self._at
        self._at += 1
        try:
            if packed.packing == PLAIN:
                if self._plain is None:
                    self._plain = unpack_plain(packed)
                return first + at, self._plain[at], ""
            data, buffers = framed_item(packed, at)
            return first + at, loads(data, buffers, self._definitions), ""
        except Exception as error:
            return first + at, None, f"could not be decoded: {told(error).splitlines()[0]}"
        finally:
            if self._at == packed.count:
                self._waiting.popleft()
                self._at = 0
                self._plain = None

    def rest_of_page(self) -> list[Any] | None:
        """All values of a plain page at once, where nothing of it was taken yet."""
        if not self._waiting or self._at or self._waiting[0][1].packing != PLAIN:
            return None
        return unpack_plain(self._waiting.popleft()[1])


class Gallery:
    """Tiles of the results that are pictures."""

    def __init__(self, view: int, definitions: Definitions) -> None:
        self.view = view
        self.inbox = Inbox(definitions)
        self.pictures: bool | None = None
        self.tiles: dict[int, CardTile] = {}
        self.failures: dict[int, str] = {}
        self._undecided: list[tuple[int, Any, str]] = []

    def take(self, first: int, packed: Packed) -> None:
        if self.pictures is not False and first < MAX_TILES:
            self.inbox.add(first, packed)

    def failed(self, index: int, reason: str) -> None:
        if index < MAX_TILES:
            self.failures[index] = reason

    def draw(self, request: Draw) -> Answer:
        until = time.monotonic() + TILES_SECONDS
        tiles: list[Tile] = []
        buffers: list[Buffer] = []
        while self.inbox:
            for index, value, error in self._next():
                if index < MAX_TILES:
                    tile, data = self._tile(index, value, error)
                    tiles.append(tile)
                    buffers.append(data)
            if time.monotonic() > until:
                break
        return Tiles(self.view, request.request, tiles, self.pictures, bool(self.inbox)), buffers

    def _next(self) -> list[tuple[int, Any, str]]:
        """The values to make tiles of now: none while it is open whether results are pictures."""
        index, value, error = self.inbox.next()
        if self.pictures:
            return [(index, value, error)]
        self._undecided.append((index, value, error))
        if is_picture(value):
            self.pictures = True
            ready, self._undecided = self._undecided, []
            return ready
        if len(self._undecided) >= DECIDE_AFTER:
            self.pictures = False
            self._undecided.clear()
            self.inbox.clear()
        return []

    def _tile(self, index: int, value: Any, error: str) -> tuple[Tile, bytes]:
        text = error
        if is_picture(value):
            try:
                thumb = thumbnail(value)
            except Exception as raised:
                text = f"broken picture: {raised}"
            else:
                self.tiles[index] = CardTile(thumb.image)
                return Tile(index, thumb.image.width, thumb.image.height), thumb.data
        text = (text or _short(value))[:TEXT_CHARACTERS]
        self.tiles[index] = CardTile(None, text)
        return Tile(index, 0, 0, text), b""

    def still(self, snapshot: Snapshot, last_plot: bytes) -> Answer:
        tiles = dict(self.tiles) if self.pictures else {}
        if self.pictures:
            tiles.update({index: CardTile(None, reason, failed=True) for index, reason in self.failures.items()})
        plot = Image.open(io.BytesIO(last_plot)) if last_plot else None
        png, width, height = draw_card(snapshot.card, tiles, plot, snapshot.theme, snapshot.scale)
        return Picture(self.view, snapshot.request, width, height), [png]


class PlotCanvas:
    """A user's draw function and its figure."""

    def __init__(self, view: int, definitions: Definitions, function: bytes) -> None:
        self.view = view
        self.inbox = Inbox(definitions)
        self.plot: Plot | None = None
        self._function = function
        self._definitions = definitions
        self._error = ""

    def take(self, first: int, packed: Packed) -> None:
        self.inbox.add(first, packed)

    def failed(self, index: int, reason: str) -> None:
        """A plot is of results only."""

    def draw(self, request: Draw) -> Answer:
        plot = self._opened()
        if plot is None:
            return Frame(self.view, request.request, 0, 0, self._error), []
        new = self._decoded()
        if new:
            plot.add(new)
        png, width, height = plot.png(request.ratio, palette=True)
        return Frame(self.view, request.request, width, height, plot.error or self._error, bool(self.inbox)), [png]

    def _opened(self) -> Plot | None:
        if self.plot is None and not self._error:
            try:
                self.plot = Plot(load_function(self._function, self._definitions))
            except Exception as error:
                self._error = f"the draw function could not be loaded: {told(error)}"
        return self.plot

    def _decoded(self) -> list[Any]:
        until = time.monotonic() + PLOT_SECONDS
        values: list[Any] = []
        while self.inbox and time.monotonic() < until:
            page = self.inbox.rest_of_page()
            if page is not None:
                values.extend(page)
                continue
            index, value, error = self.inbox.next()
            if error:
                self._error = f"result {index} {error}"
            else:
                values.append(value)
        return values

    def still(self, snapshot: Snapshot, last_plot: bytes) -> Answer:
        image = None
        if self.plot is not None:
            data, _, _ = self.plot.png(1.2 * snapshot.scale, palette=False)
            image = Image.open(io.BytesIO(data))
        png, width, height = draw_card(snapshot.card, {}, image, snapshot.theme, snapshot.scale)
        return Picture(self.view, snapshot.request, width, height), [png]


def _short(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"a {type(value).__name__}"


class Render:
    """All views of a kernel; `received` takes one message and returns the answer, where there is one."""

    def __init__(self) -> None:
        self.views: dict[int, Canvas] = {}
        self.definitions = Definitions()

    def received(self, message: Message, buffers: Sequence[Buffer]) -> Answer | None:
        """Do what the kernel asks."""
        match message:
            case Results(view, first, count, kind, definitions):
                if view in self.views:
                    self.views[view].take(first, Packed(kind, count, tuple(buffers), tuple(definitions)))
            case FailedItem(view, index, reason):
                if view in self.views:
                    self.views[view].failed(index, reason)
            case Draw(view):
                return self.views[view].draw(message) if view in self.views else None
            case Snapshot(view):
                last_plot = bytes(buffers[0]) if buffers else b""
                return self.views[view].still(message, last_plot) if view in self.views else None
            case Definition(digest):
                self.definitions.learn(digest, bytes(buffers[0]))
            case Surroundings(folder, path):
                _surround(folder, path)
            case OpenGallery(view):
                self.views[view] = Gallery(view, self.definitions)
            case OpenPlot(view):
                self.views[view] = PlotCanvas(view, self.definitions, bytes(buffers[0]))
            case CloseView(view):
                self.views.pop(view, None)
        return None


def _surround(folder: str, path: list[str]) -> None:
    try:
        os.chdir(folder)
    except OSError:
        pass  # The kernel's folder was removed: what was imported from it can't be imported again either way.
    own = [entry for entry in sys.path if entry not in path]
    sys.path[:] = path + own


def _watch(link: socket.socket) -> None:
    """End the process once the kernel's end of the link is closed, whatever runs in it."""
    poll = select.poll()
    poll.register(link.fileno(), select.POLLRDHUP)
    while True:
        for _, events in poll.poll():
            if events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR | select.POLLNVAL):
                os._exit(0)


def main(fd: int) -> None:
    """Serve a kernel over a socket until it goes away."""
    link = socket.socket(fileno=fd)
    link.setblocking(True)
    threading.Thread(target=_watch, args=(link,), name="watch the link", daemon=True).start()
    codec = Codec(KernelToRender)
    decoder = FrameDecoder(FRAME_BYTES)
    render = Render()
    while data := link.recv(1 << 18):
        for frame in decoder.feed(data):
            message, buffers = codec.decode(frame)
            answer = render.received(message, buffers)
            if answer is not None:
                for piece in codec.encode(*answer):
                    link.sendall(piece)


if __name__ == "__main__":
    main(int(sys.argv[1]))
