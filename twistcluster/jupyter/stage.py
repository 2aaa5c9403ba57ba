"""The one thread of a kernel in which all live views run, and the render process that they share.

Owns: the thread, the render process's life, who is to blame when it hangs or dies. Must not know: what views show.

It sleeps until something happens: news of a job, a front end's answer, an answer of the render process, a view's next
frame being due. Nothing that it calls blocks.
"""

import contextlib
import itertools
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from twistcluster.jupyter.render_messages import CloseView, Definition, Draw, Snapshot
from twistcluster.jupyter.renderer import Renderer
from twistcluster.jupyter.view import Phase, View
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Message

__all__ = ["Stage"]

HANG_SECONDS = 15.0
KEPT = 8
"""Finished views that still answer: pages that were reloaded while they ran, and who browses a gallery."""


class Stage:
    """Runs views.

    Args:
        hang_seconds: How long one drawing may take before the render process is given up.
    """

    def __init__(self, hang_seconds: float = HANG_SECONDS) -> None:
        self.hang_seconds = hang_seconds
        self._ears, self._bell = socket.socketpair()
        self._ears.setblocking(False)
        self._bell.setblocking(False)
        self._rung = False
        self._calls: deque[Callable[[], object]] = deque()
        self._views: list[View] = []
        self._kept: deque[View] = deque()
        self._renderer: Renderer | None = None
        self._opened: set[int] = set()
        self._asked: deque[tuple[int, View]] = deque()
        self._working_since = 0.0
        self._numbers = itertools.count(1)
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._ears, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="twistcluster views", daemon=True)
        self._thread.start()

    def number(self) -> int:
        """A number that no view and no request had."""
        return next(self._numbers)

    def add(self, view: View) -> None:
        """Run a view from now on."""
        self.call(lambda: self._views.append(view))

    def prepare(self) -> None:
        """A view comes: start the render process, which takes a fifth of a second."""
        self.call(self._started)

    def call(self, function: Callable[[], object]) -> None:
        """Call something in the view thread."""
        self._calls.append(function)
        self.wake()

    def wake(self) -> None:
        """Look at all views now; from any thread, and cheap where it was said already."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(OSError):
                self._bell.send(b"\0")

    def close(self) -> None:
        """End the thread and the render process."""
        self._closing = True
        self.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=2.0)

    # ---- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                self._turn()
        finally:
            for view in [*self._kept, *self._views]:
                self._guarded(view.forget)
            if self._renderer is not None:
                self._renderer.close()
            self._selector.close()
            self._ears.close()
            self._bell.close()

    def _turn(self) -> None:
        now = time.monotonic()
        while self._calls:
            self._guarded(self._calls.popleft())
        for view in [*self._kept, *self._views]:
            self._step(view, now)
        self._wait(now)

    def _step(self, view: View, now: float) -> None:
        try:
            view.step(now)
            for message, buffers, definitions in view.requests(now, self.number):
                self._send(view, message, buffers, definitions, now)
            # The render process begins with the next frame while this one is on its way.
            self._flush()
            view.show(now)
        except Exception as error:  # A view's fault ends that view only.
            view.give_up(error)
        if view.phase is Phase.FINISHED and view in self._views:
            self._views.remove(view)
            self._kept.append(view)
            if view.number in self._opened and self._renderer is not None:
                self._renderer.send(CloseView(view.number))
                self._opened.discard(view.number)
            while len(self._kept) > KEPT:
                self._guarded(self._kept.popleft().close)

    def _guarded(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(Exception):
            function()

    def _wait(self, now: float) -> None:
        until = min((view.next_step_at(now) for view in [*self._kept, *self._views]), default=float("inf"))
        if self._asked:
            until = min(until, self._working_since + self.hang_seconds)
        self._flush()
        # 1 ms at least: a view that is due at once gets its turn, but never spins.
        timeout = None if until == float("inf") else max(0.001, until - time.monotonic())
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._ears:
                with contextlib.suppress(BlockingIOError):
                    while self._ears.recv(4096):
                        pass
                # Only now: whoever rings meanwhile is heard in the turn that follows, without a byte of theirs.
                self._rung = False
            else:
                self._served(events)
        if self._asked and time.monotonic() - self._working_since >= self.hang_seconds:
            self._lost(f"took longer than {self.hang_seconds:g} s and was stopped")

    # ---- the render process ----------------------------------------------------------------------------------------

    def _send(
        self, view: View, message: Message, buffers: tuple[Buffer, ...], definitions: tuple[bytes, ...], now: float
    ) -> None:
        renderer = self._started()
        if view.number not in self._opened:
            self._opened.add(view.number)
            renderer.surround()
            renderer.send(*view.opening())
        for digest in definitions:
            if digest not in renderer.known:
                renderer.known.add(digest)
                renderer.send(Definition(digest), [view.feed.definition(digest)])
        if isinstance(message, Draw | Snapshot):
            if not self._asked:
                self._working_since = now
            self._asked.append((message.request, view))
        renderer.send(message, buffers)

    def _started(self) -> Renderer:
        if self._renderer is None:
            self._renderer = Renderer()
            self._selector.register(self._renderer.link, selectors.EVENT_READ)
        return self._renderer

    def _flush(self) -> None:
        renderer = self._renderer
        if renderer is None:
            return
        if renderer.pending and not renderer.write():
            return  # The read side sees the end of it.
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if renderer.pending else 0)
        if self._selector.get_key(renderer.link).events != events:
            self._selector.modify(renderer.link, events)

    def _served(self, events: int) -> None:
        renderer = self._renderer
        if renderer is None or not events & selectors.EVENT_READ:
            return
        answers = renderer.read()
        if answers is None:
            self._lost(f"ended the process that draws: it {renderer.how_it_ended()}")
            return
        now = time.monotonic()
        for answer, buffers in answers:
            request = getattr(answer, "request", 0)
            while self._asked and self._asked[0][0] <= request:
                number, view = self._asked.popleft()
                self._working_since = now
                if number == request:
                    try:
                        view.answered(answer, buffers, now)
                    except Exception as error:
                        view.give_up(error)

    def _lost(self, what: str) -> None:
        """The render process hangs or is gone: the view it worked for is to blame, the others get a new one."""
        renderer, self._renderer = self._renderer, None
        if renderer is None:
            return
        self._selector.unregister(renderer.link)
        renderer.close()
        blamed = self._asked[0][1] if self._asked else None
        self._asked.clear()
        self._opened.clear()
        now = time.monotonic()
        for view in self._views[:]:
            subject = "the draw function" if view.draw_blob is not None else "showing a result"
            try:
                view.render_lost(f"{subject} {what}" if view is blamed else "", now)
            except Exception as error:
                view.give_up(error)
