"""The render process: a child of the kernel that decodes results and draws them, for all views of that kernel.

Design:
- Strictly one thing after another, in the order of the link: the oldest request without an answer is the one that it
  works on, so a kernel that waits too long knows which view to blame.
- Results are kept packed until a `Draw`: so decoding a user's class, calling a user's function and opening a user's
  picture all happen inside a request.
- Its life hangs on the link: a thread watches for the kernel's end of it to close.

Must not know: jobs, IPython, widgets. Started by jupyter/renderer.py as `python -m twistcluster.jupyter.render FD`.
"""

import contextlib
import os
import select
import socket
import sys
import threading
from collections.abc import Sequence

from twistcluster.jupyter.album import Album
from twistcluster.jupyter.gallery import Gallery
from twistcluster.jupyter.inbox import Answer, Canvas
from twistcluster.jupyter.render_messages import (
    CloseView,
    Definition,
    Draw,
    FailedItem,
    KernelToRender,
    OpenAlbum,
    OpenGallery,
    OpenPlot,
    Results,
    Snapshot,
    Surroundings,
)
from twistcluster.storage import mappings
from twistcluster.storage.values import ValueStore
from twistcluster.wire.codec import Codec
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.frames import Buffer, FrameDecoder
from twistcluster.wire.limits import FRAME_BYTES
from twistcluster.wire.messages import Message
from twistcluster.wire.pages import Packed

__all__ = ["Render", "main"]


class Render:
    """All views of a kernel; `received` takes one message and returns the answer, where there is one."""

    def __init__(self) -> None:
        self.views: dict[int, Canvas] = {}
        self.definitions = Definitions()
        self._stores: dict[str, ValueStore] = {}

    def received(self, message: Message, buffers: Sequence[Buffer]) -> Answer | None:
        """Do what the kernel asks."""
        match message:
            case Results(view, first, count, kind, definitions, store):
                if view in self.views:
                    packed = Packed(kind, count, tuple(buffers), definitions)
                    self.views[view].take(first, packed, self._store(store))
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
            case OpenAlbum(view):
                self.views[view] = Album(view, self.definitions)
            case OpenPlot(view):
                # Here: matplotlib takes a third of a second, which a gallery needn't wait for.
                from twistcluster.jupyter.plot import PlotCanvas

                self.views[view] = PlotCanvas(view, self.definitions, bytes(buffers[0]))
            case CloseView(view):
                self.views.pop(view, None)
        return None

    def _store(self, folder: str) -> ValueStore | None:
        if not folder:
            return None
        if folder not in self._stores:
            self._stores[folder] = ValueStore(folder)
        return self._stores[folder]


def _surround(folder: str, path: list[str]) -> None:
    # The kernel's folder may be gone; what was imported from it can't be imported again either way.
    with contextlib.suppress(OSError):
        os.chdir(folder)
    own = [entry for entry in sys.path if entry not in path]
    sys.path[:] = path + own


def _watch(link: socket.socket) -> None:
    """End the process once the kernel's end of the link is closed, whatever runs in it; else look after its memory."""
    poll = select.poll()
    poll.register(link.fileno(), select.POLLRDHUP)
    while True:
        for _, events in poll.poll(mappings.LOOK_SECONDS * 1000):
            if events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR | select.POLLNVAL):
                os._exit(0)
        mappings.expire()


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
