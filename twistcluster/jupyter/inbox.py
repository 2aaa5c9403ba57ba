"""Results as they wait in the render process, and how an exception of a user's code is told.

Owns: the order of what waits, decoding one value at a time. Must not know: what is drawn of it.
"""

import traceback
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from twistcluster.jupyter.render_messages import Draw, Snapshot
from twistcluster.storage.values import ValueStore, decode
from twistcluster.wire.definitions import Definitions
from twistcluster.wire.frames import Buffer
from twistcluster.wire.messages import Message
from twistcluster.wire.pages import PLAIN, Packed, framed_item, unpack_plain

__all__ = ["Answer", "Canvas", "Inbox", "told"]

Answer = tuple[Message, Sequence[Buffer]]

_OURS = str(Path(__file__).parent.parent)


class Canvas(Protocol):
    """One view, as the render process sees it."""

    def take(self, first: int, packed: Packed, store: ValueStore | None) -> None:
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
        self._waiting: deque[tuple[int, Packed, ValueStore | None]] = deque()
        self._plain: list[Any] | None = None
        self._at = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, first: int, packed: Packed, store: ValueStore | None) -> None:
        """Put results in."""
        if packed.count:
            self._waiting.append((first, packed, store))

    def clear(self) -> None:
        """Throw away what waits."""
        self._waiting.clear()
        self._plain = None
        self._at = 0

    def next(self) -> tuple[int, Any, str]:
        """The next value, its index, and why it could not be decoded, if so."""
        first, packed, store = self._waiting[0]
        at = self._at
        self._at += 1
        try:
            if packed.packing == PLAIN:
                if self._plain is None:
                    self._plain = unpack_plain(packed)
                return first + at, self._plain[at], ""
            data, buffers = framed_item(packed, at)
            return first + at, decode(data, buffers, self._definitions, store), ""
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


def told(error: BaseException) -> str:
    """An exception of the user's function in two lines: what, and on which line of theirs."""
    text = "".join(traceback.format_exception_only(error)).strip().splitlines()
    headline = text[-1] if text else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    if not frames:
        return headline
    # The first frame that isn't ours is the function's own.
    return f"{headline}\nline {frames[0].lineno} of {frames[0].name}" + (
        f": {frames[0].line}" if frames[0].line else ""
    )
