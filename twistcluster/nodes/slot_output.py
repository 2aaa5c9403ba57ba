"""What items print, caught in the slot at no cost to items that print nothing.

Owns: the streams that stand in for `sys.stdout` and `sys.stderr` in a slot, and the bounds on what is kept of them. A
write asks the shared page which item runs, so the loop that runs items needn't look here. Only Python's own streams are
caught: what a C library or a child process writes to descriptors 1 and 2 goes to the worker's log. Must not know:
messages, bites.
"""

import io
import sys
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, TextIO

from twistcluster.nodes.slot_page import PrintedTail
from twistcluster.wire.limits import OUTPUT_ITEM_BYTES

__all__ = ["Capture", "Caught", "CaughtStream", "catch_streams"]

HEAD_BYTES: Final = OUTPUT_ITEM_BYTES // 2
TAIL_BYTES: Final = OUTPUT_ITEM_BYTES - HEAD_BYTES


class Caught(NamedTuple):
    """A piece of what an item printed. Several pieces of one item follow each other."""

    ordinal: int
    text: str
    dropped_bytes: int
    """Cut out in front of this text."""


class Capture:
    """Keeps what items print until it is taken: of each the head at once, the tail when the item has ended.

    Args:
        running: gives the ordinal of the item that runs, or None between items.
        last: where the end of it is written, too, for who looks when this process is dead.
    """

    def __init__(self, running: Callable[[], int | None], last: PrintedTail | None = None) -> None:
        self._running = running
        self._last = last
        self._lock = allocate_lock()
        self._done: list[Caught] = []
        self._ordinal = -1
        self._head: list[str] = []
        self._head_room = HEAD_BYTES
        self._tail: deque[str] = deque()
        self._tail_bytes = 0
        self._dropped_bytes = 0
        self.waiting = False
        """Whether there is anything to take: read without a lock, by the loop's end."""

    def write(self, text: str) -> bool:
        """Keep this for the item that runs now; False if none runs."""
        ordinal = self._running()
        if ordinal is None:
            return False
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # a lone surrogate can't travel
        with self._lock:
            if ordinal != self._ordinal:
                self._end_item()
                self._ordinal = ordinal
            self._keep(text)
            if self._last is not None:
                self._last.write(ordinal, text)
            self.waiting = True
        return True

    def let_go(self) -> None:
        """In a forked child, from which nothing could be taken: pass everything on."""
        self._running = _nothing_runs

    def take(self, ended: bool) -> list[Caught]:
        """What there is; with `ended` the tail of the last item too."""
        with self._lock:
            self._end_head()
            if ended:
                self._end_item()
                self._ordinal = -1
            taken, self._done = self._done, []
            self.waiting = bool(self._tail)
            return taken

    def _keep(self, text: str) -> None:
        size = _size(text)
        if size <= self._head_room and not self._tail:
            self._head.append(text)
            self._head_room -= size
            return
        if self._head_room > 0 and not self._tail:
            cut, text = _cut(text, self._head_room)
            self._head.append(cut)
            size -= _size(cut)
            self._head_room = 0
        self._tail.append(text)
        self._tail_bytes += size
        while self._tail_bytes - _size(self._tail[0]) >= TAIL_BYTES:
            gone = _size(self._tail.popleft())
            self._tail_bytes -= gone
            self._dropped_bytes += gone
        if self._tail_bytes > 2 * TAIL_BYTES:
            self._trim()

    def _trim(self) -> None:
        """Cut the front of the tail to its limit."""
        over = self._tail_bytes - TAIL_BYTES
        if over > 0:
            gone, kept = _cut(self._tail.popleft(), over)
            self._tail.appendleft(kept)
            self._tail_bytes -= _size(gone)
            self._dropped_bytes += _size(gone)

    def _end_head(self) -> None:
        if self._head:
            self._done.append(Caught(self._ordinal, "".join(self._head), 0))
            self._head = []

    def _end_item(self) -> None:
        self._end_head()
        if self._tail:
            self._trim()
            self._done.append(Caught(self._ordinal, "".join(self._tail), self._dropped_bytes))
            self._tail.clear()
            self._tail_bytes = 0
        self._head_room = HEAD_BYTES
        self._dropped_bytes = 0


def _nothing_runs() -> None:
    return None


class CaughtStream(io.TextIOBase):
    """Stands in for `sys.stdout` or `sys.stderr`; what is written between items goes on to the stream it replaces."""

    def __init__(self, capture: Capture, behind: TextIO) -> None:
        super().__init__()
        self._capture = capture
        self._behind = behind
        self.buffer = _CaughtBytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As what is kept is sent."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """As what is kept is sent."""
        return "replace"

    def write(self, text: str, /) -> int:
        """Keep it, or pass it on."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text and not self._capture.write(text):
            self._behind.write(text)
            self._behind.flush()
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """It isn't."""
        return False

    def fileno(self) -> int:
        """The descriptor of the stream behind, for those that must have one: what goes there isn't kept."""
        return self._behind.fileno()

    def flush(self) -> None:
        """What is kept leaves by itself."""

    def close(self) -> None:
        """An item can't close it for those that follow."""


class _CaughtBytes(io.RawIOBase):
    """`sys.stdout.buffer`: bytes as text."""

    def __init__(self, stream: CaughtStream) -> None:
        super().__init__()
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self._stream.write(str(view, "utf-8", "replace"))
        return view.nbytes

    def close(self) -> None:
        pass


def catch_streams(capture: Capture) -> None:
    """Put caught streams in the place of this process's."""
    sys.stdout = CaughtStream(capture, sys.stdout)
    sys.stderr = CaughtStream(capture, sys.stderr)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _cut(text: str, size: int) -> tuple[str, str]:
    """Split after `size` bytes, at a whole character."""
    if text.isascii():
        return text[:size], text[size:]
    head = text.encode()[:size].decode("utf-8", "ignore")
    return head, text[len(head) :]
